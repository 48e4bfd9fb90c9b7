"""Work that begins when the response has left: an internal Lambda extension, a thread of the function's own process.

    afterwards = AfterResponse.start("captures")     # while the function is loaded: registration closes after that
    afterwards.do(captures.deliver)                  # once there is something to do
    ...
    afterwards.begin()                               # the last line of the handler

Lambda answers the caller as soon as the runtime has posted the response and keeps the environment awake until every
extension has asked for the next event. Internal extensions hear of INVOKE only, never of SHUTDOWN, so nothing is put
off to the end. Where there is no Extensions API (tests, other hosts), the work is done before `begin` returns.

docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
"""

import http.client
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

_PATH = "/2020-01-01/extension"
_REGISTER_SECONDS = 1.0
RESPONSE_SECONDS = 0.002  # the runtime needs the interpreter once more, to post what the handler returned
WORK_SECONDS = 2.0  # after a response, whatever there is to do
SPARE_SECONDS = 0.5  # before the function's deadline: past it Lambda ends the environment

Work = Callable[[float, float], None]
"""Gets the seconds it may take at most, and the milliseconds that the invocation has taken so far (0: not known); what
it raises is written to the log."""


class AfterResponse:
    """Made by `start`."""

    def __init__(self, address: str = "", identifier: str = "") -> None:
        self._address = address
        self._identifier = identifier
        self._work: list[Work] = []
        self._over = threading.Event()

    @classmethod
    def start(cls, name: str) -> "AfterResponse":
        """Register as an internal extension and wait for events in a thread; without the API, `begin` does the work."""
        address = os.environ.get("AWS_LAMBDA_RUNTIME_API", "")
        identifier = _register(address, name) if address else ""
        made = cls(address, identifier)
        if identifier:
            threading.Thread(target=made._run, name=f"extension-{name}", daemon=True).start()
        return made

    @property
    def is_registered(self) -> bool:
        """Whether the work waits for the response."""
        return bool(self._identifier)

    def do(self, work: Work) -> None:
        """What to do after each response, after what was named before."""
        self._work.append(work)

    def begin(self) -> None:
        """The handler is done. Never raises."""
        if self.is_registered:
            self._over.set()
        else:
            self._act(WORK_SECONDS, 0.0)

    def _act(self, seconds: float, handled_ms: float) -> None:
        began = time.monotonic()
        for work in self._work:
            taken = time.monotonic() - began
            try:
                work(seconds - taken, handled_ms + 1e3 * taken if handled_ms else 0.0)
            except Exception as error:  # noqa: BLE001  the request was answered; no words of it, which may quote inputs
                where = traceback.extract_tb(error.__traceback__)[-1]
                said = f"{type(error).__name__} in {where.name}, line {where.lineno} of {where.filename}"
                sys.stderr.write(f"work after a response failed: {said}\n")

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._address)
        while True:
            try:
                deadline = _next(connection, self._identifier)
            except (OSError, ValueError, http.client.HTTPException):
                connection.close()
                time.sleep(0.1)
                continue
            heard = time.monotonic()
            self._over.wait()
            self._over.clear()
            time.sleep(RESPONSE_SECONDS)
            seconds = min(WORK_SECONDS, deadline - time.time() - SPARE_SECONDS)
            self._act(seconds, 1e3 * (time.monotonic() - heard))


def _register(address: str, name: str) -> str:
    """The extension's identifier; empty when the API does not take it."""
    connection = http.client.HTTPConnection(address, timeout=_REGISTER_SECONDS)
    headers = {"Lambda-Extension-Name": name, "Content-Type": "application/json"}
    try:
        connection.request("POST", f"{_PATH}/register", json.dumps({"events": ["INVOKE"]}), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.headers.get("Lambda-Extension-Identifier", "") if answer.status < 300 else ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def _next(connection: http.client.HTTPConnection, identifier: str) -> float:
    """Wait for an invocation, however long; its deadline in seconds since the epoch."""
    connection.request("GET", f"{_PATH}/event/next", headers={"Lambda-Extension-Identifier": identifier})
    answer = connection.getresponse()
    event = json.loads(answer.read())
    if answer.status >= 300:
        raise ValueError(f"the Extensions API answered {answer.status}")
    return float(event["deadlineMs"]) / 1000
