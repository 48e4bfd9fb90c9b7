"""What each framework's module offers, and which one a candidate needs.

The module has the framework's name (`tidegate.spec.estimators`): `tidegate.ml.frameworks.sklearn`. It is imported when
a candidate asks for it, so a layer holds only the libraries that its candidates use.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from sklearn.pipeline import Pipeline

from tidegate.spec.estimators import nested
from tidegate.spec.estimators.registry import ESTIMATORS
from tidegate.spec.training import Candidate

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Columns:
    """What an estimator is given: so many numbers, then texts, each with the categories that are known of it."""

    numbers: int
    texts: Sequence[Sequence[str]]


class Framework(Protocol):
    """A learning library behind scikit-learn's interface."""

    def pipeline(self, candidate: Candidate, model: Any, columns: Columns) -> Pipeline:
        """The unfitted steps `features` and `model` over a frame of numbers, then texts."""
        ...

    def settle(self, candidate: Candidate, model: Any) -> None:
        """Change a fitted estimator, before anything is scored, where float32 could not follow it."""
        ...

    def convert(
        self, pipeline: Pipeline, columns: Columns, *, numbers: str | None, texts: str | None, classes: int
    ) -> "onnx.ModelProto":
        """A fitted pipeline as ONNX: from the inputs of these names (None: no such columns) to the scores as the last
        output, [rows, classes], or [rows, 1] of a regression (`classes` is 0). It may round the pipeline's own numbers
        to the float32 that the graph holds."""
        ...


def framework_of(candidate: Candidate) -> Framework:
    """The module of a candidate's framework."""
    module = importlib.import_module(f"tidegate.ml.frameworks.{candidate.facts.framework.name}")
    return cast("Framework", module)


def estimator_class(name: str) -> Callable[..., Any]:
    """The class of a dotted name."""
    module, _, title = name.rpartition(".")
    cls: Callable[..., Any] = getattr(importlib.import_module(module), title)  # the spec allows listed names only
    return cls


def build(name: str, parameters: Mapping[str, Any], *, seed: int) -> Any:
    """An unfitted estimator with those inside it, each with the seed unless it has one of its own."""
    facts = ESTIMATORS[name]
    values = {**facts.defaults, **parameters}
    for inner in facts.inner:
        if inner.many and isinstance(values.get(inner.parameter), list):
            values[inner.parameter] = [
                (f"e{place}", _built(each, seed)) for place, each in enumerate(values[inner.parameter])
            ]
        elif inner.parameter in values:
            values[inner.parameter] = _built(values[inner.parameter], seed)
    model = estimator_class(name)(**values)
    if facts.seed and model.get_params(deep=False)[facts.seed] is None:
        model.set_params(**{facts.seed: seed})
    return model


def _built(value: Any, seed: int) -> Any:
    if not nested.is_nested(value):
        return value
    return build(value[nested.OF], value.get(nested.PARAMETERS, {}), seed=seed)


def fitted_parts(model: Any) -> Iterator[Any]:
    """A fitted estimator and all that were fitted inside it, down to single trees and calibrators."""
    yield model
    for name in ("estimators_", "final_estimator_", "estimator_", "calibrated_classifiers_", "calibrators"):
        for part in _listed(vars(model).get(name)):
            yield from fitted_parts(part)
    if isinstance(
        vars(model).get("calibrators"), list
    ):  # a calibrated classifier keeps its own under a parameter's name
        yield from fitted_parts(model.estimator)


def _listed(value: Any) -> Iterator[Any]:
    if isinstance(value, np.ndarray):
        value = value.ravel().tolist()
    if isinstance(value, list):
        for each in value:
            yield from _listed(each)
    elif hasattr(value, "__dict__"):
        yield value
