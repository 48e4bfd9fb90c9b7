"""The rule `constant`."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import (
    Field,
)

from tidegate.spec.part import Task
from tidegate.spec.rules.rule import Fitted, Place, Rule, TrainingRows

_TASKS = (Task.BINARY, Task.REGRESSION)


class ConstantRule(Rule):
    """Always the same answer: a probability of the positive class, or a number."""

    kind: Literal["constant"]
    value: float = Field(description="The answer; between 0 and 1 for a binary model.")

    tasks: ClassVar = {Place.BASELINE: _TASKS, Place.FALLBACK: _TASKS}
    example: ClassVar = {"kind": "constant", "value": 0.2}

    def problems(self, task: Task | None) -> Iterator[tuple[str, str]]:
        """See Rule."""
        if task is Task.BINARY and not 0 <= self.value <= 1:
            yield "value", "a probability lies between 0 and 1"

    def learn(self, rows: TrainingRows[Fitted]) -> Fitted:
        """See Rule."""
        return rows.always(self.value)
