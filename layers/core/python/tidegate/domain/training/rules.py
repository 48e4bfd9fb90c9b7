"""Rules of the spec, fitted on training rows: what each learns is counted here.

rule = fitted(spec.baseline, table=training, target=training[TARGET], classes=(False, True))
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.domain.serving.baseline import FittedRule, group_codes
from tidegate.kernel.table import Column, Table
from tidegate.spec.rules.rule import Rule


def fitted(
    rule: Rule,
    *,
    table: Table,
    target: Column,
    classes: Sequence[Any] = (),
    positive: int = 1,
    order: Column | None = None,
) -> FittedRule:
    """Fit a rule on training rows.

    Args:
        target: class codes [n], or numbers [n] when `classes` is empty (regression).
        classes: the labels, in the order of the scores.
        positive: the class that a constant or an expression gives the probability of.
        order: something [n] that grows with time (times themselves); of equals the later row is the latest.

    Raises:
        ValueError: no rows to fit on, or no `order` for a rule that needs it.
    """
    return rule.learn(_Rows(rule.kind, table, target, classes, positive, order))


@dataclass(frozen=True, slots=True)
class _Rows:
    """spec.rules.rule.TrainingRows."""

    kind: str
    table: Table
    target: Column
    classes: Sequence[Any]
    positive: int
    order: Column | None

    def always(self, value: float) -> FittedRule:
        if not self.classes:
            return FittedRule(self.kind, (value,))
        rest = (1 - value) / (len(self.classes) - 1)
        scores = (value if index == self.positive else rest for index in range(len(self.classes)))
        return FittedRule(self.kind, tuple(scores))

    def overall(self) -> FittedRule:
        return FittedRule(self.kind, self._overall(self.target))

    def computed(self, expression: str) -> FittedRule:
        overall = self._overall(self.target)
        return FittedRule(self.kind, overall, expression=expression, positive=self.positive)

    def by_group(self, by: Sequence[str], *, min_rows: int, latest: int | None = None) -> FittedRule:
        newest = None if latest is None else (self._newest_first(), latest)
        overall = self._overall(self.target if newest is None else self.target[newest[0][: newest[1]]])
        if not by:
            return FittedRule(self.kind, overall)
        columns = [self.table[name] for name in by]
        texts = tuple(column.dtype.kind not in "fiub" for column in columns)
        code, keys = group_codes(columns, texts)
        present, target = np.bincount(code, minlength=len(keys)), self.target
        if newest is not None:
            rows, most = newest
            kept = rows[_place_in_group(code[rows], present) < most]
            code, target = code[kept], target[kept]
        shares = _shares(code, len(keys), target, len(self.classes))
        groups = {key: share for key, share, count in zip(keys, shares, present, strict=True) if count >= min_rows}
        return FittedRule(self.kind, overall, tuple(by), texts, groups or None)

    def _overall(self, target: Column) -> tuple[float, ...]:
        if not len(target):
            raise ValueError(f"a {self.kind} rule needs rows to be fitted on")
        return _shares(np.zeros(len(target), dtype=np.intp), 1, target, len(self.classes))[0]

    def _newest_first(self) -> npt.NDArray[np.intp]:
        if self.order is None:
            raise ValueError(f"a {self.kind} rule needs the order of its rows in time")
        return np.argsort(self.order, kind="stable")[::-1]


def _place_in_group(code: npt.NDArray[np.intp], present: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """How many rows of the same group come before each row."""
    sorted_rows = np.argsort(code, kind="stable")
    first = np.concatenate([[0], np.cumsum(present)[:-1]])
    place = np.empty(len(code), dtype=np.intp)
    place[sorted_rows] = np.arange(len(code)) - first[code[sorted_rows]]
    return place


def _shares(code: npt.NDArray[np.intp], groups: int, target: Column, classes: int) -> list[tuple[float, ...]]:
    """Class shares of each group, or its mean of the target."""
    counts = np.bincount(code, minlength=groups)
    if classes:
        cells = np.bincount(code * classes + np.asarray(target, dtype=np.intp), minlength=groups * classes)
        sums: Column = cells.reshape(groups, classes)
    else:
        sums = np.bincount(code, weights=target, minlength=groups).reshape(groups, 1)
    return [tuple(row) for row in (sums / counts[:, None]).tolist()]
