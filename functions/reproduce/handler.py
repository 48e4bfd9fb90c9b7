"""Lambda `reproduce`: holds what a run made again against the version that it reproduces."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import StepSettings
from tidegate.messages import ReproduceTask
from tidegate.steps.evaluation.reproduce import reproduce
from tidegate.telemetry import ends_runs, logger


@logger("reproduce").inject_lambda_context
@ends_runs("reproduce")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """ReproduceTask in, Reproduced out; EndsRun where people are at fault."""
    task = ReproduceTask.parse(event)
    at = wiring.of(StepSettings)
    reproduced = reproduce(task, runs=at.registry, versions=at.registry, artifacts=at.artifacts, clock=at.clock)
    logger("reproduce").info("reproduced", extra={"run": task.run.to_json(), "reproduced": reproduced.to_json()})
    return reproduced.to_json()
