"""The trainings that monitoring wants: each is started once, recorded, or held back with a reason."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.builders.health import TRIP_MODEL, health_record
from tests.builders.release import ReleaseHouse
from tests.builders.specs import spec
from tests.builders.tables import to_csv, trips
from tidegate.domain.data.dataset import DatasetStatus
from tidegate.domain.monitoring.health import Attempt, HealthRecord, Trigger
from tidegate.domain.registry.run import Maker, Run, RunStatus
from tidegate.kernel.errors import ConflictError, NotFoundError, RequestInvalidError, UnavailableError
from tidegate.messages import LabelledDataset, StartTraining, TrainingStarted, WantedTraining
from tidegate.spec.model import ModelSpec
from tidegate.steps.monitoring import retrain
from tidegate.steps.monitoring.labelled_dataset import FIXED_PERIODS
from tidegate.steps.monitoring.retrain import find_wanted, start
from tidegate.steps.registry.runs import StartRun, start_run
from tidegate.testing.monitoring import InMemoryHealthRecords
from tidegate.testing.registry import InMemoryWorkflow

ACTOR = "arn:aws:states:eu-west-1:123456789012:execution:tidegate-dev-retrain:e-1"


@dataclass
class Monitoring(ReleaseHouse):
    """A model whose health record wants a training, and its dataset."""

    wanted: ModelSpec = field(default_factory=spec)

    def __post_init__(self) -> None:
        self.filled(trips())
        self.registry.apply(self.wanted, author="ana", at=self.now)
        self.health_records.save(health_record(at=self.now))

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @property
    def health_record(self) -> HealthRecord:
        found = self.health_records.record(TRIP_MODEL)
        assert found is not None
        return found

    @property
    def runs(self) -> list[Run]:
        return self.registry.runs(TRIP_MODEL)

    def find(self, model: str | None = None) -> list[WantedTraining]:
        return self.step(find_wanted, model).wanted

    def task(self, **changes: Any) -> StartTraining:
        (found,) = self.find(TRIP_MODEL)
        version = self.catalog.version("trips").version
        labelled = LabelledDataset(dataset_version=version, note="all of it", until=self.now + timedelta(minutes=20))
        return StartTraining(
            step="start", model=TRIP_MODEL, token=found.token, actor=ACTOR, labelled=labelled.model_copy(update=changes)
        )

    def start(self, task: StartTraining) -> TrainingStarted:
        return self.step(start, task)

    def registering(self) -> str:
        """A version that the catalog has not read yet."""
        return self.upload(to_csv(trips(100, seed=1))).version

    def by_hand(self) -> str:
        answer = self.step(start_run, TRIP_MODEL, StartRun(), actor="ana", chance=lambda: "012345")
        return str(answer["run"]["run_id"])


# Which


def test_only_wanted_trainings_are_found_and_those_held_back_before_come_last() -> None:
    place = Monitoring()
    records: dict[str, dict[str, Any]] = {
        "a-calm": {"wanted": None},
        "b-held": {"held_back": "a release"},
        "c-due": {},
    }
    for name, about in records.items():
        place.registry.apply(spec(name=name), author="ana", at=place.now)
        place.health_records.save(health_record(at=place.now, model=name, **about))
    place.registry.apply(spec(name="d-never-seen"), author="ana", at=place.now)
    assert [each.model for each in place.find()] == ["c-due", TRIP_MODEL, "b-held"]
    assert place.find("a-calm") == []
    with pytest.raises(NotFoundError):
        place.find("nobody")


def test_one_execution_has_so_many_and_the_rest_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrain, "MOST_AT_ONCE", 1)
    place = Monitoring()
    place.registry.apply(spec(name="another"), author="ana", at=place.now)
    place.health_records.save(health_record(at=place.now, model="another"))
    assert len(place.find()) == 1


def test_each_training_wanted_has_a_token_of_its_own() -> None:
    place = Monitoring()
    (first,) = place.find()
    place.health_records.save(health_record(2, at=place.now))
    (second,) = place.find()
    assert first.token != second.token


# Starting


def test_a_wanted_training_becomes_a_run_with_its_reason_its_data_and_an_attempt() -> None:
    place = Monitoring()
    older = place.catalog.version("trips").version
    place.register(place.catalog.version("trips", place.registering()))
    answer = place.start(place.task(dataset_version=older, note="older rows"))
    (run,) = place.runs
    assert answer == TrainingStarted(next="done", run_id=run.run_id)
    assert (run.requested_by, run.dataset_version) == (ACTOR, older)
    assert older != place.catalog.version("trips").version
    assert run.reason == "quality: roc_auc fell from 0.8 to 0.6; wind drifted; data: older rows"
    assert place.workflow.started == [(TRIP_MODEL, run.run_id)]
    assert place.health_record.wanted is None
    assert place.health_record.attempts == (Attempt(run.run_id, Trigger.QUALITY, run.requested_at),)


def test_who_acknowledged_the_health_is_among_the_makers_of_what_is_trained_after_it() -> None:
    place = Monitoring()
    record = replace(place.health_record, acknowledged_by="ann", seen_by="bob")
    place.health_records.save(replace(record, revision=record.revision + 1))
    place.start(place.task())
    (run,) = place.runs
    assert run.makers[1:] == (Maker("ann", "acknowledged its health"), Maker("bob", "acknowledged its health"))


def test_the_named_dataset_version_is_the_one_that_is_prepared() -> None:
    place = Monitoring()
    first = place.catalog.version("trips")
    place.register(place.upload(to_csv(trips(700, seed=1))))
    run_id = place.start(place.task(dataset_version=first.version)).run_id
    assert run_id is not None
    ref = place.request(place.wanted, run_id)
    assert place.prepare(ref).dataset_version == first.version


def test_a_repeated_call_starts_nothing_more() -> None:
    place = Monitoring()
    task = place.task()
    assert place.start(task) == place.start(task)
    assert len(place.runs) == len(place.workflow.started) == len(place.health_record.attempts) == 1


def test_a_call_that_died_before_it_recorded_the_run_is_mended_by_the_next_even_after_a_look() -> None:
    place = Monitoring()
    task = place.task()
    before = place.health_record
    place.start(task)
    look = replace(before, revision=2, wanted=None, held_back="a release of the model is under way")
    place.health_records = InMemoryHealthRecords([before, look])
    place.clock.move(minutes=1)
    answer = place.start(task)
    (run,) = place.runs
    assert answer.run_id == run.run_id
    assert place.health_record.attempts == (Attempt(run.run_id, Trigger.QUALITY, run.requested_at),)


def test_a_run_that_was_recorded_but_not_started_is_started_by_the_next_call() -> None:
    class Failing(InMemoryWorkflow):
        def start(self, model: str, run_id: str) -> None:
            raise UnavailableError("Step Functions did not answer")

    place = Monitoring()
    task, working = place.task(), place.workflow
    place.workflow = Failing()
    with pytest.raises(UnavailableError):
        place.start(task)
    assert place.health_record.attempts == ()
    place.workflow = working
    answer = place.start(task)
    assert working.started == [(TRIP_MODEL, answer.run_id)]
    assert len(place.runs) == len(place.health_record.attempts) == 1


def test_a_finished_run_of_the_same_token_is_not_started_again() -> None:
    place = Monitoring()
    task = place.task()
    run_id = place.start(task).run_id
    assert run_id is not None
    place.registry.note(TRIP_MODEL, run_id, "prepare", place.now)
    assert place.start(task).run_id == run_id
    assert place.runs[0].status is RunStatus.RUNNING
    assert len(place.workflow.started) == 1


def test_a_training_that_is_no_longer_wanted_starts_nothing() -> None:
    place = Monitoring()
    task = place.task()
    place.health_records.save(health_record(2, at=place.now, wanted=None))
    assert place.start(task) == TrainingStarted(next="done", reason="it is no longer wanted")
    assert place.runs == []


def test_a_version_that_registers_is_waited_for() -> None:
    place = Monitoring()
    version = place.registering()
    task = place.task(dataset_version=version)
    assert place.start(task) == TrainingStarted(next="wait")
    place.register(place.catalog.version("trips", version))
    assert place.start(task).run_id is not None


def test_a_long_reason_is_cut_and_keeps_the_trigger_and_the_data() -> None:
    place = Monitoring()
    place.health_records.save(health_record(2, at=place.now, reasons=("x" * 900,)))
    place.start(place.task(note="y" * 900))
    (run,) = place.runs
    assert len(run.reason) == 500
    assert run.reason.startswith("quality: xxx")
    assert "...; data: yyy" in run.reason


# Holding back


def failed(place: Monitoring) -> dict[str, Any]:
    broken = place.upload(b"\x00")
    assert place.register(broken).status is DatasetStatus.FAILED
    return {"dataset_version": broken.version}


def overdue(place: Monitoring) -> dict[str, Any]:
    return {"dataset_version": place.registering(), "until": place.now}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (failed, "captures could not be added to dataset trips: "),
        (overdue, "is still registering; see the log of catalog"),
    ],
)
def test_without_its_data_the_training_stays_wanted_and_says_why(
    made: Callable[[Monitoring], dict[str, Any]], said: str
) -> None:
    place = Monitoring()
    answer = place.start(place.task(**made(place)))
    assert answer.next == "done"
    assert answer.run_id is None
    assert said in answer.reason
    assert (place.health_record.wanted, place.health_record.held_back) == (Trigger.QUALITY, answer.reason)
    assert place.runs == []


def test_fixed_periods_are_not_trained_again() -> None:
    periods = {
        "train": {"from": "2026-01-01", "to": "2026-02-01"},
        "holdout": {"from": "2026-02-01", "to": "2026-03-01"},
    }
    place = Monitoring(wanted=spec(split=periods))
    place.start(place.task())
    assert place.health_record.held_back == FIXED_PERIODS
    assert place.runs == []


def test_while_another_release_holds_the_lease_the_training_waits_and_says_so_once() -> None:
    place = Monitoring()
    other = place.by_hand()
    answer = place.start(place.task())
    assert f"run {other} of ana has held the release of trip-delay" in place.health_record.held_back
    assert (place.health_record.wanted, place.health_record.revision, answer.next) == (Trigger.QUALITY, 2, "done")
    place.start(place.task())
    assert place.health_record.revision == 2


def test_who_loses_a_race_for_the_health_record_adds_to_what_the_winner_left() -> None:
    class Raced(InMemoryHealthRecords):
        races = 1

        def save(self, changed: HealthRecord) -> None:
            if changed.attempts and self.races:
                self.races -= 1
                super().save(health_record(2, at=changed.looked_at, reasons=("another look",)))
            super().save(changed)

    place = Monitoring(health_records=Raced())
    place.start(place.task())
    assert (place.health_record.revision, place.health_record.reasons) == (3, ("another look",))
    assert len(place.health_record.attempts) == 1


def test_a_race_lost_twice_is_reported() -> None:
    class Raced(InMemoryHealthRecords):
        def save(self, changed: HealthRecord) -> None:
            if changed.attempts:
                raise ConflictError("changed by somebody else")
            super().save(changed)

    place = Monitoring(health_records=Raced())
    with pytest.raises(ConflictError):
        place.start(place.task())


# A run on a dataset version that is named


def test_a_run_may_name_its_dataset_version_if_it_is_ready() -> None:
    place = Monitoring()
    for named, said in {
        place.registering(): "is registering",
        "0" * 16: "trips has no version 0000000000000000",
    }.items():
        with pytest.raises(RequestInvalidError, match=said):
            place.step(start_run, TRIP_MODEL, StartRun(dataset_version=named), actor="ana")
    with pytest.raises(RequestInvalidError, match="dataset_version"):
        StartRun.read({"dataset_version": "latest"})
    assert place.runs == []
