"""What became of predictions, over HTTP (payload format 2.0).

    POST /feedback    {"model": "...", "feedback": [{"id", "outcome", "time"?, "model"?}, ...]}, or one item alone
                      -> {"accepted": n}, when all of them are kept

Faults of the caller are 4xx `application/problem+json` (RFC 9457) that name item and field; nothing of such a request
is kept. After a 503 the whole request can be sent again. Outcomes are never logged.
"""

from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

from tidegate.formats.http_api import Event, answer, body_of, headers_of, refusal
from tidegate.kernel.settings import FeedbackSettings
from tidegate.steps.serving.feedback import Intake
from tidegate.telemetry import Meter

UNAVAILABLE = "not all of it could be kept; send all of it again: that does no harm"


@dataclass(frozen=True, slots=True)
class Wired:
    """The function's parts."""

    intake: Intake
    meter: Meter
    max_body_bytes: int


@cache
def wire() -> Wired:
    """Parts on AWS, made at the first request and kept."""
    from tidegate.aws.clock import SystemClock
    from tidegate.aws.feedback import FirehoseFeedback
    from tidegate.aws.registry import DynamoRegistry

    settings = FeedbackSettings.from_env()
    meter = Meter("feedback", stage=settings.stage)
    intake = Intake(
        models=DynamoRegistry(settings.registry_table),
        log=FirehoseFeedback(settings.feedback_stream),
        clock=SystemClock(),
        signals=meter,
    )
    return Wired(intake, meter, int(settings.max_body_bytes))


def handler(event: Event, context: Any) -> Event:
    """One request of the HTTP API."""
    parts = wire()
    try:
        body = body_of(event, headers_of(event), parts.max_body_bytes, what="outcomes")
        accepted = parts.intake.take(body)
    except Exception as error:  # noqa: BLE001  whatever it is, the caller gets an answer that says so
        request_id = str(getattr(context, "aws_request_id", ""))
        refused = refusal(error, request_id, unavailable=UNAVAILABLE)
        if refused["statusCode"] >= 500:
            parts.meter.fault("request failed", error, request_id=request_id)
        return refused
    parts.meter.flush()
    return answer(HTTPStatus.OK, accepted)
