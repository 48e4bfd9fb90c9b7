"""Candidates to fitted scikit-learn pipelines, and those to ONNX.

The pipeline sees what serving will see: numbers rounded to float32, "" for a missing text, and the computed features of
`tidegate.domain.serving.computed`, which the graph computes too, in front of the estimator. It is exported with the
inputs `numeric` float32 [rows, k], `categorical` text [rows, m] and `times` int64 [rows, t] (one that has no columns is
left out), the output `scores` float32 [rows, classes] (or [rows, 1]), and the contract in its metadata.

The same spec, data and seed give the same bytes, whatever the machine's number of cores: every estimator that takes a
random_state gets the spec's seed, sums are made by one thread (the order of additions changes the last bits), and
nothing in the graph is named by chance. Only `n_jobs`, which splits work without changing it, uses more cores; so does
the search, one function for each candidate.

How features are encoded, by estimator:

    trees and their ensembles   numbers as they are, gaps by the median (histogram boosting keeps them);
                                categories by position, an unseen one as -1
    Gaussian naive Bayes        numbers standardised, categories by position: the variance of a one-hot column can be
                                all but zero, and then float32 cannot follow
    everything else             numbers standardised, gaps by the median; categories one-hot, an unseen one all zero
"""

import importlib
import json
import platform
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from tidegate.domain.serving import computed
from tidegate.domain.serving.contract import (
    CATEGORICAL_INPUT,
    CONTRACT_KEY,
    NUMERIC_INPUT,
    SCORES_OUTPUT,
    TIMES_INPUT,
    Contract,
    FeatureContract,
    Inputs,
)
from tidegate.kernel.errors import TidegateError, TrainingFailedError
from tidegate.kernel.table import TARGET, Column, Table
from tidegate.ports.training import ExportedModel
from tidegate.spec.model import ModelSpec
from tidegate.spec.training import Candidate

if TYPE_CHECKING:
    import onnx

_TREES = ("Tree", "Forest", "Boost", "Bagging")  # AdaBoost and bagging grow trees unless told otherwise
_BY_POSITION = (*_TREES, "GaussianNB")
_KEEPS_GAPS = ("HistGradientBoosting",)
# One-hot columns stay sparse for those that bear it; the others are given dense columns.
_SPARSE = ("LogisticRegression", "LogisticRegressionCV", "SGDRegressor", "LinearSVR", "MLPClassifier", "MLPRegressor")
_MISSING = ""


class SklearnFitter:
    """ports.Fitter."""

    def environment(self) -> dict[str, Any]:
        """See ports.Fitter."""
        loaded = {
            " ".join(str(found.get(name) or "") for name in ("internal_api", "version", "architecture")).strip()
            for found in threadpool_info()
            if found["user_api"] == "blas"
        }
        return {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "libc": " ".join(platform.libc_ver()).strip(),
            "blas": ", ".join(sorted(loaded)),
            "packages": _packages(),
        }

    def validation_scores(
        self, spec: ModelSpec, contract: Contract, candidate: Candidate, fit: Table, validation: Table
    ) -> Column:
        """See ports.Fitter."""
        pipeline, contract = _fit(spec, contract, candidate, fit)
        return _scores(pipeline, contract, validation, candidate)

    def export(
        self, spec: ModelSpec, contract: Contract, candidate: Candidate, train: Table, score: Sequence[Table]
    ) -> ExportedModel:
        """See ports.Fitter."""
        pipeline, contract = _fit(spec, contract, candidate, train)
        scores = tuple(_scores(pipeline, contract, table, candidate) for table in score)
        with _blamed_on(candidate, "could not be exported to ONNX"):
            return ExportedModel(_to_onnx(pipeline, contract), scores)


def _packages() -> dict[str, str]:
    """Of two packages of one name the one that is imported: it comes first on the path."""
    found: dict[str, str] = {}
    for each in distributions():
        found.setdefault(each.name.lower(), each.version)
    return found


def check_parameters(candidate: Candidate) -> None:
    """Refuse parameters that the estimator does not have.

    Raises:
        TrainingFailedError: names the candidate, the parameters and the ones it does have.
    """
    allowed = sorted(_estimator_class(candidate)().get_params(deep=False))
    unknown = sorted(set(candidate.parameters) - set(allowed))
    if unknown:
        raise TrainingFailedError(
            f"{_title(candidate)} has no parameter {', '.join(unknown)} (allowed: {', '.join(allowed)})",
            next_step="correct the candidate in the spec and apply it again",
        )


def build_pipeline(spec: ModelSpec, contract: Contract, candidate: Candidate) -> Pipeline:
    """The unfitted pipeline over a frame as `_frame` makes it: numbers, then texts."""
    check_parameters(candidate)
    cls = _estimator_class(candidate)
    estimator = cls(**candidate.parameters)
    if "random_state" in estimator.get_params(deep=False) and estimator.random_state is None:
        estimator.set_params(random_state=spec.seed)
    trees = any(mark in cls.__name__ for mark in _TREES)
    by_position = any(mark in cls.__name__ for mark in _BY_POSITION)
    ordinal = candidate.encode == "ordinal" or (candidate.encode == "auto" and by_position)
    numbers, texts = _numbers(contract), _texts(contract)
    numeric = list(range(numbers))
    categorical = list(range(numbers, numbers + len(texts)))
    branches: list[tuple[str, Any, list[int]]] = []
    if numeric:
        steps: list[tuple[str, Any]] = []
        if not cls.__name__.startswith(_KEEPS_GAPS):
            steps.append(("gaps", SimpleImputer(strategy="median", keep_empty_features=True)))
        if not trees:
            steps.append(("scale", StandardScaler()))
        branches.append((NUMERIC_INPUT, Pipeline(steps) if steps else "passthrough", numeric))
    if categorical:
        known = [_known(feature) for feature in texts]
        branches.append((CATEGORICAL_INPUT, _ordinal(known) if ordinal else _one_hot(known), categorical))
    sparse = 0.3 if cls.__name__ in _SPARSE else 0.0
    return Pipeline([("features", ColumnTransformer(branches, sparse_threshold=sparse)), ("model", estimator)])


def _ordinal(known: list[list[str]]) -> OrdinalEncoder:
    return OrdinalEncoder(categories=known, handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float64)


def _one_hot(known: list[list[str]]) -> OneHotEncoder:
    return OneHotEncoder(categories=known, handle_unknown="ignore", dtype=np.float64)


def _known(feature: FeatureContract) -> list[str]:
    """Categories in one fixed order; where gaps are allowed, being missing is one of them."""
    categories = set(feature.categories or ())
    return sorted(categories | {_MISSING} if feature.missing == "allow" else categories or {_MISSING})


def _estimator_class(candidate: Candidate) -> Callable[..., Any]:
    module, _, name = candidate.estimator.rpartition(".")
    cls: Callable[..., Any] = getattr(importlib.import_module(module), name)  # the spec allows listed names only
    return cls


def _numbers(contract: Contract) -> int:
    """How many numbers the estimator is given: of features, then the computed ones."""
    return sum(feature.estimator for feature in contract.numeric) + len(contract.computed)


def _texts(contract: Contract) -> list[FeatureContract]:
    return [feature for feature in contract.categorical if feature.estimator]


def _frame(contract: Contract, inputs: Inputs, matrix: computed.Matrix) -> pd.DataFrame:
    """What the estimator is given; `matrix` holds the computed features [rows, computed features]."""
    given = [place for place, feature in enumerate(contract.numeric) if feature.estimator]
    # Rounded as the served model's input is, then exact: both sides start from the same numbers.
    numbers = np.concatenate([inputs.numeric[:, given], matrix], axis=1).astype(np.float64)
    columns: dict[str, Any] = {f"n{i}": numbers[:, i] for i in range(numbers.shape[1])}
    for place, feature in enumerate(contract.categorical):
        if feature.estimator:
            columns[f"c{place}"] = pd.Series(inputs.categorical[:, place], dtype=object)
    return pd.DataFrame(columns)


def _fit(spec: ModelSpec, contract: Contract, candidate: Candidate, table: Table) -> tuple[Pipeline, Contract]:
    """The fitted pipeline, and the contract with what the computed features learned of these rows."""
    contract, matrix = computed.learned(contract, table, seed=spec.seed)
    pipeline = build_pipeline(spec, contract, candidate)
    features, model = pipeline["features"], pipeline["model"]
    frame = _frame(contract, contract.inputs(table), matrix)
    with _blamed_on(candidate, "could not be fitted"), threadpool_limits(1):
        features.fit(frame)
        if _numbers(contract):
            _snap_numbers(features.named_transformers_[NUMERIC_INPUT])
        model.fit(features.transform(frame), table[TARGET])
    return pipeline, contract


def _snap_numbers(numeric: Any) -> None:
    """Round medians, means and scales to the float32 that ONNX will hold, before anything is fitted on them.

    A mean of 100.00001 that ONNX rounds to 100 would move every value of a column that lies close to 100.
    """
    for step in getattr(numeric, "named_steps", {}).values():
        if isinstance(step, SimpleImputer):
            step.statistics_ = step.statistics_.astype(np.float32).astype(np.float64)
        if isinstance(step, StandardScaler):
            step.mean_ = step.mean_.astype(np.float32).astype(np.float64)
            step.scale_ = 1 / (1 / step.scale_).astype(np.float32).astype(np.float64)


def _scores(pipeline: Pipeline, contract: Contract, table: Table, candidate: Candidate) -> npt.NDArray[np.float64]:
    inputs = contract.inputs(table)
    frame = _frame(contract, inputs, computed.columns(contract, inputs))
    with _blamed_on(candidate, "could not be scored"), threadpool_limits(1):
        predict = pipeline.predict_proba if contract.classes else pipeline.predict
        scores = np.asarray(predict(frame), dtype=np.float64).reshape(len(table), -1)
    if not (np.abs(scores) <= np.finfo(np.float32).max).all():
        raise TrainingFailedError(
            f"{_title(candidate)} gave scores that are no numbers, or beyond those that ONNX can hold (3e38)",
            next_step="rescale the target, use a smaller step or stronger regularisation, or drop the candidate",
        )
    if contract.classes and scores.shape[1] != len(contract.classes):
        raise TrainingFailedError(
            f"{_title(candidate)} saw {scores.shape[1]} of {len(contract.classes)} classes in its rows",
            next_step="choose a split in which every class occurs in training",
        )
    return scores


def _to_onnx(pipeline: Pipeline, contract: Contract) -> bytes:
    # Imported here: an export takes them once, while every candidate of the search would wait 1.3 s for them.
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    from tidegate.ml.graph import OPSETS, front_of

    _snap_thresholds(pipeline["model"])
    front = front_of(contract)
    inputs: list[tuple[str, Any]] = []
    if front.numeric:
        inputs.append((front.numeric, FloatTensorType([None, _numbers(contract)])))
    if front.categorical:
        inputs.append((front.categorical, StringTensorType([None, len(_texts(contract))])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # skl2onnx writes truth values where protobuf wants 0 and 1
        model = convert_sklearn(
            pipeline,
            name="tidegate",
            initial_types=inputs,
            options={id(pipeline): {"zipmap": False}} if contract.classes else None,
            target_opset=OPSETS,
        )
    _keep_scores_only(model.graph, classes=len(contract.classes))
    front.put_before(model)
    fixed = [NUMERIC_INPUT, CATEGORICAL_INPUT, SCORES_OUTPUT, *([TIMES_INPUT] if contract.times else [])]
    _name_in_order(model.graph, {name: name for name in fixed}, Counter())
    opsets = sorted((opset.domain, opset.version) for opset in model.opset_import)  # it comes from a set
    for opset, (domain, version) in zip(model.opset_import, opsets, strict=True):
        opset.domain, opset.version = domain, version
    entry = model.metadata_props.add()
    entry.key = CONTRACT_KEY
    entry.value = json.dumps(contract.to_json(), sort_keys=True, separators=(",", ":"))
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _keep_scores_only(graph: "onnx.GraphProto", *, classes: int) -> None:
    """Name the last output `scores`, drop the label output and every node that nothing needs any more."""
    *_, scores = graph.output
    for node in graph.node:
        node.output[:] = [SCORES_OUTPUT if name == scores.name else name for name in node.output]
        node.input[:] = [SCORES_OUTPUT if name == scores.name else name for name in node.input]
    scores.name = SCORES_OUTPUT
    width = scores.type.tensor_type.shape.dim[-1]
    width.Clear()
    width.dim_value = classes or 1
    del graph.output[:-1]
    needed = {SCORES_OUTPUT}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    used = [initializer for initializer in graph.initializer if initializer.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(used)


def _name_in_order(graph: "onnx.GraphProto", names: dict[str, str], counts: Counter[str]) -> None:
    """Name values and nodes by their order in the graph: some converters number them by a count of the process."""

    def renamed(name: str) -> str:
        if name and name not in names:
            names[name] = f"v{len(names)}"
        return names.get(name, "")

    del graph.value_info[:]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = renamed(value.name)
    for node in graph.node:
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
        node.name = f"{node.op_type}{counts[node.op_type]}"
        counts[node.op_type] += 1
        for attribute in node.attribute:
            if attribute.HasField("g"):
                attribute.g.name = node.name
                _name_in_order(attribute.g, names, counts)


def _snap_thresholds(model: Any) -> None:
    """Round every tree's thresholds down to float32, in place.

    A tree compares float32 values with float64 thresholds; ONNX has float32 thresholds, and the nearest one may lie
    above a value that the tree sends right. For float32 values x, x <= t says the same as x <= (t rounded down).
    """
    if hasattr(model, "tree_"):
        model.tree_.threshold[:] = _round_down(model.tree_.threshold)
    for predictors in getattr(model, "_predictors", ()):
        for predictor in predictors:
            predictor.nodes["num_threshold"] = _round_down(predictor.nodes["num_threshold"])
    parts = getattr(model, "estimators_", ())
    for part in parts.ravel() if isinstance(parts, np.ndarray) else parts:
        _snap_thresholds(part)


def _round_down(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    nearest = thresholds.astype(np.float32)
    above = nearest.astype(np.float64) > thresholds
    nearest[above] = np.nextafter(nearest[above], np.float32(-np.inf))
    return nearest.astype(np.float64)


@contextmanager
def _blamed_on(candidate: Candidate, what: str) -> Iterator[None]:
    """Whatever the libraries raise is this candidate's failure, told with its name and parameters."""
    try:
        yield
    except TidegateError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:500]
        raise TrainingFailedError(
            f"{_title(candidate)} {what}: {type(error).__name__}: {reason}",
            next_step="correct the candidate in the spec and apply it again",
        ) from error


def _title(candidate: Candidate) -> str:
    parameters = ", ".join(f"{name}={value!r}" for name, value in sorted(candidate.parameters.items()))
    return f"{candidate.estimator.rpartition('.')[2]}({parameters})"
