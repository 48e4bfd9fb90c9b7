"""From captured predictions with known outcomes to a version of the dataset that their model is trained on."""

import json
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.labels import GOOD, NOW, record
from tests.builders.monitoring import REPORTER, outcome_of
from tests.builders.release import ReleaseHouse
from tests.builders.specs import spec
from tests.builders.tables import trips
from tidegate.domain.data.dataset import Captured, ColumnType, DatasetStatus, DatasetVersion, Exclusion
from tidegate.domain.monitoring import labelled_dataset as domain
from tidegate.domain.monitoring.labelled_dataset import LabelledRows, LeftOut, Recipe, obstacle
from tidegate.domain.serving.capture import MASK, CapturePolicy, hour_of
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import ROW, Table
from tidegate.messages import LabelledDataset
from tidegate.ml.frames import PandasReader, ParquetWriter
from tidegate.spec.model import ModelSpec
from tidegate.steps.data.catalog import read_version
from tidegate.steps.monitoring.labelled_dataset import FIXED_PERIODS, labelled_dataset
from tidegate.testing.platform import FixedClock

END = datetime(2026, 3, 1, 8, tzinfo=UTC)  # after the last trip
FEATURES = (
    FeatureContract("line", "categorical", missing="allow"),
    FeatureContract("wind", "numeric", minimum=-50, maximum=150),
    FeatureContract("stops", "integer"),
)
TYPES = {
    "trip": ColumnType.TEXT,
    "at": ColumnType.TIME,
    "line": ColumnType.TEXT,
    "wind": ColumnType.NUMBER,
    "stops": ColumnType.INTEGER,
    "late": ColumnType.BOOLEAN,
}
RECIPE = Recipe(Contract("trip-delay", "binary", FEATURES), "late", frozenset({"at"}), TYPES, END)


def taken(*pairs: tuple[dict[str, Any], Any], recipe: Recipe = RECIPE) -> LabelledRows:
    found = LabelledRows(recipe)
    for each, outcome in pairs:
        found.take(each, outcome)
    return found


def given_inputs(**changes: Any) -> dict[str, Any]:
    return record(inputs=GOOD | changes)


# Rows


def test_a_labelled_prediction_becomes_a_row_of_features_target_and_moment() -> None:
    found = taken((record(), True), (record(inputs=GOOD | {"line": None, "stops": 8.0}), False))
    assert found.rows == 2
    assert {name: list(cells) for name, cells in found.cells.items()} == {
        "at": [NOW.timestamp() * 1e6] * 2,
        "line": ["red", None],
        "wind": [12.5, 12.5],
        "stops": [7.0, 8.0],
        "late": [1.0, 0.0],
    }
    assert not found.left_out


def test_the_fallbacks_predictions_are_rows_too() -> None:
    assert taken((record(version=None, arm="fallback", reason="fallback:killed"), True)).rows == 1


@pytest.mark.parametrize(
    ("each", "outcome", "why"),
    [
        (record(END), True, LeftOut.EARLIER),
        (record(END - timedelta(days=1)), True, LeftOut.EARLIER),
        (given_inputs(line=MASK), True, LeftOut.MASKED),
        (given_inputs(wind=MASK), True, LeftOut.MASKED),
        (given_inputs(wind=151), True, LeftOut.CONTRACT),
        (given_inputs(wind=None), True, LeftOut.CONTRACT),
        (given_inputs(wind="12"), True, LeftOut.CONTRACT),
        (given_inputs(stops=7.5), True, LeftOut.CONTRACT),
        (record(inputs={}), True, LeftOut.CONTRACT),
        (record(), None, LeftOut.OUTCOME),
        (record(), "yes", LeftOut.OUTCOME),
        (record(), 1, LeftOut.OUTCOME),
        (record(), 10**400, LeftOut.OUTCOME),
        (record(probabilities=None), True, LeftOut.OUTCOME),
    ],
)
def test_what_training_would_refuse_is_left_out_and_counted(each: dict[str, Any], outcome: Any, why: LeftOut) -> None:
    found = taken((each, outcome), (record(), False))
    assert (found.rows, dict(found.left_out)) == (1, {why: 1})


@pytest.mark.parametrize(("days", "rows"), [(-7, 1), (-7.1, 0), (0, 1), (7, 1), (7.1, 0), (3_650, 0)])
def test_a_sent_time_lies_near_its_prediction_or_is_left_out(days: float, rows: int) -> None:
    features = (*FEATURES, FeatureContract("at", "time"))
    recipe = replace(RECIPE, contract=Contract("trip-delay", "binary", features), after=END - timedelta(days=30))
    sent = (NOW + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S")
    found = taken((given_inputs(at=sent), True), recipe=recipe)
    assert (found.rows, dict(found.left_out)) == (rows, {} if rows else {LeftOut.FAR: 1})


def test_excluded_periods_are_half_open() -> None:
    recipe = replace(RECIPE, excluded=((NOW, NOW + timedelta(hours=1)),))
    inside, before, after = record(), record(NOW - timedelta(milliseconds=1)), record(NOW + timedelta(hours=1))
    found = taken((inside, True), (before, True), (after, True), recipe=recipe)
    assert (found.rows, dict(found.left_out)) == (2, {LeftOut.EXCLUDED: 1})


@pytest.mark.parametrize(
    ("kind", "outcome", "cell"),
    [
        (ColumnType.BOOLEAN, "true", 1.0),
        (ColumnType.INTEGER, 3, 3.0),
        (ColumnType.INTEGER, "3", 3.0),
        (ColumnType.INTEGER, "3.0", 3.0),
        (ColumnType.NUMBER, "2.50", 2.5),
        (ColumnType.BOOLEAN, "True", 1.0),
        (ColumnType.NUMBER, 3.0, 3.0),
        (ColumnType.TEXT, 3, "3"),
        (ColumnType.TEXT, "a b", "a b"),
    ],
)
def test_a_class_is_written_as_its_column_holds_it(kind: ColumnType, outcome: Any, cell: Any) -> None:
    recipe = replace(RECIPE, types=TYPES | {"late": kind})
    found = taken((record(probabilities={"3": 0.5, "true": 0.25, "a b": 0.25, "2.5": 0.0}), outcome), recipe=recipe)
    assert list(found.cells["late"]) == [cell]


def test_a_regression_takes_finite_numbers_only() -> None:
    recipe = replace(
        RECIPE, contract=replace(RECIPE.contract, task="regression"), types=TYPES | {"late": ColumnType.INTEGER}
    )
    outcomes: list[Any] = [3, 2.5, "3", True, math.nan, math.inf, 10**400, None]
    found = taken(*((record(probabilities=None), outcome) for outcome in outcomes), recipe=recipe)
    assert list(found.cells["late"]) == [3.0, 2.5]
    assert found.left_out[LeftOut.OUTCOME] == 6


def test_numbers_that_name_categories_are_written_as_numbers() -> None:
    recipe = replace(RECIPE, types=TYPES | {"line": ColumnType.INTEGER})
    found = taken(*((given_inputs(line=text), True) for text in ("5", "-5", "05", "5.0", "red", "")), recipe=recipe)
    assert [str(cell) for cell in found.cells["line"]] == ["5.0", "-5.0", "nan"]
    assert found.left_out == {LeftOut.CONTRACT: 3}


@given(
    st.dictionaries(
        st.sampled_from(["line", "wind", "stops", "other"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    ),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    st.sampled_from(ColumnType),
)
def test_whatever_comes_is_a_whole_row_or_counted(inputs: dict[str, Any], outcome: Any, kind: ColumnType) -> None:
    recipe = replace(RECIPE, types=TYPES | {"late": kind})
    found = taken((record(inputs=inputs, probabilities={str(outcome): 1.0}), outcome), recipe=recipe)
    assert found.rows + found.left_out.total() == 1
    assert {len(cells) for cells in found.cells.values()} == {found.rows}
    frame_types = {name: kind for name, kind in recipe.types.items() if name in found.cells}
    if found.rows and not (kind is ColumnType.TEXT and outcome):
        read = PandasReader().read({"a": ParquetWriter().write(1, frame_types, found.cells)})
        assert len(read) == 1


def test_there_is_a_bound_and_wide_rows_come_to_it_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RECIPE.most_rows == 2_000_000
    features = tuple(FeatureContract(f"f{number}", "numeric") for number in range(498))
    assert replace(RECIPE, contract=replace(RECIPE.contract, features=features)).most_rows == 80_000
    monkeypatch.setattr(domain, "MAX_ROWS", 2)
    found = taken((record(), True), (record(), True))
    assert found.full


def test_the_lineage_shows_rows_period_sample_and_what_is_missing() -> None:
    found = taken(
        (record(NOW - timedelta(hours=3), sample=0.1), True), (record(), False), (record(), "what"), (record(), None)
    )
    assert found.sentence("trip-delay", "abc") == (
        "version abc and 2 labelled predictions of trip-delay from 2026-03-10T09:00+00:00 to 2026-03-10T12:00+00:00, "
        "of which captures keep a sample of 10.000%; left out: 2 with an outcome that the target does not have"
    )


@pytest.mark.parametrize(
    ("policy", "group", "types", "said"),
    [
        (CapturePolicy(), None, TYPES, ""),
        (CapturePolicy(mask=frozenset({"trip"}), drop=frozenset({"at"})), None, TYPES, ""),
        (CapturePolicy(), "line", TYPES, ""),
        (CapturePolicy(mask=frozenset({"wind"})), None, TYPES, "captures hide what the model needs: wind"),
        (CapturePolicy(drop=frozenset({"line"})), None, TYPES, "captures hide what the model needs: line"),
        (
            CapturePolicy(),
            "trip",
            TYPES,
            "captures do not contain the group of a row (trip), since it is not a feature",
        ),
        (
            CapturePolicy(),
            None,
            {name: kind for name, kind in TYPES.items() if name not in {"late", "at"}},
            "the dataset has no column late, at",
        ),
    ],
)
def test_captures_that_lack_what_training_needs_cannot_be_used(
    policy: CapturePolicy, group: str | None, types: dict[str, ColumnType], said: str
) -> None:
    assert obstacle(replace(RECIPE, types=types), group=group, policy=policy) == said


# The file


def test_a_written_file_is_read_with_its_types_and_is_the_same_each_time() -> None:
    nan = math.nan
    types = {
        "text": ColumnType.TEXT,
        "number": ColumnType.NUMBER,
        "integer": ColumnType.INTEGER,
        "gaps": ColumnType.INTEGER,
        "truth": ColumnType.BOOLEAN,
        "at": ColumnType.TIME,
        "none": ColumnType.TEXT,
    }
    cells: dict[str, Sequence[Any]] = {
        "text": ["a", None],
        "number": array("d", [1.5, nan]),
        "integer": array("d", [1, 2]),
        "gaps": array("d", [nan, 2]),
        "truth": array("d", [1, nan]),
        "at": array("q", [1_767_225_600_123_000, 0]),
    }
    data = ParquetWriter().write(2, types, cells)
    assert data == ParquetWriter().write(2, types, cells)
    frame = PandasReader().read({"a": data})
    assert dict(frame.types) == types | {"none": ColumnType.NUMBER}  # nothing in it fits every type
    table = frame.table(types)
    assert table["text"].tolist() == ["a", ""]
    assert [table[name].tolist() for name in ("integer", "none")] == [[1, 2], pytest.approx([nan, nan], nan_ok=True)]
    assert table["gaps"].tolist() == pytest.approx([nan, 2], nan_ok=True)
    assert table["truth"].tolist() == pytest.approx([1, nan], nan_ok=True)
    assert str(table["at"][0]) == "2026-01-01T00:00:00.123000"


def test_fractions_in_a_column_of_whole_numbers_make_it_one_of_numbers() -> None:
    data = ParquetWriter().write(2, {"stops": ColumnType.INTEGER}, {"stops": array("d", [1, 2.5])})
    frame = PandasReader().read({"base.csv": b"stops\n7\n", "captures": data})
    assert frame.types == {"stops": ColumnType.NUMBER}
    assert frame.table(["stops"])["stops"].tolist() == [7, 1, 2.5]


# The step


@dataclass
class Field(ReleaseHouse):
    """A dataset of trips until March 2026, its model, and what the model was asked since, with what came true."""

    wanted: ModelSpec = field(default_factory=spec)
    said: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.filled(trips(), **self.said)
        self.clock.at = NOW
        self.registry.apply(self.wanted, author="ana", at=NOW)

    @property
    def base(self) -> DatasetVersion:
        return self.catalog.version("trips")

    def serve(self, *records: dict[str, Any], outcome: Any = True) -> None:
        self.hours.capture(records)
        for each in records:
            self.report(each, outcome)

    def report(self, each: dict[str, Any], outcome: Any, at: datetime = NOW) -> None:
        self.hours.report("trip-delay", each["hour"], [outcome_of(each["id"], outcome, at=at)])

    def labelled_dataset(self) -> LabelledDataset:
        return self.step(labelled_dataset, "trip-delay", captures=self.hours)

    def registered(self, labelled: LabelledDataset) -> DatasetVersion:
        return self.register(self.catalog.version("trips", labelled.dataset_version))


def some(count: int, at: datetime = NOW) -> list[dict[str, Any]]:
    inputs = [{"line": "blue", "wind": float(number), "stops": number % 30} for number in range(count)]
    return [record(at - timedelta(minutes=number), number, inputs=inputs[number]) for number in range(count)]


def test_the_labelled_dataset_is_the_base_and_one_file_of_labelled_captures() -> None:
    place = Field()
    place.serve(*some(70))
    place.hours.capture([record(number=1000)])  # without a label
    base, labelled = place.base, place.labelled_dataset()
    version = place.registered(labelled)
    assert (version.status, version.base, version.added_by) == (
        DatasetStatus.READY,
        base.version,
        "tidegate:monitoring",
    )
    assert version.files[:-1] == base.files
    assert version.captured == Captured(version.files[-1].sha256, 70, {REPORTER: 70})
    assert version.rows == base.rows + 70
    assert version.time_to == NOW.replace(tzinfo=UTC)
    assert {name: version.types[name] for name in base.types} == dict(base.types)
    assert labelled.note == version.lineage
    assert "and 70 labelled predictions of trip-delay" in version.lineage
    assert place.dispatcher.dispatched == [("trips", version.version)]
    frame = read_version(version, place.files, PandasReader())
    table = frame.table(["trip", "wind", "late"])
    mine = table["trip"] == ""
    assert mine[-70:].all()  # whatever the hashes of the files are
    assert mine.sum() == 70
    assert sorted(table["wind"][mine]) == list(map(float, range(70)))
    assert set(table["late"][mine]) == {1.0}


def test_a_version_with_labelled_captures_is_not_what_other_trainings_get() -> None:
    place = Field()
    place.serve(*some(3))
    base = place.base
    place.registered(place.labelled_dataset())
    assert place.base == base


def test_rows_of_captures_are_counted_in_the_holdout_and_the_guard_has_none() -> None:
    place = Field(wanted=spec(split={"holdout_days": 14}, monitoring={"min_rows": 100}))
    place.serve(*some(70))
    version = place.registered(place.labelled_dataset())
    ref = place.request(place.wanted)
    place.registry.note(ref.model, ref.run_id, "requested", NOW, dataset_version=version.version)
    place.prepare(ref)
    plan = json.loads(place.artifacts.get(ref.key(RunFile.PLAN)))
    assert plan["captured"] == {"rows": 70, "holdout_rows": 70, "reporters": {REPORTER: 70}}
    guard, fit, validation, holdout = (
        Table.from_npz(place.artifacts.get(ref.key(file)))
        for file in (RunFile.GUARD, RunFile.FIT, RunFile.VALIDATION, RunFile.HOLDOUT)
    )
    assert guard[ROW].max() < place.base.rows <= holdout[ROW][-70:].min()
    assert not set(guard[ROW]) & {*fit[ROW], *validation[ROW]}
    assert len(guard) > 100
    frame = read_version(version, place.files, PandasReader())
    at = frame.table(["at"])["at"]
    assert at[guard[ROW]].min() > at[np.concatenate([fit[ROW], validation[ROW]])].max()


def test_a_later_labelled_dataset_starts_from_the_same_base_and_has_everything_since() -> None:
    place = Field()
    place.serve(*some(3, NOW - timedelta(hours=5)))
    first = place.registered(place.labelled_dataset())
    place.serve(*some(2))
    second = place.registered(place.labelled_dataset())
    assert (second.base, second.rows) == (first.base, first.rows + 2)


def test_the_same_captures_make_the_same_version_once() -> None:
    place = Field()
    place.serve(*some(3))
    first, again = place.labelled_dataset(), place.labelled_dataset()
    assert first.dataset_version == again.dataset_version
    place.registered(first)
    assert place.labelled_dataset().dataset_version == first.dataset_version
    assert len(place.dispatcher.dispatched) == 2  # the second time it was not registered yet


def test_a_prediction_captured_twice_is_one_row_with_the_outcome_reported_last() -> None:
    place = Field()
    (each,) = some(1)
    place.serve(each, outcome=True)
    place.hours.capture([each])
    place.report(each, False, NOW + timedelta(minutes=1))
    version = place.registered(place.labelled_dataset())
    assert version.rows == place.base.rows + 1
    table = read_version(version, place.files, PandasReader()).table(["trip", "late"])
    assert list(table["late"][table["trip"] == ""]) == [0.0]


def test_excluded_periods_of_the_dataset_are_left_out() -> None:
    place = Field()
    place.serve(*some(2))
    start = NOW - timedelta(seconds=1)
    place.catalog.exclude(Exclusion("trips", "e", start, NOW + timedelta(hours=1), "feed was broken", "ana", NOW))
    labelled = place.labelled_dataset()
    assert "1 labelled" in labelled.note
    assert "left out: 1 in excluded periods" in labelled.note


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"capture": {"mask": ["wind"]}}, "no captures are added: captures hide what the model needs: wind"),
        ({"group": "driver"}, "no captures are added: captures do not contain the group of a row (driver), since it"),
        (
            {
                "split": {
                    "train": {"from": "2026-01-01", "to": "2026-02-01"},
                    "holdout": {"from": "2026-02-01", "to": "2026-03-01"},
                }
            },
            f"no captures are added: {FIXED_PERIODS}",
        ),
    ],
)
def test_without_usable_captures_the_base_is_trained_on_and_the_note_says_why(
    changes: dict[str, Any], said: str
) -> None:
    place = Field(wanted=spec(**changes))
    place.serve(*some(3))
    labelled = place.labelled_dataset()
    assert labelled.dataset_version == place.base.version
    assert labelled.note.startswith(said)
    assert place.hours.read == []


def test_personal_features_are_masked_so_captures_cannot_be_used() -> None:
    place = Field(said={"pii": ("line",)})
    assert "hide what the model needs: line" in place.labelled_dataset().note


def test_with_nothing_new_the_base_is_trained_on() -> None:
    place = Field()
    place.serve(record(END - timedelta(days=3)), outcome=True)
    assert place.labelled_dataset().dataset_version == place.base.version
    place.serve(record(), outcome="sometimes")
    labelled = place.labelled_dataset()
    assert labelled.dataset_version == place.base.version
    assert labelled.note == (
        f"no labelled prediction is newer than version {place.base.version}; "
        "left out: 1 with an outcome that the target does not have"
    )


def test_the_newest_come_first_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "MAX_ROWS", 3)
    place = Field()
    for hours in range(4):
        place.serve(*some(2, NOW - timedelta(hours=hours)))
    version = place.registered(place.labelled_dataset())
    assert version.rows == place.base.rows + 3
    assert version.time_to == NOW
    assert "the newest 3 labelled" in version.lineage


def test_when_the_time_is_up_what_was_read_by_then_is_taken() -> None:
    class Passing(FixedClock):
        def now(self) -> datetime:
            self.at += timedelta(minutes=2)
            return self.at

    place = Field()
    for hours in range(12):
        place.serve(*some(1, NOW - timedelta(hours=hours)))
    place.clock = Passing(NOW)
    labelled = place.labelled_dataset()
    rows = place.registered(labelled).rows - place.base.rows
    assert 0 < rows < 12
    assert f"the newest {rows} labelled" in labelled.note
    assert labelled.until > place.clock.at


def test_a_dataset_without_time_takes_what_came_after_its_registration() -> None:
    place = Field(said={"time": None}, wanted=spec(time=None, gate={}))
    registered_at = place.base.added_at
    place.serve(record(registered_at - timedelta(hours=1)), record(registered_at + timedelta(hours=1)))
    assert "1 labelled" in place.labelled_dataset().note


def test_a_record_is_read_only_when_it_has_a_label() -> None:
    place = Field()
    place.serve(*some(1))
    place.hours.capture([{"id": "no label", "model": "trip-delay", "hour": hour_of(NOW)}])  # not even a whole record
    assert "1 labelled" in place.labelled_dataset().note
