"""The most positives that can be found while so many of those called positive are."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from tidegate.kernel.metrics.metric import (
    ONE_CLASS,
    Array,
    Floats,
    FromProbabilities,
    Metric,
    Parameter,
    Probabilities,
    Rows,
)
from tidegate.kernel.metrics.weighted import running

_SLACK = 1e-12  # of the precision: sums of weights need not be exact


@dataclass(frozen=True, slots=True)
class _Recall:
    """Greatest recall over thresholds; rows of one score enter together. 0 where no threshold is precise enough."""

    rows: Array  # cluster of each row, by falling score
    positives: Array  # the same of the positive rows
    rows_upto: Array  # for each distinct score of a positive, falling: how many rows score no less
    positives_upto: Array
    precision: float

    @classmethod
    def prepare(cls, rows: Rows, *, precision: float) -> Self:
        order = np.argsort(-rows.score, kind="stable")
        falling, is_positive, cluster = -rows.score[order], rows.is_positive[order], rows.unit[order]
        points = falling[is_positive]
        distinct = np.unique(points)
        rows_upto, positives_upto = (np.searchsorted(each, distinct, "right") for each in (falling, points))
        return cls(cluster, cluster[is_positive], rows_upto, positives_upto, precision)

    def of(self, weights: Floats) -> Floats:
        found = running(np.take(weights, self.positives, axis=1))
        totals = running(np.take(weights, self.rows, axis=1))
        hits = np.take(found, self.positives_upto, axis=1)
        precise = hits >= (self.precision - _SLACK) * np.take(totals, self.rows_upto, axis=1)
        positive, total = found[:, -1], totals[:, -1]
        with np.errstate(invalid="ignore"):
            recall = np.where(precise, hits, 0.0).max(axis=1, initial=0.0) / positive
        return np.where(positive < total, recall, np.nan)


def _expected(said: Probabilities, *, precision: float) -> float:
    hits, misses = (each[::-1] for each in said.by_score)
    found, seen = np.cumsum(hits), np.cumsum(hits + misses)
    if not hits.sum() or not misses.sum():
        return math.nan
    precise = found >= (precision - _SLACK) * seen
    return float(np.where(precise, found, 0.0).max() / found[-1])


METRIC = Metric(
    name="recall_at_precision",
    label="recall at a precision",
    sentence="The largest share of the positive rows that a threshold finds at this precision or better.",
    tasks=("binary",),
    more_is_better=True,
    perfect=1.0,
    worst=0.0,
    form=_Recall.prepare,
    undefined=ONE_CLASS,
    unlabelled=FromProbabilities(_expected),
    finite_sample_bias=True,
    rewards_order=True,
    parameters=(Parameter("precision", "Share of the rows called positive that must be positive.", 0.9, 0.01, 1.0),),
)
