"""How a version served: the share of requests that it answered by itself, and how long requests took.

    level = ServiceLevel(requests=1_000, answered=999, latency={37: 940.0, 52: 60.0})
    level.availability(), level.latency_ms(0.99)

Latencies are counted in bins of a fixed width on a logarithmic scale, so that levels of different hours add up.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tidegate.domain.serving.capture import UNANSWERED
from tidegate.domain.serving.routing import COMPARED_ARMS, Arm

_GROWTH = 1.05  # width of a bin: a quantile is known to 5 %
_LEAST_MS = 0.01
_LOG_GROWTH = math.log(_GROWTH)
_FIRST = math.floor(math.log(_LEAST_MS) / _LOG_GROWTH)
_BINS = 400  # up to 50 minutes, more than a function may take
_FIELDS = ("route", "arm", "version", "reason", "rows", "cold")

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """Of one version over any time. A request of n rows counts once, as 1/n for each row.

    Attributes:
        requests: that the version was to answer.
        answered: by itself: not by the fallback or another version in its place, and not left unanswered.
        latency: requests by bin of the time inside the function, those left out for which an artifact had to be opened.
    """

    requests: float = 0.0
    answered: float = 0.0
    latency: Mapping[int, float] = field(default_factory=dict)

    def __add__(self, other: "ServiceLevel") -> "ServiceLevel":
        latency = Counter(self.latency)
        latency.update(other.latency)
        return ServiceLevel(self.requests + other.requests, self.answered + other.answered, dict(latency))

    def availability(self, confidence: float = 0.95) -> Triple | None:
        """Share answered by itself with its Wilson interval (1927, JASA 22:209-212); None without requests."""
        n = round(self.requests)
        if not n:
            return None
        share = min(self.answered / self.requests, 1.0)
        z = _z(confidence)
        centre = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))

    def latency_ms(self, quantile: float, confidence: float = 0.95) -> Triple | None:
        """A quantile in milliseconds, and its interval from order statistics (Conover 1999, "Practical Nonparametric
        Statistics", section 3.2), widened to the ends of its bins; None without requests. Where there are too few to
        bound it from above, the longest one stands for the high end."""
        total = sum(self.latency.values())
        if round(total) < 1:
            return None
        half = _z(confidence) * math.sqrt(quantile * (1 - quantile) / total)
        value, low, high = (self._bin_at(min(max(share, 0.0), 1.0) * total) for share in _around(quantile, half))
        return _middle(value), _start(low), _start(high + 1)

    def slower(self, milliseconds: float) -> float:
        """Requests that took longer, to a bin of 5 %."""
        return sum(count for place, count in self.latency.items() if _middle(place) > milliseconds)

    def _bin_at(self, rank: float) -> int:
        bins, seen = sorted(self.latency), 0.0
        for each in bins:
            seen += self.latency[each]
            if seen >= rank - 1e-9:
                return each
        return bins[-1]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        latency = {str(name): round(count, 3) for name, count in sorted(self.latency.items())}
        return {"requests": round(self.requests, 3), "answered": round(self.answered, 3), "latency": latency}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        latency = {int(name): count for name, count in document["latency"].items()}
        return cls(document["requests"], document["answered"], latency)


@dataclass(slots=True)
class _Arm:
    """Of one revision of the route. `version` is the one that answers by itself, None while none did."""

    requests: float = 0.0
    failed: float = 0.0
    version: int | None = None
    latency: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(_BINS))


class ServiceCounting:
    """Counts answers of a model, by what was to answer: a route's revision says which version an arm is."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._arms: dict[tuple[Any, Any], _Arm] = {}

    def add(self, answers: Mapping[str, Sequence[Any]]) -> None:
        """Count answers, given as columns of their capture records."""
        kinds = list(zip(*(answers[name] for name in _FIELDS), strict=True))
        bins, several = _bins(answers["latency_ms"]), set(kinds)
        for kind in several:
            route, arm, version, reason, rows, cold = kind
            if arm not in COMPARED_ARMS:
                continue
            mine = bins if len(several) == 1 else bins[[each == kind for each in kinds]]
            requests = len(mine) / rows
            counted = self._arms.setdefault((route, arm), _Arm())
            counted.requests += requests
            if ":" in reason or reason == UNANSWERED:
                counted.failed += requests
            elif version is not None:
                counted.version = version
            if not cold:
                counted.latency += np.bincount(mine, minlength=_BINS + 1)[:_BINS] / rows

    def level(self) -> ServiceLevel:
        """Of the version, the model's champion by now. A revision's champion that answered nothing by itself is taken
        for it, so that a total outage counts."""
        level = ServiceLevel()
        for (_, name), arm in self._arms.items():
            outage = arm.version is None and name == Arm.CHAMPION
            if outage or arm.version == self._version:
                level += ServiceLevel(arm.requests, arm.requests - arm.failed, _latency(arm.latency))
        return level


def _around(quantile: float, half: float) -> Triple:
    return quantile, quantile - half, quantile + half


def _bins(milliseconds: Sequence[float | None]) -> npt.NDArray[np.int64]:
    """Places among `_BINS`; that number for a request whose time is not known."""
    given = np.asarray(milliseconds, dtype=np.float64)
    places = np.floor(np.log(np.maximum(given, _LEAST_MS)) / _LOG_GROWTH) - _FIRST
    return np.where(np.isnan(given), _BINS, np.minimum(places, _BINS - 1)).astype(np.int64)


def _latency(counts: npt.NDArray[np.float64]) -> dict[int, float]:
    return {int(place) + _FIRST: float(counts[place]) for place in np.flatnonzero(counts)}


def _start(place: int) -> float:
    return math.exp(place * _LOG_GROWTH)


def _middle(place: int) -> float:
    return math.exp((place + 0.5) * _LOG_GROWTH)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
