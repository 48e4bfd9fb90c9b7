"""From captured predictions whose outcome is known by now to new rows of the dataset that their model is trained on.

    labelled = LabelledRows(recipe)
    for record in records: labelled.take(record, outcome)
    labelled.rows, labelled.cells, labelled.sentence()

A capture knows the model's features and the moment; the outcome is the target. All other columns of the dataset stay
empty. Who answered does not matter, since the label counts, not the answer: the fallback's predictions are rows too.
What would only be refused by the checks of training is left out here and counted by reason, so that one bad label
cannot keep a model from being trained.
"""

import math
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from tidegate.domain.data.dataset import GUESSED, ColumnType, Dataset, DatasetVersion, Exclusion, Reading
from tidegate.domain.serving.capture import MASK, CapturePolicy
from tidegate.domain.serving.contract import Contract
from tidegate.domain.serving.prediction import validate
from tidegate.kernel import english
from tidegate.kernel.errors import RequestInvalidError
from tidegate.kernel.expressions.times import seconds_of
from tidegate.kernel.values import class_name, class_of, number

# What fits into the memory of the functions that write and read the rows: as float64, 320 MB.
MAX_ROWS = 2_000_000
MAX_CELLS = 40_000_000
SENT_WITHIN = timedelta(days=7)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS = 1_000_000
_NO_MOMENT = -(2**63)  # as numpy has it
_TRUTH = {"true": 1.0, "false": 0.0}


class LeftOut(StrEnum):
    """Why a labelled prediction became no row."""

    EARLIER = "not later than the dataset"
    EXCLUDED = "in excluded periods"
    MASKED = "with masked features"
    CONTRACT = "against the features' rules"
    OUTCOME = "with an outcome that the target does not have"
    TIMELESS = "without the time that rows are split by"
    FAR = "with a sent time far from the prediction's"
    UNREADABLE = "at which objects could not be read on"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a capture becomes a row: the features' rules (`contract` needs no classes), the target, the columns that hold
    the moment, the type of every column, and which moments count: those later than `after` and not in `excluded`
    ([start, end) each). Where a column of the moment is a feature, it holds what was sent, which counts too and may lie
    `sent_within` of the prediction at most."""

    contract: Contract
    target: str
    times: frozenset[str]
    types: Mapping[str, ColumnType]
    after: datetime
    excluded: tuple[tuple[datetime, datetime], ...] = ()
    sent_within: timedelta = SENT_WITHIN
    reading: Reading = GUESSED

    @property
    def most_rows(self) -> int:
        """How many rows are taken at most."""
        return min(MAX_ROWS, MAX_CELLS // (len(self.contract.features) + len(self.times) + 1))

    @classmethod
    def of(
        cls,
        contract: Contract,
        *,
        target: str,
        time: str | None,
        dataset: Dataset,
        base: DatasetVersion,
        exclusions: Iterable[Exclusion],
        sent_within: timedelta = SENT_WITHIN,
    ) -> "Recipe":
        """For rows that are added to `base`: those later than its last one (than its registration, when its rows have
        no time), since what happened before may be in it already. `time` is the model's time column."""
        reading, types = base.reading, dict(base.types)
        if reading.rules > 1:  # a text that was captured stays one beside cells that could all be numbers
            texts = {feature.name for feature in contract.categorical}
            types |= dict.fromkeys(texts & types.keys(), ColumnType.TEXT)
            reading = replace(reading, text=tuple(sorted({*reading.text, *texts})))
        return cls(
            contract=contract,
            target=target,
            times=frozenset(name for name in (time, dataset.time) if name is not None),
            types=types,
            reading=reading,
            after=base.time_to or base.added_at,
            excluded=tuple((each.start, each.end) for each in exclusions),
            sent_within=sent_within,
        )


def obstacle(recipe: Recipe, *, group: str | None, policy: CapturePolicy) -> str:
    """Why no row can be made of captures, in a sentence; empty when rows can be made.

    `group` is the column that keeps rows together, which training needs in every row.
    """
    features = [feature.name for feature in recipe.contract.features]
    hidden = [name for name in features if name in policy.mask or name in policy.drop]
    if hidden:
        return f"captures hide what the model needs: {', '.join(hidden)}"
    needed = [*features, recipe.target, *sorted(recipe.times)]
    unknown = [name for name in needed if name not in recipe.types]
    if unknown:
        return f"the dataset has no column {', '.join(unknown)}"
    if group is not None and group not in features:
        return f"captures do not contain the group of a row ({group}), since it is not a feature"
    return ""


class LabelledRows:
    """Rows as they are gathered, by column: numbers, truth values as 0 and 1, and texts, NaN or None where there is
    nothing; moments as microseconds since 1970.

    Attributes:
        rows: how many were taken.
        left_out: how many were not, by reason.
        cells: [rows] for each column that captures can fill.
        reporters: how many of their outcomes each caller reported.
        cut_short: there are more, older ones.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self.rows = 0
        self.cut_short = False
        self.left_out: Counter[LeftOut] = Counter()
        self.reporters: Counter[str] = Counter()
        self.cells: dict[str, Any] = {name: array("q") for name in recipe.times}
        for name in [*(feature.name for feature in recipe.contract.features), recipe.target]:
            self.cells[name] = _empty(recipe.types[name])
        self._first = self._last = recipe.after
        self._sample = 1.0

    @property
    def full(self) -> bool:
        """No more rows are taken."""
        return self.rows >= self._recipe.most_rows

    def take(self, record: Mapping[str, Any], outcome: Any, reporter: str = "") -> None:
        """Make a row of a capture record (docs/captures.md) and the outcome that `reporter` (an IAM ARN) reported for
        it, if it can be."""
        at = datetime.fromisoformat(record["time"])
        row = self._unwanted(at) or self._row(record, outcome)
        if isinstance(row, LeftOut):
            self.left_out[row] += 1
            return
        row = dict.fromkeys(self._recipe.times, (at - _EPOCH) // _MICROSECOND) | row
        for name in self._recipe.times:
            if unwanted := self._unwanted_cell(row[name], at):
                self.left_out[unwanted] += 1
                return
        sample = min(self._sample, record["sample"])
        for name, cell in row.items():
            self.cells[name].append(cell)
        self._first = min(self._first, at) if self.rows else at
        self._last = max(self._last, at)
        self._sample = sample
        self.reporters[reporter] += 1
        self.rows += 1

    def sentence(self, model: str, base: str) -> str:
        """What the rows are, in a sentence for people."""
        rows = f"the newest {self.rows:,}" if self.cut_short else f"{self.rows:,}"
        first, last = (at.isoformat(timespec="minutes") for at in (self._first, self._last))
        sentence = (
            f"version {base} and {rows} {english.noun(self.rows, 'labelled prediction')} of {model} from "
            f"{first} to {last}"
        )
        if self._sample < 1:
            sentence += f", of which captures keep a sample of {self._sample:.3%}"
        return sentence + self.sentence_left_out()

    def sentence_left_out(self) -> str:
        """What is not among the rows, and why; empty when nothing is missing."""
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.left_out.items()))
        return f"; left out: {counts}" if counts else ""

    def _unwanted(self, at: datetime) -> LeftOut | None:
        if at <= self._recipe.after:
            return LeftOut.EARLIER
        if any(start <= at < end for start, end in self._recipe.excluded):
            return LeftOut.EXCLUDED
        return None

    def _unwanted_cell(self, moment: int, at: datetime) -> LeftOut | None:
        if moment == _NO_MOMENT:
            return LeftOut.TIMELESS
        sent = _EPOCH + moment * _MICROSECOND
        far = LeftOut.FAR if abs(sent - at) > self._recipe.sent_within else None
        return self._unwanted(sent) or far

    def _row(self, record: Mapping[str, Any], outcome: Any) -> dict[str, Any] | LeftOut:
        recipe = self._recipe
        given = {feature.name: record["inputs"].get(feature.name) for feature in recipe.contract.features}
        if MASK in given.values():
            return LeftOut.MASKED
        if not record["inputs"]:  # nobody could check them, so they were not kept
            return LeftOut.CONTRACT
        try:
            validate(recipe.contract, [given])
            row = {name: _cell(value, recipe.types[name]) for name, value in given.items()}
        except (RequestInvalidError, ValueError):
            return LeftOut.CONTRACT
        try:
            known = self._known(outcome, record["probabilities"] or {})
            if known is None:
                return LeftOut.OUTCOME
            row[recipe.target] = _cell(known, recipe.types[recipe.target])
        except (OverflowError, ValueError):
            return LeftOut.OUTCOME
        return row

    def _known(self, outcome: Any, probabilities: Mapping[str, float]) -> Any:
        """The name of the class, if the answer gave it a probability; of a regression the number, if it is one."""
        if self._recipe.contract.task == "regression":
            return outcome if type(outcome) in {int, float} and math.isfinite(outcome) else None
        name = class_of(outcome, probabilities)
        return name if name in probabilities else None


def _empty(kind: ColumnType) -> Any:
    match kind:
        case ColumnType.TEXT:
            return []
        case ColumnType.TIME:
            return array("q")
        case _:
            return array("d")


def _cell(value: Any, kind: ColumnType) -> float | str | None:
    """A value as its column holds it. Raises ValueError when the column cannot hold it."""
    if kind is ColumnType.TEXT:
        return None if value is None or value == "" else sys.intern(class_name(value))
    if kind is ColumnType.TIME:
        moment = None if value is None else seconds_of(str(value))
        if moment is None and value is not None:
            raise ValueError(f"{kind} column")
        return _NO_MOMENT if moment is None else moment * _MICROSECONDS
    if value is None or value == "":
        return math.nan
    if kind is ColumnType.BOOLEAN and class_name(value) in _TRUTH:
        return _TRUTH[class_name(value)]
    if kind not in {ColumnType.NUMBER, ColumnType.INTEGER} or (
        type(value) is str and class_name(number(value)) != value
    ):
        raise ValueError(f"{kind} column")
    return float(value)
