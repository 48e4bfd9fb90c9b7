"""How a regression errs, and whether its intervals hold what they promise."""

import numpy as np
import pytest

from tidegate.domain.evaluation.bootstrap import Resampling
from tidegate.domain.evaluation.residuals import GROUPS, HISTOGRAM_BINS, coverage, residuals
from tidegate.domain.training.conformal import half_width, least_rows


def test_intervals_cover_as_many_new_outcomes_as_they_promise() -> None:
    chance = np.random.default_rng(3)
    held = []
    for _ in range(400):
        errors = chance.standard_t(3, size=260)  # heavy tails: no formula of the normal would fit
        width = half_width(errors[:60], np.zeros(60), 0.9)
        held.append(np.abs(errors[60:]) <= width)
    # 55 of 61 places: the exact share of exchangeable rows
    assert np.mean(held) == pytest.approx(55 / 61, abs=0.006)


def test_the_width_is_the_residual_at_its_place() -> None:
    target = np.arange(1.0, 100)  # 99 rows
    assert half_width(target, np.zeros(99), 0.9) == 90
    assert half_width(target, np.zeros(99), 0.99) == 99
    assert half_width(-target, np.zeros(99), 0.9) == 90


@pytest.mark.parametrize(("level", "rows"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_too_few_rows_carry_no_interval(level: float, rows: int) -> None:
    assert least_rows(level) == rows
    half_width(np.zeros(rows), np.zeros(rows), level)
    with pytest.raises(ValueError, match=f"needs {rows} row"):
        half_width(np.zeros(rows - 1), np.zeros(rows - 1), level)


def test_coverage_is_measured_with_its_interval() -> None:
    target = np.arange(200.0)
    found = coverage(target, target + np.where(target < 170, 1.0, 3.0), 0.9, 2.0, Resampling(200, resamples=300))
    assert (found.level, found.width, found.coverage.value) == (0.9, 4.0, 0.85)
    assert 0.78 < found.coverage.low < 0.83
    assert 0.87 < found.coverage.high < 0.92


def test_residuals_are_outcome_less_prediction_by_rising_prediction() -> None:
    predicted = np.random.default_rng(1).permutation(np.arange(1000.0))
    found = residuals(predicted + np.where(predicted < 100, 5.0, -1.0), predicted)
    groups = found.by_prediction
    assert [each.rows for each in groups] == [100] * GROUPS
    assert [each.mean for each in groups] == [5.0] + [-1.0] * 9
    assert (groups[0].low, groups[0].high, groups[0].p50) == (0, 99, 5)


def test_outliers_do_not_flatten_the_histogram_and_every_row_is_counted() -> None:
    target = np.random.default_rng(1).normal(size=2000)
    target[:3], target[3:5] = 1e6, -1e6
    found = residuals(target, np.zeros(2000)).histogram
    assert (len(found.edges), len(found.counts)) == (HISTOGRAM_BINS + 1, HISTOGRAM_BINS)
    assert -4 < found.edges[0] < found.edges[-1] < 4
    assert sum(found.counts) + found.below + found.above == 2000
    assert found.below == pytest.approx(10, abs=1)


def test_a_perfect_model_and_a_few_rows_are_reported_too() -> None:
    found = residuals(np.arange(4.0), np.arange(4.0))
    assert sum(found.histogram.counts) == 4
    assert [each.rows for each in found.by_prediction] == [1] * 4
