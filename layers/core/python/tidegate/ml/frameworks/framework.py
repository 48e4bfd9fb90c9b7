"""What each framework's module offers, and which one a candidate needs.

The module has the framework's name (`tidegate.spec.estimators`): `tidegate.ml.frameworks.sklearn`. It is imported when
a candidate asks for it, so a layer holds only the libraries that its candidates use.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from sklearn.pipeline import Pipeline

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


def estimator_class(candidate: Candidate) -> Callable[..., Any]:
    """The class that a candidate names."""
    module, _, name = candidate.estimator.rpartition(".")
    cls: Callable[..., Any] = getattr(importlib.import_module(module), name)  # the spec allows listed names only
    return cls
