"""Which models are due in this hour."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from tidegate.domain.serving.capture import hour_of
from tidegate.messages import DueModels, DueTask, ModelBatch
from tidegate.ports.monitoring import HealthRecords, Hours
from tidegate.ports.platform import Clock
from tidegate.ports.registry import ModelHeader, Models

PAGE_MODELS = 1_000  # of one answer: a quarter of what a state may hand on at most, and some seconds of asking
BATCH_MODELS = 25
REACH = timedelta(days=8)  # the longest window by default, and a day for feedback that comes late
IDLE_HOUR = 0  # of the day (UTC) in which models without traffic are looked at
_THREADS = 8


def due_models(
    task: DueTask, *, models: Models, hours: Hours, health_records: HealthRecords, clock: Clock
) -> DueModels:
    """A page of models by name, in batches.

    Every model that was asked anything in the last eight days is looked at in every hour: its windows move on. So is
    one that is not what was recorded: its alarm stays on until it is again. Others are looked at once a day, so that
    schedules are kept and what was found before does not stand for ever. A model without a version is left alone. So a
    model without traffic costs two reads, and one without a version none.

    Which hours are to be counted again depends on the version that serves, and the list would not fit into a state:
    `monitor` finds out. The eight days end with the function's own clock, as captures are named by functions' clocks;
    the idle hour is that of the state machine.
    """
    headers = models.models(after=task.after, limit=PAGE_MODELS)
    since = hour_of(clock.now() - REACH)
    served = [header.name for header in headers if header.latest_version]
    if task.now.hour != IDLE_HOUR:
        served = _only(served, lambda model: hours.asked(model, since) or _tampered(model, health_records))
    batches = [ModelBatch(models=served[start : start + BATCH_MODELS]) for start in range(0, len(served), BATCH_MODELS)]
    return DueModels(batches=batches, after=_following(headers))


def _only(models: Sequence[str], asked: Callable[[str], bool]) -> list[str]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return [model for model, yes in zip(models, pool.map(asked, models), strict=True) if yes]


def _tampered(model: str, health_records: HealthRecords) -> bool:
    record = health_records.record(model)
    return record is not None and bool(record.tampered)


def _following(headers: Sequence[ModelHeader]) -> str:
    return headers[-1].name if len(headers) == PAGE_MODELS else ""
