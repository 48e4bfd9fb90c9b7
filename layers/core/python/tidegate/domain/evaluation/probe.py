"""A served model on held-out rows, asked again with changed inputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tidegate.domain.evaluation.bootstrap import Arm, Losses, Resampling
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.serving.contract import Contract, Inputs
from tidegate.kernel.table import TARGET, Column, Table


@dataclass(frozen=True)
class Trial:
    """What importance, robustness, dependence and flips are measured with.

    Attributes:
        rows: held-out rows with their target.
        scores: of these rows, as the model gives them [n, classes] or [n, 1].
        score: scores of any inputs.
        resampling: of these rows, for intervals.
    """

    contract: Contract
    metric: str
    rows: Table
    scores: Column
    score: Callable[[Inputs], Column]
    resampling: Resampling

    def chance(self, purpose: str) -> np.random.Generator:
        """Seeded by the version: the same version always gets the same numbers."""
        return np.random.default_rng([self.resampling.seed, *purpose.encode()])

    def draw(self, most: int) -> "Trial":
        """At most so many of the rows, in their order."""
        if len(self.rows) <= most:
            return self
        drawn = np.sort(self.chance("rows").choice(len(self.rows), most, replace=False))
        return replace(
            self, rows=self.rows.take(drawn), scores=self.scores[drawn], resampling=self.resampling.take(drawn)
        )

    def rescored(self, name: str, column: Column) -> Column:
        """Scores of the rows with another column of that name."""
        return self.rescored_by({name: column})

    def rescored_by(self, columns: Mapping[str, Column]) -> Column:
        """Scores of the rows with these columns in the place of their own."""
        return self.score(self.contract.inputs(Table({**self.rows.columns, **columns})))

    def filled(self, name: str, value: str | float) -> Column:
        """Scores of the rows when all have this value of a feature."""
        return self.rescored(name, np.full(len(self.rows), value))

    def loss(self, scores: Sequence[Column]) -> Estimate:
        """How much worse the metric is by these scores, on average over their arrays.

        Raises:
            DataCheckError: the rows do not define the metric.
        """
        return self._losses.of([Arm(each, self.contract.threshold) for each in scores])

    @cached_property
    def _losses(self) -> Losses:
        contract, own = self.contract, Arm(self.scores, self.contract.threshold)
        return self.resampling.losses(self.metric, self.rows[TARGET], own, positive=contract.positive)

    def decisions(self, scores: Column) -> Column:
        """Position of the class that is answered, for each row of a classifier's scores."""
        contract = self.contract
        if contract.task == "binary":
            yes = scores[:, contract.positive] >= np.float32(contract.threshold)
            return np.where(yes, contract.positive, 1 - contract.positive)
        return np.asarray(scores.argmax(axis=1))
