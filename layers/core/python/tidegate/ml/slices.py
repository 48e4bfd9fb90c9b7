"""Where a model errs most: the leaves of a small decision tree over its features. scikit-learn is used here."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeRegressor

from tidegate.domain.evaluation.slices import MAX_CATEGORIES, Condition, Path, shortened
from tidegate.kernel.table import Column, Table

DEPTH = 3
LEAST_LEAF_ROWS = 200
LEAST_LEAF_SHARE = 0.02


def tree_leaves(table: Table, booleans: Collection[str], loss: Column) -> list[Path]:
    """ports.SliceSearch: a tree of depth 3 whose leaves have at least 200 rows, and 2 % of all."""
    least = max(LEAST_LEAF_ROWS, int(np.ceil(LEAST_LEAF_SHARE * len(loss))))
    if len(loss) < 2 * least:
        return []
    inputs = [_read(name, table[name], boolean=name in booleans) for name in table]
    encoded = np.concatenate([each.columns for each in inputs], axis=1)
    tree = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=least, random_state=0).fit(encoded, loss).tree_
    owners = [(each, column) for each in inputs for column in range(each.columns.shape[1])]
    return [shortened(path) for path in _leaves(tree, owners, 0, ()) if path]


@dataclass(frozen=True, slots=True)
class _Input:
    """A feature as the tree reads it [rows, columns]: a number (NaN is missing), or 0/1 for each frequent category."""

    name: str
    columns: Column
    categories: tuple[str, ...] = ()
    boolean: bool = False

    def split(self, column: int, threshold: float, *, missing_goes_left: bool) -> tuple[Condition, Condition]:
        """What holds left and right of a split."""
        if self.categories:
            value = self.categories[column]
            return Condition(self.name, "is not", value), Condition(self.name, "is", value)
        if np.isinf(threshold):  # parts the missing from the rest
            return Condition(self.name, "is known"), Condition(self.name, "is missing")
        gaps = bool(np.isnan(self.columns).any())
        left, right = gaps and missing_goes_left, gaps and not missing_goes_left
        if self.boolean:
            no = Condition(self.name, "is", value=False, or_missing=left)
            return no, Condition(self.name, "is", value=True, or_missing=right)
        return Condition(self.name, "<=", threshold, left), Condition(self.name, ">", threshold, right)


def _read(name: str, column: Column, *, boolean: bool) -> _Input:
    if column.dtype.kind != "U":
        return _Input(name, column.astype(np.float32)[:, None], boolean=boolean)
    values, counts = np.unique(column, return_counts=True)
    frequent = values[np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]]
    return _Input(name, (column[:, None] == frequent).astype(np.float32), tuple(frequent.tolist()))


def _leaves(tree: Any, owners: Sequence[tuple[_Input, int]], node: int, path: Path) -> Iterator[Path]:
    """The conditions from the root to each leaf below the node."""
    left, right = int(tree.children_left[node]), int(tree.children_right[node])
    if left < 0:
        yield path
        return
    feature, column = owners[tree.feature[node]]
    below, above = feature.split(
        column, float(tree.threshold[node]), missing_goes_left=bool(tree.missing_go_to_left[node])
    )
    yield from _leaves(tree, owners, left, (*path, below))
    yield from _leaves(tree, owners, right, (*path, above))
