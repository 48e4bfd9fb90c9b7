"""Lambda `gate`: holds the evaluation against the spec's demands and writes the report."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoRegistry
from tidegate.domain.monitoring.costs import Prices
from tidegate.kernel.settings import GateSettings
from tidegate.messages import GateTask
from tidegate.steps.evaluation.gate import gate
from tidegate.telemetry import logger


@cache
def wire() -> tuple[DynamoRegistry, S3Artifacts, Prices]:
    """Adapters on AWS, and prices; made at the first invocation and kept."""
    settings = GateSettings.from_env()
    prices = Prices(
        gb_second=float(settings.gb_second_usd),
        request=float(settings.request_usd),
        gb_month=0.0,
        memory_mb=float(settings.inference_memory_mb),
    )
    return DynamoRegistry(settings.registry_table), S3Artifacts(settings.artifacts_bucket), prices


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """GateTask in, Verdict out."""
    task = GateTask.parse(event)
    registry, artifacts, prices = wire()
    verdict = gate(
        task,
        models=registry,
        runs=registry,
        versions=registry,
        artifacts=artifacts,
        clock=SystemClock(),
        prices=prices,
    )
    logger("gate").info("gated", extra={"run": task.run.to_json(), "verdict": verdict.to_json()})
    return verdict.to_json()
