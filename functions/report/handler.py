"""Lambda `report`: draws the page of a registered version, for people who judge it."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoCatalog, DynamoRegistry
from tidegate.kernel.settings import StepSettings
from tidegate.messages import ReportTask
from tidegate.plots.page import draw
from tidegate.steps.evaluation.report import report
from tidegate.telemetry import logger


@cache
def wire() -> tuple[DynamoRegistry, DynamoCatalog, S3Artifacts]:
    """Adapters on AWS, made at the first invocation and kept."""
    settings = StepSettings.from_env()
    table = settings.registry_table
    return DynamoRegistry(table), DynamoCatalog(table), S3Artifacts(settings.artifacts_bucket)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """ReportTask in, Drawn out."""
    task = ReportTask.parse(event)
    registry, catalog, artifacts = wire()
    drawn = report(task, models=registry, versions=registry, catalog=catalog, artifacts=artifacts, draw=draw)
    logger("report").info("drawn", extra={"run": task.run.to_json(), "drawn": drawn.to_json()})
    return drawn.to_json()
