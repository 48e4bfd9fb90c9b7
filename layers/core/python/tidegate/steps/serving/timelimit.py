"""Calls that end: made by a thread beside the caller, who waits for the answer no longer than allowed.

Arithmetic in C cannot be interrupted from Python, and onnxruntime looks at its stop flag only between operators, of
which a model may have one. Waiting is what can end, so the wait is what is bounded: a call that runs over is left to
itself, its thread goes away when it is done, and the next call gets a new one.

Two changes of threads take several times as long as a small model. So a call whose like has lately been far faster than
it has to be is made by the caller itself; docs/adr/0011-short-calls-are-made-by-their-caller.md weighs that.
"""

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from tidegate.kernel.errors import ScoringTimeoutError

T = TypeVar("T")
MAX_ABANDONED = 4  # calls left to themselves; with so many of them at work nothing new is begun
KNOWN_CALLS = 20  # made beside the caller before one is made by it
MARGIN = 20.0  # times as long as the slowest of late is what a call by its caller may take
_FORGETTING = 0.99  # a stall of the machine is forgotten after some hundred calls


class Pace:
    """How long the calls of one kind take that differ in their rows: for `TimeLimit.call`."""

    __slots__ = ("_calls", "_most_rows", "_slowest")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nothing is known any more."""
        self._calls, self._most_rows, self._slowest = 0, 0, 0.0

    def is_short(self, rows: int, seconds: float) -> bool:
        """Whether a call is known to be done well within `seconds`."""
        return self._calls >= KNOWN_CALLS and rows <= self._most_rows and self._slowest * MARGIN <= seconds

    def note(self, rows: int, seconds: float) -> None:
        """A call took so long."""
        self._calls += 1
        self._most_rows = max(self._most_rows, rows)
        self._slowest = max(seconds, self._slowest * _FORGETTING)


class TimeLimit:
    """For one caller at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._abandoned: set[_Worker] = set()

    def call(self, function: Callable[[], T], seconds: float, pace: Pace | None = None, rows: int = 1) -> T:
        """What the function returns or raises.

        With the pace of such calls, one that is known to be short is made in this thread. Should it take longer than
        `seconds` all the same, its answer is returned late, and the calls after it are made beside again.

        Raises:
            ScoringTimeoutError: it did not end within `seconds`, or too many others before it have not ended yet.
        """
        pace = pace or Pace()
        began = time.perf_counter()
        try:
            found = function() if pace.is_short(rows, seconds) else self._beside(function, seconds)
        except ScoringTimeoutError:
            pace.forget()
            raise
        took = time.perf_counter() - began
        pace.note(rows, took)
        if took > seconds:
            pace.forget()
        return found

    def _beside(self, function: Callable[[], T], seconds: float) -> T:
        with self._lock:
            self._abandoned = {worker for worker in self._abandoned if worker.is_alive()}
            full = len(self._abandoned) >= MAX_ABANDONED
        if seconds <= 0 or full:
            raise ScoringTimeoutError("there was no time left to start" if not full else "earlier calls still run")
        worker = self._worker
        if worker is None:
            worker = self._worker = _Worker()
            worker.start()
        worker.asked.put(function)
        try:
            result, error = worker.answered.get(timeout=seconds)
        except Empty:
            self._worker = None
            worker.asked.put(None)
            with self._lock:
                self._abandoned.add(worker)
            raise ScoringTimeoutError(f"no answer after {1e3 * seconds:,.0f} ms") from None
        if error is not None:
            raise error
        found: T = result
        return found


class _Worker(threading.Thread):
    """Does what it is asked, one thing after the other, until it is asked for nothing."""

    def __init__(self) -> None:
        super().__init__(name="scoring", daemon=True)
        self.asked: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.answered: SimpleQueue[tuple[Any, Exception | None]] = SimpleQueue()

    def run(self) -> None:
        while (function := self.asked.get()) is not None:
            try:
                self.answered.put((function(), None))
            except Exception as error:  # noqa: BLE001  it is the caller's to handle
                self.answered.put((None, error))
            del function
