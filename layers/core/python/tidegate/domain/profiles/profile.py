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
import marshal
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from types import NoneType
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tidegate.domain.profiles.units import known_values, strange
from tidegate.domain.serving.capture import MASK
from tidegate.domain.serving.contract import MAX_NUMBER, Contract, FeatureContract, Kind, Label
from tidegate.kernel.documents import Document, StoredForm
from tidegate.kernel.expressions.times import seconds_of
from tidegate.kernel.table import Column, Table
from tidegate.kernel.values import class_name, class_of

BINS = 10  # between the reference's smallest and largest value; what PSI thresholds are customarily set for
MAX_CATEGORIES = 200

# The last cells of every column, as places from the end; those before them are the values.
STRANGE, OUTSIDE, MISSING, TYPE_FAULT, MASKED = range(-5, 0)  # STRANGE only where values are known
_EXTRA = 4
_LARGEST = float(np.finfo(np.float64).max)
_BLOCK_ROWS = 1 << 14  # numbers counted at a time: they stay in the processor's cache
_PACKED_CHARACTERS = 8  # of a text that is counted as one whole number
_LATIN_1 = 256
_WAITING_ROWS = 1 << 12
_NUMERIC_TYPES = {int, float, NoneType}
_MARSHALLED = np.dtype([("type", "u1"), ("number", "<f8")])
_MARSHAL_HEAD = 5  # bytes before the first value of a list or of a tuple

Cells = npt.NDArray[np.int64]
Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The cells of one column.

    Of a number with edges e0 < e1 < ... en: below the reference (up to e0), (e0, e1], ... (en-1, en], above it. Edges
    are float32, and numbers are compared as float32, which is what the model sees of them. Of a text: one cell for each
    category. More cells follow. `STRANGE`, of numbers whose `values` are known, holds what lies between them (see
    `units`). `OUTSIDE` holds numbers beyond the contract's range, or categories that are not listed; then `MISSING`,
    `TYPE_FAULT` (a text for a number, a fraction for an integer ...) and `MASKED`. Of a time there is one cell for all
    values, since the times of any later period are others.
    """

    name: str
    kind: Kind
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    minimum: float = -MAX_NUMBER
    maximum: float = MAX_NUMBER

    @property
    def size(self) -> int:
        """Number of cells."""
        inner = len(self.categories) if self.kind == "categorical" else len(self.edges) + 1
        return inner + bool(self.values) + _EXTRA

    @property
    def cell_names(self) -> tuple[str, ...]:
        """The cells, for people."""
        if self.kind == "categorical":
            return (*self.categories, "unseen categories", "missing", "type faults", "masked")
        between = ("between known values",) if self.values else ()
        extra = (*between, "out of the allowed range", "missing", "type faults", "masked")
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
        if self.values:
            cell[strange(numbers, self.values)] = self.size + STRANGE
        cell[(numbers < self.minimum) | (numbers > self.maximum)] = self.size + OUTSIDE
        if self.kind == "integer":
            cell[np.isfinite(numbers) & (numbers != np.floor(numbers))] = self.size + TYPE_FAULT
        cell[np.isnan(numbers)] = self.size + MISSING
        return cell

    def counts(self, numbers: npt.NDArray[np.float64]) -> Counts:
        """Numbers [n] by cell, as `cells` has them; for each edge the numbers above it are counted."""
        counts = np.zeros(self.size, dtype=np.int64)
        edges = np.asarray(self.edges, dtype=np.float32)
        for start in range(0, len(numbers), _BLOCK_ROWS):
            block = numbers[start : start + _BLOCK_ROWS]
            plain = (block >= self.minimum) & (block <= self.maximum)
            if self.kind == "integer":
                plain &= block == np.floor(block)
            if self.values:
                plain &= ~strange(block, self.values)
            if not plain.all():
                counts += np.bincount(self.cells(block[~plain]), minlength=self.size)
                block = block[plain]
            seen = block.astype(np.float32)
            above = np.array([len(seen), *(int(np.count_nonzero(seen > edge)) for edge in edges), 0])
            counts[: len(above) - 1] -= np.diff(above)
        return tuple(counts.tolist())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self) | {
            "edges": list(self.edges),
            "categories": list(self.categories),
            "values": list(self.values),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        lists = {name: tuple(document[name]) for name in ("edges", "categories", "values")}
        return cls(**{**document, **lists})


def _without_values(layout: Document) -> Document:
    """Schema 2 has the known values of a number, of which 1 knew none. The counts of a profile stay as they are."""

    def column(found: Document | None) -> Document | None:
        return None if found is None else {"values": [], **found}

    features = [column(each) for each in layout["features"]]
    return {**layout, "features": features, **{name: column(layout[name]) for name in ("score", "label", "target")}}


@dataclass(frozen=True, slots=True)
class Layout:
    """The cells of a version's profiles. `label` is what the model decides (None for a regression), `target` the truth;
    both have the classes as categories, in the contract's order."""

    FORM: ClassVar = StoredForm("layout of profiles", upgrades=(_without_values,), renew="train the model again")

    features: tuple[ColumnLayout, ...]
    score: ColumnLayout
    label: ColumnLayout | None
    target: ColumnLayout

    @property
    def digest(self) -> str:
        """Names the layout: profiles of equal digests may be added and compared. It is stored in many places, so it
        does not move with the number of the form: it is that of the second one."""
        return hashlib.sha256(json.dumps({**self.to_json(), "schema": 2}, sort_keys=True).encode()).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            **self.FORM.mark(),
            "features": [column.to_json() for column in self.features],
            "score": self.score.to_json(),
            "label": None if self.label is None else self.label.to_json(),
            "target": self.target.to_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; raises NewerDocumentError."""
        document = cls.FORM.current(document)
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

    FORM: ClassVar = StoredForm("profile", upgrades=(dict,), renew="train the model again")

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
            **self.FORM.mark(),
            "layout": self.layout,
            "rows": self.rows,
            "features": [list(counts) for counts in self.features],
            "score": list(self.score),
            "label": list(self.label),
            "target": list(self.target),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; raises NewerDocumentError."""
        document = cls.FORM.current(document)
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
    classes = tuple(class_name(value) for value in contract.classes)
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
    """`score` and `label` of `count`, from a model's scores [n, classes]; as `prediction.answers` gives them."""
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
    captures = Captures(layout, dropped=dropped)
    inputs = [record.get("inputs") or {} for record in records]
    captures.add(
        [[each.get(name) for each in inputs] for name in captures.names],
        [record.get("score") for record in records],
        [record.get("label") for record in records],
        targets,
    )
    return captures.profile()


class Captures:
    """Counts capture records as they come, column by column. `names` are the features that are counted.

    Few rows at a time stay in the processor's cache; what costs more a call than a row waits for more of them.
    """

    def __init__(self, layout: Layout, *, dropped: Collection[str] = frozenset()) -> None:
        """See `captured`."""
        kept = [column for column in layout.features if column.name not in dropped]
        self._layout = layout
        self._digest = layout.digest
        self._numeric = [column for column in kept if column.kind in {"numeric", "integer"}]
        self._others = [column for column in kept if column.kind in {"boolean", "categorical", "time"}]
        self.names = [column.name for column in (*self._numeric, *self._others)]
        self._rows = 0
        self._counts = {column.name: np.zeros(column.size, dtype=np.int64) for column in kept}
        self._score = np.zeros(layout.score.size, dtype=np.int64)
        self._label = np.zeros(0 if layout.label is None else layout.label.size, dtype=np.int64)
        self._target = np.zeros(layout.target.size, dtype=np.int64)
        self._waiting = np.empty((len(self._numeric) + 1, _WAITING_ROWS))
        self._held = 0  # columns of `_waiting`
        self._uncounted = 0  # rows
        self._texts: dict[str, Counter[str | None]] = {column.name: Counter() for column in self._others}

    def add(
        self,
        inputs: Sequence[Sequence[Any]],
        scores: Sequence[Any],
        labels: Sequence[Any],
        targets: Iterable[Label | None] = (),
    ) -> None:
        """Count the inputs, by feature in the order of `names`, and the other fields of as many records; see
        `captured`."""
        layout, rows = self._layout, len(scores)
        self._rows += rows
        self._uncounted += rows
        if self._uncounted > _WAITING_ROWS:
            self._count_waiting()
            self._uncounted = rows
        self._add_numbers([*inputs[: len(self._numeric)], scores], rows)
        for column, values in zip(self._others, inputs[len(self._numeric) :], strict=True):
            often = _often(values) if column.kind == "categorical" else None
            if often is None:
                self._counts[column.name] += _values(column, values)
            else:
                self._texts[column.name].update(often)
        if layout.label is not None:
            self._label += _classes(layout.label, labels)
        known = list(targets)
        if known:
            counted = _classes if layout.target.kind == "categorical" else _values
            self._target += counted(layout.target, known)

    def profile(self) -> Profile:
        """Of all records so far."""
        self._count_waiting()
        features = self._layout.features
        return Profile(
            layout=self._digest,
            rows=self._rows,
            features=tuple(
                tuple(self._counts[column.name].tolist())
                if column.name in self._counts
                else (*(0,) * (column.size - 1), self._rows)
                for column in features
            ),
            score=tuple(self._score.tolist()),
            label=tuple(self._label.tolist()),
            target=tuple(self._target.tolist()),
        )

    def _add_numbers(self, numeric: list[Sequence[Any]], rows: int) -> None:
        """Columns of nothing but numbers and nulls wait, all or none of them; the last one is of scores."""
        numbers = _floats(numeric, rows)
        if numbers is None:
            each = [_numbers(values, _NUMERIC_TYPES) for values in numeric]
            known = [column for column in each if column is not None]
            numbers = np.stack(known) if len(known) == len(each) else None
        if numbers is None or rows > _WAITING_ROWS:
            for (column, counts), values in zip(self._counted_numbers(), numeric, strict=True):
                np.add(counts, _values(column, values), out=counts)
        else:
            self._waiting[:, self._held : self._held + rows] = numbers
            self._held += rows

    def _counted_numbers(self) -> list[tuple[ColumnLayout, Cells]]:
        """Layout and counts of the columns of numbers, scores last."""
        features = [(column, self._counts[column.name]) for column in self._numeric]
        return [*features, (self._layout.score, self._score)]

    def _count_waiting(self) -> None:
        for (column, counts), numbers in zip(self._counted_numbers(), self._waiting[:, : self._held], strict=True):
            np.add(counts, column.counts(numbers), out=counts)
        self._held = 0
        for column in self._others:
            self._counts[column.name] += _categories(column, self._texts[column.name])
            self._texts[column.name] = Counter()


def quantile_edges(numbers: Column, bins: int = BINS) -> tuple[float, ...]:
    """Edges of `bins` parts that hold equally many of the numbers, as far as ties allow; the first lies just below the
    smallest number, so that only smaller ones are below it. With no more distinct numbers than bins, each has its own.
    NaN and infinities are left out; without numbers there are no edges.
    """
    known = np.asarray(numbers, dtype=np.float64)
    known = np.sort(known[np.abs(known) <= MAX_NUMBER].astype(np.float32))
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
    if feature.kind == "time":
        return ColumnLayout(feature.name, feature.kind)
    low = -MAX_NUMBER if feature.minimum is None else feature.minimum
    high = MAX_NUMBER if feature.maximum is None else feature.maximum
    numbers = np.asarray([0.0, 1.0]) if feature.kind == "boolean" else column[(column >= low) & (column <= high)]
    values = known_values(numbers) if feature.kind == "numeric" else ()
    return ColumnLayout(feature.name, feature.kind, quantile_edges(numbers), (), values, low, high)


def _column(layout: ColumnLayout, column: Column) -> Counts:
    if layout.kind == "categorical":
        return _texts(layout, _frequencies(column))
    return layout.counts(np.asarray(column, dtype=np.float64))


def _frequencies(column: Column) -> Iterable[tuple[str, int]]:
    """How often each text comes. Short ones are packed into a whole number each, of which numpy sorts far more a
    second than of texts."""
    width = column.dtype.itemsize // np.dtype("U1").itemsize
    if column.dtype.kind == "U" and 0 < width <= _PACKED_CHARACTERS:
        characters = np.ascontiguousarray(column).view(np.uint32).reshape(-1, width)
        if characters.max(initial=0) < _LATIN_1:
            packed = np.zeros((len(column), _PACKED_CHARACTERS), dtype=np.uint8)
            packed[:, :width] = characters
            found, often = np.unique(packed.view(np.uint64).reshape(-1), return_counts=True)
            texts = [text.decode("latin-1") for text in found.view(f"S{_PACKED_CHARACTERS}").tolist()]
            return zip(texts, often.tolist(), strict=True)
    found, often = np.unique(column, return_counts=True)
    return zip(found.tolist(), often.tolist(), strict=True)


def _codes(layout: ColumnLayout, codes: Column | None) -> Counts:
    given = np.zeros(0, dtype=np.int64) if codes is None else np.asarray(codes, dtype=np.int64)
    return tuple(np.bincount(given, minlength=layout.size).tolist())


def _values(layout: ColumnLayout, values: Sequence[Any]) -> Counts:
    """Counts of values as JSON gives them. Columns of nothing but what belongs there are counted as a whole."""
    if layout.kind == "categorical":
        often = _often(values)
        return _mixed(layout, values) if often is None else _categories(layout, often)
    if layout.kind == "time":
        return _times(layout, values)
    numbers = _numbers(values, {bool, NoneType} if layout.kind == "boolean" else _NUMERIC_TYPES)
    return _mixed(layout, values) if numbers is None else _column(layout, numbers)


def _numbers(values: Sequence[Any], types: set[type]) -> npt.NDArray[np.float64] | None:
    """Values of these types as numbers, None as NaN; None when there are others."""
    found = set(map(type, values))
    if found <= types:
        with suppress(OverflowError):  # an integer beyond every float
            numbers = np.fromiter(values, dtype=np.float64, count=len(values))
            if np.count_nonzero(np.isnan(numbers)) == (values.count(None) if NoneType in found else 0):
                return numbers
    return None


def _floats(numeric: Sequence[Sequence[Any]], rows: int) -> npt.NDArray[np.float64] | None:
    """Columns of as many rows as an array [columns, rows] when all values are floats, and none is NaN.

    `marshal` writes a float as "g" and eight bytes (docs.python.org/3/library/marshal.html, version 2), so types and
    numbers are read in one go, several times as fast as one by one. Whatever it writes of others is not that.
    """
    try:
        data = marshal.dumps(list(numeric), 2)
    except ValueError:  # nested too deeply
        return None
    column = np.dtype([("head", "V5"), ("values", _MARSHALLED, (rows,))])
    if len(data) != _MARSHAL_HEAD + len(numeric) * column.itemsize:
        return None
    found = np.frombuffer(data, dtype=column, offset=_MARSHAL_HEAD)["values"]
    numbers = found["number"]
    return numbers if (found["type"] == ord("g")).all() and not np.isnan(numbers).any() else None


def _often(values: Sequence[Any]) -> Counter[str | None] | None:
    """How often each text comes; None when there is anything but texts."""
    try:
        often = Counter(values)
    except TypeError:  # a list or an object cannot be counted
        return None
    return often if set(map(type, often)) <= {str, NoneType} else None


def _mixed(layout: ColumnLayout, values: Sequence[Any]) -> Counts:
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


def _times(layout: ColumnLayout, values: Sequence[Any]) -> Counts:
    """Counts of what should be times as JSON gives them."""
    cells = Counter(_time_cell(value) for value in values)
    return tuple(cells[place] for place in (0, *range(1 - layout.size, 0)))


def _time_cell(value: Any) -> int:
    if value is None:
        return MISSING
    if value == MASK:
        return MASKED
    return 0 if type(value) is str and seconds_of(value) is not None else TYPE_FAULT


def _classes(layout: ColumnLayout, labels: Sequence[Any]) -> Counts:
    types = set(map(type, labels)) - {NoneType}
    if len(types) > 1 or types & {list, dict}:  # 1 and true are equal, but different classes
        return _values(layout, [None if label is None else class_of(label, layout.categories) for label in labels])
    often: Counter[str | None] = Counter()
    for label, number in Counter(labels).items():
        often[None if label is None else class_of(label, layout.categories)] += number
    return _categories(layout, often)


def _categories(layout: ColumnLayout, often: Counter[str | None]) -> Counts:
    masked, missing = often.pop(MASK, 0), often.pop(None, 0)
    counts = list(_texts(layout, ((text or "", number) for text, number in often.items())))
    counts[MASKED] += masked
    counts[MISSING] += missing
    return tuple(counts)


def _texts(layout: ColumnLayout, often: Iterable[tuple[str, int]]) -> Counts:
    place = {category: index for index, category in enumerate(layout.categories)} | {"": layout.size + MISSING}
    counts = [0] * layout.size
    for text, number in often:
        counts[place.get(text, OUTSIDE)] += number
    return tuple(counts)


def _sum(mine: Counts, theirs: Counts) -> Counts:
    return tuple(a + b for a, b in zip(mine, theirs, strict=True))
