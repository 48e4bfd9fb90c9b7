"""Features that are the answer in another form are found at any size; honest ones are let through."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scripts.benchmarks.leaks import measured, samples
from tidegate.domain.data.checks import Target
from tidegate.domain.data.leaks import area, key_notes, leak_faults
from tidegate.domain.serving.contract import FeatureContract
from tidegate.kernel.table import Table

CHANCE = np.random.default_rng(17)


def honest(rows: int) -> tuple[list[FeatureContract], dict[str, Any], np.ndarray]:
    """Five features of which three say a little, and what they say it of."""
    columns: dict[str, Any] = {f"x{number}": CHANCE.normal(size=rows) for number in range(4)}
    columns["c"] = CHANCE.choice(["a", "b", "c"], rows)
    signal = columns["x0"] + 0.5 * columns["x1"] + (columns["c"] == "a") + CHANCE.normal(size=rows) * 2
    features = [FeatureContract(name, "categorical" if name == "c" else "numeric") for name in columns]
    return features, columns, signal


def leaks(features: list[FeatureContract], columns: dict[str, Any], target: Target) -> set[str]:
    found = leak_faults(features, Table(columns), target)
    assert set(found.strengths) == set(columns)
    return {fault.path for fault in found.faults}


def test_honest_features_are_not_suspected() -> None:
    features, columns, signal = honest(4_000)
    assert leaks(features, columns, Target((signal > 1).astype(int), (False, True))) == set()
    assert leaks(features, columns, Target(signal)) == set()


@pytest.mark.parametrize("shape", ["rising", "bent", "gaps", "text"])
def test_a_feature_that_alone_gives_the_target_away_is_suspected(shape: str) -> None:
    features, columns, signal = honest(4_000)
    delay = signal + CHANCE.normal(size=4_000) * 0.5
    hidden = {
        "rising": delay,
        "bent": np.abs(delay - 1),
        "gaps": np.where(delay > 1, np.nan, 3.0),
        "text": np.where(delay > 1, "cancelled", "flown"),
    }[shape]
    late = (np.abs(signal - 1) > 1.5) if shape == "bent" else signal > 1
    leak = FeatureContract("leak", "categorical" if shape == "text" else "numeric")
    found = leaks([*features, leak], {**columns, "leak": hidden}, Target(late.astype(int), (False, True)))
    assert found == {"features.leak"}


TAILS: dict[str, Callable[[int], np.ndarray]] = {
    "normal": lambda rows: CHANCE.normal(size=rows),
    "skewed": lambda rows: CHANCE.lognormal(sigma=2, size=rows),
    "heavy": lambda rows: CHANCE.standard_cauchy(size=rows),
    "counts": lambda rows: 1.0 * CHANCE.poisson(3, size=rows),
}
FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "unit": lambda y: 20 - 3.5 * y,
    "bent": np.arctan,
    "hidden in one of two directions": lambda y: np.where(np.arange(len(y)) % 2, y, 1e6 - y),
}


@pytest.mark.parametrize("rows", [150, 500, 50_000])
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("form", FORMS)
def test_a_number_in_another_form_is_found_at_any_size_and_with_any_tail(rows: int, tail: str, form: str) -> None:
    features, columns, _ = honest(rows)
    target = TAILS[tail](rows)
    leak = {"leak": FORMS[form](target)}
    assert leaks([*features, FeatureContract("leak", "numeric")], {**columns, **leak}, Target(target)) == {
        "features.leak"
    }


def test_units_and_monotone_changes_do_not_move_the_strength_of_a_number() -> None:
    features, columns, signal = honest(1_000)
    plain = leak_faults(features, Table(columns), Target(signal)).strengths
    bent = {name: np.exp(values) if values.dtype.kind == "f" else values for name, values in columns.items()}
    assert leak_faults(features, Table(bent), Target(7 * signal - 3)).strengths == plain


def test_a_strong_number_is_noted_and_stops_nothing() -> None:
    features, columns, signal = honest(2_000)
    yesterday = signal + CHANCE.normal(size=2_000) * signal.std() * 0.15
    found = leak_faults(
        [*features, FeatureContract("yesterday", "numeric")], Table({**columns, "yesterday": yesterday}), Target(signal)
    )
    assert found.faults == []
    (note,) = found.notes
    assert note.startswith("features.yesterday: alone predicts the target with xi 0.8")
    assert note.index("known_in_advance: true") < note.index("leave it out")


def test_of_a_copy_the_first_remedy_is_to_leave_it_out_and_of_a_strong_feature_to_vouch_for_it() -> None:
    features, columns, signal = honest(4_000)
    late = Target((signal > 1).astype(int), (False, True))
    features += [FeatureContract("leak", "numeric")]
    (copy,) = leak_faults(features, Table({**columns, "leak": signal}), late).faults
    assert copy.problem.startswith("alone predicts the target with AUC 1.000 [1.000, 1.000]: a copy, by the limit of 0")
    assert copy.problem.index("leave it out") < copy.problem.index("known_in_advance: true")
    blurred = signal + CHANCE.normal(size=4_000) * 1.5
    (strong,) = leak_faults(features, Table({**columns, "leak": blurred}), late).faults
    assert "stands out" in strong.problem
    assert "the next feature, x0, has 0." in strong.problem
    assert strong.problem.index("known_in_advance: true") < strong.problem.index("leave it out")


@pytest.mark.parametrize("how", ["sum", "difference", "product", "ratio", "which is larger"])
@pytest.mark.parametrize("rows", [150, 4_000])
def test_two_columns_that_give_the_target_together_are_found(how: str, rows: int) -> None:
    features, columns, _ = honest(rows)
    one, other = CHANCE.lognormal(size=rows), CHANCE.lognormal(size=rows)
    values = {
        "sum": one + other,
        "difference": one - other,
        "product": one * other,
        "ratio": one / other,
        "which is larger": (one > other).astype(int),
    }[how]
    target = Target(values, (False, True)) if how == "which is larger" else Target(values)
    features += [FeatureContract("one", "numeric"), FeatureContract("other", "numeric")]
    table = Table({**columns, "one": one, "other": other})
    (fault,) = leak_faults(features, table, target).faults
    assert fault.path == "features.one"
    assert fault.problem.startswith("and features.other together give the target")
    assert leak_faults(features, table, target, vouched=["one"]).faults
    assert not leak_faults(features, table, target, vouched=["one", "other"]).faults


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (np.arange(500.0) * 3 + 7, "rises with every row"),
        (500 - np.arange(500.0), "falls with every row"),
        (CHANCE.permutation(500).astype(float), "is another whole number in nearly every row"),
        (np.repeat(CHANCE.permutation(100), 5).astype(float), "set group: column"),
        (CHANCE.integers(0, 100, 500).astype(float), ""),
        (CHANCE.integers(0, 10**7, 500).astype(float), ""),  # amounts of money are different, too
        (np.sort(CHANCE.normal(size=500)), ""),
    ],
)
def test_whole_numbers_that_name_rows_or_groups_are_noted(column: np.ndarray, said: str) -> None:
    feature = FeatureContract("column", "numeric")
    notes = key_notes([feature], Table({"column": column}), group=None)
    assert [said in note for note in notes] == ([True] if said else [])
    assert key_notes([feature], Table({"column": column}), group="column") == []


@pytest.mark.simulation
@pytest.mark.parametrize("rows", [150, 1_000])
def test_intervals_of_strength_cover_what_is_true(rows: int) -> None:
    """Of normal variables, whose xi has a formula; and the area of two normal classes."""
    covered = {"xi": 0, "area": 0}
    for _ in range(400):
        one = CHANCE.normal(size=rows)
        other = 0.9 * one + np.sqrt(1 - 0.81) * CHANCE.normal(size=rows)
        found = leak_faults([FeatureContract("x", "numeric")], Table({"x": one}), Target(other))
        assert 0 <= found.strengths["x"] <= 1
        covered["xi"] += abs(found.strengths["x"] - (3 / np.pi * np.arcsin((1 + 0.81) / 2) - 0.5)) < 2 / np.sqrt(rows)
        hits = CHANCE.random(rows) < 0.3
        strength = area(hits, one + hits * np.sqrt(2))
        covered["area"] += strength.low <= 0.8413 <= strength.high
    assert covered["xi"] >= 380
    assert 365 <= covered["area"] <= 395


def test_a_feature_that_is_vouched_for_is_measured_but_not_suspected_and_hides_no_other() -> None:
    features, columns, signal = honest(4_000)
    late = Target((signal > 1).astype(int), (False, True))
    columns |= {"yesterday": signal + CHANCE.normal(size=4_000) * 0.1, "delay": signal * 60}
    features += [FeatureContract("yesterday", "numeric"), FeatureContract("delay", "numeric")]
    found = leak_faults(features, Table(columns), late, vouched=["yesterday"])
    assert [fault.path for fault in found.faults] == ["features.delay"]
    assert found.strengths["yesterday"] > 0.95
    assert leak_faults(features, Table(columns), late, vouched=["yesterday", "delay"]).faults == []
    assert leak_faults(features, Table(columns), late, vouched=list(columns)).faults == []


def test_strong_features_in_good_company_are_no_leak() -> None:
    truth = CHANCE.normal(size=4_000)
    names = [f"size{number}" for number in range(8)]
    columns = {name: truth + CHANCE.normal(size=4_000) * (0.6 + 0.1 * index) for index, name in enumerate(names)}
    features = [FeatureContract(name, "numeric") for name in names]
    assert leaks(features, columns, Target((truth > 0).astype(int), (False, True))) == set()


def test_many_categories_gain_nothing_by_learning_rows_by_heart() -> None:
    features, columns, signal = honest(2_000)
    columns["id"] = np.array([f"row {number}" for number in range(2_000)])
    found = leaks([*features, FeatureContract("id", "categorical")], columns, Target(signal))
    assert found == set()


@pytest.mark.simulation
def test_planted_leaks_are_found_and_honest_features_let_through_in_tables_that_nobody_chose_for_it() -> None:
    figures = measured(list(samples())[::3])
    assert figures["tables"] == 23
    assert figures["found"] >= 0.95
    assert figures["honest_stopped"] <= 0.02
