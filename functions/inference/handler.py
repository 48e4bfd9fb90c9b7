"""Predictions over HTTP (payload format 2.0). What it imports is the cold start, so it imports little.

    POST /models/{model}/predict        {"instances": [{...}, ...]} -> model, version, reason, predictions
                                        header x-tidegate-routing-key, or "routing_key" beside the instances: the same
                                        key gets the same version while two of them share the requests
    POST /models/{model}/invocations    the same in MLflow's scoring protocol
    GET  /models/{model}                version and contract; as a document: .../openapi.json, as a page: .../docs
    ANY  /v2...                         the same in the Open Inference Protocol
    GET  /health                        the function runs

Faults of the caller are 4xx `application/problem+json` (RFC 9457) that name instance and field; under /v2 the same in
the words of that protocol. Protocols only translate: every request is answered by `Inference.predict`.
"""

import gc
import json
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tidegate import __version__
from tidegate.aws.extension import AfterResponse
from tidegate.domain.serving.capture import UNKNOWN, CapturePolicy
from tidegate.domain.serving.prediction import PredictionRequest, parse_request, routing_key
from tidegate.formats.http_api import CSV, JSON, Event, answer, body_of, headers_of, media_type, refusal, text_answer
from tidegate.kernel.errors import Fault, NotFoundError, RequestInvalidError
from tidegate.kernel.ids import NAME
from tidegate.kernel.settings import InferenceSettings
from tidegate.kernel.values import Cells
from tidegate.ml.scoring import load
from tidegate.steps.serving.inference import Inference
from tidegate.telemetry import Aside, Meter

if TYPE_CHECKING:
    from tidegate.ports.serving import CapturePolicies

SESSIONS_SHARE = 0.5  # of the function's memory for what is kept open; the rest is for Python, and for opening a model
AHEAD_SECONDS = 60.0  # for the routes and fallbacks of all models; Lambda gives such a start 130
UNAVAILABLE = "a required service does not answer"
ROUTING_KEY = "x-tidegate-routing-key"
AFTERWARDS = AfterResponse.start("captures")
_PATHS = re.compile(
    rf"(?P<protocol>/v2)?/models/(?P<model>{NAME})(?:/versions/(?P<version>[1-9][0-9]{{0,8}}))?"
    r"(?P<verb>/[a-z.]+)?"
)
_PAGE_HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


@dataclass(frozen=True, slots=True)
class Wired:
    """The function's parts."""

    inference: Inference
    meter: Meter
    policies: "CapturePolicies"
    max_instances: int
    max_body_bytes: int


@cache
def wire() -> Wired:
    """Parts on AWS, made at the first request that needs a model and kept."""
    from tidegate.aws.capture_log import DynamoCapturePolicies, FirehoseCaptures
    from tidegate.aws.clock import SystemClock
    from tidegate.aws.serving import CaptureStream, ServingArtifacts, ServingRegistry, ServingTable

    settings = InferenceSettings.from_env()
    table = ServingTable(settings.registry_table)
    registry = ServingRegistry(table)
    meter = Meter("inference", stage=settings.stage, holds=AFTERWARDS.is_registered)
    policies = DynamoCapturePolicies(table)
    captures = FirehoseCaptures(
        CaptureStream(settings.capture_stream),
        policies=policies,
        signals=Aside("inference", stage=settings.stage),
    )
    memory_mib = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024"))
    inference = Inference(
        routes=registry,
        models=registry,
        versions=registry,
        artifacts=ServingArtifacts(settings.artifacts_bucket),
        load=load,
        clock=SystemClock(),
        signals=meter,
        captures=captures,
        route_ttl_seconds=float(settings.route_ttl_seconds),
        scoring_timeout_seconds=float(settings.scoring_timeout_ms) / 1e3,
        cache_bytes=int(memory_mib * 2**20 * SESSIONS_SHARE),
    )
    AFTERWARDS.do(lambda *_: meter.write())
    AFTERWARDS.do(captures.deliver)  # before the next, which may have to wait for what captures do not need
    AFTERWARDS.do(lambda seconds, _: captures.owe(inference.refresh(seconds)))
    gc.freeze()  # what is loaded stays: looking through it for garbage would take some requests ten milliseconds
    return Wired(inference, meter, policies, int(settings.max_instances), int(settings.max_body_bytes))


def know_ahead() -> None:
    """In an environment that is started before anybody asks: know the routes and fallbacks of all models, to answer
    while the registry refuses. Whatever fails here is tried again by the first request."""
    from tidegate.aws.serving import ServingRegistry, ServingTable, let_go

    with suppress(Exception):
        names = ServingRegistry(ServingTable(InferenceSettings.from_env().registry_table)).names()
        wire().inference.know_ahead(names, AHEAD_SECONDS)
    let_go()


@dataclass(frozen=True, slots=True)
class Asked:
    """One request with all that answers it."""

    event: Event
    context: Any
    parts: Wired
    model: str = ""
    version: int | None = None

    @property
    def request_id(self) -> str:
        """Lambda's."""
        return str(getattr(self.context, "aws_request_id", ""))


def handler(event: Event, context: Any) -> Event:
    """One request of the HTTP API. What is captured of it leaves after the response."""
    try:
        alone = ALONE.get(f"{_method(event)} {_path(event)}")
        return alone() if alone else _serve(event, context, wire())
    finally:
        AFTERWARDS.begin()


def _serve(event: Event, context: Any, parts: Wired) -> Event:
    started, meter = time.perf_counter(), parts.meter
    path = _PATHS.fullmatch(_path(event))
    model, version = path.group("model", "version") if path else ("", None)
    asked = Asked(event, context, parts, model, int(version) if version else None)
    meter.count("Requests")
    try:
        response = _operation(event, path)(asked)
    except Exception as error:  # noqa: BLE001  whatever it is, the caller gets an answer that says so
        response = refusal(_discreet(error, asked), asked.request_id, unavailable=UNAVAILABLE)
        if response["statusCode"] >= 500:
            meter.fault("request failed", error, request_id=asked.request_id)
        if _path(event).startswith("/v2"):
            response = _in_v2_words(response)
    if asked.model and parts.inference.knows(asked.model):
        meter.about(asked.model)
    if response["statusCode"] >= 500:
        meter.count("ServerErrors")
    elif response["statusCode"] >= 400:
        meter.count("ClientErrors")
    meter.took("LatencyMs", round((time.perf_counter() - started) * 1000, 3))
    meter.flush()
    return response


def _operation(event: Event, path: re.Match[str] | None) -> Callable[[Asked], Event]:
    """What answers the request; raises NotFoundError, or RequestInvalidError (405) for a path with another method."""
    place = _path(event)
    if path:
        version = "/versions/{version}" if path["version"] else ""
        place = f"{path['protocol'] or ''}/models/{{model}}{version}{path['verb'] or ''}"
    found = ROUTES.get(f"{_method(event)} {place}")
    if found:
        return found
    for method in ("GET", "POST"):
        if f"{method} {place}" in ROUTES or f"{method} {place}" in ALONE:
            raise RequestInvalidError(f"use {method} here", status=HTTPStatus.METHOD_NOT_ALLOWED)
    raise NotFoundError(f"there is nothing at {_path(event)[:200]!r}")


def _body(asked: Asked, headers: Mapping[str, str], accepted: Sequence[str] = (JSON,)) -> bytes:
    return body_of(asked.event, headers, asked.parts.max_body_bytes, what="instances", accepted=accepted)


def _predicted(asked: Asked, headers: Mapping[str, str], request: PredictionRequest) -> dict[str, Any]:
    """The one way to an answer, whatever the request was written in."""
    key = routing_key(headers.get(ROUTING_KEY) or None, ROUTING_KEY) or request.routing_key
    return asked.parts.inference.predict(
        asked.model,
        PredictionRequest(request.instances, key, asked.version),
        os.urandom,
        request_id=asked.request_id,
        remaining_seconds=_remaining(asked.context),
    )


def _predict(asked: Asked) -> Event:
    headers = headers_of(asked.event)
    request = parse_request(_body(asked, headers), max_instances=asked.parts.max_instances)
    return answer(HTTPStatus.OK, _predicted(asked, headers, request))


def _describe(asked: Asked) -> Event:
    return answer(HTTPStatus.OK, _shown(asked))


def _shown(asked: Asked) -> dict[str, Any]:
    """What callers may know of a model: without the categories of personal data."""
    described, policy = asked.parts.inference.describe(asked.model), _policy(asked)
    for feature in described["features"]:
        if not policy.shows(feature["name"]):
            feature.pop("categories", None)
    return described


def _policy(asked: Asked) -> CapturePolicy:
    try:
        return asked.parts.policies.policy(asked.model)
    except Exception:  # noqa: BLE001  whatever it is, nothing is shown that is not known to be allowed
        return UNKNOWN


def _discreet(error: Exception, asked: Asked) -> Exception:
    """The same refusal without personal data: neither the wrong value nor the categories that would be right."""
    if isinstance(error, RequestInvalidError) and any(each.allowed or each.given for each in error.faults):
        policy = _policy(asked)
        error.faults = tuple(
            each if policy.shows(each.path.rpartition("].")[2]) else Fault(each.path, each.problem)
            for each in error.faults
        )
    return error


def _invocations(asked: Asked) -> Event:
    from tidegate.formats import mlflow_protocol

    headers, most = headers_of(asked.event), asked.parts.max_instances
    body = _body(asked, headers, (JSON, CSV))
    if media_type(headers, (JSON, CSV)) == JSON:
        request = mlflow_protocol.read_request(body, max_instances=most)
    else:
        request = mlflow_protocol.read_csv(body, lambda: _cells(asked), max_instances=most)
    return answer(HTTPStatus.OK, mlflow_protocol.write_answer(_predicted(asked, headers, request)))


def _cells(asked: Asked) -> Cells:
    return Cells.of(asked.parts.inference.describe(asked.model))


def _infer(asked: Asked) -> Event:
    from tidegate.formats import open_inference

    headers = headers_of(asked.event)
    if open_inference.BINARY_HEADER in headers:
        raise RequestInvalidError(
            "binary tensor data is not supported",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            next_step="send the tensors as JSON: binary_data=False",
        )
    body, most = _body(asked, headers), asked.parts.max_instances
    request, own_id, wanted = open_inference.read_request(body, max_instances=most)
    return answer(HTTPStatus.OK, open_inference.write_answer(_predicted(asked, headers, request), own_id, wanted))


def _metadata(asked: Asked) -> Event:
    from tidegate.formats import open_inference

    inference = asked.parts.inference
    described = inference.describe(asked.model, asked.version)
    return answer(HTTPStatus.OK, open_inference.metadata(asked.model, described, inference.serving(asked.model)))


def _model_ready(asked: Asked) -> Event:
    """A model is ready when its artifact is loaded, or its fallback."""
    asked.parts.inference.describe(asked.model, asked.version)
    return answer(HTTPStatus.OK, {"name": asked.model, "ready": True})


def _server() -> Event:
    from tidegate.formats import open_inference

    return answer(HTTPStatus.OK, open_inference.server(__version__))


def _document(asked: Asked) -> Event:
    return answer(HTTPStatus.OK, _described(asked))


def _page(asked: Asked) -> Event:
    from tidegate.formats import openapi_page

    return text_answer(HTTPStatus.OK, openapi_page.page(_described(asked)), "text/html; charset=utf-8", _PAGE_HEADERS)


def _described(asked: Asked) -> dict[str, Any]:
    """The OpenAPI document of a model, or of the API when no model is named."""
    from tidegate.formats import openapi

    most = asked.parts.max_instances
    if not asked.model:
        return openapi.document(__version__, most)
    return openapi.document(__version__, most, asked.model, _shown(asked))


def _in_v2_words(response: Event) -> Event:
    from tidegate.formats import open_inference

    kept = {name: value for name, value in response["headers"].items() if name == "retry-after"}
    return answer(
        HTTPStatus(response["statusCode"]), open_inference.refused(json.loads(response["body"])), headers=kept
    )


# What the function's parts are not needed for.
ALONE: Mapping[str, Callable[[], Event]] = {
    "GET /health": lambda: answer(HTTPStatus.OK, {"status": "ok"}),
    "GET /v2": _server,
    "GET /v2/health/live": lambda: answer(HTTPStatus.OK, {"live": True}),
}
ROUTES: Mapping[str, Callable[[Asked], Event]] = {
    "POST /models/{model}/predict": _predict,
    "GET /models/{model}": _describe,
    "POST /models/{model}/invocations": _invocations,
    "GET /models/{model}/openapi.json": _document,
    "GET /models/{model}/docs": _page,
    "GET /openapi.json": _document,
    "GET /docs": _page,
    "GET /v2/health/ready": lambda _: answer(HTTPStatus.OK, {"ready": True}),  # its parts are there
    "GET /v2/models/{model}": _metadata,
    "GET /v2/models/{model}/ready": _model_ready,
    "POST /v2/models/{model}/infer": _infer,
    "GET /v2/models/{model}/versions/{version}": _metadata,
    "GET /v2/models/{model}/versions/{version}/ready": _model_ready,
    "POST /v2/models/{model}/versions/{version}/infer": _infer,
}


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


if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") in {"provisioned-concurrency", "snap-start"}:
    know_ahead()
