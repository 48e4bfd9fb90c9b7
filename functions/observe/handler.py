"""Lambda `observe`: counts what models were asked, judges it and records how they stand.

A model that cannot be looked at is logged and named in the answer; the others of its batch are looked at all the same.
"""

from datetime import datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import ObserveSettings
from tidegate.messages import Observed, ObserveTask
from tidegate.steps.monitoring.monitor import observe
from tidegate.telemetry import logger


@logger("observe").inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """ObserveTask in, Observed out."""
    task, at = ObserveTask.parse(event), wiring.of(ObserveSettings)
    failed = []
    for model in task.models:
        try:
            _look(model, task.now, at)
        except Exception as error:  # noqa: BLE001  whatever it is, it is this model's; the others are looked at
            at.meter.fault("not looked at", error, model=model)
            failed.append(model)
    return Observed(outcome="failed" if failed else "watched", failed=failed).to_json()


def _look(model: str, now: datetime, at: wiring.Wiring[ObserveSettings]) -> None:
    looked = observe(
        model,
        now,
        models=at.registry,
        runs=at.registry,
        versions=at.registry,
        routes=at.registry,
        rollouts=at.rollouts,
        artifacts=at.artifacts,
        hours=at.hours,
        verdicts=at.verdicts,
        standings=at.standings,
        clock=at.clock,
        prices=at.prices,
    )
    if looked.own:
        at.meter.about(model)
    for name, value in looked.metrics.items():
        at.meter.count(name, value)
    at.meter.flush()
    for dimensions, values in looked.apart:
        at.meter.tell(values, **dimensions)
    standing = looked.standing
    logger("observe").info(
        "looked at", extra={"model": model, "health": standing.health.value, "reasons": list(standing.reasons)}
    )
