"""What is kept of each prediction, and of what became of it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tidegate.domain.serving.capture import Capture, CapturePolicy, hour_of, records
from tidegate.kernel.errors import UnavailableError


class InMemoryCaptures:
    """ports.CaptureLog, CaptureReader and CaptureLookup: what was offered, and what becomes of it under a policy."""

    def __init__(self, policy: CapturePolicy | None = None) -> None:
        self.offered: list[Capture] = []
        self._policy = policy or CapturePolicy()

    def offer(self, capture: Capture) -> None:
        self.offered.append(capture)

    def policy(self, model: str) -> CapturePolicy:
        return self._policy

    def walk(self, model: str, hour: str, after: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        found = {
            record["id"]: record
            for capture in self.offered
            if capture.model == model
            for record in records(capture, self._policy)
            if record["hour"] == hour
        }
        return ((each, found[each]) for each in sorted(found, reverse=True) if not after or each < after)

    def find(self, model: str, prediction_id: str, *, at: datetime, reach: timedelta) -> dict[str, Any] | None:
        first, last = hour_of(at - reach), hour_of(at + reach)
        found = (
            record
            for capture in self.offered
            if capture.model == model
            for record in records(capture, self._policy)
            if record["id"] == prediction_id and first <= record["hour"] <= last
        )
        return next(found, None)


@dataclass
class InMemoryFeedback:
    """ports.FeedbackLog: `records` as they were kept; `down`: it does not answer."""

    records: list[dict[str, Any]] = field(default_factory=list)
    down: bool = False

    def keep(self, lines: Iterable[bytes]) -> None:
        if self.down:
            raise UnavailableError("Firehose did not answer")
        self.records += [json.loads(line) for line in lines]
