"""Start the trainings that monitoring wants: each once, on data that has what happened since.

A training that cannot start now stays wanted; its health record says why, and the next look decides anew.
"""

from collections.abc import Callable
from dataclasses import replace

from tidegate.domain.data.dataset import DatasetStatus, DatasetVersion
from tidegate.domain.monitoring.health import Attempt, HealthRecord, Trigger, started
from tidegate.domain.registry.run import Maker, Run
from tidegate.kernel.errors import ConflictError
from tidegate.messages import StartTraining, TrainingStarted, WantedTraining, WantedTrainings
from tidegate.ports.data import Catalog
from tidegate.ports.monitoring import HealthRecords
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Models, Runs, Workflow
from tidegate.steps.conflicts import twice
from tidegate.steps.monitoring.labelled_dataset import FIXED_PERIODS
from tidegate.steps.registry.runs import StartRun, start_run

MOST_AT_ONCE = 40  # of one execution, whose history is limited; the others follow in the next hour
_MAX_REASON = 500
_MAX_NOTE = 250
_LATEST_RUNS = 10


def find_wanted(model: str | None, *, models: Models, health_records: HealthRecords) -> WantedTrainings:
    """Trainings that are wanted: of one model, or of all; those that were held back before come last.

    Raises:
        NotFoundError: no such model.
    """
    names = [models.model(model).name] if model else [header.name for header in models.models()]
    found = [record for name in names if (record := health_records.record(name)) is not None and record.wanted]
    found.sort(key=lambda record: bool(record.held_back))
    return WantedTrainings(
        wanted=[WantedTraining(model=each.model, token=_token(each)) for each in found[:MOST_AT_ONCE]]
    )


def start(
    task: StartTraining,
    *,
    models: Models,
    catalog: Catalog,
    runs: Runs,
    health_records: HealthRecords,
    workflow: Workflow,
    clock: Clock,
    chance: Callable[[], str],
) -> TrainingStarted:
    """Start a wanted training once its dataset version is ready, and record it in the model's health record.

    The token shows a repeated call which run it has started, also when it died before it could record it.

    Raises:
        NotFoundError: no such model, or dataset version.
        RequestInvalidError: the dataset version is there no more.
        ConflictError: others change the health record faster than it can be read.
        UnavailableError: a service did not answer; calling again goes on.
    """
    model, labelled = task.model, task.labelled
    spec = models.spec(model)
    run = next((run for run in runs.runs(model, limit=_LATEST_RUNS) if run.token == task.token), None)
    if run is None:
        record = health_records.record(model)
        if record is None or record.wanted is None:
            return TrainingStarted(next="done", reason="it is no longer wanted")
        version = catalog.version(spec.dataset, labelled.dataset_version)
        if version.status is DatasetStatus.REGISTERING and clock.now() < labelled.until:
            return TrainingStarted(next="wait")
        hindrance = FIXED_PERIODS if spec.split.train else _unready(version)
        if hindrance:
            return _hold_back(model, hindrance, health_records)
        reason, makers = _reason(record, record.wanted, labelled.note), _makers(record)
    else:
        reason, makers = run.reason, run.makers
    body = StartRun(token=task.token, reason=reason, dataset_version=labelled.dataset_version)
    try:
        answer = start_run(
            model,
            body,
            actor=task.actor,
            models=models,
            catalog=catalog,
            runs=runs,
            workflow=workflow,
            clock=clock,
            chance=chance,
            makers=makers,
        )
    except ConflictError as error:
        return _hold_back(model, error.message, health_records)
    return _record(runs.run(model, answer["run"]["run_id"]), health_records)


def _token(record: HealthRecord) -> str:
    return f"monitoring-{record.revision}-{record.looked_at:%Y%m%dT%H%M%S}"


def _unready(version: DatasetVersion) -> str:
    match version.status:
        case DatasetStatus.READY:
            return ""
        case DatasetStatus.FAILED:
            return f"captures could not be added to dataset {version.dataset}: {version.problem}"
        case DatasetStatus.REGISTERING:
            return (
                f"version {version.version} of dataset {version.dataset} is still registering; see the log of catalog"
            )


def _reason(record: HealthRecord, trigger: Trigger, note: str) -> str:
    """What people read with the run: the trigger first, by which the run is known again, then why, then the data."""
    data = f"; data: {note}"[:_MAX_NOTE]
    why = f"{trigger}: {'; '.join(record.reasons)}"
    most = _MAX_REASON - len(data)
    return (why if len(why) <= most else f"{why[: most - 3]}...") + data


def _makers(record: HealthRecord) -> tuple[Maker, ...]:
    """Who has seen to the model, by which it is trained at all."""
    seen_to = dict.fromkeys(filter(None, (record.acknowledged_by, record.seen_by)))
    return tuple(Maker(who, "acknowledged its health") for who in seen_to)


def _hold_back(model: str, why: str, health_records: HealthRecords) -> TrainingStarted:
    """The training stays wanted, and people can read why it does not start."""

    def once() -> None:
        record = health_records.record(model)
        if record is not None and record.wanted is not None and record.held_back != why:
            health_records.save(replace(record, revision=record.revision + 1, held_back=why))

    twice(once)
    return TrainingStarted(next="done", reason=why)


def _record(run: Run, health_records: HealthRecords) -> TrainingStarted:
    trigger = Trigger(run.reason.partition(":")[0])

    def once() -> None:
        record = health_records.record(run.model)
        if record is not None and all(attempt.run_id != run.run_id for attempt in record.attempts):
            health_records.save(started(record, Attempt(run.run_id, trigger, run.requested_at)))

    twice(once)
    return TrainingStarted(next="done", run_id=run.run_id)
