"""The rule `group_rate`."""

from typing import ClassVar, Literal

from pydantic import (
    Field,
)

from tidegate.spec.part import ColumnName, Task
from tidegate.spec.rules.rule import Fitted, Place, Rule, TrainingRows

BY = "Features whose values make the groups."
MIN_ROWS = "A smaller group gets the overall rate."


class GroupRateRule(Rule):
    """The historical rate (or mean) of the target within groups; groups with too few rows use the overall rate."""

    kind: Literal["group_rate"]
    by: tuple[ColumnName, ...] = Field(min_length=1, max_length=4, description=BY)
    min_rows: int = Field(50, ge=1, description=MIN_ROWS)

    tasks: ClassVar = {Place.BASELINE: (Task.BINARY, Task.REGRESSION), Place.FALLBACK: tuple(Task)}
    example: ClassVar = {"kind": "group_rate", "by": ["carrier", "hour"], "min_rows": 50}

    @property
    def groups(self) -> tuple[str, ...]:
        """See Rule."""
        return self.by

    def learn(self, rows: TrainingRows[Fitted]) -> Fitted:
        """See Rule."""
        return rows.by_group(self.by, min_rows=self.min_rows)
