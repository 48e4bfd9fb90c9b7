"""Lambda `due`: says which models are due in this hour."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import DueSettings
from tidegate.messages import DueTask
from tidegate.steps.monitoring.due import due_models
from tidegate.telemetry import logger


@logger("due").inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """DueTask in, DueModels out."""
    at = wiring.of(DueSettings)
    found = due_models(
        DueTask.parse(event), models=at.registry, hours=at.hours, health_records=at.health_records, clock=at.clock
    )
    logger("due").info(
        "found", extra={"models": sum(len(batch.models) for batch in found.batches), "after": found.after}
    )
    return found.to_json()
