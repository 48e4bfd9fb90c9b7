"""Drift: a window's profile against the reference profile of the version that served.

A column has drifted when the change is significant (`significance`) and material: one of the registered distances
(`tidegate.kernel.drift`), taken from the pooled cells, exceeds its threshold. A distance is no test: at 100 rows it
exceeds such thresholds by chance alone. Over the columns of one verdict the false discovery rate is held at
`DriftPolicy.alpha` (Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57:289-300): in a window without any drift, the
chance that any column is called drifted is at most alpha, as far as the chi-square approximation goes.

Rows count as independent. Many rows of one client are fewer than they look; the material threshold is what then
protects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np

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
from tidegate.domain.profiles.significance import adjust, change_p_value, pooled, rise_p_value
from tidegate.kernel import english
from tidegate.kernel.drift.registry import COMPARED, DISTANCES, RISES
from tidegate.kernel.drift.statistic import Rise
from tidegate.kernel.drift.volume import VOLUME

_MOST_RESPONSIBLE = 3

Cell = TypeVar("Cell")


class DriftOutcome(StrEnum):
    """What the counts say."""

    NONE = "none"  # no drift is shown
    DRIFTED = "drifted"
    INSUFFICIENT_DATA = "insufficient_data"  # too few rows to judge by, or none that may be looked at


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """What counts as drift.

    Attributes:
        alpha: false discovery rate of each verdict.
        thresholds: by the name of a registered distance, from which size a change is material.
        min_rows: of the window and of the reference, in a column; with fewer it is not judged.
        importance: the features' verdict is DRIFTED when drifted features hold this share of the importance or more.
    """

    alpha: float = 0.05
    thresholds: Mapping[str, float] = field(
        default_factory=lambda: {n: each.threshold for n, each in DISTANCES.items()}
    )
    min_rows: int = 500
    importance: float = 0.1


@dataclass(frozen=True, slots=True)
class ColumnFinding:
    """One column's distribution. `p_value` is of the test alone, `q_value` adjusted for the columns judged beside it.
    `cell` is the one whose share moved most. Numbers are None, and `distances` has none, where the column was not
    judged."""

    name: str
    outcome: DriftOutcome
    statement: str
    rows: int
    reference_rows: int
    importance: float
    distances: Mapping[str, float] = field(default_factory=dict)
    p_value: float | None = None
    q_value: float | None = None
    cell: str | None = None
    cell_share: float | None = None
    cell_reference_share: float | None = None

    @property
    def distance(self) -> float | None:
        """The one that columns are compared by."""
        return self.distances.get(COMPARED.name)


@dataclass(frozen=True, slots=True)
class FaultFinding:
    """The share of one kind of fault (missing, outside, type_fault, strange) in a feature; numbers as in
    `ColumnFinding`."""

    name: str
    fault: str
    outcome: DriftOutcome
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
    outcome: DriftOutcome
    statement: str
    rows: int
    windows: int
    usual: float | None = None
    low: float | None = None
    high: float | None = None


Finding = ColumnFinding | FaultFinding | VolumeFinding


@dataclass(frozen=True, slots=True)
class DriftVerdict:
    """The answer to one question; `responsible` names the few columns that weigh most in it."""

    outcome: DriftOutcome
    statement: str
    responsible: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All verdicts on one window."""

    features: DriftVerdict
    predictions: DriftVerdict
    quality: DriftVerdict
    volume: DriftVerdict
    target: DriftVerdict

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the verdicts that are DRIFTED."""
        verdicts = {name: getattr(self, name) for name in ("features", "predictions", "quality", "volume", "target")}
        return tuple(name for name, verdict in verdicts.items() if verdict.outcome is DriftOutcome.DRIFTED)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; a finding has each distance under its name."""
        document = asdict(self)
        for verdict in document.values():
            for finding in verdict["findings"]:
                if "distances" in finding:
                    found = finding.pop("distances")
                    finding.update({name: found.get(name) for name in DISTANCES})
        return document


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
        volume=judge_volume(current.rows, usual_rows),
        target=_judge_target(layout, reference, current, policy),
    )


def judge_features(
    layout: Layout,
    reference: Profile,
    current: Profile,
    policy: DriftPolicy,
    importances: Mapping[str, float] | None = None,
) -> DriftVerdict:
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
        (finding for finding in found if finding.outcome is DriftOutcome.DRIFTED),
        key=lambda finding: (finding.importance * (finding.distance or 0.0), finding.distance or 0.0),
        reverse=True,
    )
    if not any(judged):
        statement = f"no feature can be judged: {found[0].statement}" if found else "no feature is judged for drift"
        return DriftVerdict(DriftOutcome.INSUFFICIENT_DATA, statement, (), found)
    share = sum(finding.importance for finding in drifted)
    unjudged = len(judged) - sum(judged)
    left_out = f"; {unjudged} more could not be judged" if unjudged else ""
    hidden = max((each for each, there in zip(now, judged, strict=True) if there), key=_share_masked, default=())
    left_out += f"; of a judged feature, up to {said}" if hidden and (said := _masked(hidden)) else ""
    responsible = tuple(finding.name for finding in drifted[:_MOST_RESPONSIBLE])
    if not drifted:
        statement = f"none of {sum(judged)} features has drifted{left_out}"
        return DriftVerdict(DriftOutcome.NONE, statement, responsible, found)
    beyond = share >= policy.importance - 1e-9
    side = "at least" if beyond else "less than"
    statement = (
        f"{len(drifted)} of {sum(judged)} features {english.noun(len(drifted), 'has', 'have')} drifted, with "
        f"{100 * share:.3g} % of the importance, {side} the {100 * policy.importance:g} % that count as drift of the "
        f"model; most responsible: {', '.join(responsible)}{left_out}"
    )
    return DriftVerdict(DriftOutcome.DRIFTED if beyond else DriftOutcome.NONE, statement, responsible, found)


def judge_faults(layout: Layout, reference: Profile, current: Profile, policy: DriftPolicy) -> DriftVerdict:
    """Data quality: whether the share of missing values, of unseen categories or numbers out of the contract's range,
    of type faults, or of numbers between the known ones (see `units`) has risen in any feature. Fisher's exact test,
    one-sided (Fisher 1934, "Statistical Methods for Research Workers", 5th ed., section 21.02); adjusted over all
    features and faults together."""
    keys = [
        (index, fault)
        for index, column in enumerate(layout.features)
        for fault, rise in RISES.items()
        if column.values or not rise.between
    ]
    shares: dict[tuple[int, str], tuple[int, int, int, int]] = {}
    for index, fault in keys:
        before, now = _unmasked(reference.features[index]), _unmasked(current.features[index])
        if min(sum(before), sum(now)) >= policy.min_rows:
            cell = RISES[fault].cell
            shares[index, fault] = (now[cell], sum(now), before[cell], sum(before))
    p_values = [rise_p_value(*numbers) for numbers in shares.values()]
    adjusted = dict(zip(shares, zip(p_values, adjust(p_values), strict=True), strict=True))
    found = tuple(
        _fault(
            layout.features[index],
            RISES[fault],
            shares[index, fault],
            adjusted[index, fault],
            policy,
            masked=_masked(current.features[index]),
        )
        if (index, fault) in shares
        else FaultFinding(
            layout.features[index].name,
            fault,
            DriftOutcome.INSUFFICIENT_DATA,
            _why_not(layout.features[index].name, reference.features[index], current.features[index], policy),
            sum(current.features[index]),
            sum(reference.features[index]),
        )
        for index, fault in keys
    )
    risen = sorted(
        (finding for finding in found if finding.outcome is DriftOutcome.DRIFTED),
        key=lambda finding: (finding.share or 0.0) - (finding.reference_share or 0.0),
        reverse=True,
    )
    responsible = tuple(dict.fromkeys(finding.name for finding in risen))[:_MOST_RESPONSIBLE]
    if risen:
        listed = "; ".join(finding.statement for finding in risen[:_MOST_RESPONSIBLE])
        return DriftVerdict(DriftOutcome.DRIFTED, listed, responsible, found)
    if not shares:
        statement = f"data quality cannot be judged: {found[0].statement}" if found else "the model has no features"
        return DriftVerdict(DriftOutcome.INSUFFICIENT_DATA, statement, (), found)
    judged = len({index for index, _ in shares})
    return DriftVerdict(
        DriftOutcome.NONE,
        f"no more missing, unseen, out-of-range or mistyped values in {english.count(judged, 'feature')}",
        (),
        found,
    )


def judge_volume(rows: int, usual_rows: Sequence[int], *, begun: int = 0) -> DriftVerdict:
    """Traffic in the full hours of a window against the median of earlier windows of the same length
    (`kernel.drift.volume`). `begun` are the predictions of the hour that is not over, which is not judged yet."""
    windows = len(usual_rows)
    counted = "no prediction" if rows == 0 else english.count(rows, "prediction")
    said = f"{counted} of the model in full hours" + (f", {begun:,} in the hour that has begun" if begun else "")
    if windows < VOLUME.least_windows:
        before = (
            f"no usual volume is known: {english.count(windows, 'earlier window')}, {VOLUME.least_windows} are needed"
        )
        return _volume(VolumeFinding("rows", DriftOutcome.INSUFFICIENT_DATA, f"{said}; {before}", rows, windows))
    usual, low, high = VOLUME.usual(usual_rows)
    said += f"; the median of {windows} earlier windows is {usual:,.0f}, and {low:,.0f} to {high:,.0f} is usual"
    outcome = DriftOutcome.DRIFTED if VOLUME.unusual(rows, usual_rows) else DriftOutcome.NONE
    return _volume(VolumeFinding("rows", outcome, said, rows, windows, usual, low, high))


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far two samples are apart by each registered distance, and how likely that is by chance."""

    distances: Mapping[str, float]
    p_value: float


def compare(reference: Sequence[int], current: Sequence[int]) -> Comparison:
    """Two samples' counts in the same cells; see `significance` for the test and the pooling."""
    before, now, rare = pooled(np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64))
    if len(before) < 2:
        return Comparison(dict.fromkeys(DISTANCES, 0.0), 1.0)
    cells = before.tolist(), now.tolist()
    distances = {name: each.measure(*cells) for name, each in DISTANCES.items()}
    return Comparison(distances, change_p_value(before, now, rare=rare))


def _unmasked(counts: Counts) -> Counts:
    """The counts of the rows whose value is not masked. A missing value is never masked, so those that are missing lie
    among all rows: as many of them are left as make the same share of the rest."""
    missing, masked = counts[MISSING], counts[MASKED]
    values = sum(counts) - missing - masked
    if not masked:
        return counts
    rest = list(counts)
    rest[MISSING], rest[MASKED] = round(missing * values / (values + masked)), 0
    return tuple(rest)


def _share_masked(counts: Counts) -> float:
    return counts[MASKED] / max(sum(counts), 1)


def _masked(counts: Counts) -> str:
    """How many rows are left out since they are masked; empty when none are."""
    said = f"{100 * _share_masked(counts):.1f} % of {sum(counts):,} rows are masked and left out"
    return said if counts[MASKED] else ""


def _seen(counts: Counts) -> Counts:
    """The cells of what could be looked at: values, out of range or unseen, and missing."""
    return counts[:TYPE_FAULT]


def _compared(layout: ColumnLayout, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """The cells a distribution is judged by: those that were seen, without the numbers between known values. The
    reference has hardly any of them by construction, so some are no drift; `judge_faults` says whether many are."""
    return cells[:STRANGE] + cells[OUTSIDE:TYPE_FAULT] if layout.values else cells[:TYPE_FAULT]


def _enough(reference: Counts, current: Counts, policy: DriftPolicy) -> bool:
    return min(sum(_seen(_unmasked(each))) for each in (reference, current)) >= policy.min_rows


def _why_not(name: str, reference: Counts, current: Counts, policy: DriftPolicy) -> str:
    have, whose, counts = min(
        (sum(_seen(_unmasked(current))), "the window", current),
        (sum(_seen(_unmasked(reference))), "the reference", reference),
    )
    needed = f"at least {policy.min_rows:,} are needed"
    if counts[MASKED]:
        rest = f"{have:,} are left; {needed}" if have else "it is not judged"
        return f"{name} is masked in {counts[MASKED]:,} of {sum(counts):,} rows of {whose}; {rest}"
    return f"{name} has {english.count(have, 'row')} in {whose}; {needed}"


def _columns(
    layouts: Sequence[ColumnLayout],
    reference: Sequence[Counts],
    current: Sequence[Counts],
    weights: Sequence[float],
    policy: DriftPolicy,
) -> tuple[ColumnFinding, ...]:
    """All columns of one verdict; p-values are adjusted over those that can be judged."""
    rest = [tuple(_unmasked(each) for each in both) for both in zip(reference, current, strict=True)]
    compared = {
        index: compare(*(_compared(layouts[index], counts) for counts in rest[index]))
        for index in range(len(layouts))
        if _enough(reference[index], current[index], policy)
    }
    adjusted = dict(zip(compared, adjust([each.p_value for each in compared.values()]), strict=True))
    return tuple(
        _column(
            layout,
            rest[index],
            weights[index],
            (compared[index], adjusted[index]),
            policy,
            masked=_masked(current[index]),
        )
        if index in compared
        else ColumnFinding(
            layout.name,
            DriftOutcome.INSUFFICIENT_DATA,
            _why_not(layout.name, reference[index], current[index], policy),
            sum(_seen(_unmasked(current[index]))),
            sum(_seen(_unmasked(reference[index]))),
            weights[index],
        )
        for index, layout in enumerate(layouts)
    )


def _column(
    layout: ColumnLayout,
    counts: tuple[Counts, ...],
    weight: float,
    compared: tuple[Comparison, float],
    policy: DriftPolicy,
    *,
    masked: str,
) -> ColumnFinding:
    before, now = (np.asarray(_compared(layout, each), dtype=np.float64) for each in counts)
    found, q_value = compared
    rows, reference_rows = int(now.sum()), int(before.sum())
    before, now = before / reference_rows, now / rows
    moved = int(np.abs(now - before).argmax())
    significant = q_value <= policy.alpha
    material = any(size > policy.thresholds[name] for name, size in found.distances.items())
    sizes = "".join(f"{DISTANCES[name].label} {size:.3f}, " for name, size in found.distances.items())
    cell = _compared(layout, layout.cell_names)[moved]
    moves = f"'{cell}' went from {100 * before[moved]:.1f} % to {100 * now[moved]:.1f} %"
    if significant and material:
        meaning = f"has drifted: {moves}"
    elif significant:
        meaning = f"has changed too little to matter: {moves}"
    else:
        meaning = "shows no drift"
    return ColumnFinding(
        name=layout.name,
        outcome=DriftOutcome.DRIFTED if significant and material else DriftOutcome.NONE,
        statement=f"{layout.name} {meaning} ({sizes}adjusted {_p(q_value)}; {rows:,} rows against {reference_rows:,}"
        f"{masked and f'; {masked}'})",
        rows=rows,
        reference_rows=reference_rows,
        importance=weight,
        distances=found.distances,
        p_value=found.p_value,
        q_value=q_value,
        cell=cell,
        cell_share=float(now[moved]),
        cell_reference_share=float(before[moved]),
    )


def _fault(
    layout: ColumnLayout,
    rise: Rise,
    numbers: tuple[int, int, int, int],
    p_values: tuple[float, float],
    policy: DriftPolicy,
    *,
    masked: str,
) -> FaultFinding:
    events, rows, reference_events, reference_rows = numbers
    share, reference_share = events / rows, reference_events / reference_rows
    risen = p_values[1] <= policy.alpha and share - reference_share >= rise.threshold
    words = rise.texts if layout.kind == "categorical" else rise.numbers
    statement = (
        f"{layout.name} has {100 * share:.2f} % {words} of {rows:,} rows, against "
        f"{100 * reference_share:.2f} % of {reference_rows:,} in the reference (adjusted {_p(p_values[1])}"
        f"{masked and f'; {masked}'})"
    )
    return FaultFinding(
        layout.name,
        rise.name,
        DriftOutcome.DRIFTED if risen else DriftOutcome.NONE,
        statement,
        rows,
        reference_rows,
        share,
        reference_share,
        *p_values,
    )


def _judge_predictions(layout: Layout, reference: Profile, current: Profile, policy: DriftPolicy) -> DriftVerdict:
    """Prediction drift: of scores, and of the classes decided for."""
    columns, before, now = [layout.score], [reference.score], [current.score]
    if layout.label is not None:
        columns, before, now = [*columns, layout.label], [*before, reference.label], [*now, current.label]
    return _any_of(_columns(columns, before, now, [1 / len(columns)] * len(columns), policy))


def _judge_target(layout: Layout, reference: Profile, current: Profile, policy: DriftPolicy) -> DriftVerdict:
    """Label shift: the distribution of the truth, as far as it is known (prior shift: Storkey 2009, "When training and
    test sets are different", in "Dataset Shift in Machine Learning", MIT Press)."""
    return _any_of(_columns([layout.target], [reference.target], [current.target], [1.0], policy))


def _any_of(found: tuple[ColumnFinding, ...]) -> DriftVerdict:
    """DRIFTED when any column is; else NONE when any could be judged."""
    for outcome in (DriftOutcome.DRIFTED, DriftOutcome.NONE, DriftOutcome.INSUFFICIENT_DATA):
        those = [finding for finding in found if finding.outcome is outcome]
        if those:
            break
    responsible = tuple(finding.name for finding in those) if outcome is DriftOutcome.DRIFTED else ()
    return DriftVerdict(outcome, "; ".join(finding.statement for finding in those), responsible, found)


def _volume(finding: VolumeFinding) -> DriftVerdict:
    responsible = ("rows",) if finding.outcome is DriftOutcome.DRIFTED else ()
    return DriftVerdict(finding.outcome, finding.statement, responsible, (finding,))


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"
