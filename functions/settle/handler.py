"""Lambda `settle`: closes a run whose execution ended by a fault, and ends its rollout.

Called by the state machine's own Catch, and by EventBridge for executions that ended where no Catch could run: aborted,
timed out as a whole, failed in Settle itself. Both may come for one run; the second changes nothing.
"""

import json
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import RegistrySettings
from tidegate.messages import RunRef, SettleTask
from tidegate.steps.rollout.close_failed import ABORTED, TIMED_OUT, settle
from tidegate.telemetry import logger

STATUS_CHANGE = "Step Functions Execution Status Change"


@logger("settle").inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """SettleTask or an EventBridge event in, Settled out."""
    task = _of_status_change(event["detail"]) if event.get("detail-type") == STATUS_CHANGE else SettleTask.parse(event)
    at = wiring.of(RegistrySettings)
    settled = settle(
        task,
        models=at.registry,
        runs=at.registry,
        versions=at.registry,
        routes=at.registry,
        rollouts=at.rollouts,
        clock=at.clock,
    )
    logger("settle").info("settled", extra={"run": task.run.to_json(), "settled": settled.to_json()})
    return settled.to_json()


def _of_status_change(detail: dict[str, Any]) -> SettleTask:
    """The execution's input is its RunRef. FAILED executions carry error and cause; for the others the status says."""
    error = {"ABORTED": ABORTED, "TIMED_OUT": TIMED_OUT}.get(detail["status"], "")
    return SettleTask(
        run=RunRef.parse(json.loads(detail["input"])),
        error=str(detail.get("error") or error),
        cause=str(detail.get("cause") or ""),
    )
