"""What functions print: kept in CloudWatch Logs, and the metrics in it (Embedded Metric Format) taken out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from infra.local.clock import Clock
from infra.local.metrics import Metrics

MAX_DIMENSIONS = 30
MAX_VALUES = 100


@dataclass(frozen=True, slots=True)
class EmbeddedMetric:
    """One metric found in a log line, under one of its dimension sets. `at` is in seconds since the epoch."""

    namespace: str
    name: str
    unit: str
    values: tuple[float, ...]
    dimensions: dict[str, str]
    at: float


class Logs:
    """Takes log lines. `keep` stores them (group, stream, lines with their moments in seconds since the epoch);
    `on_line` gets them too."""

    def __init__(
        self,
        keep: Callable[[str, str, Sequence[tuple[float, str]]], None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._keep = keep
        self._metrics = metrics
        self._clock = clock
        self.on_line: Callable[[str, datetime, str], None] = lambda *_: None
        self._lock = threading.Lock()

    def line(self, group: str, line: str) -> None:
        """One line of a function's output."""
        now = self._clock.now()
        with self._lock:
            self._keep(group, f"{now:%Y/%m/%d}/[$LATEST]local", [(now.timestamp(), line)])
        self.on_line(group, now, line)
        self.extract(line)

    def extract(self, line: str) -> None:
        """Records the metrics of a line that is in Embedded Metric Format; other lines have none."""
        for found in embedded_metrics(line):
            at = self._clock.caught_up(found.at)
            self._metrics.put(found.namespace, found.name, found.values, found.dimensions, at=at, unit=found.unit)


def embedded_metrics(line: str) -> Iterator[EmbeddedMetric]:
    """The metrics of a log line, once per dimension set, as CloudWatch extracts them.

    CloudWatch ignores what breaks the format's rules instead of failing, so this does too: a metric with no number
    behind its name, a dimension set that names a missing member, more than 30 dimensions.
    """
    if not line.startswith("{") or '"_aws"' not in line:
        return
    try:
        document = json.loads(line)
    except ValueError:
        return
    meta = document.get("_aws")
    if not isinstance(meta, dict):
        return
    timestamp = meta.get("Timestamp")
    if not isinstance(timestamp, int | float):
        return
    for directive in meta.get("CloudWatchMetrics", []):
        for names in directive.get("Dimensions") or [[]]:
            if len(names) > MAX_DIMENSIONS or any(not isinstance(document.get(name), str) for name in names):
                continue
            dimensions = {name: document[name] for name in names}
            for metric in directive.get("Metrics", []):
                values = _numbers(document.get(metric.get("Name")))
                if values:
                    yield EmbeddedMetric(
                        namespace=directive["Namespace"],
                        name=metric["Name"],
                        unit=metric.get("Unit", "None"),
                        values=values,
                        dimensions=dimensions,
                        at=timestamp / 1000,
                    )


def _numbers(value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value]
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values) or len(values) > MAX_VALUES:
        return ()
    return tuple(float(v) for v in values)
