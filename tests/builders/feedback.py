"""What became of predictions, as it is reported."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.feedback import handler as function
from tests.builders.registry import registered
from tests.builders.specs import spec_document
from tests.context import CONTEXT
from tidegate.domain.serving.feedback import Report, ReportedModel, Reporter, records
from tidegate.kernel.ids import uuid7
from tidegate.kernel.routes import SERVING
from tidegate.kernel.settings import FeedbackSettings
from tidegate.spec.model import ModelSpec
from tidegate.testing.parts import InMemoryParts
from tidegate.testing.platform import FixedClock
from tidegate.testing.registry import InMemoryRegistry

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


class CountingRegistry(InMemoryRegistry):
    """Counts how often it is asked for a model."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def model(self, name: str) -> Any:
        self.asked += 1
        return super().model(name)


class FeedbackFunction(InMemoryParts):
    """The function over a registry with one model."""

    registry: CountingRegistry

    def __init__(self) -> None:
        settings = FeedbackSettings("table", "stream", "test", max_body_bytes="10000")
        super().__init__(registry=CountingRegistry(), clock=FixedClock(NOW), settings=settings)
        self.registry.apply(ModelSpec.parse(spec_document()), author="ana", at=SINCE)
        registered(self.registry, "r-001", created_at=SINCE)
        self.registry.asked = 0

    def post(
        self, body: Any, *, model: str = "flight-delay", route: str = "feedback", event: Any = None, **headers: str
    ) -> dict[str, Any]:
        text = body if isinstance(body, str) else json.dumps(body)
        return function.handler(
            {
                "routeKey": SERVING[route].key,
                "pathParameters": {"model": model},
                "requestContext": {"authorizer": {"iam": {"userArn": REPORTER.arn}}},
                "headers": {"Content-Type": "application/json"} | headers,
                "body": text,
                "isBase64Encoded": False,
            }
            | (event or {}),
            CONTEXT,
        )
