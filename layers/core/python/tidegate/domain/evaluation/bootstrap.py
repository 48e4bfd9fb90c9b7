"""Intervals of metrics, and of differences between models, from shared resamples of the held-out rows.

A difference is always a *gain*: positive means the candidate is better, also for losses, where less is better.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from tidegate.domain.evaluation.estimate import Estimate
from tidegate.kernel.metrics.metric import Array, Floats, Metric, Prepared, Rows, whole
from tidegate.kernel.metrics.registry import find
from tidegate.kernel.metrics.weighted import summed

CANDIDATE = "candidate"
MIN_CLUSTERS = (
    20  # an interval from fewer clusters is a guess (Cameron, Gelbach and Miller 2008, R. E. Stat. 90:414-427)
)
_COMPARED = "compared"  # in the place of a metric's name: the metric of an arm whose ties are in an order of chance
MAX_UNDEFINED_SHARE = 0.01  # leaving out more resamples than that would move the tails of 2.5 % it is judged by
_BLOCK_WEIGHTS = 1 << 15  # weights held at a time: 256 KiB, so that a block stays in the processor's cache
_MOST_KEPT = 1 << 21  # draws that are kept for the next who asks: 2 MiB while no count is above 255


@dataclass(frozen=True, slots=True)
class Arm:
    """What one model says of the holdout: scores as in `metric.Rows`, and its own decision threshold."""

    scores: Array
    threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class Comparison:
    """Answer of `paired_bootstrap`: each arm's value, and what the candidate gains over each other arm."""

    arms: Mapping[str, Estimate]
    gains: Mapping[str, Estimate]
    metrics: Mapping[str, Estimate | None]
    clusters: int
    undefined_resamples: int


def paired_bootstrap(
    metric: str,
    target: Array,
    arms: Mapping[str, Arm],
    *,
    cluster: Array | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    positive: int = 1,
    also: Sequence[str] = (),
) -> Comparison:
    """Values of all arms and gains of the arm "candidate" over the others, with intervals from shared resamples.

    Every resample is applied to all arms, so what they share (easy days, hard rows) cancels in the difference. With
    `cluster` (any values, [n]) whole clusters are drawn, which keeps the interval honest when rows of one day or one
    group share their luck (Field and Welsh 2007, "Bootstrapping clustered data", J. R. Stat. Soc. B 69:369-390).

    Intervals are two-sided percentile intervals (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", ch. 13)
    whose tails are widened for few clusters (Hesterberg 2015, The American Statistician 69:371-386, "expanded
    percentile"). A decision that looks at one end errs in at most about (1 - confidence) / 2 of all cases: at the
    default of 0.95, a candidate truly equal to an arm is called better than it 2.5 times in a hundred.

    Where a metric rewards any order (`Metric.rewards_order`), gains compare arms whose ties are in an order of chance,
    the same for all: a random score has an average precision above the share of positives on few rows, and a constant
    rule exactly that share, so without this noise would be called better in up to 16 of 100 cases. The arms' own values
    stay those of their ties.

    A resample that does not define the metric is left out and counted. `also` names metrics to give for the candidate
    besides; one that the target does not define comes as None. Memory does not grow with `resamples` times rows.

    Raises:
        DataCheckError: the rows do not define `metric`.
    """
    codes: Array | None = None
    clusters = len(target)
    if cluster is not None:
        distinct, codes = np.unique(cluster, return_inverse=True)
        clusters = len(distinct)
    wanted = [(metric, name) for name in arms] + [(name, CANDIDATE) for name in also]
    prepared = {
        (what, name): _prepared(find(what), target, arms[name], positive, codes) for what, name in dict.fromkeys(wanted)
    }
    ordered = {
        name: _in_order(arm, positive, seed) if find(metric).rewards_order else arm for name, arm in arms.items()
    }
    prepared |= {
        (_COMPARED, name): _prepared(find(metric), target, arm, positive, codes)
        for name, arm in ordered.items()
        if arm is not arms[name]
    }
    values = {key: whole(each, clusters) for key, each in prepared.items()}
    if math.isnan(values[metric, CANDIDATE]):
        raise find(metric).not_defined(target, arms[CANDIDATE].scores, positive)

    replicates = _resample(prepared, clusters, resamples, seed, rows=len(target))
    tail = _tail(confidence, clusters)
    sign = find(metric).sign
    compared = {name: (metric if arm is arms[name] else _COMPARED, name) for name, arm in ordered.items()}
    own = compared.pop(CANDIDATE)
    return Comparison(
        arms={name: _estimate(values[metric, name], replicates[metric, name], tail) for name in arms},
        gains={
            name: _estimate(sign * (values[own] - values[key]), sign * (replicates[own] - replicates[key]), tail)
            for name, key in compared.items()
        },
        metrics={name: _estimate_or_none(values[name, CANDIDATE], replicates[name, CANDIDATE], tail) for name in also},
        clusters=clusters,
        undefined_resamples=int(np.isnan(replicates[metric, CANDIDATE]).sum()),
    )


@dataclass(frozen=True, slots=True)
class Resampling:
    """How rows are drawn again for an interval (see `paired_bootstrap`): the same draws for whatever is asked of them.

    `cluster` holds any values [n]; with None every row is drawn by itself.
    """

    rows: int
    cluster: Array | None = None
    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0

    def take(self, rows: Array) -> "Resampling":
        """Of some of the rows only, by their positions."""
        return replace(self, rows=len(rows), cluster=None if self.cluster is None else self.cluster[rows])

    def mean(self, column: Array) -> Estimate:
        """Mean of a column [n]."""
        codes, clusters = self._clusters()
        prepared = summed(codes, [column], lambda sums: sums[:, 0] / sums[:, 1])
        drawn = _resample({("", ""): prepared}, clusters, self.resamples, self.seed, rows=self.rows)
        return self.estimate(whole(prepared, clusters), drawn["", ""])

    def sums(self, column: Array, part: Array) -> tuple[Floats, Floats]:
        """What a column [n] sums up to over the rows of each part, and how many these are, in every resample:
        [resamples, parts] each. `part` [n] holds any values; the answer has them in rising order."""
        codes, clusters = self._clusters()
        order = np.argsort(part, kind="stable")
        starts = np.unique(part[order], return_index=True)[1]
        rows, column = order if codes is None else codes[order], column[order]
        sums, counts = (np.empty((self.resamples, len(starts))) for _ in range(2))
        for place, weights in _draws(clusters, self.resamples, self.seed, rows=self.rows):
            drawn = np.take(weights, rows, axis=1)
            counts[place] = np.add.reduceat(drawn, starts, axis=1)
            sums[place] = np.add.reduceat(drawn * column, starts, axis=1)
        return sums, counts

    def losses(self, metric: str, target: Array, own: Arm, *, positive: int = 1) -> "Losses":
        """To ask how much worse the metric is for other arms than for this one; paired.

        Raises:
            DataCheckError: the rows do not define the metric.
        """
        value, drawn = self.replicates(metric, target, own, positive)
        if math.isnan(value):
            raise find(metric).not_defined(target, own.scores, positive)
        return Losses(self, metric, target, positive, value, drawn)

    def replicates(self, metric: str, target: Array, arm: Arm, positive: int) -> tuple[float, Floats]:
        """Value of an arm, and its replicates."""
        codes, clusters = self._clusters()
        prepared = _prepared(find(metric), target, arm, positive, codes)
        drawn = _resample({("", ""): prepared}, clusters, self.resamples, self.seed, rows=self.rows)
        return whole(prepared, clusters), drawn["", ""]

    def estimate(self, value: float, replicates: Floats) -> Estimate:
        """With the percentile interval of the replicates."""
        return _estimate(value, replicates, _tail(self.confidence, self._clusters()[1]))

    def _clusters(self) -> tuple[Array | None, int]:
        """Cluster code of each row, and how many there are."""
        if self.cluster is None:
            return None, self.rows
        distinct, codes = np.unique(self.cluster, return_inverse=True)
        return codes, len(distinct)


@dataclass(frozen=True, slots=True)
class Losses:
    """An arm's value and replicates, drawn once, that other arms are held against (see `Resampling.losses`)."""

    resampling: Resampling
    metric: str
    target: Array
    positive: int
    value: float
    drawn: Floats

    def of(self, changed: Sequence[Arm]) -> Estimate:
        """How much worse the metric is for the changed arms, on average."""
        found = [self.resampling.replicates(self.metric, self.target, arm, self.positive) for arm in changed]
        others, losses = [value for value, _ in found], [drawn for _, drawn in found]
        sign = find(self.metric).sign
        value = sign * (self.value - float(np.mean(others)))
        return self.resampling.estimate(value, sign * (self.drawn - np.mean(losses, axis=0)))


def _in_order(arm: Arm, positive: int, seed: int) -> Arm:
    """The arm with the ties of its scores in an order of chance; itself if there are none."""
    score = arm.scores[:, positive]
    rows = len(score)
    if len(np.unique(score)) == rows:
        return arm
    ranks = np.empty((rows, arm.scores.shape[1]))
    ranks[np.lexsort((np.random.default_rng(seed).permutation(rows), score)), positive] = np.arange(rows) / rows
    ranks[:, 1 - positive] = 1 - ranks[:, positive]
    return replace(arm, scores=ranks)


def _prepared(metric: Metric, target: Array, arm: Arm, positive: int, cluster: Array | None) -> Prepared:
    return metric.prepare(Rows(target, arm.scores, positive, arm.threshold, cluster))


def _resample(
    prepared: Mapping[tuple[str, str], Prepared], clusters: int, resamples: int, seed: int, *, rows: int
) -> dict[tuple[str, str], Floats]:
    """Replicates [resamples] of everything prepared, on the same draws."""
    replicates = {key: np.empty(resamples) for key in prepared}
    for place, weights in _draws(clusters, resamples, seed, rows=rows):
        for key, each in prepared.items():
            replicates[key][place] = each.of(weights)
    return replicates


def _draws(clusters: int, resamples: int, seed: int, *, rows: int) -> Iterator[tuple[slice, Floats]]:
    """How often each cluster is drawn, for a block of resamples at a time: their place, and weights [b, clusters].
    Blocks are small enough to stay so when weights are spread over the rows."""
    block = max(1, min(resamples, _BLOCK_WEIGHTS // rows))
    if clusters * resamples <= _MOST_KEPT:
        kept = _kept(clusters, resamples, seed)
        for start in range(0, resamples, block):
            yield slice(start, start + block), kept[start : start + block].astype(np.float64)
        return
    chance = np.random.default_rng(seed)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        yield slice(start, start + size), _counted(chance, clusters, size).astype(np.float64)


@lru_cache(maxsize=4)
def _kept(clusters: int, resamples: int, seed: int) -> Array:
    """The draws [resamples, clusters], kept since one evaluation asks for the same ones a hundred times."""
    counts = _counted(np.random.default_rng(seed), clusters, resamples)
    return counts.astype(np.min_scalar_type(counts.max()))


def _counted(chance: np.random.Generator, clusters: int, resamples: int) -> Array:
    """How often each cluster is drawn [resamples, clusters]; many at once give the same as few at a time."""
    draws = chance.integers(0, clusters, size=(resamples, clusters))
    draws += np.arange(0, resamples * clusters, clusters)[:, None]
    return np.bincount(draws.ravel(), minlength=resamples * clusters).reshape(resamples, clusters)


def _tail(confidence: float, clusters: int) -> float:
    """Share of replicates beyond each end of the interval.

    A percentile interval is too narrow by sqrt((n - 1) / n) and takes the normal's quantile for Student's; with t the
    quantile at n - 1 degrees of freedom, a tail of Phi(-t sqrt(n / (n - 1))) makes up for both (Hesterberg 2015).
    """
    degrees = max(clusters - 1, 1)
    return NormalDist().cdf(-_student((1 + confidence) / 2, degrees) * math.sqrt((degrees + 1) / degrees))


def _student(share: float, degrees: int) -> float:
    """Student's quantile from the normal's: Abramowitz and Stegun 26.7.5; error below 1e-4 from 10 degrees on."""
    z = NormalDist().inv_cdf(share)
    return (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )


def simultaneous(estimate: Estimate, comparisons: int, *, confidence: float, clusters: int, units: int) -> Estimate:
    """An interval for which `comparisons` of its kind hold all together with the confidence that it has alone
    (Bonferroni): Student's, around the value, with the standard error that the percentile interval of `clusters` shows.
    The far tails of few resamples are not known, and a skewed interval that is stretched errs on its longer side.

    Args:
        units: what the value rests on: clusters, or of two classes those of the rarer one.
    """
    error = (estimate.high - estimate.low) / (-2 * NormalDist().inv_cdf(_tail(confidence, clusters)))
    half = error * _student(1 - (1 - confidence) / (2 * max(comparisons, 1)), max(units - 1, 1))
    return Estimate(estimate.value, estimate.value - half, estimate.value + half)


def _estimate(value: float, replicates: Floats, tail: float) -> Estimate:
    low, high = np.quantile(replicates[~np.isnan(replicates)], [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def _estimate_or_none(value: float, replicates: Floats, tail: float) -> Estimate | None:
    return None if math.isnan(value) else _estimate(value, replicates, tail)
