"""Lambda `select`: chooses the candidate that did best on the validation rows."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import RegistrySettings
from tidegate.messages import SelectTask
from tidegate.steps.training.select import select
from tidegate.telemetry import ends_runs, logger


@logger("select").inject_lambda_context
@ends_runs("select")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """SelectTask in, Selection out; EndsRun where people are at fault."""
    task = SelectTask.parse(event)
    at = wiring.of(RegistrySettings)
    selection = select(task, runs=at.registry, clock=at.clock)
    logger("select").info("selected", extra={"run": task.run.to_json(), "selection": selection.to_json()})
    return selection.to_json()
