"""The state machine hands each function exactly the message it reads, and tries again only what can pass."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra.release_machine import definition
from tidegate import errors, messages

FUNCTIONS = ("prepare", "train", "select", "evaluate", "gate", "register", "promote", "settle")
INPUTS = {
    "Prepare": messages.RunRef,
    "Fit": messages.TrainTask,
    "Select": messages.SelectTask,
    "Refit": messages.TrainTask,
    "Evaluate": messages.EvaluateTask,
    "Gate": messages.GateTask,
    "Register": messages.RegisterTask,
    "Promote": messages.PromoteTask,
    "Settle": messages.SettleTask,
}
OUTPUTS = {
    "Prepare": ("$.plan", messages.Plan),
    "Select": ("$.selection", messages.Selection),
    "Refit": ("$.fitted", messages.Fitted),
    "Evaluate": ("$.evaluated", messages.Evaluated),
    "Gate": ("$.verdict", messages.Verdict),
    "Register": ("$.registered", messages.Registered),
    "Promote": ("$.promoted", messages.Promoted),
    "Settle": ("$.settled", messages.Settled),
}
MACHINE = definition({name: name for name in FUNCTIONS}, training_concurrency=4, timeout_seconds=600)
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
    written |= {"$.fault.Error", "$.fault.Cause", "$.fault", "$.unsettled"}
    for root, message in OUTPUTS.values():
        written |= {root} | {f"{root}.{field}" for field in message.model_fields}
    assert set(paths(STATES)) - written == set()


@pytest.mark.parametrize(("state", "output"), OUTPUTS.items())
def test_an_answer_goes_under_its_own_name(state: str, output: tuple[str, type]) -> None:
    assert STATES[state]["ResultPath"] == output[0]


def test_every_fault_of_every_step_settles_the_run_and_fails_the_execution() -> None:
    for name, state in MACHINE["States"].items():
        if state["Type"] in {"Task", "Map"} and name != "Settle":
            (catch,) = state["Catch"]
            assert catch["ErrorEquals"] == ["States.ALL"], name
            assert catch["Next"] == "Settle", name
    assert STATES["Settle"]["Next"] == "Failed"
    assert STATES[STATES["Settle"]["Catch"][0]["Next"]]["Type"] == "Fail"


def test_only_faults_that_can_pass_are_tried_again() -> None:
    retried = {error for _, state in tasks() for retry in state["Retry"] for error in retry["ErrorEquals"]}
    ours = {error for error in retried if "." not in error}
    assert ours == {errors.UnavailableError.__name__}
    assert not {error for error in retried if error.startswith("States.")}
    for _, state in tasks():
        assert all(retry["MaxAttempts"] <= 6 for retry in state["Retry"])


def test_a_crashed_process_is_tried_once_more() -> None:
    for _, state in tasks():
        (crash,) = [retry for retry in state["Retry"] if "Runtime.ExitError" in retry["ErrorEquals"]]
        assert crash["MaxAttempts"] == 1


def test_only_an_accepted_version_is_promoted() -> None:
    choice = STATES["Accepted?"]
    assert choice["Choices"] == [{"Variable": "$.registered.accepted", "BooleanEquals": True, "Next": "Promote"}]
    assert STATES[choice["Default"]]["Type"] == "Succeed"


def test_a_version_that_was_overtaken_ends_the_execution_as_an_outcome_of_its_own() -> None:
    choice = STATES[STATES["Promote"]["Next"]]
    assert choice["Choices"] == [{"Variable": "$.promoted.serves", "BooleanEquals": True, "Next": "Promoted"}]
    assert STATES[choice["Default"]] | {"Comment": ""} == {"Type": "Succeed", "Comment": ""}


def test_every_function_of_the_release_is_called_by_some_state() -> None:
    assert {state["Resource"] for _, state in tasks()} == set(FUNCTIONS)
