"""The bootstrap pairs, clusters, bounds its memory and covers as often as it says."""

import tracemalloc

import numpy as np
import pytest

from scripts.benchmarks.gate import ByChance
from tidegate.domain.evaluation import bootstrap
from tidegate.domain.evaluation.bootstrap import Arm, Resampling, paired_bootstrap
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.kernel.errors import DataCheckError


def two_arms(chance, rows, gain=0.0):
    """A target and two equally noisy views of what drives it; `gain` sharpens the candidate's."""
    signal = chance.normal(size=rows)
    target = (signal + chance.normal(size=rows) > 0.8).astype(int)

    def arm(noise):
        score = 1 / (1 + np.exp(-(signal + noise * chance.normal(size=rows))))
        return Arm(np.column_stack([1 - score, score]))

    return target, {"candidate": arm(1.0 - gain), "champion": arm(1.0)}


def test_equal_arms_differ_by_exactly_nothing():
    target, arms = two_arms(np.random.default_rng(1), 300)
    gain = paired_bootstrap("roc_auc", target, arms | {"champion": arms["candidate"]}, resamples=200).gains["champion"]
    assert gain == Estimate(0, 0, 0)


def test_pairing_makes_the_difference_surer_than_the_values():
    target, arms = two_arms(np.random.default_rng(1), 1_000)
    near = Arm(arms["candidate"].scores ** 1.01 + 0.001 * arms["champion"].scores)
    got = paired_bootstrap("roc_auc", target, arms | {"near": near}, resamples=300)
    width = got.arms["candidate"].high - got.arms["candidate"].low
    assert got.gains["near"].high - got.gains["near"].low < width / 20


@pytest.mark.parametrize(("metric", "sign"), [("roc_auc", 1), ("brier", -1)])
def test_a_gain_is_positive_when_the_candidate_is_better_whatever_the_metric(metric, sign):
    target, arms = two_arms(np.random.default_rng(2), 2_000, gain=0.7)
    got = paired_bootstrap(metric, target, arms, resamples=300)
    gain = got.gains["champion"]
    assert gain.low > 0
    assert gain.value == pytest.approx(sign * (got.arms["candidate"].value - got.arms["champion"].value))


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    target, arms = two_arms(np.random.default_rng(3), 200)
    first, again = (paired_bootstrap("roc_auc", target, arms, resamples=200, seed=7) for _ in range(2))
    assert first == again
    assert first != paired_bootstrap("roc_auc", target, arms, resamples=200, seed=8)


def test_resamples_without_both_classes_are_left_out_and_counted():
    target = np.array([1] + [0] * 29)
    scores = np.column_stack([np.linspace(1, 0, 30), np.linspace(0, 1, 30)])
    got = paired_bootstrap("roc_auc", target, {"candidate": Arm(scores)}, resamples=1000)
    assert got.undefined_resamples / 1000 == pytest.approx((29 / 30) ** 30, abs=0.05)
    assert np.isfinite([got.arms["candidate"].low, got.arms["candidate"].high]).all()


def test_further_metrics_come_with_intervals_and_undefined_ones_as_none():
    target = np.zeros(50, dtype=int)
    scores = np.tile([0.8, 0.2], (50, 1))
    also = ("log_loss", "accuracy", "roc_auc")
    got = paired_bootstrap("log_loss", target, {"candidate": Arm(scores)}, resamples=200, also=also)
    assert got.metrics["log_loss"] == got.arms["candidate"]
    assert got.metrics["accuracy"] == Estimate(1, 1, 1)
    assert got.metrics["roc_auc"] is None


def test_a_holdout_of_one_class_is_a_fault_of_the_data():
    with pytest.raises(DataCheckError, match="roc_auc is not defined"):
        paired_bootstrap("roc_auc", np.zeros(50, dtype=int), {"candidate": Arm(np.full((50, 2), 0.5))})


def test_memory_does_not_grow_with_resamples_times_rows():
    target, arms = two_arms(np.random.default_rng(4), 20_000)
    tracemalloc.start()
    paired_bootstrap("roc_auc", target, arms, resamples=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000 * 8 * 40  # forty columns; all weights at once would be two hundred


def coverage(metric, simulate, truth, simulations, **options):
    """Share of simulated holdouts whose interval of the gain holds the truth, and whose lower end lies above it."""
    held = above = 0
    for seed in range(simulations):
        target, arms, cluster = simulate(np.random.default_rng(seed))
        got = paired_bootstrap(metric, target, arms, cluster=cluster, seed=seed, **options).gains["champion"]
        held += got.low <= truth <= got.high
        above += got.low > truth
    return held / simulations, above / simulations


@pytest.mark.simulation
def test_intervals_of_an_auc_difference_cover_as_often_as_they_say():
    """400 holdouts on which two arms are truly equal; the standard error of a share of .95 is then .011."""

    def simulate(chance):
        return *two_arms(chance, 300), None

    held, above = coverage("roc_auc", simulate, 0.0, 400, resamples=400)
    assert 0.915 <= held <= 0.98
    assert above <= 0.05  # 2.5 in a hundred is what the docstring promises; .05 is three standard errors away


@pytest.mark.simulation
def test_intervals_stay_honest_when_the_rows_of_a_day_share_their_luck():
    """24 days with a luck of their own: rows as units are far too sure of themselves, days are not."""

    def simulate(chance):
        day = np.repeat(np.arange(24), 20)
        luck = chance.normal(size=24)[day]
        target = chance.normal(size=480)
        candidate, champion = target + 1 + luck * 0.3, target + 1 - luck * 0.3
        return target, {"candidate": Arm(candidate[:, None]), "champion": Arm(champion[:, None])}, day

    def by_row(chance):
        target, arms, _ = simulate(chance)
        return target, arms, None

    held, above = coverage("mae", simulate, 0.0, 400, resamples=400)
    assert 0.915 <= held <= 0.98
    assert above <= 0.05
    assert coverage("mae", by_row, 0.0, 100, resamples=200)[0] < 0.7


def test_average_precision_is_compared_with_ties_in_an_order_of_chance_and_shown_as_it_is():
    chance = np.random.default_rng(3)
    target = (np.arange(1_000) < 100).astype(int)
    constant = Arm(np.full((1_000, 2), 0.5))
    score = chance.random(1_000)
    arms = {"candidate": Arm(np.column_stack([1 - score, score])), "baseline": constant, "other": constant}
    got = paired_bootstrap("average_precision", target, arms, resamples=200)
    assert got.arms["baseline"].value == pytest.approx(0.1)
    assert got.gains["baseline"] == got.gains["other"]
    assert got.gains["baseline"].value != pytest.approx(got.arms["candidate"].value - 0.1, abs=1e-6)
    tied = paired_bootstrap("average_precision", target, {"candidate": constant, "baseline": constant}, resamples=200)
    assert tied.gains["baseline"] == Estimate(0, 0, 0)


@pytest.mark.simulation
def test_a_score_of_chance_is_called_better_than_a_constant_rule_as_rarely_as_promised():
    rows = [ByChance(500, 50).called_better(seed) for seed in range(300)]
    assert sum(rows) <= 15  # 2.5 % promised: at most 15 with 99 %; it was 12 % of them


def test_draws_that_are_kept_are_those_that_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(3)
    resampling, column = Resampling(rows=997, resamples=211, seed=5), chance.random(997)
    kept = resampling.mean(column)
    monkeypatch.setattr(bootstrap, "_MOST_KEPT", 0)
    assert resampling.mean(column) == kept
