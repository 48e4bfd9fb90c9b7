"""A rule without a learning library: the baseline that every model must beat, and the fallback that answers.

A rule is one file of this folder and a line in `registry`. Its class holds what the spec says of it, what it learns of
the training rows, and its words: the docstring is the description in the JSON Schema and in docs/model-spec.md. How it
answers follows from what it learned: always the same, by group, or by an expression (`domain.serving.baseline`).
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypeVar

from tidegate.spec.part import Section, Task

Fitted = TypeVar("Fitted")
_Fitted_co = TypeVar("_Fitted_co", covariant=True)


class Place(StrEnum):
    """Where a spec names a rule."""

    BASELINE = "baseline"
    FALLBACK = "fallback"


class TrainingRows(Protocol[_Fitted_co]):
    """What can be learned of the training rows; each gives a fitted rule. `domain.training.rules` has it."""

    def always(self, value: float) -> _Fitted_co:
        """One answer, whatever the rows say: the positive class's probability, or a number."""
        ...

    def overall(self) -> _Fitted_co:
        """The class shares, or the mean."""
        ...

    def by_group(self, by: Sequence[str], *, min_rows: int, latest: int | None = None) -> _Fitted_co:
        """Class shares (or the mean) of each group that agrees in the columns `by` and has `min_rows` rows; of all rows
        for the others. With `latest`, of so many newest rows by time in each group, and of all."""
        ...

    def computed(self, expression: str) -> _Fitted_co:
        """The positive class's probability (cut to 0..1) or a number; what `overall` gives where it has no value."""
        ...


class Rule(Section):
    """What all rules have.

    Attributes:
        tasks: the tasks that it fits, by the place where a spec names it; a place that is not there is refused.
        needs_time: whether the rows must have an order in time.
        example: a rule of this kind as a spec writes it, for docs and tests, over a text `carrier` and a number `hour`.
    """

    kind: str
    tasks: ClassVar[Mapping[Place, tuple[Task, ...]]]
    needs_time: ClassVar[bool] = False
    example: ClassVar[Mapping[str, Any]]

    @property
    def groups(self) -> tuple[str, ...]:
        """The features that it groups by: its field `by`."""
        return ()

    @property
    def computes(self) -> str | None:
        """The expression that it computes: its field `expression`."""
        return None

    def problems(self, task: Task | None) -> Iterator[tuple[str, str]]:  # noqa: ARG002
        """Fields, and what is wrong with them for this task, beyond what their types say."""
        return iter(())

    def learn(self, rows: TrainingRows[Fitted]) -> Fitted:
        """The rule, fitted."""
        raise NotImplementedError
