"""Users of the model: they ask over several connections, and what became of each request is kept."""

import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tidegate.cli.client import Client

CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """A request that got a 200. `instance` is the index of what was asked, `at` (time.monotonic) when it came back."""

    instance: int
    at: float
    milliseconds: float
    document: dict[str, Any]


class Traffic:
    """An application with users who ask for one instance after the other, from the first again after the last."""

    def __init__(self, client: Client, model: str, instances: Sequence[dict[str, Any]]) -> None:
        self._client, self._model, self._instances = client, model, instances
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self.answers: list[Answer] = []
        self.failures: list[str] = []

    @property
    def sent(self) -> int:
        """Requests that are over, answered or failed."""
        return len(self.answers) + len(self.failures)

    def send(self, count: int) -> list[Answer]:
        """So many requests; their answers once all are in."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return [answer for answer in pool.map(lambda _: self._ask(), range(count)) if answer]

    @contextmanager
    def flowing(self, connections: int = CONNECTIONS) -> Iterator[None]:
        """Users ask all the time, until the block ends."""
        over = threading.Event()

        def go_on() -> None:
            while not over.is_set():
                self._ask()

        with ThreadPoolExecutor(connections) as pool:
            asking = [pool.submit(go_on) for _ in range(connections)]
            try:
                yield
            finally:
                over.set()
        for each in asking:
            each.result()

    def demand_that_all_were_answered(self) -> None:
        """Raises RuntimeError unless every request got a 200."""
        if self.failures:
            raise RuntimeError(f"{len(self.failures)} of {self.sent} requests failed, the first: {self.failures[0]}")

    def _ask(self) -> Answer | None:
        with self._lock:
            instance = next(self._numbers) % len(self._instances)
        begun = time.perf_counter()
        try:
            document = self._client.predict(self._model, [self._instances[instance]])
        except Exception as error:  # noqa: BLE001  counted and shown: a demo that hides a failed request is no demo
            self.failures.append(f"{type(error).__name__}: {error}")
            return None
        answer = Answer(instance, time.monotonic(), 1_000 * (time.perf_counter() - begun), document)
        self.answers.append(answer)
        return answer


def asked(answers: Iterable[Answer], version: int) -> list[Answer]:
    """Those that a version on trial was asked for: it answered, or another one did because it could not."""
    return [answer for answer in answers if answer.document["version"] == version or "why" in answer.document]
