"""Lambda `select`: chooses the candidate that did best on the validation rows."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.registry import DynamoRegistry
from tidegate.kernel.settings import RegistrySettings
from tidegate.messages import SelectTask
from tidegate.steps.training.select import select
from tidegate.telemetry import logger


@cache
def wire() -> DynamoRegistry:
    """The adapter on AWS, made at the first invocation and kept."""
    return DynamoRegistry(RegistrySettings.from_env().registry_table)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """SelectTask in, Selection out."""
    task = SelectTask.parse(event)
    selection = select(task, runs=wire(), clock=SystemClock())
    logger("select").info("selected", extra={"run": task.run.to_json(), "selection": selection.to_json()})
    return selection.to_json()
