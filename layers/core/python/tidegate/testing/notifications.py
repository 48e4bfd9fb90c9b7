"""Messages to people and events for other systems."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tidegate.kernel.errors import UnavailableError


@dataclass
class InMemoryMessages:
    """The channels of `announce`. `broken` names those that do not answer: SNS, EventBridge."""

    broken: Collection[str] = ()
    letters: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    events: list[tuple[str, Mapping[str, Any], datetime]] = field(default_factory=list)

    def send(self, subject: str, text: str, attributes: Mapping[str, str]) -> None:
        self._answer("SNS")
        self.letters.append((subject, text, attributes))

    def put(self, detail_type: str, detail: Mapping[str, Any], at: datetime) -> None:
        self._answer("EventBridge")
        self.events.append((detail_type, detail, at))

    def _answer(self, channel: str) -> None:
        if channel in self.broken:
            raise UnavailableError(f"{channel} did not answer")
