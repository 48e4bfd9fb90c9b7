"""The time of the local cloud: real time plus an offset that can be moved forward by hand."""

from __future__ import annotations

import bisect
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

_MOST_SKIPPED = 10_000


class Clock:
    """Runs as real time does; `move_to` jumps ahead, so that an hour's schedule takes no hour.

    Everything follows it: schedules, alarm periods, Wait states, what the cloud stamps, and the functions, which run in
    processes of their own, from their next invocation on.
    """

    def __init__(self) -> None:
        self._offset_s = 0.0
        self._skipped: deque[tuple[float, float]] = deque(maxlen=_MOST_SKIPPED)
        self._moved = threading.Condition()
        self._waits: dict[object, tuple[float, Callable[[], bool]]] = {}

    @property
    def offset_s(self) -> float:
        """How far this clock is ahead of real time, in seconds."""
        return self._offset_s

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._offset_s

    def now(self) -> datetime:
        """The same instant as an aware UTC datetime."""
        return datetime.fromtimestamp(self.time(), UTC)

    def move_to(self, epoch_s: float) -> None:
        """Jumps to an instant; an instant that has passed already changes nothing, since time does not run back."""
        with self._moved:
            now = self.time()
            if epoch_s > now:
                self._offset_s += epoch_s - now
                self._skipped.append((now, epoch_s))
            self._moved.notify_all()

    def caught_up(self, epoch_s: float) -> float:
        """The instant that this clock showed when somebody saw `epoch_s` on one that was not moved with it: a function
        that is at work meanwhile sees times that this clock skips."""
        with self._moved:
            skipped = list(self._skipped)
        for start, end in skipped[max(bisect.bisect_right(skipped, (epoch_s, math.inf)) - 1, 0) :]:
            if start <= epoch_s < end:
                epoch_s += end - start
        return epoch_s

    def wake(self) -> None:
        """Lets everyone who waits ask whether it is still worth it."""
        with self._moved:
            self._moved.notify_all()

    def wait(self, seconds: float, running: Callable[[], bool] = lambda: True, poll_s: float = 0.1) -> bool:
        """Waits until `seconds` have passed on this clock; False when `running` said no before that."""
        deadline, one = self.time() + seconds, object()
        with self._moved:
            self._waits[one] = (deadline, running)
            try:
                while (left := deadline - self.time()) > 0:
                    if not running():
                        return False
                    self._moved.wait(min(left, poll_s))
            finally:
                del self._waits[one]
        return True

    def waiting(self) -> int:
        """How many wait for a later time than this clock shows."""
        with self._moved:
            waits = list(self._waits.values())
        now = self.time()
        return sum(deadline > now and running() for deadline, running in waits)
