"""What became of predictions, as it is reported."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tidegate.domain.serving.feedback import Report, ReportedModel, Reporter, records
from tidegate.kernel.ids import uuid7

NOW = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
SINCE = NOW - timedelta(days=500)
ABOUT = {
    name: ReportedModel(name, task, SINCE)
    for name, task in (("flight-delay", "binary"), ("airline", "multiclass"), ("arrival", "regression"))
}
REPORTER = Reporter("arn:aws:iam::123456789012:user/outcomes")


def prediction(minutes: float = -60, of: int = 0) -> str:
    """The id of a prediction made so long after now."""
    return uuid7(NOW + timedelta(minutes=minutes), bytes([of] * 8))


def item(outcome: Any = True, **more: Any) -> dict[str, Any]:
    return {"id": prediction(), "outcome": outcome} | more


def kept(*items: Any, model: str = "flight-delay") -> list[dict[str, Any]]:
    return records(Report(items), ABOUT[model], REPORTER, NOW)
