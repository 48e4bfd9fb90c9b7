"""Every estimator a spec may name becomes an ONNX file that scores as scikit-learn does, byte for byte the same."""

import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.utils.validation import has_fit_parameter

from tests.builders.artifacts import CLASSES, COMPUTED, FEATURES, FITTER, candidate, contract, export, few, spec, table
from tidegate.domain.serving.contract import CONTRACT_KEY, Contract
from tidegate.kernel.errors import TrainingFailedError
from tidegate.kernel.metrics.registry import find
from tidegate.kernel.table import TARGET, Table
from tidegate.ml.frameworks.framework import build
from tidegate.ml.scoring import load
from tidegate.spec.estimators.estimator import Ability, Probabilities
from tidegate.spec.estimators.registry import CANDIDATES, ESTIMATORS
from tidegate.spec.part import Task
from tidegate.spec.training import Candidate

EVERY = [(task, name) for name, facts in CANDIDATES.items() for task in facts.tasks]


@cache
def exported(task: Task, name: str) -> tuple[bytes, Any, Table, Contract]:
    """An estimator as it is most often tried."""
    return export(task, candidate(name))


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_the_artifact_scores_as_scikit_learn_does(task: Task, name: str) -> None:
    data, reference, holdout, rules = exported(task, name)
    scorer = load(data)
    scores = scorer.score(rules.inputs(holdout))
    assert scores.dtype == np.float32
    assert scores.shape == (200, max(1, len(CLASSES[task])))
    difference = np.abs(scores - reference) / np.maximum(1, np.abs(reference))
    assert difference.max() <= 1e-4
    assert scorer.contract == rules


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_facts_of_an_estimator_are_those_of_its_library(name: str) -> None:
    facts = ESTIMATORS[name]
    model = build(name, few(name), seed=1)
    assert facts.parameters == " ".join(sorted(model.get_params(deep=False))), "take over what the library has"
    if Task.BINARY in facts.tasks:
        assert (Ability.WEIGHTS not in facts.lacks) == has_fit_parameter(model, "sample_weight")
    tags = model.__sklearn_tags__()
    assert facts.name.startswith(f"{facts.framework.name}.")
    assert facts.tasks == ((Task.REGRESSION,) if tags.estimator_type == "regressor" else (Task.BINARY, Task.MULTICLASS))
    assert (facts.probabilities is not Probabilities.NONE) == hasattr(model, "predict_proba")
    assert not facts.keeps_gaps or tags.input_tags.allow_nan
    assert not facts.sparse or tags.input_tags.sparse
    assert facts.words.endswith(".")


@pytest.mark.parametrize("name", [name for name, facts in CANDIDATES.items() if facts.seed])
def test_chance_comes_from_the_seed_of_the_spec_alone(name: str) -> None:
    task = ESTIMATORS[name].tasks[0]
    chosen = candidate(name)
    assert export(task, chosen)[0] == exported(task, name)[0]
    model = build(name, chosen.parameters, seed=12)
    assert model.get_params(deep=False)[ESTIMATORS[name].seed] == 12


@pytest.mark.parametrize("encode", ["onehot", "ordinal"])
@pytest.mark.parametrize("name", ["sklearn.linear_model.LogisticRegression", "sklearn.tree.DecisionTreeClassifier"])
def test_either_encoding_can_be_asked_for(name: str, encode: Any) -> None:
    chosen = Candidate(estimator=name, encode=encode)
    data, reference, holdout, rules = export(Task.BINARY, chosen)
    assert np.abs(load(data).score(rules.inputs(holdout)) - reference).max() <= 1e-4


@pytest.mark.parametrize(
    ("kinds", "inputs"),
    [({"numeric", "integer", "boolean"}, ["numeric"]), ({"categorical"}, ["categorical"])],
)
def test_an_input_without_columns_is_left_out(kinds: set[str], inputs: list[str]) -> None:
    features = [feature for feature in FEATURES if feature["kind"] in kinds]
    chosen = candidate("sklearn.ensemble.HistGradientBoostingClassifier")
    data, reference, holdout, rules = export(Task.BINARY, chosen, features=features)
    graph = onnx.load_from_string(data).graph
    assert [value.name for value in graph.input] == inputs
    assert [value.name for value in graph.output] == ["scores"]
    assert np.abs(load(data).score(rules.inputs(holdout)) - reference).max() <= 1e-4


def test_the_contract_travels_inside_and_nothing_else_is_left_of_the_label() -> None:
    data, _, _, rules = exported(Task.BINARY, "sklearn.linear_model.LogisticRegression")
    model = onnx.load_from_string(data)
    assert [entry.key for entry in model.metadata_props] == [CONTRACT_KEY]
    assert "ZipMap" not in {node.op_type for node in model.graph.node}
    made = {name for node in model.graph.node for name in node.output}
    used = {name for node in model.graph.node for name in node.input} | {"scores"}
    assert all(used & set(node.output) for node in model.graph.node)
    assert {value.name for value in model.graph.initializer} <= used
    assert "scores" in made
    onnx.checker.check_model(model)
    assert load(data).contract == rules


def test_neighbouring_float32_numbers_fall_on_the_same_side_of_a_threshold() -> None:
    features = [feature for feature in FEATURES if feature["name"] in {"close", "count"}]
    wanted = spec(Task.REGRESSION, features=features)
    rows = table(Task.REGRESSION, 2_000, seed=5)
    near = Table({**rows.columns, TARGET: (rows["close"] - 100) * 1e6})
    for name in ("tree.DecisionTreeRegressor", "ensemble.HistGradientBoostingRegressor", "ensemble.BaggingRegressor"):
        chosen = candidate(f"sklearn.{name}")
        found = FITTER.export(wanted, contract(wanted), chosen, near, [near])
        scores = load(found.onnx).score(contract(wanted).inputs(near))
        assert np.abs(scores - found.reference_scores[0]).max() <= 1e-4 * np.abs(scores).max()


DIGESTED = (
    "ensemble.HistGradientBoostingClassifier",
    "ensemble.RandomForestClassifier",
    "linear_model.LogisticRegression",
    "neural_network.MLPClassifier",
)


def digests() -> list[str]:
    """SHA-256 of some artifacts; called in this process and in others."""
    artifacts = [export(Task.BINARY, candidate(f"sklearn.{name}"))[0] for name in DIGESTED]
    artifacts.append(export(Task.BINARY, candidate(f"sklearn.{DIGESTED[0]}"), computed=COMPUTED)[0])
    return [hashlib.sha256(data).hexdigest() for data in artifacts]


def test_the_same_spec_data_and_seed_give_the_same_bytes_in_every_process() -> None:
    root = Path(__file__).resolve().parents[3]
    environment = os.environ | {
        "PYTHONHASHSEED": "12345",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    call = "from tests.unit.training.test_training import digests; print(*digests())"
    other = subprocess.run(
        [sys.executable, "-c", call], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.split() == digests()


def test_another_seed_gives_another_forest() -> None:
    name = "sklearn.ensemble.RandomForestClassifier"
    assert exported(Task.BINARY, name)[0] != export(Task.BINARY, candidate(name), seed=12)[0]


def test_a_random_state_of_the_candidate_is_kept() -> None:
    name = "sklearn.ensemble.RandomForestClassifier"
    mine = export(Task.BINARY, candidate(name, random_state=4))[0]
    assert mine == export(Task.BINARY, candidate(name, random_state=4), seed=12)[0]
    assert mine != exported(Task.BINARY, name)[0]


def test_unknown_parameters_are_named_with_those_that_exist() -> None:
    chosen = Candidate(estimator="sklearn.tree.DecisionTreeClassifier", parameters={"max_dept": 3, "maximum": 1})
    with pytest.raises(TrainingFailedError) as caught:
        export(Task.BINARY, chosen)
    shown = caught.value.message
    assert "DecisionTreeClassifier(max_dept=3, maximum=1) has no parameter max_dept, maximum" in shown
    assert "max_depth" in shown


def test_a_value_that_the_parameter_cannot_have_is_reported() -> None:
    chosen = Candidate(estimator="sklearn.tree.DecisionTreeClassifier", parameters={"max_depth": "deep"})
    with pytest.raises(TrainingFailedError, match=r"max_depth='deep'.*could not be fitted.*'max_depth' parameter"):
        export(Task.BINARY, chosen)


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), ModuleNotFoundError("No module named 'x'")])
def test_a_fault_of_the_machine_is_not_put_down_to_the_candidate(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr("sklearn.tree.DecisionTreeClassifier.fit", fit)
    with pytest.raises(type(fault)):
        export(Task.BINARY, Candidate(estimator="sklearn.tree.DecisionTreeClassifier"))


def test_scores_that_onnx_cannot_hold_are_refused() -> None:
    wanted, chosen = spec(Task.REGRESSION), candidate("sklearn.linear_model.Ridge")
    rows = table(Task.REGRESSION, 100, seed=1)
    huge = Table({**rows.columns, TARGET: rows[TARGET] * 1e60})
    with pytest.raises(TrainingFailedError, match="exceed the range of ONNX"):
        FITTER.export(wanted, contract(wanted), chosen, huge, [huge])


def test_validation_scores_are_those_of_a_model_that_was_fitted_on_the_other_rows() -> None:
    wanted = spec(Task.BINARY)
    chosen = candidate("sklearn.linear_model.LogisticRegression")
    fit, validation = table(Task.BINARY, 600, seed=1), table(Task.BINARY, 400, seed=2)

    def value(trained: Table) -> float:
        scores = FITTER.validation_scores(wanted, contract(wanted), chosen, trained, validation)
        return find("roc_auc").value(validation[TARGET], scores)

    assert 0.85 < value(fit) < 1
    shuffled = Table({**fit.columns, TARGET: np.random.default_rng(0).permutation(fit[TARGET])})
    assert value(shuffled) < value(fit) - 0.2


def test_a_class_that_the_rows_lack_is_a_failure_with_a_next_step() -> None:
    wanted = spec(Task.MULTICLASS)
    rows = table(Task.MULTICLASS, 300, seed=1)
    with pytest.raises(TrainingFailedError, match="2 of 3 classes"):
        FITTER.validation_scores(
            wanted, contract(wanted), candidate("sklearn.naive_bayes.GaussianNB"), rows.take(rows[TARGET] < 2), rows
        )


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, name in EVERY if task is not Task.MULTICLASS])
def test_the_artifact_computes_what_the_estimator_was_fitted_on(task: Task, name: str) -> None:
    data, reference, holdout, rules = export(task, candidate(name), computed=COMPUTED)
    scorer = load(data)
    scores = scorer.score(rules.inputs(holdout))
    assert (np.abs(scores - reference) / np.maximum(1, np.abs(reference))).max() <= 1e-4
    assert [each.expression for each in scorer.contract.computed] == [each["expression"] for each in COMPUTED]
    assert scorer.contract.computed[2].rates[0].groups


def test_computed_features_reach_the_estimator() -> None:
    name = "sklearn.linear_model.LinearRegression"
    rows = table(Task.REGRESSION, 400, seed=3)
    answer = np.where(np.isnan(rows["size"] * rows["count"]), 0, rows["size"] * rows["count"])
    rows = Table({**rows.columns, TARGET: answer})
    plain, product = spec(Task.REGRESSION), [{"name": "product", "expression": "size * count"}]
    wanted = spec(Task.REGRESSION, computed=product)
    losses = [
        np.abs(FITTER.export(each, contract(each), candidate(name), rows, [rows]).reference_scores[0][:, 0] - answer)
        for each in (plain, wanted)
    ]
    assert np.median(losses[1]) < 0.1 * np.median(losses[0])


@pytest.mark.parametrize("kept", [(), ("size",), ("colour",), ("size", "shape")])
def test_a_feature_that_the_estimator_is_not_given_stays_an_input(kept: tuple[str, ...]) -> None:
    features = [each | {"estimator": each["name"] in kept} for each in FEATURES]
    chosen = candidate("sklearn.ensemble.HistGradientBoostingClassifier")
    data, reference, holdout, rules = export(Task.BINARY, chosen, features=features, computed=COMPUTED)
    graph = onnx.load_from_string(data).graph
    assert [value.name for value in graph.input] == ["numeric", "categorical"]
    scores = load(data).score(rules.inputs(holdout))
    assert np.abs(scores - reference).max() <= 1e-4
    changed = Table({**holdout.columns, "close": holdout["close"] + 1, "flag": 1 - holdout["flag"]})
    np.testing.assert_array_equal(load(data).score(rules.inputs(changed)), scores)


def test_a_model_may_stand_on_computed_features_of_texts_alone() -> None:
    features = [each | {"estimator": False} for each in FEATURES if each["kind"] == "categorical"]
    computed = [{"name": "usual", "expression": "group_rate(colour, shape, min_rows=5)"}]
    chosen = candidate("sklearn.linear_model.LogisticRegression")
    data, reference, holdout, rules = export(Task.BINARY, chosen, features=features, computed=computed)
    assert [value.name for value in onnx.load_from_string(data).graph.input] == ["categorical"]
    assert np.abs(load(data).score(rules.inputs(holdout)) - reference).max() <= 1e-4
    assert len(np.unique(reference)) > 2


def test_group_rates_are_learned_on_the_rows_that_are_fitted_on_alone() -> None:
    wanted = spec(Task.BINARY, computed=[{"name": "usual", "expression": "group_rate(colour, min_rows=1)"}])
    rows, holdout = table(Task.BINARY, 300, seed=1), table(Task.BINARY, 200, seed=2)
    chosen = candidate("sklearn.linear_model.LogisticRegression")
    first = FITTER.export(wanted, contract(wanted), chosen, rows, [holdout]).onnx
    other = Table({**holdout.columns, TARGET: 1 - holdout[TARGET]})
    assert FITTER.export(wanted, contract(wanted), chosen, rows, [other]).onnx == first
    (rates,) = load(first).contract.computed[0].rates
    red = rows[TARGET][rows["colour"] == "red"].mean()
    assert dict(rates.groups)[("red",)] == np.float32(red)
    scores = FITTER.validation_scores(wanted, contract(wanted), chosen, rows, holdout)
    np.testing.assert_array_equal(FITTER.validation_scores(wanted, contract(wanted), chosen, rows, other), scores)
