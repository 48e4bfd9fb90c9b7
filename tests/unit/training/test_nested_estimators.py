"""Estimators inside estimators: what a spec spells becomes one ONNX file that scores as scikit-learn does."""

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml
from skl2onnx import to_onnx
from skl2onnx._supported_operators import sklearn_operator_name_map
from sklearn.isotonic import IsotonicRegression
from sklearn.utils import all_estimators

from tests.builders.artifacts import COMPUTED, export, few, spec
from tidegate.ml.frameworks.calibration import level_steps
from tidegate.ml.frameworks.framework import build, estimator_class
from tidegate.ml.graph import OPSETS
from tidegate.ml.scoring import load
from tidegate.spec.estimators import nested
from tidegate.spec.estimators.estimator import Inner, Why
from tidegate.spec.estimators.registry import CANDIDATES, ESTIMATORS, LEFT_OUT
from tidegate.spec.part import Task
from tidegate.spec.training import Candidate
from tidegate.steps.data.prepare import expand

PLACES = [(name, inner) for name, facts in CANDIDATES.items() for inner in facts.inner]
PAIRS = [(around, inner, name) for around, inner in PLACES for name in nested.fitting(CANDIDATES[around], inner)]
KINDS = ("classifier", "regressor")
CALIBRATED, VOTING = "sklearn.calibration.CalibratedClassifierCV", "sklearn.ensemble.VotingClassifier"
LINEAR = {True: "sklearn.linear_model.Ridge", False: "sklearn.linear_model.LogisticRegression"}


def inner_estimator(name: str) -> dict[str, Any]:
    """An estimator as a spec spells it, with few trees and rounds."""
    smaller = {"n_estimators": 4, "max_iter": 20, "nu": 0.2, "max_subpopulation": 50, "max_trials": 5, "n_alphas": 5}
    taken = set(ESTIMATORS[name].parameter_names) - ({"max_iter"} if name.endswith("PursuitCV") else set())
    return {"of": name, "parameters": few(name) | {key: value for key, value in smaller.items() if key in taken}}


def holding(around: str, inner: Inner, name: str) -> dict[str, Any]:
    """The parameters that put an estimator into a place, beside what the one around it requires."""
    one = inner_estimator(name)
    linear = inner_estimator(LINEAR[Task.REGRESSION in ESTIMATORS[around].tasks])
    given: dict[str, Any] = {"estimators": [linear, linear]} if inner.parameter == "final_estimator" else {}
    if around.endswith("RANSACRegressor"):
        given |= {"min_samples": 0.5, "max_trials": 5}
    return given | {inner.parameter: [one, linear] if inner.many else one}


def difference(task: Task, chosen: Candidate, rows: int = 160, **changes: Any) -> float:
    """The largest difference of the artifact's scores to scikit-learn's, as the gate measures it."""
    data, reference, holdout, rules = export(task, chosen, rows, **changes)
    scores = load(data).score(rules.inputs(holdout))
    assert scores.shape == reference.shape
    return float((np.abs(scores - reference) / np.maximum(1, np.abs(reference))).max())


@pytest.mark.simulation
@pytest.mark.parametrize(("around", "inner", "name"), PAIRS, ids=lambda each: getattr(each, "parameter", each))
def test_every_estimator_converts_in_every_place_it_may_stand_in(around: str, inner: Inner, name: str) -> None:
    facts = CANDIDATES[around]
    three = {"n_estimators": 3} if "n_estimators" in facts.parameter_names else {}
    chosen = Candidate(estimator=around, parameters=three | holding(around, inner, name))
    assert difference(facts.tasks[-1], chosen) <= 1e-4


FOREST = {"of": "sklearn.ensemble.RandomForestClassifier", "parameters": {"n_estimators": 5}}
BOOSTED = {"of": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_iter": 10}}
VECTORS = {"of": "sklearn.svm.SVC", "parameters": {"C": 2.0}}
LOGISTIC = {"of": "sklearn.linear_model.LogisticRegression"}
DEEP = {
    "estimators": [
        {"of": CALIBRATED, "parameters": {"method": "isotonic", "cv": 3, "estimator": VECTORS}},
        {"of": "sklearn.ensemble.BaggingClassifier", "parameters": {"n_estimators": 3, "estimator": BOOSTED}},
        LOGISTIC,
    ],
    "final_estimator": {"of": CALIBRATED, "parameters": {"cv": 2, "estimator": LOGISTIC}},
    "cv": 3,
}


@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS])
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("inner", [None, VECTORS, BOOSTED, FOREST], ids=["default", "vectors", "boosted", "forest"])
def test_a_calibrated_classifier_interpolates_as_scikit_learn_does(task: Task, method: str, inner: Any) -> None:
    parameters = {"method": method, "cv": 3, "ensemble": inner is not VECTORS, "estimator": inner}
    assert difference(task, Candidate(estimator=CALIBRATED, parameters=parameters), rows=1_200) <= 1e-4


@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS])
def test_estimators_may_stand_inside_each_other_to_any_depth(task: Task) -> None:
    chosen = Candidate(estimator="sklearn.ensemble.StackingClassifier", parameters=DEEP)
    assert difference(task, chosen, rows=400) <= 1e-4


def documented() -> list[Candidate]:
    """The candidates that docs/model-spec.md shows."""
    page = (Path(__file__).resolve().parents[3] / "docs/model-spec.md").read_text("utf-8")
    section = page.partition("### Estimators inside estimators")[2]
    block = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert block
    wanted = spec(Task.BINARY, candidates=yaml.safe_load(block[1])["candidates"])
    return [
        Candidate(estimator=each.estimator, parameters=each.parameters, encode=each.encode) for each in expand(wanted)
    ]


def test_the_estimators_that_the_page_shows_inside_others_train_and_convert() -> None:
    found = documented()
    assert {each.estimator for each in found} == {CALIBRATED, "sklearn.ensemble.StackingClassifier"}
    for each in found:
        assert difference(Task.BINARY, each, rows=600) <= 1e-4


def test_the_same_spec_gives_the_same_bytes_and_another_seed_others_though_chance_is_deep_inside() -> None:
    chosen = Candidate(estimator=CALIBRATED, parameters={"cv": 2, "estimator": FOREST})
    first = export(Task.BINARY, chosen)[0]
    assert export(Task.BINARY, chosen)[0] == first
    assert export(Task.BINARY, chosen, seed=12)[0] != first


def test_a_seed_that_stands_inside_is_kept() -> None:
    own = FOREST | {"parameters": {"n_estimators": 5, "random_state": 4}}
    model = build(CALIBRATED, {"estimator": own}, seed=11)
    assert model.estimator.random_state == 4
    assert build(CALIBRATED, {"estimator": FOREST}, seed=11).estimator.random_state == 11


def test_columns_are_prepared_for_what_stands_inside() -> None:
    def facts(*inner: dict[str, Any]) -> tuple[str, bool, bool]:
        chosen = Candidate(estimator=VOTING, parameters={"estimators": list(inner)}).facts
        return chosen.encoding, chosen.scaled, chosen.keeps_gaps

    assert facts(BOOSTED) == ("ordinal", False, True)
    assert facts(BOOSTED, FOREST) == ("ordinal", False, False)
    assert facts(FOREST, LOGISTIC) == ("onehot", True, False)
    boosting = Candidate(estimator="sklearn.ensemble.AdaBoostClassifier", parameters={"estimator": BOOSTED}).facts
    assert not boosting.keeps_gaps


def test_a_steep_step_of_a_calibration_is_stretched_and_all_else_stays() -> None:
    scores = np.array([-2.0, -1.0, -1.0 + 1e-7, 1.0, 1.5, 1.5 + 1e-6, 2.0])
    fitted = IsotonicRegression(out_of_bounds="clip").fit(scores, [0.0, 0.1, 0.4, 0.4, 0.4, 0.9, 0.9])
    before, tried = fitted.predict(np.linspace(-3, 3, 601)), np.linspace(-3, 3, 601)
    level_steps(fitted)
    after = fitted.predict(tried)
    slopes = np.diff(fitted.y_thresholds_) / np.diff(fitted.X_thresholds_)
    assert slopes.max() <= 32 / 2 * (1 + 1e-6)
    assert (np.diff(after) >= 0).all()
    moved = np.abs(after - before) > 1e-6
    assert 0 < moved.sum() <= 6  # within .5 / 16 after a step
    assert not moved[tried < -1].any()


@pytest.mark.parametrize("odd", [2.0, 200.0, 2e6])
def test_the_score_of_one_odd_row_does_not_flatten_a_calibration(odd: float) -> None:
    scores = np.append(np.linspace(-2, 2, 41), [-odd, odd])
    fitted = IsotonicRegression(out_of_bounds="clip").fit(scores, 1 / (1 + np.exp(-3 * np.clip(scores, -2, 2))))
    tried = np.linspace(-2, 2, 401)
    before = fitted.predict(tried)
    level_steps(fitted)
    assert np.abs(fitted.predict(tried) - before).max() < 1e-6


def test_every_classifier_and_regressor_of_scikit_learn_is_offered_or_left_out_with_a_reason() -> None:
    every = {
        f"{each.__module__.split('._')[0]}.{name}" for kind in KINDS for name, each in all_estimators(type_filter=kind)
    }
    assert not ESTIMATORS.keys() & LEFT_OUT.keys()
    assert every == {*ESTIMATORS, *LEFT_OUT}


@pytest.mark.parametrize("name", [name for name, each in LEFT_OUT.items() if each.why is Why.CONVERTER])
def test_what_is_said_not_to_convert_is_not_in_the_table_of_skl2onnx(name: str) -> None:
    assert estimator_class(name) not in sklearn_operator_name_map


DIFFERENT = {
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis": Task.BINARY,
    "sklearn.linear_model.Lars": Task.REGRESSION,
    "sklearn.neighbors.KNeighborsClassifier": Task.BINARY,
    "sklearn.neighbors.KNeighborsRegressor": Task.REGRESSION,
}


def test_what_is_said_to_convert_and_to_differ_does_both(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(DIFFERENT) == [name for name, each in LEFT_OUT.items() if each.why is Why.DIFFERS]
    for name, task in DIFFERENT.items():
        like = "sklearn.linear_model.LinearRegression" if task is Task.REGRESSION else LINEAR[False]
        monkeypatch.setitem(ESTIMATORS, name, replace(ESTIMATORS[like], name=name, parameters="", sparse=False))
        chosen = Candidate.model_construct(estimator=name, parameters={}, encode="auto")
        found = [
            difference(task, chosen, rows=rows, holdout_rows=1_000, computed=each)
            for rows, each in ((240, COMPUTED), (3_000, []))
        ]
        assert max(found) > 1e-4, name


def left_out(why: Why) -> list[str]:
    return [name for name, each in LEFT_OUT.items() if each.why is why]


def some_rows(rows: int = 60) -> tuple[Any, Any]:
    """Standardised numbers, and which of the first are positive."""
    numbers = np.random.default_rng(1).normal(size=(rows, 2)).astype(np.float32)
    return numbers, (numbers[:, 0] > 0).astype(np.int64)


@pytest.mark.parametrize("name", left_out(Why.DATA))
def test_what_is_said_not_to_fit_does_not_or_has_no_answer_far_from_all_rows(name: str) -> None:
    numbers, target = some_rows()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = estimator_class(name)().fit(numbers, target.astype(float) if "Regress" in name else target)
            answer = model.predict(np.full((1, 2), 50.0))
        except ValueError:
            return
    assert np.isnan(answer).all()


@pytest.mark.parametrize("name", left_out(Why.DECIDES))
def test_what_is_said_only_to_decide_has_no_probabilities_and_no_scores_in_onnx(name: str) -> None:
    numbers, target = some_rows()
    model = estimator_class(name)(build(LINEAR[False], {}, seed=1)).fit(numbers, target)
    assert not hasattr(model, "predict_proba")
    with pytest.raises(NameError, match="raw_scores"):
        to_onnx(model, numbers[:1], options={id(model): {"raw_scores": True}}, target_opset=OPSETS)


@pytest.mark.parametrize("name", left_out(Why.OPERATOR))
def test_what_is_said_to_lack_an_operator_cannot_be_loaded(name: str) -> None:
    numbers, target = some_rows()
    graph = to_onnx(estimator_class(name)().fit(numbers, target), numbers[:1], target_opset=OPSETS)
    with pytest.raises(Exception, match="not a registered function/op"):
        onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    with pytest.raises(NotImplementedError):
        to_onnx(estimator_class(name)().fit(numbers, np.arange(60) % 3), numbers[:1], target_opset=OPSETS)


@pytest.mark.parametrize("name", left_out(Why.SIZE))
def test_what_is_said_to_hold_every_row_grows_with_them(name: str) -> None:
    sizes = []
    for rows in (100, 200):
        numbers, target = some_rows(rows)
        fitted = estimator_class(name)(optimizer=None).fit(numbers, target)
        graph = to_onnx(fitted, numbers[:1], target_opset=OPSETS)
        sizes.append(len(graph.SerializeToString()))
    assert sizes[1] - sizes[0] >= 100 * 3 * 4  # two numbers and a weight for each row


@pytest.mark.parametrize(("name", "power"), [("PoissonRegressor", 1), ("GammaRegressor", 2)])
def test_what_is_said_to_be_done_by_another_is(name: str, power: int) -> None:
    numbers, _ = some_rows()
    target = np.exp(numbers[:, 0])
    one = estimator_class(f"sklearn.linear_model.{name}")().fit(numbers, target)
    other = build("sklearn.linear_model.TweedieRegressor", {"power": power}, seed=1).fit(numbers, target)
    np.testing.assert_allclose(one.predict(numbers), other.predict(numbers), rtol=1e-6)
