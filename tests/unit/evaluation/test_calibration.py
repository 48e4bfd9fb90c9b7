"""Calibrated scores are distinguished from overconfident ones, by numbers that keep their promises."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from tests.builders.present import present
from tidegate.domain.evaluation.bootstrap import Resampling
from tidegate.domain.evaluation.calibration import BINS, CURVE_POINTS, calibration, curves, wilson
from tidegate.domain.evaluation.sections import Calibration


def scored(rows: int, seed: int = 0, stretch: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Events, and scores that are their probabilities when `stretch` is 1; above it they are too sure."""
    chance = np.random.default_rng(seed)
    logit = chance.normal(-0.5, 1.2, rows)
    event = chance.random(rows) < 1 / (1 + np.exp(-logit))
    return event, 1 / (1 + np.exp(-stretch * logit))


def shown(rows: int, seed: int = 0, stretch: float = 1.0, **options: Any) -> Calibration:
    event, score = scored(rows, seed, stretch)
    return calibration(event, score, Resampling(rows, resamples=300, seed=seed, **options))


def test_an_overconfident_model_is_distinguished_from_a_calibrated_one() -> None:
    good, sure = shown(4000), shown(4000, stretch=2.5)
    assert good.ece.low == 0
    assert good.ece.value < 0.02
    event, score = scored(100_000, seed=9, stretch=2.5)
    truth = np.abs(
        np.subtract(*[each.reshape(-1, 1000).mean(axis=1) for each in (event[np.argsort(score)], np.sort(score))])
    )
    assert sure.ece.low < truth.mean() < sure.ece.high
    assert sure.ece.low > good.ece.high
    assert sure.brier.low > good.brier.low


def test_the_correction_takes_off_most_of_the_error_that_chance_makes() -> None:
    found = [shown(1500, seed) for seed in range(20)]
    plain = np.mean([each.ece_uncorrected for each in found])
    assert plain > 0.02
    assert np.mean([each.ece.value for each in found]) < 0.5 * plain
    assert sum(each.ece.low == 0 for each in found) >= 17


@pytest.mark.simulation
def test_the_interval_holds_the_true_error_of_an_overconfident_model() -> None:
    event, score = scored(100_000, seed=99, stretch=2.0)
    truth = calibration(event, score, Resampling(100_000, resamples=2)).ece_uncorrected
    held = sum(each.ece.low <= truth <= each.ece.high for each in (shown(1500, s, 2.0) for s in range(60)))
    assert held >= 49


def test_bins_have_equally_many_rows_and_hold_what_they_say() -> None:
    event, score = scored(3000)
    bins = shown(3000).bins
    assert [each.rows for each in bins] == [200] * BINS
    lowest = np.argsort(score)[:200]
    assert bins[0].mean_score == pytest.approx(score[lowest].mean())
    assert bins[0].rate.value == pytest.approx(event[lowest].mean())
    assert (bins[0].low, bins[-1].high) == (score.min(), score.max())
    assert all(one.high < other.low for one, other in pairwise(bins))
    assert all(each.rate.low < each.rate.value < each.rate.high for each in bins)


@pytest.mark.parametrize("rows", [1, 30, 500])
def test_equal_scores_share_a_bin(rows: int) -> None:
    event = np.arange(rows) % 4 == 0
    bins = calibration(event, np.full(rows, 0.25), Resampling(rows, resamples=50)).bins
    assert [(each.rows, each.mean_score) for each in bins] == [(rows, 0.25)]


def test_whole_days_are_drawn_when_rows_of_a_day_share_their_luck() -> None:
    chance = np.random.default_rng(1)
    day = np.repeat(np.arange(60), 50)
    event, score = chance.random(3000) < chance.beta(2, 2, 60)[day], np.full(3000, 0.3)
    rows, days = (calibration(event, score, Resampling(3000, each, 300)) for each in (None, day))
    assert days.brier.value == pytest.approx(rows.brier.value)
    for part in ("ece", "brier"):
        width = [getattr(each, part).high - getattr(each, part).low for each in (rows, days)]
        assert width[1] > 2 * width[0]


def test_the_wilson_interval_is_that_of_the_textbook() -> None:
    assert wilson(8, 10, 0.95) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # Brown, Cai and DasGupta 2001
    assert wilson(0, 10, 0.95) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10, 0.95)[1] == 1


def test_curves_run_through_the_points_of_scikit_learn_and_keep_the_area() -> None:
    event, score = scored(5000)
    score = score.round(2)
    found = present(curves(event, score))
    assert len(found.roc) <= CURVE_POINTS >= len(found.pr)
    alarm, recall, _ = roc_curve(event, score, drop_intermediate=False)
    known = set(zip(alarm.round(6).tolist(), recall.round(6).tolist(), strict=True))
    assert {tuple(point) for point in found.roc} <= known
    assert found.roc[0] == (0, 0)
    assert found.roc[-1] == (1, 1)
    area = np.trapezoid([point[1] for point in found.roc], [point[0] for point in found.roc])
    assert area == pytest.approx(roc_auc_score(event, score), abs=0.001)
    precision, recall, _ = precision_recall_curve(event, score)
    known = set(zip(recall.round(6).tolist(), precision.round(6).tolist(), strict=True))
    assert {tuple(point) for point in found.pr} <= known
    assert found.pr[-1][0] == 1


def test_long_curves_are_thinned_and_one_class_has_none() -> None:
    event, score = scored(30_000)
    found = present(curves(event, score))
    assert 100 < len(found.roc) <= CURVE_POINTS
    assert 100 < len(found.pr) <= CURVE_POINTS
    assert curves(np.ones(30, dtype=bool), score[:30]) is None
