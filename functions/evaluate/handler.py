"""Lambda `evaluate`: scores the fitted model on the holdout next to baseline and champion."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoRegistry
from tidegate.kernel.settings import StepSettings
from tidegate.messages import EvaluateTask
from tidegate.ml.scoring import load
from tidegate.steps.evaluation.evaluate import evaluate
from tidegate.telemetry import logger


@cache
def wire() -> tuple[DynamoRegistry, S3Artifacts]:
    """Adapters on AWS, made at the first invocation and kept."""
    settings = StepSettings.from_env()
    return DynamoRegistry(settings.registry_table), S3Artifacts(settings.artifacts_bucket)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """EvaluateTask in, Evaluated out."""
    task = EvaluateTask.parse(event)
    registry, artifacts = wire()
    evaluated = evaluate(
        task,
        models=registry,
        runs=registry,
        versions=registry,
        routes=registry,
        artifacts=artifacts,
        load=load,
        clock=SystemClock(),
    )
    logger("evaluate").info("evaluated", extra={"run": task.run.to_json(), "evaluated": evaluated.to_json()})
    return evaluated.to_json()
