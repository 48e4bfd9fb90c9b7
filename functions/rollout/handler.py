"""Lambda `rollout`: takes an accepted version one step further to its users, or back.

The state machine calls it again and again until the rollout is over, and once to ask for an approval.
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import RolloutSettings
from tidegate.messages import AskApproval, RolloutTask
from tidegate.steps.rollout.rollout import advance, ask
from tidegate.telemetry import logger


@logger("rollout").inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """RolloutTask in, Moved out; or AskApproval in, which is answered by an approver."""
    at = wiring.of(RolloutSettings)
    if "token" in event:
        asking = AskApproval.parse(event)
        ask(asking, rollouts=at.rollouts, workflow=at.workflow, clock=at.clock)
        logger("rollout").info("approval requested", extra={"run": asking.run.to_json()})
        return {}
    task = RolloutTask.parse(event)
    moved = advance(
        task,
        models=at.registry,
        runs=at.registry,
        versions=at.registry,
        routes=at.routes,
        rollouts=at.rollouts,
        catalog=at.catalog,
        artifacts=at.artifacts,
        arms=at.arms,
    )
    logger("rollout").info("moved", extra={"run": task.run.to_json(), "moved": moved.to_json()})
    return moved.to_json()
