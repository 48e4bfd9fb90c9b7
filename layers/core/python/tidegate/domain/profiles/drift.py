"""Drift: a window's profile against the reference profile of the version that served.

A column has drifted when the change is significant and material.

Significant: Pearson's chi-square test of two samples on the counts of all cells but masked values and type faults. Both
samples' sizes count, so a small reference is not taken for the truth. Cells expected to hold fewer than ten rows of the
smaller sample are pooled with each other, neighbours first, into cells that hold ten (Cochran 1954, "Some methods for
strengthening the common chi-square tests", Biometrics 10:417-451, asks for five; adjusted p-values lie further out in
the tail, where five are too few). When all of them together do not hold ten, their pool is compared with the rest by
Fisher's exact test, beside the chi-square test of the other cells, and the smaller of the two p-values is doubled
(Bonferroni): pooled with a frequent cell, a new value would drown in it. The reference has no rows beyond its own
smallest and largest one, by construction and not by chance: rows of the window beyond both ends together are as many as
those beyond the reference's second largest row alone (Tukey 1947, "Non-parametric estimation II. Statistically
equivalent blocks", Ann. Math. Stat. 18:529-539), so Fisher's test counts one row of the reference among them. Pools
follow the order of the cells and not their counts: with quantile edges the reference's counts are equal by
construction, so the order of the totals would be that of the window's counts, and pooling by it would find drift in
noise. Over the columns of one verdict the false discovery rate is held at `DriftPolicy.alpha` (Benjamini and Hochberg
1995, J. R. Stat. Soc. B 57:289-300): in a window without any drift, the chance that any column is called drifted is at
most alpha, as far as the chi-square approximation goes.

Material: the population stability index (Jeffreys' divergence of the shares, natural logarithm) or the Jensen-Shannon
distance (base 2, from 0 to 1; Lin 1991, IEEE Trans. Inf. Theory 37:145-151) exceeds its threshold. Both are taken from
the pooled cells. Neither is a test: at 100 rows they exceed such thresholds by chance alone.

Rows count as independent. Many rows of one client are fewer than they look; the material threshold is what then
protects.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from statistics import median
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tidegate.domain.profiles.profile import (
    MASKED,
    MISSING,
    OUTSIDE,
    STRANGE,
    TYPE_FAULT,
    ColumnLayout,
    Counts,
    Layout,
    Profile,
)

LEAST_EXPECTED = 10.0
_ENDS = 2  # of a reference's range
_MOST_RESPONSIBLE = 3
_MAD_TO_DEVIATION = 1.4826  # of a normal distribution
_FAULTS = {"missing": MISSING, "outside": OUTSIDE, "type_fault": TYPE_FAULT, "strange": STRANGE}

Floats = npt.NDArray[np.float64]
Cell = TypeVar("Cell")


class Outcome(StrEnum):
    """What the counts say."""

    NONE = "none"  # no drift is shown
    DRIFTED = "drifted"
    INSUFFICIENT_DATA = "insufficient_data"  # too few rows to judge by, or none that may be looked at


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """What counts as drift.

    Attributes:
        alpha: false discovery rate of each verdict.
        psi: population stability index from which a change is material.
        jensen_shannon: Jensen-Shannon distance from which it is.
        min_rows: of the window and of the reference, in a column; with fewer it is not judged.
        importance: the features' verdict is DRIFTED when drifted features hold this share of the importance or more.
        fault_share: rise of the share of missing, unseen or out-of-range values or type faults that is material.
        strange_share: rise of the share of numbers between known values that is; a season brings some of them.
        min_windows: earlier windows of the same length needed to say what traffic is usual.
        volume_change: change of traffic, as a share of the usual, that is material.
        volume_deviations: how many robust standard deviations from the usual are significant.
    """

    alpha: float = 0.05
    psi: float = 0.2
    jensen_shannon: float = 0.1
    min_rows: int = 500
    importance: float = 0.1
    fault_share: float = 0.01
    strange_share: float = 0.1
    min_windows: int = 8
    volume_change: float = 0.5
    volume_deviations: float = 4.0


@dataclass(frozen=True, slots=True)
class ColumnFinding:
    """One column's distribution. `p_value` is of the test alone, `q_value` adjusted for the columns judged beside it.
    `cell` is the one whose share moved most. Numbers are None where the column was not judged."""

    name: str
    outcome: Outcome
    statement: str
    rows: int
    reference_rows: int
    importance: float
    psi: float | None = None
    jensen_shannon: float | None = None
    p_value: float | None = None
    q_value: float | None = None
    cell: str | None = None
    cell_share: float | None = None
    cell_reference_share: float | None = None


@dataclass(frozen=True, slots=True)
class FaultFinding:
    """The share of one kind of fault (missing, outside, type_fault, strange) in a feature; numbers as in
    `ColumnFinding`."""

    name: str
    fault: str
    outcome: Outcome
    statement: str
    rows: int
    reference_rows: int
    share: float | None = None
    reference_share: float | None = None
    p_value: float | None = None
    q_value: float | None = None


@dataclass(frozen=True, slots=True)
class VolumeFinding:
    """Rows of the window beside those of earlier windows of the same length; `low` to `high` is usual."""

    name: str
    outcome: Outcome
    statement: str
    rows: int
    windows: int
    usual: float | None = None
    low: float | None = None
    high: float | None = None


Finding = ColumnFinding | FaultFinding | VolumeFinding


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one question; `responsible` names the few columns that weigh most in it."""

    outcome: Outcome
    statement: str
    responsible: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All verdicts on one window."""

    features: Verdict
    predictions: Verdict
    quality: Verdict
    volume: Verdict
    target: Verdict

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the verdicts that are DRIFTED."""
        verdicts = {name: getattr(self, name) for name in ("features", "predictions", "quality", "volume", "target")}
        return tuple(name for name, verdict in verdicts.items() if verdict.outcome is Outcome.DRIFTED)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def judge(
    layout: Layout,
    reference: Profile,
    current: Profile,
    policy: DriftPolicy,
    *,
    importances: Mapping[str, float] | None = None,
    usual_rows: Sequence[int] = (),
) -> Report:
    """All verdicts on a window.

    Args:
        reference: profile of the version's training rows, `current` that of the window; both of this layout.
        importances: weight of each feature in any unit; one that is not named, or negative, weighs nothing. Without any
            (or with no weight on those that can be judged) every feature weighs the same.
        usual_rows: rows of earlier windows of the same length and, where traffic has hours, of the same hours.

    Raises:
        ValueError: a profile is of another layout.
    """
    digest = layout.digest
    for name, profile in (("reference", reference), ("current", current)):
        if profile.layout != digest:
            raise ValueError(f"the {name} profile is of layout {profile.layout[:8]}, not {digest[:8]}; count it again")
    return Report(
        features=judge_features(layout, reference, current, policy, importances),
        predictions=_judge_predictions(layout, reference, current, policy),
        quality=judge_faults(layout, reference, current, policy),
        volume=judge_volume(current.rows, usual_rows, policy),
        target=_judge_target(layout, reference, current, policy),
    )


def judge_features(
    layout: Layout,
    reference: Profile,
    current: Profile,
    policy: DriftPolicy,
    importances: Mapping[str, float] | None = None,
) -> Verdict:
    """Feature drift. The verdict is DRIFTED when the drifted features hold `policy.importance` or more of the
    importance of all that could be judged: one important feature suffices, many unimportant ones add up. Times are not
    judged: later ones are always others."""
    places = [index for index, column in enumerate(layout.features) if column.kind != "time"]
    columns = [layout.features[index] for index in places]
    before, now = ([profile.features[index] for index in places] for profile in (reference, current))
    given = [max((importances or {}).get(column.name, 0.0), 0.0) for column in columns]
    judged = [_enough(mine, theirs, policy) for mine, theirs in zip(before, now, strict=True)]
    if not sum(weight for weight, there in zip(given, judged, strict=True) if there):
        given = [1.0] * len(given)
    total = sum(weight for weight, there in zip(given, judged, strict=True) if there)
    weights = [weight / total if there else 0.0 for weight, there in zip(given, judged, strict=True)]
    found = _columns(columns, before, now, weights, policy)
    drifted = sorted(
        (finding for finding in found if finding.outcome is Outcome.DRIFTED),
        key=lambda finding: (finding.importance * (finding.jensen_shannon or 0.0), finding.jensen_shannon or 0.0),
        reverse=True,
    )
    if not any(judged):
        statement = f"no feature can be judged: {found[0].statement}" if found else "no feature is judged for drift"
        return Verdict(Outcome.INSUFFICIENT_DATA, statement, (), found)
    share = sum(finding.importance for finding in drifted)
    unjudged = len(judged) - sum(judged)
    left_out = f"; {unjudged} more could not be judged" if unjudged else ""
    responsible = tuple(finding.name for finding in drifted[:_MOST_RESPONSIBLE])
    if not drifted:
        statement = f"none of {sum(judged)} features has drifted{left_out}"
        return Verdict(Outcome.NONE, statement, responsible, found)
    beyond = share >= policy.importance - 1e-9
    side = "at least" if beyond else "less than"
    statement = (
        f"{len(drifted)} of {sum(judged)} features {'has' if len(drifted) == 1 else 'have'} drifted, with "
        f"{100 * share:.3g} % of the importance, {side} the {100 * policy.importance:g} % that count as drift of the "
        f"model; most responsible: {', '.join(responsible)}{left_out}"
    )
    return Verdict(Outcome.DRIFTED if beyond else Outcome.NONE, statement, responsible, found)


def judge_faults(layout: Layout, reference: Profile, current: Profile, policy: DriftPolicy) -> Verdict:
    """Data quality: whether the share of missing values, of unseen categories or numbers out of the contract's range,
    of type faults, or of numbers between the known ones (see `units`) has risen in any feature. Fisher's exact test,
    one-sided (Fisher 1934, "Statistical Methods for Research Workers", 5th ed., section 21.02); adjusted over all
    features and faults together."""
    keys = [
        (index, fault)
        for index, column in enumerate(layout.features)
        for fault in _FAULTS
        if fault != "strange" or column.values
    ]
    shares: dict[tuple[int, str], tuple[int, int, int, int]] = {}
    for index, fault in keys:
        before, now = reference.features[index], current.features[index]
        if not now[MASKED] and min(sum(before), sum(now)) >= policy.min_rows:
            shares[index, fault] = (now[_FAULTS[fault]], sum(now), before[_FAULTS[fault]], sum(before))
    p_values = [rise_p_value(*numbers) for numbers in shares.values()]
    adjusted = dict(zip(shares, zip(p_values, adjust(p_values), strict=True), strict=True))
    found = tuple(
        _fault(layout.features[index], fault, shares[index, fault], adjusted[index, fault], policy)
        if (index, fault) in shares
        else FaultFinding(
            layout.features[index].name,
            fault,
            Outcome.INSUFFICIENT_DATA,
            _why_not(layout.features[index].name, reference.features[index], current.features[index], policy),
            sum(current.features[index]),
            sum(reference.features[index]),
        )
        for index, fault in keys
    )
    risen = sorted(
        (finding for finding in found if finding.outcome is Outcome.DRIFTED),
        key=lambda finding: (finding.share or 0.0) - (finding.reference_share or 0.0),
        reverse=True,
    )
    responsible = tuple(dict.fromkeys(finding.name for finding in risen))[:_MOST_RESPONSIBLE]
    if risen:
        listed = "; ".join(finding.statement for finding in risen[:_MOST_RESPONSIBLE])
        return Verdict(Outcome.DRIFTED, listed, responsible, found)
    if not shares:
        statement = f"data quality cannot be judged: {found[0].statement}" if found else "the model has no features"
        return Verdict(Outcome.INSUFFICIENT_DATA, statement, (), found)
    judged = len({index for index, _ in shares})
    return Verdict(
        Outcome.NONE, f"no more missing, unseen, out-of-range or mistyped values in {judged} features", (), found
    )


def judge_volume(rows: int, usual_rows: Sequence[int], policy: DriftPolicy) -> Verdict:
    """Traffic against the median of earlier windows of the same length.

    A window is unusual when it lies more than `volume_deviations` robust standard deviations away (the median absolute
    deviation scaled to a normal distribution: Leys et al. 2013, J. Exp. Soc. Psychol. 49:764-766; never less than a
    Poisson count's own) and differs by `volume_change` of the median or more.
    """
    windows = len(usual_rows)
    none = "no predictions in this window"
    if windows < policy.min_windows:
        before = f"what is usual is not known: {windows} earlier windows, {policy.min_windows} are needed"
        told = f"{none}; {before}" if rows == 0 else f"{rows:,} predictions; {before}"
        return _volume(VolumeFinding("rows", Outcome.INSUFFICIENT_DATA, told, rows, windows))
    usual = float(median(usual_rows))
    spread = max(_MAD_TO_DEVIATION * median(abs(each - usual) for each in usual_rows), math.sqrt(usual))
    away = max(policy.volume_deviations * spread, policy.volume_change * usual)
    low, high = max(usual - away, 0.0), usual + away
    # Counts cannot fall below zero: where the spread is wide, the end of a service shows as zero alone.
    silent = rows == 0 and min(usual_rows) > 0
    unusual = rows < low or rows > high or silent
    told = f"{none}" if rows == 0 else f"{rows:,} predictions"
    told += f"; the median of {windows} earlier windows is {usual:,.0f}, and {low:,.0f} to {high:,.0f} is usual"
    outcome = Outcome.DRIFTED if unusual else Outcome.NONE
    return _volume(VolumeFinding("rows", outcome, told, rows, windows, usual, low, high))


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far two samples are apart: the effect's size, and how likely it is by chance."""

    psi: float
    jensen_shannon: float
    p_value: float


def compare(reference: Sequence[int], current: Sequence[int]) -> Comparison:
    """Two samples' counts in the same cells; see the module for the test, the pooling and the distances.

    PSI floors what is empty by adding half a row to every cell, so that one new value cannot make it infinite.
    """
    before, now, rare = _pooled(np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64))
    if len(before) < 2:
        return Comparison(0.0, 0.0, 1.0)
    before_n, now_n = before.sum(), now.sum()
    if rare:
        risen, rows, known, reference_rows = int(now[0]), int(now_n), int(before[0]), int(before_n)
        rise = rise_p_value(risen, rows, known + _ENDS - 1, reference_rows)
        exact = 2 * min(rise, rise_p_value(known, reference_rows, risen, rows))
        p_value = min(2 * min(exact, _chi_square_p_value(before[1:], now[1:])), 1.0)
    else:
        p_value = _chi_square_p_value(before, now)
    p, q = before / before_n, now / now_n
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / middle), 0.0) + np.where(q > 0, q * np.log2(q / middle), 0.0)
    floored_p = (before + 0.5) / (before_n + 0.5 * len(before))
    floored_q = (now + 0.5) / (now_n + 0.5 * len(now))
    return Comparison(
        psi=float(((floored_q - floored_p) * np.log(floored_q / floored_p)).sum()),
        jensen_shannon=math.sqrt(max(float(terms.sum()) / 2, 0.0)),
        p_value=p_value,
    )


def chi_square_tail(statistic: float, degrees: int) -> float:
    """P(chi-square >= statistic), as the finite sums for whole degrees of freedom (Abramowitz and Stegun 1964,
    "Handbook of Mathematical Functions", 26.4.4 and 26.4.5); terms as logarithms, so that none overflows."""
    if statistic <= 0:
        return 1.0
    half = statistic / 2
    odd = degrees % 2
    tail = math.erfc(math.sqrt(half)) if odd else 0.0
    powers = np.arange(degrees // 2) + odd / 2
    logs = powers * math.log(half) - half - np.asarray([math.lgamma(power + 1) for power in powers])
    return min(tail + float(np.exp(logs).sum()), 1.0)


def rise_p_value(events: int, rows: int, reference_events: int, reference_rows: int) -> float:
    """One-sided p-value of Fisher's exact test that the share of events is larger than the reference's: the tail of
    the hypergeometric distribution, summed by the ratio of neighbouring terms. 1 where the share is no larger."""
    if events * reference_rows <= reference_events * rows:
        return 1.0
    marked, total = events + reference_events, rows + reference_rows
    unmarked = total - marked
    term = math.exp(
        _log_choose(marked, events) + _log_choose(unmarked, rows - events) - _log_choose(total, rows)
    )  # underflows to 0 only where the whole tail does: terms fall from here on
    tail, hits = term, events
    while hits < min(marked, rows) and term > tail * 1e-17:
        term *= (marked - hits) * (rows - hits) / ((hits + 1) * (unmarked - rows + hits + 1))
        tail += term
        hits += 1
    return min(tail, 1.0)


def adjust(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted p-values: rejecting those at or below alpha holds the false discovery rate."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)[::-1]
    scaled = values[order] * len(values) / np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]


def _pooled(before: Floats, now: Floats) -> tuple[Floats, Floats, bool]:
    """Cells that hold anything, those expected to hold fewer than `LEAST_EXPECTED` rows of the smaller sample pooled
    and first; and whether the first cell is a pool that still holds fewer."""
    total = before + now
    there = total > 0
    before, now, total = before[there], now[there], total[there]
    if not len(total):
        return before, now, False
    expected = total * (min(before.sum(), now.sum()) / total.sum())
    rare = expected < LEAST_EXPECTED
    if not rare.any():
        return before, now, False
    pool = np.zeros(len(total), dtype=np.intp)
    pools, held = 0, 0.0
    for cell in np.flatnonzero(rare):
        if held >= LEAST_EXPECTED:
            pools, held = pools + 1, 0.0
        pool[cell] = pools
        held += float(expected[cell])
    if held < LEAST_EXPECTED and pools:
        pool[pool == pools] = pools - 1
        pools -= 1
    pool[~rare] = np.arange(pools + 1, pools + 1 + int((~rare).sum()))
    few = bool(expected[rare].sum() < LEAST_EXPECTED)
    sums = [np.bincount(pool, counts).astype(np.float64) for counts in (before, now)]
    return sums[0], sums[1], few


def _chi_square_p_value(before: Floats, now: Floats) -> float:
    if len(before) < 2:
        return 1.0
    ratio = math.sqrt(before.sum() / now.sum())
    statistic = float(((ratio * now - before / ratio) ** 2 / (before + now)).sum())
    return chi_square_tail(statistic, len(before) - 1)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _seen(counts: Counts) -> Counts:
    """The cells of what could be looked at: values, out of range or unseen, and missing."""
    return counts[:TYPE_FAULT]


def _compared(layout: ColumnLayout, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """The cells a distribution is judged by: those that were seen, without the numbers between known values. The
    reference has hardly any of them by construction, so some are no drift; `judge_faults` tells whether many are."""
    return cells[:STRANGE] + cells[OUTSIDE:TYPE_FAULT] if layout.values else cells[:TYPE_FAULT]


def _enough(reference: Counts, current: Counts, policy: DriftPolicy) -> bool:
    return not current[MASKED] and min(sum(_seen(reference)), sum(_seen(current))) >= policy.min_rows


def _why_not(name: str, reference: Counts, current: Counts, policy: DriftPolicy) -> str:
    if current[MASKED]:
        # Missing values are not masked, so what is left would seem to be missing far too often.
        return f"{name} is masked in {current[MASKED]:,} of {sum(current):,} rows, so it is not judged"
    have, whose = min((sum(_seen(current)), "the window"), (sum(_seen(reference)), "the reference"))
    return f"{name} has {have:,} rows in {whose}; at least {policy.min_rows:,} are needed"


def _columns(
    layouts: Sequence[ColumnLayout],
    reference: Sequence[Counts],
    current: Sequence[Counts],
    weights: Sequence[float],
    policy: DriftPolicy,
) -> tuple[ColumnFinding, ...]:
    """All columns of one verdict; p-values are adjusted over those that can be judged."""
    compared = {
        index: compare(*(_compared(layouts[index], counts[index]) for counts in (reference, current)))
        for index in range(len(layouts))
        if _enough(reference[index], current[index], policy)
    }
    adjusted = dict(zip(compared, adjust([each.p_value for each in compared.values()]), strict=True))
    return tuple(
        _column(layout, (reference[index], current[index]), weights[index], (compared[index], adjusted[index]), policy)
        if index in compared
        else ColumnFinding(
            layout.name,
            Outcome.INSUFFICIENT_DATA,
            _why_not(layout.name, reference[index], current[index], policy),
            sum(_seen(current[index])),
            sum(_seen(reference[index])),
            weights[index],
        )
        for index, layout in enumerate(layouts)
    )


def _column(
    layout: ColumnLayout,
    counts: tuple[Counts, Counts],
    weight: float,
    compared: tuple[Comparison, float],
    policy: DriftPolicy,
) -> ColumnFinding:
    before, now = (np.asarray(_compared(layout, each), dtype=np.float64) for each in counts)
    found, q_value = compared
    rows, reference_rows = int(now.sum()), int(before.sum())
    before, now = before / reference_rows, now / rows
    moved = int(np.abs(now - before).argmax())
    significant = q_value <= policy.alpha
    material = found.psi > policy.psi or found.jensen_shannon > policy.jensen_shannon
    distances = f"PSI {found.psi:.3f}, Jensen-Shannon distance {found.jensen_shannon:.3f}, adjusted {_p(q_value)}"
    cell = _compared(layout, layout.cell_names)[moved]
    moves = f"'{cell}' went from {100 * before[moved]:.1f} % to {100 * now[moved]:.1f} %"
    if significant and material:
        meaning = f"has drifted: {moves}"
    elif significant:
        meaning = f"has changed, but too little to matter: {moves}"
    else:
        meaning = "shows no drift"
    return ColumnFinding(
        name=layout.name,
        outcome=Outcome.DRIFTED if significant and material else Outcome.NONE,
        statement=f"{layout.name} {meaning} ({distances}; {rows:,} rows against {reference_rows:,})",
        rows=rows,
        reference_rows=reference_rows,
        importance=weight,
        psi=found.psi,
        jensen_shannon=found.jensen_shannon,
        p_value=found.p_value,
        q_value=q_value,
        cell=cell,
        cell_share=float(now[moved]),
        cell_reference_share=float(before[moved]),
    )


def _fault(
    layout: ColumnLayout,
    fault: str,
    numbers: tuple[int, int, int, int],
    p_values: tuple[float, float],
    policy: DriftPolicy,
) -> FaultFinding:
    events, rows, reference_events, reference_rows = numbers
    share, reference_share = events / rows, reference_events / reference_rows
    material = policy.strange_share if fault == "strange" else policy.fault_share
    risen = p_values[1] <= policy.alpha and share - reference_share >= material
    words = {
        "missing": "missing values",
        "outside": "unseen categories" if layout.kind == "categorical" else "values out of the allowed range",
        "type_fault": "values of a wrong type",
        "strange": "values between all that training had, as in another unit or encoding,",
    }
    statement = (
        f"{layout.name} has {100 * share:.2f} % {words[fault]} of {rows:,} rows, against "
        f"{100 * reference_share:.2f} % of {reference_rows:,} in the reference (adjusted {_p(p_values[1])})"
    )
    return FaultFinding(
        layout.name,
        fault,
        Outcome.DRIFTED if risen else Outcome.NONE,
        statement,
        rows,
        reference_rows,
        share,
        reference_share,
        *p_values,
    )


def _judge_predictions(layout: Layout, reference: Profile, current: Profile, policy: DriftPolicy) -> Verdict:
    """Prediction drift: of scores, and of the classes decided for."""
    columns, before, now = [layout.score], [reference.score], [current.score]
    if layout.label is not None:
        columns, before, now = [*columns, layout.label], [*before, reference.label], [*now, current.label]
    return _any_of(_columns(columns, before, now, [1 / len(columns)] * len(columns), policy))


def _judge_target(layout: Layout, reference: Profile, current: Profile, policy: DriftPolicy) -> Verdict:
    """Label shift: the distribution of the truth, as far as it is known (prior shift: Storkey 2009, "When training and
    test sets are different", in "Dataset Shift in Machine Learning", MIT Press)."""
    return _any_of(_columns([layout.target], [reference.target], [current.target], [1.0], policy))


def _any_of(found: tuple[ColumnFinding, ...]) -> Verdict:
    """DRIFTED when any column is; else NONE when any could be judged."""
    for outcome in (Outcome.DRIFTED, Outcome.NONE, Outcome.INSUFFICIENT_DATA):
        those = [finding for finding in found if finding.outcome is outcome]
        if those:
            break
    responsible = tuple(finding.name for finding in those) if outcome is Outcome.DRIFTED else ()
    return Verdict(outcome, "; ".join(finding.statement for finding in those), responsible, found)


def _volume(finding: VolumeFinding) -> Verdict:
    responsible = ("rows",) if finding.outcome is Outcome.DRIFTED else ()
    return Verdict(finding.outcome, finding.statement, responsible, (finding,))


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"
