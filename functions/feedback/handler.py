"""What became of predictions, over HTTP (payload format 2.0).

    POST /feedback    {"model": "...", "feedback": [{"id", "outcome", "time"?, "model"?}, ...]}, or one item alone
                      -> {"accepted": n}, when all of them are kept

Faults of the caller are 4xx `application/problem+json` (RFC 9457) that name item and field; nothing of such a request
is kept. After a 503 the whole request can be sent again. Outcomes are never logged.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

from tidegate.errors import Fault, RequestInvalidError, TidegateError, UnavailableError
from tidegate.settings import FeedbackSettings
from tidegate.steps.feedback import Intake
from tidegate.telemetry import Meter

Event = dict[str, Any]

RETRY_AFTER_SECONDS = 5
_JSON = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json\s*(?:;\s*charset=\"?utf-?8\"?\s*)?", re.IGNORECASE)


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
        accepted = parts.intake.take(_body(event, parts.max_body_bytes))
    except Exception as error:  # noqa: BLE001  whatever it is, the caller gets an answer that says so
        return _refused(error, str(getattr(context, "aws_request_id", "")), parts.meter)
    parts.meter.flush()
    return _answer(HTTPStatus.OK, accepted)


def _body(event: Event, limit: int) -> bytes:
    """The body's bytes; raises RequestInvalidError (400, 413, 415)."""
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    if not _JSON.fullmatch(headers.get("content-type", "application/json").strip()):
        raise RequestInvalidError(
            "the body must be application/json in UTF-8",
            [Fault("content-type", "is not JSON", ("application/json",))],
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    text = event.get("body") or ""
    try:
        body = base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except (binascii.Error, ValueError):  # a half surrogate pair is a ValueError too
        raise RequestInvalidError("the body cannot be decoded", status=HTTPStatus.BAD_REQUEST) from None
    if len(body) > limit:
        raise RequestInvalidError(
            f"the body has {len(body)} bytes; at most {limit} are accepted",
            status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            next_step="send less feedback in one request",
        )
    return body


def _refused(error: Exception, request_id: str, meter: Meter) -> Event:
    problem: dict[str, Any] = {"detail": "something failed on our side"}
    headers: dict[str, str] = {}
    match error:
        case RequestInvalidError():
            status = HTTPStatus(error.status)
            problem = {"detail": error.summary, "errors": [fault.to_json() for fault in error.faults]}
        case UnavailableError():
            status = HTTPStatus.SERVICE_UNAVAILABLE
            problem = {"detail": "not all of it could be kept", "next_step": "send all of it again: that does no harm"}
            headers = {"retry-after": str(RETRY_AFTER_SECONDS)}
        case _:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
    if status >= 500:
        meter.fault("request failed", error, request_id=request_id)
    if isinstance(error, TidegateError) and error.next_step:
        problem.setdefault("next_step", error.next_step)
    about = {"type": "about:blank", "title": status.phrase, "status": int(status), "instance": f"urn:uuid:{request_id}"}
    return _answer(status, about | problem, "application/problem+json", headers)


def _answer(
    status: HTTPStatus,
    document: Mapping[str, Any],
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Event:
    return {
        "statusCode": int(status),
        "headers": {"content-type": content_type, "cache-control": "no-store", **(headers or {})},
        "body": json.dumps(document, allow_nan=False, separators=(",", ":")),
        "isBase64Encoded": False,
    }
