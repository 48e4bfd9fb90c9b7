"""An API Gateway HTTP API on a loopback port: routes, authorisation, throttle and access log of its template."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from infra.local.execute_api_auth import NotAuthenticatedError, authenticate
from infra.local.functions import Invocation
from infra.local.http_api import (
    Answer,
    ApiConfig,
    BadFunctionResponseError,
    Caller,
    Route,
    Router,
    build_event,
    format_access_log,
    read_response,
)
from infra.local.http_server import listener
from infra.local.http_wire import CONTINUE, Request, RequestReader, RequestRefusedError, write_response
from infra.local.lambda_host import LambdaHost, UnknownFunctionError

__all__ = ["ApiConfig", "Caller", "Gateway", "Route"]

MAX_BODY_BYTES = 10 * 1024 * 1024
_MAX_HEAD_BYTES = 10 * 1024 + 8 * 1024  # API Gateway: 10,240 bytes of headers; and a request line
_IDLE_S = 60.0
_REQUEST_S = 20.0  # to send a whole request once its first byte came
_LINGER_S = 1.0
_AUTHORIZATIONS = ("NONE", "AWS_IAM")


@dataclass(slots=True)
class _Exchange:
    """One request and what became of it; `context` has the access log's variables."""

    request: Request
    request_id: str
    started: float
    context: dict[str, object] = field(default_factory=dict)


class _Refused(Exception):  # noqa: N818 - an outcome of a step, not an error of the gateway
    def __init__(self, status: HTTPStatus, message: str, reason: str = "") -> None:
        super().__init__(reason or message)
        self.status = status
        self.message = message


class Gateway:
    """Serves one HTTP API. A thread for each open connection, at most `max_connections` of them.

    Args:
        credentials: finds the caller of an access key, None for an unknown one.
        authorize: whether a caller may use (method, path) of this API: execute-api:Invoke in IAM.
        on_log: gets (log group, line) of the access log.
        region: what signatures must be scoped to; None takes any.
    """

    def __init__(
        self,
        api: ApiConfig,
        host: LambdaHost,
        credentials: Callable[[str], Caller | None],
        authorize: Callable[[Caller, str, str, ApiConfig], bool],
        on_log: Callable[[str, str], None] = lambda _group, _line: None,
        *,
        region: str | None = None,
        account: str = "123456789012",
        port: int = 0,
        max_connections: int = 256,
    ) -> None:
        self.configure(api)
        self._host = host
        self._credentials = credentials
        self._authorize = authorize
        self._on_log = on_log
        self._region = region
        self._account = account
        self._max_connections = max_connections
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._closed = False
        self._thread: threading.Thread | None = None
        self._listener = listener(port)
        self._listener.settimeout(0.5)
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        """Where the API is on this machine."""
        return f"http://127.0.0.1:{self.port}" + ("" if self._api.stage == "$default" else f"/{self._api.stage}")

    def configure(self, api: ApiConfig) -> None:
        """Serves the API as it is declared from now on; a request under way ends as it began.

        Raises:
            ValueError: a route has an authorization that there is not.
        """
        for route in api.routes:
            if route.authorization not in _AUTHORIZATIONS:
                raise ValueError(
                    f"route {route.key} of API {api.name} has authorization {route.authorization}; "
                    f"the local gateway supports {', '.join(_AUTHORIZATIONS)}"
                )
        self._api = api
        self._router = Router(api.routes)
        self._bucket = _TokenBucket(api.throttle_rate, api.throttle_burst)

    def start(self) -> None:
        """Begins to accept connections."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._accept, name=f"gateway-{self._api.name}", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Closes the port and every connection; requests in flight get a moment to end."""
        with self._lock:
            self._closed = True
            connections = dict(self._connections)
        self._listener.close()
        if self._thread is not None:
            self._thread.join()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        for thread in connections.values():
            thread.join(5.0)

    def __enter__(self) -> Gateway:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- connections -----------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, (address, _) = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(
                target=self._serve, args=(connection, address), name=f"gateway-{self._api.name}-client", daemon=True
            )
            with self._lock:
                is_full = self._closed or len(self._connections) >= self._max_connections
                if not is_full:
                    self._connections[connection] = thread
            if is_full:
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(_LINGER_S)
                    connection.sendall(_plain(HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable", keep_alive=False))
            else:
                thread.start()

    def _serve(self, connection: socket.socket, address: str) -> None:
        reader = RequestReader(max_body_bytes=MAX_BODY_BYTES, max_head_bytes=_MAX_HEAD_BYTES)
        try:
            with connection:
                while not self._closed:
                    try:
                        request = _receive(connection, reader)
                    except RequestRefusedError as refused:
                        message = "Request Entity Too Large" if refused.status == 413 else refused.status.phrase
                        _refuse(connection, refused.status, message)
                        return
                    if request is None or not self._answer(connection, request, address):
                        return
        except OSError:
            return  # the client went away
        finally:
            with self._lock:
                self._connections.pop(connection, None)

    def _answer(self, connection: socket.socket, request: Request, address: str) -> bool:
        """Answers one request; False when the connection is to be closed."""
        exchange = _Exchange(request, secrets.token_urlsafe(11) + "=", time.monotonic())
        try:
            answer = self._handle(exchange, address)
        except _Refused as refused:
            exchange.context |= {
                "error.message": refused.message,
                "error.messageString": f'"{refused.message}"',
                "error.responseType": refused.status.name,
                "integration.error": str(refused),
                "integrationErrorMessage": str(refused),
            }
            answer = Answer(refused.status, (("content-type", "application/json"),), _message(refused.message))
        keep_alive = request.keep_alive and not self._closed
        data = write_response(
            answer.status,
            [("Date", _http_date()), *answer.headers, ("apigw-requestid", exchange.request_id)],
            answer.body,
            keep_alive=keep_alive,
            with_body=request.method != "HEAD",
        )
        try:
            connection.settimeout(_REQUEST_S)
            connection.sendall(data)
        finally:
            self._write_access_log(exchange, answer, address)
        return keep_alive

    # -- one request -----------------------------------------------------------------------------------------------

    def _handle(self, exchange: _Exchange, address: str) -> Answer:
        request, api = exchange.request, self._api
        path = self._path_within_stage(request.path)
        found = self._router.find(request.method, path) if path is not None else None
        if found is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "Not Found", f"no route for {request.method} {request.path}")
        route, parameters = found
        exchange.context["routeKey"] = route.key
        if not self._bucket.take():
            raise _Refused(HTTPStatus.TOO_MANY_REQUESTS, "Too Many Requests", "the stage's throttle")
        caller = self._identify(exchange, route) if route.authorization == "AWS_IAM" else None
        forwarded, trace_id = _forwarded(request, address, self.port)
        event = build_event(
            forwarded, route, parameters, self._request_context(exchange), caller=caller, stage=api.stage
        )
        return self._invoke(exchange, route, event, trace_id)

    def _path_within_stage(self, path: str) -> str | None:
        if self._api.stage == "$default":
            return path
        prefix = f"/{self._api.stage}"
        if path == prefix:
            return "/"
        return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else None

    def _identify(self, exchange: _Exchange, route: Route) -> Caller:
        request = exchange.request
        try:
            caller = authenticate(request, self._credentials, region=self._region)
        except NotAuthenticatedError as fault:
            exchange.context["authorizer.error"] = str(fault)
            raise _Refused(HTTPStatus.FORBIDDEN, "Forbidden", str(fault)) from None
        exchange.context |= {
            "identity.accountId": caller.account,
            "identity.caller": caller.user_id,
            "identity.user": caller.user_id,
            "identity.userArn": caller.arn,
        }
        if not self._authorize(caller, request.method, request.path, self._api):
            reason = f"{caller.arn} is not allowed execute-api:Invoke on {route.key}"
            exchange.context["authorizer.error"] = reason
            raise _Refused(HTTPStatus.FORBIDDEN, "Forbidden", reason)
        return caller

    def _request_context(self, exchange: _Exchange) -> dict[str, Any]:
        now = datetime.now(UTC)
        domain = exchange.request.header("host") or f"127.0.0.1:{self.port}"
        return {
            "accountId": self._account,
            "apiId": self._api.api_id,
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "requestId": exchange.request_id,
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now.timestamp() * 1000),
        }

    def _invoke(self, exchange: _Exchange, route: Route, event: dict[str, Any], trace_id: str) -> Answer:
        started = time.monotonic()
        try:
            invocation = self._host.invoke(
                route.function,
                json.dumps(event).encode(),
                timeout_s=self._api.integration_timeout_s,
                trace_id=trace_id,
            )
        except TimeoutError as fault:
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable", str(fault)) from None
        except (UnknownFunctionError, OSError, RuntimeError) as fault:
            raise _Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error", str(fault)) from None
        latency_ms = round((time.monotonic() - started) * 1000)
        exchange.context |= {
            "integration.integrationStatus": int(invocation.status),
            "integration.latency": latency_ms,
            "integration.requestId": invocation.request_id,
            "integrationLatency": latency_ms,
            "integrationStatus": int(invocation.status),
        }
        return _read_invocation(exchange, invocation)

    def _write_access_log(self, exchange: _Exchange, answer: Answer, address: str) -> None:
        api, request = self._api, exchange.request
        if api.access_log is None or api.access_log_format is None:
            return
        given = self._request_context(exchange)
        context: dict[str, object] = {
            **given,
            "extendedRequestId": exchange.request_id,
            "httpMethod": request.method,
            "identity.sourceIp": address,
            "identity.userAgent": request.header("user-agent"),
            "path": request.path,
            "protocol": request.version,
            "requestTime": given["time"],
            "requestTimeEpoch": given["timeEpoch"],
            "responseLatency": round((time.monotonic() - exchange.started) * 1000),
            "responseLength": len(answer.body),
            "stage": api.stage,
            "status": int(answer.status),
            **exchange.context,
        }
        self._on_log(api.access_log, format_access_log(api.access_log_format, context))


class _TokenBucket:
    """The stage's throttle: `rate` tokens a second, at most `burst` of them."""

    def __init__(self, rate: float | None, burst: int | None) -> None:
        self._rate = rate
        self._burst = float(burst if burst is not None else max(rate or 1.0, 1.0))
        self._tokens = self._burst
        self._filled = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        if self._rate is None:
            return True
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
            self._filled = now
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True


def _read_invocation(exchange: _Exchange, invocation: Invocation) -> Answer:
    if invocation.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Entity Too Large", "the event is over 6 MB")
    if invocation.is_throttled:
        raise _Refused(HTTPStatus.TOO_MANY_REQUESTS, "Too Many Requests", "the function is throttled")
    if not invocation.is_ok:
        reason = invocation.payload.decode(errors="replace")[:1024]
        raise _Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error", reason)
    try:
        answer = read_response(invocation.payload)
    except BadFunctionResponseError as fault:
        raise _Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error", str(fault)) from None
    exchange.context["integration.status"] = answer.status
    return answer


def _receive(connection: socket.socket, reader: RequestReader) -> Request | None:
    """The next request of a connection; None when the client is done, stays silent or sends too slowly."""
    deadline = time.monotonic() + _IDLE_S
    is_idle = reader.is_idle
    while True:
        request = reader.next()
        if request is not None:
            return request
        if reader.take_continue():
            connection.sendall(CONTINUE)
        if is_idle and not reader.is_idle:
            is_idle, deadline = False, time.monotonic() + _REQUEST_S
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            data = connection.recv(32 * 1024)
        except TimeoutError:
            if not is_idle:
                _refuse(connection, HTTPStatus.REQUEST_TIMEOUT, "Request Timeout")
            return None
        if not data:
            return None
        reader.feed(data)


def _refuse(connection: socket.socket, status: HTTPStatus, message: str) -> None:
    """Answers a request that was not read to its end, then waits a moment so that the answer gets through."""
    connection.settimeout(_LINGER_S)
    connection.sendall(_plain(status, message, keep_alive=False))
    connection.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + _LINGER_S
    with contextlib.suppress(TimeoutError):
        while time.monotonic() < deadline and connection.recv(256 * 1024):
            pass


def _plain(status: HTTPStatus, message: str, *, keep_alive: bool) -> bytes:
    headers = [("Date", _http_date()), ("content-type", "application/json")]
    return write_response(status, headers, _message(message), keep_alive=keep_alive)


def _message(message: str) -> bytes:
    return json.dumps({"message": message}).replace('": "', '":"').encode()


def _forwarded(request: Request, address: str, port: int) -> tuple[Request, str]:
    """The request with the headers API Gateway adds, and its trace id."""
    root = f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    given = request.header("x-amzn-trace-id") or ""
    trace = given if "Root=" in given else root
    came_by = request.header("x-forwarded-for")
    own = {
        "x-amzn-trace-id": trace,
        "x-forwarded-for": f"{came_by}, {address}" if came_by else address,
        "x-forwarded-port": str(port),
        "x-forwarded-proto": "http",
    }
    headers = tuple((name, value) for name, value in request.headers if name not in own) + tuple(own.items())
    forwarded = Request(request.method, request.target, request.version, headers, request.body)
    parent = trace if "Parent=" in trace else f"{trace};Parent={secrets.token_hex(8)}"
    return forwarded, parent if "Sampled=" in parent else f"{parent};Sampled=0"


def _http_date() -> str:
    return datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
