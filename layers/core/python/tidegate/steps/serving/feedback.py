"""Take outcomes in: check them against the registry, keep them, and only then say so."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from tidegate.domain.serving.capture import line
from tidegate.domain.serving.feedback import parse_report, records
from tidegate.kernel.errors import NotFoundError
from tidegate.ports.platform import Clock, Signals
from tidegate.ports.registry import Models
from tidegate.ports.serving import FeedbackLog

KNOWN = timedelta(seconds=60)  # how long a model's task is taken for what it was


class Intake:
    """Takes reports of outcomes. Kept for the life of the process."""

    def __init__(self, *, models: Models, log: FeedbackLog, clock: Clock, signals: Signals) -> None:
        self._models = models
        self._log = log
        self._clock = clock
        self._signals = signals
        self._known: dict[str, tuple[str, datetime]] = {}

    def take(self, body: bytes) -> dict[str, Any]:
        """Keep every outcome of a request body, or none; repeating it does no harm.

        Raises:
            RequestInvalidError: names every fault.
            UnavailableError: the registry does not answer, or not all outcomes could be kept.
        """
        report, now = parse_report(body), self._clock.now()
        found = records(report, self._tasks(report.models, now), now)
        self._log.keep(line(record) for record in found)
        for model, count in sorted(Counter(record["model"] for record in found).items()):
            self._signals.count("Feedback", count, model=model)
        return {"accepted": len(found)}

    def _tasks(self, models: Iterable[str], now: datetime) -> dict[str, str]:
        """The task of each model that exists."""
        tasks = {}
        for name in models:
            task, until = self._known.get(name, ("", now))
            if now >= until:
                try:
                    task = self._models.model(name).task
                except NotFoundError:
                    continue
                self._known[name] = task, now + KNOWN
            tasks[name] = task
        return tasks
