"""A spec's targets, each stated once: what it is about, which way it points, its limit, and where it is checked.

    for target in stated(spec): ...          # every target of a spec
    changes(stated(champion), stated(spec))  # what a second person has to agree to

The gate makes a check of each target that can be measured before traffic, the canary a demand of each that its arms can
be held against, monitoring a verdict, metrics and an alarm of each that live traffic shows. All of them read `KINDS`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tidegate.domain.rollout.canary import Metric
from tidegate.kernel import figures
from tidegate.kernel.metrics.registry import choose


class Dimension(StrEnum):
    """What a target is about."""

    PERFORMANCE = "performance"
    ACCURACY = "accuracy"
    GOVERNANCE = "governance"
    COST = "cost"


class Direction(StrEnum):
    """Which side of its limit is the good one; the limit itself is."""

    AT_LEAST = "at_least"
    AT_MOST = "at_most"


class TargetOutcome(StrEnum):
    """What live traffic says of a target."""

    MET = "met"  # not shown to be missed
    MISSED = "missed"  # the whole interval lies beyond the limit
    INSUFFICIENT_DATA = "insufficient_data"


class Of(StrEnum):
    """What a limit is a number of, where the target's name does not say."""

    NOTHING = ""
    METRIC = "metric"  # of the spec's metric
    GROUPS = "groups"  # of the spec's sensitive columns


@dataclass(frozen=True, slots=True)
class Kind:
    """One that a spec can have; `path` is where in the spec. Of where it is checked: `check` is the gate's check,
    `compared` the canary's metric (None: none), `live` whether monitoring holds traffic against it. Of one that says
    when people are asked (`asks`), only a looser limit is a change."""

    path: str
    dimension: Dimension
    direction: Direction
    check: str | None = None
    compared: Metric | None = None
    live: bool = False
    unit: str = ""
    of: Of = Of.NOTHING
    asks: bool = False

    @property
    def name(self) -> str:
        """The last part of the path: unique, and what metrics are named by."""
        return self.path.rpartition(".")[2]


_PERFORMANCE, _ACCURACY, _GOVERNANCE = Dimension.PERFORMANCE, Dimension.ACCURACY, Dimension.GOVERNANCE
_LEAST, _MOST = Direction.AT_LEAST, Direction.AT_MOST
KINDS = (
    Kind("targets.metric_at_least", _ACCURACY, _LEAST, check="metric_target", live=True, of=Of.METRIC),
    Kind("targets.metric_at_most", _ACCURACY, _MOST, check="metric_target", live=True, of=Of.METRIC),
    Kind("gate.margin", _ACCURACY, _MOST, check="not_worse_than_champion", of=Of.METRIC),
    Kind("targets.calibration_error_at_most", _ACCURACY, _MOST, check="calibration"),
    Kind("targets.robustness_loss_at_most", _ACCURACY, _MOST, check="robustness", of=Of.METRIC),
    Kind(
        "targets.latency_p99_ms",
        _PERFORMANCE,
        _MOST,
        check="latency_p99",
        compared=Metric.SLOW,
        live=True,
        unit="ms",
    ),
    Kind("targets.availability_at_least", _PERFORMANCE, _LEAST, compared=Metric.UNAVAILABLE, live=True),
    Kind("targets.load_ms", _PERFORMANCE, _MOST, check="load_time", unit="ms"),
    Kind("targets.artifact_mib", _PERFORMANCE, _MOST, check="artifact_size", unit="MiB"),
    Kind(
        "targets.governance.demographic_parity",
        _GOVERNANCE,
        _MOST,
        check="fairness",
        live=True,
        of=Of.GROUPS,
    ),
    Kind("targets.governance.equal_opportunity", _GOVERNANCE, _MOST, check="fairness", of=Of.GROUPS),
    Kind("targets.governance.equalized_odds", _GOVERNANCE, _MOST, check="fairness", of=Of.GROUPS),
    Kind("targets.governance.flips_at_most", _GOVERNANCE, _MOST, check="flips", of=Of.GROUPS),
    Kind("targets.cost_per_1000_usd_at_most", Dimension.COST, _MOST, check="cost", live=True, unit="USD"),
    Kind("monitoring.captures_at_most", _GOVERNANCE, _MOST, check="captures", asks=True),
    Kind("monitoring.reporter_at_most", _GOVERNANCE, _MOST, check="captures", asks=True),
    Kind("monitoring.guard_margin", _GOVERNANCE, _MOST, check="captures", asks=True),
)
PERCENTILE = 0.99  # of latency


@dataclass(frozen=True, slots=True)
class Target:
    """One that a spec has. `of` names the metric, or the columns whose groups are compared."""

    kind: Kind
    limit: float
    of: str = ""

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        return self.kind.name

    @property
    def words(self) -> str:
        """For people: `at most 20 ms`."""
        unit = f" {self.kind.unit}" if self.kind.unit else ""
        of = f" (of {self.of})" if self.of else ""
        return f"{self.kind.direction.replace('_', ' ')} {self.limit:g}{unit}{of}"

    @property
    def tolerated_share(self) -> float | None:
        """Of requests, how many may break it; None when it is not about single requests."""
        match self.kind.compared:
            case Metric.SLOW:
                return round(1 - PERCENTILE, 9)
            case Metric.UNAVAILABLE:
                return round(1 - self.limit, 9)
            case _:
                return None

    def beyond(self, value: float) -> bool:
        """Whether a value is on the wrong side."""
        return value < self.limit if self.kind.direction is Direction.AT_LEAST else value > self.limit


def stated(spec: Mapping[str, Any]) -> tuple[Target, ...]:
    """The targets of a spec, given as its JSON document."""
    subjects = {
        Of.NOTHING: "",
        Of.METRIC: choose(spec["metric"]).text,
        Of.GROUPS: ", ".join(sorted(spec["sensitive"])),
    }
    found = ((kind, _at(spec, kind.path)) for kind in KINDS)
    return tuple(Target(kind, float(limit), subjects[kind.of]) for kind, limit in found if limit is not None)


def limits(targets: Sequence[Target]) -> dict[str, float]:
    """Limits by name."""
    return {target.name: target.limit for target in targets}


@dataclass(frozen=True, slots=True)
class Change:
    """One target that two specs do not share; None where one has none."""

    before: Target | None
    after: Target | None

    @property
    def counts(self) -> bool:
        """Whether somebody has to agree: it differs, and where it says when people are asked, it is looser."""
        if self.before and self.after and self.after.kind.asks:
            return self.before.beyond(self.after.limit)
        return self.before != self.after

    @property
    def sentence(self) -> str:
        """`targets.latency_p99_ms: at most 50 ms, was at most 20 ms`."""
        path = next(each.kind.path for each in (self.after, self.before) if each)
        now = self.after.words if self.after else "none"
        return f"{path}: {now}, was {self.before.words if self.before else 'none'}"


def changes(before: Sequence[Target], after: Sequence[Target]) -> tuple[Change, ...]:
    """What differs, in the order of `KINDS`; a limit on another metric, or on other groups, is another limit."""
    old, new = ({target.kind.path: target for target in targets} for targets in (before, after))
    paths = [kind.path for kind in KINDS if kind.path in old or kind.path in new]
    found = (Change(old.get(path), new.get(path)) for path in paths)
    return tuple(change for change in found if change.counts)


@dataclass(frozen=True, slots=True)
class Held:
    """Live traffic held against a target. `low` and `high` are an interval of `measured`; equal to it where the number
    is exact, None where nothing could be measured."""

    target: Target
    outcome: TargetOutcome
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether it is shown to be missed."""
        return self.outcome is TargetOutcome.MISSED

    @property
    def sentence(self) -> str:
        """For people."""
        asked = f"{self.target.name} must be {self.target.words}"
        about = f" ({self.note})" if self.note else ""
        if self.measured is None or self.low is None or self.high is None:
            return f"{asked}: too little data{about}"
        exact = self.low == self.high
        found = figures.number(self.measured) if exact else figures.interval(self.measured, self.low, self.high)
        verdict = {
            TargetOutcome.MET: "met" if exact or not self.target.beyond(self.measured) else "not shown to be missed",
            TargetOutcome.MISSED: "missed",
            TargetOutcome.INSUFFICIENT_DATA: "too little data",
        }[self.outcome]
        return f"{asked}: {verdict}, it is {found}{about}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "name": self.target.name,
            "dimension": self.target.kind.dimension.value,
            "direction": self.target.kind.direction.value,
            "of": self.target.of,
            "limit": self.target.limit,
            "measured": self.measured,
            "low": self.low,
            "high": self.high,
            "outcome": self.outcome.value,
            "statement": self.sentence,
        }


def hold(
    target: Target, found: tuple[float, float, float] | None, *, rows: float, min_rows: int, note: str = ""
) -> Held:
    """Hold value, low and high end against a target: it is missed only when the whole interval lies beyond the limit.
    Fewer than `min_rows` say nothing."""
    if found is None or any(math.isnan(number) for number in found):
        return Held(target, TargetOutcome.INSUFFICIENT_DATA, note=note)
    value, low, high = found
    best = high if target.kind.direction is Direction.AT_LEAST else low
    outcome = TargetOutcome.MISSED if target.beyond(best) else TargetOutcome.MET
    return Held(target, outcome if rows >= min_rows else TargetOutcome.INSUFFICIENT_DATA, value, low, high, note)


def _at(document: Mapping[str, Any], path: str) -> float | None:
    found: Any = document
    for part in path.split("."):
        found = found[part]
    return None if found is None else float(found)
