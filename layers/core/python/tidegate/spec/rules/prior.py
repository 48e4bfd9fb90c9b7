"""The rule `prior`."""

from typing import ClassVar, Literal

from tidegate.spec.part import Task
from tidegate.spec.rules.rule import Fitted, Place, Rule, TrainingRows


class PriorRule(Rule):
    """The class shares (or the mean) of the training data."""

    kind: Literal["prior"]

    tasks: ClassVar = {Place.BASELINE: tuple(Task), Place.FALLBACK: tuple(Task)}
    example: ClassVar = {"kind": "prior"}

    def learn(self, rows: TrainingRows[Fitted]) -> Fitted:
        """See Rule."""
        return rows.overall()
