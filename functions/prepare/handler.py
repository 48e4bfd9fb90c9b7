"""Lambda `prepare`: resolves a run's dataset, checks it and writes the tables that the later steps work on."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import PrepareSettings
from tidegate.messages import RunRef
from tidegate.ml.frames import PandasReader
from tidegate.steps.data.prepare import prepare
from tidegate.telemetry import ends_runs, logger


@logger("prepare").inject_lambda_context
@ends_runs("prepare")
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """RunRef in, Plan out; EndsRun where people are at fault."""
    run = RunRef.parse(event)
    at = wiring.of(PrepareSettings)
    plan = prepare(
        run,
        models=at.registry,
        runs=at.registry,
        versions=at.registry,
        routes=at.registry,
        catalog=at.catalog,
        files=at.files,
        reader=PandasReader(int(context.memory_limit_in_mb)),
        artifacts=at.artifacts,
        clock=at.clock,
        code_version=at.settings.code_version,
        lock_hash=at.settings.lock_hash,
        allowed_licences=at.settings.licences,
    )
    answer = plan.to_json()
    logger("prepare").info("prepared", extra={"run": run.to_json(), "plan": answer})
    return answer
