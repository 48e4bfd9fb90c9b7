"""The threads of the lambda host: a bounded crew for work that outlives its caller, and one that writes the log."""

from __future__ import annotations

import queue
import sys
import threading
import traceback
from collections.abc import Callable, Sequence


class Crew:
    """Daemon threads that are started when needed, at most `limit`, and kept for the next job.

    Unlike a ThreadPoolExecutor it does not hold up the end of the interpreter for a job that hangs.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._free = 0
        self._closed = False

    def submit(self, job: Callable[[], None]) -> None:
        """Runs the job as soon as a thread is free; does nothing after `close`."""
        with self._lock:
            if self._closed:
                return
            if self._free <= 0 and len(self._threads) < self._limit:
                thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            else:
                self._free -= 1  # below zero: so many jobs wait for a thread
        self._jobs.put(job)

    def close(self, timeout_s: float) -> None:
        """Takes no more jobs and waits for the threads to end."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(timeout_s)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:  # noqa: BLE001 - a job that fails must not take the thread with it
                traceback.print_exc(file=sys.stderr)
            with self._lock:
                self._free += 1


class LogWriter:
    """Passes lines on to `write(log_group, line)` in a thread of its own, in order.

    So a slow reader of logs does not slow an invocation down, and one that invokes a function cannot lock itself up.
    """

    def __init__(self, write: Callable[[str, str], None]) -> None:
        self._write = write
        self._lines: queue.SimpleQueue[tuple[str, Sequence[str]] | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="lambda-log", daemon=True)
        self._thread.start()

    def put(self, log_group: str, lines: Sequence[str]) -> None:
        """Queues lines that belong together: one queue entry wakes the writer once."""
        self._lines.put((log_group, lines))

    def flush(self, timeout_s: float) -> bool:
        """Waits until every line queued so far has been written."""
        if threading.current_thread() is self._thread:
            return False
        written = threading.Event()
        self._lines.put(written)
        return written.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Writes what is left, then ends."""
        self._lines.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while (item := self._lines.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            log_group, lines = item
            for line in lines:
                try:
                    self._write(log_group, line)
                except Exception:  # noqa: BLE001 - a reader that fails on one line still gets the next
                    traceback.print_exc(file=sys.stderr)
