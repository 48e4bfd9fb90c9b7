"""Which models are due."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.builders.health import health_record
from tests.builders.specs import spec
from tidegate.domain.serving.capture import hour_of
from tidegate.messages import DueModels, DueTask
from tidegate.steps.monitoring import due
from tidegate.testing.parts import InMemoryParts
from tidegate.testing.platform import FixedClock

NOW = datetime(2026, 1, 5, 12, 10, tzinfo=UTC)


class Models(InMemoryParts):
    """Models a, b, ... each with a version; what they were asked is given by `asked`."""

    def __init__(self, *names: str) -> None:
        super().__init__(clock=FixedClock(NOW))
        for name in names:
            self.registry.apply(spec(name=name), author="ann", at=NOW)
            self.registry._headers[name] = replace(self.registry.model(name), latest_version=1)

    def asked(self, model: str, ago: timedelta = timedelta(0)) -> None:
        self.hours.capture([{"model": model, "hour": hour_of(NOW - ago)}])

    def due(self, after: str = "", **now: Any) -> DueModels:
        return self.step(due.due_models, DueTask(after=after, now=NOW + timedelta(**now)))


def test_models_that_were_asked_within_eight_days_are_looked_at() -> None:
    house = Models("a", "b", "c")
    house.asked("a")
    house.asked("b", timedelta(days=8))
    house.asked("c", timedelta(days=8, hours=1))
    (batch,) = house.due().batches
    assert batch.models == ["a", "b"]


def test_what_was_asked_ends_with_the_functions_clock_and_not_with_the_machines() -> None:
    house = Models("a")
    house.asked("a")
    assert house.due(days=30).batches[0].models == ["a"]


def test_models_without_traffic_are_looked_at_once_a_day() -> None:
    house = Models("a", "b")
    house.asked("b")
    hours = [house.due(hours=hour).batches for hour in range(24)]
    assert [len(batches[0].models) for batches in hours].count(2) == 1
    assert all("b" in batches[0].models for batches in hours)


def test_a_model_without_traffic_that_is_not_what_was_recorded_is_looked_at_every_hour_until_it_is() -> None:
    house = Models("a", "b")
    found = health_record(model="a", at=NOW, tampered="the route names another artifact")
    house.health_records.save(found)
    house.health_records.save(health_record(model="b", at=NOW))
    hours = [house.due(hours=hour).batches for hour in range(24)]
    assert [batches[0].models for batches in hours].count(["a"]) == 23
    house.health_records.save(replace(found, revision=found.revision + 1, tampered=""))
    assert house.due().batches == []


def test_models_without_a_version_are_left_alone() -> None:
    house = Models("a")
    house.registry._headers["a"] = replace(house.registry.model("a"), latest_version=0)
    house.asked("a")
    assert house.due().batches == []


def test_many_models_come_in_batches_and_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "BATCH_MODELS", 2)
    monkeypatch.setattr(due, "PAGE_MODELS", 3)
    house = Models("a", "b", "c", "d", "e")
    for name in "abcde":
        house.asked(name)
    first = house.due()
    assert [batch.models for batch in first.batches] == [["a", "b"], ["c"]]
    assert first.after == "c"
    last = house.due(after=first.after)
    assert [batch.models for batch in last.batches] == [["d", "e"]]
    assert last.after == ""


def test_a_page_fits_into_a_state() -> None:
    names = [f"{number:063d}" for number in range(due.PAGE_MODELS)]
    batches = [{"models": names[start : start + due.BATCH_MODELS]} for start in range(0, 1_000, 25)]
    assert len(DueModels.parse({"batches": batches, "after": names[-1]}).model_dump_json()) < 256 * 1024 / 3
