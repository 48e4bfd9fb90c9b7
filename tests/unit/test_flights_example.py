"""The example is real: the dataset is always the same file, its specs are valid, and its leaks are caught."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from examples.flights.build_dataset import OUTCOME, TIME, build, flights
from tidegate.contracts import feature_contracts
from tidegate.domain.datachecks import Target, leak_faults, value_faults
from tidegate.domain.dataset import ColumnType
from tidegate.ml.frames import PandasFrame, PandasReader
from tidegate.spec import ModelSpec
from tidegate.steps.prepare import expand

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "flights"
FEATURES = (
    "carrier", "origin", "dest", "distance", "hour", "weekday", "month",
    "temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "visib",
)  # fmt: skip


def spec(name: str) -> ModelSpec:
    return ModelSpec.parse_yaml((FOLDER / f"{name}.yaml").read_text())


@pytest.fixture(scope="module")
def content() -> bytes:
    return build()


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


def test_weather_is_that_of_the_scheduled_hour() -> None:
    table = flights()
    first = table[table["flight_id"] == "UA1545EWR20130101"].iloc[0]
    assert (first["scheduled"], first["hour"], first["weekday"]) == (pd.Timestamp("2013-01-01T05:15"), 5, 1)
    assert (first["temp"], first["wind_dir"], first["arr_delay"], first["late"]) == (39.02, 260, 11, False)


@pytest.mark.parametrize("name", ["flight-delay", "flight-delay-v2", "worse", "leaking"])
def test_the_specs_are_versions_of_one_model(name: str) -> None:
    found, first = spec(name), spec("flight-delay")
    assert (found.name, found.dataset, found.target, found.seed) == ("flight-delay", "flights", "late", first.seed)
    assert (found.split, found.gate, found.baseline) == (first.split, first.gate, first.baseline)
    assert found.feature_names == (*FEATURES[:7], "dep_delay", *FEATURES[7:]) if name == "leaking" else FEATURES
    assert len(expand(found)) == {"flight-delay": 3, "flight-delay-v2": 4}.get(name, 1)


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
    faults, strengths = leak_faults(features, table, late)
    assert [fault.path for fault in faults] == ["features.dep_delay"]
    assert strengths["dep_delay"] > 0.88
    assert max(value for name, value in strengths.items() if name != "dep_delay") < 0.7
