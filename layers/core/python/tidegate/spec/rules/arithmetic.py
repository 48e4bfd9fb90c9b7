"""The rule `arithmetic`."""

from typing import ClassVar, Literal

from pydantic import (
    Field,
)

from tidegate.spec.part import ExpressionText, Task
from tidegate.spec.rules.rule import Fitted, Place, Rule, TrainingRows


class ArithmeticRule(Rule):
    """An expression over the features: the positive class's probability (cut to 0..1), or a number. Where it has no
    value, since a feature is missing, say, the prior answers."""

    kind: Literal["arithmetic"]
    expression: ExpressionText = Field(description="Over the features; see docs/model-spec.md for the language.")

    tasks: ClassVar = {Place.FALLBACK: (Task.BINARY, Task.REGRESSION)}
    example: ClassVar = {"kind": "arithmetic", "expression": "0.1 + 0.02 * hour"}

    @property
    def computes(self) -> str:
        """See Rule."""
        return self.expression

    def learn(self, rows: TrainingRows[Fitted]) -> Fitted:
        """See Rule."""
        return rows.computed(self.expression)
