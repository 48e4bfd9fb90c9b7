"""Area under the receiver operating characteristic."""

import math
from dataclasses import dataclass

import numpy as np

from tidegate.kernel.metrics.metric import (
    ONE_CLASS,
    Array,
    Floats,
    FromProbabilities,
    Metric,
    Prepared,
    Probabilities,
    Rows,
)
from tidegate.kernel.metrics.weighted import running

_ROWS_OF_A_LEVEL = 8  # from which on, on average, summing by score pays
_LEVELS = 2048  # distinct scores at a time: keeps memory from growing with rows times clusters


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

    def of(self, weights: Floats) -> Floats:
        negative = running(np.take(weights, self.negatives, axis=1))
        positive = np.take(weights, self.positives, axis=1)
        beaten = np.take(negative, self.below, axis=1)
        if self.tied:
            beaten = (beaten + np.take(negative, self.upto, axis=1)) / 2
        pairs = negative[:, -1] * positive.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.einsum("ij,ij->i", positive, beaten) / pairs)


@dataclass(frozen=True, slots=True)
class _AreaByLevel:
    """The same of scores that take few values: rows are summed by score and class first. Whole and half numbers are
    exact, so it gives the very same value."""

    rows: Array  # cluster of each row, by class (negatives first), then by score
    starts: Array  # of each of the two classes' scores in them
    negatives: int  # how many of these are of negatives
    below: Array  # for each score of positives: how many scores of negatives are less, and no more
    upto: Array

    def of(self, weights: Floats) -> Floats:
        sums = np.add.reduceat(np.take(weights, self.rows, axis=1), self.starts, axis=1)
        positive, negative = sums[:, self.negatives :], running(sums[:, : self.negatives])
        beaten = (np.take(negative, self.below, axis=1) + np.take(negative, self.upto, axis=1)) / 2
        pairs = negative[:, -1] * positive.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.einsum("ij,ij->i", positive, beaten) / pairs)


@dataclass(frozen=True, slots=True)
class _AreaByCluster:
    """The same of few clusters: pairs are counted once for each two of them, so that resamples do not pass over rows.
    Whole and half numbers are exact, so it gives the very same value."""

    beaten: Floats  # [clusters, clusters]: pairs of a positive of one and a negative of the other, ordered rightly
    rows: Floats  # [clusters, 2]: positives and negatives

    def of(self, weights: Floats) -> Floats:
        pairs = np.prod(weights @ self.rows, axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.einsum("ij,ij->i", weights, weights @ self.beaten.T) / pairs)


def _prepare(rows: Rows) -> Prepared:
    if rows.cluster is not None and (clusters := int(rows.cluster.max(initial=-1)) + 1) <= _most(len(rows.target)):
        return _by_cluster(rows.score, rows.is_positive, rows.cluster, clusters)
    order = np.argsort(rows.score, kind="stable")
    score, is_positive, cluster = rows.score[order], rows.is_positive[order], rows.unit[order]
    if 0 < is_positive.sum() < len(score) and len(np.unique(score)) <= len(score) // _ROWS_OF_A_LEVEL:
        return _by_level(score, is_positive, cluster)
    below = np.searchsorted(score[~is_positive], score[is_positive], "left")
    upto = np.searchsorted(score[~is_positive], score[is_positive], "right")
    return _Area(cluster[is_positive], cluster[~is_positive], below, upto, bool((below != upto).any()))


def _by_level(score: Floats, is_positive: Array, cluster: Array) -> _AreaByLevel:
    """Of rows by rising score."""
    beaten, first = np.unique(score[~is_positive], return_index=True)
    levels, start = np.unique(score[is_positive], return_index=True)
    return _AreaByLevel(
        rows=np.concatenate([cluster[~is_positive], cluster[is_positive]]),
        starts=np.concatenate([first, start + int((~is_positive).sum())]),
        negatives=len(beaten),
        below=np.searchsorted(beaten, levels, "left"),
        upto=np.searchsorted(beaten, levels, "right"),
    )


def _most(rows: int) -> int:
    """Clusters up to which a matrix of them is cheaper than passing over the rows (estimated for 400 resamples)."""
    return min(200, rows // 8)


def _by_cluster(score: Floats, is_positive: Array, cluster: Array, clusters: int) -> _AreaByCluster:
    levels, level = np.unique(score[is_positive], return_inverse=True)
    positives, negatives = cluster[is_positive], cluster[~is_positive]
    # From which level on a negative is beaten, and at which one it ties before.
    tied = np.searchsorted(levels, score[~is_positive], "left")
    beaten_from = np.searchsorted(levels, score[~is_positive], "right")

    def counted(places: Array, of: Array, start: int, size: int) -> Floats:
        here = (places >= start) & (places < start + size)
        cells = (places[here] - start) * clusters + of[here]
        return np.bincount(cells, minlength=size * clusters).reshape(size, clusters).astype(np.float64)

    ties = tied != beaten_from
    beaten, so_far = np.zeros((clusters, clusters)), np.zeros(clusters)
    for start in range(0, len(levels), _LEVELS):
        size = min(_LEVELS, len(levels) - start)
        below = so_far + np.cumsum(counted(beaten_from, negatives, start, size), axis=0)
        so_far = below[-1]
        halves = counted(tied[ties], negatives[ties], start, size) / 2
        beaten += counted(level, positives, start, size).T @ (below + halves)
    rows = [np.bincount(each, minlength=clusters) for each in (positives, negatives)]
    return _AreaByCluster(beaten, np.stack(rows, axis=1).astype(np.float64))


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
    form=_prepare,
    undefined=ONE_CLASS,
    unlabelled=FromProbabilities(_expected),
)
