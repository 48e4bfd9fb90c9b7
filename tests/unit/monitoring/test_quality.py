"""Live quality with labels, expected quality without, and bias: values, intervals, and how often they are wrong."""

import json
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import auc, average_precision_score, log_loss, roc_auc_score

from tests.builders.present import present
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.monitoring import quality
from tidegate.domain.monitoring.quality import (
    NO_CONCEPT_DRIFT,
    AgeGroup,
    LossByScore,
    Maturity,
    QualityOutcome,
    contradiction,
    demographic_parity,
    difference,
    expected_quality,
    live_quality,
)
from tidegate.kernel.metrics.metric import Probabilities
from tidegate.kernel.metrics.registry import find

WITHIN, BEYOND, LITTLE = QualityOutcome.WITHIN, QualityOutcome.BEYOND, QualityOutcome.INSUFFICIENT_DATA
DESIGN = Estimate(0.75, 0.73, 0.77)
METRICS = ("accuracy", "log_loss", "brier", "roc_auc", "average_precision")


def calibrated(rows, seed, *, centre=0.0):
    """Probabilities [n, 2] and the labels they are right about."""
    chance = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-chance.normal(centre, 1.5, rows)))
    return np.stack([1 - p, p], axis=1), (chance.random(rows) < p).astype(np.int64)


def design_of(metric, seed=77, rows=40_000):
    probabilities, target = calibrated(rows, seed)
    value = find(metric).value(target, probabilities)
    return Estimate(value, value - 0.01, value + 0.01)


def test_a_difference_is_as_wide_as_both_intervals_together():
    found = difference(Estimate(0.8, 0.77, 0.84), Estimate(0.7, 0.68, 0.74))
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((0.1 - 0.05, 0.1 + np.hypot(0.04, 0.02)))


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_that_does_as_designed_stays_within(metric):
    probabilities, target = calibrated(3000, 1)
    found = live_quality(metric, target, probabilities, design_of(metric))
    assert found.outcome is WITHIN
    assert present(found.live).low <= find(metric).value(target, probabilities) <= present(found.live).high
    assert "not shown to be worse" in found.statement


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_whose_labels_no_longer_follow_its_scores_is_beyond(metric):
    probabilities, _ = calibrated(3000, 1)
    found = live_quality(metric, np.random.default_rng(0).integers(0, 2, 3000), probabilities, design_of(metric))
    assert found.outcome is BEYOND
    assert present(found.gain).high < 0
    assert found.statement.endswith("in the design phase: worse")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize(("follows", "against"), [(1.0, False), (0.0, False), (-1.0, True)])
def test_outcomes_contradict_a_model_only_when_they_run_against_its_scores(task, follows, against):
    chance = np.random.default_rng(3)
    score, noise = chance.normal(0, 1, 3000), chance.normal(0, 0.5, 3000)
    value = follows * score + noise
    metric, design = "roc_auc", DESIGN
    if task == "regression":
        target, scores = value, score[:, None]
    elif task == "binary":
        probability = 1 / (1 + np.exp(-score))
        target, scores = (value > 0).astype(np.int64), np.stack([1 - probability, probability], axis=1)
    else:
        target, scores = (
            np.digitize(value, np.quantile(value, [1 / 3, 2 / 3])),
            np.stack([-score, 0.2 - score**2, score], axis=1),
        )
        metric = "accuracy"
    found = contradiction(target, scores, design, task=task, metric=metric)
    assert bool(found) is against, found
    if against:
        assert found.startswith("the outcomes contradict the model: ")


def test_too_few_outcomes_and_a_model_that_never_beat_the_commonest_contradict_nothing():
    probabilities, target = calibrated(400, 1)
    assert not contradiction(1 - target, probabilities, DESIGN, task="binary", metric="roc_auc")
    assert not contradiction(np.zeros(0, dtype=np.int64), probabilities[:0], DESIGN, task="binary", metric="roc_auc")
    target, scores = np.repeat([0, 1, 2], [900, 50, 50]), np.tile([0.1, 0.6, 0.3], (1000, 1))
    for metric, design in (("accuracy", Estimate(0.6, 0.5, 0.7)), ("log_loss", Estimate(0.3, 0.2, 0.4))):
        assert not contradiction(target, scores, design, task="multiclass", metric=metric)


@pytest.mark.simulation
def test_a_model_that_guesses_is_called_contradicted_as_rarely_as_promised():
    chance = np.random.default_rng(4)
    found = 0
    for _ in range(200):
        p = chance.random(600)
        target = chance.integers(0, 2, 600)
        found += bool(contradiction(target, np.stack([1 - p, p], axis=1), DESIGN, task="binary", metric="roc_auc"))
    assert found <= 12  # 2.5 % of 200, and three standard deviations


def test_regressions_are_judged_by_their_errors():
    chance = np.random.default_rng(2)
    target = chance.normal(50, 10, 2000)
    design = Estimate(2.0, 1.9, 2.1)
    good, poor = (target + chance.normal(0, spread, 2000) for spread in (2.0, 3.0))
    assert live_quality("rmse", target, good[:, None], design).outcome is WITHIN
    assert live_quality("rmse", target, poor[:, None], design).outcome is BEYOND
    assert live_quality("rmse", target, poor[:, None], design, margin=2.0).outcome is WITHIN


def test_a_metric_is_not_judged_by_few_labels_few_days_or_one_class():
    probabilities, target = calibrated(600, 3)
    few = live_quality("roc_auc", target[:499], probabilities[:499], DESIGN)
    days = live_quality("roc_auc", target, probabilities, DESIGN, cluster=np.arange(600) % 7)
    one_class = live_quality("roc_auc", np.zeros(600, dtype=int), probabilities, DESIGN)
    assert [found.outcome for found in (few, days, one_class)] == [LITTLE] * 3
    assert few.statement == "roc_auc: 499 labelled predictions; at least 500 are needed"
    rare = np.arange(600) < 3
    assert (
        live_quality("roc_auc", rare.astype(int), probabilities, DESIGN).outcome is LITTLE
    )  # one resample in 20 has none
    assert days.statement == "roc_auc: labels of 7 days or groups; at least 20 are needed"
    assert one_class.statement == "roc_auc is not defined on these rows: target: all 600 rows are of one class"


@pytest.mark.simulation
def test_a_model_as_good_as_designed_is_condemned_no_more_often_than_stated():
    chance = np.random.default_rng(4)
    condemned = 0
    for seed in range(200):
        holdout, live = (chance.random(800) < 0.8 for _ in range(2))
        share = holdout.mean()
        half = 1.96 * np.sqrt(share * (1 - share) / 800)
        scores = np.stack([1 - live, live], axis=1).astype(float)
        found = live_quality(
            "accuracy", np.ones(800, dtype=int), scores, Estimate(share, share - half, share + half),
            resamples=200, seed=seed,
        )  # fmt: skip
        condemned += found.outcome is BEYOND
    assert condemned <= 200 * 0.025 + 3 * np.sqrt(200 * 0.025 * 0.975)


@pytest.mark.parametrize("metric", METRICS)
def test_what_is_expected_without_labels_is_what_labels_then_show(metric):
    probabilities, target = calibrated(20_000, 5, centre=0.5)
    found = expected_quality(metric, probabilities, design_of(metric), margin=0.2)
    assert present(found.live).low <= find(metric).value(target, probabilities) <= present(found.live).high
    assert found.assumption == NO_CONCEPT_DRIFT
    assert found.statement.endswith(NO_CONCEPT_DRIFT)


@pytest.mark.parametrize("metric", METRICS)
def test_the_expectation_is_the_metric_of_rows_that_are_each_class_in_part(metric):
    probabilities, _ = calibrated(700, 6)
    p = probabilities[:, 1].round(2)
    probabilities = np.stack([1 - p, p], axis=1)
    truth, score = np.repeat([1, 0], 700), np.concatenate([p, p])
    weight = np.concatenate([p, 1 - p])
    reference = {
        "accuracy": lambda: np.average((score >= 0.5) == truth, weights=weight),
        "log_loss": lambda: log_loss(truth, np.clip(score, 1e-15, 1 - 1e-15), sample_weight=weight),
        "brier": lambda: np.average((score - truth) ** 2, weights=weight),
        "roc_auc": lambda: roc_auc_score(truth, score, sample_weight=weight),
        "average_precision": lambda: average_precision_score(truth, score, sample_weight=weight),
    }
    assert present(expected_quality(metric, probabilities, DESIGN).live).value == pytest.approx(reference[metric]())


def test_the_expected_roc_auc_is_the_area_under_nannymls_expected_curve():
    """CBPE as NannyML documents it: expected confusion matrix at each score as the threshold, then the trapezoid."""
    probabilities, _ = calibrated(900, 7)
    p = probabilities[:, 1]
    points = [
        (float((1 - p)[p >= cut].sum() / (1 - p).sum()), float(p[p >= cut].sum() / p.sum()))
        for cut in [*np.sort(p)[::-1]]
    ]
    false_rates, true_rates = zip((0.0, 0.0), *points, strict=True)
    assert present(expected_quality("roc_auc", probabilities, DESIGN).live).value == pytest.approx(
        auc(false_rates, true_rates)
    )


def test_expected_accuracy_uses_the_models_own_threshold_and_its_positive_class():
    probabilities, _ = calibrated(900, 8)
    p = probabilities[:, 0]
    found = expected_quality("accuracy", probabilities, DESIGN, positive=0, threshold=0.3)
    assert present(found.live).value == pytest.approx(np.where(p >= 0.3, p, 1 - p).mean())


def test_any_number_of_classes_is_expected_by_the_best_one():
    chance = np.random.default_rng(9)
    probabilities = chance.dirichlet([2, 1, 1], 2000)
    found = expected_quality("accuracy", probabilities, Estimate(0.6, 0.55, 0.65))
    assert present(found.live).value == pytest.approx(probabilities.max(axis=1).mean())
    target = np.asarray([chance.choice(3, p=row) for row in probabilities])
    assert present(found.live).low <= find("accuracy").value(target, probabilities) <= present(found.live).high


@pytest.mark.simulation
def test_the_interval_without_labels_holds_what_labels_show_as_often_as_it_says():
    held = 0
    for seed in range(60):
        probabilities, target = calibrated(600, seed)
        live = present(expected_quality("roc_auc", probabilities, DESIGN, seed=seed).live)
        held += live.low <= find("roc_auc").value(target, probabilities) <= live.high
    assert held >= 60 * 0.95 - 3 * np.sqrt(60 * 0.95 * 0.05)


def test_the_interval_of_many_rows_is_scaled_from_fewer():
    few, many = (
        present(expected_quality("accuracy", calibrated(rows, 3)[0], DESIGN).live) for rows in (20_000, 80_000)
    )
    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(0.5, abs=0.12)


def test_harder_rows_are_expected_to_be_worse_without_a_single_label():
    hard = np.full((2000, 2), 0.5) + np.random.default_rng(1).uniform(-0.05, 0.05, 2000)[:, None] * [1, -1]
    assert expected_quality("accuracy", hard, design_of("accuracy")).outcome is BEYOND


def test_what_cannot_be_expected_is_refused_or_reported():
    probabilities, _ = calibrated(600, 1)
    with pytest.raises(ValueError, match="rmse cannot be expected from probabilities"):
        expected_quality("rmse", probabilities, DESIGN)
    assert expected_quality("brier", probabilities[:10], DESIGN).outcome is LITTLE
    certain = np.tile([1.0, 0.0], (600, 1))
    assert expected_quality("roc_auc", certain, DESIGN).statement == (
        "roc_auc: the probabilities do not define it on these rows (all rows are of one class)"
    )


def errors_grow(rows, seed, low, high):
    chance = np.random.default_rng(seed)
    score = chance.uniform(low, high, rows)
    return score, score + chance.normal(0, 1, rows) * score / 10


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_a_regressions_loss_is_expected_from_where_its_scores_lie(metric):
    score, target = errors_grow(5000, 1, 10, 100)
    losses = LossByScore.learn(metric, target, score)
    holdout = find(metric).value(target, score[:, None])
    design = Estimate(holdout, 0.97 * holdout, 1.03 * holdout)
    for low, high, outcome in ((10, 100, WITHIN), (70, 100, BEYOND), (10, 30, WITHIN)):
        live_score, live_target = errors_grow(3000, 2, low, high)
        found = losses.expected(live_score, design)
        assert found.outcome is outcome
        assert present(found.live).value == pytest.approx(
            find(metric).value(live_target, live_score[:, None]), rel=0.12
        )
        assert found.statement.endswith(NO_CONCEPT_DRIFT)
    assert losses.expected(live_score[:10], design).outcome is LITTLE


@pytest.mark.simulation
def test_the_interval_of_an_expected_loss_holds_the_metric_as_often_as_it_says():
    held = 0
    for seed in range(200):
        losses = LossByScore.learn("mae", *errors_grow(2000, seed, 10, 100)[::-1])
        score, target = errors_grow(800, seed + 1000, 10, 100)
        live = present(losses.expected(score, Estimate(4, 3, 5)).live)
        held += live.low <= find("mae").value(target, score[:, None]) <= live.high
    assert held >= 200 * 0.95 - 3 * np.sqrt(200 * 0.95 * 0.05)


def test_learned_losses_survive_json_and_few_or_equal_scores():
    losses = LossByScore.learn("mae", *errors_grow(500, 1, 10, 100))
    assert LossByScore.from_json(json.loads(json.dumps(losses.to_json()))) == losses
    assert len(losses.mean) == 10
    constant = LossByScore.learn("mae", np.asarray([1.0, 3.0]), np.asarray([2.0, 2.0]))
    assert constant.mean == (1.0,)
    assert present(constant.expected(np.full(600, 9.0), Estimate(1, 1, 1)).live).value == 1.0
    with pytest.raises(ValueError, match="r2 is not an average of losses"):
        LossByScore.learn("r2", np.ones(2), np.ones(2))


def test_labels_ripen_with_age():
    ends = (1, 6, 24, 72, 168, 336, 720)
    counts = ((100, 0), (100, 10), (100, 50), (100, 85), (100, 95), (0, 0), (0, 0), (100, 90))
    ages = zip((0, *ends), (*ends, None), counts, strict=True)
    found = Maturity(tuple(AgeGroup(low, high, *count) for low, high, count in ages))
    assert [group.share for group in found.groups] == [0, 0.1, 0.5, 0.85, 0.95, None, None, 0.9]
    assert found.mature_after_hours(0.8) == 24
    assert found.mature_after_hours(0.99) is None
    assert json.loads(json.dumps(found.to_json()))["groups"][1] == {
        "from_hours": 1.0, "to_hours": 6.0, "predictions": 100, "labelled": 10, "share": 0.1,
    }  # fmt: skip


def test_groups_with_equal_rates_are_within_and_unequal_ones_beyond():
    groups = ["a"] * 1000 + ["b"] * 1000 + ["c"] * 20
    equal = demographic_parity("sex", groups, np.arange(2020) % 2 == 0)
    unequal = demographic_parity("sex", groups, np.arange(2020) % 10 < np.repeat([5, 3, 9], [1000, 1000, 20]))
    assert equal.outcome is WITHIN
    assert unequal.outcome is BEYOND
    assert (unequal.high, unequal.low) == ("a", "b")
    assert present(unequal.difference).value == pytest.approx(0.2)
    assert unequal.groups[2].rate is None  # too few to compare, and listed
    assert unequal.statement.startswith("sex: positive decisions are 20.0 points [")
    assert "more frequent for a than for b, more than the 10 allowed" in unequal.statement
    assert json.loads(json.dumps(unequal.to_json()))["outcome"] == "beyond"


def test_a_difference_that_a_small_group_may_have_by_chance_is_not_beyond():
    found = demographic_parity("sex", ["a"] * 150 + ["b"] * 150, np.arange(300) % 10 < np.repeat([5, 3], 150))
    assert present(found.difference).value > found.limit
    assert found.outcome is WITHIN
    assert "not shown to be more" in found.statement


def test_rates_have_wilsons_interval():
    found = demographic_parity("sex", ["a"] * 200 + ["b"] * 200, np.repeat([True, False], [30, 370]))
    exact = stats.binomtest(30, 200).proportion_ci(method="wilson")
    assert (present(found.groups[0].rate).low, present(found.groups[0].rate).high) == pytest.approx(
        (exact.low, exact.high)
    )
    assert present(found.groups[1].rate).low == 0


def test_groups_that_are_masked_or_few_are_not_judged():
    found = demographic_parity("sex", ["[masked]"] * 500 + [None] * 10 + ["a"] * 500, np.ones(1010, dtype=bool))
    assert found.outcome is LITTLE
    assert found.left_out == 510
    assert found.statement == (
        "sex: 1 of 1 groups have 100 decisions or more; at least 2 are needed; 510 values are missing or masked"
    )


@pytest.mark.simulation
def test_the_worst_of_many_equal_groups_is_called_unfair_no_more_often_than_stated():
    chance = np.random.default_rng(12)
    groups = np.repeat([f"g{index}" for index in range(8)], 200)
    called = sum(
        demographic_parity("g", groups.tolist(), chance.random(1600) < 0.4, limit=0.0).outcome is BEYOND
        for _ in range(300)
    )
    assert called <= 300 * 0.05 + 3 * np.sqrt(300 * 0.05 * 0.95)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "log_loss", "f1", "balanced_accuracy"])
def test_drawn_labels_spread_as_wide_by_weights_as_row_by_row(metric: str) -> None:
    said = Probabilities(np.random.default_rng(6).dirichlet([1, 1], 800), positive=1, threshold=0.4)
    chance = np.random.default_rng(7)
    drawn, label = chance.integers(0, 800, 800), chance.integers(0, 2, 800)
    ways = [way(find(metric), said) for way in (quality._value_by_rows, quality._value_by_weights)]
    rows, weights = (value(drawn, label) for value in ways)
    assert weights == pytest.approx(rows, rel=1e-12)
    if metric == "roc_auc":
        assert all(math.isnan(value(drawn, 0 * label)) for value in ways)
