"""Lambda `reproduce`: holds what a run made again against the version that it reproduces."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoRegistry
from tidegate.kernel.settings import StepSettings
from tidegate.messages import ReproduceTask
from tidegate.steps.evaluation.reproduce import reproduce
from tidegate.telemetry import logger


@cache
def wire() -> tuple[DynamoRegistry, S3Artifacts]:
    """Adapters on AWS, made at the first invocation and kept."""
    settings = StepSettings.from_env()
    return DynamoRegistry(settings.registry_table), S3Artifacts(settings.artifacts_bucket)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """ReproduceTask in, Reproduced out."""
    task = ReproduceTask.parse(event)
    registry, artifacts = wire()
    reproduced = reproduce(task, runs=registry, versions=registry, artifacts=artifacts, clock=SystemClock())
    logger("reproduce").info("reproduced", extra={"run": task.run.to_json(), "reproduced": reproduced.to_json()})
    return reproduced.to_json()
