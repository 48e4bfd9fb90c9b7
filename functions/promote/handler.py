"""Lambda `promote`: makes an accepted version the champion."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.registry import DynamoRegistry
from tidegate.messages import PromoteTask
from tidegate.settings import RegistrySettings
from tidegate.steps.promote import promote
from tidegate.telemetry import logger


@cache
def wire() -> DynamoRegistry:
    """The registry on AWS, made at the first invocation and kept."""
    return DynamoRegistry(RegistrySettings.from_env().registry_table)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """PromoteTask in, Promoted out."""
    task, registry = PromoteTask.parse(event), wire()
    promoted = promote(task, runs=registry, versions=registry, routes=registry, clock=SystemClock())
    logger("promote").info("promoted", extra={"run": task.run.to_json(), "promoted": promoted.to_json()})
    return promoted.to_json()
