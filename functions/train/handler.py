"""Lambda `train`: fits one candidate, for the search or for good."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import StepSettings
from tidegate.messages import TrainTask
from tidegate.ml.training import OnnxFitter
from tidegate.steps.training.train import train
from tidegate.telemetry import ends_runs, logger


@logger("train").inject_lambda_context
@ends_runs("train")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """TrainTask in; CandidateResult out for `validate`, Fitted for `final`; EndsRun where people are at fault."""
    task = TrainTask.parse(event)
    at = wiring.of(StepSettings)
    trained = train(
        task, models=at.registry, runs=at.registry, artifacts=at.artifacts, fitter=OnnxFitter(), clock=at.clock
    )
    facts = {"run": task.run.to_json(), "candidate": task.candidate.to_json(), "purpose": task.purpose}
    logger("train").info("trained", extra={**facts, "trained": trained.to_json()})
    return trained.to_json()
