"""What a pipeline does with its columns before any estimator sees them, by the estimator's facts.

trees and their ensembles   numbers as they are, gaps by the median unless the estimator keeps them;
                            categories by position, an unseen one as -1
everything else             numbers standardised, gaps by the median; categories one-hot, an unseen one all zero
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tidegate.ml.frameworks.framework import Columns
from tidegate.spec.training import Candidate

_NUMBERS, _TEXTS = "numbers", "texts"
_SPARSE_THRESHOLD = 0.3  # scikit-learn's own


def features(candidate: Candidate, columns: Columns) -> ColumnTransformer:
    """The unfitted transformer of a frame's columns: numbers, then texts."""
    facts = candidate.facts
    numbers = list(range(columns.numbers))
    texts = list(range(columns.numbers, columns.numbers + len(columns.texts)))
    branches: list[tuple[str, Any, list[int]]] = []
    if numbers:
        steps: list[tuple[str, Any]] = []
        if not facts.keeps_gaps:
            steps.append(("gaps", SimpleImputer(strategy="median", keep_empty_features=True)))
        if facts.scaled:
            steps.append(("scale", StandardScaler()))
        branches.append((_NUMBERS, Pipeline(steps) if steps else "passthrough", numbers))
    if texts:
        encoding = facts.encoding if candidate.encode == "auto" else candidate.encode
        encoder = _ordinal if encoding == "ordinal" else _one_hot
        branches.append((_TEXTS, encoder(columns.texts), texts))
    return ColumnTransformer(branches, sparse_threshold=_SPARSE_THRESHOLD if facts.sparse else 0.0)


def round_numbers(fitted: ColumnTransformer) -> None:
    """Round medians, means and scales to the float32 that ONNX will hold, before anything is fitted on them.

    A mean of 100.00001 that ONNX rounds to 100 would move every value of a column that lies close to 100.
    """
    numbers = fitted.named_transformers_.get(_NUMBERS)
    for step in getattr(numbers, "named_steps", {}).values():
        if isinstance(step, SimpleImputer):
            step.statistics_ = step.statistics_.astype(np.float32).astype(np.float64)
        if isinstance(step, StandardScaler):
            step.mean_ = step.mean_.astype(np.float32).astype(np.float64)
            step.scale_ = 1 / (1 / step.scale_).astype(np.float32).astype(np.float64)


def _ordinal(known: Sequence[Sequence[str]]) -> OrdinalEncoder:
    return OrdinalEncoder(categories=known, handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float64)


def _one_hot(known: Sequence[Sequence[str]]) -> OneHotEncoder:
    return OneHotEncoder(categories=known, handle_unknown="ignore", dtype=np.float64)
