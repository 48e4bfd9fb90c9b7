"""From the verdicts on a version's windows to what monitoring decides by: what drifts, what got worse, and what
training would only learn.

Unfixable, so that people have to look, are faults of the feed (missing values, unseen categories, values out of the
allowed range, numbers between all known ones, as of another unit; values of a wrong type), from the rise on that each
of them is registered with (`kernel.drift`), a target that is no longer distributed as it was, beyond the spec's
`monitoring.target_shift`, and outcomes that contradict the model: they are claims by somebody. A model that learned
from such rows would be right about the fault, and wrong about the world.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from tidegate.domain.monitoring import quality
from tidegate.domain.monitoring.health import Findings
from tidegate.domain.monitoring.quality import Parity, Quality
from tidegate.domain.profiles.drift import ColumnFinding, DriftOutcome, DriftVerdict, FaultFinding, Report
from tidegate.domain.profiles.profile import Layout, Profile
from tidegate.kernel.documents import StoredForm
from tidegate.kernel.drift.registry import RISES

VERDICT = StoredForm("verdict of monitoring")
_MOST_SENTENCES = 6  # of a kind; the verdict document has all
_MOST_COUNTED = 3


@dataclass(frozen=True, slots=True)
class Window:
    """All verdicts on the last so many hours. `rows` are the version's own answers, `predictions` all of the model's in
    the full hours. `expected` is reported only where labels are too few for `live`. `counts` are of the features that
    moved most, for people to see."""

    hours: int
    first: str
    last: str
    rows: int
    predictions: int
    drift: Report
    live: Quality
    expected: Quality | None = None
    parity: tuple[Parity, ...] = ()
    against: str = ""  # why its outcomes are against the model
    counts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self) | {"drift": self.drift.to_json()}

    @property
    def summary(self) -> dict[str, Any]:
        """A few numbers of it."""
        shown = self.expected if self.expected and self.live.live is None else self.live
        return {
            "hours": self.hours,
            "rows": self.rows,
            "predictions": self.predictions,
            "features": self.drift.features.outcome.value,
            "responsible": list(self.drift.features.responsible),
            "scores": self.drift.predictions.outcome.value,
            "data_quality": self.drift.quality.outcome.value,
            "volume": self.drift.volume.outcome.value,
            "target": self.drift.target.outcome.value,
            "quality": shown.outcome.value,
            "metric": shown.metric,
            "live": None if shown.live is None else asdict(shown.live),
            "design": asdict(shown.design),
            "labels": shown is self.live,
            "parity": [each.outcome.value for each in self.parity],
        }


def findings(version: int, windows: Sequence[Window], *, target_shift: float, window_from: datetime) -> Findings:
    """What windows, shortest first, say; of several that say the same of the same thing the shortest is quoted."""
    return Findings(
        version=version,
        judged=any(window.drift.features.outcome is not DriftOutcome.INSUFFICIENT_DATA for window in windows),
        drift=_quoted(windows, _drifted),
        quality=_quoted(windows, _worse),
        unfixable=_quoted(windows, lambda window: _unfixable(window, target_shift)),
        window_from=window_from,
    )


def moved(layout: Layout, reference: Profile, current: Profile, features: DriftVerdict) -> dict[str, Any]:
    """Of the features responsible for a verdict, or else of those that moved most: the names of their cells, and the
    rows in each, in training and now."""
    distances = {each.name: each.distance for each in features.findings if isinstance(each, ColumnFinding)}
    judged = [name for name, distance in distances.items() if distance is not None]
    most = sorted(judged, key=lambda name: distances[name] or 0.0, reverse=True)
    wanted = (features.responsible or most)[:_MOST_COUNTED]
    return {
        column.name: {"cells": list(column.cell_names), "reference": list(before), "now": list(now)}
        for column, before, now in zip(layout.features, reference.features, current.features, strict=True)
        if column.name in wanted
    }


Said = Iterator[tuple[str, str]]  # what a sentence is about, and the sentence


def _quoted(windows: Sequence[Window], say: Callable[[Window], Said]) -> tuple[str, ...]:
    quoted: dict[str, str] = {}
    for window in windows:
        for about, said in say(window):
            quoted.setdefault(about, f"last {window.hours} h: {said}")
    return tuple(quoted.values())[:_MOST_SENTENCES]


def _drifted(window: Window) -> Said:
    for verdict in (window.drift.features, window.drift.predictions):
        if verdict.outcome is DriftOutcome.DRIFTED:
            yield ", ".join(verdict.responsible), verdict.statement


def _worse(window: Window) -> Said:
    for shown in (window.live, window.expected):
        if shown and shown.outcome is quality.QualityOutcome.BEYOND:
            yield "quality", shown.statement


def _unfixable(window: Window, target_shift: float) -> Said:
    for fault in window.drift.quality.findings:
        if isinstance(fault, FaultFinding) and fault.outcome is DriftOutcome.DRIFTED:
            rise = (fault.share or 0.0) - (fault.reference_share or 0.0)
            if rise >= RISES[fault.fault].unfixable:
                yield (
                    f"{fault.name} {fault.fault}",
                    f"{fault.statement}: training would only learn the fault; fix the data feed",
                )
    if window.against:
        yield "outcomes", f"{window.against}; find out who reported them before anything is trained on them"
    for shift in window.drift.target.findings:
        if not isinstance(shift, ColumnFinding) or shift.outcome is not DriftOutcome.DRIFTED:
            continue
        if (shift.distance or 0.0) > target_shift:
            yield "target", f"{shift.statement}: more than the {target_shift:g} that training again can correct"
