"""How a version does on parts of the holdout: parts that people declare, and parts where it errs most.

Declared slices are compared with the champion one by one (`judge`). Slices that nobody declared are named on one half
of the holdout and measured on the other (`confirm`), so that chance does not name them: whatever has the largest loss
of many looks bad on the rows that it was chosen by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from tidegate.domain.evaluation.bootstrap import (
    CANDIDATE,
    MAX_UNDEFINED_SHARE,
    MIN_CLUSTERS,
    Arm,
    Comparison,
    Resampling,
    paired_bootstrap,
    simultaneous,
)
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.sections import FoundSlice, Slice
from tidegate.kernel import english
from tidegate.kernel.errors import DataCheckError
from tidegate.kernel.metrics.metric import Array, Floats
from tidegate.kernel.table import Column, Table

MAX_CATEGORIES = 20  # of a column, by rows; the rest are taken together
OTHER, MISSING = "other", "missing"
LEAST_ROWS = 100
LEAST_RARER = 10  # rows, days or groups with the rarer of two classes, without which a slice is not judged
MAX_TESTED = 3  # found slices
MIN_HALF_CLUSTERS = 10  # Student's quantile stands in for what fewer cannot say (see `evaluation`)
LOSS_QUANTILE = 0.99  # losses beyond count as this one: a few rows make no slice
_DISTINCT_NUMBERS = 4  # a number with no more values than quartiles is parted by value
CHAMPION = "champion"
Operator = Literal["<=", ">", "is", "is not", "is known", "is missing"]


@dataclass(frozen=True, slots=True)
class Parting:
    """A column in parts: `codes` [rows] are positions in `labels`."""

    codes: Array
    labels: tuple[str, ...]


def part(column: Column, *, boolean: bool = False) -> Parting:
    """By category (the 20 with most rows, the rest as "other"), or by quartile of a number over these rows.

    Booleans and numbers of up to four values are parted by value. Rows without a value are a part of their own.
    """
    if column.dtype.kind == "U":
        codes, labels = _by_category(column)
        absent = column == ""
    else:
        numbers = column.astype(np.float64)
        absent = np.isnan(numbers)
        codes, labels = _by_number(numbers, absent, boolean=boolean)
    if absent.any():
        codes[absent], labels = len(labels), (*labels, MISSING)
    return Parting(codes, labels)


def _by_category(column: Column) -> tuple[Array, tuple[str, ...]]:
    values, place, counts = np.unique(column, return_inverse=True, return_counts=True)
    known = [each for each in np.argsort(-counts, kind="stable").tolist() if values[each] != ""]
    shown = known[:MAX_CATEGORIES]
    code_of = np.full(len(values), len(shown))
    code_of[shown] = np.arange(len(shown))
    labels = tuple(str(values[each]) for each in shown)
    return code_of[place], labels if len(shown) == len(known) else (*labels, OTHER)


def _by_number(numbers: Floats, absent: Array, *, boolean: bool) -> tuple[Array, tuple[str, ...]]:
    known = numbers[~absent]
    values = np.unique(known)
    if boolean or len(values) <= _DISTINCT_NUMBERS:
        labels = tuple(str(bool(value)).lower() if boolean else f"{value:.10g}" for value in values)
        return np.searchsorted(values, numbers), labels
    edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75], method="inverted_cdf"))
    edges = edges[edges < values[-1]]
    names = [f"{edge:.10g}" for edge in edges]
    inner = [f"above {low}, at most {high}" for low, high in pairwise(names)]
    labels = (f"at most {names[0]}", *inner, f"above {names[-1]}") if names else (f"at most {values[-1]:.10g}",)
    return np.searchsorted(edges, numbers, side="left"), labels


@dataclass(frozen=True, slots=True)
class Judged:
    """The holdout as its parts are judged: both arms ("candidate", and "champion" when there is one to compare with)
    on the same rows, and how rows are drawn again. `min_rows` is the fewest that carry a verdict on a part."""

    metric: str
    target: Array
    arms: Mapping[str, Arm]
    resampling: Resampling
    min_rows: int
    positive: int = 1

    def take(self, rows: Array) -> "Judged":
        """Only the rows at these positions."""
        arms = {name: Arm(arm.scores[rows], arm.threshold) for name, arm in self.arms.items()}
        return replace(self, target=self.target[rows], arms=arms, resampling=self.resampling.take(rows))

    def rarer_class(self) -> int:
        """How many clusters have the rarer of two classes; all of them where there are not two."""
        classes = (0, 1) if self.arms[CANDIDATE].scores.shape[1] == 2 else ()
        each = [clusters_of(self.resampling, np.flatnonzero(self.target == code)) for code in classes]
        return min(each, default=clusters_of(self.resampling, np.arange(len(self.target))))

    def compare(self) -> Comparison:
        """Value and gain; raises DataCheckError when the rows do not define the metric."""
        drawn = self.resampling
        return paired_bootstrap(
            self.metric,
            self.target,
            self.arms,
            cluster=drawn.cluster,
            resamples=drawn.resamples,
            confidence=drawn.confidence,
            seed=drawn.seed,
            positive=self.positive,
        )


def judge(judged: Judged, columns: Mapping[str, Parting]) -> list[Slice]:
    """Every part of every column, in their order.

    Intervals of the metric hold for each slice by itself. Those of the gain over the champion hold for all slices
    together (Bonferroni 1936): with more slices to be wrong about, each must be shown more clearly to be worse.
    """
    slices, bases = [], []
    for column, parting in columns.items():
        for code, value in enumerate(parting.labels):
            rows = np.flatnonzero(parting.codes == code)
            if len(rows):
                found, basis = _judge_one(judged, column, value, rows)
                slices.append(found)
                bases.append(basis)
    together = sum(each.gain_over_champion is not None for each in slices)
    return [
        each
        if each.gain_over_champion is None
        else replace(
            each,
            gain_over_champion=simultaneous(
                each.gain_over_champion,
                together,
                confidence=judged.resampling.confidence,
                clusters=clusters,
                units=units,
            ),
        )
        for each, (clusters, units) in zip(slices, bases, strict=True)
    ]


def _judge_one(judged: Judged, column: str, value: str, rows: Array) -> tuple[Slice, tuple[int, int]]:
    """The slice with the interval of its gain as for one comparison, its clusters, and how many of these have the rarer
    of two classes."""

    def unjudged(lacking: str) -> tuple[Slice, tuple[int, int]]:
        return Slice(column, value, len(rows), too_few=True, lacking=lacking), (0, 0)

    if len(rows) < judged.min_rows:
        return unjudged(f"{len(rows):,} of {judged.min_rows:,} rows")
    part = judged.take(rows)
    try:
        found = part.compare()
    except DataCheckError as error:
        return unjudged(f"{judged.metric} is not defined: {error.faults[0].problem}")
    rarer = part.rarer_class()
    lacking = ""
    if found.clusters < MIN_CLUSTERS:
        lacking = f"{found.clusters:,} of {MIN_CLUSTERS} days or groups"
    elif rarer < LEAST_RARER:
        units = "rows" if part.resampling.cluster is None else "days or groups"
        lacking = f"{rarer:,} of {LEAST_RARER} {units} with the rarer class"
    elif found.undefined_resamples > MAX_UNDEFINED_SHARE * judged.resampling.resamples:
        lacking = f"{judged.metric} is undefined in {english.count(found.undefined_resamples, 'resample')}"
    if lacking:
        return unjudged(lacking)
    metric, gain = found.arms[CANDIDATE], found.gains.get(CHAMPION)
    kept = Slice(column, value, len(rows), too_few=False, metric=metric, gain_over_champion=gain)
    return kept, (found.clusters, rarer)


@dataclass(frozen=True, slots=True)
class Condition:
    """One step of a found slice's description. `value` is a number, a text or a boolean; numbers are compared as
    float32, as the model reads them."""

    feature: str
    operator: Operator
    value: Any = None
    or_missing: bool = False

    def holds(self, column: Column) -> Array:
        """Which rows [n] fulfil it."""
        if column.dtype.kind == "U":
            return np.asarray((column == self.value) == (self.operator == "is"))
        numbers = column.astype(np.float32)
        absent = np.isnan(numbers)
        match self.operator:
            case "is missing":
                return absent
            case "is known":
                return ~absent
            case "<=":
                held = numbers <= self.value
            case ">":
                held = numbers > self.value
            case "is" | "is not":
                held = (numbers == self.value) == (self.operator == "is")
        return np.asarray(np.where(absent, self.or_missing, held))

    @property
    def words(self) -> str:
        """ "dep_hour above 18.5"."""
        match self.operator:
            case "is missing" | "is known":
                said = f"{self.feature} {self.operator}"
            case "<=":
                said = f"{self.feature} at most {self.value:.6g}"
            case ">":
                said = f"{self.feature} above {self.value:.6g}"
            case _:
                value = str(self.value).lower() if isinstance(self.value, bool) else self.value
                said = f"{self.feature} {self.operator} {value or MISSING}"
        return f"{said} or missing" if self.or_missing else said

    @property
    def section(self) -> tuple[Any, ...]:
        """[feature, operator, value]."""
        return (self.feature, f"{self.operator} or missing" if self.or_missing else self.operator, self.value)


Path = tuple[Condition, ...]


def shortened(path: Path) -> Path:
    """The same rows in fewer words: of several bounds on one side the tightest, and nothing beside an "is"."""
    merged: dict[tuple[str, str, Any], Condition] = {}
    decided = {step.feature for step in path if step.operator == "is"}
    for step in path:
        if step.operator == "is not" and step.feature in decided:
            continue
        key = (step.feature, step.operator, step.value if step.operator in {"is", "is not"} else None)
        other = merged.get(key)
        if other is not None and isinstance(step.value, float) and isinstance(other.value, float):
            tightest = min if step.operator == "<=" else max
            missing = step.or_missing and other.or_missing
            step = Condition(step.feature, step.operator, tightest(step.value, other.value), missing)  # noqa: PLW2901
        merged[key] = step
    return tuple(merged.values())


def members(path: Path, table: Table) -> Array:
    """Which rows of the table [n] a path describes."""
    held = np.ones(len(table), dtype=np.bool_)
    for step in path:
        held &= step.holds(table[step.feature])
    return held


def row_loss(task: str, target: Array, scores: Array) -> Floats:
    """What each row costs [n]: squared error, or minus the logarithm of the probability given to the true class."""
    if task == "regression":
        return np.asarray((scores[:, 0].astype(np.float64) - target) ** 2)
    given = scores[np.arange(len(scores)), target.astype(np.intp)].astype(np.float64)
    return np.asarray(-np.log(np.clip(given, np.finfo(np.float32).eps, 1)))


def halves(rows: int, cluster: Array | None, seed: int) -> tuple[Array, Array]:
    """Positions to search on and positions to confirm on; whole clusters go to one of them."""
    codes = np.arange(rows) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    clusters = int(codes.max(initial=-1)) + 1
    first = np.zeros(clusters, dtype=np.bool_)
    first[np.random.default_rng(seed).permutation(clusters)[: clusters // 2]] = True
    return np.flatnonzero(first[codes]), np.flatnonzero(~first[codes])


def clusters_of(drawn: Resampling, rows: Array) -> int:
    """How many clusters the rows at these positions are of."""
    return len(rows) if drawn.cluster is None else len(np.unique(drawn.cluster[rows]))


def worst(paths: Sequence[Path], table: Table, loss: Floats) -> list[Path]:
    """Of a tree's leaves the few with the largest mean loss, as long as that is above the mean of all rows."""
    means = [(float(loss[members(path, table)].mean()), path) for path in paths]
    ranked = sorted(means, key=lambda each: -each[0])
    return [path for mean, path in ranked[:MAX_TESTED] if mean > loss.mean()]


@dataclass(frozen=True, slots=True)
class Measured:
    """A part that a search named, on the rows that it was not named by. It is confirmed when its rows are shown to
    cost more than the others. `too_few` says what is lacking to show that; empty when nothing is."""

    path: Path
    rows: int
    metric: Estimate | None
    loss_over_rest: Estimate
    too_few: str = ""

    @property
    def confirmed(self) -> bool:
        """Whether the whole interval lies above 0, and says enough."""
        return not self.too_few and self.loss_over_rest.low > 0

    @property
    def section(self) -> FoundSlice:
        """As a section has it."""
        return FoundSlice(
            path=tuple(step.section for step in self.path),
            words=" and ".join(step.words for step in self.path),
            rows=self.rows,
            metric=self.metric,
            loss_over_rest=self.loss_over_rest,
            confirmed=self.confirmed,
            lacking=self.too_few,
        )


def confirm(paths: Sequence[Path], table: Table, loss: Floats, judged: Judged) -> list[Measured]:
    """Measure slices on rows that did not name them.

    `loss_over_rest` is the mean loss within less that of all other rows. Its intervals hold for all slices together
    (Bonferroni), so that without any real slice one is confirmed in at most (1 - confidence) / 2 of all versions. A
    slice on a few bad days is shown and not confirmed: the next such day may be a good one.

    Args:
        table: features of the confirming rows; `loss` and `judged` are of the same rows.
    """
    inside = [members(path, table) for path in paths]
    enough = [
        (path, held)
        for path, held in zip(paths, inside, strict=True)
        if min(held.sum(), (~held).sum()) >= judged.min_rows
    ]
    drawn = judged.resampling
    confidence = 1 - (1 - drawn.confidence) / max(len(enough), 1)
    each = replace(drawn, confidence=confidence)
    found = []
    for path, held in enough:
        sums, counts = each.sums(loss, held)
        with np.errstate(invalid="ignore"):  # a resample may draw no day of the slice
            without, within = np.divide(sums, counts).T
        value = float(loss[held].mean() - loss[~held].mean())
        units = min(clusters_of(drawn, np.flatnonzero(part)) for part in (held, ~held))
        too_few = "" if units >= MIN_HALF_CLUSTERS else f"{units:,} of {MIN_HALF_CLUSTERS} days or groups"
        over_rest = each.estimate(value, within - without)
        found.append(Measured(path, int(held.sum()), _metric(judged, held), over_rest, too_few))
    return found


def _metric(judged: Judged, held: Array) -> Estimate | None:
    try:
        return judged.take(np.flatnonzero(held)).compare().arms[CANDIDATE]
    except DataCheckError:
        return None
