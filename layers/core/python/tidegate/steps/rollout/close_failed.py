"""Close a run whose execution ended by a fault, and end its rollout, with a sentence that people understand.

A run that is recorded and not started has no execution whose end could be noticed: who recorded it may be dead, or its
start was refused. So each record leads here, too.
"""

import json
import re
from datetime import timedelta

from tidegate.domain.registry.run import START_WITHIN, RunError, RunStatus
from tidegate.messages import ClosedRun, CloseFailedTask, RunRef
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Models, Routes, Runs, Versions, Workflow
from tidegate.ports.rollout import Rollouts
from tidegate.steps.rollout.rollout import abandon

ABORTED = "Aborted"  # somebody stopped the execution; Step Functions names no error
TIMED_OUT = "States.Timeout"
NOT_STARTED = "NotStarted"
ROLLOUT = "rollout"  # the stage of a run that is closed as accepted
_MAX_MESSAGE = 1_000
_SENTENCES = {  # by what Lambda and Step Functions call it, not what our code raised
    "Sandbox.Timedout": "exceeded the time limit of its function",
    "Lambda.Timeout": "exceeded the time limit of its function",
    TIMED_OUT: "exceeded its time limit",
    "Runtime.ExitError": "ended without an answer: its process crashed",
    "Runtime.OutOfMemory": "ran out of memory",
    "Lambda.Unknown": "ended without an answer: its process crashed or was stopped",
    "Runtime.ImportModuleError": "could not start: its code does not load",
    "States.DataLimitExceeded": "returned more data than a step may pass on",
    "States.Permissions": "was not allowed to run",
    "States.Runtime": "could not be run as its state machine describes",
    "Lambda.TooManyRequestsException": "waited too long for a free function",
    ABORTED: "was stopped by hand",
    NOT_STARTED: f"could not be started within {START_WITHIN / timedelta(minutes=1):.0f} minutes; train again",
}
_REQUEST_ID = re.compile(r"^RequestId: \S+ (?:Error: )?")


def close_failed(
    task: CloseFailedTask,
    *,
    models: Models,
    runs: Runs,
    versions: Versions,
    routes: Routes,
    rollouts: Rollouts,
    clock: Clock,
) -> ClosedRun:
    """Close the run as FAILED unless it is final already, end its rollout unless that is over, and give the model's
    lease back; repeating it changes nothing.

    What served before the release serves all requests again; a version that was promoted already stays and serves them
    alone. A run that was registered stays what it is; the answer, and so the execution, still reports the fault that
    came after.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: others change what is served faster than it can be read.
    """
    model, run_id = task.run.model, task.run.run_id
    known = runs.run(model, run_id)
    fault = explain(task.error, task.cause, ROLLOUT if known.status is RunStatus.ACCEPTED else known.stage)
    run = runs.fail(model, run_id, fault, clock.now())
    abandon(
        model,
        run_id,
        fault.message,
        clock.now(),
        models=models,
        runs=runs,
        versions=versions,
        routes=routes,
        rollouts=rollouts,
    )
    rollouts.free(model, run_id)
    recorded = run.error or fault
    return ClosedRun(status=run.status.value, error=recorded.name, message=recorded.message)


def start_recorded(
    ref: RunRef,
    *,
    models: Models,
    runs: Runs,
    versions: Versions,
    routes: Routes,
    rollouts: Rollouts,
    workflow: Workflow,
    clock: Clock,
) -> ClosedRun | None:
    """Start a run that is recorded, whoever else does; close it when it cannot be started within `START_WITHIN`.

    Raises:
        NotFoundError: there is no such run.
        Exception: it cannot be started now; call again.
    """
    run = runs.run(ref.model, ref.run_id)
    if run.status is not RunStatus.REQUESTED:
        return None
    try:
        workflow.start(ref.model, ref.run_id)
    except Exception as error:  # whatever it is, nobody else would start or close the run
        if clock.now() - run.requested_at < START_WITHIN:
            raise
        task = CloseFailedTask(run=ref, error=NOT_STARTED, cause=str(error))
        return close_failed(
            task, models=models, runs=runs, versions=versions, routes=routes, rollouts=rollouts, clock=clock
        )
    return None


def explain(error: str, cause: str, stage: str) -> RunError:
    """What went wrong, for people: from the error's name and the cause that Step Functions hands on.

    The cause of a failed function is JSON with `errorType` and `errorMessage`; otherwise it is text or empty.
    """
    name, said = error or "Unknown", cause.strip()
    try:
        document = json.loads(cause)
    except ValueError:
        document = None
    if isinstance(document, dict):
        said = str(document.get("errorMessage") or "").strip()
        named = str(document.get("errorType") or "")
        if named and (name in {"Unknown", "States.TaskFailed"} or named in _SENTENCES):
            name = named
    said = _REQUEST_ID.sub("", said)
    if "signal: killed" in said:
        name = "Runtime.OutOfMemory"
    sentence = said or "no cause was given"
    if name in _SENTENCES:
        sentence = f"step {stage} {_SENTENCES[name]}" + (f" ({said})" if said else "")
    return RunError(name=name, message=sentence[:_MAX_MESSAGE], stage=stage)
