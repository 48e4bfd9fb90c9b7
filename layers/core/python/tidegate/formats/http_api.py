"""Requests of an HTTP API (payload format 2.0) in, answers out, for the functions that applications call.

Refusals are `application/problem+json` (RFC 9457). On the inference path: standard library and orjson only.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import orjson

from tidegate.kernel.errors import (
    ArtifactRejectedError,
    ConflictError,
    Fault,
    NewerDocumentError,
    NotFoundError,
    RequestInvalidError,
    TidegateError,
    UnavailableError,
)

Event = dict[str, Any]

RETRY_AFTER_SECONDS = 5
JSON, CSV = "application/json", "text/csv"
_UTF8 = r"\s*(?:;\s*charset=\"?utf-?8\"?\s*)?"
_MEDIA_TYPES = {
    JSON: re.compile(rf"application/(?:[a-z0-9.+-]+\+)?json{_UTF8}", re.IGNORECASE),
    CSV: re.compile(r"text/csv(?:\s*;\s*(?:charset=\"?utf-?8\"?|header=present))*\s*;?", re.IGNORECASE),
}


def headers_of(event: Event) -> dict[str, str]:
    """Headers by their names in lower case."""
    return {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}


def caller_of(event: Event) -> str:
    """The IAM ARN of the caller, as the API's authorizer has it. Raises RequestInvalidError (401) without one."""
    iam = event.get("requestContext", {}).get("authorizer", {}).get("iam") or {}
    if not iam.get("userArn"):
        raise RequestInvalidError(
            "the request has no IAM identity",
            status=HTTPStatus.UNAUTHORIZED,
            next_step="sign it with SigV4 for service execute-api",
        )
    return str(iam["userArn"])


def media_type(headers: Mapping[str, str], accepted: Sequence[str] = (JSON,)) -> str:
    """Which of the accepted media types a body has; raises RequestInvalidError (415) when it has another one."""
    content_type = headers.get("content-type", JSON).strip()
    for each in accepted:
        if _MEDIA_TYPES[each].fullmatch(content_type):
            return each
    wanted = " or ".join(accepted)
    fault = Fault("content-type", f"is {content_type[:100]!r}", tuple(accepted))
    raise RequestInvalidError(f"the body must be {wanted} in UTF-8", [fault], status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)


def bytes_of(event: Event) -> bytes:
    """The body's bytes, whatever they are; raises RequestInvalidError (400) when the event has none that can be."""
    text = event.get("body") or ""
    try:
        return base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except (binascii.Error, ValueError):  # half a surrogate pair is a ValueError too
        fault = Fault("", "it is neither valid UTF-8 nor valid base64")
        raise RequestInvalidError("the body cannot be decoded", [fault], status=HTTPStatus.BAD_REQUEST) from None


def body_of(
    event: Event, headers: Mapping[str, str], limit: int, *, what: str, accepted: Sequence[str] = (JSON,)
) -> bytes:
    """The body's bytes. `what` is sent by it, in the plural, for the refusal of one with more than `limit` bytes.

    Raises:
        RequestInvalidError: with status 400, 413 or 415.
    """
    media_type(headers, accepted)
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        fault = Fault("content-encoding", f"is {encoding[:100]!r}", ("identity",))
        status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        raise RequestInvalidError("the body must not be compressed", [fault], status=status)
    body = bytes_of(event)
    if len(body) > limit:
        raise RequestInvalidError(
            f"the body has {len(body):,} bytes; at most {limit:,} are accepted",
            status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            next_step=f"send fewer {what} in one request",
        )
    return body


def answer(
    status: HTTPStatus,
    document: Mapping[str, Any],
    content_type: str = JSON,
    headers: Mapping[str, str] | None = None,
) -> Event:
    """An answer that nobody keeps for later."""
    return text_answer(status, _json(document), content_type, headers)


def _json(document: Mapping[str, Any]) -> str:
    """Raises ValueError for a number that JSON has not: orjson writes null for it, so whatever has a null is written by
    the standard library, as is what orjson refuses (whole numbers of more than 64 bits, half surrogate pairs)."""
    with suppress(TypeError):
        text = orjson.dumps(document)
        if b"null" not in text:
            return text.decode()
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def text_answer(status: HTTPStatus, text: str, content_type: str, headers: Mapping[str, str] | None = None) -> Event:
    """The same with a text as it is."""
    return {
        "statusCode": int(status),
        "headers": {"content-type": content_type, "cache-control": "no-store", **(headers or {})},
        "body": text,
        "isBase64Encoded": False,
    }


def refusal(error: Exception, request_id: str, *, unavailable: str) -> Event:
    """The answer to a request that failed. Words of errors that are not Tidegate's are not shown to callers.

    Args:
        unavailable: what is reported when another service does not answer.
    """
    problem: dict[str, Any] = {"detail": "something failed on our side"}
    headers: dict[str, str] = {}
    match error:
        case RequestInvalidError():
            status = HTTPStatus(error.status)
            problem = {"detail": error.summary, "errors": [fault.to_json() for fault in error.faults]}
        case NotFoundError():
            status, problem = HTTPStatus.NOT_FOUND, {"detail": error.message}
        case ConflictError():
            status, problem = HTTPStatus.CONFLICT, {"detail": error.message}
        case ArtifactRejectedError() | NewerDocumentError():
            status, problem = HTTPStatus.SERVICE_UNAVAILABLE, {"detail": error.message}
        case UnavailableError():
            status, problem = HTTPStatus.SERVICE_UNAVAILABLE, {"detail": unavailable}
            headers = {"retry-after": str(RETRY_AFTER_SECONDS)}
        case _:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, TidegateError) and error.next_step:
        problem["next_step"] = error.next_step
    about = {"type": "about:blank", "title": status.phrase, "status": int(status), "instance": f"urn:uuid:{request_id}"}
    return answer(status, about | problem, "application/problem+json", headers)
