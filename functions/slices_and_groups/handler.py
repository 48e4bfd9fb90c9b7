"""Lambda `slices_and_groups`: looks at slices of the holdout, and at groups of people, where one number for all hides a
fault."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoRegistry
from tidegate.kernel.settings import StepSettings
from tidegate.messages import SlicesAndGroupsTask
from tidegate.ml.fairness import FairlearnGroups
from tidegate.ml.slices import tree_leaves
from tidegate.steps.evaluation.slices_and_groups import slices_and_groups
from tidegate.telemetry import logger


@cache
def wire() -> tuple[DynamoRegistry, S3Artifacts]:
    """Adapters on AWS, made at the first invocation and kept."""
    settings = StepSettings.from_env()
    return DynamoRegistry(settings.registry_table), S3Artifacts(settings.artifacts_bucket)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """SlicesAndGroupsTask in, SlicesAndGroups out."""
    task = SlicesAndGroupsTask.parse(event)
    registry, artifacts = wire()
    measured = slices_and_groups(
        task,
        models=registry,
        runs=registry,
        versions=registry,
        artifacts=artifacts,
        search=tree_leaves,
        groups=FairlearnGroups(),
        clock=SystemClock(),
    )
    logger("slices_and_groups").info(
        "measured", extra={"run": task.run.to_json(), "slices_and_groups": measured.to_json()}
    )
    return measured.to_json()
