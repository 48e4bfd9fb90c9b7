"""Lambda `due`: says which models the watch is to look at in this hour."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.registry import DynamoRegistry
from tidegate.aws.watch import S3Hours
from tidegate.kernel.settings import DueSettings
from tidegate.messages import DueTask
from tidegate.steps.monitoring.due import due_models
from tidegate.telemetry import logger


@cache
def wire() -> tuple[DynamoRegistry, S3Hours]:
    """Adapters on AWS, made at the first invocation and kept."""
    settings = DueSettings.from_env()
    return DynamoRegistry(settings.registry_table), S3Hours(settings.captures_bucket)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """DueTask in, DueModels out."""
    registry, hours = wire()
    found = due_models(DueTask.parse(event), models=registry, hours=hours, clock=SystemClock())
    logger("due").info(
        "found", extra={"models": sum(len(batch.models) for batch in found.batches), "after": found.after}
    )
    return found.to_json()
