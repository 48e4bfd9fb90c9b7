"""Lambda `register`: turns a finished run into a registered version."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.registry import DynamoRegistry
from tidegate.messages import RegisterTask
from tidegate.settings import RegistrySettings
from tidegate.steps.register import register
from tidegate.telemetry import logger


@cache
def wire() -> DynamoRegistry:
    """The registry on AWS, made at the first invocation and kept."""
    return DynamoRegistry(RegistrySettings.from_env().registry_table)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """RegisterTask in, Registered out."""
    task, registry = RegisterTask.parse(event), wire()
    registered = register(task, runs=registry, versions=registry, routes=registry, clock=SystemClock())
    logger("register").info("registered", extra={"run": task.run.to_json(), "registered": registered.to_json()})
    return registered.to_json()
