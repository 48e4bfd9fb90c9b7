"""The batch machine scores part by part, and its functions reach what batches may reach and nothing else."""

import json
from fnmatch import fnmatchcase
from typing import Any

from cfnlint.api import lint
from pydantic import BaseModel

from infra.machines.batch_machine import definition
from infra.machines.release_machine import Step
from tests.infra.synthesized import Deployment, states
from tidegate import messages
from tidegate.domain.batch.batch import MAX_PARTS
from tidegate.kernel import errors

BATCH, SCORE = (Step(f"arn:aws:lambda:eu-west-1:123456789012:function:{name}", 900) for name in ("batch", "score"))
MACHINE = definition(BATCH, SCORE, partition="aws", concurrency=10)
LARGEST_DOCUMENT = 256 << 10  # that Step Functions hands on


STATES = dict(states(MACHINE))
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}


def role(deployment: Deployment, name: str, stack: str) -> list[dict[str, Any]]:
    (found,) = (
        each
        for each in deployment.resources("AWS::IAM::Role")
        if each.id.startswith(name) and each.stack.endswith(stack)
    )
    return [entry for policy in found.properties["Policies"] for entry in policy["PolicyDocument"]["Statement"]]


def resources(statements: list[dict[str, Any]], action: str) -> list[str]:
    """What an action is allowed on, as text."""
    found: list[str] = []
    for statement in statements:
        if action in (statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]):
            named = statement["Resource"]
            found += [json.dumps(each) for each in (named if isinstance(named, list) else [named])]
    return found


def test_a_function_receives_all_fields_of_its_message_and_no_others() -> None:
    fields: dict[str, type[BaseModel]] = {
        "Plan": messages.PlanTask,
        "ScorePart": messages.ScoreTask,
        "NotePart": messages.NoteTask,
        "NoteInput": messages.NoteTask,
        "Finish": messages.FinishTask,
    }
    assert set(fields) == set(TASKS)
    for name, message in fields.items():
        assert {key.removesuffix(".$") for key in TASKS[name]["Parameters"]} == set(message.model_fields)


def test_only_faults_that_can_pass_are_tried_again_and_every_task_outlasts_its_function() -> None:
    for state in TASKS.values():
        retried = {error for retry in state["Retry"] for error in retry["ErrorEquals"]}
        own = {error for error in retried if not error.startswith("Lambda.")}
        assert own == {errors.UnavailableError.__name__, "Runtime.ExitError"}
        assert state["TimeoutSeconds"] > 900


def test_a_part_that_fails_fails_no_other_one_and_the_outcomes_of_all_fit_into_one_document() -> None:
    parts = STATES["Score"]
    assert parts["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert [catch["ErrorEquals"] for catch in TASKS["ScorePart"]["Catch"]] == [["States.ALL"]]
    ends = [state["Result"] for state in parts["ItemProcessor"]["States"].values() if state.get("End")]
    assert ends == [1, 0]
    assert len(json.dumps([1] * MAX_PARTS, separators=(",", ":"))) < LARGEST_DOCUMENT // 2


def test_an_input_at_fault_ends_the_batch_by_an_answer_and_fails_no_execution() -> None:
    part = STATES["Score"]["ItemProcessor"]["States"]
    for name, answer, within, end in (
        ("Plan", "$.planned", STATES, "EndRun"),
        ("Finish", "$.finished", STATES, "EndRun"),
        ("ScorePart", "$.scored", part, "NoteInput"),
    ):
        (ends,) = within[within[name]["Next"]]["Choices"]
        assert (ends["Variable"], ends["IsPresent"]) == (f"{answer}.ends_run", True)
        closing = within[ends["Next"]]
        assert (closing["InputPath"], closing["ResultPath"], closing["Next"]) == (ends["Variable"], "$.fault", end)
    assert (STATES["EndRun"]["Type"], STATES["EndRun"]["InputPath"], STATES["EndRun"]["End"]) == (
        "Pass",
        "$.fault",
        True,
    )
    assert part["ScorePart"]["Catch"][0]["Next"] == "NotePart"
    assert [part[name]["Parameters"]["by_input"] for name in ("NoteInput", "NotePart")] == [True, False]
    assert not any("Catch" in STATES[name] for name in ("Plan", "Finish"))


def test_the_definition_is_one_that_step_functions_takes() -> None:
    properties = {"RoleArn": "arn:aws:iam::123456789012:role/r", "Definition": MACHINE}
    body = {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}
    assert lint(json.dumps({"Resources": {"Machine": body}}), regions=["eu-west-1"]) == []


def test_batches_write_under_their_prefix_and_in_the_places_of_the_setting(deployment: Deployment) -> None:
    others = {"prod": ["lake-of-tests/sales"], "dev": []}[deployment.stage]
    for name in ("BatchRole", "ScoreRole"):
        written = resources(role(deployment, name, "-Batch"), "s3:PutObject")
        own = [each for each in written if "/batch/*" in each]
        assert len(own) == 1
        assert len(written) == 1 + len(others)
        assert all(any(f":s3:::{place}/*" in each for each in written) for place in others)


def test_of_the_registry_a_batch_may_touch_its_own_ledger_only(deployment: Deployment) -> None:
    for name, stack, wanted in (
        ("BatchRole", "-Batch", {"dynamodb:GetItem", "dynamodb:PutItem"}),
        ("ScoreRole", "-Batch", set()),
    ):
        found = [each for each in role(deployment, name, stack) if str(each["Action"]).count("dynamodb:")]
        assert {action for each in found for action in each["Action"]} == wanted
        for each in found:
            assert each["Condition"]["ForAllValues:StringLike"] == {"dynamodb:LeadingKeys": ["BATCHES#*"]}


def test_the_control_api_reads_and_writes_no_rows(deployment: Deployment) -> None:
    statements = role(deployment, "ControlRole", "-Control")
    for action in ("s3:GetObject", "s3:PutObject"):
        patterns = [each for each in resources(statements, action) if "/batch/" in each or "lake-of-tests" in each]
        assert patterns
        for pattern in patterns:
            key = pattern.split("/", 1)[1].rstrip('"}] ').removeprefix("batch/")
            assert not fnmatchcase("june/part-000001.csv", key)
            assert not fnmatchcase("june.csv", key)


def test_the_machine_may_start_its_own_parts_and_read_their_list(deployment: Deployment) -> None:
    statements = role(deployment, "MachineRole", "-Batch")
    (started,) = resources(statements, "states:StartExecution")
    assert "stateMachine:tidegate" in started
    assert all("_tidegate/parts.json" in each for each in resources(statements, "s3:GetObject"))
    assert not resources(statements, "s3:PutObject")


def test_a_batch_that_ends_badly_is_heard_of(deployment: Deployment) -> None:
    names = {alarm.properties["AlarmName"] for alarm in deployment.resources("AWS::CloudWatch::Alarm")}
    prefix = f"tidegate-{deployment.stage}-batch"
    assert {f"{prefix}-{how}" for how in ("failed", "timedout", "errors", "throttles")} <= names
