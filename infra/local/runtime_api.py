"""The Lambda Runtime API and Extensions API of one execution environment.

A function's process learns the address from AWS_LAMBDA_RUNTIME_API and asks for work: the runtime interface client
with `GET /runtime/invocation/next`, each internal extension, which is a thread of the function, with
`GET /extension/event/next`. Both requests stay open until there is something to do, which is how the environment knows
that everybody is done.

Nothing here blocks and nothing here owns a thread: sockets are registered with the environment's selector, whose
`data` is the function to call when a socket is ready.
"""

from __future__ import annotations

import json
import selectors
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from infra.local.http_wire import CONTINUE, Request, RequestReader, RequestRefusedError, write_response

MAX_PAYLOAD_BYTES = 6 * 1024 * 1024 + 100  # what AWS accepts as a response: 6 MiB and a little
_MAX_POST_BYTES = 64 * 1024 * 1024
_MAX_EXTENSIONS = 10
_RUNTIME = "/2018-06-01/runtime/"
_EXTENSION = "/2020-01-01/extension/"


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation as the process sees it. `deadline_ms` is milliseconds since the epoch."""

    request_id: str
    function_arn: str
    payload: bytes
    deadline_ms: int
    trace_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the runtime posted for an invocation: a response, or the error its handler raised."""

    payload: bytes
    is_error: bool


@dataclass(slots=True)
class _Extension:
    name: str
    wants_invoke: bool
    waiting: _Connection | None = None


class RuntimeApi:
    """One environment's two APIs on a loopback port of its own."""

    def __init__(self, selector: selectors.BaseSelector, *, function_name: str, handler: str) -> None:
        self._selector = selector
        self._about = {"functionName": function_name, "functionVersion": "$LATEST", "handler": handler}
        self._connections: set[_Connection] = set()
        self._runtime: _Connection | None = None
        self._extensions: dict[str, _Extension] = {}
        self._registration_open = True
        self._current: str | None = None
        self.answer: Answer | None = None
        self.init_error: bytes | None = None
        self.extension_error: str | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    @property
    def is_waiting(self) -> bool:
        """Whether the runtime and every extension have asked for what comes next: init or invocation is over."""
        return self._runtime is not None and all(one.waiting is not None for one in self._extensions.values())

    @property
    def has_extensions(self) -> bool:
        """Whether the function registered an extension, so that work may go on after its response."""
        return bool(self._extensions)

    def deliver(self, call: Call) -> None:
        """Hands the invocation to the runtime and notifies the extensions. Only while `is_waiting`."""
        runtime = self._runtime
        if runtime is None:
            raise RuntimeError("the runtime has not asked for an invocation")
        self._runtime, self._current, self.answer = None, call.request_id, None
        runtime.send(
            write_response(
                HTTPStatus.OK,
                [
                    ("Content-Type", "application/json"),  # awslambdaric dies without this and without a trace id
                    ("Lambda-Runtime-Aws-Request-Id", call.request_id),
                    ("Lambda-Runtime-Deadline-Ms", str(call.deadline_ms)),
                    ("Lambda-Runtime-Invoked-Function-Arn", call.function_arn),
                    ("Lambda-Runtime-Trace-Id", call.trace_id),
                ],
                call.payload,
            )
        )
        event = {
            "eventType": "INVOKE",
            "deadlineMs": call.deadline_ms,
            "requestId": call.request_id,
            "invokedFunctionArn": call.function_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": call.trace_id},
        }
        for extension in self._extensions.values():
            if extension.wants_invoke and extension.waiting is not None:
                waiting, extension.waiting = extension.waiting, None
                waiting.send(_json(HTTPStatus.OK, event, [("Lambda-Extension-Event-Identifier", str(uuid.uuid4()))]))

    def close(self) -> None:
        """Closes every socket; requests that are still open end there."""
        for connection in list(self._connections):
            connection.close()
        self._selector.unregister(self._listener)
        self._listener.close()

    def _accept(self, _events: int) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        self._connections.add(_Connection(client, self._selector, self._handle, self._forget))

    def _forget(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if self._runtime is connection:
            self._runtime = None
        for extension in self._extensions.values():
            if extension.waiting is connection:
                extension.waiting = None

    def _handle(self, connection: _Connection, request: Request) -> bytes | None:
        """The answer to a request, or None when it is to wait."""
        path = request.path
        if path.startswith(_RUNTIME):
            return self._handle_runtime(connection, request, path.removeprefix(_RUNTIME))
        if path.startswith(_EXTENSION):
            return self._handle_extension(connection, request, path.removeprefix(_EXTENSION))
        return _error(HTTPStatus.NOT_FOUND, "NotFound", f"{request.method} {path} is not part of the Runtime API")

    def _handle_runtime(self, connection: _Connection, request: Request, action: str) -> bytes | None:
        match (request.method, *action.split("/")):
            case ("GET", "invocation", "next"):
                self._registration_open = False
                self._runtime = connection
                return None
            case ("POST", "invocation", request_id, "response" | "error" as kind):
                return self._take_answer(request, request_id, is_error=kind == "error")
            case ("POST", "init", "error"):
                self.init_error = request.body
                return _accepted()
        return _error(HTTPStatus.NOT_FOUND, "NotFound", f"{request.method} {request.path} is not supported")

    def _take_answer(self, request: Request, request_id: str, *, is_error: bool) -> bytes:
        if request_id != self._current or self.answer is not None:
            return _error(HTTPStatus.BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
        if len(request.body) <= MAX_PAYLOAD_BYTES:
            self.answer = Answer(request.body, is_error)
            return _accepted()
        message = f"Response payload size exceeded maximum allowed payload size ({MAX_PAYLOAD_BYTES} bytes)."
        fault = {"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"}
        self.answer = Answer(json.dumps(fault).encode(), is_error=True)
        return _error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestEntityTooLarge", message)

    def _handle_extension(self, connection: _Connection, request: Request, action: str) -> bytes | None:
        if request.method == "POST" and action == "register":
            return self._register(request)
        extension = self._extensions.get(request.header("lambda-extension-identifier") or "")
        if extension is None:
            return _error(HTTPStatus.FORBIDDEN, "Extension.UnknownExtensionIdentifier", "Unknown extension identifier")
        match (request.method, action):
            case ("GET", "event/next"):
                extension.waiting = connection
                return None
            case ("POST", "init/error" | "exit/error"):
                kind = request.header("lambda-extension-function-error-type") or "Extension.Error"
                self.extension_error = f"{extension.name}: {kind}"
                return _accepted()
        return _error(HTTPStatus.NOT_FOUND, "NotFound", f"{request.method} {request.path} is not supported")

    def _register(self, request: Request) -> bytes:
        name = request.header("lambda-extension-name") or ""
        try:
            events = json.loads(request.body or b"{}")["events"]
            known = set(events) <= {"INVOKE", "SHUTDOWN"}
        except (ValueError, KeyError, TypeError):
            return _error(HTTPStatus.BAD_REQUEST, "InvalidRequestFormat", 'the body must be {"events": [...]}')
        refusals = (
            (not name, "InvalidExtensionName", "the header Lambda-Extension-Name is missing"),
            (not self._registration_open, "RegistrationClosed", "extensions register before the runtime asks for work"),
            (not known, "InvalidEventType", "the events are INVOKE and SHUTDOWN"),
            # As on AWS: only an external extension, a process of its own, may ask to be notified of the shutdown.
            ("SHUTDOWN" in events, "InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"),
            (name in [one.name for one in self._extensions.values()], "AlreadyRegistered", f"{name} is registered"),
            (
                len(self._extensions) == _MAX_EXTENSIONS,
                "TooManyExtensions",
                f"at most {_MAX_EXTENSIONS} extensions can register",
            ),
        )
        for applies, kind, reason in refusals:
            if applies:
                return _error(HTTPStatus.FORBIDDEN, f"Extension.{kind}", reason)
        identifier = str(uuid.uuid4())
        self._extensions[identifier] = _Extension(name, "INVOKE" in events)
        return _json(HTTPStatus.OK, self._about, [("Lambda-Extension-Identifier", identifier)])


@dataclass(slots=True, eq=False)
class _Connection:
    """One connection from the function's process; what does not fit into the socket at once waits in `_unsent`."""

    _socket: socket.socket
    _selector: selectors.BaseSelector
    _handle: Callable[[_Connection, Request], bytes | None]
    _forget: Callable[[_Connection], None]
    _reader: RequestReader = field(default_factory=lambda: RequestReader(max_body_bytes=_MAX_POST_BYTES))
    _unsent: bytearray = field(default_factory=bytearray)
    _closed: bool = False

    def __post_init__(self) -> None:
        self._socket.settimeout(0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(self._socket, selectors.EVENT_READ, self._ready)

    def send(self, data: bytes) -> None:
        if self._closed:
            return
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._unsent += data[sent:]
            self._selector.modify(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self._ready)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._selector.unregister(self._socket)
            self._socket.close()
            self._forget(self)

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE and not self._closed:
            self._flush()
        if events & selectors.EVENT_READ and not self._closed:
            self._receive()

    def _flush(self) -> None:
        data = bytes(self._unsent)
        self._unsent.clear()
        self._selector.modify(self._socket, selectors.EVENT_READ, self._ready)
        self.send(data)

    def _receive(self) -> None:
        try:
            data = self._socket.recv(256 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._reader.feed(data)
        try:
            while (request := self._reader.next()) is not None:
                answer = self._handle(self, request)
                if answer is not None:
                    self.send(answer)
            if self._reader.take_continue():
                self.send(CONTINUE)
        except RequestRefusedError as refused:
            self.send(_error(refused.status, "InvalidRequest", str(refused)))
            self.close()


def _json(status: HTTPStatus, body: object, headers: list[tuple[str, str]]) -> bytes:
    return write_response(status, [("Content-Type", "application/json"), *headers], json.dumps(body).encode())


def _accepted() -> bytes:
    return _json(HTTPStatus.ACCEPTED, {"status": "OK"}, [])


def _error(status: HTTPStatus, kind: str, message: str) -> bytes:
    return _json(status, {"errorMessage": message, "errorType": kind}, [])
