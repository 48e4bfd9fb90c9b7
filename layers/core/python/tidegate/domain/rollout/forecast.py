"""How long a rollout will take, before it begins: from the traffic that the model had lately.

    found = forecast(plan, traffic)
    found.chance            # likely, uncertain or unlikely to have its evidence by the deadline
    found.ways              # what to change, where it is not likely

The forecast asks the canary's own e-processes what they would say of a candidate that is as good as the champion, with
requests and failures as they are on average. That is the course of events that is taken half of the time. The slow one
moves every failure rate against the candidate by as much as chance does in one of ten cases. Requests count as
independent; where few routing keys send them, a canary takes longer.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tidegate.domain.registry.ledger import ALL_BP
from tidegate.domain.rollout.betting import evidence_that_exceeds
from tidegate.domain.rollout.canary import Demand, Metric, evidence_scores_agree
from tidegate.domain.rollout.rollout import AtDeadline, Plan
from tidegate.domain.serving.service_level import ServiceLevel
from tidegate.kernel import english

Floats = npt.NDArray[np.float64]
_UNLUCKY = 1.2816  # standard deviations, exceeded in one of ten cases
_KOLMOGOROV = 1.2238  # the same of the largest distance of two score distributions (Smirnov 1948, AMS 19:279-281)
_GROWTH = 1.02  # between the durations of the last step that are tried
_MOST_HOURS = 8_760.0
_MOST_DEADLINE_HOURS = 720.0  # of the spec
_WIDEST_MARGIN = 0.25
_HALVINGS = 10


class Chance(StrEnum):
    """Whether a candidate as good as the champion has its evidence by the deadline."""

    LIKELY = "likely"  # in nine of ten rollouts or more
    UNCERTAIN = "uncertain"  # in half of them or more
    UNLIKELY = "unlikely"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a model was asked lately, as rates.

    `requests_an_hour` are of all versions, as far as they are captured; `failing` is the share of the champion's
    requests that it did not answer by itself, `slow` the share over the latency target, all in the last `hours`.
    """

    requests_an_hour: float
    failing: float
    slow: float
    hours: float = 168.0


@dataclass(frozen=True, slots=True)
class Lately:
    """What a model was asked in the last `hours`, counted: requests of all versions, and how the champion answered."""

    hours: float = 0.0
    requests: float = 0.0
    service: ServiceLevel = field(default_factory=ServiceLevel)

    def traffic(self, slow_ms: float, sample: float = 1.0) -> Traffic | None:
        """As rates, where a share `sample` of the requests is captured; None without requests. Shares are those of
        Jeffreys' prior (half an event more among one request more), so that nothing seen does not mean never."""
        if self.requests <= 0 or self.hours <= 0:
            return None
        return Traffic(
            requests_an_hour=sample * self.requests / self.hours,
            failing=_share(self.service.requests - self.service.answered, self.service.requests),
            slow=_share(self.service.slower(slow_ms), sum(self.service.latency.values())),
            hours=self.hours,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        service = self.service.to_json()
        return {"hours": round(self.hours, 2), "requests": round(self.requests, 3), "service": service}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(document["hours"], document["requests"], ServiceLevel.from_json(document["service"]))


@dataclass(frozen=True, slots=True)
class StepForecast:
    """A step of the canary: its share in basis points, how long it lasts, and how many requests the version answers."""

    share_bp: int
    hours: float
    requests: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """How a canary is expected to go. Hours are of the whole canary; None: longer than a year.

    Attributes:
        traffic: from which it follows.
        steps: as they go half of the time.
        hours: until the promotion, half of the time.
        slow_hours: the same in nine of ten cases.
        requests: of both arms until then, half of the time.
        slowest: the metric that takes longest.
        deadline_hours: after which the spec has something else done.
        ways: what would make it likely, in sentences; none where it is.
    """

    traffic: Traffic
    steps: tuple[StepForecast, ...]
    hours: float | None
    slow_hours: float | None
    requests: int | None
    slowest: Metric | None
    deadline_hours: float
    chance: Chance
    ways: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """How long it takes, and whether that is in time."""
        pace = f"{self.traffic.requests_an_hour:,.3g} requests an hour, as in the last {_duration(self.traffic.hours)}"
        if self.hours is None:
            return f"a canary would take more than a year at {pace}"
        slow = "a year" if self.slow_hours is None else _duration(self.slow_hours)
        said = {
            Chance.LIKELY: "in time for",
            Chance.UNCERTAIN: "perhaps too late for",
            Chance.UNLIKELY: "probably too late for",
        }[self.chance]
        return (
            f"the canary of a healthy version takes about {_duration(self.hours)}, one of ten more than {slow}, at "
            f"{pace}: {said} its deadline of {_duration(self.deadline_hours)}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, with the sentence."""
        named = {"slowest": self.slowest.value if self.slowest else None, "chance": self.chance.value}
        return asdict(self) | named | {"ways": list(self.ways), "sentence": self.sentence}


def forecast(plan: Plan, traffic: Traffic) -> Forecast | None:
    """How a canary of this plan is expected to go beside a champion; None where the plan has no canary."""
    if not plan.steps_bp:
        return None
    canary = _Canary(plan, traffic)
    usual, slow = (canary.hours(unlucky) for unlucky in (0.0, _UNLUCKY))
    deadline = plan.deadline_seconds / 3600
    chance = (
        Chance.LIKELY
        if slow is not None and slow <= deadline
        else Chance.UNCERTAIN
        if usual is not None and usual <= deadline
        else Chance.UNLIKELY
    )
    last = None if usual is None else usual - sum(canary.least_hours[:-1])
    durations = [*canary.least_hours[:-1], canary.least_hours[-1] if last is None else last]
    return Forecast(
        traffic=traffic,
        steps=tuple(
            StepForecast(share_bp, hours, round(hours * traffic.requests_an_hour * share_bp / ALL_BP))
            for share_bp, hours in zip(plan.steps_bp, durations, strict=True)
        ),
        hours=usual,
        slow_hours=slow,
        requests=None if usual is None else round(usual * traffic.requests_an_hour),
        slowest=canary.slowest(),
        deadline_hours=deadline,
        chance=chance,
        ways=() if chance is Chance.LIKELY else tuple(_ways(plan, canary, slow)),
    )


class _Canary:
    """A canary of a plan with expected traffic. Evidence is that of its steps and of many durations of the last one."""

    def __init__(self, plan: Plan, traffic: Traffic) -> None:
        self._plan, self._traffic = plan, traffic
        shares = np.asarray(plan.steps_bp) / ALL_BP
        least = np.maximum(plan.bake_seconds / 3600, plan.min_requests / (shares * traffic.requests_an_hour))
        self.least_hours: list[float] = least.tolist()
        first, most = max(self.least_hours[-1], 1 / 60), _MOST_HOURS
        durations = first * _GROWTH ** np.arange(max(1, math.ceil(math.log(max(most / first, 1)) / math.log(_GROWTH))))
        self._shares, self._last = shares, durations
        self._required = [demand for demand in plan.demands.demands if demand.required]
        self._known: dict[tuple[Any, ...], int] = {}

    def hours(self, unlucky: float, demands: Sequence[Demand] | None = None) -> float | None:
        """Until each metric has passed; None: longer than a year."""
        passed = [self._passes(demand, unlucky) for demand in (demands or self._required)]
        first = max(passed, default=0)
        before = sum(self.least_hours[:-1])
        if first >= len(self._last) or before + self._last[first] > _MOST_HOURS:
            return None
        return before + float(self._last[first])

    def slowest(self) -> Metric | None:
        """The metric that passes last; None when all pass while the last step bakes."""
        passed = {demand.metric: self._passes(demand, _UNLUCKY) for demand in self._required}
        last = max(passed, key=lambda metric: passed[metric], default=None)
        return last if last is not None and passed[last] else None

    def margin(self, demand: Demand, hours: float) -> float | None:
        """The smallest margin with which a metric passes within so many hours in nine of ten cases; None when even a
        wide one is too narrow."""
        within = hours - sum(self.least_hours[:-1])
        if within < self.least_hours[-1]:
            return None
        shown = self._after(np.asarray([within]))
        low, high = demand.margin, max(demand.margin, _WIDEST_MARGIN)
        if not self._passed(replace(demand, margin=high), _UNLUCKY, shown)[0]:
            return None
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            enough = self._passed(replace(demand, margin=middle), _UNLUCKY, shown)[0]
            low, high = (low, middle) if enough else (middle, high)
        return math.ceil(1_000 * high) / 1_000

    def _passes(self, demand: Demand, unlucky: float) -> int:
        """Place of the first duration after which a metric has passed; one beyond the last when none is enough."""
        kind = demand.metric if demand.metric in {Metric.SLOW, Metric.SCORES} else Metric.UNAVAILABLE
        asked = kind, demand.margin, unlucky
        if asked not in self._known:
            passed = self._passed(demand, unlucky, self._after(self._last))
            self._known[asked] = int(passed.argmax()) if passed.any() else len(self._last)
        return self._known[asked]

    def _after(self, last_hours: Floats) -> tuple[Floats, Floats]:
        """Requests of both arms [durations, steps]."""
        hours = np.tile(np.asarray(self.least_hours), (len(last_hours), 1))
        hours[:, -1] = last_hours
        requests = hours * self._traffic.requests_an_hour
        ours = np.maximum(np.round(requests * self._shares), 1)
        return ours, np.maximum(np.round(requests - ours), 1)

    def _passed(self, demand: Demand, unlucky: float, arms: tuple[Floats, Floats]) -> npt.NDArray[np.bool_]:
        needed = -math.log(self._plan.demands.beta)
        ours, theirs = arms
        compared = (ours * theirs / (ours + theirs)).sum(axis=1, keepdims=True)
        if demand.metric is Metric.SCORES:
            apart = (_KOLMOGOROV / np.sqrt(compared) if unlucky else 0 * compared) * theirs / (ours + theirs)
            above = np.minimum(0.5 + apart, 1.0) * ours
            below = np.maximum(0.5 - apart * ours / theirs, 0.0) * theirs
            evidence = evidence_scores_agree(_halves(above, ours), _halves(below, theirs), demand.margin)
        else:
            rate = self._traffic.slow if demand.metric is Metric.SLOW else self._traffic.failing
            apart = unlucky * np.sqrt(rate * (1 - rate) / compared)
            more = np.minimum(rate + apart * theirs / (ours + theirs), 1.0) * ours
            less = np.maximum(rate - apart * ours / (ours + theirs), 0.0) * theirs
            sizes = ours.astype(np.int64), theirs.astype(np.int64)
            evidence = evidence_that_exceeds(less, sizes[1], more, sizes[0], -demand.margin)
        return np.asarray(evidence[..., -1] >= needed)


def _ways(plan: Plan, canary: _Canary, slow_hours: float | None) -> list[str]:
    """What would make a canary likely to have its evidence in time."""
    ways = []
    deadline, baking = plan.deadline_seconds / 3600, sum(canary.least_hours)
    if baking > deadline:
        ways.append(
            f"fewer steps or a larger first share: the steps alone take {_duration(baking)}, until the version has "
            f"answered min_requests ({plan.min_requests}) in each"
        )
    if slow_hours is not None and slow_hours <= _MOST_DEADLINE_HOURS:
        ways.append(f"a longer deadline: deadline_hours: {math.ceil(slow_hours)}")
    margins = _margins(plan, canary, deadline)
    if margins:
        ways.append(f"wider margins, as the volume allows: {english.listed(margins)}")
    ways.append(
        "shadow mode, which judges all requests and not a share of them: shadow_minutes with steps: [], "
        "which promotes what is not shown to be worse"
    )
    if plan.at_deadline is AtDeadline.ROLL_BACK:
        then = f" (about {_duration(slow_hours)})" if slow_hours is not None else ""
        ways.append(f"waiting beyond the deadline until there is evidence{then}: at_deadline: wait")
    return ways


def _margins(plan: Plan, canary: _Canary, hours: float) -> list[str]:
    """The margins that would do, of the metrics whose own do not; none when one of them cannot."""
    said = []
    for demand in plan.demands.demands:
        if not demand.required:
            continue
        alone = canary.hours(_UNLUCKY, [demand])
        if alone is not None and alone <= hours:
            continue
        margin = canary.margin(demand, hours)
        if margin is None:
            return []
        said.append(f"{demand.metric} {margin:g}")
    return said


def _halves(below: Floats, of: Floats) -> npt.NDArray[np.int64]:
    """Scores in two bins, as their last axis."""
    first = np.round(below).astype(np.int64)
    return np.stack([first, of.astype(np.int64) - first], axis=-1)


def _share(events: float, of: float) -> float:
    return min((max(events, 0.0) + 0.5) / (of + 1), 0.99)


_UNITS: tuple[tuple[float, str, Callable[[float], float]], ...] = (
    (48.0, "day", lambda hours: hours / 24),
    (1.0, "hour", float),
)


def _duration(hours: float) -> str:
    """`25 minutes`, `3.5 hours`, `12 days`: to two digits."""
    for least, unit, scaled in _UNITS:
        if hours >= least:
            number = float(f"{scaled(hours):.2g}")
            return english.count(int(number) if number == int(number) else number, unit)
    return english.count(math.ceil(60 * hours), "minute")
