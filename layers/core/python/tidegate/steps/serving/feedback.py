"""Take outcomes in: check them against the registry, keep them, and only then say so."""

from datetime import datetime, timedelta
from typing import Any

from tidegate.domain.serving.capture import line
from tidegate.domain.serving.feedback import ReportedModel, Reporter, parse_report, records
from tidegate.kernel.errors import NotFoundError
from tidegate.ports.platform import Clock, Signals
from tidegate.ports.registry import Models, Versions
from tidegate.ports.serving import FeedbackLog

KNOWN = timedelta(seconds=60)  # how long a model is taken for what it was
FIRST = 1  # the number of a model's first version


class Intake:
    """Takes reports of outcomes. Kept for the life of the process."""

    def __init__(self, *, models: Models, versions: Versions, log: FeedbackLog, clock: Clock, signals: Signals) -> None:
        self._models = models
        self._versions = versions
        self._log = log
        self._clock = clock
        self._signals = signals
        self._known: dict[str, tuple[ReportedModel, datetime]] = {}

    def take(self, model: str, body: bytes, by: Reporter) -> dict[str, Any]:
        """Keep every outcome of a request body, or none; repeating it does no harm.

        Raises:
            NotFoundError: no such model.
            RequestInvalidError: names every fault.
            UnavailableError: the registry does not answer, or not all outcomes could be kept.
        """
        report, now = parse_report(body), self._clock.now()
        found = records(report, self._model(model, now), by, now)
        self._log.keep(line(record) for record in found)
        self._signals.count("Feedback", len(found), model=model)
        return {"accepted": len(found)}

    def _model(self, model: str, now: datetime) -> ReportedModel:
        known, until = self._known.get(model, (None, now))
        if known is None or now >= until:
            known = ReportedModel(model, self._models.model(model).task, self._since(model))
            self._known[model] = known, now + KNOWN
        return known

    def _since(self, model: str) -> datetime | None:
        try:
            return self._versions.version(model, FIRST).created_at
        except NotFoundError:
            return None
