"""The gate: from an evaluation and a policy to a verdict that says, check by check, what was demanded and found.

Everything demanded must be shown: a check passes only when the unfavourable end of its interval meets the limit, so a
point estimate alone never passes. With intervals at confidence 0.95 a candidate truly equal to the baseline passes
`beats_baseline` in about 2.5 of 100 cases, and one truly worse than the champion by exactly the margin passes
`not_worse_than_champion` as rarely (see `evaluation.paired_bootstrap`; `scripts/bench gate` shows it by simulation).
Limits on calibration, robustness, fairness and flips describe a version and compare it with nothing: there the value
counts, and the sentence shows its interval.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import product
from typing import Any

from tidegate.domain.evaluation.bootstrap import MAX_UNDEFINED_SHARE, MIN_CLUSTERS
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.evaluation import Evaluation
from tidegate.domain.evaluation.sections import GroupDifference, Slice
from tidegate.domain.serving.reporters import behind
from tidegate.kernel import english, figures
from tidegate.kernel.metrics.registry import find

MIN_TAIL_RESAMPLES = 5  # fewer replicates beyond an end of the interval do not place that end
_MIB = 1 << 20
_LISTED = 5  # slices named in a sentence
_MEASURES = ("demographic_parity", "equal_opportunity", "equalized_odds")
_RATE = {
    "positive_rate": "the share of positive decisions is",
    "true_positive_rate": "the true positive rate is",
    "false_positive_rate": "the false positive rate is",
}
_BASE = {
    "demographic_parity": "enough rows",
    "equal_opportunity": "enough positive rows",
    "equalized_odds": "enough positive and negative rows",
}


class CheckOutcome(StrEnum):
    """What a check can say."""

    PASS = "pass"  # noqa: S105  an outcome, no password
    FAIL = "fail"
    INSUFFICIENT_DATA = "insufficient_data"  # cannot be judged; never a pass
    NOT_APPLICABLE = "not_applicable"  # nothing was demanded

    @property
    def blocks(self) -> bool:
        """Whether a version with such an outcome is rejected."""
        return self in {CheckOutcome.FAIL, CheckOutcome.INSUFFICIENT_DATA}


@dataclass(frozen=True, slots=True)
class Policy:
    """What the spec demands. `metric_target` is the least value for a metric where more is better, else the greatest.

    `margin` and `robustness_loss` are in units of the metric; `latency_p99_ms` is for a single row; `flips` is a share
    of the rows; `group_differences` are the largest allowed ones, by measure (see `domain.evaluation.fairness`).
    """

    margin: float
    min_rows: int
    latency_p99_ms: float
    load_ms: float
    artifact_mib: float
    metric_target: float | None = None
    group_differences: Mapping[str, float] = field(default_factory=dict)
    calibration_error: float | None = None
    robustness_loss: float | None = None
    flips: float | None = None
    cost_per_1000_usd: float | None = None
    captures: "CaptureLimits | None" = None


@dataclass(frozen=True, slots=True)
class CaptureLimits:
    """Beyond which somebody must agree to a version: the shares of captured predictions in the holdout and of one
    reporter in their outcomes, and the loss on rows without captures, as a share of the champion's metric."""

    holdout_share: float
    reporter_share: float
    guard_margin: float


@dataclass(frozen=True, slots=True)
class Check:
    """One demand and what was found. `value` with `low` and `high` is what was compared with `limit`."""

    name: str
    outcome: CheckOutcome
    statement: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The gate's answer."""

    checks: tuple[Check, ...]

    @property
    def accepted(self) -> bool:
        """True when no check failed and none had too little data."""
        return not any(check.outcome.blocks for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the version is rejected, in sentences; empty when it is accepted."""
        return tuple(check.statement for check in self.checks if check.outcome.blocks)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, as reports carry it."""
        return {
            "accepted": self.accepted,
            "checks": [asdict(check) | {"outcome": check.outcome.value} for check in self.checks],
            "reasons": list(self.reasons),
        }


def decide(evaluation: Evaluation, policy: Policy) -> GateVerdict:
    """Hold every check of `CHECKS` against the evaluation."""
    return GateVerdict(tuple(check(evaluation, policy) for check in CHECKS))


def enough_rows(evaluation: Evaluation, policy: Policy) -> Check:
    """Whether the holdout can carry a verdict at all: rows, clusters, resamples that define the metric."""
    gaps = _gaps(evaluation, policy)
    outcome = CheckOutcome.INSUFFICIENT_DATA if gaps else CheckOutcome.PASS
    drawn = (
        "" if evaluation.resample_by == "row" else f" in {english.count(evaluation.clusters, evaluation.resample_by)}"
    )
    enough = (
        f"the holdout has {english.count(evaluation.rows, 'row')}{drawn}; at least {policy.min_rows:,} rows are needed"
    )
    statement = "; ".join(gaps) or enough
    return Check("enough_rows", outcome, statement, value=evaluation.rows, limit=policy.min_rows)


def beats_baseline(evaluation: Evaluation, policy: Policy) -> Check:
    """The candidate must be shown to be better than a rule without learning."""
    gain = evaluation.gain_over_baseline
    statement = _comparison(evaluation, gain, f"the baseline ({evaluation.baseline.rule})")
    if _gaps(evaluation, policy):
        outcome, verdict = CheckOutcome.INSUFFICIENT_DATA, "too little data to judge by"
    elif gain.low > 0:
        outcome, verdict = CheckOutcome.PASS, ""
    elif gain.high < 0:
        outcome, verdict = CheckOutcome.FAIL, "it is worse than a rule without learning"
    else:
        outcome, verdict = CheckOutcome.FAIL, "it is not shown to be better than a rule without learning"
    return _judged("beats_baseline", outcome, _joined(statement, verdict), gain, limit=0.0)


def not_worse_than_champion(evaluation: Evaluation, policy: Policy) -> Check:
    """The candidate must be shown not to be worse than what serves now by more than the margin."""
    name, champion, gain = "not_worse_than_champion", evaluation.champion, evaluation.gain_over_champion
    if champion is None:
        return Check(name, CheckOutcome.NOT_APPLICABLE, "no version serves yet")
    rival = f"version {champion.version}"
    if gain is None:
        statement = f"{rival} serves and could not be scored on this holdout: {champion.problem}"
        return Check(name, CheckOutcome.FAIL, statement, limit=-policy.margin)
    statement = _comparison(evaluation, gain, rival)
    if champion.seen_rows:
        statement += f" ({champion.seen_rows:,} of the {evaluation.rows:,} rows were in that version's training data)"
    allowed = f"the margin is {policy.margin:g}" if policy.margin else "no margin is allowed"
    if _gaps(evaluation, policy):
        outcome, verdict = CheckOutcome.INSUFFICIENT_DATA, "too little data to judge by"
    elif gain.low > -policy.margin:
        outcome, verdict = CheckOutcome.PASS, allowed if gain.low <= 0 else ""
    elif gain.high < -policy.margin:
        outcome, verdict = CheckOutcome.FAIL, f"it is worse; {allowed}"
    elif gain.low < 0:
        outcome, verdict = CheckOutcome.FAIL, f"it may be worse by {gain.rounded(-gain.low)}; {allowed}"
    else:
        outcome, verdict = CheckOutcome.FAIL, f"it is not shown to be better; {allowed}"
    return _judged(name, outcome, _joined(statement, verdict), gain, limit=-policy.margin)


def metric_target(evaluation: Evaluation, policy: Policy) -> Check:
    """The unfavourable end of the metric's interval must reach the target, since the holdout is only a sample."""
    name, found, target = "metric_target", evaluation.candidate, policy.metric_target
    if target is None:
        return Check(name, CheckOutcome.NOT_APPLICABLE, f"no target is set for {evaluation.metric}")
    if evaluation.higher_is_better:
        end, side, best, reached, bound = found.low, "lower", found.high, found.low >= target, "at least"
    else:
        end, side, best, reached, bound = found.high, "upper", found.low, found.high <= target, "at most"
    missed = best < target if evaluation.higher_is_better else best > target
    statement = f"{evaluation.metric} {found.shown} must be {bound} {target:g}"
    if _gaps(evaluation, policy):
        outcome, verdict = CheckOutcome.INSUFFICIENT_DATA, "too little data to judge by"
    elif reached:
        outcome, verdict = CheckOutcome.PASS, f"the {side} end of the interval, which decides, reaches it"
    elif missed:
        outcome, verdict = CheckOutcome.FAIL, "the whole interval misses it"
    else:
        outcome, verdict = (
            CheckOutcome.FAIL,
            f"the {side} end, {found.rounded(end)}, does not reach it, so the target is not shown to be met",
        )
    return _judged(name, outcome, _joined(statement, verdict), found, limit=target)


def parity(evaluation: Evaluation, _: Policy) -> Check:
    """What serves must score as what was trained. Rows whose label flips within the tolerance are informational:
    a score that is a tie in one arithmetic may lie a rounding error beside the threshold in the other."""
    found = evaluation.parity
    within = found.judged <= found.tolerance
    what = "values" if found.flips is None else "scores"
    statement = (
        f"ONNX and scikit-learn {what} differ by at most {found.judged:.2g}{found.unit} on {found.rows:,} rows "
        f"(gate.parity_tolerance allows {found.tolerance:g})"
    )
    if found.flips is not None:
        changed = english.count(found.flips, "row changes its", "rows change their") if found.flips else ""
        statement = f"{statement}; {changed or 'no row changes its'} label"
    outcome = CheckOutcome.PASS if within else CheckOutcome.FAIL
    return Check("parity", outcome, statement, value=found.judged, limit=found.tolerance)


def latency_p99(evaluation: Evaluation, policy: Policy) -> Check:
    """Single-row scoring time."""
    found, limit = evaluation.latency_ms, policy.latency_p99_ms
    statement = f"scoring one row takes {found.p50:.3g} ms (p50) and {found.p99:.3g} ms (p99) of {limit:g} ms allowed"
    return _limited("latency_p99", statement, found.p99, limit)


def load_time(evaluation: Evaluation, policy: Policy) -> Check:
    """Time from bytes to a session that can score; a cold start pays it."""
    statement = f"loading takes {evaluation.load_ms:.3g} ms of {policy.load_ms:g} ms allowed"
    return _limited("load_time", statement, evaluation.load_ms, policy.load_ms)


def artifact_size(evaluation: Evaluation, policy: Policy) -> Check:
    """Size of the artifact in MiB."""
    size = evaluation.artifact_bytes / _MIB
    statement = f"the artifact takes {size:.3g} MiB of {policy.artifact_mib:g} MiB allowed"
    return _limited("artifact_size", statement, size, policy.artifact_mib)


def cost(evaluation: Evaluation, policy: Policy) -> Check:
    """What 1,000 requests of one row would cost if each took as long as the slowest of a hundred to score."""
    name, found, limit = "cost", evaluation.sections.cost, policy.cost_per_1000_usd
    if found is None:
        return Check(name, CheckOutcome.NOT_APPLICABLE, "the cost was not estimated")
    usd = found.per_1000_usd
    statement = (
        f"1,000 predictions are estimated to cost {usd:.3g} USD: {evaluation.latency_ms.p99:.3g} ms of scoring each at "
        f"{found.memory_mb:g} MB, and the fee for requests"
    )
    if limit is None:
        return Check(name, CheckOutcome.NOT_APPLICABLE, statement, value=usd)
    return _limited(name, f"{statement} ({limit:g} USD is allowed)", usd, limit)


def fallback(evaluation: Evaluation, _: Policy) -> Check:
    """What answers when no version can, on the same rows. Informational: it is what people declared."""
    name, found = "fallback", evaluation.sections.fallback
    if found is None:
        return Check(name, CheckOutcome.NOT_APPLICABLE, "the fallback was not evaluated")
    estimate = found.estimate
    statement = (
        f"when no version can answer, {found.rule} does: {evaluation.metric} {estimate.shown}; "
        f"the candidate gains {found.gain.shown} over it"
    )
    return Check(name, CheckOutcome.NOT_APPLICABLE, statement, estimate.value, estimate.low, estimate.high)


def business_rules(evaluation: Evaluation, _: Policy) -> Check:
    """The fallback may break no rule, since it answers where the candidate does. How many answers it would replace is
    informational: serving replaces them."""
    name, found = "business_rules", evaluation.sections.rules
    if found is None or not found.by_rule:
        return Check(name, CheckOutcome.NOT_APPLICABLE, "no business rules are declared")
    rows, total = found.rows.candidate, found.holdout_rows
    share = rows / total if total else 0.0
    listed = ", ".join(f"{rule.name} {rule.candidate:,}" for rule in found.by_rule if rule.candidate)
    statement = f"{rows:,} of {total:,} answers ({100 * share:.3g} %) break a business rule"
    statement += f" ({listed}); the fallback answers in their place" if rows else ""
    broken = [(each, each.fallback_score) for each in found.by_rule if each.fallback_score is not None]
    if not broken:
        return Check(name, CheckOutcome.PASS, f"{statement}; the fallback breaks none", value=share)
    listed = ", ".join(f"{each.name} ({each.require}) with the score {figures.number(score)}" for each, score in broken)
    return Check(
        name,
        CheckOutcome.FAIL,
        f"{statement}; the fallback breaks {listed}, on {english.count(found.rows.fallback, 'row')} of the holdout: "
        "change the rule or the fallback",
        value=share,
    )


def captures(evaluation: Evaluation, policy: Policy) -> Check:
    """Whether people have to agree, since callers reported what the version learned from or is judged by. It blocks
    nothing."""
    name, found, gain = "captures", evaluation.sections.captures, _guard_gain(evaluation)
    if found is None:
        return Check(name, CheckOutcome.NOT_APPLICABLE, "no captured predictions are in the data")
    statement = (
        f"{found.holdout_rows:,} of the {evaluation.rows:,} holdout rows are captured predictions"
        f"{f'; {_guard_words(evaluation)}' if gain else ''}"
    )
    asks = questions(evaluation, policy)
    statement += f"; somebody must approve: {'; '.join(asks)}" if asks else ""
    outcome = CheckOutcome.NOT_APPLICABLE if asks else CheckOutcome.PASS
    return Check(name, outcome, statement, *((gain.value, gain.low, gain.high) if gain else ()))


def questions(evaluation: Evaluation, policy: Policy) -> tuple[str, ...]:
    """Why somebody has to agree to a version that learned from captures, in sentences."""
    found, limits = evaluation.sections.captures, policy.captures
    if found is None or limits is None:
        return ()
    asks = []
    share, gain = found.holdout_rows / evaluation.rows, _guard_gain(evaluation)
    if share > limits.holdout_share:
        asks.append(f"{share:.0%} of the holdout are captured predictions, more than {limits.holdout_share:.0%}")
    for who, part in behind(found.reporters, limits.reporter_share).items():
        asks.append(f"{who} reported {part:.0%} of their outcomes, more than {limits.reporter_share:.0%}")
    if gain is None or found.champion is None or found.guard_rows < policy.min_rows:
        rows = english.count(found.guard_rows, "row")
        asks.append(f"it cannot be compared with the champion on rows without captures ({rows})")
    elif gain.low < -limits.guard_margin * abs(found.champion.value):
        asks.append(f"{_guard_words(evaluation)}, which may be worse by more than {limits.guard_margin:.0%}")
    return tuple(asks)


def _guard_gain(evaluation: Evaluation) -> Estimate | None:
    return evaluation.sections.captures.gain if evaluation.sections.captures else None


def _guard_words(evaluation: Evaluation) -> str:
    """ "on 1,234 rows without captures roc_auc is 0.42 [0.40, 0.44], the champion's 0.72 [0.70, 0.74]"."""
    found = evaluation.sections.captures
    if found is None or found.candidate is None or found.champion is None:
        return ""
    return (
        f"on {english.count(found.guard_rows, 'row')} without captures {evaluation.metric} is "
        f"{found.candidate.shown}, the champion's {found.champion.shown}"
    )


def calibration(evaluation: Evaluation, policy: Policy) -> Check:
    """How far probabilities lie from what comes true; of a regression, the share of outcomes its intervals hold."""
    name, found = "calibration", evaluation.sections.calibration
    if found is not None:
        statement = f"the expected calibration error is {found.ece.shown}, the Brier score {found.brier.shown}"
        return _weighed(name, statement, found.ece, evaluation, policy, limit=policy.calibration_error)
    residuals = evaluation.sections.residuals
    given = residuals.interval if residuals else None
    if given is None:
        return Check(name, CheckOutcome.NOT_APPLICABLE, "there are no probabilities or intervals to judge")
    share = given.coverage
    statement = (
        f"intervals of {given.level:g} contain {share.shown} of the outcomes; "
        f"they are {figures.number(given.width)} wide"
    )
    return Check(name, CheckOutcome.NOT_APPLICABLE, statement, share.value, share.low, share.high)


def robustness(evaluation: Evaluation, policy: Policy) -> Check:
    """What is lost when one feature is missing, of those that a request may leave out."""
    name = "robustness"
    measured = evaluation.sections.robustness
    found = [each for each in measured.missing if each.allowed] if measured else []
    if not found:
        return Check(name, CheckOutcome.NOT_APPLICABLE, "no feature may be missing from a request")
    silent = [each.feature for each in found if each.unscored]
    if silent:
        outcome = CheckOutcome.NOT_APPLICABLE if policy.robustness_loss is None else CheckOutcome.FAIL
        listed = ", ".join(silent)
        return Check(name, outcome, f"requests may omit {listed}, but the model gives no score without it")
    loss, worst = max(((each.loss, each.feature) for each in found if each.loss), key=lambda each: each[0].value)
    which = "the only feature" if len(found) == 1 else f"the most of the {len(found):,} features"
    statement = f"without {worst} {evaluation.metric} is worse by {loss.shown}, {which} that may be missing"
    return _weighed(name, statement, loss, evaluation, policy, limit=policy.robustness_loss)


def flips(evaluation: Evaluation, policy: Policy) -> Check:
    """Decisions that change when nothing but a sensitive feature does; the column with the most counts."""
    name, found = "flips", evaluation.sections.flips
    changed = {each.column: each.changed for each in found if each.changed}
    sentences = [f"{column} alone changes {share.shown} of the decisions" for column, share in changed.items()]
    sentences += [f"{each.column}: {each.problem}" for each in found if each.problem]
    statement = "; ".join(sentences) or "no sensitive column to change is declared"
    if not changed:
        return Check(name, CheckOutcome.NOT_APPLICABLE, statement)
    most = max(changed.values(), key=lambda share: share.value)
    return _weighed(name, statement, most, evaluation, policy, limit=policy.flips)


def slices(evaluation: Evaluation, policy: Policy) -> Check:
    """No declared slice may be shown to be worse than the champion beyond the margin.

    The whole holdout must show that a candidate is not worse; a slice, which has fewer rows, fails a candidate only by
    showing that it is. The intervals hold for all slices together, so that a candidate that is worse nowhere fails here
    in at most (1 - confidence) / 2 of all cases, however many slices there are.
    """
    name, champion = "slices", evaluation.champion
    parts = evaluation.sections.slices
    found = _found_slices(evaluation)
    if not parts:
        return Check(name, CheckOutcome.NOT_APPLICABLE, f"no slices are declared{found}")
    judged = [(part, part.metric) for part in parts if part.metric and not part.too_few]
    lacking = _too_few(parts)
    if not judged:
        statement = f"no slice can be judged{lacking}; hold out more rows, or declare coarser slices{found}"
        return Check(name, CheckOutcome.INSUFFICIENT_DATA, statement)
    compared = [(part, metric, part.gain_over_champion) for part, metric in judged if part.gain_over_champion]
    if champion is None or not compared:
        side = min if evaluation.higher_is_better else max
        last, found_there = side(judged, key=lambda each: each[1].value)
        why = f"version {champion.version} could not be scored" if champion else "no version serves yet"
        worst = f"{evaluation.metric} is worst on {_place(last)}: {found_there.shown}"
        statement = f"{why}; of {english.count(len(judged), 'slice')} {worst}{lacking}{found}"
        return Check(name, CheckOutcome.NOT_APPLICABLE, statement)
    allowed = f"the margin is {policy.margin:g}" if policy.margin else "no margin is allowed"
    compared.sort(key=lambda each: each[2].high)
    worse = [each for each in compared if each[2].high < -policy.margin]
    if worse:
        outcome, shown, verdict = (
            CheckOutcome.FAIL,
            worse[:_LISTED],
            f"worse in {len(worse):,} of {len(compared):,} slices",
        )
    else:
        outcome, shown = CheckOutcome.PASS, compared[:1]
        verdict = f"not shown to be worse in any of {len(compared):,} slices, weakest"
    details = "; ".join(
        f"on {_place(part)} " + _comparison(replace(evaluation, candidate=metric), gain, f"version {champion.version}")
        for part, metric, gain in shown
    )
    statement = f"{verdict} {details} ({allowed}; intervals for all slices together){lacking}{found}"
    return _judged(name, outcome, statement, shown[0][2], limit=-policy.margin)


def fairness(evaluation: Evaluation, policy: Policy) -> Check:
    """The differences between groups, each against its limit. The difference itself is compared, as laws and policies
    speak of it; the interval says how sure it is."""
    name, found = "fairness", evaluation.sections.fairness
    if not found:
        return Check(name, CheckOutcome.NOT_APPLICABLE, "no sensitive columns are declared")
    limits = policy.group_differences
    if not limits:
        details = [
            _group_difference(column, measure, difference)
            for column, groups in found.items()
            for measure in _MEASURES
            if (difference := groups.difference(measure))
        ]
        listed = "; ".join(details) or f"see the groups of {', '.join(found)} in the report"
        return Check(name, CheckOutcome.NOT_APPLICABLE, f"no limit is set: {listed}")
    demands = list(product(found, limits))
    known = [(column, measure, found[column].difference(measure)) for column, measure in demands]
    judged = [(column, measure, difference) for column, measure, difference in known if difference]
    judged.sort(key=lambda each: each[2].estimate.value / limits[each[1]], reverse=True)
    gaps = [
        f"{_words(measure)} of {column} cannot be judged: fewer than two groups have {_BASE[measure]}"
        for column, measure, difference in known
        if not difference
    ]
    details = [
        f"{_group_difference(column, measure, difference)}, {limits[measure]:g} is allowed"
        for column, measure, difference in judged
    ]
    statement = "; ".join([*details, *gaps])
    if not judged:
        return Check(name, CheckOutcome.INSUFFICIENT_DATA, statement)
    _, measure, furthest = judged[0]
    most, limit = furthest.estimate, limits[measure]
    kept = CheckOutcome.INSUFFICIENT_DATA if gaps else CheckOutcome.PASS
    return _judged(name, CheckOutcome.FAIL if most.value > limit else kept, statement, most, limit=limit)


CHECKS: tuple[Callable[[Evaluation, Policy], Check], ...] = (
    enough_rows,
    beats_baseline,
    not_worse_than_champion,
    metric_target,
    parity,
    latency_p99,
    load_time,
    artifact_size,
    cost,
    fallback,
    business_rules,
    calibration,
    robustness,
    flips,
    slices,
    fairness,
    captures,
)


def _gaps(evaluation: Evaluation, policy: Policy) -> list[str]:
    """What the evidence lacks to be judged by, in sentences."""
    gaps = []
    if evaluation.rows < policy.min_rows:
        gaps.append(f"the holdout has {english.count(evaluation.rows, 'row')}; at least {policy.min_rows:,} are needed")
    if evaluation.clusters < MIN_CLUSTERS:
        clusters = english.count(evaluation.clusters, evaluation.resample_by)
        gaps.append(f"the holdout has {clusters}; at least {MIN_CLUSTERS} are needed")
    if evaluation.undefined_resamples > MAX_UNDEFINED_SHARE * evaluation.resamples:
        gaps.append(
            f"{evaluation.metric} was undefined in {evaluation.undefined_resamples:,} of {evaluation.resamples:,} "
            f"resamples (undefined when {find(evaluation.metric).undefined.words}); hold out more rows"
        )
    needed = math.ceil(2 * MIN_TAIL_RESAMPLES / (1 - evaluation.confidence) - 1e-9)
    if evaluation.resamples < needed:
        gaps.append(
            f"{evaluation.resamples:,} resamples are too few for a {100 * evaluation.confidence:g} % interval; "
            f"set gate.resamples to {needed:,} or more"
        )
    return gaps


def _judged(name: str, outcome: CheckOutcome, sentence: str, found: Estimate, *, limit: float) -> Check:
    return Check(name, outcome, sentence, found.value, found.low, found.high, limit)


def _joined(statement: str, verdict: str) -> str:
    return f"{statement}: {verdict}" if verdict else statement


def _limited(name: str, statement: str, value: float, limit: float) -> Check:
    return Check(name, CheckOutcome.PASS if value <= limit else CheckOutcome.FAIL, statement, value=value, limit=limit)


def _weighed(
    name: str, statement: str, found: Estimate, evaluation: Evaluation, policy: Policy, *, limit: float | None
) -> Check:
    """Against a limit that the value itself has to keep; its interval is shown. No limit: informational."""
    if limit is None:
        return Check(name, CheckOutcome.NOT_APPLICABLE, statement, found.value, found.low, found.high)
    statement += f" (at most {limit:g} is allowed)"
    if _gaps(evaluation, policy):
        outcome, verdict = CheckOutcome.INSUFFICIENT_DATA, "too little data to judge by"
    elif found.value <= limit:
        outcome, verdict = CheckOutcome.PASS, "the value itself, which decides, is within the limit"
    else:
        outcome, verdict = CheckOutcome.FAIL, "the value itself, which decides, is above the limit"
    return _judged(name, outcome, _joined(statement, verdict), found, limit=limit)


def _comparison(evaluation: Evaluation, gain: Estimate, rival: str) -> str:
    """ "roc_auc 0.742 [0.731, 0.753] is 0.066 [0.055, 0.077] above the baseline (prior)"."""
    subject = f"{evaluation.metric} {evaluation.candidate.shown}"
    if gain.low == gain.value == gain.high == 0:
        return f"{subject} is the same as that of {rival}"
    ahead = gain.value >= 0
    shown = gain if ahead else Estimate(-gain.value, -gain.high, -gain.low)
    direction = "above" if ahead == evaluation.higher_is_better else "below"
    less = "" if evaluation.higher_is_better else " (lower is better)"
    return f"{subject} is {shown.shown} {direction} {rival}{less}"


def _place(part: Slice) -> str:
    """ "carrier EV (1,234 rows)"."""
    return f"{part.column} {part.value} ({english.count(part.rows, 'row')})"


def _too_few(parts: Sequence[Slice]) -> str:
    few = [part for part in parts if part.too_few]
    if not few:
        return ""
    listed = ", ".join(f"{part.column} {part.value} ({part.lacking})" for part in few[:_LISTED])
    more = f" and {len(few) - _LISTED:,} more" if len(few) > _LISTED else ""
    return f"; too little data to judge {listed}{more}"


def _found_slices(evaluation: Evaluation) -> str:
    """Informational: where outcomes are harder to predict, every model loses more."""
    confirmed = [part for part in evaluation.sections.found or () if part.confirmed]
    if not confirmed:
        return ""
    listed = ", ".join(f"{part.words} (loss {part.loss_over_rest.shown} above the rest)" for part in confirmed)
    return f"; a search found larger errors where {listed}"


def _group_difference(column: str, measure: str, difference: GroupDifference) -> str:
    """ "equal opportunity of sex: the true positive rate is 0.120 [0.100, 0.140] higher for M than for F"."""
    rate, high, low = _RATE[difference.rate], difference.highest, difference.lowest
    return f"{_words(measure)} of {column}: {rate} {difference.estimate.shown} higher for {high} than for {low}"


def _words(measure: str) -> str:
    return measure.replace("_", " ")
