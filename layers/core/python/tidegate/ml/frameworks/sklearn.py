"""scikit-learn: its pipelines, and those to ONNX by skl2onnx."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from tidegate.ml.frameworks.features import features
from tidegate.ml.frameworks.framework import Columns
from tidegate.spec.training import Candidate

if TYPE_CHECKING:
    import onnx


def pipeline(candidate: Candidate, model: Any, columns: Columns) -> Pipeline:
    """See framework.Framework."""
    return Pipeline([("features", features(candidate, columns)), ("model", model)])


def convert(
    pipeline: Pipeline, columns: Columns, *, numbers: str | None, texts: str | None, classes: int
) -> "onnx.ModelProto":
    """See framework.Framework."""
    # Imported here: an export takes them once, while every candidate of the search would wait 1.3 s for them.
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    from tidegate.ml.graph import OPSETS

    _snap_thresholds(pipeline["model"])
    inputs: list[tuple[str, Any]] = []
    if numbers:
        inputs.append((numbers, FloatTensorType([None, columns.numbers])))
    if texts:
        inputs.append((texts, StringTensorType([None, len(columns.texts)])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # skl2onnx writes truth values where protobuf wants 0 and 1
        model: onnx.ModelProto = convert_sklearn(
            pipeline,
            name="tidegate",
            initial_types=inputs,
            options={id(pipeline): {"zipmap": False}} if classes else None,
            target_opset=OPSETS,
        )
    return model


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
