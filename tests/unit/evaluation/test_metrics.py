"""Every metric, asked for everything.

When you add a metric:

1. Write layers/core/python/tidegate/kernel/metrics/<name>.py with a `METRIC`, and add the name to `registry.NAMES`.
2. Say in `SKLEARN` below what scikit-learn gives, or rebuild the number from its parts.
3. Run this file. It asks your metric for its direction, its bounds, its weights, where it is undefined, what it is
   without labels; and it takes it through spec, gate, slices, monitor, page and command line.
4. Write the documented table again: python -m tidegate.cli.tables docs
"""

import importlib
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.builders.present import present
from tests.builders.specs import toy_document
from tidegate.cli.pages import report as pages
from tidegate.domain.evaluation.bootstrap import CANDIDATE, Arm, Resampling, paired_bootstrap
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.evaluation import BaselineValue, ChampionValue, Evaluation, LatencyMs, Parity
from tidegate.domain.evaluation.gate import CheckOutcome, Policy, decide
from tidegate.domain.evaluation.slices import CHAMPION, Judged, judge, part
from tidegate.domain.monitoring import quality
from tidegate.domain.monitoring.quality import NO_CONCEPT_DRIFT, LossByScore, expected_quality, live_quality
from tidegate.kernel import figures
from tidegate.kernel.errors import DataCheckError, SpecInvalidError
from tidegate.kernel.metrics import registry
from tidegate.kernel.metrics.metric import FromLosses, FromProbabilities, Rows, whole
from tidegate.kernel.metrics.registry import METRICS, choose, find, of_task
from tidegate.plots import record
from tidegate.spec.model import ModelSpec, json_schema
from tidegate.spec.part import Task

BINARY, MULTICLASS, REGRESSION = "binary", "multiclass", "regression"
CLASSES = 4  # of the multiclass cases
CURVES = sklearn.metrics.precision_recall_curve


def answered(scores):
    return scores[:, 1] >= 0.5 if scores.shape[1] == 2 else scores.argmax(axis=1)


def recall_at(target, score, least):
    precision, recall, _ = CURVES(target, score)
    return max((each for each, sure in zip(recall, precision, strict=True) if sure >= least), default=0.0)


SKLEARN: dict[str, Callable[..., float]] = {
    "roc_auc": lambda target, scores: sklearn.metrics.roc_auc_score(target, scores[:, 1]),
    "average_precision": lambda target, scores: sklearn.metrics.average_precision_score(target, scores[:, 1]),
    "log_loss": lambda target, scores: sklearn.metrics.log_loss(target, scores, labels=range(scores.shape[1])),
    "brier": lambda target, scores: sklearn.metrics.brier_score_loss(target, scores[:, 1]),
    "accuracy": lambda target, scores: sklearn.metrics.accuracy_score(target, answered(scores)),
    "balanced_accuracy": lambda target, scores: sklearn.metrics.recall_score(
        target, answered(scores), labels=np.unique(target), average="macro"
    ),
    "f1": lambda target, scores: sklearn.metrics.f1_score(target, answered(scores), zero_division=0),
    "recall_at_precision": lambda target, scores, precision: recall_at(target, scores[:, 1], precision),
    "quadratic_kappa": lambda target, scores: sklearn.metrics.cohen_kappa_score(
        target, answered(scores), labels=range(scores.shape[1]), weights="quadratic"
    ),
    "rmse": lambda target, scores: sklearn.metrics.root_mean_squared_error(target, scores[:, 0]),
    "mae": lambda target, scores: sklearn.metrics.mean_absolute_error(target, scores[:, 0]),
    "mape": lambda target, scores: sklearn.metrics.mean_absolute_percentage_error(target, scores[:, 0]),
    "pinball_loss": lambda target, scores, quantile: sklearn.metrics.mean_pinball_loss(
        target, scores[:, 0], alpha=quantile
    ),
    "r2": lambda target, scores: sklearn.metrics.r2_score(target, scores[:, 0]),
}


def variants(metric):
    """With its default parameters, and with others."""
    others = {each.name: round((each.least + 2 * each.most) / 3, 2) for each in metric.parameters}
    return [metric, metric.using(others)] if others else [metric]


EVERY = [each for metric in METRICS.values() for each in variants(metric)]
CASES = [pytest.param(each, task, id=f"{each.text}-{task}") for each in EVERY for task in each.tasks]
every_metric = pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.text)
every_case = pytest.mark.parametrize(("metric", "task"), CASES)


def targets_of(task, chance, rows):
    """A target that every metric of the task is defined on."""
    if task == REGRESSION:
        return chance.normal(50, 10, rows)
    classes = 2 if task == BINARY else CLASSES
    target = chance.integers(0, classes, rows)
    target[:classes] = np.arange(classes)[: len(target)]
    return target


def scores_of(task, target, chance, wrong=0.0):
    """What a model says that is wrong on so large a share of the rows; with none wrong, all is known."""
    hidden = chance.random(len(target)) < wrong
    if task == REGRESSION:
        return (target + np.where(hidden, chance.normal(0, 25, len(target)), 0.0))[:, None]
    classes = 2 if task == BINARY else CLASSES
    said = np.where(hidden, chance.integers(0, classes, len(target)), target)
    return np.eye(classes)[said]


def noisy(task, target, chance):
    """Scores of many values and with ties, better than none."""
    if task == REGRESSION:
        return (target + chance.normal(0, 5, len(target)).round(1))[:, None]
    classes = 2 if task == BINARY else CLASSES
    weights = chance.integers(1, 9, (len(target), classes)) + 4.0 * np.eye(classes)[target]
    return weights / weights.sum(axis=1, keepdims=True)


@st.composite
def rows_of(draw, task, least=8):
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    target = targets_of(task, chance, draw(st.integers(least, 60)))
    return target, noisy(task, target, chance), chance


# Facts


def test_every_file_of_a_metric_is_in_the_registry_and_every_metric_is_compared_with_scikit_learn():
    shared = {"__init__", "metric", "registry", "weighted"}
    files = {path.stem for path in Path(registry.__file__).parent.glob("*.py")} - shared
    assert files == set(registry.NAMES) == set(METRICS) == set(SKLEARN)
    for name in METRICS:
        assert importlib.import_module(f"tidegate.kernel.metrics.{name}").METRIC.name == name


@every_metric
def test_a_metric_says_what_it_is(metric):
    assert metric.label
    assert metric.sentence.endswith(".")
    assert metric.undefined.words
    assert set(metric.tasks) <= {task.value for task in Task}
    assert metric.worst is None or (metric.perfect - metric.worst) * metric.sign > 0
    if REGRESSION in metric.tasks:
        assert not metric.decides
        assert not isinstance(metric.unlabelled, FromProbabilities)
    else:
        assert not isinstance(metric.unlabelled, FromLosses)


@every_metric
def test_its_name_finds_it_again_with_its_parameters(metric):
    assert find(metric.text) == metric == choose(metric.to_json())
    for each in metric.parameters:
        with pytest.raises(ValueError, match=each.name):
            metric.using({each.name: each.most + 1})
    with pytest.raises(ValueError, match="has no parameter 'colour'"):
        metric.using({"colour": 1})


def test_every_task_has_one():
    assert all(of_task(task.value) for task in Task)


# Values


@every_case
@settings(max_examples=60)
@given(st.data())
def test_it_is_what_scikit_learn_gives(metric, task, data):
    target, scores, _ = data.draw(rows_of(task))
    expected = SKLEARN[metric.name](target, scores, **dict(metric.given))
    assert metric.value(target, scores) == pytest.approx(expected, abs=1e-10, rel=1e-10)


@every_case
def test_a_model_that_knows_all_is_perfect(metric, task):
    chance = np.random.default_rng(1)
    target = targets_of(task, chance, 80)
    found = metric.value(target, scores_of(task, target, chance))
    assert found == pytest.approx(metric.perfect, abs=1e-12)


@every_case
@settings(max_examples=40)
@given(st.data())
def test_no_model_is_beyond_perfect_or_worst(metric, task, data):
    target, scores, chance = data.draw(rows_of(task))
    for each in (scores, scores[chance.permutation(len(scores))], 1 - scores if task == BINARY else scores):
        found = metric.value(target, each)
        assert (metric.perfect - found) * metric.sign >= -1e-12
        if metric.worst is not None:
            assert (found - metric.worst) * metric.sign >= -1e-12


@every_case
def test_the_more_a_model_errs_the_worse_it_is(metric, task):
    chance = np.random.default_rng(2)
    target = targets_of(task, chance, 2_000)
    values = [metric.sign * metric.value(target, scores_of(task, target, chance, wrong)) for wrong in (0, 0.1, 0.9)]
    assert values[0] > values[1] > values[2]


@every_case
def test_the_order_of_rows_does_not_matter(metric, task):
    chance = np.random.default_rng(3)
    target = targets_of(task, chance, 70)
    scores, order = noisy(task, target, chance), chance.permutation(70)
    assert metric.value(target[order], scores[order]) == pytest.approx(metric.value(target, scores), rel=1e-12)


def test_the_positive_class_may_be_the_first_and_the_threshold_another():
    target, score = np.array([0, 1, 1, 0]), np.array([0.3, 0.2, 0.1, 0.4])
    scores = np.column_stack([score, 1 - score])
    for metric in of_task(BINARY):
        if metric.decides:
            assert metric.value(target, scores, positive=0, threshold=0.25) == metric.perfect
            others = [metric.value(target, scores, positive=0, threshold=each) for each in (0.5, 0.05)]
            assert others != [metric.perfect] * 2, "the threshold of the model does not matter to it"
        else:
            mirrored = metric.value(1 - target, scores[:, ::-1], positive=1)
            assert metric.value(target, scores, positive=0, threshold=0.25) == pytest.approx(mirrored)


def test_float32_probabilities_of_one_and_zero_give_a_finite_log_loss():
    scores = np.array([[1, 0], [0, 1]], dtype=np.float32)
    assert find("log_loss").value(np.array([1, 0]), scores) == pytest.approx(15.94, abs=0.01)


# Weights


@every_case
@settings(max_examples=40)
@given(st.data())
def test_a_weight_is_how_often_a_row_is_there(metric, task, data):
    target, scores, chance = data.draw(rows_of(task))
    weights = chance.integers(0, 4, len(target)).astype(float)
    weights[:CLASSES] += 1  # the classes stay
    drawn = np.repeat(np.arange(len(target)), weights.astype(int))
    prepared = metric.prepare(Rows(target, scores))
    wanted = metric.value(target[drawn], scores[drawn])
    assert prepared.of(np.stack([weights, 3 * weights])) == pytest.approx([wanted, wanted], rel=1e-9, abs=1e-12)


@every_case
def test_clusters_are_weighted_whole(metric, task):
    chance = np.random.default_rng(6)
    target = targets_of(task, chance, 80)
    scores, cluster = noisy(task, target, chance), np.repeat(np.arange(4), 20)
    drawn = np.concatenate([np.flatnonzero(cluster == each) for each in (0, 0, 2)])
    found = metric.prepare(Rows(target, scores, cluster=cluster)).of(np.array([[2.0, 0.0, 1.0, 0.0]]))
    assert found == pytest.approx([metric.value(target[drawn], scores[drawn])], rel=1e-9)


@every_case
def test_a_resample_is_the_metric_of_the_rows_as_drawn(metric, task):
    """One resample is rebuilt by hand."""
    chance = np.random.default_rng(5)
    target = targets_of(task, chance, 80)
    scores = noisy(task, target, chance)
    got = paired_bootstrap(metric.text, target, {CANDIDATE: Arm(scores)}, resamples=1, seed=3).arms[CANDIDATE]
    drawn = np.random.default_rng(3).integers(0, 80, size=(1, 80))[0]
    assert got.low == got.high == pytest.approx(metric.value(target[drawn], scores[drawn]), abs=1e-10)


@every_case
def test_small_samples_are_off_only_where_it_says_so(metric, task):
    """The mean over 10,000 samples of 8 rows against the value of all rows, in standard errors."""
    chance = np.random.default_rng(8)
    target = targets_of(task, chance, 60)
    prepared = metric.prepare(Rows(target, noisy(task, target, chance)))
    weights = chance.multinomial(8, np.full(60, 1 / 60), size=10_000).astype(float)
    found = prepared.of(weights)
    found = found[~np.isnan(found)]
    off = abs(found.mean() - whole(prepared, 60)) / (found.std() / np.sqrt(len(found)))
    assert (off > 4) == metric.finite_sample_bias, (
        f"its mean over samples of 8 rows is {off:.1f} standard errors off; from 4 on, state finite_sample_bias=True"
    )


# Where it is undefined


DEGENERATE = {
    "one class": (BINARY, MULTICLASS, np.ones(30, dtype=int)),
    "no positives": (BINARY, BINARY, np.zeros(30, dtype=int)),
    "constant": (REGRESSION, REGRESSION, np.full(30, 7.0)),
    "zeros": (REGRESSION, REGRESSION, np.arange(30.0)),
}


@every_case
@pytest.mark.parametrize("rows", DEGENERATE)
def test_it_is_undefined_where_it_says_so_whatever_a_model_answers(metric, task, rows):
    *tasks, target = DEGENERATE[rows]
    if task not in tasks:
        return
    chance = np.random.default_rng(7)
    said = metric.undefined.why(target, 1)
    for wrong in (0.0, 0.5, 1.0):
        scores = scores_of(task, target, chance, wrong)
        if not said:
            found = whole(metric.prepare(Rows(target, scores)), len(target))
            assert np.isfinite(found), f"undefined, but its `undefined` ({metric.undefined.words}) does not say so"
            continue
        with pytest.raises(DataCheckError, match="is not defined on these rows") as caught:
            metric.value(target, scores)
        assert caught.value.faults[0].problem == said
        live = live_quality(metric.text, target, scores, Estimate(0.5, 0.4, 0.6), min_rows=10)
        assert live.outcome is quality.QualityOutcome.INSUFFICIENT_DATA


def test_the_reasons_are_those_of_the_metric():
    ones, numbers = np.ones(3, dtype=int), np.array([0.0, 0.0, 3.0])
    binary, column = np.full((3, 2), 0.5), np.ones((3, 1))
    reported = {
        "roc_auc": (ones, binary, "all 3 rows are of one class"),
        "f1": (1 - ones, binary, "none of the 3 rows is of the positive class"),
        "balanced_accuracy": (ones, binary, "all 3 rows are of one class"),
        "r2": (np.full(3, 7.0), column, "the target is 7 in all 3 rows"),
        "mape": (numbers, column, "the target is 0 in 2 of 3 rows"),
    }
    for name, (target, scores, reason) in reported.items():
        with pytest.raises(DataCheckError, match=reason):
            find(name).value(target, scores)


@every_case
def test_no_rows_have_no_metric_and_scores_that_are_no_numbers_are_the_models_fault(metric, task):
    width = {BINARY: 2, MULTICLASS: CLASSES, REGRESSION: 1}[task]
    dtype = float if task == REGRESSION else int
    with pytest.raises(DataCheckError, match="there are no rows"):
        metric.value(np.empty(0, dtype=dtype), np.empty((0, width)))
    if metric.decides or metric.name in {"roc_auc", "average_precision", "recall_at_precision"}:
        return  # `evaluate` refuses scores that are no numbers before any metric sees them
    target = targets_of(task, np.random.default_rng(0), 8)
    scores = noisy(task, target, np.random.default_rng(0))
    scores[2] = np.nan
    with pytest.raises(DataCheckError, match="the model gives no score for 1 of 8 rows"):
        metric.value(target, scores)


# Through the product


def spec_of(metric, task, **changes):
    return ModelSpec.parse(toy_document(task, metric=metric, **changes))


@every_case
def test_a_spec_takes_it_and_writes_it_one_way(metric, task):
    spec = spec_of(metric.to_json(), task)
    assert spec.metric == metric
    assert ModelSpec.parse_yaml(spec.canonical_json()).digest == spec.digest
    long = spec_of({"name": metric.name, **dict(metric.given)}, task)
    assert long.digest == spec.digest
    limit = "metric_at_least" if metric.more_is_better else "metric_at_most"
    assert spec_of(metric.to_json(), task, targets={limit: 0.5}).targets


@every_metric
def test_a_spec_refuses_it_for_other_tasks_and_with_wrong_parameters(metric):
    for task in {each.value for each in Task} - set(metric.tasks):
        with pytest.raises(SpecInvalidError, match=f"{metric.name} does not fit task {task}"):
            spec_of(metric.to_json(), task)
    with pytest.raises(SpecInvalidError, match=f"{metric.name} has no parameter 'colour'"):
        spec_of({"name": metric.name, "colour": 1}, metric.tasks[0])
    for each in metric.parameters:
        with pytest.raises(SpecInvalidError, match=f"{each.name} of {metric.name} is 7; it must be {each.least:g} to"):
            spec_of({"name": metric.name, each.name: 7}, metric.tasks[0])


def test_the_json_schema_names_every_metric_and_parameter():
    names, *mappings = json_schema()["properties"]["metric"]["anyOf"]
    assert names["enum"] == list(METRICS)
    shown = {each["properties"].pop("name")["const"]: set(each["properties"]) for each in mappings}
    assert shown == {
        name: {each.name for each in metric.parameters} for name, metric in METRICS.items() if metric.parameters
    }


def arms_of(task, rows, seed):
    """A target, a good arm and a poor one."""
    chance = np.random.default_rng(seed)
    target = targets_of(task, chance, rows)
    good = noisy(task, target, chance)
    poor = scores_of(task, target, chance, 0.9) if task == REGRESSION else chance.permutation(good)
    return target, good, poor


@every_case
def test_a_slice_is_compared_with_the_champion(metric, task):
    target, good, poor = arms_of(task, 600, 11)
    judged = Judged(
        metric=metric.text,
        target=target,
        arms={CANDIDATE: Arm(good), CHAMPION: Arm(poor)},
        resampling=Resampling(600, resamples=200),
        min_rows=100,
    )
    for each in judge(judged, {"side": part(np.repeat([0.0, 1.0], 300))}):
        assert not each.too_few
        assert present(each.gain_over_champion).low > 0
        assert metric.sign * (present(each.metric).value - metric.value(target, poor)) > 0


@every_case
def test_live_traffic_is_judged_by_labels(metric, task):
    target, good, poor = arms_of(task, 1_500, 12)
    value = metric.value(target, good)
    design = Estimate(value, value - 0.02 * abs(value), value + 0.02 * abs(value))
    assert live_quality(metric.text, target, good, design, resamples=200).outcome is quality.QualityOutcome.WITHIN
    worse = live_quality(metric.text, target, poor, design, resamples=200)
    assert worse.outcome is quality.QualityOutcome.BEYOND
    assert present(worse.gain).high < 0
    assert worse.statement.startswith(metric.text)


def calibrated(task, chance, rows):
    """Scores, and outcomes as they say."""
    if task == REGRESSION:
        score = chance.uniform(20, 80, rows)
        return score[:, None], score + chance.normal(0, 3, rows) * score / 50
    classes = 2 if task == BINARY else CLASSES
    scores = chance.dirichlet(np.full(classes, 0.6), rows)
    return scores, (chance.random(rows)[:, None] > np.cumsum(scores, axis=1)[:, :-1]).sum(axis=1)


@every_case
def test_without_labels_it_is_what_labels_then_show_or_is_not_reported(metric, task):
    chance = np.random.default_rng(13)
    scores, target = calibrated(task, chance, 4_000)
    value = metric.value(target, scores)
    design = Estimate(value, value - 0.02 * abs(value), value + 0.02 * abs(value))
    match metric.unlabelled:
        case FromProbabilities():
            found = expected_quality(metric.text, scores, design)
        case FromLosses():
            learned = LossByScore.learn(metric.text, target[:2_000], scores[:2_000, 0])
            assert LossByScore.from_json(learned.to_json()) == learned
            found = learned.expected(scores[2_000:, 0], design)
        case None:
            with pytest.raises(ValueError, match="cannot be"):
                metric.expected(scores)
            with pytest.raises(ValueError, match="no loss can be learned"):
                LossByScore.learn(metric.text, target, scores[:, 0])
            return
    assert present(found.live).low <= present(found.live).value <= present(found.live).high
    assert present(found.live).value == pytest.approx(value, rel=0.1)
    assert found.outcome is quality.QualityOutcome.WITHIN
    assert found.assumption == NO_CONCEPT_DRIFT


def evaluated(metric, task, seed=14):
    """An evaluation in which a good candidate is compared with a poor champion, and the other way round."""
    target, good, poor = arms_of(task, 1_200, seed)
    for arms in ({CANDIDATE: Arm(good), "other": Arm(poor)}, {CANDIDATE: Arm(poor), "other": Arm(good)}):
        found = paired_bootstrap(metric.text, target, arms, resamples=200, also=[metric.text])
        yield Evaluation(
            metric=metric.text,
            higher_is_better=metric.more_is_better,
            confidence=0.95,
            resamples=200,
            undefined_resamples=found.undefined_resamples,
            resample_by="row",
            rows=len(target),
            clusters=found.clusters,
            candidate=found.arms[CANDIDATE],
            baseline=BaselineValue("prior", found.arms["other"]),
            champion=ChampionValue(1, found.arms["other"]),
            gain_over_baseline=found.gains["other"],
            gain_over_champion=found.gains["other"],
            metrics=found.metrics,
            parity=Parity(len(target), 0.0, 1e-4, 0),
            latency_ms=LatencyMs(0.1, 0.2, 500),
            load_ms=1.0,
            artifact_bytes=1_000,
            peak_memory_mib=90.0,
        )


@every_case
def test_the_gate_takes_the_better_and_refuses_the_worse(metric, task):
    policy = Policy(margin=0.0, min_rows=100, latency_p99_ms=50, load_ms=5_000, artifact_mib=100)
    better, worse = (decide(each, policy) for each in evaluated(metric, task))
    assert better.accepted
    compared = {each.name: each for each in worse.checks if each.name in {"beats_baseline", "not_worse_than_champion"}}
    assert {each.outcome for each in compared.values()} == {CheckOutcome.FAIL}
    for each in (*compared.values(), better.checks[1]):
        assert each.statement.startswith(metric.text)
        assert ("(lower is better)" in each.statement) is not metric.more_is_better
    good, poor = evaluated(metric, task)
    halfway = (good.candidate.value + poor.candidate.value) / 2
    reached, missed = (decide(each, replace(policy, metric_target=halfway)).checks[3] for each in (good, poor))
    assert (reached.name, reached.outcome, missed.outcome) == ("metric_target", CheckOutcome.PASS, CheckOutcome.FAIL)


@every_case
def test_page_and_command_line_show_it(metric, task):
    good, _ = evaluated(metric, task)
    assert Evaluation.from_json(good.to_json()) == good
    figure = record._compared(good)
    assert metric.sentence in figure.caption
    assert f"{'higher' if metric.more_is_better else 'lower'} is better" in figure.caption
    assert f"{metric.text} on 1,200 held-out rows" in figure.caption
    screen = StringIO()
    out = Console(file=screen, width=200)
    pages._evidence(out, good)
    shown = screen.getvalue()
    assert metric.text in shown
    estimate = good.candidate
    assert figures.interval(estimate.value, estimate.low, estimate.high) in shown


@pytest.mark.parametrize("clusters", [None, 12, 300])
@pytest.mark.parametrize("decimals", [1, 3, 9])
def test_an_area_is_the_very_same_however_its_rows_are_summed(clusters: int | None, decimals: int) -> None:
    chance = np.random.default_rng(decimals)
    target = chance.integers(0, 2, 900)
    score = np.round((chance.random(900) + target / 3) / 2, decimals)
    cluster = (
        None if clusters is None else np.concatenate([np.arange(clusters), chance.integers(0, clusters, 900)])[:900]
    )
    drawn = chance.poisson(1, (7, clusters or 900)).astype(np.float64)
    found = find("roc_auc").prepare(Rows(target, np.stack([1 - score, score], axis=1), cluster=cluster)).of(drawn)

    weights = drawn if cluster is None else drawn[:, cluster]
    positive, negative = weights[:, target == 1], weights[:, target == 0]
    ahead = np.sign(score[target == 1][:, None] - score[target == 0]) / 2 + 0.5
    right = np.einsum("bi,ij,bj->b", positive, ahead, negative)
    assert found.tolist() == (right / (positive.sum(axis=1) * negative.sum(axis=1))).tolist()
    nothing = find("roc_auc").prepare(Rows(np.ones(900, int), np.stack([1 - score, score], axis=1), cluster=cluster))
    assert np.isnan(nothing.of(drawn)).all()
