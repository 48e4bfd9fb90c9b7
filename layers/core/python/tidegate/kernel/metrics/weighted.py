"""Weighted sums: the form of most metrics, since a matrix product gives a block of resamples at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tidegate.kernel.metrics.metric import Array, Floats, Rows


@dataclass(frozen=True, slots=True)
class Sums:
    """Something that needs nothing but weighted sums over rows, kept by cluster [clusters, columns]."""

    columns: Floats
    combine: Callable[[Floats], Floats]

    def of(self, weights: Floats) -> Floats:
        """See `metric.Prepared`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.combine(weights @ self.columns)


def summed(cluster: Array | None, columns: Sequence[Array], combine: Callable[[Floats], Floats]) -> Sums:
    """Sums of the columns [n] by cluster, with the number of rows as a last column; `combine` makes values [b] of sums
    [b, columns + 1]."""
    each = [*columns, np.ones(len(columns[0]))]
    if cluster is None:
        return Sums(np.stack(each, axis=1).astype(np.float64), combine)
    return Sums(np.stack([np.bincount(cluster, weights=column) for column in each], axis=1), combine)


def sums(rows: Rows, columns: Sequence[Array], combine: Callable[[Floats], Floats]) -> Sums:
    """The same for the clusters of some rows."""
    return summed(rows.cluster, columns, combine)


def mean(rows: Rows, column: Array) -> Sums:
    """Mean of a column [n]."""
    return sums(rows, [column], lambda totals: totals[:, 0] / totals[:, 1])


def running(weights: Floats) -> Floats:
    """Sums of the first 0, 1, ... n columns: [b, n + 1]."""
    totals = np.empty((weights.shape[0], weights.shape[1] + 1))
    totals[:, 0] = 0
    np.cumsum(weights, axis=1, out=totals[:, 1:])
    return totals
