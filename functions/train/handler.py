"""Lambda `train`: fits one candidate, for the search or for good."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoRegistry
from tidegate.kernel.settings import StepSettings
from tidegate.messages import TrainTask
from tidegate.ml.training import OnnxFitter
from tidegate.steps.training.train import train
from tidegate.telemetry import logger


@cache
def wire() -> tuple[DynamoRegistry, S3Artifacts]:
    """Adapters on AWS, made at the first invocation and kept."""
    settings = StepSettings.from_env()
    return DynamoRegistry(settings.registry_table), S3Artifacts(settings.artifacts_bucket)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """TrainTask in; CandidateResult out for `validate`, Fitted for `final`."""
    task = TrainTask.parse(event)
    registry, artifacts = wire()
    trained = train(task, models=registry, runs=registry, artifacts=artifacts, fitter=OnnxFitter(), clock=SystemClock())
    facts = {"run": task.run.to_json(), "candidate": task.candidate.to_json(), "purpose": task.purpose}
    logger("train").info("trained", extra={**facts, "trained": trained.to_json()})
    return trained.to_json()
