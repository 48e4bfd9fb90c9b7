"""What an evaluation reports of a version besides its metric, on a run whose objects are real."""

from dataclasses import replace

import numpy as np
import pytest

from tests.builders.evaluation import CONTRACT, EFFECTS, ROWS, TrainedRun, flights, good_onnx, spec_of
from tidegate.domain.evaluation.sections import Threshold
from tidegate.domain.serving.contract import Contract, PredictionInterval
from tidegate.domain.serving.guard import fit
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import CLUSTER, ROW, TARGET, Table
from tidegate.kernel.typed import to_json
from tidegate.ml.scoring import load
from tidegate.testing.models import linear_onnx

SECTIONS = {"calibration", "confusion", "curves", "threshold", "importance", "robustness", "dependence"}
OTHERS = {"fallback", "rules", "scores", "reference"}


def measured(onnx=None, **options):
    world = TrainedRun().train(onnx or good_onnx(), **options)
    world.evaluate()
    return world.evaluation.sections


def test_holdout_scores_are_kept_by_row_with_those_of_the_champion():
    turned = replace(CONTRACT, classes=(True, False), positive=0)
    negated = {name: -effect for name, effect in EFFECTS.items()}
    world = TrainedRun().serve(linear_onnx(turned, [-1.0, -0.1], effects=negated, bias=1.5)).train(good_onnx())
    world.evaluate()
    kept = Table.from_npz(world.artifacts.get(world.run.key(RunFile.HOLDOUT_SCORES)))
    holdout = flights()
    assert kept[ROW].tolist() == holdout[ROW].tolist()
    assert kept["scores"].dtype == np.float32
    assert (kept["scores"] == load(good_onnx()).score(CONTRACT.inputs(holdout))).all()
    same = load(linear_onnx(CONTRACT, [1.0, 0.1], effects=EFFECTS, bias=-1.5)).score(CONTRACT.inputs(holdout))
    assert kept["champion_scores"] == pytest.approx(same, abs=1e-6)
    alone = TrainedRun().train(good_onnx())
    alone.evaluate()
    assert "champion_scores" not in Table.from_npz(alone.artifacts.get(alone.run.key(RunFile.HOLDOUT_SCORES)))


def test_a_binary_model_has_these_sections_and_no_others():
    found = measured()
    assert set(to_json(found)) == SECTIONS | OTHERS
    assert found.threshold == Threshold(0.5, "default")
    assert [each.feature for each in found.importance] == ["wind", "hour", "carrier"]
    assert found.importance[0].loss.low > 0.05
    assert [each.allowed for each in found.robustness.missing] == [False] * 3
    assert [each.feature for each in found.robustness.worst_case] == ["wind", "hour"]
    assert [each.feature for each in found.dependence] == ["wind", "hour", "carrier"]
    assert found.calibration.ece.value < 0.06


def knowing_carriers():
    carrier, *others = CONTRACT.features
    return replace(CONTRACT, features=(replace(carrier, categories=("AA", "UA")), *others))


def guarded_onnx(answer="model", share=0.01):
    """A version whose guard has seen no strong winds."""
    rows = flights(4000, seed=3)
    calm = rows.take(abs(rows["wind"]) < 1.2)
    contract = knowing_carriers()
    return good_onnx(replace(contract, guard=fit(contract, contract.inputs(calm), share=share, answer=answer)))


def test_a_guard_is_tried_on_the_holdout():
    holdout = flights(3000, seed=12)
    found = measured(guarded_onnx("fallback"), holdout=holdout).guard
    windy = abs(holdout["wind"]) > 1.2
    assert (found.answer, found.share, found.holdout_rows) == ("fallback", 0.01, 3000)
    assert 0.3 * windy.sum() < found.unusual_rows < 1.1 * windy.sum() + 0.01 * 3000
    assert found.unusual.value == pytest.approx(found.unusual_rows / 3000)
    assert found.features[0].feature == "wind"
    assert found.features[0].share > 0.9
    metric = found.metric
    assert metric.unusual.value > metric.usual.value > 0.6  # strong winds matter most
    assert metric.unusual_by_fallback.value < metric.unusual.low


def test_of_too_few_unusual_rows_no_metric_is_reported():
    rows = flights()
    contract = knowing_carriers()
    guard = fit(contract, contract.inputs(rows), share=0.01, answer="model")
    found = measured(good_onnx(replace(contract, guard=guard))).guard
    assert found.unusual_rows < 10
    assert (found.metric.unusual, found.metric.unusual_by_fallback) == (None, None)
    assert found.metric.usual.value > 0.7


def test_the_same_version_is_measured_the_same():
    assert measured() == measured()


def test_a_changed_sensitive_feature_and_a_column_that_is_none():
    found = {each.column: each for each in measured(spec=spec_of(sensitive=["carrier", "age"])).flips}
    assert found["carrier"].changed.low > 0.05
    assert "cannot be changed" in found["age"].problem


def test_what_captures_hide_is_not_shown_here():
    found = measured(personal=["wind"])
    assert [each.feature for each in found.dependence] == ["hour", "carrier"]
    assert [each.feature for each in found.robustness.worst_case] == ["hour"]
    assert found.importance[0].feature == "wind"


def test_a_threshold_is_reported_with_what_decisions_are_worth_at_it():
    contract = replace(CONTRACT, threshold=0.25)
    spec = spec_of(
        decision={"threshold": "value", "false_positive": 1, "false_negative": 3},
        value={"correct": 0, "wrong": 1, "currency": "EUR"},
    )
    found = measured(good_onnx(contract), spec=spec).threshold
    assert (found.value, found.chosen_by, found.worth.currency) == (0.25, "value", "EUR")
    holdout = flights()
    score = load(good_onnx()).score(CONTRACT.inputs(holdout))[:, 1]
    event = holdout[TARGET] == 1
    cost = ((score >= 0.25) & ~event).mean() + 3 * ((score < 0.25) & event).mean()
    assert found.worth.value_per_1000.value == pytest.approx(-1000 * cost)
    assert found.worth.at_default.value == pytest.approx(dict(found.worth.curve)[0.5])
    assert found.worth.value_per_1000.value > found.worth.at_default.value
    fixed = measured(good_onnx(contract), spec=spec_of(decision={"threshold": 0.25}))
    assert fixed.threshold == Threshold(0.25, "spec")


def test_confusion_is_counted_at_the_threshold():
    found = measured(good_onnx(replace(CONTRACT, threshold=0.25))).confusion
    holdout = flights()
    late, said = holdout[TARGET] == 1, load(good_onnx()).score(CONTRACT.inputs(holdout))[:, 1] >= 0.25
    assert found.classes == (False, True)
    assert found.counts == tuple(
        tuple(int((true & answer).sum()) for answer in (~said, said)) for true in (~late, late)
    )
    assert found.recall[1].value == pytest.approx(said[late].mean())
    assert found.precision[1].value == pytest.approx(late[said].mean())


def test_days_are_drawn_whole_for_every_interval():
    holdout = flights()
    day = Table(dict(holdout.columns) | {CLUSTER: np.arange(ROWS) // 30})
    spec = spec_of(time="date", gate={"resamples": 200, "resample_by": "day"})
    rows, days = (measured(holdout=each, spec=spec_of() if each is holdout else spec) for each in (holdout, day))
    assert rows.importance[0].loss.value == days.importance[0].loss.value
    assert rows.importance[0].loss.low != days.importance[0].loss.low
    assert rows.calibration.brier.low != days.calibration.brier.low


def regression(interval=None, features=CONTRACT.features):
    contract = Contract("delay", "regression", features, interval=interval)
    return linear_onnx(contract, [10.0, 0.0], effects={"UA": 0.0, "AA": 50.0})


@pytest.mark.parametrize("interval", [None, PredictionInterval(0.9, 1.645)])
def test_a_regression_has_residuals_and_the_coverage_of_its_interval(interval):
    holdout = flights(2000)
    exact = 10.0 * holdout["wind"] + np.where(holdout["carrier"] == "AA", 50.0, 0.0)
    holdout = Table(dict(holdout.columns) | {TARGET: exact + np.random.default_rng(1).normal(size=2000)})
    spec = spec_of(
        task="regression",
        metric="mae",
        candidates=[{"estimator": "sklearn.linear_model.Ridge"}],
        sensitive=["carrier"],
        value={"correct": 1, "tolerance": 5},
    )
    found = measured(regression(interval), holdout=holdout, spec=spec, classes="", reference=exact[:, None])
    assert set(to_json(found)) == OTHERS | {"residuals", "importance", "robustness", "dependence", "flips"}
    assert abs(found.residuals.by_prediction[0].mean) < 0.3
    assert found.flips[0].changed.value == 1
    if interval is None:
        assert found.residuals.interval is None
    else:
        shown = found.residuals.interval
        assert (shown.level, shown.width) == (0.9, 3.29)
        assert shown.coverage.low < 0.9 < shown.coverage.high


def test_what_the_spec_demands_of_them_becomes_checks_of_the_gate():
    gaps = replace(CONTRACT, features=(replace(CONTRACT.features[0], missing="allow"), *CONTRACT.features[1:]))
    demanding = {
        "calibration_error_at_most": 0.9,
        "robustness_loss_at_most": 0.00001,
        "governance": {"flips_at_most": 0.0001},
    }
    world = TrainedRun().train(good_onnx(gaps), spec=spec_of(sensitive=["carrier"], targets=demanding))
    assert not world.gate().accepted
    checks = {check["name"]: check["outcome"] for check in world.report["verdict"]["checks"]}
    assert [checks[name] for name in ("calibration", "robustness", "flips")] == ["pass", "fail", "fail"]
