"""Take outcomes in: check them against the registry, keep them, and only then say so."""

from datetime import datetime, timedelta
from typing import Any

from tidegate.domain.registry.version import Version
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
        """Keep every outcome of a request body, or none; repeating it does no harm. The answer says how many were
        `accepted` and, if any, how many of these are `of_no_class` of the model.

        Raises:
            NotFoundError: no such model.
            RequestInvalidError: names every fault.
            UnavailableError: the registry does not answer, or not all outcomes could be kept.
        """
        report, now = parse_report(body), self._clock.now()
        about = self._model(model, now)
        found = records(report, about, by, now)
        self._log.keep(line(record) for record in found)
        self._signals.count("Feedback", len(found), model=model)
        strange = about.of_no_class(found)
        return {"accepted": len(found)} | ({"of_no_class": strange} if strange else {})

    def _model(self, model: str, now: datetime) -> ReportedModel:
        known, until = self._known.get(model, (None, now))
        if known is None or now >= until:
            header = self._models.model(model)
            first, latest = self._version(model, FIRST), self._version(model, header.latest_version)
            since = first.created_at if first else None
            known = ReportedModel(model, header.task, since, frozenset(latest.classes if latest else ()))
            self._known[model] = known, now + KNOWN
        return known

    def _version(self, model: str, number: int) -> Version | None:
        try:
            return self._versions.version(model, number)
        except NotFoundError:
            return None
