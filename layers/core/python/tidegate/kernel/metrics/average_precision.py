"""Area under the precision-recall curve, by steps."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from tidegate.kernel.metrics.metric import ONE_CLASS, Array, Floats, FromProbabilities, Metric, Probabilities, Rows
from tidegate.kernel.metrics.weighted import running


@dataclass(frozen=True, slots=True)
class _Average:
    """Precision at each positive, averaged; rows of one score enter together (step-wise, no interpolation)."""

    rows: Array  # cluster of each row, by falling score
    positives: Array  # the same of the positive rows
    rows_upto: Array  # for each positive: how many rows score no less
    positives_upto: Array

    @classmethod
    def prepare(cls, rows: Rows) -> Self:
        order = np.argsort(-rows.score, kind="stable")
        falling, is_positive, cluster = -rows.score[order], rows.is_positive[order], rows.unit[order]
        points = falling[is_positive]
        rows_upto = np.searchsorted(falling, points, "right")
        return cls(cluster, cluster[is_positive], rows_upto, np.searchsorted(points, points, "right"))

    def of(self, weights: Floats) -> Floats:
        found = np.take(weights, self.positives, axis=1)
        totals = running(np.take(weights, self.rows, axis=1))
        seen = np.take(totals, self.rows_upto, axis=1)
        hits = np.take(running(found), self.positives_upto, axis=1)
        precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
        positive, total = found.sum(axis=1), totals[:, -1]
        with np.errstate(invalid="ignore"):
            value = np.einsum("ij,ij->i", found, precision) / positive
        return np.where(positive < total, value, np.nan)


def _expected(said: Probabilities) -> float:
    hits, misses = (each[::-1] for each in said.by_score)
    total = hits.sum()
    precision = np.cumsum(hits) / np.cumsum(hits + misses)
    return float((hits * precision).sum() / total) if total and misses.sum() else math.nan


METRIC = Metric(
    name="average_precision",
    label="average precision",
    sentence="Precision averaged over the positive rows by falling score; the share of positives without skill.",
    tasks=("binary",),
    more_is_better=True,
    perfect=1.0,
    worst=0.0,
    form=_Average.prepare,
    undefined=ONE_CLASS,
    unlabelled=FromProbabilities(_expected),
    finite_sample_bias=True,
    rewards_order=True,
)
