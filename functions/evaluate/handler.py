"""Lambda `evaluate`: scores the fitted model on the holdout next to baseline and champion."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import StepSettings
from tidegate.messages import EvaluateTask
from tidegate.ml.scoring import load
from tidegate.steps.evaluation.evaluate import evaluate
from tidegate.telemetry import ends_runs, logger


@logger("evaluate").inject_lambda_context
@ends_runs("evaluate")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """EvaluateTask in, Evaluated out; EndsRun where people are at fault."""
    task = EvaluateTask.parse(event)
    at = wiring.of(StepSettings)
    evaluated = evaluate(
        task,
        models=at.registry,
        runs=at.registry,
        versions=at.registry,
        routes=at.registry,
        artifacts=at.artifacts,
        load=load,
        clock=at.clock,
    )
    logger("evaluate").info("evaluated", extra={"run": task.run.to_json(), "evaluated": evaluated.to_json()})
    return evaluated.to_json()
