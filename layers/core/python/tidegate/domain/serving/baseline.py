"""What a rule has learned, and how it answers: always the same, by group, or by an expression over the features.

The rules are `tidegate.spec.rules`, and `domain.training.rules` fits them. A fitted rule scores a table of many rows by
column, and one row of plain Python values by a dictionary look-up, with the same numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tidegate.kernel.documents import StoredForm
from tidegate.kernel.expressions.compile import Expression, compile_expression
from tidegate.kernel.table import Column, Table

Value = str | float | None  # one part of a group's key: a text, a number, or a missing number


@dataclass(frozen=True, slots=True)
class FittedRule:
    """A rule with its numbers. Scores are shares in the order of the classes, or one value for a regression.

    `kind` is what the spec calls the rule, for people. `texts` says for each column of `by` whether it holds texts
    (missing: "") or numbers (missing: None). `groups` has only the groups with enough rows; every other one, seen or
    not, gets `overall`. An `expression` gives the probability of the class at `positive`, cut to 0..1, or the value of
    a regression; where it has none, `overall`.
    """

    FORM: ClassVar = StoredForm("baseline rule", renew="train the model again")

    kind: str
    overall: tuple[float, ...]
    by: tuple[str, ...] = ()
    texts: tuple[bool, ...] = ()
    groups: Mapping[tuple[Value, ...], tuple[float, ...]] | None = None
    expression: str = ""
    positive: int = 1
    _compiled: Expression | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", compile_expression(self.expression) if self.expression else None)

    @property
    def title(self) -> str:
        """The rule for people: "group_rate by carrier, hour", "arithmetic: 0.1 + 0.02 * hour"."""
        if self.expression:
            return f"{self.kind}: {self.expression}"
        return f"{self.kind} by {', '.join(self.by)}" if self.by else self.kind

    def scores(self, table: Table, rows: int | None = None) -> npt.NDArray[np.float64]:
        """[rows, classes] shares or [rows, 1] values; `rows` is the table's length unless given.

        Raises:
            KeyError: the table lacks a column of `by` or of the expression.
        """
        overall = np.array([self.overall])
        if self._compiled is not None:
            return self._computed(self._compiled, table, len(table) if rows is None else rows)
        if not self.groups:
            return np.repeat(overall, len(table) if rows is None else rows, axis=0)
        code, keys = group_codes([table[name] for name in self.by], self.texts)
        return np.array([self.groups.get(key, self.overall) for key in keys])[code] if keys else overall[:0]

    def score(self, values: Mapping[str, Any]) -> tuple[float, ...]:
        """The scores of one row given as Python values by column; an absent column counts as missing."""
        if self._compiled is not None:
            return self._answer(self._compiled.value(values))
        if not self.groups:
            return self.overall
        parts = zip(self.by, self.texts, strict=True)
        return self.groups.get(tuple(_part(values.get(name), text=text) for name, text in parts), self.overall)

    def _computed(self, compiled: Expression, table: Table, rows: int) -> npt.NDArray[np.float64]:
        names = sorted(compiled.names)
        if not names:
            return np.repeat(np.array([self._answer(compiled.value({}))]), rows, axis=0)
        columns = zip(*(table[name].tolist() for name in names), strict=True)
        answers = [self._answer(compiled.value(dict(zip(names, row, strict=True)))) for row in columns]
        return np.array(answers).reshape(len(answers), len(self.overall))

    def _answer(self, value: Any) -> tuple[float, ...]:
        if value is None:
            return self.overall
        if len(self.overall) == 1:
            return (float(value),)
        share = min(1.0, max(0.0, float(value)))
        return (1 - share, share) if self.positive == 1 else (share, 1 - share)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; the same rule gives the same document, whatever the order of its rows was."""
        groups = self.groups or {}
        listed = [[list(key), list(groups[key])] for key in sorted(groups, key=_order)]
        return {
            **self.FORM.mark(),
            "kind": self.kind,
            "overall": list(self.overall),
            "by": list(self.by),
            "texts": list(self.texts),
            "groups": listed,
            "expression": self.expression,
            "positive": self.positive,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; raises NewerDocumentError."""
        document = cls.FORM.current(document)
        return cls(
            kind=document["kind"],
            overall=tuple(document["overall"]),
            by=tuple(document["by"]),
            texts=tuple(document["texts"]),
            groups={tuple(key): tuple(scores) for key, scores in document["groups"]} or None,
            expression=document["expression"],
            positive=document["positive"],
        )


def group_codes(
    columns: Sequence[Column], texts: Sequence[bool]
) -> tuple[npt.NDArray[np.intp], list[tuple[Value, ...]]]:
    """Group of each row, and each group's key; columns are joined one at a time, so that codes stay small.

    Keys are in rising order by their parts, a missing number last.
    """
    code = np.zeros(len(columns[0]), dtype=np.intp)
    first = np.zeros(min(1, len(code)), dtype=np.intp)
    for column in columns:
        distinct, inverse = np.unique(column, return_inverse=True)
        _, first, code = np.unique(code * len(distinct) + inverse, return_index=True, return_inverse=True)
    parts = [
        [_part(value, text=text) for value in column[first].tolist()]
        for column, text in zip(columns, texts, strict=True)
    ]
    return code, list(zip(*parts, strict=True))


def _part(value: Any, *, text: bool) -> Value:
    if text:
        return "" if value is None else str(value)
    return None if value is None or math.isnan(value) else float(value) + 0.0  # -0.0 and 0.0 are one group


def _order(key: tuple[Value, ...]) -> tuple[tuple[bool, str | float], ...]:
    return tuple((part is not None, "" if part is None else part) for part in key)
