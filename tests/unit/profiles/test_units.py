"""Another unit is seen by what lies between known values; seasons, rounding and chance do not look like one."""

from datetime import UTC, datetime

import numpy as np
import pytest

from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.monitoring import quality
from tidegate.domain.monitoring.findings import Window, findings
from tidegate.domain.monitoring.quality import Quality
from tidegate.domain.profiles.drift import DriftOutcome, DriftPolicy, judge, judge_faults
from tidegate.domain.profiles.profile import count, reference
from tidegate.domain.profiles.units import MOST_VALUES, known_values, strange
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.kernel.drift.strange import STRANGE
from tidegate.kernel.table import Column, Table

MPH = 1.15078
CONTRACT = Contract(
    model="wind",
    task="binary",
    features=(FeatureContract("wind", "numeric"),),
    classes=(False, True),
    positive=1,
)


def knots(rows: int, mean: float, seed: int) -> Column:
    """Whole knots, as an anemometer shows them."""
    return np.random.default_rng(seed).poisson(mean, rows).astype(np.float64)


def verdict(trained: Column, live: Column) -> tuple[DriftOutcome, str]:
    half = np.tile([0.0, 1.0], len(trained))
    layout, profile = reference(CONTRACT, Table({"wind": trained}), score=half, label=half, target=half)
    found = judge_faults(layout, profile, count(layout, Table({"wind": live})), DriftPolicy())
    return found.outcome, found.statement


@pytest.mark.parametrize("factor", [1 / MPH, 1.609344, 0.44704])
def test_another_unit_is_seen_and_the_feature_named(factor: float) -> None:
    outcome, statement = verdict(MPH * knots(20_000, 10, 1), factor * MPH * knots(2_000, 10, 2))
    assert outcome is DriftOutcome.DRIFTED
    assert statement.startswith("wind has ")
    assert "another unit" in statement


@pytest.mark.parametrize("mean", [4, 8.7, 12, 18])
def test_calm_and_stormy_seasons_are_no_other_unit(mean: float) -> None:
    assert verdict(MPH * knots(20_000, 10, 1), MPH * knots(2_000, mean, 2))[0] is DriftOutcome.NONE


def test_a_unit_is_seen_in_a_window_that_only_partly_has_it() -> None:
    live = np.concatenate([MPH * knots(1_600, 10, 2), knots(400, 10, 3)])
    assert verdict(MPH * knots(20_000, 10, 1), live)[0] is DriftOutcome.DRIFTED


def test_another_unit_is_given_to_people_and_not_to_training() -> None:
    half = np.tile([0.0, 1.0], 20_000)
    layout, profile = reference(
        CONTRACT, Table({"wind": MPH * knots(20_000, 10, 1)}), score=half, label=half, target=half
    )
    report = judge(layout, profile, count(layout, Table({"wind": knots(2_000, 10, 2)})), DriftPolicy())
    unknown = Quality("roc_auc", quality.QualityOutcome.INSUFFICIENT_DATA, "no labels", 0, Estimate(0.7, 0.6, 0.8))
    window = Window(24, "2026-07-01T00", "2026-07-01T23", 2_000, 2_000, report, unknown)
    found = findings(1, [window], target_shift=0.25, window_from=datetime(2026, 7, 1, tzinfo=UTC))
    assert len(found.unfixable) == 1
    assert "wind has" in found.unfixable[0]
    assert found.unfixable[0].endswith("fix the data feed")


def test_rounding_is_no_other_unit() -> None:
    assert verdict(MPH * knots(20_000, 10, 1), (MPH * knots(2_000, 10, 2)).round(1))[0] is DriftOutcome.NONE


def test_a_column_that_keeps_taking_new_values_has_no_known_ones() -> None:
    chance = np.random.default_rng(3)
    assert known_values(chance.normal(size=5_000)) == ()
    assert known_values(chance.integers(0, MOST_VALUES + 50, 50_000).astype(np.float64)) == ()
    assert known_values(np.repeat(chance.normal(size=100), 30)) == ()  # readings that come thirty times, then never


def test_values_that_are_known_are_those_of_training() -> None:
    assert known_values(np.tile([0.0, 2.0, 1.0], 100)) == (0.0, 1.0, 2.0)
    assert known_values(np.zeros(100)) == known_values(np.zeros(0)) == ()


def test_what_lies_between_neighbours_is_strange_and_nothing_else() -> None:
    numbers = np.asarray([1.5, 1.0, 1.05, 2.97, 0.5, 3.5, np.nan, 5.0])
    assert strange(numbers, [1.0, 2.0, 3.0]).tolist() == [True, *[False] * 7]
    assert not strange(np.asarray([5.0]), [1.0, 2.0, 3.0, 9.0]).any()  # a gap that training may not have filled


def test_false_alarms_are_rarer_than_alpha() -> None:
    """Columns of 20 to 190 values, with training sets from tiny to large, and windows of the same distribution."""
    alarms = 0
    for seed in range(400):
        chance = np.random.default_rng(seed)
        values, rows = int(chance.integers(20, 190)), int(chance.choice([500, 1_000, 5_000]))
        share = chance.dirichlet(np.full(values, chance.choice([0.2, 1.0, 5.0])))
        lattice = np.cumsum(chance.uniform(0.8, 1.2, values))
        known = known_values(chance.choice(lattice, rows, p=share))
        alarms += (
            bool(known) and float(strange(chance.choice(lattice, 1_000, p=share), known).mean()) >= STRANGE.unfixable
        )
    assert alarms <= 4
