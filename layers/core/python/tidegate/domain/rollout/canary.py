"""The canary: always-valid verdicts on a candidate arm that serves beside the champion arm.

Evidence is a list of looks. A look holds what each arm did since the look before, as counts. A verdict may be asked for
after every look, as often as one likes: the chance that a candidate within all tolerances is ever called worse is at
most `Policy.alpha` for the whole release and all metrics, and the chance that one worse by a margin ever passes is at
most `Policy.beta`. Both hold for any sample size, any split between the arms, and any rates that move over time for
both arms alike, because arms are only ever compared within a look.

How: `betting` has the e-processes, and why they are valid. A finding's evidence is that after the last look.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Self

import numpy as np

from tidegate.domain.rollout import betting
from tidegate.domain.rollout.betting import (
    VALUES,
    WIDEST,
    Counts,
    Floats,
    coins,
    evidence_of_mean,
    evidence_of_pairs,
    evidence_that_exceeds,
    evidence_that_means_exceed,
)
from tidegate.kernel import english

_BY_BIN = ("scores", "loss_at", "labelled")
LOSS_UNIT = 1_000_000  # losses are summed as whole millionths of their bound, so that counts add exactly
_BISECTIONS = 15  # an end of an interval is found to 2 / 2**15, 0.006 points
_MOST_TIMES = 256  # as much as was seen: beyond, an estimate is worth nothing
_UNLIKE = 3.5  # standard errors by which a bin's share of labels differs from the others' when that is no chance


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
    labelled predictions, `loss_millionths` sums their losses, see `loss_millionths`; `loss_at` says how much of them
    lies on each of `betting.VALUES`, in millionths of a label, and `labelled` counts labels by the bin of their score.
    Both are empty in counts from before 0.2.0.

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
    loss_at: tuple[int, ...] = ()
    labelled: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        parts = (self.errors, self.timeouts, self.fallbacks, self.violations, self.slow, self.unavailable)
        others = (*self.scores, *self.loss_at, *self.labelled, self.losses, self.loss_millionths)
        if min(self.requests, *parts, *others) < 0:
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
        return self._each(lambda count: factor * count)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        counts = asdict(self)
        return counts | {name: list(counts[name]) for name in _BY_BIN}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{**document, **{name: tuple(document.get(name, ())) for name in _BY_BIN}})

    def _with(self, other: Self, sign: int) -> Self:
        counts = {}
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if each.name not in _BY_BIN:
                counts[each.name] = mine + sign * theirs
                continue
            bins = max(len(mine), len(theirs))
            if any(len(part) not in {0, bins} for part in (mine, theirs)):
                raise ValueError(f"{each.name} are counted in {len(mine)} bins and in {len(theirs)}")
            mine, theirs = (part or (0,) * bins for part in (mine, theirs))
            counts[each.name] = tuple(a + sign * b for a, b in zip(mine, theirs, strict=True))
        return type(self)(**counts)

    def _each(self, change: Callable[[int], int]) -> Self:
        counts: dict[str, Any] = {
            name: tuple(map(change, count)) if name in _BY_BIN else change(count)
            for name, count in asdict(self).items()
        }
        return type(self)(**counts)


def score_counts(scores: Iterable[float], edges: Sequence[float]) -> tuple[int, ...]:
    """Scores by bin: (-inf, e1], (e1, e2], ... (en, inf). Edges rise; scores that are no numbers are left out."""
    numbers = np.asarray(list(scores), dtype=np.float64)
    bins = np.searchsorted(np.asarray(edges, dtype=np.float64), numbers[~np.isnan(numbers)], side="left")
    return tuple(int(count) for count in np.bincount(bins, minlength=len(edges) + 1))


def loss_millionths(loss: float, bound: float) -> int:
    """A loss in [0, bound] as `ArmCounts.loss_millionths` takes it; what is beyond the bound counts as the bound."""
    return round(min(max(loss / bound, 0.0), 1.0) * LOSS_UNIT)


def loss_at(losses: Iterable[float]) -> tuple[int, ...]:
    """Losses in [0, 1], larger ones as 1, as `ArmCounts.loss_at` takes them; empty when there are none."""
    numbers = np.asarray(list(losses), dtype=np.float64)
    return tuple(int(mass) for mass in np.rint(LOSS_UNIT * betting.masses(numbers))) if len(numbers) else ()


@dataclass(frozen=True, slots=True)
class Look:
    """What both arms did between two moments; without a champion the second arm stays empty.

    `both` counts what happened to both arms at once, where both answered the same requests: a shadow and the champion.
    Its scores are counted by the larger score of each pair, so that both lie below an edge when that one does.
    """

    candidate: ArmCounts
    champion: ArmCounts = field(default_factory=ArmCounts)
    both: ArmCounts | None = None

    def __add__(self, other: Self) -> Self:
        """Two looks as one. For looks at one weight only: else a rate that moves would be blamed on an arm."""
        both = None if self.both is None or other.both is None else self.both + other.both
        return type(self)(self.candidate + other.candidate, self.champion + other.champion, both)

    def times(self, factor: int) -> Self:
        """As if all had happened so many times, alike."""
        both = self.both and self.both.times(factor)
        return type(self)(self.candidate.times(factor), self.champion.times(factor), both)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        both = {"both": self.both.to_json()} if self.both else {}
        return {"candidate": self.candidate.to_json(), "champion": self.champion.to_json()} | both

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        both = ArmCounts.from_json(document["both"]) if "both" in document else None
        return cls(ArmCounts.from_json(document["candidate"]), ArmCounts.from_json(document["champion"]), both)


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
        if not 0 <= self.tolerance < self.margin <= WIDEST:
            raise ValueError(f"{self.metric}: 0 <= tolerance < margin <= {WIDEST} must hold")
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
        seen = [look.times(factor) for look in looks]
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


def evidence_scores_differ(candidate: Counts, champion: Counts, by: float, *, both: Counts | None = None) -> Floats:
    """Logarithm of the e-process against "in every look, no cumulative share differs by more than `by`", after each.

    Counts are [..., looks, bins]. Each edge between bins is a comparison of two rates, either way round; their average
    is an e-process too. With `both` the scores are pairs, counted there by the larger one.
    """
    logs = _edges(candidate, champion, both, by)
    return np.asarray(np.logaddexp.reduce(logs, axis=0) - math.log(len(logs)))


def evidence_scores_agree(candidate: Counts, champion: Counts, by: float, *, both: Counts | None = None) -> Floats:
    """Logarithm of the evidence, after each look, that no cumulative share differs by `by` or more: the weakest edge's.

    Not an e-process itself, but never above that of the edge that differs most; it is compared with
    1 / beta (an intersection-union test).
    """
    return np.asarray(_edges(candidate, champion, both, -by).min(axis=0))


def _edges(candidate: Counts, champion: Counts, both: Counts | None, by: float) -> Floats:
    """Evidence that cumulative shares differ by more than `by`, at each edge and either way round
    [2 * edges, ..., looks]."""
    ours, theirs = np.cumsum(candidate, axis=-1), np.cumsum(champion, axis=-1)
    common = None if both is None else np.cumsum(both, axis=-1)
    our_n, their_n = ours[..., -1], theirs[..., -1]
    logs = []
    for edge in range(ours.shape[-1] - 1):
        above, below = (ours[..., edge], our_n), (theirs[..., edge], their_n)
        for more, less in ((above, below), (below, above)):
            if common is None:
                logs.append(evidence_that_exceeds(*more, *less, by))
            else:
                logs.append(evidence_of_pairs(more[0], less[0], common[..., edge], our_n, by))
    return np.stack(logs)


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
    problem = _unlike_labels(looks, demand) if demand.metric is Metric.LOSS else ""
    ours, theirs = (_series(demand.metric, arm) for arm in _arms(looks))
    our_n, their_n = ours.sum(axis=1), theirs.sum(axis=1)
    weight = our_n * their_n / np.maximum(our_n + their_n, 1)
    pairs = _pairs(looks)
    if pairs and demand.metric is not Metric.LOSS:
        common = _series(demand.metric, pairs)[:, -1]

        def exceeds(more: Floats, less: Floats, by: float) -> float:
            return _now(evidence_of_pairs(more[:, -1], less[:, -1], common, our_n, by))
    else:

        def exceeds(more: Floats, less: Floats, by: float) -> float:
            return _now(evidence_that_means_exceed(more, less, by))

    tests = _Tests(
        worse=lambda by: exceeds(ours, theirs, by),
        fine=lambda by: exceeds(theirs, ours, -by),
        tolerance=demand.tolerance,
        margin=demand.margin,
    )
    rates = _average(ours, weight), _average(theirs, weight)
    return _found(demand, policy, tests, sizes=(our_n, their_n), rates=rates, problem=problem)


def _against_target(looks: Sequence[Look], demand: Demand, target: float, policy: Policy) -> Finding:
    values = _series(demand.metric, _arms(looks)[0])
    n = values.sum(axis=1)

    def evidence(by: float, *, above: bool) -> float:
        if 0 < target + by < 1:
            return _now(evidence_of_mean(values, target + by, above=above))
        return math.inf if (by < 0) == above else 0.0  # no rate is negative or above 1: refuted for certain, or never

    tests = _Tests(
        worse=lambda by: evidence(by, above=True), fine=lambda by: evidence(by, above=False), tolerance=0.0, margin=0.0
    )
    candidate = _average(values, n)
    rates = candidate, None if candidate is None else target
    return _found(demand, policy, tests, sizes=(n, np.zeros_like(n)), rates=rates, target=target)


def _scores(looks: Sequence[Look], demand: Demand, policy: Policy) -> Finding:
    pairs = _pairs(looks)
    ours, theirs, *common = _histograms(*_arms(looks), *([pairs] if pairs else []))
    both = common[0] if common else None
    sizes = ours.sum(axis=1), theirs.sum(axis=1)
    tests = _Tests(
        worse=lambda by: _now(evidence_scores_differ(ours, theirs, by, both=both)),
        fine=lambda by: _now(evidence_scores_agree(ours, theirs, by, both=both)),
        tolerance=demand.tolerance,
        margin=demand.margin,
    )
    weight = sizes[0] * sizes[1] / np.maximum(sizes[0] + sizes[1], 1)
    apart = 0.0
    for edge in range(ours.shape[1] - 1):
        below = [coins(arm[:, : edge + 1].sum(axis=1), arm.sum(axis=1)) for arm in (ours, theirs)]
        shares = [_average(arm, weight) for arm in below]
        apart = max(apart, abs((shares[0] or 0.0) - (shares[1] or 0.0)))
    compared = ours.shape[1] > 1 and weight.sum() > 0
    return _found(demand, policy, tests, sizes=sizes, rates=(apart, 0.0) if compared else (None, None))


def _unlike_labels(looks: Sequence[Look], demand: Demand) -> str:
    """Why losses must not be compared: what has a label depends on the score, by more than chance, and by more than
    the losses may differ. Where only high scores are looked into, the labelled losses of two versions can differ the
    other way round than all losses do. Empty when nothing speaks against it.

    A loss lies in [0, 1], so the mean of the labelled ones is off by at most the total variation distance between the
    scores of labelled predictions and all scores.
    """
    for side, arm in zip(("candidate", "champion"), _histograms(*_arms(looks)), strict=True):
        scores = arm.sum(axis=0).astype(np.float64)
        counted = [look.labelled for look in _arms(looks)[side == "champion"] if look.labelled]
        labels = np.sum(counted, axis=0, dtype=np.float64) if counted else np.zeros_like(scores)
        if not (scores.sum() and labels.sum()):
            continue
        share = min(labels.sum() / scores.sum(), 1.0)
        errors = np.sqrt(np.maximum(scores * share * (1 - share), 1e-12))
        apart = float(np.abs(labels / labels.sum() - scores / scores.sum()).sum() / 2)
        if apart > demand.tolerance and (np.abs(labels - share * scores) > _UNLIKE * np.maximum(errors, 1)).any():
            return (
                f"which of the {side}'s predictions have a label depends on the score ({_points(apart)} apart), so it "
                "is not compared"
            )
    return ""


def _found(
    demand: Demand,
    policy: Policy,
    tests: _Tests,
    *,
    sizes: tuple[Counts, Counts],
    rates: tuple[float | None, float | None],
    target: float | None = None,
    problem: str = "",
) -> Finding:
    """Weigh the evidence. Where nothing can be compared, or because of a `problem` must not be, there is none, and
    nobody is praised or blamed."""
    fails_at, passes_at = 1 / (policy.alpha * demand.alpha_share), 1 / policy.beta
    candidate, champion = rates if not problem else (None, None)
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
        candidate_n=round(float(sizes[0].sum())),
        champion_n=round(float(sizes[1].sum())),
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
    if problem:
        return replace(found, statement=f"{_WORDS[demand.metric][0]}: {problem}")
    return replace(found, statement=_statement(found, demand, target))


def _end(evidence: Callable[[float], float], needed: float, *, refuted: float, limit: float) -> float:
    """The outermost difference that is refuted, seen from `refuted` (-1 or 1), where each one is for certain.

    The search starts at `limit`, so that the end and the outcome never contradict each other.
    """
    open_end = -refuted
    at = limit
    for _ in range(_BISECTIONS + 1):
        if abs(at) > WIDEST:
            break
        if evidence(at) >= needed:
            refuted = at
        else:
            open_end = at
        at = (refuted + open_end) / 2
    return refuted


def _arms(looks: Sequence[Look]) -> tuple[list[ArmCounts], list[ArmCounts]]:
    return [look.candidate for look in looks], [look.champion for look in looks]


def _pairs(looks: Sequence[Look]) -> list[ArmCounts]:
    """What happened to both arms at once; empty when not all looks count it."""
    both = [look.both for look in looks if look.both is not None]
    return both if len(both) == len(looks) else []


def _series(metric: Metric, arms: Sequence[ArmCounts]) -> Floats:
    """Masses look by look: of losses on `VALUES`, of all else on 0 and 1."""
    if metric is Metric.LOSS:
        return np.asarray([_loss_masses(arm) for arm in arms]).reshape(len(arms), len(VALUES))
    events, n = [arm.of(metric) for arm in arms], [arm.requests for arm in arms]
    return coins(np.asarray(events, dtype=np.float64), np.asarray(n, dtype=np.float64))


def _loss_masses(arm: ArmCounts) -> list[float]:
    """On `VALUES`; a sum of losses without them lies on 0 and 1, which never wins more."""
    if arm.loss_at:
        return [mass / LOSS_UNIT for mass in arm.loss_at]
    total = arm.loss_millionths / LOSS_UNIT
    return [arm.losses - total, *[0.0] * (len(VALUES) - 2), total]


def _histograms(*arms: Sequence[ArmCounts]) -> tuple[Counts, ...]:
    """Score counts [looks, bins] of each arm."""
    bins = max((len(counts.scores) for arm in arms for counts in arm), default=0)
    return tuple(
        np.asarray([counts.scores or (0,) * bins for counts in arm], dtype=np.int64).reshape(len(arm), bins)
        for arm in arms
    )


def _average(values: Floats, weight: Floats) -> float | None:
    """Mean of the looks' means by weight; None when all weights are 0."""
    total = float(weight.sum())
    points = np.asarray(VALUES if values.shape[1] == len(VALUES) else (0.0, 1.0))
    means = values @ points / np.maximum(values.sum(axis=1), 1)
    return float((weight * means).sum() / total) if total else None


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
