"""The queue in front of asynchronous invocations: it retries as Lambda does and hands over what failed for good."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from infra.local.functions import FunctionConfig, Invocation
from infra.local.workers import Crew

_FIRST_BACKOFF_S = 0.1
_LONGEST_BACKOFF_S = 5.0


@dataclass(frozen=True, slots=True)
class Event:
    """One asynchronous invocation on its way; `failures` counts attempts that reached the function."""

    function: FunctionConfig
    arn: str
    payload: bytes
    request_id: str
    queued_at: float
    failures: int = 0
    throttles: int = 0


class EventQueue:
    """Runs events when they are due, a bounded number at once.

    Lambda waits one minute before the first retry of a failed event and two before the second; `retry_waits_s` are the
    waits here. A throttled event comes back with growing waits until it is older than its function allows.
    """

    def __init__(
        self,
        attempt: Callable[[Event], Invocation],
        *,
        give_up: Callable[[Event, Invocation], None],
        retry_waits_s: Sequence[float],
        at_once: int,
    ) -> None:
        self._attempt = attempt
        self._give_up = give_up
        self._retry_waits_s = retry_waits_s
        self._crew = Crew("lambda-event", at_once)
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Event]] = []
        self._order = itertools.count()
        self._running = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def put(self, event: Event, wait_s: float = 0.0) -> None:
        """Queues an event, to be run after `wait_s`."""
        with self._changed:
            if self._closed:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._schedule, name="lambda-events", daemon=True)
                self._thread.start()
            heapq.heappush(self._due, (time.monotonic() + wait_s, next(self._order), event))
            self._changed.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Waits until nothing is queued and nothing runs."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or not (self._due or self._running), timeout_s)

    def close(self, timeout_s: float) -> None:
        """Drops what is queued and waits for what runs."""
        with self._changed:
            self._closed = True
            self._due.clear()
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        self._crew.close(timeout_s)

    def _schedule(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._due or self._due[0][0] > time.monotonic()):
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._closed:
                    return
                _, _, event = heapq.heappop(self._due)
                self._running += 1
            self._crew.submit(partial(self._run, event))

    def _run(self, event: Event) -> None:
        try:
            self._judge(event, self._attempt(event))
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _judge(self, event: Event, invocation: Invocation) -> None:
        config = event.function
        if invocation.is_throttled:
            wait_s = min(_FIRST_BACKOFF_S * 2**event.throttles, _LONGEST_BACKOFF_S)
            if time.monotonic() + wait_s - event.queued_at <= config.max_event_age_s:
                self.put(replace(event, throttles=event.throttles + 1), wait_s)
                return
        elif invocation.is_ok:
            return
        elif event.failures < config.max_event_retries:
            wait_s = self._retry_waits_s[min(event.failures, len(self._retry_waits_s) - 1)]
            self.put(replace(event, failures=event.failures + 1), wait_s)
            return
        self._give_up(event, invocation)
