import json
from datetime import timedelta

import pytest

from functions.close_failed import handler as function
from tests.builders.present import present
from tests.builders.registry import a_run
from tests.builders.release import AT, REF, SPEC, a_registry, a_task, do, request
from tests.context import CONTEXT
from tidegate import wiring
from tidegate.aws.items import encode
from tidegate.domain.registry.run import RunStatus
from tidegate.domain.registry.version import VersionStatus
from tidegate.domain.rollout.rollout import Phase
from tidegate.kernel.errors import NotFoundError, UnavailableError
from tidegate.messages import ClosedRun, CloseFailedTask, RunRef
from tidegate.steps.rollout.close_failed import close_failed, explain, start_recorded
from tidegate.testing.parts import InMemoryParts
from tidegate.testing.registry import InMemoryRegistry, InMemoryWorkflow


def cause(message: str, kind: str) -> str:
    return json.dumps({"errorMessage": message, "errorType": kind, "requestId": "1", "stackTrace": []})


def closed_in(registry: InMemoryRegistry, task: CloseFailedTask) -> ClosedRun:
    return InMemoryParts(registry=registry).step(close_failed, task)


@pytest.mark.parametrize(
    ("error", "said", "name", "message"),
    [
        (
            "DataCheckError",
            cause("3 faults: dep_delay: known only afterwards", "DataCheckError"),
            "DataCheckError",
            "3 faults: dep_delay: known only afterwards",
        ),
        (
            "Sandbox.Timedout",
            cause("RequestId: 4d1c Error: Task timed out after 3.00 seconds", "Sandbox.Timedout"),
            "Sandbox.Timedout",
            "step train exceeded the time limit of its function (Task timed out after 3.00 seconds)",
        ),
        (
            "Runtime.ExitError",
            cause("RequestId: 4d1c Error: Runtime exited with error: exit status 1", "Runtime.ExitError"),
            "Runtime.ExitError",
            "step train ended without an answer: its process crashed (Runtime exited with error: exit status 1)",
        ),
        (
            "Runtime.ExitError",
            cause("RequestId: 4d1c Error: Runtime exited with error: signal: killed", "Runtime.ExitError"),
            "Runtime.OutOfMemory",
            "step train ran out of memory (Runtime exited with error: signal: killed)",
        ),
        ("States.Timeout", "", "States.Timeout", "step train exceeded its time limit"),
        (
            "States.TaskFailed",
            cause("RequestId: 4d1c Error: Task timed out after 3.00 seconds", "Sandbox.Timedout"),
            "Sandbox.Timedout",
            "step train exceeded the time limit of its function (Task timed out after 3.00 seconds)",
        ),
        ("Aborted", "", "Aborted", "step train was stopped by hand"),
        ("Aborted", "wrong spec", "Aborted", "step train was stopped by hand (wrong spec)"),
        ("", "", "Unknown", "no cause was given"),
        ("States.BranchFailed", "a plain sentence", "States.BranchFailed", "a plain sentence"),
        ("KeyError", "[1, 2]", "KeyError", "[1, 2]"),
    ],
)
def test_what_step_functions_says_becomes_a_sentence_for_people(error, said, name, message):
    shown = explain(error, said, "train")
    assert (shown.name, shown.message, shown.stage) == (name, message, "train")


def test_a_very_long_cause_is_cut():
    assert len(explain("KeyError", "x" * 100_000, "train").message) == 1_000


def test_a_run_is_closed_with_the_stage_it_reached_and_stays_closed():
    registry = a_registry()
    registry.note(REF.model, REF.run_id, "train", AT)
    task = CloseFailedTask(run=REF, error="TrainingFailedError", cause=cause("did not fit", "TrainingFailedError"))
    closed = closed_in(registry, task)
    assert (closed.status, closed.error, closed.message) == ("failed", "TrainingFailedError", "did not fit")
    run = registry.run(REF.model, REF.run_id)
    assert run.error is not None
    assert run.error.stage == "train"
    assert closed_in(registry, CloseFailedTask(run=REF, error="Aborted", cause="")) == closed


def test_a_registered_run_stays_what_it_is_and_the_execution_says_what_came_after():
    registry = a_registry()
    do(registry, a_task())
    task = CloseFailedTask(run=REF, error="ConflictError", cause=cause("the race was lost twice", "ConflictError"))
    closed = closed_in(registry, task)
    assert (closed.status, closed.error) == ("accepted", "ConflictError")
    assert closed.message == "the race was lost twice"
    assert registry.run(REF.model, REF.run_id).error is None


def test_the_fault_of_an_accepted_run_is_its_rollouts_and_rolls_the_version_back():
    registry = a_registry()
    do(registry, a_task())
    closed = closed_in(registry, CloseFailedTask(run=REF, error="Aborted", cause=""))
    assert closed.message == "step rollout was stopped by hand"
    version = registry.version(REF.model, 1)
    assert (version.status, version.reasons) == (VersionStatus.ROLLED_BACK, (closed.message,))
    rollout = present(registry.rollout(REF.model, REF.run_id))
    assert (rollout.phase, rollout.reason) == (Phase.FAILED, closed.message)
    assert closed_in(registry, CloseFailedTask(run=REF, error="Aborted", cause="")) == closed
    assert registry.rollout(REF.model, REF.run_id) == rollout


def test_a_rejected_run_keeps_its_version_and_its_stage():
    registry = a_registry()
    do(registry, a_task(accepted=False))
    closed = closed_in(registry, CloseFailedTask(run=REF, error="Aborted", cause=""))
    assert closed.message == "step register was stopped by hand"
    assert registry.version(REF.model, 1).status is VersionStatus.REJECTED
    assert registry.rollouts(REF.model) == []


@pytest.mark.parametrize("registered", [True, False])
def test_the_lease_is_given_back_and_that_of_another_run_is_left_alone(registered):
    registry = InMemoryRegistry()
    registry.apply(SPEC, author="ann", at=AT)
    request(registry, "r-001", lease_until=AT + timedelta(hours=3))
    if registered:
        do(registry, a_task())
    task = CloseFailedTask(run=REF, error="Aborted", cause="")
    closed_in(registry, task)
    assert present(registry.lease(REF.model)).until < AT
    request(registry, "r-002", lease_until=AT + timedelta(hours=3))
    closed_in(registry, task)
    lease = present(registry.lease(REF.model))
    assert (lease.run_id, lease.until) == ("r-002", AT + timedelta(hours=3))


def test_a_run_nobody_knows_is_not_found():
    task = CloseFailedTask(run=RunRef(model="ghost", run_id="r-1"), error="A", cause="")
    with pytest.raises(NotFoundError):
        closed_in(a_registry(), task)


def recorded():
    registry = InMemoryRegistry()
    registry.apply(SPEC, author="ann", at=AT)
    registry.request(a_run(REF.run_id, requested_at=AT), lease_until=AT + timedelta(hours=3))
    return InMemoryParts(registry=registry)


class Refusing(InMemoryWorkflow):
    """Starts nothing."""

    def start(self, model, run_id):
        raise UnavailableError("Step Functions does not answer")


def test_a_run_that_is_recorded_is_started_and_no_other():
    parts = recorded()
    assert parts.step(start_recorded, REF) is None
    assert parts.workflow.started == [(REF.model, REF.run_id)]
    parts.registry.note(REF.model, REF.run_id, "prepare", AT)
    assert parts.step(start_recorded, REF) is None
    assert len(parts.workflow.started) == 1
    assert parts.registry.run(REF.model, REF.run_id).status is RunStatus.RUNNING


def test_a_run_that_cannot_be_started_is_tried_for_ten_minutes_and_then_closed():
    parts = recorded()
    parts.workflow = Refusing()
    parts.clock.at = AT + timedelta(minutes=9)
    with pytest.raises(UnavailableError):
        parts.step(start_recorded, REF)
    assert parts.registry.run(REF.model, REF.run_id).status is RunStatus.REQUESTED
    parts.clock.at = AT + timedelta(minutes=10)
    closed = present(parts.step(start_recorded, REF))
    assert (closed.status, closed.error) == ("failed", "NotStarted")
    assert "could not be started within 10 minutes; train again (Step Functions does not answer)" in closed.message
    assert present(parts.registry.lease(REF.model)).until < AT


def test_the_record_of_a_run_in_the_stream_starts_it(monkeypatch):
    parts = recorded()
    monkeypatch.setattr(wiring, "of", lambda _: parts)
    image = encode(parts.registry.run(REF.model, REF.run_id))
    keys = {"pk": {"S": f"RUN#{REF.model}"}, "sk": {"S": f"RUN#{REF.run_id}"}}
    event = {"Records": [{"eventName": "INSERT", "dynamodb": {"Keys": keys, "NewImage": keys | image}}]}
    assert function.handler(event, CONTEXT) == {}
    assert parts.workflow.started == [(REF.model, REF.run_id)]


def _wired(monkeypatch, registry):
    parts = InMemoryParts(registry=registry)
    monkeypatch.setattr(wiring, "of", lambda _: parts)


@pytest.mark.parametrize(
    ("status", "shown", "name"),
    [
        ("ABORTED", {}, "Aborted"),
        ("TIMED_OUT", {"error": None, "cause": None}, "States.Timeout"),
        ("FAILED", {"error": "DataCheckError", "cause": "leaks"}, "DataCheckError"),
        ("FAILED", {}, "Unknown"),
    ],
)
def test_an_execution_that_ended_badly_closes_its_run(monkeypatch, status, shown, name):
    registry = a_registry()
    _wired(monkeypatch, registry)
    event = {
        "source": "aws.states",
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"name": REF.run_id, "status": status, "input": json.dumps(REF.to_json())} | shown,
    }
    answer = function.handler(event, CONTEXT)
    assert (answer["status"], answer["error"]) == ("failed", name)
    assert registry.run(REF.model, REF.run_id).status is RunStatus.FAILED
    assert function.handler(event, CONTEXT) == answer


def test_the_state_machines_own_catch_closes_its_run(monkeypatch):
    registry = a_registry()
    _wired(monkeypatch, registry)
    task = {"run": REF.to_json(), "error": "States.Timeout", "cause": ""}
    assert function.handler(task, CONTEXT)["error"] == "States.Timeout"
