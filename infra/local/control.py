"""How other processes of this machine ask a running cloud how it is, and move its clock: HTTP on loopback, with a token
that the state file has."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from infra.local.calls import HttpAnswer
from infra.local.http_server import HttpServer
from infra.local.http_wire import Request
from infra.local.process_memory import resident_mb

MOST_SECONDS = 31 * 86_400.0


class Control:
    """Answers until it is closed.

    GET /status              how the cloud is
    POST /clock?seconds=N    moves the clock ahead, then answers as /status does

    Args:
        status: what to answer besides the process's id, age and memory.
        advance: moves the clock ahead by so many seconds.
    """

    def __init__(self, status: Callable[[], Mapping[str, Any]], advance: Callable[[float], None]) -> None:
        self._status = status
        self._advance = advance
        self._began = time.time()
        self.token = secrets.token_urlsafe(24)
        self._server = HttpServer(self._answer, "local-cloud-control")
        self.url = self._server.url

    def close(self) -> None:
        """Stops answering."""
        self._server.close()

    def _answer(self, request: Request) -> HttpAnswer:
        if not secrets.compare_digest(request.header("authorization") or "", f"Bearer {self.token}"):
            return _json(403, {"error": "the token is that of another cloud"})
        match request.method, request.path:
            case "GET", "/status":
                pass
            case "POST", "/clock":
                try:
                    seconds = float(request.query.removeprefix("seconds="))
                except ValueError:
                    return _json(400, {"error": "seconds=NUMBER is missing"})
                if not 0 < seconds <= MOST_SECONDS:
                    return _json(400, {"error": f"the clock moves ahead, by at most {MOST_SECONDS / 86_400:.0f} days"})
                self._advance(seconds)
            case _:
                return _json(404, {"error": f"there is no {request.method} {request.path}"})
        about = {"pid": os.getpid(), "since": self._began, "memory_mb": resident_mb()}
        return _json(200, about | dict(self._status()))


def _json(status: int, document: Mapping[str, Any]) -> HttpAnswer:
    return HttpAnswer(status, {"Content-Type": "application/json"}, json.dumps(document).encode())
