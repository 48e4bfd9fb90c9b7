"""CloudWatch metrics: the data points of the last 15 days, by name and exact set of dimensions."""

from __future__ import annotations

import bisect
import math
import re
import threading
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Dimensions = tuple[tuple[str, str], ...]
Store = Callable[[str, list[dict[str, Any]]], None]
OnPut = Callable[[str, str, Mapping[str, str], float, Sequence[float], str], None]
"""Gets namespace, name, dimensions, instant, values and unit of what is added."""


DAYS = 15.0  # CloudWatch keeps points of a minute so long
_OLD_POINTS = 500  # of a series, removed together
_DAY_S = 86_400.0


@dataclass(slots=True)
class _Series:
    times: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, at: float, value: float) -> None:
        place = bisect.bisect_right(self.times, at)
        self.times.insert(place, at)
        self.values.insert(place, value)

    def forget(self, before: float) -> None:
        """Points before an instant, once there are enough of them to be worth it."""
        old = bisect.bisect_left(self.times, before)
        if old >= _OLD_POINTS:
            del self.times[:old], self.values[:old]


def dimension_key(dimensions: Mapping[str, str] | None) -> Dimensions:
    """Dimensions in an order that does not matter; a metric with other dimensions is another metric."""
    return tuple(sorted((dimensions or {}).items()))


class Metrics:
    """Records data points and finds them again. `store` also gets every point, for the GetMetric... APIs."""

    def __init__(self, now: Callable[[], float], store: Store = lambda _namespace, _data: None) -> None:
        self._now = now
        self._store = store
        self.on_put: OnPut = lambda *_: None
        self._series: dict[tuple[str, str, Dimensions], _Series] = defaultdict(_Series)
        self._lock = threading.Lock()

    def put(
        self,
        namespace: str,
        name: str,
        values: float | Iterable[float],
        dimensions: Mapping[str, str] | None = None,
        *,
        at: float | None = None,
        unit: str = "None",
    ) -> None:
        """Adds values at an instant (seconds since the epoch, now when not given)."""
        at = self._now() if at is None else at
        found = [float(v) for v in values] if isinstance(values, Iterable) else [float(values)]
        self.note(namespace, name, found, dimensions, at=at, unit=unit)
        self._store(
            namespace,
            [
                {
                    "MetricName": name,
                    "Values": found,
                    "Timestamp": datetime.fromtimestamp(at, UTC).replace(tzinfo=None),
                    "Unit": unit,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in (dimensions or {}).items()],
                }
            ],
        )

    def note(
        self,
        namespace: str,
        name: str,
        values: Iterable[float],
        dimensions: Mapping[str, str] | None = None,
        *,
        at: float | None = None,
        unit: str = "None",
    ) -> None:
        """As `put`, for points that the store has already."""
        at, found = self._now() if at is None else at, list(values)
        with self._lock:
            series = self._series[namespace, name, dimension_key(dimensions)]
            for value in found:
                series.add(at, value)
            series.forget(self._now() - DAYS * _DAY_S)
        self.on_put(namespace, name, dimensions or {}, at, found, unit)

    def between(
        self, namespace: str, name: str, dimensions: Mapping[str, str] | None, start: float, end: float
    ) -> list[float]:
        """The values in [start, end)."""
        with self._lock:
            series = self._series.get((namespace, name, dimension_key(dimensions)))
            if series is None:
                return []
            low, high = bisect.bisect_left(series.times, start), bisect.bisect_left(series.times, end)
            return list(series.values[low:high])

    def total(self, namespace: str, name: str, dimensions: Mapping[str, str] | None = None) -> float:
        """The sum of everything seen; without dimensions, over every set of them it was published with.

        A metric published under several dimension sets at once (EMF does) counts in each: name the set then.
        """
        with self._lock:
            return sum(
                math.fsum(series.values)
                for (space, metric, key), series in self._series.items()
                if (space, metric) == (namespace, name) and (dimensions is None or key == dimension_key(dimensions))
            )

    def known(self, dimensions: Mapping[str, str]) -> tuple[float, float] | None:
        """The first and the last instant with a value of any metric that has these dimensions, among others; None when
        there is none."""
        wanted = set(dimensions.items())
        with self._lock:
            those = [each.times for (*_, key), each in self._series.items() if each.times and wanted <= set(key)]
            return (min(times[0] for times in those), max(times[-1] for times in those)) if those else None

    def dimension_sets(self, namespace: str, name: str) -> list[dict[str, str]]:
        """The dimension sets a metric was published with."""
        with self._lock:
            return [dict(key) for (space, metric, key) in self._series if (space, metric) == (namespace, name)]


def statistic(values: list[float], name: str) -> float | None:
    """A CloudWatch statistic of the values of one period; None when there are no values.

    Raises ValueError for a statistic the local cloud does not compute.
    """
    if not values:
        return None
    if name in _STATISTICS:
        return _STATISTICS[name](values)
    percentile = re.fullmatch(r"p(\d+(?:\.\d+)?)", name)
    if percentile is None:
        raise ValueError(
            f"statistic {name} is not supported by the local cloud; use Sum, Average, Minimum, Maximum or pNN"
        )
    ordered = sorted(values)
    position = (len(ordered) - 1) * float(percentile[1]) / 100
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "Sum": math.fsum,
    "SampleCount": lambda values: float(len(values)),
    "Average": lambda values: math.fsum(values) / len(values),
    "Minimum": min,
    "Maximum": max,
}
