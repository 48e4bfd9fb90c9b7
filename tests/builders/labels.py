"""Captured predictions that become rows of a dataset."""

from datetime import UTC, datetime
from typing import Any

from tidegate.domain.serving.capture import hour_of
from tidegate.kernel.ids import uuid7

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
GOOD = {"line": "red", "wind": 12.5, "stops": 7}


def record(at: datetime = NOW, number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "id": uuid7(at, number.to_bytes(8)),
        "model": "trip-delay",
        "hour": hour_of(at),
        "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "inputs": GOOD,
        "probabilities": {"false": 0.25, "true": 0.75},
        "sample": 1.0,
    } | changes
