"""The input guard: how far an input lies from the rows that a version was trained on.

    learned = fit(contract, contract.inputs(training), share=0.001, answer="model")   # at training
    detecting = Detector.of(contract)                                                  # once for each loaded version
    detecting.unusual(inputs)                                                          # rows to mark

The score of a row is the sum over its features of -log density, from one histogram each (HBOS: Goldstein and Dengel
2012, "Histogram-based outlier score", KI-2012 poster track 59-63). It is a product of marginals: it sees a value that
training hardly had, and several that are rare together by each being rare, but not two common values that never came
together.

The densities. A number with up to `MOST_CELLS` values has a cell for each; another one has cells of one width from its
1 % to its 99 % point, and two on each side of that, as wide as the tails are. Of a cell counts the share of rows by its
width. Beyond the training range a value has the density of an empty cell at its end, and from one step further on (the
usual gap between two values: hour 24 after 23) it falls off like a normal's whose extreme of as many rows lies where
this column's did: by log(rows) x (2u + u^2), u being the overshoot as a share of the end's distance from the median (or
of the standard deviation, where that is larger). So heavy tails are given room, and what lies twice as far out as
anything seen is flagged in nearly any company. A category counts by its share. A missing value is a cell of its own,
and half a row is added to every cell, so that nothing is impossible.

The threshold is an order statistic, as in split conformal prediction (Vovk, Gammerman and Shafer 2005): the
ceil((n + 1) (1 - share))-th smallest of the n training rows' scores. Each row is scored by the histograms of the other
rows (its own count is taken off its cells), since those that hold it find it more usual than they will find a new one.
A row from the same source is then flagged with a chance of about `share`, of at most it where scores are tied, since a
score equal to the threshold is not flagged. Fewer than 1 / share - 1 rows do not reach so far: then their largest score
is the threshold, and the chance about 1 / (n + 1).

Time features are passed over: new ones are always later than training. So are the values of columns that leave their
own range as time goes by (`leaving`): a month, a counter, a price that rises, names of campaigns. Training cannot know
their next values, so these say nothing of how odd a request is. On the inference path: numpy only.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import pairwise
from operator import add
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tidegate.domain.serving.contract import Contract, Guard, GuardAnswer, Inputs, NumberDensity, TextDensity

MOST_CELLS = 24  # of a number
_CENTRE = 18  # cells between the 1 % and the 99 % point
_TAILS = (0.001, 0.999)
_LARGEST = np.finfo(np.float32).max
_PARTS = 10  # of training, by time
_LEAVING = 0.01  # share of the later half
_LEAST_LEAVING = 10  # rows: chance alone brings about one and a half
_BLOCK_ROWS = 4096  # scored at a time, where there may be more than a request has

Floats = npt.NDArray[np.float64]


def leaving(contract: Contract, inputs: Inputs, order: npt.NDArray[Any] | None = None) -> tuple[str, ...]:
    """Columns whose values leave by themselves what came before: beyond the range of all earlier rows, or a category
    that none of them had, in more than a hundredth of the later half. The rows are cut into ten parts by time, and each
    part of the later half is held against all parts before it.

    Args:
        inputs: of the training rows [n].
        order: moments or numbers by which the rows are in order [n]; None when they are as they come.
    """
    rows = len(inputs.numeric)
    by_time = np.arange(rows) if order is None else np.argsort(order, kind="stable")
    cuts = [rows * part // _PARTS for part in range(_PARTS // 2, _PARTS + 1)]
    least = max(_LEAVING * (rows - cuts[0]), _LEAST_LEAVING)

    def new(column: npt.NDArray[Any], beyond: Callable[[npt.NDArray[Any], npt.NDArray[Any]], int]) -> int:
        ordered = column[by_time]
        return sum(beyond(ordered[start:end], ordered[:start]) for start, end in pairwise(cuts))

    numbers = [
        each.name
        for place, each in enumerate(contract.numeric)
        if each.kind != "boolean" and new(inputs.numeric[:, place], _beyond) > least
    ]
    texts = [
        each.name
        for place, each in enumerate(contract.categorical)
        if new(inputs.categorical[:, place].astype(np.str_), _unknown) > least
    ]
    return (*numbers, *texts)


def _beyond(now: npt.NDArray[Any], before: npt.NDArray[Any]) -> int:
    seen = before[~np.isnan(before)]
    return int(((now < seen.min()) | (now > seen.max())).sum()) if len(seen) else 0


def _unknown(now: npt.NDArray[Any], before: npt.NDArray[Any]) -> int:
    return int((~np.isin(now, before) & (now != "")).sum())


def fit(
    contract: Contract, inputs: Inputs, *, share: float, answer: GuardAnswer, left_out: Collection[str] = ()
) -> Guard:
    """The guard of training rows; the same rows give the same guard, in any order. Of the columns that are `left_out`
    it only knows how often a value is missing."""
    rows = len(inputs.numeric)
    total = np.zeros(rows)
    numbers, texts = [], []
    for place, feature in enumerate(contract.numeric):
        column = inputs.numeric[:, place]
        if feature.name in left_out:
            number, others = _only_presence(feature.name, column)
        else:
            number, others = _number(feature.name, column, boolean=feature.kind == "boolean")
        numbers.append(number)
        total += others
    for place, feature in enumerate(contract.categorical):
        text, others = _text(feature.name, inputs.categorical[:, place], feature.categories or ())
        if feature.name in left_out:
            absent = inputs.categorical[:, place] == ""
            known, others = _presence(absent)
            text = TextDensity(feature.name, tuple(known for _ in text.scores), known, text.missing)
        texts.append(text)
        total += others
    rank = min(math.ceil((rows + 1) * (1 - share) - 1e-9), rows)
    threshold = float(np.partition(total, rank - 1)[rank - 1])
    return Guard(share, answer, math.ceil(threshold * 1e4) / 1e4, rows, tuple(numbers), tuple(texts))


def _only_presence(name: str, column: npt.NDArray[np.float32]) -> tuple[NumberDensity, Floats]:
    """A density of any value, and each row's score by the other rows."""
    absent = np.isnan(column)
    known, others = _presence(absent)
    return NumberDensity(name, (), (known,), _score(int(absent.sum()), len(column)), (0.0, 0.0), (1.0, 1.0)), others


def _presence(absent: npt.NDArray[np.bool_]) -> tuple[float, Floats]:
    """The score of having a value, and each row's score by the other rows."""
    rows, missing = len(absent), int(absent.sum())
    there = math.log(rows) - math.log(max(rows - missing, 1) - 0.5)
    return _score(rows - missing, rows), np.where(absent, math.log(rows) - math.log(max(missing, 1) - 0.5), there)


def _number(name: str, column: npt.NDArray[np.float32], *, boolean: bool) -> tuple[NumberDensity, Floats]:
    """The density, and each row's score by the other rows."""
    rows, absent = len(column), np.isnan(column)
    seen = np.sort(column[~absent]).astype(np.float64)
    edges, widths = _cells(np.array([0.0, 1.0]) if boolean else seen)
    cell = np.searchsorted(edges.astype(np.float32), column[~absent], side="left")
    counts = np.bincount(cell, minlength=len(edges) + 1)
    # What lies outside is as wide as the cell next to it.
    width = np.concatenate([widths[:1], widths, widths[-1:]]) / np.median(widths) if len(widths) else np.ones(1)
    missing = int(absent.sum())
    left_out = np.empty(rows)
    left_out[~absent] = (np.log(rows * width) - np.log(np.maximum(counts, 1) - 0.5))[cell]
    left_out[absent] = math.log(rows) - math.log(max(missing, 1) - 0.5)
    scores = np.log((rows + 1) * width) - np.log(counts + 0.5)
    ends, reach = _tails(seen) if len(seen) else ((0.0, 0.0), (1.0, 1.0))
    return NumberDensity(name, _shortest(edges), _rounded(scores), _score(missing, rows), ends, reach), left_out


def _cells(seen: Floats) -> tuple[Floats, Floats]:
    """Edges [m] around sorted values, and the widths [m - 1] of the cells."""
    values = np.unique(seen)
    if not len(values):
        return values, values
    low, high = values[0], values[-1]
    first = np.nextafter(np.float32(low), -_LARGEST).astype(np.float64)  # so that the lowest is within
    if len(values) <= MOST_CELLS:
        edges = np.array([first, *(values[:-1] + values[1:]) / 2, high])
        edges = np.unique(edges.astype(np.float32)).astype(np.float64)
        return edges, np.ones(len(edges) - 1)
    start, end = np.quantile(seen, [0.01, 0.99])
    inner = np.concatenate([np.linspace(start, end, _CENTRE + 1), np.quantile(seen, _TAILS)])
    # Between two values, so that cells of values on a grid (whole numbers, hundredths) are as wide as what they hold.
    above = np.clip(np.searchsorted(values, inner), 1, len(values) - 1)
    width = (end - start) / _CENTRE or (high - low) / MOST_CELLS
    inner = np.round((values[above - 1] + values[above]) / 2, 2 - math.floor(math.log10(width)))
    inner = np.unique(inner.astype(np.float32)).astype(np.float64)
    inner = inner[(inner > low) & (inner < high)]
    half = float(np.median(np.diff(values))) / 2
    return np.array([first, *inner, high]), np.diff([low - half, *inner, high + half])


def _tails(seen: Floats) -> tuple[tuple[float, float], tuple[float, float]]:
    """`ends` and `reach` of sorted values."""
    low, middle, high = float(seen[0]), float(np.median(seen)), float(seen[-1])
    if low == high:
        step, spread = 0.0, abs(low) or 1.0
    else:
        step, spread = float(np.median(np.diff(np.unique(seen)))), float(seen.std())
    beyond = (low - step, high + step, max(middle - low, spread), max(high - middle, spread))
    start, end, left, right = (float(f"{each:.9g}") for each in beyond)
    return (start, end), (left, right)


def _text(name: str, column: npt.NDArray[Any], categories: Sequence[str]) -> tuple[TextDensity, Floats]:
    """The density, and each row's score by the other rows."""
    rows, places = len(column), {text: place for place, text in enumerate((*categories, ""))}
    unseen = len(places)
    cell = np.fromiter((places.get(text, unseen) for text in column), dtype=np.int64, count=rows)
    counts = np.bincount(cell, minlength=unseen + 1)
    left_out = (math.log(rows) - np.log(np.maximum(counts, 1) - 0.5))[cell]
    *known, missing, others = (_score(int(count), rows) for count in counts)
    return TextDensity(name, tuple(known), others, missing), left_out


def _score(count: int, rows: int) -> float:
    return round(math.log(rows + 1) - math.log(count + 0.5), 4)


def _rounded(scores: Floats) -> tuple[float, ...]:
    return tuple(round(score, 4) for score in scores.tolist())


def _shortest(edges: Floats) -> tuple[float, ...]:
    """The shortest decimals that name them as float32."""
    return tuple(edges.astype(np.float32).astype(np.str_).astype(np.float64).tolist())


class _Scores(dict[str, float]):
    """Scores by text; of any other text `unseen`."""

    def __init__(self, categories: Sequence[str], density: TextDensity) -> None:
        super().__init__(zip(categories, density.scores, strict=True))
        self[""] = density.missing
        self.unseen = density.unseen

    def __missing__(self, text: str) -> float:
        return self.unseen


@dataclass(frozen=True, slots=True)
class Detector:
    """A guard made ready for scoring: all numbers at once, on arrays that are padded to the most edges there are.

    A number's cell is found by counting the edges [b, 1, k] that it does not exceed: all of them below the range, the
    padding (infinite) alone above it, none for NaN, which compares with nothing. `table` [k x (b + 1)] has the scores
    by that count. In `marked` they are infinite outside the range: a request is looked up there first, and only a row
    that gets beyond the threshold is scored in full.
    """

    answer: GuardAnswer
    threshold: float
    steepness: float
    edges: npt.NDArray[np.float32]
    low: Floats
    high: Floats
    reach: Floats
    table: Floats
    marked: Floats
    offsets: npt.NDArray[np.int64]
    texts: tuple[_Scores, ...]

    @classmethod
    def of(cls, contract: Contract) -> Self | None:
        """None when the contract has no guard."""
        guard = contract.guard
        if guard is None:
            return None
        numbers, width = guard.numbers, len(guard.numbers)
        deep = 1 + max((len(each.edges) for each in numbers), default=0)
        edges = np.full((deep, 1, width), np.inf, dtype=np.float32)
        ends, reach = np.tile([[-np.inf], [np.inf]], width), np.ones((2, width))
        table = np.zeros((width, deep + 1))
        marked = table.copy()
        for place, each in enumerate(numbers):
            count = len(each.edges)
            edges[:count, 0, place] = each.edges
            table[place, 0] = each.missing
            table[place, deep - count :] = each.scores[::-1]
            marked[place] = table[place]
            if count:
                marked[place, [deep - count, deep]] = np.inf
                ends[:, place], reach[:, place] = each.ends, each.reach
        texts = []
        for text, feature in zip(guard.texts, contract.categorical, strict=True):
            texts.append(_Scores(feature.categories or (), text))
        return cls(
            answer=guard.answer,
            threshold=guard.threshold,
            steepness=math.log(guard.rows),
            edges=edges,
            low=ends[0],
            high=ends[1],
            reach=reach,
            table=table.ravel(),
            marked=marked.ravel(),
            offsets=np.arange(width) * (deep + 1),
            texts=tuple(texts),
        )

    def unusual(self, inputs: Inputs) -> list[int]:
        """Rows whose score is above the threshold, rising."""
        found = np.add.reduce(self.marked.take(self._cells(inputs.numeric)), axis=1)
        if self.texts:
            texts = self._texts(inputs.categorical)
            found += np.fromiter(reduce(partial(map, add), texts), np.float64, len(found))
        rows = (found > self.threshold).nonzero()[0]
        if not len(rows):
            return []
        scores = self._parts(inputs.numeric[rows], inputs.categorical[rows]).sum(axis=1)
        unusual: list[int] = rows[scores > self.threshold].tolist()
        return unusual

    def unusual_of(self, numeric: npt.NDArray[np.float32], texts: Sequence[Floats]) -> npt.NDArray[np.int64]:
        """`unusual` of rows whose texts are scored already, each column once: `text_scores` by row."""
        found = np.add.reduce(self.marked.take(self._cells(numeric)), axis=1)
        if texts:
            found += reduce(add, texts)
        rows: npt.NDArray[np.int64] = (found > self.threshold).nonzero()[0]
        if not len(rows):
            return rows
        parts = np.column_stack([self._numbers(numeric[rows]), *(column[rows] for column in texts)])
        above: npt.NDArray[np.int64] = rows[parts.sum(axis=1) > self.threshold]
        return above

    def text_scores(self, place: int, texts: Iterable[str]) -> Floats:
        """Scores of values of the text column at this place."""
        scores = self.texts[place]
        return np.array([scores[text] for text in texts])

    def scores(self, inputs: Inputs) -> Floats:
        """Scores [n] of any number of inputs."""
        starts = range(0, max(1, len(inputs.numeric)), _BLOCK_ROWS)
        blocks = [slice(start, start + _BLOCK_ROWS) for start in starts]
        found = [self._parts(inputs.numeric[block], inputs.categorical[block]).sum(axis=1) for block in blocks]
        return np.concatenate(found)

    def parts(self, inputs: Inputs) -> Floats:
        """What each feature adds to the score [n, features]: of the numbers, then of the texts."""
        return self._parts(inputs.numeric, inputs.categorical)

    def _parts(self, numeric: npt.NDArray[np.float32], categorical: npt.NDArray[Any]) -> Floats:
        return np.column_stack([self._numbers(numeric), *map(list, self._texts(categorical))])

    def _numbers(self, numeric: npt.NDArray[np.float32]) -> Floats:
        below, above = (self.low - numeric) / self.reach[0], (numeric - self.high) / self.reach[1]
        over = np.fmax(np.fmax(below, above), 0.0)  # fmax: NaN is missing, and not outside
        scores: Floats = self.table.take(self._cells(numeric)) + self.steepness * over * (over + 2)
        return scores

    def _cells(self, numeric: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Places in the tables."""
        kept = (numeric <= self.edges).view(np.uint8)
        cells: npt.NDArray[np.int64] = np.add.reduce(kept, axis=0, dtype=np.uint8) + self.offsets
        return cells

    def _texts(self, categorical: npt.NDArray[Any]) -> Iterator[Iterator[float]]:
        """Scores by row, column by column."""
        columns = categorical.T.tolist()
        return (map(scores.__getitem__, column) for scores, column in zip(self.texts, columns, strict=True))
