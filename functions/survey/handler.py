"""Lambda `survey`: says which models the watch is to look at in this hour."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import SurveySettings
from tidegate.messages import SurveyTask
from tidegate.steps.monitoring.due import survey
from tidegate.telemetry import logger


@logger("survey").inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """SurveyTask in, Surveyed out."""
    at = wiring.of(SurveySettings)
    surveyed = survey(SurveyTask.parse(event), models=at.registry, hours=at.hours, clock=at.clock)
    logger("survey").info(
        "surveyed", extra={"models": sum(len(batch.models) for batch in surveyed.batches), "after": surveyed.after}
    )
    return surveyed.to_json()
