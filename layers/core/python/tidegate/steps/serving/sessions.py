"""What was opened is kept within a number of bytes, and what several ask for at once is opened once.

opened: Opened[Session] = Opened(budget_bytes=2**28)
session = opened.get(sha256, lambda: (session_of(fetch(key)), 300_000))
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Opened(Generic[T]):
    """Things by key. The one longest unused goes first; safe to use from several threads.

    The newest always stays, also when it is larger than the whole budget: it is then alone. What goes is only
    forgotten here, and lives on for those who are using it.
    """

    def __init__(self, budget_bytes: int, *, evicted: Callable[[int], None] = lambda _: None) -> None:
        """`evicted` is called with how many things had to go for a new one."""
        self._budget = budget_bytes
        self._evicted = evicted
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()  # the longest unused first
        self._bytes = 0
        self._loads: dict[Hashable, _Load[T]] = {}

    @property
    def kept_bytes(self) -> int:
        """What is kept counts for so much."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, open_: Callable[[], tuple[T, int]]) -> T:
        """The thing of that key; when it is not there, what `open_` returns: the thing, and the bytes it counts for.

        Those who ask while another opens it wait, and get the same thing or the same error. An error is not kept: the
        next one to ask opens again. `open_` must not ask for its own key.
        """
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept[0]
            load = self._loads.get(key)
            first = load is None
            if load is None:
                load = self._loads[key] = _Load()
        return self._open(key, load, open_) if first else load.result()

    def _open(self, key: Hashable, load: "_Load[T]", open_: Callable[[], tuple[T, int]]) -> T:
        try:
            thing, size = open_()
        except BaseException as error:
            with self._lock:
                del self._loads[key]
            load.fail(error)
            raise
        gone: list[tuple[T, int]] = []  # let go of outside the lock: taking a large model apart takes milliseconds
        with self._lock:
            self._kept[key] = thing, size
            self._bytes += size
            del self._loads[key]
            while self._bytes > self._budget and len(self._kept) > 1:
                gone.append(self._kept.popitem(last=False)[1])
                self._bytes -= gone[-1][1]
        load.end(thing)
        if gone:
            self._evicted(len(gone))
        return thing


class _Load(Generic[T]):
    """One opening, and those who wait for it."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thing: list[T] = []
        self._error: BaseException | None = None

    def end(self, thing: T) -> None:
        self._thing.append(thing)
        self._over.set()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._over.set()

    def result(self) -> T:
        """Waits for it; raises what it raised."""
        self._over.wait()
        if self._error is not None:
            raise self._error
        return self._thing[0]
