"""What an API Gateway HTTP API does between a request and a Lambda function: routes, events (payload 2.0), responses.

No input or output here. Sources: the API Gateway developer guide, "Routes for HTTP APIs" and "Lambda proxy
integrations for HTTP APIs".
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, unquote_plus

from infra.local.http_wire import Request

_TEXT_TYPES = re.compile(r"text/.*|application/(json|xml|javascript|.*\+json|.*\+xml)|.*/.*\+(json|xml)")
_CONTEXT_NAME = re.compile(r"\$context\.([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OWN_HEADERS = {"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade", "apigw-requestid"}
_MATCH_LITERAL, _MATCH_VARIABLE, _MATCH_GREEDY = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Route:
    """One route: `method` may be ANY, `path` may hold {name} and end in {name+}, or be "$default"."""

    method: str
    path: str
    function: str
    authorization: str

    @property
    def key(self) -> str:
        """The route key as the template has it."""
        return "$default" if self.path == "$default" else f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """An HTTP API and its stage. `throttle_rate` is requests a second, `access_log` the name of a log group."""

    api_id: str
    name: str
    routes: tuple[Route, ...]
    stage: str = "$default"
    throttle_rate: float | None = None
    throttle_burst: int | None = None
    integration_timeout_s: float = 30
    access_log: str | None = None
    access_log_format: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who holds an access key; `session_token` is None for a key that does not expire."""

    access_key: str
    secret: str
    session_token: str | None
    arn: str
    account: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response before it is written."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class BadFunctionResponseError(Exception):
    """What a function returned cannot be made into an HTTP response."""


# -- routes --------------------------------------------------------------------------------------------------------


class Router:
    """Finds the most specific route: literal segments before variables, whole paths before greedy ones, $default last.

    Of two routes with the same path the one with the request's own method wins over ANY.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [(route, route.path.split("/")[1:]) for route in routes if route.path != "$default"]
        self._default = next((route for route in routes if route.path == "$default"), None)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route for a path still encoded, with its decoded path parameters; None when there is none."""
        segments = path.split("/")[1:]
        best: tuple[tuple[int, ...], Route, dict[str, str]] | None = None
        for route, pattern in self._routes:
            if route.method not in (method, "ANY"):
                continue
            matched = _match(pattern, segments)
            if matched is None:
                continue
            rank, parameters = matched
            rank = (*rank, int(route.method == "ANY"))
            if best is None or rank < best[0]:
                best = (rank, route, parameters)
        if best is not None:
            return best[1], best[2]
        return (self._default, {}) if self._default is not None else None


def _match(pattern: list[str], segments: list[str]) -> tuple[tuple[int, ...], dict[str, str]] | None:
    rank: list[int] = []
    parameters: dict[str, str] = {}
    for position, part in enumerate(pattern):
        if part.startswith("{") and part.endswith("+}"):
            rest = segments[position:]
            if not any(rest):
                return None
            parameters[part[1:-2]] = unquote("/".join(rest))
            return (*rank, _MATCH_GREEDY), parameters
        if position >= len(segments):
            return None
        if part.startswith("{") and part.endswith("}"):
            if not segments[position]:
                return None
            parameters[part[1:-1]] = unquote(segments[position])
            rank.append(_MATCH_VARIABLE)
        elif part == unquote(segments[position]):
            rank.append(_MATCH_LITERAL)
        else:
            return None
    return (tuple(rank), parameters) if len(pattern) == len(segments) else None


# -- the event -----------------------------------------------------------------------------------------------------


def build_event(
    request: Request,
    route: Route,
    parameters: Mapping[str, str],
    context: Mapping[str, Any],
    *,
    caller: Caller | None,
    stage: str,
) -> dict[str, Any]:
    """The payload format 2.0 event of a request. `context` is the requestContext without http and authorizer."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in request.headers:
        if name == "cookie":
            cookies += [cookie.strip() for cookie in value.split(";") if cookie.strip()]
        elif name not in ("connection", "transfer-encoding", "expect"):
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    headers.setdefault("content-length", str(len(request.body)))
    raw_path = unquote(request.path)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": raw_path,
        "rawQueryString": request.query,
    }
    if cookies:
        event["cookies"] = cookies
    event["headers"] = headers
    if request.query:
        event["queryStringParameters"] = query_parameters(request.query)
    event["requestContext"] = {
        **context,
        **({"authorizer": {"iam": _iam(caller)}} if caller is not None else {}),
        "http": {
            "method": request.method,
            "path": raw_path,
            "protocol": request.version,
            "sourceIp": headers.get("x-forwarded-for", "").rpartition(",")[2].strip(),
            "userAgent": headers.get("user-agent", ""),
        },
        "routeKey": route.key,
        "stage": stage,
    }
    if parameters:
        event["pathParameters"] = dict(parameters)
    text = None if not request.body else _as_text(headers, request.body)
    if request.body:
        event["body"] = text if text is not None else base64.b64encode(request.body).decode()
    event["isBase64Encoded"] = bool(request.body) and text is None
    return event


def query_parameters(query: str) -> dict[str, str]:
    """Decoded parameters of a query string; the values of one that is repeated are joined by commas."""
    parameters: dict[str, str] = {}
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            name, value = unquote_plus(name), unquote_plus(value)
            parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def _iam(caller: Caller) -> dict[str, Any]:
    return {
        "accessKey": caller.access_key,
        "accountId": caller.account,
        "callerId": caller.user_id,
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": caller.arn,
        "userId": caller.user_id,
    }


def _as_text(headers: Mapping[str, str], body: bytes) -> str | None:
    """The body as API Gateway passes text, None where it sends base64: no text type, or compressed, or not UTF-8."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not _TEXT_TYPES.fullmatch(media_type) or "content-encoding" in headers:
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


# -- the response --------------------------------------------------------------------------------------------------


def read_response(payload: bytes) -> Answer:
    """The HTTP response a function's result stands for.

    A result without `statusCode` is itself the body: 200, application/json.

    Raises:
        BadFunctionResponseError: a status, header or body that HTTP or API Gateway does not take.
    """
    try:
        result = json.loads(payload)
    except ValueError:
        raise BadFunctionResponseError("the function's result is not JSON") from None
    if not isinstance(result, dict) or "statusCode" not in result:
        text = result if isinstance(result, str) else json.dumps(result)
        return Answer(HTTPStatus.OK, (("content-type", "application/json"),), text.encode())
    body = _read_body(result)
    headers = _read_headers(result)
    if not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain;charset=UTF-8"))
    cookies = result.get("cookies") or []
    if not isinstance(cookies, list):
        raise BadFunctionResponseError("cookies is not a list")
    headers += [("set-cookie", _header_value("cookies", cookie)) for cookie in cookies]
    return Answer(_read_status(result["statusCode"]), tuple(headers), body)


def _read_status(value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[1-5][0-9][0-9]", text) or text.startswith("1"):
        raise BadFunctionResponseError(f"statusCode {value!r} is not an HTTP status from 200 to 599")
    return int(text)


def _read_body(result: Mapping[str, Any]) -> bytes:
    body = result.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise BadFunctionResponseError(f"body is {type(body).__name__}, not a string")
    if not result.get("isBase64Encoded"):
        return body.encode("utf-8", "replace")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        raise BadFunctionResponseError("body is not base64 though isBase64Encoded is true") from None


def _read_headers(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    given = result.get("headers") or {}
    if not isinstance(given, dict):
        raise BadFunctionResponseError("headers is not an object")
    headers = []
    for name, value in given.items():
        if not _HEADER_NAME.fullmatch(name):
            raise BadFunctionResponseError(f"{name!r} is not a header name")
        if name.lower() not in _OWN_HEADERS:
            headers.append((name.lower(), _header_value(name, value)))
    return headers


def _header_value(name: str, value: object) -> str:
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str | int | float):
        raise BadFunctionResponseError(f"header {name} is {type(value).__name__}, not a string")
    if any(character in str(value) for character in "\r\n\0"):
        raise BadFunctionResponseError(f"header {name} holds a line break")
    return str(value)


# -- the access log ------------------------------------------------------------------------------------------------


def format_access_log(template: str, context: Mapping[str, object]) -> str:
    """Fills `$context.NAME` in; a name without a value becomes "-". Values are escaped to fit inside JSON strings."""

    def fill(match: re.Match[str]) -> str:
        value = context.get(match[1])
        return "-" if value is None else json.dumps(str(value))[1:-1]

    return _CONTEXT_NAME.sub(fill, template)
