"""Lambda `monitor`: counts what models were asked, judges it and records how they stand.

A model that cannot be looked at is logged and named in the answer; the others of its batch are looked at all the same.
"""

from datetime import datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import MonitorSettings
from tidegate.messages import Monitored, MonitorTask
from tidegate.steps.monitoring.monitor import monitor
from tidegate.telemetry import logger


@logger("monitor").inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """MonitorTask in, Monitored out."""
    task, at = MonitorTask.parse(event), wiring.of(MonitorSettings)
    failed = []
    for model in task.models:
        try:
            _look(model, task.now, at)
        except Exception as error:  # noqa: BLE001  whatever it is, it is this model's; the others are looked at
            at.meter.fault("not looked at", error, model=model)
            failed.append(model)
    return Monitored(outcome="failed" if failed else "monitored", failed=failed).to_json()


def _look(model: str, now: datetime, at: wiring.Wiring[MonitorSettings]) -> None:
    looked = monitor(
        model,
        now,
        models=at.registry,
        runs=at.registry,
        versions=at.registry,
        routes=at.routes,
        rollouts=at.rollout_reader,
        artifacts=at.artifacts,
        hours=at.hours,
        verdicts=at.verdicts,
        health_records=at.health_records,
        clock=at.clock,
        prices=at.prices,
    )
    if looked.own:
        at.meter.about(model)
    for name, value in looked.metrics.items():
        at.meter.count(name, value)
    at.meter.flush()
    for dimensions, values in looked.apart:
        at.meter.report(values, **dimensions)
    record = looked.record
    logger("monitor").info(
        "looked at", extra={"model": model, "health": record.health.value, "reasons": list(record.reasons)}
    )
    if record.tampered:
        logger("monitor").error("not what was recorded", extra={"model": model, "why": record.tampered})
