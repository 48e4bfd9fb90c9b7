"""Features that know too much: the answer itself, in one column or in two together.

    found = leak_faults(features, table, target, vouched={"yesterday"})
    found.faults, found.notes, found.strengths["distance"]
    notes = key_notes(features, table, group="")

How well a feature alone predicts the target is its strength. It is made of ranks, so neither units nor tails nor any
monotone change of a column move it:

- for classes the area under the ROC curve (one class against the rest, averaged), of the column as it stands or of the
  target's share in its bins, whichever is larger;
- for numbers Chatterjee's coefficient xi (S. Chatterjee, "A new coefficient of correlation", JASA 116:2009-2022, 2021),
  over its largest value for this target: 1 when the target is a function of the feature, about 0 when they are
  independent. Of normal variables with correlation r it is 3/pi asin((1 + r^2)/2) - 1/2: 0.7 at r = 0.95, 0.95 at
  r = 0.9987.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from tidegate.domain.data.checks import Target
from tidegate.domain.serving.contract import FeatureContract
from tidegate.kernel.errors import Fault
from tidegate.kernel.table import Column, Table

Codes = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# A copy: the whole interval lies above.
COPY_AUC, COPY_XI = 0.99, 0.95
# Strong enough to be asked about: on flights, dep_delay alone predicts late arrivals with an AUC of 0.89. Honest
# features can be, such as what was measured yesterday, or the size of what is priced.
STRONG_AUC, STRONG_XI = 0.88, 0.8
_Z = 1.96  # for 95 %
_ROWS = 100_000  # looked at, of more than these
_PAIR_ROWS, _PAIR_COLUMNS, _PAIRS = 4_000, 200, 100  # looked at for pairs; how many pairs are measured
_KEY_ROWS, _KEY_BLOCKS = 100, 20  # at least, to see keys in
_NEARLY_ALL, _DENSE = 0.95, 4
_BINS, _BIN_ROWS, _SHRINK_ROWS = 64, 20, 10


@dataclass(frozen=True, slots=True)
class Strength:
    """How well a column predicts the target, with its interval of 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Leaks:
    """What was found; `strengths` of each feature alone, by its name."""

    faults: list[Fault]
    notes: list[str]
    strengths: Mapping[str, float]


def leak_faults(
    features: Sequence[FeatureContract], table: Table, target: Target, *, vouched: Collection[str] = ()
) -> Leaks:
    """Features that know too much. `table` holds training rows only.

    Faults are:

    - copies: features whose interval lies above `COPY_AUC` or `COPY_XI`, however many they are;
    - of classes also features that stand out: with an AUC of `STRONG_AUC` or more and at most half the error of the
      next feature, they or their group of at most a quarter of all features (a delay in minutes and the same in hours).
      Honest features can be that good, so the fault asks which it is;
    - pairs of numbers whose sum, difference, product or ratio is a copy where neither of the two is.

    Of numbers, a feature that stands out in the same way is noted: there, honest ones often do. Features that are
    `vouched` for are not suspected, and the others are not measured against them; a strong one explains by itself what
    it gives together with another. Times are left out: no model is given one by itself.
    """
    features = [feature for feature in features if feature.kind != "time"]
    if len(table) > _ROWS:
        table, target = _some(table, target, _ROWS)
    answers = _Answers.of(target)
    found = {feature.name: answers.strength(table[feature.name]) for feature in features}
    ranked = sorted(found.keys() - set(vouched), key=lambda name: (-found[name].value, name))
    copies = [name for name in ranked if found[name].low >= answers.copy]
    others = [name for name in ranked if name not in copies]
    apart = _standing_out(others, found, answers)
    following = others[len(apart) :][:1]
    beside = f"the next feature, {following[0]}, has {found[following[0]]}" if following else "there is no other"

    def said(name: str) -> str:
        return f"alone predicts the target with {answers.measure} {found[name]}"

    faults = [
        Fault(
            f"features.{name}",
            f"{said(name)}: a copy, by the limit of {answers.copy:g} ({beside}). It is probably known only after the "
            "fact: leave it out and name it as an outcome column of the dataset; or, if it is known in advance, set "
            "known_in_advance: true",
        )
        for name in copies
    ]
    asked_for = (
        f"it stands out, by the limits of {answers.strong:g} and half the error of the next feature ({beside}). "
        "If it is known when a prediction is asked for, set known_in_advance: true; if only after the fact, leave it "
        "out and name it as an outcome column of the dataset"
    )
    asked = [Fault(f"features.{name}", f"{said(name)}: {asked_for}") for name in apart]
    notes = [] if target.classes else [f"{fault.path}: {fault.problem}" for fault in asked]
    faults += asked if target.classes else []
    numbers = [feature.name for feature in features if feature.kind in {"numeric", "integer"}]
    explained = {name for name in vouched if name in found and found[name].low >= answers.strong}
    numbers = [name for name in numbers if name not in {*copies, *apart, *explained}]
    faults += list(_pair_faults(numbers, table, target, vouched))
    return Leaks(faults, notes, {name: each.value for name, each in found.items()})


def key_notes(features: Sequence[FeatureContract], table: Table, *, group: str | None) -> list[str]:
    """Whole numbers that seem to name rows, or groups of them, which a model learns by heart: in a holdout of the same
    rows or groups that looks like skill. `table` holds training rows in the order of the files."""
    notes = []
    for feature in features:
        column = table[feature.name]
        whole = column.dtype.kind == "f" and len(column) >= _KEY_ROWS and bool((column % 1 == 0).all())
        if not whole or feature.name == group:
            continue
        rows, steps, path = len(column), np.diff(column), f"features.{feature.name}"
        distinct, blocks = len(np.unique(column)), 1 + int((steps != 0).sum())
        dense = float(np.ptp(column)) < _DENSE * distinct
        if (steps > 0).all() or (steps < 0).all():
            order = "rises" if steps[0] > 0 else "falls"
            notes.append(
                f"{path}: {order} with every row, as a row number does; leave it out unless it measures something"
            )
        elif distinct >= _NEARLY_ALL * rows and dense:
            notes.append(
                f"{path}: is another whole number in nearly every row, as an id is; if it is one, list it under ids"
            )
        elif blocks == distinct and _KEY_BLOCKS <= distinct <= rows // 2:
            notes.append(
                f"{path}: repeats in {distinct:,} blocks of neighbouring rows, as the key of a group does; if it is "
                f"one, leave it out, and set group: {feature.name} so that no group is in training and holdout"
            )
    return notes


def _some(table: Table, target: Target, rows: int) -> tuple[Table, Target]:
    places = np.linspace(0, len(table) - 1, rows).astype(np.int64)
    return table.take(places), Target(target.values[places], target.classes, target.positive)


def _standing_out(ranked: Sequence[str], found: Mapping[str, Strength], answers: "_Answers") -> Sequence[str]:
    """The strong features, where the next one is not, and errs at least twice as much."""
    count = sum(found[name].low >= answers.strong for name in ranked)
    if not 0 < count <= max(1, len(found) // 4):
        return []
    following = found[ranked[count]].value if count < len(ranked) else answers.nothing
    return ranked[:count] if 2 * (1 - found[ranked[count - 1]].value) <= 1 - following else []


# --- one column -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Answers:
    """The target as strengths are measured against it."""

    classes: tuple[Bools, ...]  # of each class that is asked about, its rows; none for numbers
    ranks: Column  # of numbers: how many are at most as large
    above: Column  # and how many are at least as large

    @classmethod
    def of(cls, target: Target) -> "_Answers":
        if target.classes:
            asked = [target.positive] if len(target.classes) == 2 else range(len(target.classes))
            return cls(tuple(target.values == code for code in asked), np.empty(0), np.empty(0))
        every = np.sort(target.values)
        ranks = np.searchsorted(every, target.values, side="right").astype(np.float64)
        return cls((), ranks, len(every) - np.searchsorted(every, target.values, side="left").astype(np.float64))

    @property
    def measure(self) -> str:
        return "AUC" if self.classes else "xi"

    @property
    def copy(self) -> float:
        return COPY_AUC if self.classes else COPY_XI

    @property
    def strong(self) -> float:
        return STRONG_AUC if self.classes else STRONG_XI

    @property
    def nothing(self) -> float:
        return 0.5 if self.classes else 0.0

    def strength(self, column: Column) -> Strength:
        """Of any column [rows]."""
        if not self.classes:
            return self.xi(column if column.dtype.kind == "f" else _cross_means(_codes(column), self.ranks, shrink=0))
        each = [
            max(self._areas(column, hits), key=lambda one: one.value)
            for hits in self.classes
            if 0 < int(hits.sum()) < len(hits)
        ]
        if not each:
            return Strength(0.5, 0.5, 0.5)
        mean = [float(np.mean([getattr(one, name) for one in each])) for name in ("value", "low", "high")]
        return Strength(*mean)

    def _areas(self, column: Column, hits: Bools) -> Iterator[Strength]:
        yield area(hits, _cross_means(_bins(column), hits.astype(np.float64)))
        if column.dtype.kind == "f":
            known = np.where(np.isfinite(column), column, np.inf)
            yield area(hits, known)
            yield area(hits, -known)

    def xi(self, scores: Column) -> Strength:
        """Of a column by whose order the target is predicted; equal and missing ones come in any order."""
        rows = len(scores)
        spread = 2 * float((self.above * (rows - self.above)).sum())
        if rows < 3 or not spread:
            return Strength(0.0, 0.0, 0.0)
        chance = np.random.default_rng(0).random(rows)
        steps = np.abs(np.diff(self.ranks[np.lexsort((chance, scores))]))
        most = 1 - rows * float(np.abs(np.diff(np.sort(self.ranks))).sum()) / spread
        value = (1 - rows * float(steps.sum()) / spread) / most
        # Neighbouring steps share a rank, so their means have the variance of a sequence with one dependence.
        apart = steps - steps.mean()
        variance = max(float((apart**2).mean() + 2 * (apart[1:] * apart[:-1]).mean()), 0.0)
        error = _Z * rows * sqrt(variance * len(steps)) / spread / most
        value = min(max(value, 0.0), 1.0)
        return Strength(value, max(value - error, 0.0), min(value + error, 1.0))


def area(hits: Bools, scores: Column) -> Strength:
    """The area under the ROC curve and its interval (DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two
    or more correlated receiver operating characteristic curves", Biometrics 44:837-845, 1988). `hits` and `scores`
    [rows]; both classes are there."""
    ranks = _middle_ranks(scores)
    positives, negatives = int(hits.sum()), int((~hits).sum())
    above = (ranks[hits] - _middle_ranks(scores[hits])) / negatives
    below = 1 - (ranks[~hits] - _middle_ranks(scores[~hits])) / positives
    value = float(above.mean())
    error = _Z * sqrt(float(above.var()) / positives + float(below.var()) / negatives)
    return Strength(value, max(value - error, 0.0), min(value + error, 1.0))


def _middle_ranks(scores: Column) -> Column:
    _, codes, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[codes], dtype=np.float64)


def _codes(column: Column) -> Codes:
    return np.asarray(np.unique(column, return_inverse=True)[1], dtype=np.int64)


def _bins(column: Column) -> Codes:
    """Numbers in bins of equal size, missing ones in one of their own; categories as they are."""
    if column.dtype.kind != "f":
        return _codes(column)
    known = column[np.isfinite(column)]
    bins = int(np.clip(len(known) // _BIN_ROWS, 2, _BINS))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if len(known) else np.empty(0)
    groups = np.searchsorted(edges, column, side="left").astype(np.int64)
    groups[np.isnan(column)] = _BINS
    return groups


def _cross_means(groups: Codes, values: Column, *, shrink: int = _SHRINK_ROWS) -> Column:
    """For each row the mean of its group over the rows of the other half, drawn towards the overall mean as if `shrink`
    rows of that stood in the group; a group that the other half does not have gets the overall mean."""
    predicted = np.empty(len(values))
    half = np.arange(len(values)) % 2
    size = int(groups.max()) + 1 if len(groups) else 0
    for fold in (0, 1):
        learn, guess = half != fold, half == fold
        overall = values[learn].mean() if learn.any() else 0.0
        sums = np.bincount(groups[learn], weights=values[learn], minlength=size)
        counts = np.bincount(groups[learn], minlength=size)
        means = np.divide(
            sums + shrink * overall, counts + shrink, out=np.full(size, overall), where=counts + shrink > 0
        )
        predicted[guess] = means[groups[guess]]
    return predicted


# --- two columns ------------------------------------------------------------------------------------------------------


def _pair_faults(names: Sequence[str], table: Table, target: Target, vouched: Collection[str]) -> Iterator[Fault]:
    """Pairs of numbers that give the target together; each column is named once."""
    if len(target.classes) > 2:
        return  # no one number of theirs distinguishes the classes
    names = names[:_PAIR_COLUMNS]
    if len(table) > _PAIR_ROWS:
        table, target = _some(table, target, _PAIR_ROWS)
    values = (target.values == target.positive).astype(np.float64) if target.classes else target.values
    answers, named = _Answers.of(target), set[str]()
    for one, other, scores, how in _pairs(names, table, values, positive=not target.classes):
        if {one, other} <= set(vouched) or named & {one, other}:
            continue
        found = area(answers.classes[0], scores) if target.classes else answers.xi(scores)
        if found.low >= answers.copy:
            named |= {one, other}
            yield Fault(
                f"features.{one}",
                f"and features.{other} together give the target: {how} predicts it with {answers.measure} {found}, "
                f"by the limit of {answers.copy:g}. One of them is probably known only after the fact: leave it out "
                "and name it as an outcome column of the dataset; or, if both are known in advance, set "
                "known_in_advance: true for both",
            )


def _pairs(
    names: Sequence[str], table: Table, values: Column, *, positive: bool
) -> Iterator[tuple[str, str, Column, str]]:
    """The pairs that explain most of the target by least squares: of the numbers, for sums and differences, and of
    their logarithms, for products and ratios. With the scores [rows] that they give it."""
    columns = np.array([table[name] for name in names]).reshape(len(names), len(values))
    for form, of_columns, of_values in (
        ("a weighted sum or difference", columns, values),
        ("a product or ratio", _logarithms(columns), _logarithms(values) if positive else values),
    ):
        for one, other, scores in _explaining(of_columns, of_values):
            yield names[one], names[other], scores, form


def _logarithms(columns: Column) -> Column:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(np.where(columns > 0, columns, np.nan)))


def _explaining(columns: Column, values: Column) -> Iterator[tuple[int, int, Column]]:
    """The pairs of rows of `columns` [columns, rows] with the largest R2, and their least squares scores [rows]."""
    scaled = _standardised(columns)
    wanted = _standardised(values[np.newaxis])[0]
    rows = len(values)
    together, alone = scaled @ scaled.T / rows, scaled @ wanted / rows
    first, second = np.triu_indices(len(columns), 1)
    r, a, b = together[first, second], alone[first], alone[second]
    with np.errstate(divide="ignore", invalid="ignore"):
        explained = np.nan_to_num((a**2 + b**2 - 2 * a * b * r) / (1 - r**2), posinf=0.0, neginf=0.0)
    for place in np.argsort(-explained, kind="stable")[:_PAIRS]:
        pair = scaled[[first[place], second[place]]]
        weights, *_ = np.linalg.lstsq(pair.T, wanted, rcond=None)
        yield int(first[place]), int(second[place]), weights @ pair


def _standardised(columns: Column) -> Column:
    """Rows with mean 0 and variance 1; what is not finite is 0, and so is what does not vary."""
    known = np.isfinite(columns)
    counts = np.maximum(known.sum(axis=1, keepdims=True), 1)
    means = np.where(known, columns, 0.0).sum(axis=1, keepdims=True) / counts
    apart = np.where(known, columns - means, 0.0)
    scale = np.sqrt((apart**2).sum(axis=1, keepdims=True) / counts)
    return np.asarray(np.divide(apart, scale, out=np.zeros_like(apart), where=scale > 0))
