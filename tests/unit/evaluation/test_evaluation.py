"""Metrics agree with scikit-learn; the bootstrap pairs, clusters, bounds its memory and covers as often as it says."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tidegate.domain.evaluation.evaluation import (
    HIGHER_IS_BETTER,
    Arm,
    BaselineValue,
    ChampionValue,
    Estimate,
    Evaluation,
    LatencyMs,
    Parity,
    metric_value,
    paired_bootstrap,
)
from tidegate.kernel.errors import DataCheckError
from tidegate.spec.gate import METRICS_OF, Metric
from tidegate.spec.part import Task

TIED = st.integers(0, 8).map(lambda eighths: eighths / 8)


@st.composite
def binary(draw):
    """Target with both classes and probabilities with many ties, zeros and ones."""
    rows = draw(st.integers(2, 60))
    target = draw(arrays.arrays(np.int64, rows, elements=st.integers(0, 1)))
    target[0], target[1] = 0, 1
    positive = draw(arrays.arrays(np.float64, rows, elements=TIED | st.floats(0, 1)))
    return target, np.column_stack([1 - positive, positive])


SKLEARN = {
    "roc_auc": lambda target, scores: sklearn.metrics.roc_auc_score(target, scores[:, 1]),
    "average_precision": lambda target, scores: sklearn.metrics.average_precision_score(target, scores[:, 1]),
    "log_loss": lambda target, scores: sklearn.metrics.log_loss(target, scores, labels=range(scores.shape[1])),
    "brier": lambda target, scores: sklearn.metrics.brier_score_loss(target, scores[:, 1]),
    "accuracy": lambda target, scores: sklearn.metrics.accuracy_score(
        target, scores[:, 1] >= 0.5 if scores.shape[1] == 2 else scores.argmax(axis=1)
    ),
    "rmse": lambda target, scores: sklearn.metrics.root_mean_squared_error(target, scores[:, 0]),
    "mae": lambda target, scores: sklearn.metrics.mean_absolute_error(target, scores[:, 0]),
    "r2": lambda target, scores: sklearn.metrics.r2_score(target, scores[:, 0]),
}


def sklearn_value(metric, target, scores):
    return SKLEARN[metric](target, scores)


def test_the_metrics_are_those_of_the_spec_with_the_same_direction():
    assert {metric.value: metric.higher_is_better for metric in Metric} == HIGHER_IS_BETTER


@pytest.mark.parametrize("metric", METRICS_OF[Task.BINARY])
@settings(max_examples=60)
@given(binary())
def test_binary_metrics_equal_those_of_scikit_learn_with_ties(metric, case):
    target, scores = case
    assert metric_value(metric, target, scores) == pytest.approx(sklearn_value(metric, target, scores), abs=1e-10)


@pytest.mark.parametrize("metric", METRICS_OF[Task.MULTICLASS])
@settings(max_examples=30)
@given(st.integers(2, 50), st.integers(3, 5), st.integers(0, 2**32 - 1))
def test_multiclass_metrics_equal_those_of_scikit_learn(metric, rows, classes, seed):
    chance = np.random.default_rng(seed)
    target = chance.integers(0, classes, rows)
    scores = chance.dirichlet(np.ones(classes), rows)
    assert metric_value(metric, target, scores) == pytest.approx(sklearn_value(metric, target, scores), abs=1e-10)


@pytest.mark.parametrize("metric", METRICS_OF[Task.REGRESSION])
@settings(max_examples=30)
@given(st.integers(2, 50), st.sampled_from([0.0, 1.0, 5000.0]), st.integers(0, 2**32 - 1))
def test_regression_metrics_equal_those_of_scikit_learn(metric, rows, offset, seed):
    chance = np.random.default_rng(seed)
    target = chance.normal(size=rows) + offset
    scores = (target + chance.normal(size=rows))[:, None]
    expected = sklearn_value(metric, target, scores)
    assert metric_value(metric, target, scores) == pytest.approx(expected, abs=1e-10, rel=1e-10)


def test_float32_probabilities_of_one_and_zero_give_a_finite_log_loss():
    scores = np.array([[1, 0], [0, 1]], dtype=np.float32)
    assert metric_value("log_loss", np.array([1, 0]), scores) == pytest.approx(15.94, abs=0.01)


def test_the_positive_class_may_be_the_first_and_the_threshold_another():
    target, score = np.array([0, 1, 1, 0]), np.array([0.3, 0.2, 0.1, 0.4])
    scores = np.column_stack([score, 1 - score])
    assert metric_value("roc_auc", target, scores, positive=0) == 1.0
    assert metric_value("accuracy", target, scores, positive=0) == 0.5
    assert metric_value("accuracy", target, scores, positive=0, threshold=0.25) == 1.0


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
@pytest.mark.parametrize("only", [0, 1])
def test_one_class_only_is_named_and_never_a_number(metric, only):
    with pytest.raises(DataCheckError, match=f"{metric} is not defined on these rows.*all 3 rows are of one class"):
        metric_value(metric, np.full(3, only), np.full((3, 2), 0.5))


def test_a_constant_target_has_no_r2_and_no_rows_have_no_metric():
    with pytest.raises(DataCheckError, match="the target is 7 in all 3 rows"):
        metric_value("r2", np.full(3, 7.0), np.ones((3, 1)))
    with pytest.raises(DataCheckError, match="there are no rows"):
        metric_value("rmse", np.empty(0), np.empty((0, 1)))


def test_scores_that_are_no_numbers_are_blamed_on_the_model_and_not_on_the_classes():
    scores = np.array([[0.5, 0.5], [np.nan, np.nan]])
    with pytest.raises(DataCheckError, match="the model gives no number for 1 of 2 rows"):
        metric_value("log_loss", np.array([0, 1]), scores)


def two_arms(chance, rows, gain=0.0):
    """A target and two equally noisy views of what drives it; `gain` sharpens the candidate's."""
    signal = chance.normal(size=rows)
    target = (signal + chance.normal(size=rows) > 0.8).astype(int)

    def arm(noise):
        score = 1 / (1 + np.exp(-(signal + noise * chance.normal(size=rows))))
        return Arm(np.column_stack([1 - score, score]))

    return target, {"candidate": arm(1.0 - gain), "champion": arm(1.0)}


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
def test_a_resample_gives_what_scikit_learn_gives_on_the_drawn_rows(metric):
    """The weighted form must be the metric of the rows as drawn: one resample is rebuilt by hand."""
    chance = np.random.default_rng(5)
    rows = 80
    score = chance.integers(0, 12, rows) / 11
    target = chance.integers(0, 2, rows)
    scores = score[:, None] if metric in METRICS_OF[Task.REGRESSION] else np.column_stack([1 - score, score])
    got = paired_bootstrap(metric, target, {"candidate": Arm(scores)}, resamples=1, seed=3).arms["candidate"]
    drawn = np.random.default_rng(3).integers(0, rows, size=(1, rows))[0]
    assert got.low == got.high == pytest.approx(sklearn_value(metric, target[drawn], scores[drawn]), abs=1e-10)


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
def test_clusters_are_drawn_whole(metric):
    chance = np.random.default_rng(6)
    cluster = np.repeat(["mon", "tue", "wed", "thu"], 20)
    score, target = chance.random(80), chance.integers(0, 2, 80)
    scores = score[:, None] if metric in METRICS_OF[Task.REGRESSION] else np.column_stack([1 - score, score])
    arms = {"candidate": Arm(scores)}
    got = paired_bootstrap(metric, target, arms, cluster=cluster, resamples=1, seed=9)
    names = np.unique(cluster)[np.random.default_rng(9).integers(0, 4, size=(1, 4))[0]]
    drawn = np.concatenate([np.flatnonzero(cluster == name) for name in names])
    assert got.clusters == 4
    assert got.arms["candidate"].low == pytest.approx(sklearn_value(metric, target[drawn], scores[drawn]), abs=1e-10)


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


def test_intervals_of_an_auc_difference_cover_as_often_as_they_say():
    """400 holdouts on which two arms are truly equal; the standard error of a share of .95 is then .011."""

    def simulate(chance):
        return *two_arms(chance, 300), None

    held, above = coverage("roc_auc", simulate, 0.0, 400, resamples=400)
    assert 0.915 <= held <= 0.98
    assert above <= 0.05  # 2.5 in a hundred is what the docstring promises; .05 is three standard errors away


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


EVALUATION = Evaluation(
    metric="roc_auc",
    higher_is_better=True,
    confidence=0.95,
    resamples=2000,
    undefined_resamples=0,
    resample_by="row",
    rows=1000,
    clusters=1000,
    candidate=Estimate(0.74, 0.73, 0.75),
    baseline=BaselineValue("prior", Estimate(0.5, 0.5, 0.5)),
    champion=ChampionValue(1, Estimate(0.73, 0.72, 0.74), seen_rows=0),
    gain_over_baseline=Estimate(0.24, 0.23, 0.25),
    gain_over_champion=Estimate(0.01, 0.0, 0.02),
    metrics={"roc_auc": Estimate(0.74, 0.73, 0.75), "average_precision": None},
    parity=Parity(1000, 1e-7, 1e-4, 0),
    latency_ms=LatencyMs(0.1, 0.2, 500),
    load_ms=5.0,
    artifact_bytes=1000,
    peak_memory_mib=90.0,
    sections={"slices": [{"name": "carrier=UA"}]},
)


@pytest.mark.parametrize(
    "evaluation",
    [
        EVALUATION,
        replace(EVALUATION, champion=None, gain_over_champion=None),
        replace(EVALUATION, champion=ChampionValue(1, None, "its task is another"), gain_over_champion=None),
    ],
)
def test_an_evaluation_survives_its_json(evaluation):
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


def test_the_json_of_an_evaluation_calls_gains_differences_and_keeps_an_arm_flat():
    document = EVALUATION.to_json()
    assert document["champion"] == {
        "version": 1,
        "problem": "",
        "seen_rows": 0,
        "value": 0.73,
        "low": 0.72,
        "high": 0.74,
    }
    assert document["differences"]["champion"] == {"estimate": 0.01, "low": 0.0, "high": 0.02}
