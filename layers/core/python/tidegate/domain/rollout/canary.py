"""The canary: always-valid verdicts on a candidate arm that serves beside the champion arm.

Evidence is a list of looks. A look holds what each arm did since the look before, as counts. A verdict may be asked for
after every look, as often as one likes: the chance that a candidate within all tolerances is ever called worse is at
most `Policy.alpha` for the whole release and all metrics, and the chance that one worse by a margin ever passes is at
most `Policy.beta`. Both hold for any sample size, any split between the arms, and any rates that move over time for
both arms alike, because arms are only ever compared within a look.

How. For a null hypothesis "in every look, more_rate - less_rate <= by" and a point (m*, l*) outside of it, let (m°, l°)
be the point of the null that is nearest to it, in Kullback-Leibler divergence weighted by the arms' requests in the
look. Then the likelihood ratio of the look, p(m*, l*) / p(m°, l°), has a mean of at most 1 for every pair of rates in
the null (Turner and Grünwald 2023, "Exact anytime-valid confidence intervals for contingency tables and beyond",
Statistics and Probability Letters 198:109835; in short: the mean is A(m)^n B(l)^k with A and B linear, so its logarithm
is concave, is 0 at (m°, l°), and falls from there in every direction the null allows, since that is what being nearest
means). The product over looks is then a nonnegative supermartingale that starts at 1, and so is an average of such
products over many points (m*, l*), here a fixed grid. By Ville's inequality it ever reaches 1 / alpha with probability
at most alpha (Ville 1939; Howard et al. 2021, Annals of Statistics 49:1055-1080). Its running maximum is the `evidence`
of a finding.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tidegate.kernel import english

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[Any]

LOSS_UNIT = 1_000_000  # losses are summed as whole millionths of their bound, so that counts add exactly
# The grid of rates that are bet on. Any grid is valid; this one loses little power between one in two thousand and nine
# in ten. The distance between the null and "no difference" is always among the steps.
_BASES = (0.0005, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
_STEPS = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6)
_LEAST_RATE = 0.0002  # a bet on a rate of 0 would be lost for good by one event
_BISECTIONS = 15  # an end of an interval is found to 2 / 2**15, 0.006 points
_MOST_TIMES = 256  # as much as was seen: beyond, an estimate is worth nothing
_WIDEST = 0.99  # no null further out is tried; the grid would be empty there


class CanaryOutcome(StrEnum):
    """What the evidence says."""

    PASS = "pass"  # noqa: S105  an outcome, no password
    FAIL = "fail"
    INSUFFICIENT_DATA = "insufficient_data"  # neither is shown yet: not promoted, not blamed


class Metric(StrEnum):
    """What the arms are compared by."""

    ERRORS = "errors"  # share of requests the model could not answer
    TIMEOUTS = "timeouts"
    FALLBACKS = "fallbacks"  # share of requests answered by the fallback
    VIOLATIONS = "violations"  # share of answers that broke a business rule
    SLOW = "slow"  # share of requests that took longer than the latency target
    UNAVAILABLE = "unavailable"  # share of requests that the version did not answer by itself, whatever the cause
    SCORES = "scores"  # largest distance between the two cumulative score distributions (Kolmogorov-Smirnov)
    LOSS = "loss"  # mean loss of labelled predictions, as a share of its bound


_WORDS: Mapping[Metric, tuple[str, str]] = {  # how it is called, and what it is counted over
    Metric.ERRORS: ("error rate", "requests"),
    Metric.TIMEOUTS: ("time-out rate", "requests"),
    Metric.FALLBACKS: ("fallback rate", "requests"),
    Metric.VIOLATIONS: ("rate of business-rule violations", "requests"),
    Metric.SLOW: ("share over the latency target", "requests"),
    Metric.UNAVAILABLE: ("share not answered by the version", "requests"),
    Metric.SCORES: ("distance of score distributions", "scores"),
    Metric.LOSS: ("loss", "labels"),
}


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """What one arm did. Counts of disjoint sets of requests add; those of a part subtract.

    `scores` counts scores by bin, see `score_counts`; it is empty when scores are not compared. `losses` counts
    labelled predictions, `loss_millionths` sums their losses, see `loss_millionths`.

    Raises:
        ValueError: a count is negative, or larger than what it is a part of.
    """

    requests: int = 0
    errors: int = 0
    timeouts: int = 0
    fallbacks: int = 0
    violations: int = 0
    slow: int = 0
    scores: tuple[int, ...] = ()
    losses: int = 0
    loss_millionths: int = 0
    unavailable: int = 0

    def __post_init__(self) -> None:
        parts = (self.errors, self.timeouts, self.fallbacks, self.violations, self.slow, self.unavailable)
        if min(self.requests, *parts, *self.scores, self.losses, self.loss_millionths) < 0:
            raise ValueError(f"a count is negative: {self}")
        if max(parts) > self.requests or self.loss_millionths > self.losses * LOSS_UNIT:
            raise ValueError(f"a count is larger than the whole that it is a part of: {self}")

    def __add__(self, other: Self) -> Self:
        """Counts of both sets of requests together."""
        return self._with(other, 1)

    def __sub__(self, earlier: Self) -> Self:
        """What came since `earlier`, when both are totals of one arm."""
        return self._with(earlier, -1)

    def of(self, metric: Metric) -> int:
        """The count of a metric that is a rate."""
        return {
            Metric.ERRORS: self.errors,
            Metric.TIMEOUTS: self.timeouts,
            Metric.FALLBACKS: self.fallbacks,
            Metric.VIOLATIONS: self.violations,
            Metric.SLOW: self.slow,
            Metric.UNAVAILABLE: self.unavailable,
        }[metric]

    def times(self, factor: int) -> Self:
        """As if the arm had done so many times as much, alike."""
        counts = {name: factor * count for name, count in asdict(self).items() if name != "scores"}
        return type(self)(**counts, scores=tuple(factor * count for count in self.scores))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self) | {"scores": list(self.scores)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{**document, "scores": tuple(document["scores"])})

    def _with(self, other: Self, sign: int) -> Self:
        bins = max(len(self.scores), len(other.scores))
        if any(len(each) not in {0, bins} for each in (self.scores, other.scores)):
            raise ValueError(f"scores are counted in {len(self.scores)} bins and in {len(other.scores)}")
        mine, theirs = (each or (0,) * bins for each in (self.scores, other.scores))
        return type(self)(
            requests=self.requests + sign * other.requests,
            errors=self.errors + sign * other.errors,
            timeouts=self.timeouts + sign * other.timeouts,
            fallbacks=self.fallbacks + sign * other.fallbacks,
            violations=self.violations + sign * other.violations,
            slow=self.slow + sign * other.slow,
            scores=tuple(a + sign * b for a, b in zip(mine, theirs, strict=True)),
            losses=self.losses + sign * other.losses,
            loss_millionths=self.loss_millionths + sign * other.loss_millionths,
            unavailable=self.unavailable + sign * other.unavailable,
        )


def score_counts(scores: Iterable[float], edges: Sequence[float]) -> tuple[int, ...]:
    """Scores by bin: (-inf, e1], (e1, e2], ... (en, inf). Edges rise; scores that are no numbers are left out."""
    numbers = np.asarray(list(scores), dtype=np.float64)
    bins = np.searchsorted(np.asarray(edges, dtype=np.float64), numbers[~np.isnan(numbers)], side="left")
    return tuple(int(count) for count in np.bincount(bins, minlength=len(edges) + 1))


def loss_millionths(loss: float, bound: float) -> int:
    """A loss in [0, bound] as `ArmCounts.loss_millionths` takes it; what is beyond the bound counts as the bound."""
    return round(min(max(loss / bound, 0.0), 1.0) * LOSS_UNIT)


@dataclass(frozen=True, slots=True)
class Look:
    """What both arms did between two moments; without a champion the second arm stays empty."""

    candidate: ArmCounts
    champion: ArmCounts = field(default_factory=ArmCounts)

    def __add__(self, other: Self) -> Self:
        """Two looks as one. For looks at one weight only: else a rate that moves would be blamed on an arm."""
        return type(self)(self.candidate + other.candidate, self.champion + other.champion)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"candidate": self.candidate.to_json(), "champion": self.champion.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(ArmCounts.from_json(document["candidate"]), ArmCounts.from_json(document["champion"]))


@dataclass(frozen=True, slots=True)
class Demand:
    """What is demanded of one metric; all numbers are shares (0.01 is one percentage point).

    The metric fails when the candidate is shown to be worse than the champion by more than `tolerance`, and passes when
    it is shown to be worse by less than `margin`. Without a champion it fails when shown to be above `target` and
    passes when shown to be below; a metric without a target is then not judged. `alpha_share` is its part of the
    release's risk of a false rollback. A metric that is not `required` can roll back, but is not waited for.
    """

    metric: Metric
    tolerance: float
    margin: float
    alpha_share: float
    target: float | None = None
    required: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < self.margin <= _WIDEST:
            raise ValueError(f"{self.metric}: 0 <= tolerance < margin <= {_WIDEST} must hold")
        if not 0 < self.alpha_share <= 1:
            raise ValueError(f"{self.metric}: alpha_share must lie above 0 and not above 1")
        if self.target is not None and not 0 < self.target < 1:
            raise ValueError(f"{self.metric}: the target must lie between 0 and 1")


DEMANDS = (
    Demand(Metric.ERRORS, tolerance=0.001, margin=0.01, alpha_share=0.3, target=0.01),
    Demand(Metric.TIMEOUTS, tolerance=0.001, margin=0.01, alpha_share=0.1, target=0.01),
    Demand(Metric.FALLBACKS, tolerance=0.001, margin=0.01, alpha_share=0.1, target=0.02),
    Demand(Metric.VIOLATIONS, tolerance=0.001, margin=0.01, alpha_share=0.1, target=0.02),
    Demand(Metric.SLOW, tolerance=0.002, margin=0.02, alpha_share=0.2, target=0.01),
    Demand(Metric.SCORES, tolerance=0.1, margin=0.25, alpha_share=0.1),
    Demand(Metric.LOSS, tolerance=0.01, margin=0.05, alpha_share=0.1, required=False),
)
_CAUSES = (Metric.ERRORS, Metric.TIMEOUTS, Metric.FALLBACKS)  # of a request that a version does not answer by itself


def available(demands: Sequence[Demand], target: float) -> tuple[Demand, ...]:
    """The demands with one more: that at most `target` of the requests are not answered by the version itself.

    Its causes are held to the same target, as none of them may be more frequent than all together, and give it half of
    their shares of alpha, so that the risk of a false rollback stays what it is.
    """
    parts = [demand for demand in demands if demand.metric in _CAUSES]
    share = sum(demand.alpha_share for demand in parts) / 2
    lowered = {
        demand.metric: replace(demand, alpha_share=demand.alpha_share / 2, target=min(target, demand.target or target))
        for demand in parts
    }
    whole = Demand(Metric.UNAVAILABLE, tolerance=0.001, margin=0.01, alpha_share=share, target=target)
    return (*(lowered.get(demand.metric, demand) for demand in demands), whole)


@dataclass(frozen=True, slots=True)
class Policy:
    """What is demanded, and how often the verdict may be wrong in a release: `alpha` bounds false rollbacks over all
    metrics and looks, `beta` false promotions.

    A promotion needs every required metric to pass, so each is held to the whole of `beta`: a candidate that must not
    pass is bad in at least one of them, and that one alone stops it but for a chance of beta (Berger 1982,
    Technometrics 24:295-300, intersection-union tests).
    """

    demands: tuple[Demand, ...] = DEMANDS
    alpha: float = 0.05
    beta: float = 0.05

    def __post_init__(self) -> None:
        if not self.demands or sum(demand.alpha_share for demand in self.demands) > 1 + 1e-9:
            raise ValueError("a policy needs demands whose shares of alpha add up to at most 1")
        if len({demand.metric for demand in self.demands}) < len(self.demands):
            raise ValueError("a metric is demanded twice")
        if not any(demand.required for demand in self.demands):
            raise ValueError("a policy needs a required demand; otherwise it demands nothing")


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric. Rates are averages over looks, each weighted by what it can compare (Mantel and Haenszel 1959).

    `difference` is candidate minus champion (or minus the target), `low` and `high` its always-valid interval; None
    where nothing was compared, and for score distributions, which have no single difference. `evidence_worse` is the
    e-value against "no worse than tolerated" (it fails at `fails_at`), `evidence_fine` the one against "worse by the
    margin" (it passes at `passes_at`).
    """

    metric: Metric
    outcome: CanaryOutcome
    required: bool
    statement: str
    candidate_n: int
    champion_n: int
    candidate: float | None
    champion: float | None
    difference: float | None
    low: float | None
    high: float | None
    evidence_worse: float
    evidence_fine: float
    fails_at: float
    passes_at: float


@dataclass(frozen=True, slots=True)
class CanaryVerdict:
    """The canary's answer."""

    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> CanaryOutcome:
        """FAIL when any metric fails, PASS when all required ones pass."""
        if any(finding.outcome is CanaryOutcome.FAIL for finding in self.findings):
            return CanaryOutcome.FAIL
        required = [finding for finding in self.findings if finding.required]
        if required and all(finding.outcome is CanaryOutcome.PASS for finding in required):
            return CanaryOutcome.PASS
        return CanaryOutcome.INSUFFICIENT_DATA

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, in sentences: what failed; else what is still missing; else what passed."""
        outcome = self.outcome
        return tuple(
            finding.statement
            for finding in self.findings
            if finding.outcome is outcome and (finding.required or outcome is not CanaryOutcome.INSUFFICIENT_DATA)
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; evidence beyond the largest float is given as that float."""
        return {
            "outcome": self.outcome.value,
            "reasons": list(self.reasons),
            "findings": [
                asdict(finding) | {"metric": finding.metric.value, "outcome": finding.outcome.value}
                for finding in self.findings
            ],
        }


def judge(looks: Sequence[Look], policy: Policy) -> CanaryVerdict:
    """The verdict on all looks so far, the candidate against the champion that served beside it."""
    return CanaryVerdict(tuple(_compared(looks, demand, policy) for demand in policy.demands))


def judge_alone(looks: Sequence[Look], policy: Policy) -> CanaryVerdict:
    """The verdict where there is no champion: the candidate against the targets of those demands that have one.

    With no target at all nothing can be shown, and the verdict stays INSUFFICIENT_DATA.
    """
    return CanaryVerdict(
        tuple(
            _against_target(looks, demand, demand.target, policy)
            for demand in policy.demands
            if demand.target is not None and demand.metric is not Metric.SCORES
        )
    )


def still_needed(looks: Sequence[Look], finding: Finding, demand: Demand, policy: Policy) -> int | None:
    """About how many more of the candidate's requests (scores, labels) a metric needs to pass, if both arms go on as
    so far: an estimate, since chance has its part in what comes. None where nothing was compared yet, and where the
    metric would not pass by going on like this.

    `finding` is the metric's on these looks. What was seen is weighed as if it had been seen several times over.
    """
    if finding.outcome is CanaryOutcome.PASS:
        return 0
    if finding.candidate is None or finding.outcome is CanaryOutcome.FAIL:
        return None

    def short_of(factor: int) -> float:
        """By how much the logarithm of the evidence misses what is needed."""
        seen = [Look(look.candidate.times(factor), look.champion.times(factor)) for look in looks]
        again = replace(policy, demands=(replace(demand, required=True),))
        alone = finding.champion_n == 0 and demand.target is not None
        (found,) = (judge_alone if alone else judge)(seen, again).findings
        return math.log(found.passes_at) - (math.log(found.evidence_fine) if found.evidence_fine else -math.inf)

    low, high = 1, 2
    while short_of(high) > 0:
        low, high = high, 2 * high
        if high > _MOST_TIMES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if short_of(middle) > 0 else (low, middle)
    missing, over = short_of(low), -short_of(high)
    return max(1, math.ceil(finding.candidate_n * (low - 1 + missing / (missing + over or 1.0))))


def evidence_that_exceeds(more: Counts, more_n: Counts, less: Counts, less_n: Counts, by: float) -> Floats:
    """Logarithm of the e-process against "in every look, more_rate - less_rate <= by", after each look.

    Args:
        more: events in the arm that may have the larger rate [..., looks]; a sum of values in [0, 1] will do as well,
            since exp is convex: a bounded value bets no better than a coin of its mean.
        more_n: requests of that arm in each look, from 0 to 2**31. `less` and `less_n` are the same of the other arm.
        by: a number in [-0.99, 0.99]; negative ones make the null "the arm lags behind by at least that much".
    """
    keys, position = np.unique(more_n.astype(np.int64) << 32 | less_n.astype(np.int64), return_inverse=True)
    event_more, event_less, requests = _gains(by, keys.tobytes())
    gained = event_more[position] * more[..., None] + event_less[position] * less[..., None] + requests[position]
    return _mixed(np.cumsum(gained, axis=-2, out=gained))


@lru_cache(maxsize=64)  # all metrics of a look count over the same requests, and their intervals are searched alike
def _gains(by: float, keys: bytes) -> tuple[Floats, Floats, Floats]:
    """What each alternative gains by an event of either arm, and by the requests of a look [sizes, alternatives]."""
    packed = np.frombuffer(keys, dtype=np.int64)
    sizes = np.stack([packed >> 32, packed & 0xFFFFFFFF], axis=1)
    tuned_more, tuned_less = _alternatives(by)
    near_less = _nearest(tuned_more, tuned_less, by, np.maximum(sizes, 1))
    near_more = np.clip(near_less + by, 1e-12, 1 - 1e-12)  # out of range only where the look compares nothing
    counts = (sizes.min(axis=1) > 0)[:, None]
    event_more = np.where(counts, _log_odds(tuned_more) - _log_odds(near_more), 0.0)
    event_less = np.where(counts, _log_odds(tuned_less) - _log_odds(near_less), 0.0)
    requests = np.where(
        counts,
        sizes[:, :1] * (np.log1p(-tuned_more) - np.log1p(-near_more))
        + sizes[:, 1:] * (np.log1p(-tuned_less) - np.log1p(-near_less)),
        0.0,
    )
    return event_more, event_less, requests


def evidence_of_rate(events: Counts, n: Counts, limit: float, *, above: bool) -> Floats:
    """Logarithm of the e-process against "in every look, rate <= limit" (or, not `above`, rate >= limit).

    Arguments and answer as in `evidence_that_exceeds`, with a known rate in place of the other arm.
    """
    further = [*_STEPS, limit / 10, (1 - limit) / 2 if above else limit / 2]
    tuned = np.asarray([limit + step if above else limit - step for step in further])
    tuned = tuned[(tuned >= min(_LEAST_RATE, limit / 2)) & (tuned < 1)]
    won = _log_odds(tuned) - math.log(limit / (1 - limit))
    paid = np.log1p(-tuned) - math.log1p(-limit)
    return _mixed(np.cumsum(won * events[..., None] + paid * n[..., None], axis=-2))


def evidence_scores_differ(candidate: Counts, champion: Counts, by: float) -> Floats:
    """Logarithm of the e-process against "in every look, no cumulative share differs by more than `by`", after each.

    Counts are [..., looks, bins]. Each edge between bins is a comparison of two rates, either way round; their average
    is an e-process too.
    """
    logs = _edges(candidate, champion, by, away=True)
    return np.asarray(np.logaddexp.reduce(logs, axis=0) - math.log(len(logs)))


def evidence_scores_agree(candidate: Counts, champion: Counts, by: float) -> Floats:
    """Logarithm of the evidence, after each look, that no cumulative share differs by `by` or more: the weakest edge's.

    Not an e-process itself, but never above that of the edge that differs most; it is compared with
    1 / beta (an intersection-union test).
    """
    return np.asarray(_edges(candidate, champion, by, away=False).min(axis=0))


def _edges(candidate: Counts, champion: Counts, by: float, *, away: bool) -> Floats:
    """Evidence at each edge and either way round [2 * edges, ..., looks]."""
    ours, theirs = np.cumsum(candidate, axis=-1), np.cumsum(champion, axis=-1)
    our_n, their_n = ours[..., -1], theirs[..., -1]
    logs = []
    for edge in range(ours.shape[-1] - 1):
        above, below = (ours[..., edge], our_n), (theirs[..., edge], their_n)
        for more, less in ((above, below), (below, above)):
            logs.append(evidence_that_exceeds(*more, *less, by if away else -by))
    return np.stack(logs)


def _alternatives(by: float) -> tuple[Floats, Floats]:
    """The grid: rates (more, less) that differ by more than `by`."""
    steps = np.asarray([*_STEPS, abs(by)] if by < 0 else _STEPS)
    less, step = (part.ravel() for part in np.meshgrid(_BASES, steps, indexing="ij"))
    more = less + by + step
    fits = (more >= _LEAST_RATE) & (more <= 1 - _LEAST_RATE)
    return more[fits], less[fits]


def _nearest(more: Floats, less: Floats, by: float, sizes: Counts) -> Floats:
    """The less arm's rate at the null's point nearest to (more, less) [sizes, alternatives], on the null's edge.

    Minimises n KL(more || x + by) + k KL(less || x). The derivative rises with x and changes sign between the ends
    below; Newton steps that leave the bracket are replaced by its middle.
    """
    n, k = sizes[:, :1].astype(np.float64), sizes[:, 1:].astype(np.float64)
    shape = (len(sizes), len(more))
    low = np.broadcast_to(np.maximum(less, -by), shape).copy()
    high = np.broadcast_to(np.minimum(np.minimum(more - by, 1.0), 1.0 - by), shape).copy()
    at = low + (high - low) * np.clip(n / (n + k), 0.01, 0.99)
    for _ in range(60):
        shifted = at + by
        x, y = np.maximum(at * (1 - at), 1e-15), np.maximum(shifted * (1 - shifted), 1e-15)
        beyond, over = shifted - more, at - less
        slope = n * beyond / y + k * over / x
        bend = n * (y - beyond * (1 - 2 * shifted)) / (y * y) + k * (x - over * (1 - 2 * at)) / (x * x)
        rising = slope > 0
        np.copyto(high, at, where=rising)
        np.copyto(low, at, where=~rising)
        following = at - slope / bend
        inside = (following >= low) & (following <= high)
        if not inside.all():
            np.copyto(following, (low + high) / 2, where=~inside)
        moved = np.abs(following - at).max(initial=0.0)
        at = following
        if moved < 1e-11:
            break
    return np.asarray(np.clip(at, 1e-12, 1 - 1e-12))


def _log_odds(rate: Floats) -> Floats:
    return np.asarray(np.log(rate) - np.log1p(-rate))


def _mixed(logs: Floats) -> Floats:
    """Logarithm of the average over the last axis."""
    top = logs.max(axis=-1)
    return np.asarray(top + np.log(np.exp(logs - top[..., None]).mean(axis=-1)))


@dataclass(frozen=True, slots=True)
class _Tests:
    """Logarithms of the evidence against "worse by at most x" and against "worse by at least x", and what x counts."""

    worse: Callable[[float], float]
    fine: Callable[[float], float]
    tolerance: float
    margin: float


def _compared(looks: Sequence[Look], demand: Demand, policy: Policy) -> Finding:
    if demand.metric is Metric.SCORES:
        return _scores(looks, demand, policy)
    ours = _series(demand.metric, [look.candidate for look in looks])
    theirs = _series(demand.metric, [look.champion for look in looks])
    weight = ours[1] * theirs[1] / np.maximum(ours[1] + theirs[1], 1)
    tests = _Tests(
        worse=lambda by: _now(evidence_that_exceeds(*ours, *theirs, by)),
        fine=lambda by: _now(evidence_that_exceeds(*theirs, *ours, -by)),
        tolerance=demand.tolerance,
        margin=demand.margin,
    )
    rates = _average(*ours, weight), _average(*theirs, weight)
    return _found(demand, policy, tests, sizes=(ours[1], theirs[1]), rates=rates)


def _against_target(looks: Sequence[Look], demand: Demand, target: float, policy: Policy) -> Finding:
    events, n = _series(demand.metric, [look.candidate for look in looks])

    def evidence(by: float, *, above: bool) -> float:
        if 0 < target + by < 1:
            return _now(evidence_of_rate(events, n, target + by, above=above))
        return math.inf if (by < 0) == above else 0.0  # no rate is negative or above 1: refuted for certain, or never

    tests = _Tests(
        worse=lambda by: evidence(by, above=True), fine=lambda by: evidence(by, above=False), tolerance=0.0, margin=0.0
    )
    candidate = _average(events, n, n)
    rates = candidate, None if candidate is None else target
    return _found(demand, policy, tests, sizes=(n, np.zeros_like(n)), rates=rates, target=target)


def _scores(looks: Sequence[Look], demand: Demand, policy: Policy) -> Finding:
    ours, theirs = _histograms([look.candidate for look in looks], [look.champion for look in looks])
    sizes = ours.sum(axis=1), theirs.sum(axis=1)
    tests = _Tests(
        worse=lambda by: _now(evidence_scores_differ(ours, theirs, by)),
        fine=lambda by: _now(evidence_scores_agree(ours, theirs, by)),
        tolerance=demand.tolerance,
        margin=demand.margin,
    )
    weight = sizes[0] * sizes[1] / np.maximum(sizes[0] + sizes[1], 1)
    apart = 0.0
    for edge in range(ours.shape[1] - 1):
        shares = [_average(arm[:, : edge + 1].sum(axis=1), arm.sum(axis=1), weight) for arm in (ours, theirs)]
        apart = max(apart, abs((shares[0] or 0.0) - (shares[1] or 0.0)))
    compared = ours.shape[1] > 1 and weight.sum() > 0
    return _found(demand, policy, tests, sizes=sizes, rates=(apart, 0.0) if compared else (None, None))


def _found(
    demand: Demand,
    policy: Policy,
    tests: _Tests,
    *,
    sizes: tuple[Counts, Counts],
    rates: tuple[float | None, float | None],
    target: float | None = None,
) -> Finding:
    """Weigh the evidence. Where nothing can be compared there is none, and nobody is praised or blamed."""
    fails_at, passes_at = 1 / (policy.alpha * demand.alpha_share), 1 / policy.beta
    candidate, champion = rates
    worse = fine = 0.0
    difference = low = high = None
    if candidate is not None and champion is not None:
        worse, fine = tests.worse(tests.tolerance), tests.fine(tests.margin)
        if demand.metric is not Metric.SCORES:
            difference = candidate - champion
            low = _end(tests.worse, math.log(fails_at), refuted=-1.0, limit=tests.tolerance)
            high = _end(tests.fine, math.log(passes_at), refuted=1.0, limit=tests.margin)
    outcome = CanaryOutcome.INSUFFICIENT_DATA
    if worse >= math.log(fails_at):
        outcome = CanaryOutcome.FAIL
    elif fine >= math.log(passes_at):
        outcome = CanaryOutcome.PASS
    found = Finding(
        metric=demand.metric,
        outcome=outcome,
        required=demand.required,
        statement="",
        candidate_n=int(sizes[0].sum()),
        champion_n=int(sizes[1].sum()),
        candidate=candidate,
        champion=champion,
        difference=difference,
        low=low,
        high=high,
        evidence_worse=_unlogged(worse),
        evidence_fine=_unlogged(fine),
        fails_at=fails_at,
        passes_at=passes_at,
    )
    return replace(found, statement=_statement(found, demand, target))


def _end(evidence: Callable[[float], float], needed: float, *, refuted: float, limit: float) -> float:
    """The outermost difference that is refuted, seen from `refuted` (-1 or 1), where each one is for certain.

    The search starts at `limit`, so that the end and the outcome never contradict each other.
    """
    open_end = -refuted
    at = limit
    for _ in range(_BISECTIONS + 1):
        if abs(at) > _WIDEST:
            break
        if evidence(at) >= needed:
            refuted = at
        else:
            open_end = at
        at = (refuted + open_end) / 2
    return refuted


def _series(metric: Metric, arms: Sequence[ArmCounts]) -> tuple[Counts, Counts]:
    """Events and their denominators, look by look."""
    if metric is Metric.LOSS:
        sums, n = [arm.loss_millionths / LOSS_UNIT for arm in arms], [arm.losses for arm in arms]
        return np.asarray(sums, dtype=np.float64), np.asarray(n, dtype=np.int64)
    events, n = [arm.of(metric) for arm in arms], [arm.requests for arm in arms]
    return np.asarray(events, dtype=np.int64), np.asarray(n, dtype=np.int64)


def _histograms(*arms: Sequence[ArmCounts]) -> tuple[Counts, ...]:
    """Score counts [looks, bins] of each arm."""
    bins = max((len(counts.scores) for arm in arms for counts in arm), default=0)
    return tuple(
        np.asarray([counts.scores or (0,) * bins for counts in arm], dtype=np.int64).reshape(len(arm), bins)
        for arm in arms
    )


def _average(events: Counts, n: Counts, weight: Counts) -> float | None:
    """Mean of the looks' rates by weight; None when all weights are 0."""
    total = float(weight.sum())
    return float((weight * events / np.maximum(n, 1)).sum() / total) if total else None


def _now(logs: Floats) -> float:
    """The evidence after the last look; before the first it is 1, and its logarithm 0."""
    return float(logs[-1]) if len(logs) else 0.0


def _unlogged(log: float) -> float:
    return math.exp(min(log, 700.0))


def _statement(found: Finding, demand: Demand, target: float | None) -> str:
    """One sentence: what was compared, what was found, and what that means."""
    name, unit = _WORDS[found.metric]
    if found.candidate is None:
        if found.candidate_n == 0:
            return f"{name}: the candidate has no {unit} yet"
        return (
            f"{name}: no other version answered beside the candidate's {found.candidate_n:,} {unit}, so it is "
            "not compared"
        )
    if target is not None:
        subject = f"{name} {_percent(found.candidate)} of {found.candidate_n:,} {unit} {_interval(found, target)}"
        meaning = {
            CanaryOutcome.FAIL: f"above the target of {_percent(target)}",
            CanaryOutcome.PASS: f"below the target of {_percent(target)}",
            CanaryOutcome.INSUFFICIENT_DATA: f"not yet shown to be on either side of the target of {_percent(target)}",
        }[found.outcome]
        return f"{subject}: {meaning}"
    if found.metric is Metric.SCORES:
        subject = (
            f"{name} {_points(found.candidate)} ({found.candidate_n:,} scores of the candidate, "
            f"{found.champion_n:,} of the champion)"
        )
        verb = "apart"
    else:
        subject = (
            f"{name} {_percent(found.candidate)} of {found.candidate_n:,} {unit}, the champion's "
            f"{_percent(found.champion or 0.0)} of {found.champion_n:,}; difference {_interval(found)}"
        )
        verb = "worse"
    meaning = {
        CanaryOutcome.FAIL: f"{verb} by more than the {_points(demand.tolerance)} tolerated",
        CanaryOutcome.PASS: f"not {verb} by {_points(demand.margin)} or more",
        CanaryOutcome.INSUFFICIENT_DATA: (
            f"not yet shown to be {verb} by more than {_points(demand.tolerance)}, nor to be so by less than "
            f"{_points(demand.margin)}"
        ),
    }[found.outcome]
    return f"{subject}: {meaning}"


def _interval(found: Finding, target: float | None = None) -> str:
    """The always-valid interval in points: of the difference, or of the rate when it was held against a target."""
    low, high = found.low or 0.0, found.high or 0.0
    if target is not None:
        return f"[{_percent(max(target + low, 0.0))}, {_percent(min(target + high, 1.0))}]"
    return f"{_points(found.difference or 0.0)} [{100 * low:+.2f}, {100 * high:+.2f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _points(share: float) -> str:
    points = round(100 * share, 2)
    return f"{points:g} {english.noun(abs(points), 'point')}"
