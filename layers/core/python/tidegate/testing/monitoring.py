"""The health of served models, its verdicts, and the hours behind them."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.domain.monitoring.health import HealthRecord
from tidegate.domain.monitoring.quarantine import because
from tidegate.domain.serving.capture import line
from tidegate.domain.serving.feedback import FEEDBACK_RECORD, Claim, Outcomes, outcomes_that_count, read_claim
from tidegate.kernel.errors import ConflictError
from tidegate.ports.monitoring import Sources
from tidegate.testing.found import found


@dataclass
class InMemoryHealthRecords:
    """ports.HealthRecords; `saved` has every revision."""

    saved: list[HealthRecord] = field(default_factory=list)

    def record(self, model: str) -> HealthRecord | None:
        return next((each for each in reversed(self.saved) if each.model == model), None)

    def save(self, record: HealthRecord) -> None:
        known = self.record(record.model)
        if known == record:
            return
        if (known.revision if known else 0) != record.revision - 1:
            raise ConflictError(f"the health of {record.model} was changed by somebody else")
        self.saved.append(record)


@dataclass
class InMemoryVerdicts:
    """ports.Verdicts; documents by key, as JSON keeps them."""

    documents: dict[str, str] = field(default_factory=dict)

    def write(self, model: str, hour: str, document: Mapping[str, Any]) -> str:
        key = f"verdicts/model={model}/{hour}.json"
        self.documents[key] = json.dumps(document, allow_nan=False)
        return key

    def read(self, key: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(found(self.documents.get(key), f"object {key}"))
        return document


@dataclass
class InMemoryHours:
    """ports.Hours; what was captured and reported, by (model, hour) and object, and what was counted of it."""

    captures: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    feedback: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    documents: dict[tuple[str, int, str], str] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)

    def capture(self, records: Iterable[Mapping[str, Any]], *, key: str = "") -> None:
        """An object of captures for each hour; `key` names it."""
        self._add(self.captures, [dict(record) for record in records], key or f"captures-{len(self.captures)}")

    def report(self, model: str, hour: str, records: Iterable[Mapping[str, Any]], *, key: str = "") -> None:
        """An object of feedback on predictions of an hour."""
        added = [dict(record) | {"model": model, "hour": hour} for record in records]
        self._add(self.feedback, added, key or f"feedback-{sum(map(len, self.feedback.values()))}")

    def asked(self, model: str, since: str) -> bool:
        return any(name == model and hour >= since for name, hour in self.captures)

    def sources(self, model: str, first: str, last: str) -> dict[str, Sources]:
        kept = self.captures.keys() | self.feedback.keys()
        hours = sorted(hour for name, hour in kept if name == model and first <= hour <= last)
        return {
            hour: Sources(
                tuple(sorted(self.captures.get((model, hour), {}))), tuple(sorted(self.feedback.get((model, hour), {})))
            )
            for hour in hours
        }

    def outcomes(self, sources: Sources) -> tuple[Outcomes, dict[str, str]]:
        objects, claims, unread = self._objects(self.feedback), list[Claim](), {}
        for key in sources.feedback:
            try:
                claims += [read_claim(FEEDBACK_RECORD.current(record)) for record in objects[key]]
            except Exception as error:  # noqa: BLE001  as the adapter does
                unread[key] = because(error)
        return outcomes_that_count(claims), unread

    def lines(self, sources: Sources) -> Iterator[Iterable[bytes]]:
        captured = self._objects(self.captures)
        for key in sources.captures:
            self.read.append(key)
            yield [line(record) for record in captured[key]]

    def counted(self, model: str, version: int, hours: Collection[str]) -> dict[str, dict[str, Any]]:
        keys = {hour: (model, version, hour) for hour in hours}
        return {hour: json.loads(self.documents[key]) for hour, key in keys.items() if key in self.documents}

    def keep(self, model: str, version: int, hour: str, document: Mapping[str, Any]) -> None:
        self.documents[model, version, hour] = json.dumps(document, allow_nan=False)

    @staticmethod
    def _add(
        objects: dict[tuple[str, str], dict[str, list[dict[str, Any]]]], records: list[dict[str, Any]], key: str
    ) -> None:
        for record in records:
            place = objects.setdefault((record["model"], record["hour"]), {})
            place.setdefault(f"{record['model']}/{record['hour']}/{key}", []).append(record)

    @staticmethod
    def _objects(
        objects: dict[tuple[str, str], dict[str, list[dict[str, Any]]]],
    ) -> dict[str, list[dict[str, Any]]]:
        return {key: records for named in objects.values() for key, records in named.items()}
