"""The time, and work handed to other functions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass
class FixedClock:
    """A clock that stands still until it is moved."""

    at: datetime = datetime(2026, 1, 5, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def move(self, **delta: float) -> None:
        """`clock.move(seconds=5)`."""
        self.at += timedelta(**delta)


@dataclass
class InMemoryDispatcher:
    """ports.Dispatcher; `on_register` lets a test do the work at once."""

    dispatched: list[tuple[str, str]] = field(default_factory=list)
    on_register: Callable[[str, str], None] | None = None

    def register_dataset(self, dataset: str, version: str) -> None:
        self.dispatched.append((dataset, version))
        if self.on_register:
            self.on_register(dataset, version)
