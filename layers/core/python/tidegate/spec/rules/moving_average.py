"""The rule `moving_average`."""

from typing import ClassVar, Literal

from pydantic import (
    Field,
)

from tidegate.spec.part import ColumnName, Task
from tidegate.spec.rules.group_rate import BY, MIN_ROWS
from tidegate.spec.rules.rule import Fitted, Place, Rule, TrainingRows


class MovingAverageRule(Rule):
    """The target's rate (or mean) over the latest training rows by time, of all or of each group; groups with too few
    rows use the average of all."""

    kind: Literal["moving_average"]
    rows: int = Field(1_000, ge=1, description="Number of the latest rows to average in each group.")
    by: tuple[ColumnName, ...] = Field((), max_length=4, description=BY)
    min_rows: int = Field(50, ge=1, description=MIN_ROWS)

    tasks: ClassVar = {Place.FALLBACK: tuple(Task)}
    needs_time = True
    example: ClassVar = {"kind": "moving_average", "rows": 5000, "by": ["carrier"]}

    @property
    def groups(self) -> tuple[str, ...]:
        """See Rule."""
        return self.by

    def learn(self, rows: TrainingRows[Fitted]) -> Fitted:
        """See Rule."""
        return rows.by_group(self.by, min_rows=self.min_rows, latest=self.rows)
