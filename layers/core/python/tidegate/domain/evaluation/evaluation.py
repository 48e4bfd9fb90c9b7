"""What a version is worth on held-out rows: metrics, their intervals, and differences that say how sure they are.

Metrics are functions of weighted rows here, since a bootstrap resample is nothing but a row's weight (how often it was
drawn). A metric is prepared once for an arm (sorted, ranked, summed by cluster) and then evaluated for any weights.

Numbers that people read come as an `Estimate`. A difference is always a *gain*: positive means the candidate is better,
also for losses, where less is better.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import NormalDist
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from tidegate.kernel.errors import DataCheckError, Fault

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

HIGHER_IS_BETTER: Mapping[str, bool] = {
    "roc_auc": True,
    "average_precision": True,
    "log_loss": False,
    "brier": False,
    "accuracy": True,
    "rmse": False,
    "mae": False,
    "r2": True,
}
CANDIDATE = "candidate"
_BLOCK_WEIGHTS = 1 << 15  # weights held at a time: 256 KiB, so that a block stays in the processor's cache


def metric_value(metric: str, target: Array, scores: Array, *, positive: int = 1, threshold: float = 0.5) -> float:
    """The metric (a name in `HIGHER_IS_BETTER`), equal to scikit-learn's metric of that name.

    Args:
        target: class codes [n] (positions in the columns of `scores`), or numbers [n] for a regression.
        scores: probabilities [n, classes], or values [n, 1] for a regression.
        positive: column whose probability is the score of a binary model.
        threshold: score from which a binary model answers the positive class (accuracy only).

    Raises:
        DataCheckError: the rows do not define the metric: one class only (ranking metrics), a target that does not vary
            (r2), no rows, or scores that are NaN.
    """
    target = np.asarray(target)
    prepared = _PREPARE[metric](_Rows(target, Arm(np.asarray(scores), threshold), positive, None))
    value = _whole(prepared, len(target))
    if math.isnan(value):
        raise _undefined(metric, target, scores)
    return value


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its interval at the evaluation's confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Arm:
    """What one model says of the holdout: scores as in `metric_value`, and its own decision threshold."""

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
        (what, name): _PREPARE[what](_Rows(target, arms[name], positive, codes)) for what, name in dict.fromkeys(wanted)
    }
    whole = {key: _whole(each, clusters) for key, each in prepared.items()}
    if math.isnan(whole[metric, CANDIDATE]):
        raise _undefined(metric, target, arms[CANDIDATE].scores)

    replicates = _resample(prepared, clusters, resamples, seed, rows=len(target))
    tail = _tail(confidence, clusters)
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    drawn = replicates[metric, CANDIDATE]
    return Comparison(
        arms={name: _estimate(whole[metric, name], replicates[metric, name], tail) for name in arms},
        gains={
            name: _estimate(
                sign * (whole[metric, CANDIDATE] - whole[metric, name]),
                sign * (drawn - replicates[metric, name]),
                tail,
            )
            for name in arms
            if name != CANDIDATE
        },
        metrics={name: _estimate_or_none(whole[name, CANDIDATE], replicates[name, CANDIDATE], tail) for name in also},
        clusters=clusters,
        undefined_resamples=int(np.isnan(drawn).sum()),
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
        prepared = _summed(codes, [column], lambda sums: sums[:, 0] / sums[:, 1])
        drawn = _resample({("", ""): prepared}, clusters, self.resamples, self.seed, rows=self.rows)
        return self.estimate(_whole(prepared, clusters), drawn["", ""])

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

    def loss(self, metric: str, target: Array, whole: Arm, changed: Sequence[Arm], *, positive: int = 1) -> Estimate:
        """How much worse the metric is for the changed arms, on average, than for the whole one; paired.

        Raises:
            DataCheckError: the rows do not define the metric.
        """
        codes, clusters = self._clusters()
        prepared = {
            (metric, str(place)): _PREPARE[metric](_Rows(target, arm, positive, codes))
            for place, arm in enumerate([whole, *changed])
        }
        value, *others = (_whole(each, clusters) for each in prepared.values())
        if math.isnan(value):
            raise _undefined(metric, target, whole.scores)
        drawn, *losses = _resample(prepared, clusters, self.resamples, self.seed, rows=self.rows).values()
        sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
        return self.estimate(sign * (value - float(np.mean(others))), sign * (drawn - np.mean(losses, axis=0)))

    def estimate(self, value: float, replicates: Floats) -> Estimate:
        """With the percentile interval of the replicates."""
        return _estimate(value, replicates, _tail(self.confidence, self._clusters()[1]))

    def _clusters(self) -> tuple[Array | None, int]:
        """Cluster code of each row, and how many there are."""
        if self.cluster is None:
            return None, self.rows
        distinct, codes = np.unique(self.cluster, return_inverse=True)
        return codes, len(distinct)


class _Prepared(Protocol):
    """A metric of one arm, ready for weights."""

    def of(self, weights: Floats) -> Floats:
        """Values [b] for weights of clusters [b, clusters]; NaN where the weighted rows do not define the metric."""
        ...


@dataclass(frozen=True, slots=True)
class _Sums:
    """A metric that needs nothing but weighted sums over rows, kept by cluster [clusters, columns]."""

    columns: Floats
    combine: Callable[[Floats], Floats]

    def of(self, weights: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.combine(weights @ self.columns)


@dataclass(frozen=True, slots=True)
class _AreaUnderRoc:
    """Share of (positive, negative) pairs that are ordered rightly, ties counting half (Mann and Whitney 1947).

    `below` and `upto` hold, for each positive by rising score, how many negatives score less, and no more.
    """

    positives: Array  # cluster of each positive row, by rising score
    negatives: Array
    below: Array
    upto: Array
    tied: bool

    @classmethod
    def prepare(cls, is_positive: Array, score: Array, cluster: Array) -> Self:
        order = np.argsort(score, kind="stable")
        score, is_positive, cluster = score[order], is_positive[order], cluster[order]
        below = np.searchsorted(score[~is_positive], score[is_positive], "left")
        upto = np.searchsorted(score[~is_positive], score[is_positive], "right")
        return cls(cluster[is_positive], cluster[~is_positive], below, upto, bool((below != upto).any()))

    def of(self, weights: Floats) -> Floats:
        negative = _running(np.take(weights, self.negatives, axis=1))
        positive = np.take(weights, self.positives, axis=1)
        beaten = np.take(negative, self.below, axis=1)
        if self.tied:
            beaten = (beaten + np.take(negative, self.upto, axis=1)) / 2
        pairs = negative[:, -1] * positive.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.einsum("ij,ij->i", positive, beaten) / pairs)


@dataclass(frozen=True, slots=True)
class _AveragePrecision:
    """Precision at each positive, averaged; rows of one score enter together (step-wise, no interpolation)."""

    rows: Array  # cluster of each row, by falling score
    positives: Array  # the same of the positive rows
    rows_upto: Array  # for each positive: how many rows score no less
    positives_upto: Array

    @classmethod
    def prepare(cls, is_positive: Array, score: Array, cluster: Array) -> Self:
        order = np.argsort(-score, kind="stable")
        falling, is_positive, cluster = -score[order], is_positive[order], cluster[order]
        points = falling[is_positive]
        rows_upto = np.searchsorted(falling, points, "right")
        return cls(cluster, cluster[is_positive], rows_upto, np.searchsorted(points, points, "right"))

    def of(self, weights: Floats) -> Floats:
        found = np.take(weights, self.positives, axis=1)
        running = _running(np.take(weights, self.rows, axis=1))
        seen = np.take(running, self.rows_upto, axis=1)
        hits = np.take(_running(found), self.positives_upto, axis=1)
        precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
        positive, total = found.sum(axis=1), running[:, -1]
        with np.errstate(invalid="ignore"):
            value = np.einsum("ij,ij->i", found, precision) / positive
        return np.where(positive < total, value, np.nan)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a metric is prepared from; `cluster` is None when every row is drawn by itself."""

    target: Array
    arm: Arm
    positive: int
    cluster: Array | None

    @property
    def is_positive(self) -> Array:
        return np.asarray(self.target == self.positive)

    @property
    def score(self) -> Floats:
        return self.arm.scores[:, self.positive].astype(np.float64)

    @property
    def error(self) -> Floats:
        return self.arm.scores[:, 0].astype(np.float64) - self.target

    @property
    def unit(self) -> Array:
        """Cluster of each row."""
        return np.arange(len(self.target)) if self.cluster is None else self.cluster


def _log_loss(rows: _Rows) -> _Prepared:
    # As scikit-learn: probabilities are kept away from 0 and 1 by the precision of the type they come in.
    scores = rows.arm.scores
    edge = float(np.finfo(scores.dtype if scores.dtype.kind == "f" else np.float64).eps)
    given = scores[np.arange(len(scores)), rows.target.astype(np.intp)].astype(np.float64)
    return _mean(rows, -np.log(np.clip(given, edge, 1 - edge)))


def _accuracy(rows: _Rows) -> _Prepared:
    scores = rows.arm.scores
    if scores.shape[1] == 2:
        return _mean(rows, (scores[:, rows.positive] >= rows.arm.threshold) == rows.is_positive)
    return _mean(rows, scores.argmax(axis=1) == rows.target)


def _rmse(rows: _Rows) -> _Prepared:
    return _sums(rows, [rows.error**2], lambda sums: np.sqrt(sums[:, 0] / sums[:, 1]))


def _r2(rows: _Rows) -> _Prepared:
    centred = rows.target - (rows.target.mean() if len(rows.target) else 0.0)

    def combine(sums: Floats) -> Floats:
        residual, first, second, weight = sums.T
        total = second - first**2 / weight
        return np.asarray(1 - residual / np.where(total > 1e-12 * second, total, np.nan))

    return _sums(rows, [rows.error**2, centred, centred**2], combine)


_PREPARE: Mapping[str, Callable[[_Rows], _Prepared]] = {
    "roc_auc": lambda rows: _AreaUnderRoc.prepare(rows.is_positive, rows.score, rows.unit),
    "average_precision": lambda rows: _AveragePrecision.prepare(rows.is_positive, rows.score, rows.unit),
    "log_loss": _log_loss,
    "brier": lambda rows: _mean(rows, (rows.score - rows.is_positive) ** 2),
    "accuracy": _accuracy,
    "rmse": _rmse,
    "mae": lambda rows: _mean(rows, np.abs(rows.error)),
    "r2": _r2,
}


def _mean(rows: _Rows, column: Array) -> _Sums:
    return _sums(rows, [column], lambda sums: sums[:, 0] / sums[:, 1])


def _sums(rows: _Rows, columns: Sequence[Array], combine: Callable[[Floats], Floats]) -> _Sums:
    return _summed(rows.cluster, columns, combine)


def _summed(cluster: Array | None, columns: Sequence[Array], combine: Callable[[Floats], Floats]) -> _Sums:
    """Sums of the columns by cluster, with the number of rows as a last column."""
    each = [*columns, np.ones(len(columns[0]))]
    if cluster is None:
        return _Sums(np.stack(each, axis=1).astype(np.float64), combine)
    return _Sums(np.stack([np.bincount(cluster, weights=column) for column in each], axis=1), combine)


def _whole(prepared: _Prepared, clusters: int) -> float:
    """The metric of the rows as they are; NaN where they do not define it."""
    return float(prepared.of(np.ones((1, clusters)))[0]) if clusters else math.nan


def _running(weights: Floats) -> Floats:
    """Sums of the first 0, 1, ... n columns: [b, n + 1]."""
    sums = np.empty((weights.shape[0], weights.shape[1] + 1))
    sums[:, 0] = 0
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _resample(
    prepared: Mapping[tuple[str, str], _Prepared], clusters: int, resamples: int, seed: int, *, rows: int
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
    chance = np.random.default_rng(seed)
    block = max(1, min(resamples, _BLOCK_WEIGHTS // rows))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        draws = chance.integers(0, clusters, size=(size, clusters))
        draws += np.arange(0, size * clusters, clusters)[:, None]
        weights = np.bincount(draws.ravel(), minlength=size * clusters).reshape(size, clusters).astype(np.float64)
        yield slice(start, start + size), weights


def _tail(confidence: float, clusters: int) -> float:
    """Share of replicates beyond each end of the interval.

    A percentile interval is too narrow by sqrt((n - 1) / n) and takes the normal's quantile for Student's; with t the
    quantile at n - 1 degrees of freedom, a tail of Phi(-t sqrt(n / (n - 1))) makes up for both (Hesterberg 2015).
    """
    normal = NormalDist()
    z = normal.inv_cdf((1 + confidence) / 2)
    degrees = max(clusters - 1, 1)
    # Student's quantile from the normal's: Abramowitz and Stegun 26.7.5; error below 1e-4 from 10 degrees on.
    t = (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )
    return normal.cdf(-t * math.sqrt((degrees + 1) / degrees))


def simultaneous(estimate: Estimate, comparisons: int, *, confidence: float, clusters: int) -> Estimate:
    """The interval, widened so that `comparisons` of its kind hold all together with the confidence that it has alone
    (Bonferroni): each side grows as the normal's quantile does, since the far tails of few resamples are not known."""
    quantile = NormalDist().inv_cdf
    each = 1 - (1 - confidence) / max(comparisons, 1)
    factor = quantile(_tail(each, clusters)) / quantile(_tail(confidence, clusters))
    value = estimate.value
    return Estimate(value, value - factor * (value - estimate.low), value + factor * (estimate.high - value))


def _estimate(value: float, replicates: Floats, tail: float) -> Estimate:
    low, high = np.quantile(replicates[~np.isnan(replicates)], [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def _estimate_or_none(value: float, replicates: Floats, tail: float) -> Estimate | None:
    return None if math.isnan(value) else _estimate(value, replicates, tail)


def _undefined(metric: str, target: Array, scores: Array) -> DataCheckError:
    if len(target) == 0:
        problem = "there are no rows"
    elif np.isnan(scores).any():
        problem = f"the model gives no number for {int(np.isnan(scores).any(axis=1).sum()):,} of {len(target):,} rows"
    elif metric == "r2":
        problem = f"the target is {np.asarray(target)[0]:g} in all {len(target):,} rows"
    else:
        problem = f"all {len(target):,} rows are of one class"
    return DataCheckError(
        f"{metric} is not defined on these rows",
        [Fault("target", problem)],
        next_step="choose a longer or other period",
    )


@dataclass(frozen=True, slots=True)
class BaselineValue:
    """The non-ML rule, named for people ("group_rate by carrier, hour"), on the holdout."""

    rule: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class ChampionValue:
    """The serving version on the holdout. `estimate` is None when it cannot be scored, and `problem` says why.

    `seen_rows` counts holdout rows that the champion was trained on (None when its training period is not known): on
    those it has an advantage that it will not have on live traffic.
    """

    version: int
    estimate: Estimate | None
    problem: str = ""
    seen_rows: int | None = None


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the exported model is from scikit-learn's on the same rows.

    Differences are absolute, and relative for values beyond 1 (regression): |a - b| / max(1, |b|). `flips` counts rows
    on which the two give different labels; None for a regression, which gives none.
    """

    rows: int
    max_difference: float
    tolerance: float
    flips: int | None


@dataclass(frozen=True, slots=True)
class LatencyMs:
    """Time to score a single row, in milliseconds, over `rows` rows after a warm-up."""

    p50: float
    p99: float
    rows: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Every number the gate decides on. `metrics` holds all of the task's metrics; None where the rows define none.

    `sections` is where later parts of an evaluation go (slices, fairness, calibration, explanations), each under its
    own name and as plain JSON; a check that decides on one joins `gate.CHECKS`.
    """

    metric: str
    higher_is_better: bool
    confidence: float
    resamples: int
    undefined_resamples: int
    resample_by: str
    rows: int
    clusters: int
    candidate: Estimate
    baseline: BaselineValue
    champion: ChampionValue | None
    gain_over_baseline: Estimate
    gain_over_champion: Estimate | None
    metrics: Mapping[str, Estimate | None]
    parity: Parity
    latency_ms: LatencyMs
    load_ms: float
    artifact_bytes: int
    peak_memory_mib: float
    sections: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; an arm's estimate lies beside its other fields, gains are called differences."""
        document = asdict(self)
        for name in ("baseline", "champion"):
            if document[name] is not None:
                document[name] |= document[name].pop("estimate") or {"value": None, "low": None, "high": None}
        gains = {name: document.pop(f"gain_over_{name}") for name in ("baseline", "champion")}
        document["differences"] = {
            name: gain and {"estimate": gain["value"], "low": gain["low"], "high": gain["high"]}
            for name, gain in gains.items()
        }
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        given = dict(document)
        differences = given.pop("differences")
        champion = given.pop("champion")
        baseline = given.pop("baseline")
        return cls(
            **given
            | {
                "candidate": Estimate(**given["candidate"]),
                "baseline": BaselineValue(baseline["rule"], _read_estimate(baseline)),
                "champion": champion
                and ChampionValue(
                    champion["version"],
                    None if champion["value"] is None else _read_estimate(champion),
                    champion["problem"],
                    champion["seen_rows"],
                ),
                "gain_over_baseline": _read_gain(differences["baseline"]),
                "gain_over_champion": differences["champion"] and _read_gain(differences["champion"]),
                "metrics": {name: each and Estimate(**each) for name, each in given["metrics"].items()},
                "parity": Parity(**given["parity"]),
                "latency_ms": LatencyMs(**given["latency_ms"]),
            }
        )


def _read_estimate(document: Mapping[str, Any]) -> Estimate:
    return Estimate(document["value"], document["low"], document["high"])


def _read_gain(document: Mapping[str, Any]) -> Estimate:
    return Estimate(document["estimate"], document["low"], document["high"])
