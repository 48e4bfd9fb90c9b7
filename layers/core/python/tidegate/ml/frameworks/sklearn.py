"""scikit-learn: its pipelines, and those to ONNX by skl2onnx."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.calibration import CalibratedClassifierCV
from sklearn.isotonic import IsotonicRegression
from sklearn.pipeline import Pipeline

from tidegate.ml.frameworks.calibration import convert_calibrated, level_steps
from tidegate.ml.frameworks.features import features
from tidegate.ml.frameworks.framework import Columns, fitted_parts
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
            custom_conversion_functions={CalibratedClassifierCV: convert_calibrated},
            target_opset=OPSETS,
        )
    return model


def settle(candidate: Candidate, model: Any) -> None:
    """See framework.Framework."""
    for part in fitted_parts(model):
        if isinstance(part, IsotonicRegression):
            level_steps(part)
        if candidate.facts.scaled:
            _move_thresholds(part, _off_scaled)


def _snap_thresholds(model: Any) -> None:
    """Round every tree's thresholds down to float32, in place.

    A tree compares float32 values with float64 thresholds; ONNX has float32 thresholds, and the nearest one may lie
    above a value that the tree sends right. For float32 values x, x <= t says the same as x <= (t rounded down).
    """
    for part in fitted_parts(model):
        _move_thresholds(part, _round_down)


def _move_thresholds(tree: Any, move: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> None:
    if hasattr(tree, "tree_"):
        tree.tree_.threshold[:] = move(tree.tree_.threshold)
    for predictors in getattr(tree, "_predictors", ()):
        for predictor in predictors:
            predictor.nodes["num_threshold"] = move(predictor.nodes["num_threshold"])


def _off_scaled(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A little off numbers that were standardised, whose last bits differ in float32: a median that fills gaps lies in
    the middle of two values, just where a tree parts them."""
    return thresholds + 8 * np.finfo(np.float32).eps * np.abs(thresholds)


def _round_down(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    nearest = thresholds.astype(np.float32)
    above = nearest.astype(np.float64) > thresholds
    nearest[above] = np.nextafter(nearest[above], np.float32(-np.inf))
    return nearest.astype(np.float64)
