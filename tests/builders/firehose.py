"""What the queue of captures talks to."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidegate.domain.serving.capture import CapturePolicy


@dataclass
class Stream:
    """Takes records unless set to fail."""

    name: str = "captures"
    answers: list[Callable[[list[bytes]], set[int]] | Exception] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    calls: int = 0

    def put(self, records: Sequence[bytes]) -> list[bool]:
        self.calls += 1
        data = list(records)
        answer = self.answers.pop(0) if self.answers else lambda _: set()
        if isinstance(answer, Exception):
            raise answer
        failed = answer(data)
        self.taken += [each for number, each in enumerate(data) if number not in failed]
        return [number not in failed for number in range(len(data))]

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for data in self.taken for line in data.splitlines()]


@dataclass
class Policies:
    found: CapturePolicy | Exception = field(default_factory=CapturePolicy)
    faults: list[Exception] = field(default_factory=list)  # raised first, one each time
    asked: int = 0

    def policy(self, model: str) -> CapturePolicy:
        self.asked += 1
        if self.faults:
            raise self.faults.pop(0)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found
