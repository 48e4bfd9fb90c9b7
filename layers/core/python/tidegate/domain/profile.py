"""Profiles: what a set of rows looked like, as counts in fixed cells, with no row in it.

    layout, trained = reference(contract, table, score=score, label=label, target=target)   # at training
    hour = captured(layout, records)                                                        # later, in any number
    day = hour + next_hour                                                                  # exactly

A layout is the cells: quantile edges of the training reference for a number, known categories for a text. Every value
falls into exactly one cell of its column, so the counts of a column add up to the rows counted. Counts are whole
numbers, so profiles of one layout add exactly, in any order and grouping: hours to days, partial profiles of many
workers to one. Means are left out: float sums would depend on the order.

Which unseen categories came is not kept, only how often one came: a bounded list of the most frequent ones cannot be
merged exactly, and names that nobody declared may be personal data.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tidegate.domain.capture import MASK
from tidegate.domain.prediction import Contract, FeatureContract, Kind, Label
from tidegate.domain.table import Column, Table

SCHEMA = 1
BINS = 10  # between the reference's smallest and largest value; what PSI thresholds are customarily set for
MAX_CATEGORIES = 200

# The last cells of every column, as places from the end; those before them are the values.
OUTSIDE, MISSING, TYPE_FAULT, MASKED = range(-4, 0)
_EXTRA = 4
_MAX_NUMBER = float(np.finfo(np.float32).max)
_LARGEST = float(np.finfo(np.float64).max)

Cells = npt.NDArray[np.int64]
Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The cells of one column.

    Of a number with edges e0 < e1 < ... en: below the reference (up to e0), (e0, e1], ... (en-1, en], above it. Edges
    are float32, and numbers are compared as float32, which is what the model sees of them. Of a text: one cell for each
    category. Four more cells follow. `OUTSIDE` holds numbers beyond the contract's range, or categories that are not
    listed; then `MISSING`, `TYPE_FAULT` (a text for a number, a fraction for an integer ...) and `MASKED`.
    """

    name: str
    kind: Kind
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    minimum: float = -_MAX_NUMBER
    maximum: float = _MAX_NUMBER

    @property
    def size(self) -> int:
        """Number of cells."""
        return (len(self.categories) if self.kind == "categorical" else len(self.edges) + 1) + _EXTRA

    @property
    def cell_names(self) -> tuple[str, ...]:
        """The cells, for people."""
        if self.kind == "categorical":
            return (*self.categories, "unseen categories", "missing", "type faults", "masked")
        extra = ("out of the allowed range", "missing", "type faults", "masked")
        if not self.edges:
            return ("any value", *extra)
        first = float(np.nextafter(np.float32(self.edges[0]), np.float32(np.inf)))  # the reference's smallest value
        ends = [f"{edge + 0.0:.6g}" for edge in (first, *self.edges[1:])]  # no -0
        if self.kind == "boolean":
            inner = ["false", "true"]
        else:
            first_cell = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
            inner = [first_cell, *(f"above {low} up to {high}" for low, high in pairwise(ends[1:]))]
        return (f"below {ends[0]}", *inner, f"above {ends[-1]}", *extra)

    def cells(self, numbers: npt.NDArray[np.float64]) -> Cells:
        """Cell of each number [n]; NaN is missing. For columns that are no texts."""
        with np.errstate(over="ignore"):  # what is too large for float32 is beyond every contract's range
            seen = numbers.astype(np.float32)
        cell = np.searchsorted(np.asarray(self.edges, dtype=np.float32), seen, side="left").astype(np.int64)
        cell[(numbers < self.minimum) | (numbers > self.maximum)] = self.size + OUTSIDE
        if self.kind == "integer":
            cell[np.isfinite(numbers) & (numbers != np.floor(numbers))] = self.size + TYPE_FAULT
        cell[np.isnan(numbers)] = self.size + MISSING
        return cell

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self) | {"edges": list(self.edges), "categories": list(self.categories)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        lists = {"edges": tuple(document["edges"]), "categories": tuple(document["categories"])}
        return cls(**{**document, **lists})


@dataclass(frozen=True, slots=True)
class Layout:
    """The cells of a version's profiles. `label` is what the model decides (None for a regression), `target` the truth;
    both have the classes as categories, in the contract's order."""

    features: tuple[ColumnLayout, ...]
    score: ColumnLayout
    label: ColumnLayout | None
    target: ColumnLayout

    @property
    def digest(self) -> str:
        """Names the layout: profiles of equal digests may be added and compared."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "schema": SCHEMA,
            "features": [column.to_json() for column in self.features],
            "score": self.score.to_json(),
            "label": None if self.label is None else self.label.to_json(),
            "target": self.target.to_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; raises ValueError for another schema."""
        if document["schema"] != SCHEMA:
            raise ValueError(f"the layout has schema {document['schema']}; this code reads {SCHEMA}")
        label = document["label"]
        return cls(
            features=tuple(ColumnLayout.from_json(column) for column in document["features"]),
            score=ColumnLayout.from_json(document["score"]),
            label=None if label is None else ColumnLayout.from_json(label),
            target=ColumnLayout.from_json(document["target"]),
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """Counts by cell of the layout named `layout`: of each feature in the layout's order, of scores, of labels (empty
    for a regression) and of the target as far as it is known."""

    layout: str
    rows: int
    features: tuple[Counts, ...]
    score: Counts
    label: Counts
    target: Counts

    @classmethod
    def empty(cls, layout: Layout) -> Self:
        """The profile of no rows."""
        return cls(
            layout=layout.digest,
            rows=0,
            features=tuple((0,) * column.size for column in layout.features),
            score=(0,) * layout.score.size,
            label=() if layout.label is None else (0,) * layout.label.size,
            target=(0,) * layout.target.size,
        )

    def __add__(self, other: Self) -> Self:
        """The profile of both sets of rows; raises ValueError when their layouts differ."""
        if self.layout != other.layout:
            raise ValueError(
                f"profiles of different layouts ({self.layout[:8]} and {other.layout[:8]}) cannot be added; "
                f"count the rows again with one layout"
            )
        return type(self)(
            layout=self.layout,
            rows=self.rows + other.rows,
            features=tuple(_sum(mine, theirs) for mine, theirs in zip(self.features, other.features, strict=True)),
            score=_sum(self.score, other.score),
            label=_sum(self.label, other.label),
            target=_sum(self.target, other.target),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; equal profiles give equal documents."""
        return {
            "schema": SCHEMA,
            "layout": self.layout,
            "rows": self.rows,
            "features": [list(counts) for counts in self.features],
            "score": list(self.score),
            "label": list(self.label),
            "target": list(self.target),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; raises ValueError for another schema."""
        if document["schema"] != SCHEMA:
            raise ValueError(f"the profile has schema {document['schema']}; this code reads {SCHEMA}")
        return cls(
            layout=document["layout"],
            rows=document["rows"],
            features=tuple(tuple(counts) for counts in document["features"]),
            score=tuple(document["score"]),
            label=tuple(document["label"]),
            target=tuple(document["target"]),
        )


def reference(
    contract: Contract, table: Table, *, score: Column, label: Column | None = None, target: Column
) -> tuple[Layout, Profile]:
    """The layout that a version's rows are counted in from now on, and the profile of its training rows.

    Arguments as in `count`. Scores and labels must be of rows the model was not fitted on: of those it was, it is too
    sure.
    """
    classes = tuple(_name(value) for value in contract.classes)
    layout = Layout(
        features=tuple(_layout(feature, table[feature.name]) for feature in contract.features),
        score=ColumnLayout("score", "numeric", edges=quantile_edges(score)),
        label=ColumnLayout("label", "categorical", categories=classes) if classes else None,
        target=ColumnLayout("target", "categorical", categories=classes)
        if classes
        else ColumnLayout("target", "numeric", edges=quantile_edges(target)),
    )
    return layout, count(layout, table, score=score, label=label, target=target)


def predicted(contract: Contract, scores: Column) -> tuple[Column, Column | None]:
    """`score` and `label` of `count`, from a model's scores [n, classes]; as `prediction.answers` tells them."""
    if contract.task == "regression":
        return scores[:, 0], None
    if contract.task == "multiclass":
        return scores.max(axis=1), scores.argmax(axis=1)
    score = scores[:, contract.positive]
    decided = score >= np.asarray(contract.threshold, dtype=score.dtype)
    return score, np.where(decided, contract.positive, 1 - contract.positive)


def count(
    layout: Layout,
    table: Table,
    *,
    score: Column | None = None,
    label: Column | None = None,
    target: Column | None = None,
) -> Profile:
    """The profile of columns. What is not given is not counted; scores, labels and target may be of other rows.

    Args:
        table: every feature, as float64 with NaN for missing, or as texts with "" for missing [n].
        score: as answers carry it [m]: a probability, or the value of a regression.
        label: decided classes, as positions in the contract's classes [m].
        target: classes as such positions, or the numbers of a regression [k].

    Raises:
        KeyError: the table lacks a feature.
    """
    return Profile(
        layout=layout.digest,
        rows=len(table),
        features=tuple(_column(column, table[column.name]) for column in layout.features),
        score=_column(layout.score, np.zeros(0) if score is None else score),
        label=() if layout.label is None else _codes(layout.label, label),
        target=_codes(layout.target, target)
        if layout.target.kind == "categorical"
        else _column(layout.target, np.zeros(0) if target is None else target),
    )


def captured(
    layout: Layout,
    records: Sequence[Mapping[str, Any]],
    *,
    dropped: Collection[str] = frozenset(),
    targets: Iterable[Label | None] = (),
) -> Profile:
    """The profile of capture records (see docs/captures.md), whatever their inputs hold.

    Args:
        records: each prediction once; captures may repeat one, with the same id.
        dropped: features that captures leave no trace of; they count as masked, not as missing.
        targets: true labels (or values) that have arrived for some of the records.
    """
    inputs = [record.get("inputs") or {} for record in records]
    return Profile(
        layout=layout.digest,
        rows=len(records),
        features=tuple(
            (*(0,) * (column.size - 1), len(records))
            if column.name in dropped
            else _values(column, [row.get(column.name) for row in inputs])
            for column in layout.features
        ),
        score=_values(layout.score, [record.get("score") for record in records]),
        label=() if layout.label is None else _classes(layout.label, (record.get("label") for record in records)),
        target=_classes(layout.target, targets)
        if layout.target.kind == "categorical"
        else _values(layout.target, list(targets)),
    )


def quantile_edges(numbers: Column, bins: int = BINS) -> tuple[float, ...]:
    """Edges of `bins` parts that hold equally many of the numbers, as far as ties allow; the first lies just below the
    smallest number, so that only smaller ones are below it. With no more distinct numbers than bins, each has its own.
    NaN and infinities are left out; without numbers there are no edges.
    """
    known = np.asarray(numbers, dtype=np.float64)
    known = np.sort(known[np.abs(known) <= _MAX_NUMBER].astype(np.float32))
    if not len(known):
        return ()
    ends = np.unique(known)
    if len(ends) > bins:
        ends = np.unique(known[-(-np.arange(1, bins + 1) * len(known) // bins) - 1])
    return tuple(float(end) for end in (np.nextafter(known[0], np.float32(-np.inf)), *ends))


def _layout(feature: FeatureContract, column: Column) -> ColumnLayout:
    if feature.kind == "categorical":
        found, often = np.unique(column, return_counts=True)
        frequent = [str(text) for text in found[np.argsort(-often, kind="stable")] if text]
        known = list(dict.fromkeys([*(feature.categories or ()), *frequent]))[:MAX_CATEGORIES]
        return ColumnLayout(feature.name, feature.kind, categories=tuple(sorted(known)))
    low = -_MAX_NUMBER if feature.minimum is None else feature.minimum
    high = _MAX_NUMBER if feature.maximum is None else feature.maximum
    numbers = np.asarray([0.0, 1.0]) if feature.kind == "boolean" else column[(column >= low) & (column <= high)]
    return ColumnLayout(feature.name, feature.kind, quantile_edges(numbers), minimum=low, maximum=high)


def _column(layout: ColumnLayout, column: Column) -> Counts:
    if layout.kind == "categorical":
        found, often = np.unique(column, return_counts=True)
        return _texts(layout, zip(found.tolist(), often.tolist(), strict=True))
    cells = layout.cells(np.asarray(column, dtype=np.float64))
    return tuple(np.bincount(cells, minlength=layout.size).tolist())


def _codes(layout: ColumnLayout, codes: Column | None) -> Counts:
    given = np.zeros(0, dtype=np.int64) if codes is None else np.asarray(codes, dtype=np.int64)
    return tuple(np.bincount(given, minlength=layout.size).tolist())


def _values(layout: ColumnLayout, values: list[Any]) -> Counts:
    """Counts of values as JSON gives them. Columns of nothing but what belongs there are counted as a whole."""
    types = set(map(type, values)) - {type(None)}
    if layout.kind == "categorical" and types <= {str}:
        often = Counter(values)
        masked, missing = often.pop(MASK, 0), often.pop(None, 0)
        counts = list(_texts(layout, often.items()))
        counts[MASKED] += masked
        counts[MISSING] += missing
        return tuple(counts)
    if layout.kind in {"numeric", "integer"} and types <= {int, float}:
        with suppress(OverflowError):  # an integer beyond every float
            numbers = np.asarray(values, dtype=np.float64)  # None becomes NaN
            if np.count_nonzero(np.isnan(numbers)) == values.count(None):
                return _column(layout, np.clip(numbers, -_LARGEST, _LARGEST))
    return _mixed(layout, values)


def _mixed(layout: ColumnLayout, values: list[Any]) -> Counts:
    """Counts of values of any types, one by one."""
    masked = sum(1 for value in values if type(value) is str and value == MASK)
    if layout.kind == "categorical":
        texts = Counter(value for value in values if type(value) is str and value != MASK)
        counts = list(_texts(layout, texts.items()))
        counts[MISSING] += sum(1 for value in values if value is None)
        counts[TYPE_FAULT] += len(values) - masked - texts.total() - sum(1 for value in values if value is None)
    else:
        types = {bool} if layout.kind == "boolean" else {int, float}
        numbers = [value for value in values if type(value) in types and value == value]  # noqa: PLR0124  no NaN
        clipped = np.asarray([float(min(max(number, -_LARGEST), _LARGEST)) for number in numbers], dtype=np.float64)
        counts = list(_column(layout, clipped))
        missing = sum(1 for value in values if value is None)
        counts[MISSING] += missing
        counts[TYPE_FAULT] += len(values) - masked - missing - len(numbers)
    counts[MASKED] += masked
    return tuple(counts)


def _classes(layout: ColumnLayout, labels: Iterable[Any]) -> Counts:
    return _values(layout, [None if label is None else _name(label) for label in labels])


def _texts(layout: ColumnLayout, often: Iterable[tuple[str, int]]) -> Counts:
    place = {category: index for index, category in enumerate(layout.categories)} | {"": layout.size + MISSING}
    counts = [0] * layout.size
    for text, number in often:
        counts[place.get(text, OUTSIDE)] += number
    return tuple(counts)


def _sum(mine: Counts, theirs: Counts) -> Counts:
    return tuple(a + b for a, b in zip(mine, theirs, strict=True))


def _name(label: Label) -> str:
    """A class as a category; as the keys of `probabilities` in an answer."""
    return str(label).lower() if isinstance(label, bool) else str(label)
