"""Calls that end: made by a thread beside the caller, who waits for the answer no longer than allowed.

Arithmetic in C cannot be interrupted from Python, and onnxruntime looks at its stop flag only between operators, of
which a model may have one. Waiting is what can end, so the wait is what is bounded: a call that runs over is left to
itself, its thread goes away when it is done, and the next call gets a new one. It costs about 10 µs a call.
"""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from tidegate.errors import ScoringTimeoutError

T = TypeVar("T")
MAX_ABANDONED = 4  # calls left to themselves; with so many of them at work nothing new is begun


class TimeLimit:
    """For one caller at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._abandoned: set[_Worker] = set()

    def call(self, function: Callable[[], T], seconds: float) -> T:
        """What the function returns or raises.

        Raises:
            ScoringTimeoutError: it did not end within `seconds`, or too many others before it have not ended yet.
        """
        with self._lock:
            self._abandoned = {worker for worker in self._abandoned if worker.is_alive()}
            full = len(self._abandoned) >= MAX_ABANDONED
        if seconds <= 0 or full:
            raise ScoringTimeoutError("there was no time left to begin" if not full else "earlier calls still run")
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
