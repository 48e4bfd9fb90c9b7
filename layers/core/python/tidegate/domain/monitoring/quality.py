"""Live quality: the metric where labels have arrived, what it is expected to be where they have not, and bias.

Every number has an interval and is held against one from the design phase. What is judged is the difference of the two,
with an interval made of both (`difference`): a wide live interval alone does not condemn, nor does a lucky holdout.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import combinations
from statistics import NormalDist
from typing import Any, Self

import numpy as np

from tidegate.domain.evaluation.bootstrap import CANDIDATE, MAX_UNDEFINED_SHARE, MIN_CLUSTERS, Arm, paired_bootstrap
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.recalibration import Recalibration
from tidegate.domain.profiles.profile import quantile_edges
from tidegate.domain.serving.capture import MASK
from tidegate.kernel import english, figures
from tidegate.kernel.errors import DataCheckError
from tidegate.kernel.metrics.metric import Array, FromLosses, Metric, Probabilities, Rows
from tidegate.kernel.metrics.registry import find

NO_CONCEPT_DRIFT = "assumes that the same inputs still have the same outcomes (no concept drift)"
_SIMULATIONS = 200  # a standard deviation is then known to 5 %
_SIMULATED_ROWS = 20_000
_BIN_ROWS = 50  # holdout rows in a bin of scores, at least
_MOST_BINS = 20


class QualityOutcome(StrEnum):
    """What was found."""

    WITHIN = "within"  # not shown to be beyond what was promised
    BEYOND = "beyond"
    INSUFFICIENT_DATA = "insufficient_data"


@dataclass(frozen=True, slots=True)
class Quality:
    """A metric on live traffic beside its design-phase value. `gain` is live minus design, positive when better; None
    where nothing could be computed. `assumption` is empty where labels were used."""

    metric: str
    outcome: QualityOutcome
    statement: str
    rows: int
    design: Estimate
    live: Estimate | None = None
    gain: Estimate | None = None
    assumption: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Interval of the difference of two independent estimates, from theirs, at the same confidence; they need not be
    symmetric (Zou and Donner 2008, "Construction of confidence limits about effect measures", Statistics in Medicine
    27:1693-1702)."""
    value = one.value - other.value
    return Estimate(
        value,
        value - math.hypot(one.value - one.low, other.high - other.value),
        value + math.hypot(one.high - one.value, other.value - other.low),
    )


def live_quality(
    metric: str,
    target: Array,
    scores: Array,
    design: Estimate,
    *,
    margin: float = 0.0,
    min_rows: int = 500,
    cluster: Array | None = None,
    positive: int = 1,
    threshold: float = 0.5,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Quality:
    """The metric of labelled predictions, with a bootstrap interval (see `evaluation.paired_bootstrap`).

    BEYOND when the metric is shown to be worse than in the design phase by more than `margin`: a model that is not is
    called so in about (1 - confidence) / 2 of windows. Pass rows whose labels are mature only (see `Maturity`): those
    labelled first are seldom like the others.

    Args:
        target: as in `metric.Rows` [n].
        scores: as in `metric.Rows` [n, classes].
        design: value and interval on the gate's holdout, at the same confidence.
        cluster: rows of one value share their luck (a day, a group) [n].
    """
    rows = len(target)
    clusters = rows if cluster is None else len(np.unique(cluster))
    if rows < min_rows or clusters < MIN_CLUSTERS:
        short = (
            english.count(rows, "labelled prediction")
            if rows < min_rows
            else f"labels of {english.count(clusters, 'day or group', 'days or groups')}"
        )
        needed = min_rows if rows < min_rows else MIN_CLUSTERS
        statement = f"{metric}: {short}; at least {needed:,} are needed"
        return Quality(metric, QualityOutcome.INSUFFICIENT_DATA, statement, rows, design)
    arms = {CANDIDATE: Arm(np.asarray(scores), threshold)}
    options: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed, "positive": positive}
    try:
        found = paired_bootstrap(metric, np.asarray(target), arms, cluster=cluster, **options)
    except DataCheckError as error:
        return Quality(metric, QualityOutcome.INSUFFICIENT_DATA, error.message, rows, design)
    if found.undefined_resamples > MAX_UNDEFINED_SHARE * resamples:
        statement = (
            f"{metric}: {rows:,} labelled predictions are too few for an interval: it is undefined in "
            f"{found.undefined_resamples:,} of {resamples:,} resamples (when {find(metric).undefined.words})"
        )
        return Quality(metric, QualityOutcome.INSUFFICIENT_DATA, statement, rows, design)
    source = f"{rows:,} labelled predictions"
    return _held_against(metric, found.arms[CANDIDATE], design, margin=margin, rows=rows, source=source)


def contradiction(
    target: Array,
    scores: Array,
    design: Estimate,
    *,
    task: str,
    metric: str,
    positive: int = 1,
    min_rows: int = 500,
    confidence: float = 0.95,
) -> str:
    """Why outcomes are against the model, in a sentence; empty when they are not shown to be.

    An outdated model is at worst no better than chance. A result below chance means that the outcomes are wrong. Shown
    is that the area under the ROC curve lies below one half (of a regression, for outcomes above their median), or,
    where several classes are judged by accuracy, that the answers are right less often than the commonest outcome
    occurs, which the design phase beat.

    Args:
        target: as in `metric.Rows` [n].
        scores: as in `metric.Rows` [n, classes].
        design: the metric's value on the gate's holdout.
    """
    if not len(target):
        return ""
    level, measure, what = 0.5, "roc_auc", "guessing"
    if task == "regression":
        target, positive = (target > np.median(target)).astype(np.int64), 1
        scores = np.stack([-scores[:, 0], scores[:, 0]], axis=1)
    elif task == "multiclass":
        level, measure, what = float(np.bincount(target).max() / len(target)), "accuracy", "the commonest outcome"
        if metric != measure or design.low <= level:
            return ""
    chance = Estimate(level, level, level)
    how: dict[str, Any] = {"min_rows": min_rows, "positive": positive, "confidence": confidence}
    try:
        if find(measure).value(target, scores, positive=positive) >= level:
            return ""
    except DataCheckError:
        return ""
    found = live_quality(measure, target, scores, chance, **how)
    if found.outcome is not QualityOutcome.BEYOND or found.live is None:
        return ""
    return (
        f"the outcomes contradict the model: {measure} {found.live.shown} ({found.rows:,} labelled predictions), "
        f"{figures.number(level)} by {what}"
    )


def expected_quality(
    metric: str,
    probabilities: Array,
    design: Estimate,
    *,
    margin: float = 0.0,
    min_rows: int = 500,
    positive: int = 1,
    threshold: float = 0.5,
    confidence: float = 0.95,
    seed: int = 0,
    recalibration: Recalibration | None = None,
) -> Quality:
    """What a classifier's metric is expected to be, from its own probabilities, without any label.

    Confidence-based performance estimation (Kivimäki et al. 2025, "Performance estimation in binary classification
    using calibrated confidence", arXiv:2505.05295; NannyML's CBPE): a row of probability p counts as p of a positive
    and 1 - p of a negative, which gives the expected confusion matrix at every threshold. p is the model's
    probability as recalibrated on the holdout; the order of rows and the decisions are the model's own. Right only
    while the same inputs have the same outcomes. The interval has the spread of the metric over drawn rows and labels
    drawn for them; beyond 20,000 rows it is taken from as many and scaled. It has nothing of the holdout's luck in the
    recalibration, which `design` has in the same direction.

    Args:
        metric: one that has `unlabelled=FromProbabilities(...)` (see `kernel.metrics.registry`).
        probabilities: of every row [n, classes].
        recalibration: as learned on the holdout; None takes the probabilities at their word.

    Raises:
        ValueError: the metric cannot be expected from probabilities.
    """
    known, rows = find(metric), len(probabilities)
    given = np.asarray(probabilities, dtype=np.float64)
    said = Probabilities(given, positive, threshold, recalibration.of(given) if recalibration and rows else None)
    value = known.expected(said) if rows else math.nan
    if rows < min_rows:
        statement = f"{metric}: {english.count(rows, 'prediction')}; at least {min_rows:,} are needed"
        return Quality(metric, QualityOutcome.INSUFFICIENT_DATA, statement, rows, design, assumption=NO_CONCEPT_DRIFT)
    spread = _spread_of(known, said, seed)
    if math.isnan(value) or math.isnan(spread):
        statement = f"{metric}: the probabilities do not define it on these rows ({known.undefined.words})"
        return Quality(metric, QualityOutcome.INSUFFICIENT_DATA, statement, rows, design, assumption=NO_CONCEPT_DRIFT)
    live = _around(value, spread, confidence)
    source = f"expected from the probabilities of {rows:,} predictions without labels"
    basis = {"source": source, "assumption": NO_CONCEPT_DRIFT}
    return _held_against(metric, live, design, margin=margin, rows=rows, **basis)


@dataclass(frozen=True, slots=True)
class LossByScore:
    """What a regression's loss was on the holdout, by bins of its score: rows, mean and variance of the loss in each.

    Direct loss estimation (NannyML's DLE learns the loss with a boosted tree over all features) with the smallest model
    that can be served: a step function of the score. It sees that live scores lie where the model errs more; a change
    of the inputs that leaves the scores alone it does not see.
    """

    metric: str
    edges: tuple[float, ...]
    rows: tuple[int, ...]
    mean: tuple[float, ...]
    variance: tuple[float, ...]

    @classmethod
    def learn(cls, metric: str, target: Array, score: Array) -> Self:
        """From the holdout: numbers and scores [n].

        Raises:
            ValueError: the metric is none of losses by row, or there are no rows.
        """
        loss_of = _losses(metric)
        if not len(target):
            raise ValueError(f"the loss of {metric} needs at least one row to be learned from")
        given = dict(find(metric).given)
        loss = loss_of.loss(np.asarray(target, dtype=np.float64), np.asarray(score, dtype=np.float64), **given)
        bins = max(1, min(_MOST_BINS, len(loss) // _BIN_ROWS))
        edges = quantile_edges(score, bins)[1:-1]
        bin_of = _bin(score, edges)
        rows = np.bincount(bin_of)
        mean = np.bincount(bin_of, loss) / rows
        variance = np.maximum(np.bincount(bin_of, loss**2) / rows - mean**2, 0.0)
        return cls(metric, edges, tuple(rows.tolist()), tuple(mean.tolist()), tuple(variance.tolist()))

    def expected(
        self, score: Array, design: Estimate, *, margin: float = 0.0, min_rows: int = 500, confidence: float = 0.95
    ) -> Quality:
        """What the metric is expected to be on rows of these scores [n]. The interval has the spread of live rows and
        that of the bins' means; it is normal for the mean loss, and its ends are carried over to the metric."""
        rows = len(score)
        if rows < min_rows:
            statement = f"{self.metric}: {english.count(rows, 'prediction')}; at least {min_rows:,} are needed"
            return Quality(
                self.metric, QualityOutcome.INSUFFICIENT_DATA, statement, rows, design, assumption=NO_CONCEPT_DRIFT
            )
        mean, variance = np.asarray(self.mean), np.asarray(self.variance)
        share = np.bincount(_bin(score, self.edges), minlength=len(mean)) / rows
        value = float(share @ mean)
        sampling = float(share @ (variance + (mean - value) ** 2)) / rows
        learning = float((share**2) @ (variance / np.maximum(np.asarray(self.rows) - 1, 1)))
        live = _around(value, math.sqrt(sampling + learning), confidence)
        of_mean = _losses(self.metric).of_mean
        live = Estimate(*(of_mean(end) for end in (live.value, live.low, live.high)))
        source = f"expected from the scores of {rows:,} predictions without labels"
        basis = {"source": source, "assumption": NO_CONCEPT_DRIFT}
        return _held_against(self.metric, live, design, margin=margin, rows=rows, **basis)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {name: list(part) if isinstance(part, tuple) else part for name, part in asdict(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        parts = {name: tuple(part) for name, part in document.items() if name != "metric"}
        return cls(metric=document["metric"], **parts)


@dataclass(frozen=True, slots=True)
class AgeGroup:
    """Predictions from `from_hours` to below `to_hours` old (None: any older), and how many have a label."""

    from_hours: float
    to_hours: float | None
    predictions: int
    labelled: int

    @property
    def share(self) -> float | None:
        """Share that is labelled; None without predictions."""
        return self.labelled / self.predictions if self.predictions else None


@dataclass(frozen=True, slots=True)
class Maturity:
    """How many predictions are labelled, by age from young to old."""

    groups: tuple[AgeGroup, ...]

    def mature_after_hours(self, share: float) -> float | None:
        """The age from which on every group has at least this share labelled; None when there is none."""
        mature = None
        for group in reversed(self.groups):
            if group.share is None:
                continue
            if group.share < share:
                break
            mature = group.from_hours
        return mature

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"groups": [asdict(group) | {"share": group.share} for group in self.groups]}


@dataclass(frozen=True, slots=True)
class GroupRate:
    """Share of positive decisions in one group, with Wilson's interval at the audit's confidence; None below the floor
    of rows."""

    group: str
    rows: int
    positive: int
    rate: Estimate | None


@dataclass(frozen=True, slots=True)
class Parity:
    """Demographic parity of decisions by one sensitive column. `difference` is between the groups `high` and `low`."""

    column: str
    outcome: QualityOutcome
    statement: str
    limit: float
    groups: tuple[GroupRate, ...]
    left_out: int
    high: str | None = None
    low: str | None = None
    difference: Estimate | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def demographic_parity(
    column: str,
    groups: Sequence[str | None],
    decisions: Array,
    *,
    limit: float = 0.1,
    min_rows: int = 100,
    confidence: float = 0.95,
) -> Parity:
    """Whether shares of positive decisions differ between groups by more than `limit`.

    Intervals of rates are Wilson's (1927), those of differences Newcombe's hybrid of them (1998, "Interval estimation
    for the difference between independent proportions", Statistics in Medicine 17:873-890). All pairs of groups are
    compared and the confidence holds for all together (Bonferroni), so looking for the worst pair is allowed for: with
    no pair beyond the limit, one is called so in at most 1 - confidence of windows.

    Args:
        groups: of each decision [n]; None and masked values are left out and counted.
        decisions: whether each is positive [n].
        min_rows: groups with fewer are listed and not compared.
    """
    known = [(group, bool(yes)) for group, yes in zip(groups, decisions, strict=True) if group not in {None, MASK}]
    left_out = len(groups) - len(known)
    names = np.asarray([group for group, _ in known], dtype=np.str_)
    distinct, place = np.unique(names, return_inverse=True)
    rows = np.bincount(place, minlength=len(distinct))
    positive = np.bincount(place, [yes for _, yes in known], minlength=len(distinct)).astype(np.int64)
    enough = int((rows >= min_rows).sum())
    error = (1 - confidence) / max(enough * (enough - 1) // 2, 1)
    found = tuple(
        GroupRate(str(name), int(n), int(yes), _wilson(int(yes), int(n), 1 - error) if n >= min_rows else None)
        for name, n, yes in zip(distinct, rows, positive, strict=True)
    )
    compared = [(group.group, group.rate) for group in found if group.rate is not None]
    if len(compared) < 2:
        masked = f"; {english.count(left_out, 'value is', 'values are')} missing or masked" if left_out else ""
        statement = (
            f"{column}: {len(compared)} of {len(found)} groups have {min_rows:,} decisions or more; at least 2 are "
            f"needed{masked}"
        )
        return Parity(column, QualityOutcome.INSUFFICIENT_DATA, statement, limit, found, left_out)
    pairs = [
        (one, other, difference(rate, other_rate))
        if rate.value >= other_rate.value
        else (other, one, difference(other_rate, rate))
        for (one, rate), (other, other_rate) in combinations(compared, 2)
    ]
    high, low, widest = max(pairs, key=lambda pair: (pair[2].low > limit, pair[2].value))
    beyond = widest.low > limit
    meaning = "more" if beyond else "not shown to be more"
    statement = (
        f"{column}: positive decisions are {100 * widest.value:.1f} points [{100 * widest.low:.1f}, "
        f"{100 * widest.high:.1f}] more frequent for {high} than for {low}, {meaning} than the {100 * limit:g} allowed"
    )
    outcome = QualityOutcome.BEYOND if beyond else QualityOutcome.WITHIN
    return Parity(column, outcome, statement, limit, found, left_out, high, low, widest)


def _held_against(
    metric: str, live: Estimate, design: Estimate, *, margin: float, rows: int, source: str, assumption: str = ""
) -> Quality:
    gain = difference(live, design) if find(metric).more_is_better else difference(design, live)
    worse = gain.high < -margin
    allowed = f" by more than {margin:g}" if margin else ""
    meaning = f"worse{allowed}" if worse else f"not shown to be worse{allowed}"
    statement = (
        f"{metric} {live.shown} ({source}), {design.shown} in the design phase: {meaning}"
        f"{f'; {assumption}' if assumption else ''}"
    )
    outcome = QualityOutcome.BEYOND if worse else QualityOutcome.WITHIN
    return Quality(metric, outcome, statement, rows, design, live, gain, assumption)


def _losses(metric: str) -> FromLosses:
    unlabelled = find(metric).unlabelled
    if not isinstance(unlabelled, FromLosses):
        raise ValueError(f"{metric} is not an average of losses of single rows, so no loss can be learned")  # noqa: TRY004
    return unlabelled


def _bin(score: Array, edges: Sequence[float]) -> Array:
    """Bin of each score, compared as float32 like the edges."""
    return np.searchsorted(np.asarray(edges, dtype=np.float32), np.asarray(score, dtype=np.float32), side="left")


def _around(value: float, spread: float, confidence: float) -> Estimate:
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return Estimate(value, value - z * spread, value + z * spread)


def _wilson(events: int, n: int, confidence: float) -> Estimate:
    """Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22:209-212."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = events / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return Estimate(rate, min(centre - half, rate), max(centre + half, rate))


def _spread_of(metric: Metric, said: Probabilities, seed: int) -> float:
    """Standard deviation of the metric over drawn rows, each with a label drawn from its probabilities; NaN when most
    draws do not define it."""
    chance, probabilities = np.random.default_rng(seed), said.chances
    rows = min(len(probabilities), _SIMULATED_ROWS)
    running = np.cumsum(probabilities, axis=1)
    value = _value_by_rows(metric, said) if rows < len(probabilities) else _value_by_weights(metric, said)
    values = []
    for _ in range(_SIMULATIONS):
        drawn = chance.integers(0, len(probabilities), rows)
        label = (chance.random(rows)[:, None] * running[drawn, -1:] >= running[drawn, :-1]).sum(axis=1)
        values.append(value(drawn, label))
    known = [each for each in values if not math.isnan(each)]
    if len(known) < _SIMULATIONS / 2:
        return math.nan
    return float(np.std(known, ddof=1)) * math.sqrt(rows / len(probabilities))


def _value_by_rows(metric: Metric, said: Probabilities) -> Callable[[Array, Array], float]:
    """The metric of drawn rows with drawn labels; NaN where it is not defined (one class only, say)."""

    def value(drawn: Array, label: Array) -> float:
        try:
            return metric.value(label, said.given[drawn], positive=said.positive, threshold=said.threshold)
        except DataCheckError:
            return math.nan

    return value


def _value_by_weights(metric: Metric, said: Probabilities) -> Callable[[Array, Array], float]:
    """The same, by how often each row is drawn with each label: all of them are prepared once, sorted and all."""
    rows, classes = said.given.shape
    label = np.tile(np.arange(classes), rows)
    prepared = metric.prepare(Rows(label, np.repeat(said.given, classes, axis=0), said.positive, said.threshold))

    def value(drawn: Array, label: Array) -> float:
        weights = np.bincount(drawn * classes + label, minlength=rows * classes).astype(np.float64)
        return float(prepared.of(weights[None])[0])

    return value
