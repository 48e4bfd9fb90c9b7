"""Lambda `gate`: holds the evaluation against the spec's demands and writes the report."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import GateSettings
from tidegate.messages import GateTask
from tidegate.steps.evaluation.gate import gate
from tidegate.telemetry import ends_runs, logger


@logger("gate").inject_lambda_context
@ends_runs("gate")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """GateTask in, GateDecided out; EndsRun where people are at fault."""
    task = GateTask.parse(event)
    at = wiring.of(GateSettings)
    verdict = gate(
        task,
        models=at.registry,
        runs=at.registry,
        versions=at.registry,
        artifacts=at.artifacts,
        clock=at.clock,
        prices=at.prices,
    )
    logger("gate").info("gated", extra={"run": task.run.to_json(), "verdict": verdict.to_json()})
    return verdict.to_json()
