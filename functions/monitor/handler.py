"""Lambda `monitor`: counts what models were asked, judges it and records how they stand.

A model that cannot be looked at is logged and named in the answer; the others of its batch are looked at all the same.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoRegistry
from tidegate.aws.rollouts import DynamoRollouts
from tidegate.aws.watch import DynamoHealthRecords, S3Hours, S3Verdicts
from tidegate.domain.monitoring.costs import Prices
from tidegate.kernel.settings import MonitorSettings
from tidegate.messages import Monitored, MonitorTask
from tidegate.steps.monitoring.monitor import monitor
from tidegate.telemetry import Meter, logger


@dataclass(frozen=True, slots=True)
class Wired:
    """The function's parts."""

    registry: DynamoRegistry
    rollouts: DynamoRollouts
    artifacts: S3Artifacts
    hours: S3Hours
    verdicts: S3Verdicts
    health_records: DynamoHealthRecords
    meter: Meter
    prices: Prices


@cache
def wire() -> Wired:
    """Parts on AWS, made at the first invocation and kept."""
    settings = MonitorSettings.from_env()
    return Wired(
        registry=DynamoRegistry(settings.registry_table),
        rollouts=DynamoRollouts(settings.registry_table),
        artifacts=S3Artifacts(settings.artifacts_bucket),
        hours=S3Hours(settings.captures_bucket),
        verdicts=S3Verdicts(settings.captures_bucket),
        health_records=DynamoHealthRecords(settings.registry_table),
        meter=Meter("monitor", stage=settings.stage),
        prices=Prices(
            gb_second=float(settings.gb_second_usd),
            request=float(settings.request_usd),
            gb_month=float(settings.gb_month_usd),
            memory_mb=float(settings.inference_memory_mb),
        ),
    )


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """MonitorTask in, Monitored out."""
    task, parts = MonitorTask.parse(event), wire()
    failed = []
    for model in task.models:
        try:
            _look(model, task.now, parts)
        except Exception as error:  # noqa: BLE001  whatever it is, it is this model's; the others are looked at
            parts.meter.fault("not looked at", error, model=model)
            failed.append(model)
    return Monitored(outcome="failed" if failed else "monitored", failed=failed).to_json()


def _look(model: str, now: datetime, parts: Wired) -> None:
    looked = monitor(
        model,
        now,
        models=parts.registry,
        runs=parts.registry,
        versions=parts.registry,
        routes=parts.registry,
        rollouts=parts.rollouts,
        artifacts=parts.artifacts,
        hours=parts.hours,
        verdicts=parts.verdicts,
        health_records=parts.health_records,
        clock=SystemClock(),
        prices=parts.prices,
    )
    if looked.own:
        parts.meter.about(model)
    for name, value in looked.metrics.items():
        parts.meter.count(name, value)
    parts.meter.flush()
    for dimensions, values in looked.apart:
        parts.meter.tell(values, **dimensions)
    record = looked.record
    logger("monitor").info(
        "looked at", extra={"model": model, "health": record.health.value, "reasons": list(record.reasons)}
    )
