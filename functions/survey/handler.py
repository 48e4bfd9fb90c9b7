"""Lambda `survey`: says which models the watch is to look at in this hour."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.registry import DynamoRegistry
from tidegate.aws.watch import S3Hours
from tidegate.kernel.settings import SurveySettings
from tidegate.messages import SurveyTask
from tidegate.steps.monitoring.due import survey
from tidegate.telemetry import logger


@cache
def wire() -> tuple[DynamoRegistry, S3Hours]:
    """Adapters on AWS, made at the first invocation and kept."""
    settings = SurveySettings.from_env()
    return DynamoRegistry(settings.registry_table), S3Hours(settings.captures_bucket)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """SurveyTask in, Surveyed out."""
    registry, hours = wire()
    surveyed = survey(SurveyTask.parse(event), models=registry, hours=hours, clock=SystemClock())
    logger("survey").info(
        "surveyed", extra={"models": sum(len(batch.models) for batch in surveyed.batches), "after": surveyed.after}
    )
    return surveyed.to_json()
