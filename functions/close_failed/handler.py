"""Lambda `close_failed`: closes a run whose execution ended by a fault, and ends its rollout.

Called by the state machine's own Catch, and by EventBridge for executions that ended where no Catch could run: aborted,
timed out as a whole, failed in CloseFailed itself. Both may come for one run; the second changes nothing.

The registry's stream calls it for each run and each attempt at a batch that is recorded, so that one whose request died
on the way is started.
"""

import json
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.aws.announcements import change_of
from tidegate.aws.batch_ledger import entry_of
from tidegate.domain.registry.run import Run
from tidegate.kernel.settings import CloseFailedSettings
from tidegate.messages import CloseFailedTask, RunRef
from tidegate.steps.batch.batch import start_recorded_batch
from tidegate.steps.rollout.close_failed import ABORTED, TIMED_OUT, close_failed, start_recorded
from tidegate.telemetry import logger

STATUS_CHANGE = "Step Functions Execution Status Change"


@logger("close_failed").inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """CloseFailedTask or an EventBridge event in, ClosedRun out; or a record of the stream in."""
    if "Records" in event:
        for record in event["Records"]:
            _start(record)
        return {}
    task = (
        _of_status_change(event["detail"])
        if event.get("detail-type") == STATUS_CHANGE
        else CloseFailedTask.parse(event)
    )
    at = wiring.of(CloseFailedSettings)
    closed = close_failed(
        task,
        models=at.registry,
        runs=at.registry,
        versions=at.registry,
        routes=at.routes,
        rollouts=at.rollouts,
        clock=at.clock,
    )
    logger("close_failed").info("closed", extra={"run": task.run.to_json(), "closed": closed.to_json()})
    return closed.to_json()


def _start(record: dict[str, Any]) -> None:
    at = wiring.of(CloseFailedSettings)
    entry = entry_of(record)
    if entry is not None and not start_recorded_batch(entry, batches=at.batch_runs, clock=at.clock):
        logger("close_failed").warning("not started", extra={"batch": entry.batch_id, "output": entry.output})
    change = change_of(record)
    if change is None or not isinstance(change.after, Run):
        return
    ref = RunRef(model=change.after.model, run_id=change.after.run_id)
    closed = start_recorded(
        ref,
        models=at.registry,
        runs=at.registry,
        versions=at.registry,
        routes=at.routes,
        rollouts=at.rollouts,
        workflow=at.workflow,
        clock=at.clock,
    )
    if closed:
        logger("close_failed").warning("not started", extra={"run": ref.to_json(), "closed": closed.to_json()})


def _of_status_change(detail: dict[str, Any]) -> CloseFailedTask:
    """The execution's input is its RunRef. FAILED executions carry error and cause; for the others the status says."""
    error = {"ABORTED": ABORTED, "TIMED_OUT": TIMED_OUT}.get(detail["status"], "")
    return CloseFailedTask(
        run=RunRef.parse(json.loads(detail["input"])),
        error=str(detail.get("error") or error),
        cause=str(detail.get("cause") or ""),
    )
