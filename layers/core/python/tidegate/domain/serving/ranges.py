"""Values that a feature takes: the ones that a model's inputs are set to when it is asked how it answers to them."""

import numpy as np

from tidegate.domain.serving.contract import FeatureContract
from tidegate.kernel.table import Column

Value = str | float


def present(column: Column) -> Column:
    """The values of a column that are not missing."""
    return column[column != ""] if column.dtype.kind == "U" else column[~np.isnan(column)]


def commonest(column: Column, most: int) -> list[Value]:
    """Distinct values, the commonest first; of equally common ones the smaller first."""
    values, counts = np.unique(present(column), return_counts=True)
    kept: list[Value] = values[np.argsort(-counts, kind="stable")][:most].tolist()
    return kept


def span(feature: FeatureContract, column: Column) -> tuple[float, float]:
    """What a number may be: between the declared limits, or the smallest and largest value of the column."""
    seen = present(column)
    low = feature.minimum if feature.minimum is not None else float(seen.min())
    high = feature.maximum if feature.maximum is not None else float(seen.max())
    return low, high


def fitted(feature: FeatureContract, values: Column) -> Column:
    """Numbers made such as a request could carry: within the declared limits, whole where they must be."""
    clipped = np.clip(values, feature.minimum, feature.maximum)
    return clipped if feature.kind == "numeric" else np.round(clipped)
