"""The example is real: the dataset is always the same file, its specs are valid, and its leaks are caught."""

import hashlib
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from examples.flights.build_dataset import OUTCOME, TIME, build, flights, parquet
from examples.flights.rollouts import answering, path_of, sentences
from examples.flights.season import KNOTS_PER_MPH, LEARNED_UNTIL, Year, next_look
from examples.flights.traffic import CONNECTIONS, Traffic, asked
from tidegate.cli.client import Client
from tidegate.domain.data.checks import (
    Limits,
    Target,
    duplicate_faults,
    target_faults,
    twin_faults,
    value_faults,
)
from tidegate.domain.data.dataset import ColumnType
from tidegate.domain.data.leaks import leak_faults
from tidegate.domain.data.personal import MOST_TEXTS, search
from tidegate.domain.data.splits import Split
from tidegate.domain.profiles.units import known_values, strange
from tidegate.domain.training.contracts import feature_contracts, rollout_plan
from tidegate.kernel.drift.registry import DISTANCES
from tidegate.ml.frames import PandasFrame, PandasReader
from tidegate.spec.model import ModelSpec
from tidegate.steps.data.prepare import expand

VERSIONS = ("flight-delay", "flight-delay-v2", "flight-delay-v3", "flight-delay-v4")
FOLDER = Path(__file__).resolve().parents[3] / "examples" / "flights"
FEATURES = (
    "carrier", "origin", "dest", "distance", "hour", "weekday", "month",
    "temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "visib",
)  # fmt: skip


def spec(name: str) -> ModelSpec:
    return ModelSpec.parse_yaml((FOLDER / f"{name}.yaml").read_text())


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return flights()


@pytest.fixture(scope="module")
def content(table: pd.DataFrame) -> bytes:
    return parquet(table)


@pytest.fixture(scope="module")
def frame(content: bytes) -> PandasFrame:
    return PandasReader().read({"flights.parquet": content})


def test_the_dataset_is_the_same_file_each_time(content: bytes) -> None:
    assert hashlib.sha256(build()).hexdigest() == hashlib.sha256(content).hexdigest()


def test_it_holds_every_flight_with_a_known_arrival_once(frame: PandasFrame) -> None:
    assert len(frame) == 327_346
    profiles = {profile.name: profile for profile in frame.profiles()}
    assert profiles["flight_id"].distinct == 327_346
    assert (profiles["late"].type, profiles[TIME].type) == (ColumnType.BOOLEAN, ColumnType.TIME)
    assert set(OUTCOME) <= set(frame.types)
    assert all(profiles[name].missing == 0 for name in ("carrier", "origin", "dest", "hour", TIME))


def test_may_has_the_rows_that_the_holdout_is_known_for(frame: PandasFrame) -> None:
    days = frame.table([TIME])[TIME].astype("datetime64[M]")
    assert int((days == np.datetime64("2013-05")).sum()) == 28_128


def test_weather_is_that_of_the_scheduled_hour(table: pd.DataFrame) -> None:
    first = table[table["flight_id"] == "UA1545EWR20130101"].iloc[0]
    assert (first["scheduled"], first["hour"], first["weekday"]) == (pd.Timestamp("2013-01-01T05:15"), 5, 1)
    assert (first["temp"], first["wind_dir"], first["arr_delay"], first["late"]) == (39.02, 260, 11, False)


@pytest.mark.parametrize("name", [*VERSIONS, "worse", "leaking"])
def test_the_specs_are_versions_of_one_model(name: str) -> None:
    found, first = spec(name), spec("flight-delay")
    assert (found.name, found.dataset, found.target, found.seed) == ("flight-delay", "flights", "late", first.seed)
    assert found.baseline == first.baseline
    if name != "flight-delay-v4":
        assert (found.split, found.gate) == (first.split, first.gate)
    assert found.feature_names == (*FEATURES[:7], "dep_delay", *FEATURES[7:]) if name == "leaking" else FEATURES
    assert len(expand(found)) == {"flight-delay": 2}.get(name, 1)


def test_all_of_the_year_keeps_the_contract(frame: PandasFrame) -> None:
    features = feature_contracts(spec("flight-delay"))
    texts = {feature.name for feature in features if feature.kind == "categorical"}
    table = frame.table(FEATURES, as_text=texts)
    assert value_faults(features, table, np.arange(len(frame))) == []


def test_the_delay_at_departure_is_caught_without_being_declared(frame: PandasFrame) -> None:
    features = feature_contracts(spec("leaking"))
    texts = {feature.name for feature in features if feature.kind == "categorical"}
    winter = frame.table([TIME])[TIME] < np.datetime64("2013-05-01")
    table = frame.table([feature.name for feature in features], as_text=texts).take(winter)
    late = Target(frame.table(["late"])["late"][winter].astype(np.int64), (False, True))
    found = leak_faults(features, table, late)
    assert [fault.path for fault in found.faults] == ["features.dep_delay"]
    assert found.strengths["dep_delay"] > 0.88
    assert max(value for name, value in found.strengths.items() if name != "dep_delay") < 0.7


def test_the_first_version_serves_at_once_and_later_ones_pass_a_canary_and_a_probation() -> None:
    first, second, third = (rollout_plan(spec(f"flight-delay{each}")) for each in ("", "-v2", "-v3"))
    assert first.steps_bp == ()
    assert second == third
    assert (second.steps_bp, second.bake_seconds, second.holdback_bp) == ((200, 1_000, 5_000), 600, 500)


def test_only_the_fourth_version_can_learn_from_captures_and_all_are_monitored_alike() -> None:
    fixed = {name: spec(name).split.train is not None for name in VERSIONS}
    assert fixed == {**dict.fromkeys(VERSIONS, True), "flight-delay-v4": False}
    assert (
        len(
            {
                (
                    *(getattr(each, name) for name in (*DISTANCES, "captures_at_most", "reporter_at_most")),
                    each.quality_margin,
                )
                for each in (spec(n).monitoring for n in VERSIONS)
            }
        )
        == 1
    )


def test_the_third_version_takes_the_flights_it_is_judged_by_and_refuses_those_of_june(frame: PandasFrame) -> None:
    features = feature_contracts(spec("flight-delay-v3"))
    texts = {feature.name for feature in features if feature.kind == "categorical"}
    table, months = frame.table(FEATURES, as_text=texts), frame.table([TIME])[TIME].astype("datetime64[M]")
    spring, june = table.take(months <= np.datetime64("2013-05")), table.take(months == np.datetime64("2013-06"))
    assert value_faults(features, spring, np.arange(len(spring["month"]))) == []
    assert {fault.path for fault in value_faults(features, june, np.arange(len(june["month"])))} == {"features.month"}


# --- the year of the demo ---------------------------------------------------------------------------------------------


def test_what_monitoring_meets_was_not_learned(table: pd.DataFrame) -> None:
    year = Year.of(table)
    parts = (year.learned, year.clean, year.july, year.late_july, year.august)
    assert sum(map(len, parts)) == len(set().union(*(part.index for part in parts)))
    assert year.learned["scheduled"].max() < LEARNED_UNTIL <= year.july["scheduled"].min()
    assert set(year.clean["month"]) == {1, 2, 3, 4}
    assert year.july["scheduled"].is_monotonic_increasing
    assert year.july["scheduled"].max() < year.late_july["scheduled"].min()


def test_the_next_look_is_ten_minutes_past_the_hour() -> None:
    ten_past = 3_600 * 10 + 600
    assert next_look(ten_past - 1) == ten_past + 1
    assert next_look(ten_past) == next_look(ten_past + 3_599) == ten_past + 3_601


def test_no_month_of_the_year_looks_like_another_unit_but_knots_do(table: pd.DataFrame) -> None:
    """The reference is what version 1 learns from; float32 and all."""
    winter = table[table["month"] <= 4]
    for name in ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "visib", "distance"):
        known = known_values(winter[name].dropna().to_numpy(dtype=np.float64))
        assert bool(known) == (name != "humid")  # made of temp and dewp, it takes ever new values
        for month, those in table.groupby("month"):
            assert strange(those[name].to_numpy(dtype=np.float64), known).mean() < 0.025, (name, month)
    wind = table[table["month"] == 8]["wind_speed"].to_numpy(dtype=np.float64)
    known = known_values(winter["wind_speed"].dropna().to_numpy(dtype=np.float64))
    assert strange(KNOTS_PER_MPH * wind, known).mean() > 0.6


# --- users and rollouts of the demo -----------------------------------------------------------------------------------


class Model:
    """Stands where the client does; it fails for an instance that says so."""

    def predict(self, model: str, instances: list[dict[str, Any]]) -> dict[str, Any]:
        if "fault" in instances[0]:
            raise OSError(instances[0]["fault"])
        time.sleep(0.001)
        return {"model": model, **instances[0]}


def users(*instances: dict[str, Any]) -> Traffic:
    return Traffic(cast("Client", Model()), "flight-delay", instances)


def test_users_ask_for_one_instance_after_the_other_and_begin_again() -> None:
    answers = users({"version": 1}, {"version": 2}).send(5)
    assert sorted(answer.instance for answer in answers) == [0, 0, 0, 1, 1]
    assert all(answer.document["version"] == answer.instance + 1 for answer in answers)


def test_users_who_ask_all_the_time_stop_when_they_should() -> None:
    asking = users({"version": 1})
    with asking.flowing():
        time.sleep(0.05)
    sent = asking.sent
    assert sent >= CONNECTIONS
    time.sleep(0.02)
    assert asking.sent == sent == len(asking.answers)


def test_a_request_that_fails_is_counted_and_reported() -> None:
    asking = users({"version": 1}, {"fault": "no route to host"})
    assert len(asking.send(4)) == 2
    assert asking.sent == 4
    with pytest.raises(RuntimeError, match=r"2 of 4 requests failed, the first: OSError: no route to host"):
        asking.demand_that_all_were_answered()


def test_a_version_was_asked_when_it_answered_or_another_stood_in_for_it() -> None:
    answers = users({"version": 2}, {"version": 3}, {"version": 2, "why": "contract_broken"}).send(3)
    assert sorted(answer.instance for answer in asked(answers, 3)) == [1, 2]


def test_a_canary_is_reported_by_its_steps() -> None:
    steps = [{"share_bp": 100, "requests": 1_023}, {"share_bp": 500, "requests": 204}, {"share_bp": 5, "requests": 1}]
    assert path_of(steps) == "1 % of 1,023 requests ... 5 % of 204 ... 0.05 % of 1"


def test_a_reason_is_reported_by_its_sentences() -> None:
    errors = "error rate 0.00 % of 9 requests, the champion's 0.00 % of 8; difference 0 points [-1, +1]: not worse"
    scores = "distance of score distributions 29 points: not apart by 38.9 points or more"
    assert sentences(f"passed its canary: {errors}; {scores}") == [errors, scores]
    assert sentences("accepted by the gate") == ["accepted by the gate"]


def test_a_ledgers_entry_shows_who_answers_since() -> None:
    def shown(version: int | None, previous: int | None, weight_bp: int) -> str:
        return answering({"version": version, "previous_version": previous, "weight_bp": weight_bp})

    assert shown(2, 1, 500) == "2: 5 %, 1: 95 %"
    assert shown(2, 1, 10_000) == "2: 100 %"
    assert shown(None, None, 10_000) == "fallback: 100 %"


def test_none_of_its_columns_looks_like_personal_data(frame: PandasFrame) -> None:
    texts = [name for name, kind in frame.types.items() if kind in {ColumnType.TEXT, ColumnType.INTEGER}]
    assert {"flight_id", "tailnum", "flight", "dep_time"} <= set(texts)
    assert [finding for name in texts for finding in search(name, frame.distinct(name, MOST_TEXTS))] == []


@pytest.mark.parametrize("name", ["flight-delay", "flight-delay-v2", "flight-delay-v3"])
def test_its_rows_and_its_target_pass_the_checks(frame: PandasFrame, name: str) -> None:
    wanted, hashes = spec(name), frame.row_hashes()
    at, late = frame.table([TIME])[TIME], frame.table(["late"])["late"].astype(np.int64)
    spring = np.flatnonzero(at < np.datetime64("2013-05-01"))
    may = np.flatnonzero((at >= np.datetime64("2013-05-01")) & (at < np.datetime64("2013-06-01")))
    split = Split(spring, np.empty(0, dtype=np.int64), may, 0, 0)
    assert duplicate_faults(hashes, split, Limits()) == ([], [])
    assert target_faults("late", Target(late, (False, True)), split, Limits()) == ([], [])
    texts = {feature.name for feature in feature_contracts(wanted) if feature.kind == "categorical"}
    assert twin_faults(feature_contracts(wanted), frame.table(FEATURES, as_text=texts).take(spring)) == []
