"""The time, warnings and metrics, and work handed to other functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tidegate.kernel.errors import TidegateError


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


@dataclass
class RecordedSignals:
    """ports.Signals, and the rest of `tidegate.telemetry.Meter`: `counts` by metric and by metric:dimension, `said` has
    warnings and faults, `models` whom they are about."""

    counts: dict[str, float] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    flushed: int = 0

    def about(self, model: str) -> None:
        self.models.append(model)

    def count(self, name: str, value: float = 1, **by: str) -> None:
        for metric in (name, *(f"{name}:{dimension}" for dimension in by.values())):
            self.counts[metric] = self.counts.get(metric, 0) + value

    def warn(self, message: str, **facts: object) -> None:
        self.said.append(f"{message} {facts}")

    def fault(self, message: str, error: BaseException, **facts: object) -> None:
        said = str(error) if isinstance(error, TidegateError) else ""
        self.said.append(f"{message} {type(error).__name__} {said} {facts}")

    def report(self, values: Mapping[str, float], **dimensions: str) -> None:
        for name, value in values.items():
            self.count(name, value, **dimensions)

    def took(self, name: str, milliseconds: float) -> None:
        self.count(name, milliseconds)

    def flush(self) -> None:
        self.flushed += 1
