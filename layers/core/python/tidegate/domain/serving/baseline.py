"""The non-ML rule every model must beat, and the one it falls back on: a constant, the overall shares, rates by group,
averages of the latest rows, or an expression over the features.

Fitting is counting. A fitted rule scores a table of many rows by column, and one row of plain Python values by a
dictionary look-up, with the same numbers.
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

Kind = str  # "constant", "prior", "group_rate", "moving_average" or "arithmetic", as the spec names them
Value = str | float | None  # one part of a group's key: a text, a number, or a missing number


@dataclass(frozen=True, slots=True)
class FittedRule:
    """A rule with its numbers. Scores are shares in the order of the classes, or one value for a regression.

    `texts` says for each column of `by` whether it holds texts (missing: "") or numbers (missing: None). `groups` has
    only the groups with enough rows; every other one, seen or not, gets `overall`. An `expression` gives the
    probability of the class at `positive`, cut to 0..1, or the value of a regression; where it has none, `overall`.
    """

    FORM: ClassVar = StoredForm("baseline rule", renew="train the model again")

    kind: Kind
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
        return self.groups.get(tuple(_part(values.get(name), text) for name, text in parts), self.overall)

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


def fit_rule(
    kind: Kind,
    *,
    table: Table,
    target: Column,
    classes: Sequence[Any] = (),
    positive: int = 1,
    by: Sequence[str] = (),
    min_rows: int = 50,
    value: float | None = None,
    rows: int | None = None,
    order: Column | None = None,
    expression: str | None = None,
) -> FittedRule:
    """Fit one of the spec's rules on training rows.

    Args:
        target: class codes [n], or numbers [n] when `classes` is empty (regression).
        classes: the labels, in the order of the scores.
        positive: the class that a constant's `value` is the probability of.
        by: the columns of a group_rate or a moving_average; `min_rows` is how many rows a group needs to be trusted.
        value: the answer of a constant.
        rows: how many of the latest rows a moving_average takes, of all and of each group.
        order: for a moving_average, something [n] that grows with time (times themselves); of equals the later row is
            the latest.
        expression: of an arithmetic rule; checked before against the features.

    Raises:
        ValueError: an unknown kind, a rule without what it needs, or no rows to fit on.
    """
    if kind == "constant":
        if value is None:
            raise ValueError("a constant rule needs its value")
        if not classes:
            return FittedRule(kind, (value,))
        rest = (1 - value) / (len(classes) - 1)
        return FittedRule(kind, tuple(value if index == positive else rest for index in range(len(classes))))
    if not len(target):
        raise ValueError(f"a {kind} rule needs rows to be fitted on")
    if kind == "moving_average":
        if rows is None or order is None:
            raise ValueError("a moving_average rule needs its number of rows and their order in time")
        latest = np.argsort(order, kind="stable")[::-1]
        overall = _overall(target[latest[:rows]], classes)
        return _grouped(kind, overall, table, target, classes, by=by, min_rows=min_rows, latest=(latest, rows))
    overall = _overall(target, classes)
    if kind == "prior":
        return FittedRule(kind, overall)
    if kind == "arithmetic":
        if expression is None:
            raise ValueError("an arithmetic rule needs its expression")
        return FittedRule(kind, overall, expression=expression, positive=positive)
    if kind != "group_rate":
        raise ValueError(f"unknown rule {kind!r}; one of constant, prior, group_rate, moving_average, arithmetic")
    return _grouped(kind, overall, table, target, classes, by=by, min_rows=min_rows)


def _overall(target: Column, classes: Sequence[Any]) -> tuple[float, ...]:
    return _shares(np.zeros(len(target), dtype=np.intp), 1, target, len(classes))[1][0]


def _grouped(
    kind: Kind,
    overall: tuple[float, ...],
    table: Table,
    target: Column,
    classes: Sequence[Any],
    *,
    by: Sequence[str],
    min_rows: int,
    latest: tuple[Column, int] | None = None,
) -> FittedRule:
    """A rule by groups. `latest` is all rows, the newest first, and how many of them each group is averaged over."""
    if not by:
        return FittedRule(kind, overall)
    columns = [table[name] for name in by]
    texts = tuple(column.dtype.kind not in "fiub" for column in columns)
    code, keys = group_codes(columns, texts)
    present = np.bincount(code, minlength=len(keys))
    if latest is not None:
        newest, most = latest
        kept = newest[_place_in_group(code[newest], present) < most]
        code, target = code[kept], target[kept]
    _, shares = _shares(code, len(keys), target, len(classes))
    groups = {key: share for key, share, count in zip(keys, shares, present, strict=True) if count >= min_rows}
    return FittedRule(kind, overall, tuple(by), texts, groups or None)


def _place_in_group(code: npt.NDArray[np.intp], present: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """How many rows of the same group come before each row."""
    sorted_rows = np.argsort(code, kind="stable")
    first = np.concatenate([[0], np.cumsum(present)[:-1]])
    place = np.empty(len(code), dtype=np.intp)
    place[sorted_rows] = np.arange(len(code)) - first[code[sorted_rows]]
    return place


def _shares(
    code: npt.NDArray[np.intp], groups: int, target: Column, classes: int
) -> tuple[npt.NDArray[np.intp], list[tuple[float, ...]]]:
    """Rows of each group, and its class shares (or its mean of the target)."""
    counts = np.bincount(code, minlength=groups)
    if classes:
        cells = np.bincount(code * classes + np.asarray(target, dtype=np.intp), minlength=groups * classes)
        sums: Column = cells.reshape(groups, classes)
    else:
        sums = np.bincount(code, weights=target, minlength=groups).reshape(groups, 1)
    return counts, [tuple(row) for row in (sums / counts[:, None]).tolist()]


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
        [_part(value, text) for value in column[first].tolist()] for column, text in zip(columns, texts, strict=True)
    ]
    return code, list(zip(*parts, strict=True))


def _part(value: Any, text: bool) -> Value:
    if text:
        return "" if value is None else str(value)
    return None if value is None or math.isnan(value) else float(value) + 0.0  # -0.0 and 0.0 are one group


def _order(key: tuple[Value, ...]) -> tuple[tuple[bool, str | float], ...]:
    return tuple((part is not None, "" if part is None else part) for part in key)
