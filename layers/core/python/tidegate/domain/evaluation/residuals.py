"""How a regression errs: residuals (outcome less prediction), overall and by the size of the prediction."""

import numpy as np

from tidegate.domain.evaluation.bootstrap import Resampling
from tidegate.domain.evaluation.sections import Coverage, ResidualGroup, ResidualHistogram, Residuals
from tidegate.kernel.metrics.metric import Floats
from tidegate.kernel.table import Column

HISTOGRAM_BINS = 40
GROUPS = 10
_OUTER = 0.005  # share of the residuals on each side that lies beyond the histogram


def residuals(target: Column, predicted: Column, interval: Coverage | None = None) -> Residuals:
    """A histogram of the middle 99 % (`below` and `above` count the rest), and ten groups of equally many rows by
    rising prediction; with the coverage of its intervals."""
    predicted = predicted.astype(np.float64)
    residual = target - predicted
    low, high = np.quantile(residual, [_OUTER, 1 - _OUTER])
    counts, edges = np.histogram(residual, bins=HISTOGRAM_BINS, range=(low, high))
    groups = np.array_split(np.argsort(predicted, kind="stable"), GROUPS)
    return Residuals(
        histogram=ResidualHistogram(
            edges=tuple(edges.tolist()),
            counts=tuple(counts.tolist()),
            below=int((residual < edges[0]).sum()),
            above=int((residual > edges[-1]).sum()),
        ),
        by_prediction=tuple(_group(predicted[rows], residual[rows]) for rows in groups if len(rows)),
        interval=interval,
    )


def coverage(target: Column, predicted: Column, level: float, half_width: float, resampling: Resampling) -> Coverage:
    """Share of the rows whose outcome lies in the prediction's interval, next to the share that was asked for."""
    inside = np.abs(target - predicted.astype(np.float64)) <= half_width
    return Coverage(level, resampling.mean(inside), 2 * half_width)


def _group(predicted: Floats, residual: Floats) -> ResidualGroup:
    p05, p50, p95 = np.quantile(residual, [0.05, 0.5, 0.95])
    return ResidualGroup(
        low=float(predicted.min()),
        high=float(predicted.max()),
        rows=len(residual),
        mean=float(residual.mean()),
        p05=float(p05),
        p50=float(p50),
        p95=float(p95),
    )
