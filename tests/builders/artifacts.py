"""Small models of every estimator, fitted on a table of mixed columns and turned into their ONNX files."""

import warnings
from typing import Any

import numpy as np

from tests.builders.specs import toy_document
from tidegate.domain.serving.contract import Contract
from tidegate.domain.training.contracts import serving_contract
from tidegate.kernel.table import TARGET, Table
from tidegate.ml.training import OnnxFitter
from tidegate.spec.estimators.registry import ESTIMATORS
from tidegate.spec.model import ModelSpec
from tidegate.spec.part import Task
from tidegate.spec.training import Candidate

FEATURES: list[dict[str, Any]] = [
    {"name": "size", "kind": "numeric", "missing": "allow"},
    {"name": "count", "kind": "integer", "missing": "allow"},
    {"name": "close", "kind": "numeric"},
    {"name": "flag", "kind": "boolean", "missing": "allow"},
    {"name": "colour", "kind": "categorical", "missing": "allow"},
    {"name": "shape", "kind": "categorical"},
]
CLASSES: dict[Task, list[Any]] = {
    Task.BINARY: [False, True],
    Task.MULTICLASS: ["high", "low", "middle"],
    Task.REGRESSION: [],
}
SMALL: dict[str, Any] = {"n_estimators": 8, "max_iter": 30, "hidden_layer_sizes": [8], "reg_param": 0.1}
FITTER = OnnxFitter()
COMPUTED: list[dict[str, Any]] = [
    {"name": "ratio", "expression": "size / (count + 1)"},
    {"name": "heavy", "expression": "size > 0.5 and colour == 'red'"},
    {"name": "usual", "expression": "group_rate(colour, count, min_rows=5)"},
    {"name": "surprise", "expression": "bucket(ratio, -1, 0, 1) * usual"},
]


def table(task: Task, rows: int, seed: int, *, strange: bool = False) -> Table:
    """Mixed columns with gaps; `close` holds neighbouring float32 numbers, `strange` adds categories never seen."""
    chance = np.random.default_rng(seed)
    size, count = chance.normal(size=rows), chance.integers(0, 9, rows).astype(float)
    close = 100 + chance.integers(0, 64, rows) * float(np.spacing(np.float32(100)))
    colour, shape = chance.choice(["", "blue", "red"], rows), chance.choice(["disc", "ring", "rod"], rows)
    signal = size + (colour == "red") + 0.2 * count + chance.normal(size=rows) * 0.3
    size[chance.random(rows) < 0.1] = np.nan
    count[chance.random(rows) < 0.1] = np.nan
    if strange:
        colour, shape = colour.astype("<U9"), shape.astype("<U9")
        colour[::7], shape[::5] = "infrared", "knot"
    target = {
        Task.BINARY: (signal > 1).astype(np.int64),
        Task.MULTICLASS: np.digitize(signal, [0.5, 1.8]),
        Task.REGRESSION: 10 * signal,
    }[task]
    flag = chance.integers(0, 2, rows).astype(float)
    columns = {"size": size, "count": count, "close": close, "flag": flag, "colour": colour, "shape": shape}
    return Table({**columns, TARGET: target})


def spec(task: Task, **changes: Any) -> ModelSpec:
    return ModelSpec.parse(toy_document(task, features=FEATURES, seed=11) | changes)


def contract(of: ModelSpec) -> Contract:
    learned = {"colour": ["blue", "red"], "shape": ["disc", "ring", "rod"]}
    return serving_contract(of, classes=CLASSES[of.task], positive=1, learned=learned)


def candidate(name: str, **parameters: Any) -> Candidate:
    """With few trees and rounds, since conversion is what is tried."""
    return Candidate(estimator=name, parameters=few(name) | parameters)


def few(name: str) -> dict[str, Any]:
    """Parameters that make an estimator small, and those that it requires."""
    facts = ESTIMATORS[name]
    found = {key: value for key, value in SMALL.items() if key in facts.parameter_names}
    if name.endswith("OrthogonalMatchingPursuitCV"):
        del found["max_iter"]  # there are fewer features
    linear = {"of": f"sklearn.linear_model.{'Ridge' if Task.REGRESSION in facts.tasks else 'LogisticRegression'}"}
    return found | {each.parameter: [linear, linear] if each.many else linear for each in facts.inner if each.required}


def export(
    task: Task, chosen: Candidate, rows: int = 240, *, holdout_rows: int = 200, **changes: Any
) -> tuple[bytes, Any, Table, Contract]:
    wanted = spec(task, **changes)
    holdout = table(task, holdout_rows, seed=2, strange=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few rows and rounds: some do not converge
        found = FITTER.export(wanted, contract(wanted), chosen, table(task, rows, seed=1), [holdout])
    return found.onnx, found.reference_scores[0], holdout, contract(wanted)
