"""The state machine hands each function exactly the message it reads, and tries again only what can pass."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from infra.local.limits import most
from infra.machines.release_machine import LONGEST_SECONDS, Step, definition
from infra.settings import DeploymentSettings
from tests.builders.specs import a_spec
from tests.infra.synthesized import Deployment
from tidegate import messages
from tidegate.domain.rollout.rollout import LEASE_SLACK, AtDeadline, Phase, Rollout, wait_seconds
from tidegate.domain.training.contracts import rollout_plan
from tidegate.kernel import errors
from tidegate.spec import training

THROTTLED = "Lambda.TooManyRequestsException"
AT = datetime(2026, 1, 5, 12, tzinfo=UTC)

SECONDS = {
    "prepare": 900,
    "train": 900,
    "select": 60,
    "evaluate": 900,
    "reproduce": 120,
    "slices_and_groups": 900,
    "gate": 120,
    "register": 60,
    "report": 120,
    "rollout": 120,
    "close_failed": 60,
}
INPUTS: dict[str, type[BaseModel]] = {
    "Prepare": messages.RunRef,
    "Fit": messages.TrainTask,
    "Select": messages.SelectTask,
    "Refit": messages.TrainTask,
    "Evaluate": messages.EvaluateTask,
    "Compare": messages.ReproduceTask,
    "SlicesAndGroups": messages.SlicesAndGroupsTask,
    "Gate": messages.GateTask,
    "Register": messages.RegisterTask,
    "Report": messages.ReportTask,
    "RollOut": messages.RolloutTask,
    "CloseFailed": messages.CloseFailedTask,
    "EndRun": messages.CloseFailedTask,
}
OUTPUTS: dict[str, tuple[str, type[BaseModel]]] = {
    "Prepare": ("$.plan", messages.Plan),
    "Select": ("$.selection", messages.Selection),
    "Refit": ("$.fitted", messages.Fitted),
    "Evaluate": ("$.evaluated", messages.Evaluated),
    "Compare": ("$.reproduced", messages.Reproduced),
    "SlicesAndGroups": ("$.slices_and_groups", messages.SlicesAndGroups),
    "Gate": ("$.verdict", messages.GateDecided),
    "Register": ("$.registered", messages.Registered),
    "Report": ("$.drawn", messages.Drawn),
    "RollOut": ("$.rollout", messages.Moved),
    "CloseFailed": ("$.closed", messages.ClosedRun),
    "EndRun": ("$.closed", messages.ClosedRun),
}
STEPS = {name: Step(name, seconds) for name, seconds in SECONDS.items()}
MACHINE = definition(STEPS, partition="aws", training_concurrency=4)
STATES: dict[str, dict[str, Any]] = MACHINE["States"] | MACHINE["States"]["Train"]["ItemProcessor"]["States"]


def names(parameters: dict[str, Any]) -> set[str]:
    return {key.removesuffix(".$") for key in parameters}


def tasks() -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, state) for name, state in STATES.items() if state["Type"] == "Task")


def paths(value: Any) -> Iterator[str]:
    """Every path into the document that a state reads."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str) and key.endswith((".$", "Path", "Variable")) and inner.startswith("$."):
                yield inner
            yield from paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner)


@pytest.mark.parametrize("state", INPUTS)
def test_a_function_receives_all_fields_of_its_message_and_no_others(state: str) -> None:
    assert names(STATES[state]["Parameters"]) == set(INPUTS[state].model_fields)


def test_every_item_of_the_map_is_a_training_task() -> None:
    selector = STATES["Train"]["ItemSelector"]
    assert names(selector) == set(messages.TrainTask.model_fields)
    assert selector["purpose"] == "validate"
    assert STATES["Refit"]["Parameters"]["purpose"] == "final"


def test_every_path_that_is_read_was_written_by_somebody() -> None:
    written = {"$.model", "$.run_id", "$.run.model", "$.run.run_id", "$.run", "$.results", "$.candidate", "$.purpose"}
    written |= {"$.files"}
    written |= {"$.fault.Error", "$.fault.Cause", "$.fault", "$.not_closed", "$.answered", "$.unanswered", "$.undrawn"}
    for root, message in OUTPUTS.values():
        written |= {root, f"{root}.ends_run"} | {f"{root}.{field}" for field in message.model_fields}
    assert set(paths(STATES)) - written == set()


@pytest.mark.parametrize(("state", "output"), OUTPUTS.items())
def test_an_answer_goes_under_its_own_name(state: str, output: tuple[str, type]) -> None:
    assert STATES[state]["ResultPath"] == output[0]


def test_a_page_that_cannot_be_drawn_does_not_stop_the_release() -> None:
    assert STATES[STATES["Register"]["Next"]]["Default"] == "Report"
    (catch,) = STATES["Report"]["Catch"]
    assert catch["ErrorEquals"] == ["States.ALL"]
    assert catch["Next"] == STATES["Report"]["Next"] == "Accepted?"


def test_every_fault_of_every_other_step_closes_the_run_and_fails_the_execution() -> None:
    for name, state in MACHINE["States"].items():
        if state["Type"] in {"Task", "Map"} and name not in {"Report", "CloseFailed", "EndRun"}:
            catch = state["Catch"][-1]
            assert catch["ErrorEquals"] == ["States.ALL"], name
            assert catch["Next"] == "CloseFailed", name
    assert STATES["CloseFailed"]["Next"] == "Failed"
    assert STATES[STATES["CloseFailed"]["Catch"][0]["Next"]]["Type"] == "Fail"


def test_every_step_may_end_the_run_by_its_answer_without_failing_the_execution() -> None:
    """What a step of the rollout finds is in the rollout's record, and a release does not fail without its page."""
    for name, (answer, _) in OUTPUTS.items():
        if name in {"Report", "RollOut", "CloseFailed", "EndRun"}:
            continue
        choice = STATES[STATES[name]["Next"]]
        (ends,) = choice["Choices"]
        assert (ends["Variable"], ends["IsPresent"]) == (f"{answer}.ends_run", True), name
        closing = STATES[ends["Next"]]
        assert (closing["InputPath"], closing["ResultPath"], closing["Next"]) == (ends["Variable"], "$.fault", "EndRun")
    assert set(messages.EndsRun.model_fields) == {"ends_run"}
    assert set(messages.RunFault.model_fields) == {"Error", "Cause"}
    assert STATES[STATES["EndRun"]["Next"]]["Type"] == "Succeed"
    assert STATES["EndRun"] | {"Next": "Failed"} == STATES["CloseFailed"]


def test_only_faults_that_can_pass_are_tried_again() -> None:
    retried = {error for _, state in tasks() for retry in state["Retry"] for error in retry["ErrorEquals"]}
    ours = {error for error in retried if "." not in error}
    assert ours == {errors.UnavailableError.__name__}
    assert not {error for error in retried if error.startswith("States.")}
    for name, state in tasks():
        patient = STATES[name].get("Next") in {"Next?", "RollOut"}
        hasty = [retry for retry in state["Retry"] if retry["ErrorEquals"] != [THROTTLED]]
        assert all(retry["MaxAttempts"] <= (10 if patient else 6) for retry in hasty)


def test_a_throttled_step_waits_for_as_long_as_training_may_last_and_fits_into_the_history() -> None:
    phases = 4 * 30 * 86_400  # approval, shadow, canary and probation
    for name, state in tasks():
        first = next(retry for retry in state["Retry"] if THROTTLED in retry["ErrorEquals"])
        expected = sum(
            min(first["IntervalSeconds"] * first["BackoffRate"] ** min(attempt, 30), first["MaxDelaySeconds"]) / 2
            for attempt in range(first["MaxAttempts"])
        )
        if name in {"RollOut", "AwaitApproval"}:
            continue  # they hold a lease
        assert expected >= LONGEST_SECONDS - phases, name
        # Scheduled, started and failed, in each of the fits at once.
        assert 3 * first["MaxAttempts"] * DeploymentSettings().training_concurrency < most("history_events"), name


def test_a_rollout_outlasts_a_bad_quarter_of_an_hour_but_not_its_lease() -> None:
    for name in ("RollOut", "AwaitApproval"):
        *passing, _ = STATES[name]["Retry"]
        for retry in passing:
            delays = [
                min(retry["IntervalSeconds"] * retry["BackoffRate"] ** attempt, retry["MaxDelaySeconds"])
                for attempt in range(retry["MaxAttempts"])
            ]
            assert sum(delays) / 2 > 15 * 60
            assert sum(delays) < LEASE_SLACK.total_seconds()


def test_a_crashed_process_is_tried_once_more() -> None:
    for _, state in tasks():
        (crash,) = [retry for retry in state["Retry"] if "Runtime.ExitError" in retry["ErrorEquals"]]
        assert crash["MaxAttempts"] == 1


def test_every_task_outlasts_its_function_and_ends() -> None:
    for name, state in tasks():
        if name == "AwaitApproval":
            assert state["TimeoutSecondsPath"] == "$.rollout.wait_seconds"
        else:
            assert state["TimeoutSeconds"] == SECONDS[state["Resource"]] + 10, name


def test_only_tasks_and_maps_name_what_is_tried_again() -> None:
    for name, state in STATES.items():
        assert ("Retry" in state) is (state["Type"] == "Task"), name


def test_every_path_leads_to_an_end() -> None:
    ends = {name for name, state in MACHINE["States"].items() if state["Type"] in {"Succeed", "Fail"}}
    assert ends == {"Compared", "Promoted", "NotPromoted", "Rejected", "Failed", "NotClosed", "Ended"}
    for name in MACHINE["States"]:
        reached, new = set[str](), {name}
        while new:
            reached |= new
            new = {follower for each in new for follower in followers(MACHINE["States"][each])} - reached
        assert reached & ends, name
        assert name == MACHINE["StartAt"] or any(
            name in followers(state) for other, state in MACHINE["States"].items() if other != name
        ), name


def followers(state: dict[str, Any]) -> set[str]:
    """States that may come after this one."""
    listed = [state, *state.get("Catch", ()), *state.get("Choices", ())]
    return {each["Next"] for each in listed if "Next" in each} | ({state["Default"]} if "Default" in state else set())


def test_what_is_made_again_is_compared_and_neither_gated_nor_registered() -> None:
    assert STATES[STATES["Evaluate"]["Next"]]["Default"] == "Reproduction?"
    choice = STATES["Reproduction?"]
    assert choice["Choices"] == [{"Variable": "$.plan.reproduction", "BooleanEquals": True, "Next": "Compare"}]
    assert choice["Default"] == "SlicesAndGroups"
    assert "reproduction" in messages.Plan.model_fields
    assert STATES[STATES[STATES["Compare"]["Next"]]["Default"]]["Type"] == "Succeed"


def test_only_an_accepted_version_is_rolled_out() -> None:
    choice = STATES["Accepted?"]
    assert choice["Choices"] == [{"Variable": "$.registered.accepted", "BooleanEquals": True, "Next": "RollOut"}]
    assert STATES[choice["Default"]]["Type"] == "Succeed"


@pytest.mark.parametrize(
    ("said", "serves", "state"),
    [
        ("approval", False, "AwaitApproval"),
        ("wait", False, "Wait"),
        ("wait", True, "Wait"),
        ("done", True, "Promoted"),
        ("done", False, "NotPromoted"),
    ],
)
def test_the_rollout_says_what_comes_next(said: str, serves: bool, state: str) -> None:
    assert STATES["RollOut"]["Next"] == "Next?"
    choice = STATES["Next?"]
    moved = {"next": said, "serves": serves}
    taken = next(
        (
            each["Next"]
            for each in choice["Choices"]
            if moved[each["Variable"].removeprefix("$.rollout.")] == each.get("StringEquals", each.get("BooleanEquals"))
        ),
        choice["Default"],
    )
    assert taken == state


def test_whoever_waits_comes_back_to_the_rollout_when_it_says_so() -> None:
    assert STATES["Wait"] == {"Type": "Wait", "SecondsPath": "$.rollout.wait_seconds", "Next": "RollOut"}
    asked = STATES["AwaitApproval"]
    assert asked["Next"] == "RollOut"
    assert asked["ResultPath"] == "$.answered"
    assert asked["Catch"][0] == {"ErrorEquals": ["States.Timeout"], "ResultPath": "$.unanswered", "Next": "RollOut"}


def test_the_template_leaves_nothing_of_a_state_out(deployment: Deployment) -> None:
    """The CDK drops what is null: without its ResultPath an answer would take the place of the whole document."""
    machines = deployment.resources("AWS::StepFunctions::StateMachine")
    machine = next(each for each in machines if each.stack.endswith("-Release"))
    pieces = machine.properties["DefinitionString"]["Fn::Join"][1]
    states = json.loads("".join(piece if isinstance(piece, str) else "x" for piece in pieces))["States"]
    assert {name: set(state) for name, state in states.items()} == {
        name: set(state) for name, state in MACHINE["States"].items()
    }
    assert states["AwaitApproval"]["ResultPath"] == "$.answered"


def test_the_approval_is_asked_for_by_the_function_that_rolls_out() -> None:
    asked = STATES["AwaitApproval"]
    assert asked["Resource"] == "arn:aws:states:::lambda:invoke.waitForTaskToken"
    assert asked["Parameters"]["FunctionName"] == STATES["RollOut"]["Resource"]
    assert names(asked["Parameters"]["Payload"]) == set(messages.AskApproval.model_fields)
    assert asked["Parameters"]["Payload"]["token.$"] == "$$.Task.Token"


def test_every_function_of_the_release_is_called_by_some_state() -> None:
    assert {state["Resource"] for name, state in tasks() if name != "AwaitApproval"} == set(SECONDS)


# What Step Functions keeps of an execution is limited: docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MOST_EVENTS = 25_000
MOST_EXECUTION_SECONDS = 365 * 86_400
EVENTS_OF_A_LOOK = 5 + 2 + 2  # the task and its function, the choice, the wait
EVENTS_OF_A_FIT = 7  # an iteration of the map, the task and its function
LONGEST: dict[str, Any] = {  # as long as a spec may ask for, and as often as possible
    "approval": "required",
    "approval_hours": 720,
    "shadow_minutes": 43_200,
    "steps": list(range(1, 21)),
    "deadline_hours": 720,
    "probation_hours": 720,
    "look_seconds": 1,
}


def rolling_out(release: dict[str, Any]) -> Rollout:
    plan = rollout_plan(a_spec(release=release))
    return Rollout(
        model="flight-delay",
        run_id="r-001",
        version=2,
        revision=1,
        phase=Phase.SHADOW,
        plan=plan,
        actor="ann",
        judged_against=1,
        began_at=AT,
        since=AT,
        lease_until=AT,
    )


def looks(rollout: Rollout, seconds: float) -> int:
    """How often a phase is looked at that lasts so long."""
    now, count = AT, 0
    while now < AT + timedelta(seconds=seconds):
        now, count = now + timedelta(seconds=wait_seconds(rollout, now)), count + 1
    return count


def canary(rollout: Rollout, seconds: float) -> int:
    """The same of a canary whose steps all end as soon as they may: each may be cut short by one look."""
    plan = rollout.plan
    deadline = AT + timedelta(seconds=plan.deadline_seconds)
    return looks(replace(rollout, phase=Phase.CANARY, deadline=deadline), seconds) + len(plan.steps_bp)


@pytest.mark.parametrize(
    "release",
    [
        LONGEST,
        LONGEST | {"at_deadline": "wait"},
        LONGEST | {"at_deadline": "wait", "deadline_hours": 24, "bake_minutes": 1},
        LONGEST | {"at_deadline": "wait", "deadline_hours": 0.001, "bake_minutes": 0},
    ],
)
def test_the_longest_execution_stays_within_what_step_functions_keeps_of_one(release: dict[str, Any]) -> None:
    rollout = rolling_out(release)
    plan = rollout.plan
    lasts = LONGEST_SECONDS if plan.at_deadline is AtDeadline.WAIT else plan.deadline_seconds
    looked = (
        looks(rollout, plan.shadow_seconds)
        + canary(rollout, lasts)
        + looks(replace(rollout, phase=Phase.PROBATION), plan.probation_seconds)
    )
    events = looked * EVENTS_OF_A_LOOK + training.MAX_CANDIDATES * EVENTS_OF_A_FIT
    assert events < 0.9 * MOST_EVENTS  # the rest is for what is tried again


def test_an_execution_lasts_as_long_as_any_rollout_may() -> None:
    plan = rolling_out(LONGEST).plan
    assert plan.approval_seconds is not None
    rollout = plan.approval_seconds + plan.shadow_seconds + plan.deadline_seconds + plan.probation_seconds
    fits = sum(SECONDS.values()) + 900 * training.MAX_CANDIDATES
    assert rollout + fits < MACHINE["TimeoutSeconds"] == LONGEST_SECONDS < MOST_EXECUTION_SECONDS
