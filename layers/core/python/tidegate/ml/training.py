"""Candidates to fitted pipelines, and those to ONNX.

The pipeline sees what serving will see: numbers rounded to float32, "" for a missing text, and the computed features of
`tidegate.domain.serving.computed`, which the graph computes too, in front of the estimator. It is exported with the
inputs `numeric` float32 [rows, k], `categorical` text [rows, m] and `times` int64 [rows, t] (one that has no columns is
left out), the output `scores` float32 [rows, classes] (or [rows, 1]), and the contract in its metadata.

The same spec, data and seed give the same bytes, whatever the machine's number of cores: every estimator that takes a
seed gets the spec's, sums are made by one thread (the order of additions changes the last bits), and
nothing in the graph is named by chance. Only `n_jobs`, which splits work without changing it, uses more cores; so does
the search, one function for each candidate.

How features are encoded, and what the estimator is given, follows from its facts (`tidegate.spec.estimators`); its
framework's module builds the pipeline and converts it (`tidegate.ml.frameworks`).
"""

import inspect
import json
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline
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
from tidegate.ml.frameworks.features import round_numbers
from tidegate.ml.frameworks.framework import Columns, build, estimator_class, framework_of
from tidegate.ports.training import ExportedModel
from tidegate.spec.estimators import nested
from tidegate.spec.estimators.registry import ESTIMATORS
from tidegate.spec.model import ModelSpec
from tidegate.spec.training import Candidate

if TYPE_CHECKING:
    import onnx

_MISSING = ""


class OnnxFitter:
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
            "packages": dict(_packages()),
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
            return ExportedModel(_to_onnx(pipeline, contract, candidate), scores)


@cache
def _packages() -> dict[str, str]:
    """Read once by a process. Of two packages of one name the one that is imported: it comes first on the path."""
    found: dict[str, str] = {}
    for each in distributions():
        found.setdefault(each.name.lower(), each.version)
    return found


def check_parameters(name: str, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that the estimator does not have, or one of those inside it.

    Raises:
        TrainingFailedError: names the estimator, the parameters and the ones it does have.
    """
    allowed = sorted(inspect.signature(estimator_class(name)).parameters)
    unknown = sorted(set(parameters) - set(allowed))
    if unknown:
        raise TrainingFailedError(
            f"{_named(name, parameters)} has no parameter {', '.join(unknown)} (allowed: {', '.join(allowed)})",
            next_step="correct the candidate in the spec and apply it again",
        )
    for inner in ESTIMATORS[name].inner:
        for each in nested.inside(inner, parameters.get(inner.parameter)):
            if nested.is_nested(each):
                check_parameters(each[nested.OF], each.get(nested.PARAMETERS, {}))


def _known(feature: FeatureContract) -> list[str]:
    """Categories in one fixed order; where gaps are allowed, being missing is one of them."""
    categories = set(feature.categories or ())
    return sorted(categories | {_MISSING} if feature.missing == "allow" else categories or {_MISSING})


def _columns(contract: Contract) -> Columns:
    """What the estimator is given: numbers of features, then the computed ones; texts."""
    numbers = sum(feature.estimator for feature in contract.numeric) + len(contract.computed)
    return Columns(numbers, [_known(feature) for feature in contract.categorical if feature.estimator])


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
    check_parameters(candidate.estimator, candidate.parameters)
    framework = framework_of(candidate)
    with _blamed_on(candidate, "could not be built"):
        unfitted = build(candidate.estimator, candidate.parameters, seed=spec.seed)
    pipeline = framework.pipeline(candidate, unfitted, _columns(contract))
    features, model = pipeline["features"], pipeline["model"]
    frame = _frame(contract, contract.inputs(table), matrix)
    with _blamed_on(candidate, "could not be fitted"), threadpool_limits(1):
        features.fit(frame)
        round_numbers(features)
        model.fit(features.transform(frame), table[TARGET])
        framework.settle(candidate, model)
    return pipeline, contract


def _scores(pipeline: Pipeline, contract: Contract, table: Table, candidate: Candidate) -> npt.NDArray[np.float64]:
    inputs = contract.inputs(table)
    frame = _frame(contract, inputs, computed.columns(contract, inputs))
    with _blamed_on(candidate, "could not be scored"), threadpool_limits(1):
        predict = pipeline.predict_proba if contract.classes else pipeline.predict
        scores = np.asarray(predict(frame), dtype=np.float64).reshape(len(table), -1)
    if not (np.abs(scores) <= np.finfo(np.float32).max).all():
        raise TrainingFailedError(
            f"{_title(candidate)} gave scores that are not numbers or exceed the range of ONNX (3e38)",
            next_step="rescale the target, use a smaller step or stronger regularisation, or remove the candidate",
        )
    if contract.classes and scores.shape[1] != len(contract.classes):
        raise TrainingFailedError(
            f"{_title(candidate)} saw {scores.shape[1]} of {len(contract.classes)} classes in its rows",
            next_step="choose a split whose training part has every class",
        )
    return scores


def _to_onnx(pipeline: Pipeline, contract: Contract, candidate: Candidate) -> bytes:
    # Imported here: an export takes onnx once, while every candidate of the search would wait for it.
    from tidegate.ml.graph import front_of

    front = front_of(contract)
    model = framework_of(candidate).convert(
        pipeline,
        _columns(contract),
        numbers=front.numeric,
        texts=front.categorical,
        classes=len(contract.classes),
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


@contextmanager
def _blamed_on(candidate: Candidate, what: str) -> Iterator[None]:
    """Whatever the libraries raise is this candidate's failure, reported with its name and parameters; but no spec
    fills a disk or removes a library."""
    try:
        yield
    except (TidegateError, ImportError, OSError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:500]
        raise TrainingFailedError(
            f"{_title(candidate)} {what}: {type(error).__name__}: {reason}",
            next_step="correct the candidate in the spec and apply it again",
        ) from error


def _title(candidate: Candidate) -> str:
    return _named(candidate.estimator, candidate.parameters)


def _named(name: str, parameters: Mapping[str, Any]) -> str:
    return f"{ESTIMATORS[name].title}({nested.text_of(dict(sorted(parameters.items())), number=repr)})"
