"""Calibrated classifiers as ONNX. skl2onnx's own converter answers the nearest step of an isotonic calibration, where
scikit-learn interpolates: up to .12 apart.

    level_steps(isotonic)                             # after fitting, before anything is scored
    convert_sklearn(..., custom_conversion_functions={CalibratedClassifierCV: convert_calibrated})
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

if TYPE_CHECKING:
    from skl2onnx.common._container import ModelComponentContainer
    from skl2onnx.common._topology import Operator, Scope

_STEEPEST = 32.0  # a rise by 1 takes at least 1/32 of a usual score: float32 scores are right to about 1e-6 of it
_USUAL = 4.0  # medians, unless all are smaller: one score of an odd row says nothing of those of others
_AXIS = 1


def level_steps(fitted: IsotonicRegression) -> None:
    """Bound the slope of an isotonic calibration, in place, and round its scores to float32.

    Where two scores lie next to each other, one step may rise by .1 within a millionth, and the last bits of a float32
    score decide how far up it is. A step that is too steep begins where it began and ends later; a step of .1 is
    stretched by 1/320 of a usual score, or of its own if that is larger, far less than a calibration is exact to.
    """
    scores, first = np.unique(fitted.X_thresholds_.astype(np.float32), return_index=True)
    values = fitted.y_thresholds_[first]
    sizes = np.abs(scores).astype(np.float64)
    usual = max(float(min(_USUAL * np.median(sizes), sizes.max())), float(np.finfo(np.float32).tiny))
    knots = [(float(scores[0]), float(values[0]))]
    wanted = knots[0][1]
    for score, value in zip(scores[1:].tolist(), values[1:].tolist(), strict=True):
        at, reached = knots[-1]
        slope = _STEEPEST / max(usual, abs(at))
        caught_up = float(np.float32(at + (wanted - reached) / slope))
        if at < caught_up < score:
            knots.append((caught_up, wanted))
            at, reached = knots[-1]
        knots.append((score, min(value, reached + slope * (score - at))))
        wanted = value
    fitted.fit(*np.array(knots).T)  # they rise already, so it goes through all of them


def convert_calibrated(scope: "Scope", operator: "Operator", container: "ModelComponentContainer") -> None:
    """skl2onnx's converter of a CalibratedClassifierCV: outputs are the labels and the mean of its parts'
    probabilities [rows, classes]."""
    graph = _Graph(scope, container)
    model = operator.raw_operator
    label, probabilities = (output.full_name for output in operator.outputs)
    parts = [_calibrated(graph, operator, part, len(model.classes_)) for part in model.calibrated_classifiers_]
    total = graph.node("Sum", *parts)
    graph.node("Div", total, graph.floats([len(parts)]), to=probabilities)
    place = graph.node("ArgMax", probabilities, axis=_AXIS, keepdims=0)
    graph.node("Gather", graph.integers(model.classes_), place, to=label)


def _calibrated(graph: "_Graph", operator: "Operator", part: Any, classes: int) -> str:
    """Probabilities of one classifier with its calibrators."""
    scores = graph.scores(operator, part.estimator)
    columns = [1] if classes == 2 else range(classes)
    calibrate = _isotonic if part.method == "isotonic" else _sigmoid
    found = [
        calibrate(graph, graph.node("Gather", scores, graph.integers([column]), axis=_AXIS), calibrator)
        for column, calibrator in zip(columns, part.calibrators, strict=True)
    ]
    if classes == 2:
        rest = graph.node("Sub", graph.floats([1]), *found)
        return graph.node("Concat", rest, *found, axis=_AXIS)
    each = graph.node("Concat", *found, axis=_AXIS)
    total = graph.node("ReduceSum", each, graph.integers([_AXIS]), keepdims=1)
    nothing = graph.node("Equal", total, graph.floats([0]))
    return graph.node("Where", nothing, graph.floats([1 / classes]), graph.node("Div", each, total))


def _sigmoid(graph: "_Graph", scores: str, fitted: Any) -> str:
    """1 / (1 + exp(a x + b)): ONNX's own Sigmoid loses the small ones, whose ratios several classes have."""
    exponent = graph.node("Add", graph.node("Mul", scores, graph.floats([fitted.a_])), graph.floats([fitted.b_]))
    return graph.node("Div", graph.floats([1]), graph.node("Add", graph.node("Exp", exponent), graph.floats([1])))


def _isotonic(graph: "_Graph", scores: str, fitted: IsotonicRegression) -> str:
    """Interpolated between the knots on both sides of a score."""
    knots, values = fitted.X_thresholds_, fitted.y_thresholds_
    if len(knots) == 1:
        return graph.node("Add", graph.node("Mul", scores, graph.floats([0])), graph.floats(values))
    inside = graph.node("Min", graph.node("Max", scores, graph.floats(knots[:1])), graph.floats(knots[-1:]))
    passed = graph.node("Cast", graph.node("GreaterOrEqual", inside, graph.floats(knots[1:])), to_type=np.int64)
    count = graph.node("ReduceSum", passed, graph.integers([_AXIS]), keepdims=1)
    left = graph.node("Min", count, graph.integers([len(knots) - 2]))
    slopes = np.diff(values) / np.diff(knots)
    start, height, slope = (graph.node("Gather", graph.floats(each), left) for each in (knots, values, slopes))
    return graph.node("Add", height, graph.node("Mul", graph.node("Sub", inside, start), slope))


class _Graph:
    """Writes nodes with names of their own into a graph that is being converted."""

    def __init__(self, scope: "Scope", container: "ModelComponentContainer") -> None:
        self._scope = scope
        self._container = container

    def node(self, kind: str, *inputs: str, to: str | None = None, to_type: Any = None, **attributes: Any) -> str:
        """The output's name."""
        from onnx.helper import np_dtype_to_tensor_dtype

        output = to or self._scope.get_unique_variable_name(kind.lower())
        if to_type is not None:
            attributes["to"] = np_dtype_to_tensor_dtype(np.dtype(to_type))
        name = self._scope.get_unique_operator_name(kind)
        self._container.add_node(kind, list(inputs), [output], name=name, **attributes)
        return output

    def floats(self, values: npt.ArrayLike) -> str:
        """A constant float32 [n]."""
        return self._constant(np.asarray(values, dtype=np.float32))

    def integers(self, values: npt.ArrayLike) -> str:
        """A constant int64 [n]."""
        return self._constant(np.asarray(values, dtype=np.int64))

    def scores(self, operator: "Operator", model: Any) -> str:
        """What calibrators are given of a classifier [rows, classes]: its decision function where it has one, else its
        probabilities."""
        from skl2onnx._supported_operators import sklearn_operator_name_map
        from skl2onnx.common.data_types import FloatTensorType, Int64TensorType

        if hasattr(model, "decision_function"):
            for options in (self._container, self._scope):
                options.add_options(id(model), {"raw_scores": True})
        inner = self._scope.declare_local_operator(sklearn_operator_name_map[type(model)], model)
        inner.inputs = operator.inputs
        label = self._scope.declare_local_variable("uncalibrated_label", Int64TensorType())
        scores = self._scope.declare_local_variable("uncalibrated", FloatTensorType())
        inner.outputs.extend([label, scores])
        return str(scores.full_name)

    def _constant(self, values: npt.NDArray[Any]) -> str:
        from onnx.helper import np_dtype_to_tensor_dtype

        name = self._scope.get_unique_variable_name("constant")
        self._container.add_initializer(name, np_dtype_to_tensor_dtype(values.dtype), list(values.shape), values)
        return str(name)
