"""Area under the receiver operating characteristic."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from tidegate.kernel.metrics.metric import ONE_CLASS, Array, Floats, FromProbabilities, Metric, Probabilities, Rows
from tidegate.kernel.metrics.weighted import running


@dataclass(frozen=True, slots=True)
class _Area:
    """Share of (positive, negative) pairs that are ordered rightly, ties counting half (Mann and Whitney 1947).

    `below` and `upto` hold, for each positive by rising score, how many negatives score less, and no more.
    """

    positives: Array  # cluster of each positive row, by rising score
    negatives: Array
    below: Array
    upto: Array
    tied: bool

    @classmethod
    def prepare(cls, rows: Rows) -> Self:
        order = np.argsort(rows.score, kind="stable")
        score, is_positive, cluster = rows.score[order], rows.is_positive[order], rows.unit[order]
        below = np.searchsorted(score[~is_positive], score[is_positive], "left")
        upto = np.searchsorted(score[~is_positive], score[is_positive], "right")
        return cls(cluster[is_positive], cluster[~is_positive], below, upto, bool((below != upto).any()))

    def of(self, weights: Floats) -> Floats:
        negative = running(np.take(weights, self.negatives, axis=1))
        positive = np.take(weights, self.positives, axis=1)
        beaten = np.take(negative, self.below, axis=1)
        if self.tied:
            beaten = (beaten + np.take(negative, self.upto, axis=1)) / 2
        pairs = negative[:, -1] * positive.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.einsum("ij,ij->i", positive, beaten) / pairs)


def _expected(said: Probabilities) -> float:
    """Each row is a positive and a negative in part; ties count half."""
    hits, misses = said.by_score
    pairs = hits.sum() * misses.sum()
    return float((hits * (np.cumsum(misses) - misses / 2)).sum() / pairs) if pairs else math.nan


METRIC = Metric(
    name="roc_auc",
    label="area under the ROC curve",
    sentence="How often a positive row scores above a negative one; 0.5 without skill.",
    tasks=("binary",),
    more_is_better=True,
    perfect=1.0,
    worst=0.0,
    form=_Area.prepare,
    undefined=ONE_CLASS,
    unlabelled=FromProbabilities(_expected),
)
