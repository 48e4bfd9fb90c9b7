"""Lambda `rollout`: takes an accepted version one step further to its users, or back.

The state machine calls it again and again until the rollout is over, and once to ask for an approval.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.evidence import S3ArmsReader
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoRegistry
from tidegate.aws.rollouts import DynamoRollouts
from tidegate.aws.workflow import StepFunctionsWorkflow
from tidegate.kernel.settings import RolloutSettings
from tidegate.messages import AskApproval, RolloutTask
from tidegate.ports.registry import Workflow
from tidegate.steps.rollout.rollout import advance, ask
from tidegate.telemetry import logger


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as this function sees it."""

    registry: DynamoRegistry
    rollouts: DynamoRollouts
    artifacts: S3Artifacts
    arms: S3ArmsReader
    workflow: Workflow
    clock: SystemClock


@cache
def wire() -> Ports:
    """Adapters on AWS, made at the first invocation and kept."""
    settings, clock = RolloutSettings.from_env(), SystemClock()
    return Ports(
        registry=DynamoRegistry(settings.registry_table),
        rollouts=DynamoRollouts(settings.registry_table),
        artifacts=S3Artifacts(settings.artifacts_bucket),
        arms=S3ArmsReader(settings.captures_bucket, clock=clock),
        workflow=StepFunctionsWorkflow(settings.release_state_machine),
        clock=clock,
    )


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """RolloutTask in, Moved out; or AskApproval in, which is answered by an approver."""
    at = wire()
    if "token" in event:
        asking = AskApproval.parse(event)
        ask(asking, rollouts=at.rollouts, workflow=at.workflow, clock=at.clock)
        logger("rollout").info("approval is asked for", extra={"run": asking.run.to_json()})
        return {}
    task = RolloutTask.parse(event)
    moved = advance(
        task,
        models=at.registry,
        runs=at.registry,
        versions=at.registry,
        routes=at.registry,
        rollouts=at.rollouts,
        artifacts=at.artifacts,
        arms=at.arms,
    )
    logger("rollout").info("moved", extra={"run": task.run.to_json(), "moved": moved.to_json()})
    return moved.to_json()
