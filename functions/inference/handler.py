"""Predictions over HTTP (payload format 2.0). What it imports is the cold start, so it imports little.

    POST /models/{model}/predict    {"instances": [{...}, ...]} -> model, version, reason, predictions
                                    header x-tidegate-routing-key, or "routing_key" beside the instances: the same key
                                    gets the same version while two of them share the requests
    GET  /models/{model}            version and contract
    GET  /health                    the function runs

Faults of the caller are 4xx `application/problem+json` (RFC 9457) that name instance and field.
"""

import base64
import binascii
import json
import math
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

from tidegate.aws.extension import AfterResponse
from tidegate.domain.prediction import PredictionRequest, parse_request, routing_key
from tidegate.errors import (
    ArtifactRejectedError,
    ConflictError,
    Fault,
    NotFoundError,
    RequestInvalidError,
    TidegateError,
    UnavailableError,
)
from tidegate.ml.scoring import load
from tidegate.settings import InferenceSettings
from tidegate.steps.inference import Inference
from tidegate.telemetry import Aside, Meter

Event = dict[str, Any]

SESSIONS_SHARE = 0.2  # of the function's memory for artifacts; a loaded session takes about twice its artifact
RETRY_AFTER_SECONDS = 5
ROUTING_KEY = "x-tidegate-routing-key"
AFTERWARDS = AfterResponse.start("captures")
_PATHS = re.compile(r"/(?P<health>health)|/models/(?P<model>[a-z][a-z0-9-]{0,62})(?P<predict>/predict)?")
_JSON = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json\s*(?:;\s*charset=\"?utf-?8\"?\s*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wired:
    """The function's parts."""

    inference: Inference
    meter: Meter
    max_instances: int
    max_body_bytes: int


@cache
def wire() -> Wired:
    """Parts on AWS, made at the first request that needs a model and kept."""
    from tidegate.aws.captures import DynamoCapturePolicies, FirehoseCaptures
    from tidegate.aws.clock import SystemClock
    from tidegate.aws.objects import S3Artifacts
    from tidegate.aws.registry import DynamoRegistry

    settings = InferenceSettings.from_env()
    registry = DynamoRegistry(settings.registry_table)
    meter = Meter("inference", stage=settings.stage)
    captures = FirehoseCaptures(
        settings.capture_stream,
        policies=DynamoCapturePolicies(settings.registry_table),
        signals=Aside("inference", stage=settings.stage),
    )
    AFTERWARDS.do(captures.deliver)
    memory_mib = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024"))
    inference = Inference(
        routes=registry,
        models=registry,
        artifacts=S3Artifacts(settings.artifacts_bucket),
        load=load,
        clock=SystemClock(),
        signals=meter,
        captures=captures,
        route_ttl_seconds=float(settings.route_ttl_seconds),
        scoring_timeout_seconds=float(settings.scoring_timeout_ms) / 1e3,
        cache_bytes=int(memory_mib * 2**20 * SESSIONS_SHARE),
    )
    return Wired(inference, meter, int(settings.max_instances), int(settings.max_body_bytes))


def handler(event: Event, context: Any) -> Event:
    """One request of the HTTP API. What is captured of it leaves after the response."""
    try:
        path = _PATHS.fullmatch(_path(event))
        if path and path["health"] and _method(event) == "GET":
            return _answer(HTTPStatus.OK, {"status": "ok"})
        return _serve(event, path, context, wire())
    finally:
        AFTERWARDS.begin()


def _serve(event: Event, path: re.Match[str] | None, context: Any, parts: Wired) -> Event:
    started, meter = time.perf_counter(), parts.meter
    request_id = str(getattr(context, "aws_request_id", ""))
    meter.count("Requests")
    try:
        response = _routed(event, path, context, parts)
    except Exception as error:  # noqa: BLE001  whatever it is, the caller gets an answer that says so
        response = _refused(error, request_id, meter)
    if path and path["model"] and parts.inference.knows(path["model"]):
        meter.about(path["model"])
    if response["statusCode"] >= 500:
        meter.count("ServerErrors")
    elif response["statusCode"] >= 400:
        meter.count("ClientErrors")
    meter.took("LatencyMs", round((time.perf_counter() - started) * 1000, 3))
    meter.flush()
    return response


def _routed(event: Event, path: re.Match[str] | None, context: Any, parts: Wired) -> Event:
    if path is None:
        raise NotFoundError(f"nothing is served at {_path(event)[:200]!r}")
    wanted = "POST" if path["predict"] else "GET"
    if _method(event) != wanted:
        raise RequestInvalidError(f"use {wanted} here", status=HTTPStatus.METHOD_NOT_ALLOWED)
    if not path["predict"]:
        return _answer(HTTPStatus.OK, parts.inference.describe(path["model"]))
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    request = parse_request(_body(event, headers, parts.max_body_bytes), max_instances=parts.max_instances)
    key = routing_key(headers.get(ROUTING_KEY) or None, ROUTING_KEY) or request.routing_key
    answer = parts.inference.predict(
        path["model"],
        PredictionRequest(request.instances, key),
        os.urandom,
        request_id=str(getattr(context, "aws_request_id", "")),
        remaining_seconds=_remaining(context),
    )
    return _answer(HTTPStatus.OK, answer)


def _remaining(context: Any) -> Callable[[], float]:
    """Seconds until Lambda ends the invocation."""
    milliseconds = getattr(context, "get_remaining_time_in_millis", None)
    return (lambda: milliseconds() / 1e3) if milliseconds else (lambda: math.inf)


def _path(event: Event) -> str:
    path = str(event.get("rawPath", ""))
    stage = event.get("requestContext", {}).get("stage", "$default")
    return path.removeprefix(f"/{stage}") if stage != "$default" else path


def _method(event: Event) -> str:
    return str(event.get("requestContext", {}).get("http", {}).get("method", ""))


def _body(event: Event, headers: Mapping[str, str], limit: int) -> bytes:
    """The body's bytes; raises RequestInvalidError (400, 413, 415)."""
    content_type = headers.get("content-type", "application/json").strip()
    if not _JSON.fullmatch(content_type):
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
            next_step="send fewer instances in one request",
        )
    return body


def _refused(error: Exception, request_id: str, meter: Meter) -> Event:
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
        case ArtifactRejectedError():
            status, problem = HTTPStatus.SERVICE_UNAVAILABLE, {"detail": error.message}
        case UnavailableError():
            status, problem = HTTPStatus.SERVICE_UNAVAILABLE, {"detail": "a service this one needs does not answer"}
            headers = {"retry-after": str(RETRY_AFTER_SECONDS)}
        case _:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
    if status >= 500:
        meter.fault("request failed", error, request_id=request_id)
    if isinstance(error, TidegateError) and error.next_step:
        problem["next_step"] = error.next_step
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
