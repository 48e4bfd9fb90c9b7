"""Data that a model must not be trained on is stopped, with every fault named."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from tidegate.domain.data.checks import (
    Demands,
    Limits,
    Target,
    column_faults,
    copies,
    copy_faults,
    duplicate_faults,
    precision_notes,
    read_target,
    split_faults,
    target_faults,
    terms_faults,
    twin_faults,
    value_faults,
    wide_faults,
)
from tidegate.domain.data.dataset import ColumnType, Dataset, Reading
from tidegate.domain.data.splits import Split
from tidegate.domain.serving.contract import FeatureContract
from tidegate.kernel.table import Table

NUMBER, INTEGER, BOOLEAN, TEXT, TIME = (
    ColumnType.NUMBER,
    ColumnType.INTEGER,
    ColumnType.BOOLEAN,
    ColumnType.TEXT,
    ColumnType.TIME,
)
CHANCE = np.random.default_rng(7)


def demands(*features: FeatureContract, **changes: Any) -> Demands:
    return replace(Demands(dataset="flights", task="binary", target="late", features=features), **changes)


def shown(faults: list[Any]) -> str:
    return "\n".join(str(fault) for fault in faults)


def values(feature: FeatureContract, column: list[Any], training: int | None = None) -> str:
    data = np.array(column) if feature.kind == "categorical" else np.array(column, dtype=float)
    rows = np.arange(len(data) if training is None else training)
    return shown(value_faults([feature], Table({feature.name: data}), rows))


def test_missing_columns_are_named_with_their_neighbours() -> None:
    asked = demands(FeatureContract("carier", "categorical"), time="scheduld", group="tail", ids=("flight_id",))
    found = column_faults(asked, {"carrier": TEXT, "scheduled": TIME, "late": BOOLEAN})
    assert "features.carier: dataset flights has no such column; did you mean 'carrier'?" in shown(found)
    assert "time.scheduld: dataset flights has no such column; did you mean 'scheduled'?" in shown(found)
    assert {fault.path for fault in found} == {"features.carier", "time.scheduld", "group.tail", "ids.flight_id"}


def test_an_outcome_column_cannot_be_a_feature() -> None:
    asked = demands(FeatureContract("dep_delay", "numeric"), outcome=("dep_delay",))
    (fault,) = column_faults(asked, {"dep_delay": NUMBER, "late": BOOLEAN})
    assert fault.path == "features.dep_delay"
    assert "known only after the fact" in fault.problem


@pytest.mark.parametrize(
    ("kind", "column", "fits"),
    [
        ("numeric", NUMBER, True),
        ("numeric", INTEGER, True),
        ("numeric", TEXT, False),
        ("numeric", TIME, False),
        ("integer", TEXT, False),
        ("boolean", BOOLEAN, True),
        ("boolean", TEXT, False),
        ("categorical", TEXT, True),
        ("categorical", INTEGER, True),
        ("categorical", NUMBER, False),
        ("categorical", TIME, False),
    ],
)
def test_a_column_must_fit_the_declared_kind(kind: Any, column: ColumnType, fits: bool) -> None:
    found = column_faults(demands(FeatureContract("x", kind)), {"x": column, "late": BOOLEAN})
    assert (not found) is fits


@pytest.mark.parametrize(
    ("kind", "texts", "said"),
    [
        (
            "numeric",
            ["1.5", "n/a", "three", "", "1_000"],
            "2 of 5 values (40.00%) are not numbers: the first, 'three',",
        ),
        ("time", ["2013-05-01", "", "May", "2013-02-30"], "2 of 4 values (50.00%) are not times: the first, 'May',"),
        ("boolean", ["yes", "no", "maybe"], "1 of 3 values (33.33%) are not truth values: the first, 'maybe',"),
    ],
)
def test_of_a_column_of_texts_the_first_that_does_not_fit_is_named_unless_it_is_personal(
    kind: Any, texts: list[str], said: str
) -> None:
    table, types = {"x": np.array(texts)}, {"x": TEXT, "late": BOOLEAN}
    asked = demands(FeatureContract("x", kind))
    assert f"{said} is in row 3; correct them" in shown(column_faults(asked, types, table))
    hidden = shown(column_faults(replace(asked, personal=("x",)), types, table))
    assert "the first is in row 3" in hidden
    assert texts[2] not in hidden
    as_target = demands(task="regression", target="x", time="x")
    odd = shown(column_faults(as_target, types, table))
    assert odd.count("the first, ") == 2


def test_texts_are_looked_at_as_the_dataset_is_read() -> None:
    table, types = {"x": np.array(["1,5", "-", "31/12/2013"])}, {"x": TEXT, "late": BOOLEAN}
    reading = Reading(2, missing=("-",), decimal=",", time_format="%d/%m/%Y")
    numeric, time = (demands(FeatureContract("x", kind), reading=reading) for kind in ("numeric", "time"))
    assert "the first, '31/12/2013', is in row 3" in shown(column_faults(numeric, types, table))
    assert "the first, '1,5', is in row 1" in shown(column_faults(time, types, table))


def test_a_reserved_name_is_refused() -> None:
    found = column_faults(demands(FeatureContract("__target__", "numeric")), {"__target__": NUMBER, "late": BOOLEAN})
    assert "reserved name" in shown(found)


def test_values_outside_the_range_are_counted_with_the_worst() -> None:
    wind = FeatureContract("wind", "numeric", minimum=0, maximum=100)
    assert "2 of 4 values (50.00%) are above max 100 (the largest is 1048.36)" in values(wind, [5, 101, 1048.36, 7])
    assert "below min 0 (the smallest is -3)" in values(wind, [5, -3, 6])
    assert values(wind, [0, 100, 50]) == ""


def test_missing_values_count_only_where_they_are_rejected() -> None:
    column = [1, np.nan, 3]
    assert "1 of 3 values (33.33%) are missing" in values(FeatureContract("x", "numeric"), column)
    assert values(FeatureContract("x", "numeric", missing="allow"), column) == ""
    assert "are missing" in values(FeatureContract("c", "categorical"), ["a", "", "b"])
    assert values(FeatureContract("c", "categorical", missing="allow"), ["a", "", "b"]) == ""


def test_numbers_that_are_not_what_the_spec_says() -> None:
    assert "have fractions" in values(FeatureContract("x", "integer"), [1, 2.5])
    assert "neither 0 nor 1" in values(FeatureContract("x", "boolean"), [0, 1, 2])
    assert "are infinite" in values(FeatureContract("x", "numeric"), [0, np.inf, 2])


def test_a_number_that_no_float32_holds_is_refused_before_training() -> None:
    found = values(FeatureContract("x", "numeric"), [1e39, -3.4e38, 5])
    assert "1 of 3 values (33.33%) are beyond 3.403e+38, the largest 32-bit float" in found


def test_a_number_that_is_constant_to_the_model_alone_is_refused_with_what_to_do() -> None:
    seconds = [1_367_429_400.0, 1_367_429_410.0, 1_367_429_420.0]
    found = values(FeatureContract("at", "numeric"), seconds)
    assert "features.at: has values that all become one in the training rows as 32-bit floats" in found
    assert "kind: time" in found


def test_numbers_that_meet_as_float32_are_noted_and_measurements_are_not() -> None:
    feature = FeatureContract("x", "numeric")

    def notes(column: Any) -> list[str]:
        return precision_notes([feature], Table({"x": np.asarray(column, dtype=np.float64)}))

    (note,) = notes(2**24 + np.arange(1_000))
    assert note.startswith("features.x: 499 of 1,000 different values (49.90%) become another one as 32-bit floats")
    assert notes(1.36e9 + np.arange(0, 86_400, 30))  # epoch seconds of a day
    for fine in (np.arange(2**16), CHANCE.random(400_000), [np.nan, 1.0], 1.36e9 + np.arange(0, 1e6, 1_000)):
        assert notes(fine) == []


def test_a_text_that_no_request_may_have_is_refused_before_training() -> None:
    found = values(FeatureContract("c", "categorical"), ["a", "b" * 1_025, "c" * 1_024])
    assert "1 of 3 values (33.33%) have more than 1,024 letters" in found


def test_whole_numbers_that_float64_does_not_distinguish_name_no_group_and_no_class() -> None:
    ids = np.array([2.0**53, 5.0])
    assert "add the files with --text tail" in shown(wide_faults("group.tail", ids))
    assert wide_faults("group.tail", ids - 1) == wide_faults("group.tail", np.array(["9007199254740993"])) == []
    _, faults = read_target(demands(), ids, INTEGER)
    assert "add the files with --text late" in shown(faults)


def test_unlisted_categories_are_named_when_they_are_rejected() -> None:
    strict = FeatureContract("origin", "categorical", categories=("EWR", "JFK"), unseen="reject")
    assert "'BOS'" in values(strict, ["EWR", "BOS", "JFK"])
    assert values(replace(strict, unseen="allow"), ["EWR", "BOS", "JFK"]) == ""


def test_a_feature_that_is_constant_in_training_is_refused() -> None:
    assert "is 4 in every training row" in values(FeatureContract("x", "numeric"), [4, 4, 4, 5], training=3)
    assert "is 'a' in every training row" in values(FeatureContract("c", "categorical"), ["a", "a", "b"], training=2)
    assert values(FeatureContract("x", "numeric", missing="allow"), [4, 4, np.nan]) == ""


def test_a_category_that_names_rows_is_refused() -> None:
    names = [f"flight {number}" for number in range(200)]
    assert "memorise them" in values(FeatureContract("id", "categorical"), names)
    assert values(FeatureContract("c", "categorical"), [name[:8] for name in names]) == ""


def test_a_binary_target_has_exactly_two_classes() -> None:
    target, faults = read_target(demands(), np.array([0.0, 1.0, 2.0]), INTEGER)
    assert target is None
    assert "has 3 classes in these rows (0, 1, 2)" in shown(faults)


def test_classes_keep_their_own_type() -> None:
    flags, _ = read_target(demands(), np.array([1.0, 0.0]), BOOLEAN)
    numbers, _ = read_target(demands(), np.array([2.0, 1.0]), INTEGER)
    texts, _ = read_target(demands(positive_class="no"), np.array(["yes", "no"]), TEXT)
    assert flags is not None
    assert (flags.classes, flags.positive, flags.values.tolist()) == ((False, True), 1, [1, 0])
    assert numbers is not None
    assert repr(numbers.classes) == "(1, 2)"
    assert texts is not None
    assert (texts.classes, texts.positive) == (("no", "yes"), 0)


def test_the_positive_class_must_exist_and_a_text_target_must_name_it() -> None:
    _, unknown = read_target(demands(positive_class="late"), np.array(["yes", "no"]), TEXT)
    assert "'late' is not a class of late (allowed: no, yes)" in shown(unknown)
    _, unnamed = read_target(demands(), np.array(["yes", "no"]), TEXT)
    assert "positive_class: is required" in shown(unnamed)


def test_a_number_is_no_set_of_classes_and_a_text_no_number() -> None:
    _, faults = read_target(demands(task="multiclass"), np.arange(500.0), NUMBER)
    assert "is this task: regression?" in shown(faults)
    assert "regression needs numbers" in shown(column_faults(demands(task="regression"), {"late": TEXT}))
    _, faults = read_target(demands(task="regression"), np.ones(5), NUMBER)
    assert "nothing to predict" in shown(faults)


def test_too_few_rows_and_a_class_without_rows_are_named() -> None:
    rows = np.arange(100)
    split = Split(rows[:60], rows[60:65], rows[65:], outside=7, straddling=0)
    target = Target(np.repeat([0, 1], [60, 40]), ("on time", "late"))
    found = shown(split_faults(split, target))
    assert "split.validation_fraction: leaves 5 rows" in found
    assert "7 rows lie outside the periods" in found
    assert "the training rows have none of class 'late'" in found


def test_copies_across_the_split_are_counted_and_refused_when_they_are_most() -> None:
    split = Split(np.arange(4), np.arange(4, 5), np.arange(5, 10), outside=0, straddling=0)
    hashes = np.array([1, 2, 3, 4, 5, 5, 1, 8, 9, 10], dtype=np.uint64)
    assert copies(hashes, split) == 2
    assert copy_faults(0, split) == ([], [])
    assert copy_faults(2, split) == ([], ["split.holdout: 2 of 5 holdout rows (40.00%) are copies of training rows"])
    faults, notes = copy_faults(3, split)
    assert "3 of 5 holdout rows" in shown(faults)
    assert not notes


def test_features_that_are_equal_in_training_are_named_together() -> None:
    columns: dict[str, Any] = {
        "miles": np.array([1.0, np.nan, 3.0, 4.0]),
        "stops": np.array([1.0, 2.0, 3.0, 4.0]),
        "distance": np.array([1.0, np.nan, 3.0, 4.0]),
        "line": np.array(["red", "blue", "", "red"]),
        "route": np.array(["red", "blue", "", "red"], dtype="U40"),
        "zero": np.zeros(4),
        "nothing": np.zeros(4),
    }
    kinds = {name: "numeric" if column.dtype.kind == "f" else "categorical" for name, column in columns.items()}
    features = [FeatureContract(name, kind) for name, kind in kinds.items()]  # type: ignore[arg-type]
    distance, route = twin_faults(features, Table(columns))
    assert str(distance).startswith("features.distance: equals features.miles in every training row")
    assert str(route).startswith("features.route: equals features.line in every training row")


def test_features_that_differ_late_are_no_twins() -> None:
    one = CHANCE.normal(size=5_000)
    other = one.copy()
    other[-1] += 1
    features = [FeatureContract("one", "numeric"), FeatureContract("other", "numeric")]
    assert twin_faults(features, Table({"one": one, "other": other})) == []
    assert len(twin_faults(features, Table({"one": one[:-1], "other": other[:-1]}))) == 1


def halves(rows: int) -> Split:
    return Split(np.arange(rows // 2 - 20), np.arange(rows // 2 - 20, rows // 2), np.arange(rows // 2, rows), 0, 0)


def test_repeated_rows_are_noted_and_refused_beyond_the_limit() -> None:
    hashes = np.arange(2_000, dtype=np.uint64)
    assert duplicate_faults(hashes, halves(2_000), Limits()) == ([], [])
    hashes[:100] = 7
    assert duplicate_faults(hashes, halves(2_000), Limits()) == (
        [],
        ["split.train: 99 of 1,000 training rows (9.90%) repeat an earlier one in every column"],
    )
    hashes[:102] = 7
    faults, notes = duplicate_faults(hashes, halves(2_000), Limits())
    assert "101 of 1,000 training rows (10.10%)" in shown(faults)
    assert "more than checks.duplicate_rows_at_most, 10.00%" in shown(faults)
    assert not notes
    assert duplicate_faults(hashes, halves(2_000), Limits(duplicate_rows=0.2))[0] == []


def test_a_dataset_loaded_twice_is_refused() -> None:
    hashes = np.repeat(np.arange(1_000, dtype=np.uint64), 2)
    assert "(50.00%)" in shown(duplicate_faults(hashes, halves(2_000), Limits())[0])


def shares(before: float, now: float, rows: int = 4_000) -> Target:
    half = rows // 2
    return Target(
        np.concatenate([np.arange(half) < before * half, np.arange(half) < now * half]).astype(int), (False, True)
    )


@pytest.mark.parametrize(
    ("now", "outcome"),
    [(0.23, "neither"), (0.27, "neither"), (0.42, "note"), (0.14, "note"), (0.65, "fault")],
)
def test_a_target_that_moves_with_the_season_is_noted_and_another_target_refused(now: float, outcome: str) -> None:
    faults, notes = target_faults("late", shares(0.24, now), halves(4_000), Limits())
    assert ("fault" if faults else "note" if notes else "neither") == outcome
    for sentence in (*map(str, faults), *notes):
        assert sentence.startswith("target.late: has a different distribution in the holdout: ")
        assert f"{now:.2%} of 2,000 holdout rows" in sentence or f"{1 - now:.2%} of 2,000 holdout rows" in sentence
    if faults:
        assert "more than monitoring.target_shift, 0.25" in shown(faults)


def test_a_higher_limit_lets_a_shifted_target_pass_with_a_note() -> None:
    faults, notes = target_faults("late", shares(0.24, 0.65), halves(4_000), Limits(target_shift=0.5))
    assert (faults, len(notes)) == ([], 1)


def test_a_shifted_number_is_reported_by_its_cell() -> None:
    split = halves(4_000)
    drawn = CHANCE.normal(size=4_000)
    assert target_faults("delay", Target(drawn), split, Limits()) == ([], [])
    drawn[split.holdout] += 2
    faults, _ = target_faults("delay", Target(drawn), split, Limits())
    assert "target.delay: has a different distribution in the holdout: 'above " in shown(faults)


def test_too_few_rows_are_not_compared() -> None:
    assert target_faults("late", shares(0.1, 0.9, 180), halves(180), Limits()) == ([], [])
    assert target_faults("late", shares(0.1, 0.9, 220), halves(220), Limits())[0]


def test_targets_drawn_alike_are_hardly_ever_called_different() -> None:
    split = halves(600)
    drawn = [Target(CHANCE.choice(3, 600), ("a", "b", "c")) for _ in range(300)]
    noted = [target_faults("kind", target, split, Limits()) for target in drawn]
    assert not any(faults for faults, _ in noted)
    assert sum(bool(notes) for _, notes in noted) <= 15


def dataset(**said: Any) -> Dataset:
    about: dict[str, Any] = {"origin": "made up", "licence": "CC0-1.0"}
    return Dataset(
        "flights", owner="o", pii=(), outcome=(), time=None, registered_by="a",
        registered_at=datetime(2026, 1, 1, tzinfo=UTC), **about | said,
    )  # fmt: skip


def test_any_licence_will_do_when_none_is_named_but_one_has_to_be_given() -> None:
    assert terms_faults(dataset(licence="house rules"), ()) == []
    assert {fault.path for fault in terms_faults(dataset(licence=" ", origin=""), ())} == {"licence", "origin"}


def test_a_licence_that_is_not_allowed_is_refused_with_those_that_are() -> None:
    allowed = ("CC0-1.0", "MIT")
    assert terms_faults(dataset(), allowed) == terms_faults(dataset(licence="mit"), allowed) == []
    (fault,) = terms_faults(dataset(licence="CC-BY-NC-4.0"), allowed)
    assert str(fault) == (
        "licence: dataset flights has the licence 'CC-BY-NC-4.0', which this deployment does not allow "
        "(allowed: CC0-1.0, MIT)"
    )


def test_of_personal_features_no_value_is_reported() -> None:
    mails = np.array(["ana@example.com", "bo@example.com"])
    strict = FeatureContract("mail", "categorical", categories=("x",), unseen="reject")
    number = FeatureContract("card", "numeric", minimum=0, maximum=5)
    table = Table({"mail": mails, "card": np.array([4111111111111111.0, -77.0])})
    same = Table({"mail": mails[:1], "card": np.array([4.5])})
    rows = np.arange(2)
    found = shown(
        value_faults([strict, number], table, rows, personal=["mail", "card"])
        + value_faults([strict, number], same, rows[:1], personal=["mail", "card"])
    )
    assert found.count("are not a listed category") == 2
    assert "is the same in every training row" in found
    for value in ("ana", "example", "4.1", "4.5", "77"):
        assert value not in found
