"""Messages to people, and events to other systems."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol


class Letters(Protocol):
    """Messages to people, who subscribe by attributes."""

    def send(self, subject: str, text: str, attributes: Mapping[str, str]) -> None:
        """Hand over one message; sent again, it comes again."""
        ...


class Events(Protocol):
    """Events to other systems."""

    def put(self, detail_type: str, detail: Mapping[str, Any], at: datetime) -> None:
        """Hand over one event; put again, it comes again."""
        ...
