"""Lambda `gate`: holds the evaluation against the spec's demands and writes the report."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoRegistry
from tidegate.messages import GateTask
from tidegate.settings import StepSettings
from tidegate.steps.gate import gate
from tidegate.telemetry import logger


@cache
def wire() -> tuple[DynamoRegistry, S3Artifacts]:
    """Adapters on AWS, made at the first invocation and kept."""
    settings = StepSettings.from_env()
    return DynamoRegistry(settings.registry_table), S3Artifacts(settings.artifacts_bucket)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """GateTask in, Verdict out."""
    task = GateTask.parse(event)
    registry, artifacts = wire()
    verdict = gate(task, models=registry, runs=registry, artifacts=artifacts, clock=SystemClock())
    logger("gate").info("gated", extra={"run": task.run.to_json(), "verdict": verdict.to_json()})
    return verdict.to_json()
