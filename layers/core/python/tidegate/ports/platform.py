"""What every step may need of the world: the time, a place for warnings and metrics, other functions."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The time, as an argument."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...


class Signals(Protocol):
    """What people and alarms hear of while a step works. Never inputs, rows or predictions."""

    def count(self, name: str, value: float = 1, **by: str) -> None:
        """Add to a metric, and to that of these dimensions, if there are any. Their values come from closed lists."""
        ...

    def warn(self, message: str, **facts: object) -> None:
        """Log something that went wrong and was dealt with."""
        ...


class Dispatcher(Protocol):
    """Work handed to a function without waiting for it."""

    def register_dataset(self, dataset: str, version: str) -> None:
        """Ask `functions/catalog` to read and profile a dataset version."""
        ...
