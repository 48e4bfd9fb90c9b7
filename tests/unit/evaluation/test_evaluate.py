"""Steps evaluate and gate on a run whose objects are real (npz, ONNX, JSON) and whose ports are in memory."""

import hashlib
import json
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.builders.evaluation import AT, CONTRACT, EFFECTS, PRICES, ROWS, TrainedRun, flights, good_onnx, spec_of
from tidegate.domain.evaluation.gate import CheckOutcome
from tidegate.domain.evaluation.gate import parity as parity_check
from tidegate.domain.evaluation.sections import BrokenRows
from tidegate.domain.monitoring.quality import LossByScore
from tidegate.domain.monitoring.reference import BACKGROUND_ROWS
from tidegate.domain.profiles.profile import MISSING, OUTSIDE, captured
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.contract import Contract, FeatureContract, OutputRule
from tidegate.domain.serving.prediction import answers
from tidegate.kernel.errors import (
    ArtifactRejectedError,
    ConflictError,
    DataCheckError,
    NotFoundError,
    TrainingFailedError,
)
from tidegate.kernel.metrics.registry import of_task
from tidegate.kernel.prefixes import WRITTEN_BY, RunFile
from tidegate.kernel.table import CLUSTER, TARGET, Table
from tidegate.messages import RunRef
from tidegate.ml.scoring import load
from tidegate.ml.training import OnnxFitter
from tidegate.spec.rules.registry import RULES, kind_of
from tidegate.spec.rules.rule import Place
from tidegate.spec.training import Candidate
from tidegate.steps.evaluation.evaluate import TIMED_ROWS, _parity, _spread
from tidegate.steps.evaluation.gate import gate
from tidegate.steps.run_files import RunFiles
from tidegate.testing.models import linear_onnx


@pytest.mark.parametrize("rule", [each for each in RULES if Place.BASELINE in each.tasks], ids=kind_of)
def test_a_version_is_measured_against_whichever_rule_is_the_baseline(rule):
    found = TrainedRun().train(good_onnx(), baseline=rule.model_validate(rule.example))
    found.evaluate()
    assert found.evaluation.baseline.rule.startswith(kind_of(rule))
    assert 0.5 <= found.evaluation.baseline.estimate.value < found.evaluation.candidate.value
    assert found.evaluation.gain_over_baseline.low > 0


def test_the_first_version_is_measured_against_the_baseline_on_the_holdout():
    world = TrainedRun().train(good_onnx())
    evaluated = world.evaluate()
    holdout = flights()
    scores = load(good_onnx()).score(CONTRACT.inputs(holdout))
    assert evaluated.value == pytest.approx(roc_auc_score(holdout[TARGET], scores[:, 1]), abs=1e-10)
    assert evaluated.low < evaluated.value < evaluated.high
    assert evaluated.champion_version is None
    found = world.evaluation
    assert found.rows == found.clusters == ROWS
    assert found.champion is None
    assert found.gain_over_champion is None
    assert found.baseline.rule == "group_rate by carrier"
    assert found.gain_over_baseline.value == pytest.approx(found.candidate.value - found.baseline.estimate.value)
    assert found.gain_over_baseline.low > 0
    assert set(found.metrics) == {each.text for each in of_task("binary") if not each.parameters}
    assert found.metrics["log_loss"].value == pytest.approx(log_loss(holdout[TARGET], scores), abs=1e-6)
    assert found.artifact_bytes == len(good_onnx())
    assert found.peak_memory_mib > 10


def test_the_run_shows_the_metrics_and_its_stage():
    world = TrainedRun().train(good_onnx())
    evaluated = world.evaluate()
    run = world.registry.run("delay", "r2")
    assert run.stage == "evaluate"
    assert run.metrics["roc_auc"] == evaluated.value
    assert {"log_loss", "latency_p50_ms", "latency_p99_ms", "load_ms"} <= set(run.metrics)


def test_the_same_version_gets_the_same_intervals_and_another_artifact_others():
    first, again = (TrainedRun().train(good_onnx()).evaluate() for _ in range(2))
    assert (first.value, first.low, first.high) == (again.value, again.low, again.high)
    nearly = linear_onnx(CONTRACT, [2.0, 0.1], effects=EFFECTS, bias=-1.5000001)
    assert TrainedRun().train(nearly).evaluate().low != first.low


def test_latency_and_load_time_are_what_the_stopwatch_says():
    world = TrainedRun().train(good_onnx())
    rows_ms = (reading for ms in range(1, TIMED_ROWS + 1) for reading in (0.0, ms / 1e3))
    readings = chain([0.0, 0.25], rows_ms)
    world.evaluate(stopwatch=lambda: next(readings))
    assert world.evaluation.load_ms == pytest.approx(250)
    latency = world.evaluation.latency_ms
    assert (latency.rows, latency.p50, latency.p99) == (TIMED_ROWS, pytest.approx(250.5), pytest.approx(495.01))


def test_candidate_and_champion_are_scored_on_the_same_rows():
    world = TrainedRun().serve(linear_onnx(CONTRACT, [1.0, -0.3], effects=EFFECTS)).train(good_onnx())
    assert world.evaluate().champion_version == 1
    found = world.evaluation
    weak = load(linear_onnx(CONTRACT, [1.0, -0.3], effects=EFFECTS)).score(CONTRACT.inputs(flights()))
    assert found.champion.estimate.value == pytest.approx(roc_auc_score(flights()[TARGET], weak[:, 1]))
    assert found.gain_over_champion.value == pytest.approx(found.candidate.value - found.champion.estimate.value)
    assert found.gain_over_champion.low > 0


def test_a_champion_whose_classes_are_in_another_order_is_still_read_rightly():
    turned = replace(CONTRACT, classes=(True, False), positive=0)
    negated = {name: -effect for name, effect in EFFECTS.items()}
    world = TrainedRun().serve(linear_onnx(turned, [-2.0, -0.1], effects=negated, bias=1.5)).train(good_onnx())
    world.evaluate()
    assert world.evaluation.gain_over_champion.value == 0
    assert world.evaluation.champion.estimate.value > 0.8


def test_holdout_rows_that_the_champion_was_trained_on_are_counted_when_that_can_be_known():
    same = TrainedRun().serve(good_onnx(), rows=range(900, 1100)).train(good_onnx())
    same.evaluate()
    assert same.evaluation.champion.seen_rows == 100
    other = TrainedRun().serve(good_onnx(), dataset_version="v0").train(good_onnx())
    other.evaluate()
    assert other.evaluation.champion.seen_rows is None
    expired = TrainedRun().serve(good_onnx()).train(good_onnx())
    del expired.artifacts.objects[RunRef(model="delay", run_id="r1").key(RunFile.VALIDATION)]
    expired.evaluate()
    assert expired.evaluation.champion.seen_rows is None


def test_a_version_that_learned_from_captures_is_held_against_the_champion_on_rows_without_any():
    captured = {"rows": 300, "holdout_rows": 100, "reporters": {"arn:aws:iam::1:user/eve": 300}}
    guard = flights(rows=800, seed=9)
    turned = linear_onnx(CONTRACT, [-2.0, -0.1], effects=EFFECTS, bias=1.5)
    world = TrainedRun().serve(good_onnx()).train(turned, captured=captured, guard=guard)
    world.evaluate()
    found = world.evaluation.sections.captures
    assert (found.rows, found.holdout_rows, found.guard_rows) == (300, 100, 800)
    good = load(good_onnx()).score(CONTRACT.inputs(guard))[:, 1]
    assert found.champion.value == pytest.approx(roc_auc_score(guard[TARGET], good))
    assert found.gain.value == pytest.approx(found.candidate.value - found.champion.value)
    assert found.gain.high < -0.3
    world.gate()
    run = world.registry.run("delay", "r2")
    assert len(run.questions) == 2
    assert run.questions[0] == "arn:aws:iam::1:user/eve reported 100% of their outcomes, more than 50%"
    assert "on 800 rows without captures roc_auc is" in run.questions[1]


def test_without_a_champion_or_rows_to_compare_on_captures_have_no_figures():
    captured = {"rows": 3, "holdout_rows": 0, "reporters": {}}
    for world, guard in ((TrainedRun(), flights()), (TrainedRun().serve(good_onnx()), flights().take(slice(0, 0)))):
        world.train(good_onnx(), captured=captured, guard=guard).evaluate()
        found = world.evaluation.sections.captures
        assert (found.candidate, found.champion, found.gain) == (None, None, None)
    assert TrainedRun().train(good_onnx()).evaluate()


def with_feature(name, kind):
    return replace(CONTRACT, features=(*CONTRACT.features[:2], FeatureContract(name, kind)))


@pytest.mark.parametrize(
    ("champion", "problem"),
    [
        (good_onnx(with_feature("gust", "numeric")), "the holdout lacks gust, which it needs"),
        (
            good_onnx(replace(CONTRACT, classes=("no", "yes"))),
            "its classes are no, yes, this version's are False, True",
        ),
        (good_onnx(replace(CONTRACT, classes=(0, 1))), "its classes are 0, 1, this version's are False, True"),
        (
            linear_onnx(Contract("delay", "regression", CONTRACT.features), [2.0, 0.1], effects=EFFECTS),
            "its task is regression, this version's is binary",
        ),
        (linear_onnx(with_feature("hour", "categorical"), [2.0], effects=EFFECTS), "hour is categorical for it, but"),
        (
            linear_onnx(CONTRACT, [np.nan, 0.1], effects=EFFECTS),
            "it gives scores that are not finite numbers",
        ),
    ],
)
def test_a_champion_that_cannot_be_scored_is_reported_and_held_against_the_release(champion, problem):
    world = TrainedRun().serve(champion).train(good_onnx())
    verdict = world.gate()
    assert world.evaluation.champion.version == 1
    assert world.evaluation.champion.estimate is None
    assert problem in world.evaluation.champion.problem
    assert not verdict.accepted
    assert any(problem in reason for reason in verdict.reasons)


def test_a_champion_for_another_target_is_not_compared():
    world = TrainedRun().serve(good_onnx(), spec=spec_of(target="cancelled")).train(good_onnx())
    world.evaluate()
    assert world.evaluation.champion.problem == "it predicts cancelled, this version late"


def test_a_champion_whose_bytes_were_tampered_with_is_never_loaded():
    world = TrainedRun().serve(good_onnx()).train(good_onnx())
    world.artifacts.objects[RunRef(model="delay", run_id="r1").key(RunFile.ARTIFACT)] += b"!"
    world.evaluate()
    assert world.evaluation.champion.problem.startswith("its artifact cannot be used")


def test_a_candidate_whose_bytes_were_tampered_with_is_refused():
    world = TrainedRun().train(good_onnx())
    world.artifacts.objects[world.run.key(RunFile.ARTIFACT)] += b"!"
    with pytest.raises(ArtifactRejectedError):
        world.evaluate()


def test_a_candidate_that_gives_no_numbers_is_refused():
    holdout = flights()
    holdout["wind"][3] = np.nan
    with pytest.raises(TrainingFailedError, match="no finite score for 1 of 600 holdout rows"):
        TrainedRun().train(good_onnx(), holdout=holdout).evaluate()


def test_a_holdout_of_one_class_is_a_fault_of_the_data():
    holdout = Table(dict(flights().columns) | {TARGET: np.zeros(ROWS, dtype=np.int64)})
    with pytest.raises(DataCheckError, match="all 600 rows are of one class"):
        TrainedRun().train(good_onnx(), holdout=holdout).evaluate()


def test_parity_is_the_largest_difference_and_counts_flipped_labels():
    reference = load(good_onnx()).score(CONTRACT.inputs(flights())).astype(np.float64)
    moved = reference.copy()
    sure = np.flatnonzero(reference[:, 1] > 0.9)[:2]
    moved[sure] = moved[sure][:, ::-1]
    world = TrainedRun().train(good_onnx(), reference=moved)
    verdict = world.gate()
    assert world.evaluation.parity.max_difference == pytest.approx(np.abs(moved - reference).max())
    assert world.evaluation.parity.flips == 2
    assert not verdict.accepted
    assert any("2 rows change their label" in reason for reason in verdict.reasons)


def test_a_regression_is_judged_by_its_errors_and_large_values_are_held_to_relative_parity():
    contract = Contract("delay", "regression", CONTRACT.features)
    onnx = linear_onnx(contract, [10.0, 0.0], effects={"UA": 0.0, "AA": 1e5})
    holdout = flights()
    exact = 10.0 * holdout["wind"] + np.where(holdout["carrier"] == "AA", 1e5, 0.0)
    noise = np.random.default_rng(1).normal(size=ROWS)
    holdout = Table(dict(holdout.columns) | {TARGET: exact + noise})
    spec = spec_of(task="regression", metric="mae", candidates=[{"estimator": "sklearn.linear_model.Ridge"}])
    world = TrainedRun().train(onnx, holdout=holdout, spec=spec, classes="", reference=exact[:, None])
    evaluated = world.evaluate()
    assert evaluated.value == pytest.approx(np.abs(noise).mean(), abs=0.01)
    assert set(world.evaluation.metrics) == {"rmse", "mae", "mape", "r2"}
    assert world.evaluation.gain_over_baseline.low > 0
    assert world.evaluation.parity.flips is None
    assert world.evaluation.parity.max_difference < 1e-5  # float32 is off by up to 0.004 at 100,000
    drawn_in = np.clip(holdout[TARGET], *np.quantile(holdout[TARGET], (0.05, 0.95)))
    assert world.evaluation.parity.spread == pytest.approx(drawn_in.std())
    assert world.evaluation.parity.of_spread == 0  # no more than float32 rounds


HIRES = Contract(
    "delay",
    "regression",
    (FeatureContract("hour", "integer"), FeatureContract("wind", "numeric"), FeatureContract("day", "integer")),
)


def hires(rows, seed, unit, *, at_least=0.0):
    """Counts, many of them near nothing, which grow with the hour."""
    chance = np.random.default_rng(seed)
    hour, wind, day = chance.integers(0, 24, rows), chance.normal(12, 8, rows), np.arange(rows) // 24
    counts = chance.poisson(np.exp(1 + 2.5 * np.exp(-(((hour - 17) / 5) ** 2)) + 0.06 * wind)) + at_least
    columns = {"hour": hour, "wind": wind, "day": day, TARGET: counts * unit}
    return Table({name: column.astype(np.float64) for name, column in columns.items()})


def parity_of(estimator, unit, *, without=None, at_least=0.0, moved=0.0, **parameters):
    """The gate's check of a regression that is fitted, converted and scored. `moved` is what the conversion adds to one
    answer, in standard deviations of the target."""
    spec = spec_of(
        task="regression",
        metric="rmse",
        candidates=[{"estimator": f"sklearn.{estimator}"}],
        features=[{"name": each.name, "kind": each.kind} for each in HIRES.features],
        baseline={"kind": "prior"},
    )
    training, holdout = (hires(rows, seed, unit, at_least=at_least) for rows, seed in ((1200, 1), (600, 2)))
    training = training.take(training["day"] != without)
    chosen = Candidate(estimator=f"sklearn.{estimator}", parameters=parameters)
    made = OnnxFitter().export(spec, HIRES, chosen, training, [holdout])
    scores = load(made.onnx).score(HIRES.inputs(holdout)).astype(np.float64)
    scores[np.abs(scores[:, 0]).argmin()] += moved * holdout[TARGET].std()
    reference = Table({"scores": made.reference_scores[0]}).to_npz()
    evaluation: Any = SimpleNamespace(parity=_parity(scores, reference, holdout[TARGET], HIRES, 1e-4))
    no_policy: Any = None  # the tolerance is in what was measured
    return parity_check(evaluation, no_policy)


UNITS = (1e-3, 1.0, 1e3, 1e6)
BOOSTING = "ensemble.GradientBoostingRegressor"


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("without", [None, 0, 5])  # of the target in thousands, the first and the last failed
def test_a_regression_has_the_same_parity_in_every_unit_of_its_target_with_and_without_a_day(unit, without):
    found = parity_of(BOOSTING, unit, without=without)
    assert found.outcome is CheckOutcome.PASS, found.statement
    assert "standard deviations of the target" in found.statement
    assert "gate.parity_tolerance allows 0.0001" in found.statement


@pytest.mark.parametrize("unit", UNITS)
def test_a_conversion_that_misses_one_answer_fails_in_every_unit_of_the_target(unit):
    assert parity_of(BOOSTING, unit, moved=0.01).outcome is CheckOutcome.FAIL


@pytest.mark.parametrize("unit", UNITS)
def test_a_target_far_from_zero_is_not_held_to_more_than_float32_holds(unit):
    """A forest adds a thousand float32 numbers up."""
    forest = "ensemble.ExtraTreesRegressor"
    settings = {"at_least": 5_000.0, "n_estimators": 300, "max_depth": 6}
    assert parity_of(forest, unit, **settings).outcome is CheckOutcome.PASS
    assert parity_of(forest, unit, **settings, moved=10.0).outcome is CheckOutcome.FAIL


@pytest.mark.parametrize("huge", [0.0, 1e6, 1e12])
def test_a_few_huge_values_of_the_target_excuse_no_wrong_score(huge):
    target = np.random.default_rng(4).normal(100, 10, 1_000)
    target[:20] += huge
    expected = target[:, None].copy()
    served = expected.copy()
    served[500] += 1.0  # a tenth of the spread of all but the huge ones
    found = _parity(served, Table({"scores": expected}).to_npz(), target, HIRES, 1e-4)
    assert found.spread == pytest.approx(9.5, rel=0.05)
    assert found.judged > 100 * found.tolerance


def test_the_spread_of_a_target_that_is_hardly_ever_anything_is_that_of_all_rows():
    target = np.zeros(1_000)
    target[:10] = 5.0
    scores = Table({"scores": np.zeros((1_000, 1))}).to_npz()
    assert _parity(np.zeros((1_000, 1)), scores, target, HIRES, 1e-4).spread == pytest.approx(target.std())


def test_a_target_that_is_the_same_in_every_row_is_compared_with_its_size():
    target = np.full(4, -50.0)
    scores = Table({"scores": np.full((4, 1), -50.0)}).to_npz()
    found = _parity(np.full((4, 1), -50.5), scores, target, HIRES, 1e-4)
    assert (found.spread, found.of_spread) == (50.0, pytest.approx(0.01, rel=0.1))


def test_a_multiclass_label_flips_when_another_class_comes_first():
    contract = Contract("kind", "multiclass", CONTRACT.features, classes=("a", "b", "c"))
    served = np.array([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4], [0.1, 0.2, 0.7]], dtype=np.float32)
    reference = np.array([[0.5, 0.3, 0.2], [0.2, 0.39, 0.41], [0.1, 0.2, 0.7]])
    found = _parity(served, Table({"scores": reference}).to_npz(), np.arange(3), contract, 1e-4)
    assert (found.rows, found.flips) == (3, 1)
    assert found.max_difference == pytest.approx(0.01, abs=1e-6)


def test_days_are_resampled_whole_when_the_spec_says_so():
    holdout = Table(dict(flights().columns) | {CLUSTER: np.arange(ROWS) // 20})
    spec = spec_of(time="date", gate={"resamples": 200, "resample_by": "day"})
    world = TrainedRun().train(good_onnx(), holdout=holdout, spec=spec)
    world.evaluate()
    assert (world.evaluation.resample_by, world.evaluation.clusters) == ("day", 30)


def test_a_final_run_is_not_evaluated_again():
    world = TrainedRun().serve(good_onnx())
    with pytest.raises(ConflictError):
        world.evaluate()


def test_a_good_first_version_passes_the_gate_and_the_report_holds_everything():
    world = TrainedRun().train(good_onnx())
    prepared = RunFiles(world.run, world.artifacts, {}, world.prepared_files)
    plan = {"personal": [], "rows": {"fit": 400, "validation": 80}, "contract": {}}
    prepared.write(RunFile.PLAN, json.dumps(plan).encode())
    verdict = world.gate()
    assert verdict.accepted
    assert verdict.reasons == []
    report = world.report
    assert verdict.report_sha256 == hashlib.sha256(world.artifacts.objects[world.run.key(RunFile.REPORT)]).hexdigest()
    assert set(report) == {
        *("format", "model", "run_id", "task", "metric", "higher_is_better", "verdict", "evaluation", "lineage"),
        "target_changes",
    }
    assert (report["format"], report["model"], report["run_id"], report["task"]) == (1, "delay", "r2", "binary")
    assert report["verdict"]["accepted"] is True
    assert {"value", "low", "high"} <= set(report["evaluation"]["candidate"])
    assert {"rule", "value", "low", "high"} <= set(report["evaluation"]["baseline"])
    assert report["evaluation"]["champion"] is None
    assert set(report["evaluation"]["differences"]["baseline"]) == {"estimate", "low", "high"}
    assert report["evaluation"]["differences"]["champion"] is None
    files = report["lineage"].pop("files")
    assert set(files) == {
        file.value
        for step in ("prepare", "train", "evaluate", "slices_and_groups")
        for file in WRITTEN_BY[step]
        if file not in {RunFile.STAND_IN, RunFile.GUARD}
    }
    for name, sha256 in files.items():
        assert hashlib.sha256(world.artifacts.objects[world.run.key(RunFile(name))]).hexdigest() == sha256
    assert report["lineage"] == {
        "spec_digest": spec_of().digest,
        "dataset": "flights",
        "dataset_version": "v1",
        "exclusions": [],
        "seed": 0,
        "code_version": "abc",
        "lock_hash": "l0ck",
        "candidates": [
            {
                "index": 0,
                "estimator": "sklearn.linear_model.LogisticRegression",
                "parameters": {"C": 1.0},
                "metric": "roc_auc",
                "value": 0.8,
                "fit_seconds": 0.1,
                "rows": 480,
            }
        ],
        "selected": 0,
        "artifact_sha256": world.fitted.artifact_sha256,
        "artifact_key": world.run.key(RunFile.ARTIFACT),
        "training_rows": 480,
        "environment": {"python": "3.13.1"},
        "personal": [],
        "rows": {"fit": 400, "validation": 80},
        "requested_by": "arn:aws:iam::1:user/ann",
        "requested_at": AT.isoformat(),
    }


def test_a_worse_second_version_is_rejected_with_its_interval():
    world = TrainedRun().serve(good_onnx()).train(linear_onnx(CONTRACT, [1.0, -0.3], effects=EFFECTS))
    verdict = world.gate()
    assert not verdict.accepted
    worse = next(reason for reason in verdict.reasons if "version 1" in reason)
    assert "below version 1" in worse
    assert worse.endswith("it is worse; the margin is 0.02")
    assert world.registry.run("delay", "r2").stage == "gate"


def test_targets_of_the_spec_become_checks():
    world = TrainedRun().train(good_onnx(), spec=spec_of(targets={"metric_at_least": 0.999, "artifact_mib": 0.0001}))
    verdict = world.gate()
    failed = {check["name"] for check in world.report["verdict"]["checks"] if check["outcome"] == "fail"}
    assert not verdict.accepted
    assert {"metric_target", "artifact_size"} <= failed


@pytest.mark.parametrize(("limit", "accepted"), [(1e-6, False), (1.0, True)])
def test_what_a_thousand_predictions_would_cost_is_estimated_and_held_against_the_target(limit, accepted):
    world = TrainedRun().train(
        good_onnx(), spec=spec_of(targets={"cost_per_1000_usd_at_most": limit, "latency_p99_ms": 900})
    )
    assert world.gate().accepted is accepted
    (check,) = [each for each in world.report["verdict"]["checks"] if each["name"] == "cost"]
    scoring = world.evaluation.latency_ms.p99 * PRICES.gb_second  # 1,000 requests at 1 GB
    assert check["value"] == pytest.approx(scoring + 1_000 * PRICES.request)


def test_a_target_that_is_not_the_champions_is_shown_by_report_and_run_from_what_to_what():
    world = TrainedRun().serve(good_onnx(), spec=spec_of(targets={"metric_at_least": 0.7, "latency_p99_ms": 400}))
    changed = spec_of(targets={"latency_p99_ms": 400, "availability_at_least": 0.999}, seed=5)
    world.train(good_onnx(), spec=changed)
    world.gate()
    said = [
        "targets.metric_at_least: none, was at least 0.7 (of roc_auc)",
        "targets.availability_at_least: at least 0.999, was none",
    ]
    assert world.report["target_changes"] == said
    assert list(world.registry.run("delay", "r2").target_changes) == said


def test_a_spec_that_differs_in_all_but_its_targets_changes_none():
    world = TrainedRun().serve(good_onnx())
    world.train(good_onnx(), spec=spec_of(seed=9, description="tuned", monitoring={"min_rows": 200}))
    world.gate()
    assert world.registry.run("delay", "r2").target_changes == ()


def test_a_looser_limit_on_captures_is_a_change_of_targets_except_for_a_first_version():
    loose = {"captures_at_most": 1, "reporter_at_most": 1, "guard_margin": 0.01}
    world = TrainedRun().train(good_onnx(), spec=spec_of(monitoring=loose))
    world.gate()
    assert world.report["target_changes"] == []
    world = TrainedRun().serve(good_onnx())
    world.train(good_onnx(), spec=spec_of(monitoring=loose))
    world.gate()
    said = [f"monitoring.{name}: at most 1, was at most 0.5" for name in ("captures_at_most", "reporter_at_most")]
    assert list(world.registry.run("delay", "r2").target_changes) == said


def test_gating_twice_writes_the_same_report():
    world = TrainedRun().train(good_onnx())
    task = world.gating()
    known = dict.fromkeys(("models", "runs", "versions"), world.registry)
    ports = known | {"artifacts": world.artifacts, "clock": world.clock, "prices": PRICES}
    first = gate(task, **ports)
    world.clock.move(seconds=60)
    assert gate(task, **ports) == first


def test_a_run_that_was_not_evaluated_cannot_be_gated():
    world = TrainedRun().train(good_onnx())
    task = world.gating()
    del world.artifacts.objects[world.run.key(RunFile.EVALUATION)]
    with pytest.raises(NotFoundError):
        world.step(gate, task)


# Fallback and business rules


def test_the_fallback_is_evaluated_like_a_model_and_pinned_by_its_hash():
    world = TrainedRun().train(good_onnx(), fallback=constant(0.3))
    evaluated = world.evaluate()
    section = world.evaluation.sections.fallback
    assert (section.rule, section.estimate.value) == ("constant", 0.5)
    assert section.gain.low > 0
    assert evaluated.fallback_sha256 == hashlib.sha256(world.artifacts.get(world.run.key(RunFile.FALLBACK))).hexdigest()


def test_a_fallback_that_is_the_baseline_has_its_numbers():
    world = TrainedRun().train(good_onnx())
    world.evaluate()
    section, baseline = world.evaluation.sections.fallback, world.evaluation.baseline
    assert (section.rule, section.estimate.value, section.estimate.low) == (
        baseline.rule,
        baseline.estimate.value,
        baseline.estimate.low,
    )


def test_the_share_of_answers_that_break_a_rule_is_in_the_report():
    rules = (
        OutputRule("calm", "label == false", when="wind < 0 and carrier == 'UA'"),
        OutputRule("never", "score > 1"),
        OutputRule("always", "0 <= score <= 1"),
    )
    contract = replace(CONTRACT, rules=rules)
    world = TrainedRun().train(good_onnx(contract), fallback=constant(0.3), contract=contract)
    world.evaluate()
    section = world.evaluation.sections.rules
    holdout = flights()
    scores = load(good_onnx()).score(CONTRACT.inputs(holdout))[:, 1]
    calm = (holdout["wind"] < 0) & (holdout["carrier"] == "UA") & (scores >= 0.5)
    assert calm.any()
    assert [rule.candidate for rule in section.by_rule] == [calm.sum(), ROWS, 0]
    assert [rule.fallback for rule in section.by_rule] == [0, ROWS, 0]
    assert [rule.fallback_score for rule in section.by_rule] == [None, 0.3, None]
    assert section.rows == BrokenRows(candidate=ROWS, fallback=ROWS)
    assert section.holdout_rows == ROWS


def test_a_group_of_the_fallback_that_the_holdout_does_not_have_counts_against_the_rules():
    rules = (OutputRule("low", "score <= 0.9"), OutputRule("calm", "score <= 0.9", when="wind > 0"))
    contract = replace(CONTRACT, rules=rules)
    groups: dict[Any, Any] = {("nowhere",): (0.0952, 0.9048), ("UA",): (0.5, 0.5)}
    fallback = FittedRule("group_rate", (0.7, 0.3), by=("carrier",), texts=(True,), groups=groups)
    world = TrainedRun().train(good_onnx(contract), fallback=fallback, contract=contract)
    world.evaluate()
    by_rule = world.evaluation.sections.rules.by_rule
    assert [(rule.fallback, rule.fallback_score) for rule in by_rule] == [(0, 0.9048), (0, None)]


def constant(value):
    return FittedRule("constant", (1 - value, value))


# What a canary will compare scores by


def by_wind(contract=CONTRACT, *, shift=0.0):
    return linear_onnx(contract, [2.0, 0.1], effects=EFFECTS, bias=-1.5 + shift)


def reported(onnx, contract=CONTRACT, holdout=None):
    """The scores as answers give them."""
    holdout = holdout or flights()
    return np.array([each["score"] for each in answers(contract, load(onnx).score(contract.inputs(holdout)))])


def cumulative(scores, edges):
    return np.array([(scores <= edge).mean() for edge in edges])


def test_the_edges_part_the_candidates_scores_into_twentieths():
    world = TrainedRun().train(by_wind())
    world.evaluate()
    section = world.evaluation.sections.scores
    edges = section.edges
    assert len(edges) == 19
    assert list(edges) == sorted(edges)
    assert cumulative(reported(by_wind()), edges) == pytest.approx(np.arange(1, 20) / 20, abs=1 / ROWS)
    assert set(edges) <= set(reported(by_wind()))
    assert section.distance is None


def test_equal_scores_share_an_edge():
    world = TrainedRun().train(linear_onnx(CONTRACT, [0.0, 0.0], effects=EFFECTS))
    world.evaluate()
    assert list(world.evaluation.sections.scores.edges) == sorted(
        {*reported(linear_onnx(CONTRACT, [0.0, 0.0], effects=EFFECTS))}
    )


def test_the_distance_is_between_the_scores_of_candidate_and_champion_on_the_same_rows():
    world = TrainedRun().serve(by_wind()).train(by_wind(shift=1.0))
    world.evaluate()
    section = world.evaluation.sections.scores
    ours, theirs = (cumulative(reported(onnx), section.edges) for onnx in (by_wind(shift=1.0), by_wind()))
    assert section.distance == pytest.approx(np.abs(ours - theirs).max(), abs=1e-12)
    assert section.distance > 0.1


def test_a_champion_with_the_same_scores_is_at_no_distance_in_whatever_order_its_classes_are():
    turned = replace(CONTRACT, classes=(True, False), positive=0)
    negated = {name: -effect for name, effect in EFFECTS.items()}
    world = TrainedRun().serve(linear_onnx(turned, [-2.0, -0.1], effects=negated, bias=1.5)).train(good_onnx())
    world.evaluate()
    assert world.evaluation.sections.scores.distance == pytest.approx(0, abs=0.01)


def test_a_champion_that_cannot_be_scored_is_at_no_known_distance():
    world = TrainedRun().serve(good_onnx(with_feature("gust", "numeric"))).train(good_onnx())
    world.evaluate()
    assert world.evaluation.sections.scores.distance is None


def test_a_regression_is_parted_by_its_values():
    contract = Contract("delay", "regression", CONTRACT.features)
    onnx = linear_onnx(contract, [10.0, 0.0], effects={"UA": 0.0, "AA": 50.0})
    holdout = flights()
    target = reported(onnx, contract, holdout) + np.random.default_rng(1).normal(size=ROWS)
    holdout = Table(dict(holdout.columns) | {TARGET: target})
    spec = spec_of(task="regression", metric="mae", candidates=[{"estimator": "sklearn.linear_model.Ridge"}])
    reference = reported(onnx, contract, holdout)[:, None]
    world = TrainedRun().train(onnx, holdout=holdout, spec=spec, classes="", reference=reference)
    world.evaluate()
    edges = world.evaluation.sections.scores.edges
    assert cumulative(reported(onnx, contract, holdout), edges) == pytest.approx(np.arange(1, 20) / 20, abs=1 / ROWS)


def test_many_classes_are_parted_by_the_probability_of_the_likeliest():
    contract = Contract("kind", "multiclass", CONTRACT.features, classes=("a", "b", "c"))
    scores = np.random.default_rng(3).dirichlet([1, 1, 1], 400).astype(np.float32)
    flat = np.full((400, 3), 1 / 3, dtype=np.float32)
    section = _spread(contract, scores, flat)
    tops = np.array([each["score"] for each in answers(contract, scores)])
    assert cumulative(tops, section.edges) == pytest.approx(np.arange(1, 20) / 20, abs=1 / 400)
    assert section.distance == 0.95


# What live traffic will be compared with


def test_the_reference_profiles_training_rows_and_the_scores_of_the_holdout():
    training, holdout = flights(2000, seed=5), flights()
    world = TrainedRun().train(good_onnx(), training=training, holdout=holdout)
    world.evaluate()
    found = world.reference
    carrier, wind, hour = found.profile.features
    assert [column.name for column in found.layout.features] == ["carrier", "wind", "hour"]
    assert carrier[:2] == tuple(int((training["carrier"] == name).sum()) for name in ("AA", "UA"))
    assert (sum(carrier), sum(wind), sum(hour), found.profile.rows) == (2000, 2000, 2000, 2000)
    assert found.profile.target[:2] == tuple(np.bincount(training[TARGET]).tolist())
    scores = reported(good_onnx())
    assert found.profile.label[:2] == (int((scores < 0.5).sum()), int((scores >= 0.5).sum()))
    assert sum(found.profile.score) == ROWS
    assert max(found.profile.score) == ROWS // 10


def test_captures_of_the_training_rows_and_of_the_holdout_s_answers_have_the_profile_of_the_reference():
    training, holdout = flights(700, seed=5), flights()
    world = TrainedRun().train(good_onnx(), training=training, holdout=holdout)
    world.evaluate()
    found = world.reference
    names = ("carrier", "wind", "hour")
    rows = zip(*(training[name].tolist() for name in names), strict=True)
    inputs = captured(found.layout, [{"inputs": dict(zip(names, row, strict=True))} for row in rows])
    given = captured(found.layout, answers(CONTRACT, load(good_onnx()).score(CONTRACT.inputs(holdout))))
    assert inputs.features == found.profile.features
    assert (given.score, given.label) == (found.profile.score, found.profile.label)


def test_the_reference_holds_what_decides_and_what_was_promised():
    world = TrainedRun().train(good_onnx(), spec=spec_of(gate={"resamples": 200, "confidence": 0.9}))
    evaluated = world.evaluate()
    found = world.reference
    assert (found.metric, found.confidence) == ("roc_auc", 0.9)
    assert (found.design.value, found.design.low, found.design.high) == (evaluated.value, evaluated.low, evaluated.high)
    assert (found.task, found.classes, found.positive, found.threshold) == ("binary", (False, True), 1, 0.5)
    assert found.loss_by_score is None
    assert found.hidden == ()


def test_what_the_model_leans_on_is_important_and_what_it_ignores_is_not():
    world = TrainedRun().train(linear_onnx(CONTRACT, [2.0, 0.0], effects=EFFECTS))
    world.evaluate()
    important = world.reference.importances
    assert important["hour"] == 0
    assert important["wind"] > important["carrier"] > 0
    assert important["wind"] == pytest.approx(world.reference.design.value - 0.5, abs=0.15)


def test_the_report_is_pinned_to_the_reference_and_the_reference_to_the_background():
    world = TrainedRun().train(good_onnx())
    world.gate()
    stored = world.artifacts.objects
    pinned = world.report["evaluation"]["sections"]["reference"]["sha256"]
    assert pinned == hashlib.sha256(stored[world.run.key(RunFile.REFERENCE)]).hexdigest()
    assert world.reference.background == world.run.key(RunFile.BACKGROUND)
    assert world.reference.background_sha256 == hashlib.sha256(stored[world.run.key(RunFile.BACKGROUND)]).hexdigest()


def test_evaluating_again_writes_the_same_reference():
    world = TrainedRun().train(good_onnx())
    world.evaluate()
    kept = {
        key: world.artifacts.objects[key]
        for key in (world.run.key(RunFile.REFERENCE), world.run.key(RunFile.BACKGROUND))
    }
    world.clock.move(seconds=60)
    world.evaluate()
    assert {key: world.artifacts.objects[key] for key in kept} == kept


def test_an_evaluation_is_there_only_when_its_reference_is():
    world = TrainedRun().train(good_onnx())
    del world.artifacts.objects[world.run.key(RunFile.VALIDATION)]
    with pytest.raises(NotFoundError):
        world.evaluate()
    assert world.run.key(RunFile.EVALUATION) not in world.artifacts.objects


def test_the_background_is_a_draw_of_training_rows_without_their_outcomes():
    training = flights(2000, seed=5)
    world = TrainedRun().train(good_onnx(), training=training)
    world.evaluate()
    shown = Table.from_npz(world.artifacts.get(world.run.key(RunFile.BACKGROUND)))
    assert list(shown) == ["carrier", "wind", "hour"]
    assert len(shown) == BACKGROUND_ROWS
    assert len(np.unique(shown["wind"])) == BACKGROUND_ROWS
    rows = set(zip(*(training[name].tolist() for name in shown), strict=True))
    assert set(zip(*(shown[name].tolist() for name in shown), strict=True)) <= rows


@pytest.mark.parametrize(
    ("personal", "capture", "hidden"),
    [
        (["carrier", "wind", "name"], {}, ("carrier", "wind")),
        (["carrier", "wind"], {"keep": ["wind"]}, ("carrier",)),
        (["carrier"], {"drop": ["carrier"], "mask": ["wind"]}, ("carrier", "wind")),
        ([], {}, ()),
    ],
)
def test_no_value_that_captures_hide_is_in_the_reference(personal, capture, hidden):
    training = flights(2000, seed=5)
    training["carrier"][:30], training["wind"][:40] = "", np.nan
    world = TrainedRun().train(good_onnx(), training=training, personal=personal, spec=spec_of(capture=capture))
    world.evaluate()
    found = world.reference
    assert found.hidden == hidden
    profiled = zip(found.layout.features, found.profile.features, strict=True)
    columns = {layout.name: (layout, counts) for layout, counts in profiled}
    for name, missing in (("carrier", 30), ("wind", 40)):
        layout, counts = columns[name]
        assert bool(layout.categories or layout.edges) == (name not in hidden)
        assert counts[MISSING] == missing
        assert sum(counts) == 2000
    if "carrier" in hidden:
        assert columns["carrier"][1][OUTSIDE] == 1970
    if "wind" in hidden:
        assert columns["wind"][1][0] == 1960
    assert len(columns["hour"][0].edges) == 11
    shown = Table.from_npz(world.artifacts.get(world.run.key(RunFile.BACKGROUND)))
    assert set(shown) == {"carrier", "wind", "hour"} - set(hidden)


def test_the_reference_has_what_the_probabilities_come_to_on_the_holdout():
    holdout = flights()
    world = TrainedRun().train(good_onnx(), holdout=holdout)
    world.evaluate()
    scores = load(good_onnx()).score(CONTRACT.inputs(holdout)).astype(np.float64)
    chances = world.reference.recalibration.of(scores)
    sure = scores[:, 1] > np.median(scores[:, 1])
    for part in (sure, ~sure):
        assert chances[part, 1].mean() == pytest.approx(holdout[TARGET][part].mean(), abs=0.05)


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2"])
def test_a_regression_s_loss_is_learned_by_its_score_where_it_can_be(metric):
    contract = Contract("delay", "regression", CONTRACT.features)
    onnx = linear_onnx(contract, [10.0, 0.0], effects={"UA": 0.0, "AA": 50.0})
    holdout = flights()
    target = reported(onnx, contract, holdout) + np.random.default_rng(1).normal(size=ROWS)
    holdout = Table(dict(holdout.columns) | {TARGET: target})
    spec = spec_of(task="regression", metric=metric, candidates=[{"estimator": "sklearn.linear_model.Ridge"}])
    world = TrainedRun().train(onnx, holdout=holdout, spec=spec, classes="", reference=target[:, None])
    world.evaluate()
    found = world.reference
    learned = None if metric == "r2" else LossByScore.learn(metric, target, reported(onnx, contract, holdout))
    assert (found.loss_by_score is None) == (learned is None)
    if learned:
        assert found.loss_by_score.rows == learned.rows
        assert found.loss_by_score.mean == pytest.approx(learned.mean, rel=1e-5)
    assert (found.classes, found.layout.label, found.recalibration) == ((), None, None)
    assert sum(found.profile.target) == ROWS
    assert found.importances["carrier"] > found.importances["wind"] > found.importances["hour"] == 0
