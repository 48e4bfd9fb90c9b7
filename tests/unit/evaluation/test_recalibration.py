"""Recalibration: maps agree with scikit-learn's, the choice is right, and what is expected of a model comes true."""

import json

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from tests.builders.present import present
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.recalibration import LEAST_OF_CLASS, Recalibration, choose, isotonic, platt
from tidegate.domain.monitoring.quality import QualityOutcome, expected_quality
from tidegate.kernel.metrics.registry import find

ANY = Estimate(0.8, 0.7, 0.9)


def too_sure(rows, seed, *, slope=2.5, centre=-2.0):
    """Probabilities [n, 2] whose log odds are `slope` times as large as they should be, and labels."""
    chance = np.random.default_rng(seed)
    odds = chance.normal(centre, 1.5, rows)
    label = (chance.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    p = 1 / (1 + np.exp(-slope * odds))
    return np.stack([1 - p, p], axis=1), label


def test_the_isotonic_map_is_scikit_learns():
    chance = np.random.default_rng(1)
    score = chance.random(3000).round(2)
    event = chance.random(3000) < score**2
    points = np.asarray(isotonic(score, event))
    reference = IsotonicRegression(out_of_bounds="clip").fit(score, event)
    asked = chance.random(500)
    assert np.interp(asked, points[:, 0], points[:, 1]) == pytest.approx(reference.predict(asked))


def test_the_sigmoid_is_the_logistic_regression_of_the_log_odds():
    probabilities, label = too_sure(20_000, 2)
    odds = np.log(probabilities[:, 1] / probabilities[:, 0])
    kept = np.abs(odds) < 13  # further out both are clipped
    reference = LogisticRegression(C=np.inf).fit(odds[kept, None], label[kept])
    ((slope, intercept),) = platt(probabilities[kept, 1], label[kept] == 1)
    assert slope == pytest.approx(reference.coef_[0, 0], rel=0.01)
    assert intercept == pytest.approx(reference.intercept_[0], abs=0.01)


def test_the_sigmoid_never_turns_a_model_round():
    probabilities, label = too_sure(2000, 3)
    ((slope, intercept),) = platt(probabilities[:, 1], label == 0)
    assert slope == 0
    assert 1 / (1 + np.exp(-intercept)) == pytest.approx((label == 0).mean(), abs=0.01)


@pytest.mark.parametrize(("slope", "method"), [(1.0, "none"), (2.5, "platt")])
def test_a_map_is_chosen_by_what_comes_true(slope, method):
    assert choose(*reversed(too_sure(5000, 4, slope=slope))).method == method


def test_a_map_that_is_no_sigmoid_is_isotonic():
    chance = np.random.default_rng(5)
    p = chance.random(20_000)
    label = (chance.random(20_000) < np.where(p < 0.5, 0.1, 0.4)).astype(np.int64)
    found = choose(label, np.stack([1 - p, p], axis=1))
    assert found.method == "isotonic"
    assert found.of(np.asarray([[0.8, 0.2], [0.2, 0.8]]))[:, 1] == pytest.approx([0.1, 0.4], abs=0.02)


def test_too_few_of_a_class_leave_the_probabilities_as_they_are():
    probabilities, _ = too_sure(5000, 6)
    label = (np.arange(5000) < LEAST_OF_CLASS - 1).astype(np.int64)
    found = choose(label, probabilities)
    assert found == Recalibration()
    assert found.of(probabilities) is probabilities


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "accuracy", "log_loss", "brier", "f1"])
@pytest.mark.parametrize("positive", [0, 1])
def test_what_is_expected_of_a_model_that_is_too_sure_comes_true(metric, positive):
    columns = [0, 1] if positive == 1 else [1, 0]
    held, held_label = too_sure(20_000, 7)
    live, live_label = too_sure(20_000, 8, centre=-1.0)  # other inputs, same outcomes of the same inputs
    held, live = held[:, columns], live[:, columns]
    held_label, live_label = ((label if positive == 1 else 1 - label) for label in (held_label, live_label))
    learned = choose(held_label, held, positive=positive)
    came = find(metric).value(live_label, live, positive=positive)
    plain = present(expected_quality(metric, live, ANY, positive=positive).live).value
    found = present(expected_quality(metric, live, ANY, positive=positive, recalibration=learned).live).value
    assert found == pytest.approx(came, rel=0.03)
    assert abs(found - came) < abs(plain - came) / 3


def test_several_classes_are_mapped_one_by_one_and_add_up_to_one():
    chance = np.random.default_rng(9)
    true = chance.dirichlet([1, 1, 1], 8000)
    label = (chance.random(8000)[:, None] > np.cumsum(true, axis=1)[:, :2]).sum(axis=1)
    said = true**3 / (true**3).sum(axis=1, keepdims=True)
    learned = choose(label, said)
    assert learned.method != "none"
    assert len(learned.curves) == 3
    assert learned.of(said).sum(axis=1) == pytest.approx(np.ones(8000))
    came = find("log_loss").value(label, said)
    found = present(expected_quality("log_loss", said, ANY, recalibration=learned).live)
    assert found.value == pytest.approx(came, rel=0.03)


def test_a_map_survives_json():
    for slope in (1.0, 2.5):
        learned = choose(*reversed(too_sure(3000, 10, slope=slope)))
        assert Recalibration.from_json(json.loads(json.dumps(learned.to_json(), allow_nan=False))) == learned


@pytest.mark.simulation
@pytest.mark.parametrize("slope", [1.0, 2.5])
def test_a_model_as_good_as_on_a_small_holdout_is_rarely_expected_to_be_worse(slope):
    beyond = 0
    for seed in range(100):
        held, label = too_sure(1500, 2 * seed, slope=slope)
        live, _ = too_sure(5000, 2 * seed + 1, slope=slope)
        value, half = find("roc_auc").value(label, held), 1.96 * _spread(label, held, seed)
        design = Estimate(value, value - half, value + half)
        found = expected_quality("roc_auc", live, design, recalibration=choose(label, held))
        beyond += found.outcome is QualityOutcome.BEYOND
    assert beyond <= 5


def _spread(label, scores, seed):
    """Standard deviation of the area over resamples."""
    chance = np.random.default_rng(seed)
    draws = (chance.integers(0, len(label), len(label)) for _ in range(60))
    return np.std([find("roc_auc").value(label[draw], scores[draw]) for draw in draws])
