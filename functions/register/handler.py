"""Lambda `register`: turns a finished run into a registered version."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import LedgerSettings
from tidegate.messages import RegisterTask
from tidegate.steps.evaluation.register import register
from tidegate.telemetry import ends_runs, logger


@logger("register").inject_lambda_context
@ends_runs("register")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """RegisterTask in, Registered out; EndsRun where people are at fault."""
    task = RegisterTask.parse(event)
    at = wiring.of(LedgerSettings)
    registered = register(
        task,
        models=at.registry,
        runs=at.registry,
        versions=at.registry,
        routes=at.routes,
        rollouts=at.rollouts,
        clock=at.clock,
    )
    logger("register").info("registered", extra={"run": task.run.to_json(), "registered": registered.to_json()})
    return registered.to_json()
