"""Lambda `report`: draws the page of a registered version, for people who judge it."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import StepSettings
from tidegate.messages import ReportTask
from tidegate.plots.page import draw
from tidegate.steps.evaluation.report import report
from tidegate.telemetry import logger


@logger("report").inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """ReportTask in, Drawn out."""
    task = ReportTask.parse(event)
    at = wiring.of(StepSettings)
    drawn = report(
        task, models=at.registry, versions=at.registry, catalog=at.catalog, artifacts=at.artifacts, draw=draw
    )
    logger("report").info("drawn", extra={"run": task.run.to_json(), "drawn": drawn.to_json()})
    return drawn.to_json()
