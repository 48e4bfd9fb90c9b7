"""Lambda `register`: turns a finished run into a registered version."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.registry import DynamoRegistry
from tidegate.aws.rollouts import DynamoRollouts
from tidegate.kernel.settings import RegistrySettings
from tidegate.messages import RegisterTask
from tidegate.steps.evaluation.register import register
from tidegate.telemetry import logger


@cache
def wire() -> tuple[DynamoRegistry, DynamoRollouts]:
    """Adapters on AWS, made at the first invocation and kept."""
    table = RegistrySettings.from_env().registry_table
    return DynamoRegistry(table), DynamoRollouts(table)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """RegisterTask in, Registered out."""
    task = RegisterTask.parse(event)
    registry, rollouts = wire()
    registered = register(
        task,
        models=registry,
        runs=registry,
        versions=registry,
        routes=registry,
        rollouts=rollouts,
        clock=SystemClock(),
    )
    logger("register").info("registered", extra={"run": task.run.to_json(), "registered": registered.to_json()})
    return registered.to_json()
