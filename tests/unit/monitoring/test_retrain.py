"""The trainings that the watch wants: each is started once, recorded, or held back with a reason."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.unit.releasing import House, house_with, spec, to_csv, trips
from tidegate.domain.data.dataset import DatasetStatus
from tidegate.domain.monitoring.health import Attempt, Health, HealthRecord, Trigger
from tidegate.domain.registry.run import Run, RunStatus
from tidegate.kernel.errors import ConflictError, NotFoundError, RequestInvalidError, UnavailableError
from tidegate.messages import LabelledDataset, StartTraining, TrainingStarted, WantedTraining
from tidegate.ports.monitoring import HealthRecords
from tidegate.spec.model import ModelSpec
from tidegate.steps.monitoring import retrain
from tidegate.steps.monitoring.labelled_dataset import FIXED_PERIODS
from tidegate.steps.monitoring.retrain import find_wanted, start
from tidegate.steps.registry.runs import StartRun, start_run
from tidegate.testing.monitoring import InMemoryHealthRecords
from tidegate.testing.registry import InMemoryWorkflow

ACTOR = "arn:aws:states:eu-west-1:123456789012:execution:tidegate-dev-retrain:e-1"
MODEL = "trip-delay"


def record(revision: int = 1, *, at: datetime, model: str = MODEL, **more: Any) -> HealthRecord:
    about: dict[str, Any] = {"wanted": Trigger.QUALITY, "reasons": ("roc_auc fell from 0.8 to 0.6", "wind drifted")}
    return HealthRecord(model, revision, Health.DRIFTED, since=at, looked_at=at, **about | more)


@dataclass
class Watch:
    """A model whose health record wants a training, and its dataset."""

    house: House = field(default_factory=lambda: house_with(trips()))
    health_records: HealthRecords = field(default_factory=InMemoryHealthRecords)
    workflow: InMemoryWorkflow = field(default_factory=InMemoryWorkflow)
    wanted: ModelSpec = field(default_factory=spec)

    def __post_init__(self) -> None:
        self.house.registry.apply(self.wanted, author="ana", at=self.now)
        self.health_records.save(record(at=self.now))

    @property
    def now(self) -> datetime:
        return self.house.clock.now()

    @property
    def record(self) -> HealthRecord:
        found = self.health_records.record(MODEL)
        assert found is not None
        return found

    @property
    def runs(self) -> list[Run]:
        return self.house.registry.runs(MODEL)

    def find(self, model: str | None = None) -> list[WantedTraining]:
        return find_wanted(model, models=self.house.registry, health_records=self.health_records).wanted

    def task(self, **changes: Any) -> StartTraining:
        (found,) = self.find(MODEL)
        version = self.house.catalog.version("trips").version
        labelled = LabelledDataset(dataset_version=version, note="all of it", until=self.now + timedelta(minutes=20))
        return StartTraining(
            step="start", model=MODEL, token=found.token, actor=ACTOR, labelled=labelled.model_copy(update=changes)
        )

    def start(self, task: StartTraining) -> TrainingStarted:
        return start(task, **self.ports())

    def ports(self) -> dict[str, Any]:
        return {
            "models": self.house.registry,
            "catalog": self.house.catalog,
            "runs": self.house.registry,
            "health_records": self.health_records,
            "workflow": self.workflow,
            "clock": self.house.clock,
            "chance": lambda: "abcdef",
        }

    def registering(self) -> str:
        """A version that the catalog has not read yet."""
        return self.house.upload(to_csv(trips(100, seed=1))).version

    def by_hand(self) -> str:
        given = {name: port for name, port in self.ports().items() if name != "health_records"}
        answer = start_run(MODEL, StartRun(), actor="ana", **given | {"chance": lambda: "012345"})
        return str(answer["run"]["run_id"])


# Which


def test_only_wanted_trainings_are_found_and_those_held_back_before_come_last() -> None:
    watch = Watch()
    for name, about in {"a-calm": {"wanted": None}, "b-held": {"held_back": "a release"}, "c-due": {}}.items():
        watch.house.registry.apply(spec(name=name), author="ana", at=watch.now)
        watch.health_records.save(record(at=watch.now, model=name, **about))
    watch.house.registry.apply(spec(name="d-never-seen"), author="ana", at=watch.now)
    assert [each.model for each in watch.find()] == ["c-due", MODEL, "b-held"]
    assert watch.find("a-calm") == []
    with pytest.raises(NotFoundError):
        watch.find("nobody")


def test_one_execution_has_so_many_and_the_rest_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrain, "MOST_AT_ONCE", 1)
    watch = Watch()
    watch.house.registry.apply(spec(name="another"), author="ana", at=watch.now)
    watch.health_records.save(record(at=watch.now, model="another"))
    assert len(watch.find()) == 1


def test_each_wish_has_a_token_of_its_own() -> None:
    watch = Watch()
    (first,) = watch.find()
    watch.health_records.save(record(2, at=watch.now))
    (second,) = watch.find()
    assert first.token != second.token


# Starting


def test_a_wanted_training_becomes_a_run_with_its_reason_its_data_and_an_attempt() -> None:
    watch = Watch()
    older = watch.house.catalog.version("trips").version
    watch.house.register(watch.house.catalog.version("trips", watch.registering()))
    answer = watch.start(watch.task(dataset_version=older, note="older rows"))
    (run,) = watch.runs
    assert answer == TrainingStarted(next="done", run_id=run.run_id)
    assert (run.requested_by, run.dataset_version) == (ACTOR, older)
    assert older != watch.house.catalog.version("trips").version
    assert run.reason == "quality: roc_auc fell from 0.8 to 0.6; wind drifted; data: older rows"
    assert watch.workflow.started == [(MODEL, run.run_id)]
    assert watch.record.wanted is None
    assert watch.record.attempts == (Attempt(run.run_id, Trigger.QUALITY, run.requested_at),)


def test_the_named_dataset_version_is_the_one_that_is_prepared() -> None:
    watch = Watch()
    first = watch.house.catalog.version("trips")
    watch.house.register(watch.house.upload(to_csv(trips(700, seed=1))))
    run_id = watch.start(watch.task(dataset_version=first.version)).run_id
    assert run_id is not None
    ref = watch.house.request(watch.wanted, run_id)
    assert watch.house.prepare(ref).dataset_version == first.version


def test_a_repeated_call_starts_nothing_more() -> None:
    watch = Watch()
    task = watch.task()
    assert watch.start(task) == watch.start(task)
    assert len(watch.runs) == len(watch.workflow.started) == len(watch.record.attempts) == 1


def test_a_call_that_died_before_it_recorded_the_run_is_mended_by_the_next_even_after_a_look() -> None:
    watch = Watch()
    task = watch.task()
    before = watch.record
    watch.start(task)
    look = replace(before, revision=2, wanted=None, held_back="a release of the model is under way")
    watch.health_records = InMemoryHealthRecords([before, look])
    watch.house.clock.move(minutes=1)
    answer = watch.start(task)
    (run,) = watch.runs
    assert answer.run_id == run.run_id
    assert watch.record.attempts == (Attempt(run.run_id, Trigger.QUALITY, run.requested_at),)


def test_a_run_that_was_recorded_but_not_started_is_started_by_the_next_call() -> None:
    class Failing(InMemoryWorkflow):
        def start(self, model: str, run_id: str) -> None:
            raise UnavailableError("Step Functions did not answer")

    watch = Watch()
    task, working = watch.task(), watch.workflow
    watch.workflow = Failing()
    with pytest.raises(UnavailableError):
        watch.start(task)
    assert watch.record.attempts == ()
    watch.workflow = working
    answer = watch.start(task)
    assert working.started == [(MODEL, answer.run_id)]
    assert len(watch.runs) == len(watch.record.attempts) == 1


def test_a_finished_run_of_the_same_wish_is_not_started_again() -> None:
    watch = Watch()
    task = watch.task()
    run_id = watch.start(task).run_id
    assert run_id is not None
    watch.house.registry.note(MODEL, run_id, "prepare", watch.now)
    assert watch.start(task).run_id == run_id
    assert watch.runs[0].status is RunStatus.RUNNING
    assert len(watch.workflow.started) == 1


def test_a_wish_that_is_gone_starts_nothing() -> None:
    watch = Watch()
    task = watch.task()
    watch.health_records.save(record(2, at=watch.now, wanted=None))
    assert watch.start(task) == TrainingStarted(next="done", reason="it is wanted no more")
    assert watch.runs == []


def test_a_version_that_registers_is_waited_for() -> None:
    watch = Watch()
    version = watch.registering()
    task = watch.task(dataset_version=version)
    assert watch.start(task) == TrainingStarted(next="wait")
    watch.house.register(watch.house.catalog.version("trips", version))
    assert watch.start(task).run_id is not None


def test_a_long_reason_is_cut_and_keeps_the_trigger_and_the_data() -> None:
    watch = Watch()
    watch.health_records.save(record(2, at=watch.now, reasons=("x" * 900,)))
    watch.start(watch.task(note="y" * 900))
    (run,) = watch.runs
    assert len(run.reason) == 500
    assert run.reason.startswith("quality: xxx")
    assert "...; data: yyy" in run.reason


# Holding back


def failed(watch: Watch) -> dict[str, Any]:
    broken = watch.house.upload(b"\x00")
    assert watch.house.register(broken).status is DatasetStatus.FAILED
    return {"dataset_version": broken.version}


def overdue(watch: Watch) -> dict[str, Any]:
    return {"dataset_version": watch.registering(), "until": watch.now}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (failed, "captures could not be added to dataset trips: "),
        (overdue, "is still registering; see the log of catalog"),
    ],
)
def test_without_its_data_the_training_stays_wanted_and_says_why(
    made: Callable[[Watch], dict[str, Any]], said: str
) -> None:
    watch = Watch()
    answer = watch.start(watch.task(**made(watch)))
    assert answer.next == "done"
    assert answer.run_id is None
    assert said in answer.reason
    assert (watch.record.wanted, watch.record.held_back) == (Trigger.QUALITY, answer.reason)
    assert watch.runs == []


def test_fixed_periods_are_not_trained_again() -> None:
    periods = {
        "train": {"from": "2026-01-01", "to": "2026-02-01"},
        "holdout": {"from": "2026-02-01", "to": "2026-03-01"},
    }
    watch = Watch(wanted=spec(split=periods))
    watch.start(watch.task())
    assert watch.record.held_back == FIXED_PERIODS
    assert watch.runs == []


def test_while_another_release_holds_the_lease_the_training_waits_and_says_so_once() -> None:
    watch = Watch()
    other = watch.by_hand()
    answer = watch.start(watch.task())
    assert f"run {other} of ana has the release of trip-delay" in watch.record.held_back
    assert (watch.record.wanted, watch.record.revision, answer.next) == (Trigger.QUALITY, 2, "done")
    watch.start(watch.task())
    assert watch.record.revision == 2


def test_who_loses_a_race_for_the_health_record_adds_to_what_the_winner_left() -> None:
    class Raced(InMemoryHealthRecords):
        races = 1

        def save(self, changed: HealthRecord) -> None:
            if changed.attempts and self.races:
                self.races -= 1
                super().save(record(2, at=changed.looked_at, reasons=("another look",)))
            super().save(changed)

    watch = Watch(health_records=Raced())
    watch.start(watch.task())
    assert (watch.record.revision, watch.record.reasons) == (3, ("another look",))
    assert len(watch.record.attempts) == 1


def test_a_race_lost_twice_is_told() -> None:
    class Raced(InMemoryHealthRecords):
        def save(self, changed: HealthRecord) -> None:
            if changed.attempts:
                raise ConflictError("changed by somebody else")
            super().save(changed)

    watch = Watch(health_records=Raced())
    with pytest.raises(ConflictError):
        watch.start(watch.task())


# A run on a dataset version that is named


def test_a_run_may_name_its_dataset_version_if_it_is_ready() -> None:
    watch = Watch()
    given = {name: port for name, port in watch.ports().items() if name != "health_records"}
    for named, said in {
        watch.registering(): "is registering",
        "0" * 16: "trips has no version 0000000000000000",
    }.items():
        with pytest.raises(RequestInvalidError, match=said):
            start_run(MODEL, StartRun(dataset_version=named), actor="ana", **given)
    with pytest.raises(RequestInvalidError, match="dataset_version"):
        StartRun.read({"dataset_version": "latest"})
    assert watch.runs == []
