"""A small threaded HTTP/1.1 server with connections that stay open, for the API endpoint of the local cloud.

werkzeug's own server closes every connection, which costs each SDK call a new socket and thread.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

from infra.local.calls import HttpAnswer
from infra.local.http_wire import CONTINUE, Request, RequestReader, RequestRefusedError, write_response

MAX_BODY_BYTES = 512 * 1024 * 1024
_READ_BYTES = 32 * 1024  # an idle connection holds a buffer of this size


def listener(port: int) -> socket.socket:
    """A socket that listens on a loopback port, or on any other one when something else has that."""
    with contextlib.suppress(OSError):
        return socket.create_server(("127.0.0.1", port), backlog=256)
    return socket.create_server(("127.0.0.1", 0), backlog=256)


class HttpServer:
    """Serves `answer` on a loopback port, one thread per connection, until it is closed."""

    def __init__(
        self,
        answer: Callable[[Request], HttpAnswer],
        name: str,
        port: int = 0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._answer = answer
        self._listener = listener(port)
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._closing = False
        self._name = name
        self._now = now
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name=f"{name}-accept", daemon=True)
        self._acceptor.start()

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT"""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Ends every connection and waits for their threads."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        with self._lock:
            open_connections = dict(self._connections)
        for connection in open_connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in open_connections.values():
            if thread is not threading.current_thread():
                thread.join(timeout=5)

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection,), name=self._name, daemon=True)
            with self._lock:
                self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        reader = RequestReader(max_body_bytes=MAX_BODY_BYTES)
        try:
            with connection:
                while not self._closing:
                    request = self._receive(connection, reader)
                    if request is None:
                        return
                    connection.sendall(_bytes(self._answer(request), request, self._now()))
                    if not request.keep_alive:
                        return
        except (OSError, RequestRefusedError):
            pass  # the client went away, or has read why it is refused
        finally:
            with self._lock:
                self._connections.pop(connection, None)

    @staticmethod
    def _receive(connection: socket.socket, reader: RequestReader) -> Request | None:
        while True:
            try:
                request = reader.next()
            except RequestRefusedError as refused:
                connection.sendall(write_response(refused.status, [], str(refused).encode(), keep_alive=False))
                raise
            if request is not None:
                return request
            if reader.take_continue():
                connection.sendall(CONTINUE)
            data = connection.recv(_READ_BYTES)
            if not data:
                return None
            reader.feed(data)


def _bytes(answer: HttpAnswer, request: Request, now: datetime) -> bytes:
    """A HEAD answer keeps the length its service declared: S3 reports an object's size by it."""
    declared = {name.lower(): value for name, value in answer.headers.items()}
    skipped = {"content-length", "connection", "transfer-encoding"}
    headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in skipped]
    if "date" not in declared:
        headers.append(("Date", format_datetime(now, usegmt=True)))
    if request.method != "HEAD":
        return write_response(answer.status, headers, answer.body, keep_alive=request.keep_alive)
    head = write_response(answer.status, headers, b"", keep_alive=request.keep_alive)
    length = declared.get("content-length", str(len(answer.body)))
    return head.replace(b"Content-Length: 0\r\n", f"Content-Length: {length}\r\n".encode(), 1)
