"""Predictions over HTTP (payload format 2.0). What it imports is the cold start, so it imports little.

    POST /models/{model}/predict    {"instances": [{...}, ...]} -> model, version, reason, predictions
                                    header x-tidegate-routing-key, or "routing_key" beside the instances: the same key
                                    gets the same version while two of them share the requests
    GET  /models/{model}            version and contract
    GET  /health                    the function runs

Faults of the caller are 4xx `application/problem+json` (RFC 9457) that name instance and field.
"""

import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

from tidegate.aws.extension import AfterResponse
from tidegate.domain.prediction import PredictionRequest, parse_request, routing_key
from tidegate.edge import Event, answer, body_of, headers_of, refusal
from tidegate.errors import NotFoundError, RequestInvalidError
from tidegate.ml.scoring import load
from tidegate.settings import InferenceSettings
from tidegate.steps.inference import Inference
from tidegate.telemetry import Aside, Meter

SESSIONS_SHARE = 0.2  # of the function's memory for artifacts; a loaded session takes about twice its artifact
UNAVAILABLE = "a service this one needs does not answer"
ROUTING_KEY = "x-tidegate-routing-key"
AFTERWARDS = AfterResponse.start("captures")
_PATHS = re.compile(r"/(?P<health>health)|/models/(?P<model>[a-z][a-z0-9-]{0,62})(?P<predict>/predict)?")


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
            return answer(HTTPStatus.OK, {"status": "ok"})
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
        response = refusal(error, request_id, unavailable=UNAVAILABLE)
        if response["statusCode"] >= 500:
            meter.fault("request failed", error, request_id=request_id)
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
        return answer(HTTPStatus.OK, parts.inference.describe(path["model"]))
    headers = headers_of(event)
    body = body_of(event, headers, parts.max_body_bytes, what="instances")
    request = parse_request(body, max_instances=parts.max_instances)
    key = routing_key(headers.get(ROUTING_KEY) or None, ROUTING_KEY) or request.routing_key
    predicted = parts.inference.predict(
        path["model"],
        PredictionRequest(request.instances, key),
        os.urandom,
        request_id=str(getattr(context, "aws_request_id", "")),
        remaining_seconds=_remaining(context),
    )
    return answer(HTTPStatus.OK, predicted)


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
