"""What became of predictions, over HTTP (payload format 2.0).

    POST /models/{model}/feedback                {"feedback": [{"id", "outcome", "time"?}, ...]}, or one item alone
                                                 -> {"accepted": n}, when all of them are kept; "of_no_class": how
                                                 many of them count for nothing
    POST /models/{model}/feedback/corrections    the same by an operator: replaces what others reported

Faults of the caller are 4xx `application/problem+json` (RFC 9457) that name item and field; nothing of such a request
is kept. After a 503 the whole request can be sent again. Outcomes are never logged.
"""

from http import HTTPStatus
from typing import Any

from tidegate import wiring
from tidegate.domain.serving.feedback import Reporter
from tidegate.formats.http_api import Event, answer, body_of, caller_of, headers_of, refusal
from tidegate.kernel.routes import SERVING
from tidegate.kernel.settings import FeedbackSettings

UNAVAILABLE = "not all outcomes could be stored; send all of them again: none is counted twice"


def handler(event: Event, context: Any) -> Event:
    """One request of the HTTP API."""
    at = wiring.of(FeedbackSettings)
    try:
        by = Reporter(caller_of(event), correction=event["routeKey"] == SERVING["corrections"].key)
        body = body_of(event, headers_of(event), int(at.settings.max_body_bytes), what="outcomes")
        accepted = at.intake.take(event["pathParameters"]["model"], body, by)
    except Exception as error:  # noqa: BLE001  whatever it is, the caller gets an answer that says so
        request_id = str(getattr(context, "aws_request_id", ""))
        refused = refusal(error, request_id, unavailable=UNAVAILABLE)
        if refused["statusCode"] >= 500:
            at.meter.fault("request failed", error, request_id=request_id)
        return refused
    at.meter.flush()
    return answer(HTTPStatus.OK, accepted)
