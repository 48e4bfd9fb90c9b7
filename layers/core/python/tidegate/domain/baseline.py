"""The non-ML rule every model must beat, and may fall back on: a constant, the overall shares, or rates by group.

Fitting is counting. A fitted rule scores a table of many rows by column, and one row of plain Python values by a
dictionary look-up, with the same numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tidegate.domain.table import Column, Table

Kind = str  # "constant", "prior" or "group_rate", as the spec names them
Value = str | float | None  # one part of a group's key: a text, a number, or a missing number


@dataclass(frozen=True, slots=True)
class FittedRule:
    """A rule with its numbers. Scores are shares in the order of the classes, or one value for a regression.

    `texts` says for each column of `by` whether it holds texts (missing: "") or numbers (missing: None). `groups` has
    only the groups with enough rows; every other one, seen or not, gets `overall`.
    """

    kind: Kind
    overall: tuple[float, ...]
    by: tuple[str, ...] = ()
    texts: tuple[bool, ...] = ()
    groups: Mapping[tuple[Value, ...], tuple[float, ...]] | None = None

    @property
    def title(self) -> str:
        """The rule for people: "group_rate by carrier, hour"."""
        return f"{self.kind} by {', '.join(self.by)}" if self.by else self.kind

    def scores(self, table: Table, rows: int | None = None) -> npt.NDArray[np.float64]:
        """[rows, classes] shares or [rows, 1] values; `rows` is the table's length unless given.

        Raises:
            KeyError: the table lacks a column of `by`.
        """
        overall = np.array([self.overall])
        if not self.groups:
            return np.repeat(overall, len(table) if rows is None else rows, axis=0)
        code, keys = _groups([table[name] for name in self.by], self.texts)
        return np.array([self.groups.get(key, self.overall) for key in keys])[code] if keys else overall[:0]

    def score(self, values: Mapping[str, Any]) -> tuple[float, ...]:
        """The scores of one row given as Python values by column; an absent column counts as missing."""
        if not self.groups:
            return self.overall
        parts = zip(self.by, self.texts, strict=True)
        return self.groups.get(tuple(_part(values.get(name), text) for name, text in parts), self.overall)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; the same rule gives the same document, whatever the order of its rows was."""
        groups = self.groups or {}
        listed = [[list(key), list(groups[key])] for key in sorted(groups, key=_order)]
        return {
            "kind": self.kind,
            "overall": list(self.overall),
            "by": list(self.by),
            "texts": list(self.texts),
            "groups": listed,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            kind=document["kind"],
            overall=tuple(document["overall"]),
            by=tuple(document["by"]),
            texts=tuple(document["texts"]),
            groups={tuple(key): tuple(scores) for key, scores in document["groups"]} or None,
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
) -> FittedRule:
    """Fit one of the spec's baseline rules on training rows.

    Args:
        target: class codes [n], or numbers [n] when `classes` is empty (regression).
        classes: the labels, in the order of the scores.
        positive: the class that a constant's `value` is the probability of.
        by: the columns of a group_rate; `min_rows` is how many rows a group needs to be trusted.
        value: the answer of a constant.

    Raises:
        ValueError: an unknown kind, a constant without a value, or no rows to fit on.
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
    overall = _shares(np.zeros(len(target), dtype=np.intp), 1, target, len(classes))[1][0]
    if kind == "prior":
        return FittedRule(kind, overall)
    if kind != "group_rate":
        raise ValueError(f"unknown rule {kind!r}; one of constant, prior, group_rate")
    columns = [table[name] for name in by]
    texts = tuple(column.dtype.kind not in "fiub" for column in columns)
    code, keys = _groups(columns, texts)
    counts, shares = _shares(code, len(keys), target, len(classes))
    groups = {key: share for key, share, count in zip(keys, shares, counts, strict=True) if count >= min_rows}
    return FittedRule(kind, overall, tuple(by), texts, groups or None)


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


def _groups(columns: Sequence[Column], texts: Sequence[bool]) -> tuple[npt.NDArray[np.intp], list[tuple[Value, ...]]]:
    """Group of each row, and each group's key; columns are joined one at a time, so that codes stay small."""
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
