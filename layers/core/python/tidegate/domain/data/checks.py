"""What data must be like before a model is trained on it; checks answer with faults, so that all are reported at once.

    faults = column_faults(demands, types) + value_faults(demands.features, table) + twin_faults(...)

A fault's path is a word of the spec and the column: `features.dep_delay`, `target.late`, `split.holdout`. What is worth
knowing but stops nothing is a note: the same, as a sentence. docs/data-checks.md lists every check.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from tidegate.domain.data.dataset import ABSENT, DECLARED, ColumnType, Dataset, Reading
from tidegate.domain.data.personal import Finding
from tidegate.domain.data.splits import Split
from tidegate.domain.profiles import profile as profiles
from tidegate.domain.profiles.drift import ColumnFinding, DriftOutcome, DriftPolicy, judge
from tidegate.domain.profiles.profile import ColumnLayout, Layout
from tidegate.domain.serving.contract import MAX_NUMBER, MAX_TEXT, FeatureContract, Label
from tidegate.kernel import english
from tidegate.kernel.drift.registry import COMPARED
from tidegate.kernel.errors import Fault
from tidegate.kernel.expressions.times import FIRST_SECOND, LAST_SECOND, seconds_of
from tidegate.kernel.fault_words import did_you_mean, spelled
from tidegate.kernel.metrics.metric import TaskName
from tidegate.kernel.table import RESERVED, Column, Table
from tidegate.kernel.values import NotAValueError, class_name, read

Codes = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

FEWEST_FIT_ROWS = 50
FEWEST_VALIDATION_ROWS = 10
FEWEST_HOLDOUT_ROWS = 30
FEWEST_COMPARED_ROWS = 100  # of training and of the holdout, to compare their targets
MOST_CLASSES = 100
_ID_SHARE = 0.5  # a categorical feature with more categories than half its rows names rows, it does not describe them
_ID_ROWS = 100
_SHOWN = 5
_EXACT = 2.0**53  # from here on, float64 skips whole numbers
_LOST_SHARE = 0.01  # of the different values of a number: noted when as many become another one as float32
_GLANCE = 256  # rows that distinguish most columns
_FEW_STEPS = 2**20  # of float32 between the least and the greatest value; with more, it is no wonder that a few meet
_AS_FLOAT32 = "as 32-bit floats, which is what a model gets"
_LARGE = (
    "subtract a fixed value before you add the files, give moments as a time column (kind: time), or leave out what is "
    "an id"
)
_APART = "remove copies, or add a column that distinguishes them"

TYPES_OF_KIND: Mapping[str, tuple[ColumnType, ...]] = {
    "numeric": (ColumnType.NUMBER, ColumnType.INTEGER),
    "integer": (ColumnType.INTEGER, ColumnType.NUMBER),
    "boolean": (ColumnType.BOOLEAN, ColumnType.INTEGER, ColumnType.NUMBER),
    "categorical": (ColumnType.TEXT, ColumnType.INTEGER, ColumnType.BOOLEAN),
    "time": (ColumnType.TIME,),
}
_KIND_OF_TYPE: Mapping[ColumnType, str] = {
    ColumnType.NUMBER: "numeric",
    ColumnType.INTEGER: "numeric",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.TEXT: "categorical",
    ColumnType.TIME: "time",
}


@dataclass(frozen=True, slots=True)
class Demands:
    """What a spec asks of a dataset.

    `outcome` comes from the catalog: columns known only after the fact. `vouched` are features that a person says are
    known in advance; nobody can vouch for an outcome column. No value of a `personal` column is shown. `reading` says
    how the dataset's texts are read.
    """

    dataset: str
    task: TaskName
    target: str
    features: tuple[FeatureContract, ...]
    positive_class: Label | None = None
    time: str | None = None
    group: str | None = None
    ids: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    vouched: tuple[str, ...] = ()
    personal: tuple[str, ...] = ()
    reading: Reading = DECLARED


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a note becomes a fault.

    Attributes:
        duplicate_rows: share of the training rows that may repeat an earlier one.
        missing_target: share of the rows that may have no value in the target.
        target_drift: what counts as a change of the target between training and holdout, and is noted.
        target_shift: distance up to which such a change stops nothing.
    """

    duplicate_rows: float = 0.1
    missing_target: float = 0.01
    target_drift: DriftPolicy = field(default_factory=lambda: DriftPolicy(min_rows=FEWEST_COMPARED_ROWS))
    target_shift: float = 0.25


@dataclass(frozen=True, slots=True)
class Target:
    """The answers: class codes [rows] (positions in `classes`), or float64 numbers [rows] when there are no classes."""

    values: Column
    classes: tuple[Label, ...] = ()
    positive: int = 1


def column_faults(
    demands: Demands, types: Mapping[str, ColumnType], table: Mapping[str, Column] = MappingProxyType({})
) -> list[Fault]:
    """Columns that are not there, have a type that does not fit, or must not be used. Of columns of texts that are in
    `table`, the first text that does not fit is named."""

    def odd(name: str, kind: str) -> str:
        if types[name] is not ColumnType.TEXT or name not in table:
            return ""
        return odd_texts(kind, table[name], demands.reading, shown=name not in demands.personal)

    faults = []
    wanted = [("target", demands.target)]
    wanted += [("time", demands.time)] if demands.time else []
    wanted += [("group", demands.group)] if demands.group else []
    wanted += [("ids", column) for column in demands.ids]
    wanted += [("features", feature.name) for feature in demands.features]
    for role, column in wanted:
        if column not in types:
            near = did_you_mean(column, types)
            faults.append(Fault(f"{role}.{column}", f"dataset {demands.dataset} has no such column{near}"))
    if demands.time and types.get(demands.time, ColumnType.TIME) is not ColumnType.TIME:
        faults.append(
            Fault(
                f"time.{demands.time}",
                f"is a {types[demands.time]} column; it must hold times{odd(demands.time, 'time')}",
            )
        )
    if demands.task == "regression" and types.get(demands.target) not in {
        None,
        ColumnType.NUMBER,
        ColumnType.INTEGER,
    }:
        problem = f"is a {types[demands.target]} column; regression needs numbers{odd(demands.target, 'numeric')}"
        faults.append(Fault(f"target.{demands.target}", problem))
    for feature in demands.features:
        kind = types.get(feature.name)
        why = "" if kind is None or feature.kind == "categorical" else odd(feature.name, feature.kind)
        faults += _feature_column_faults(demands, feature, kind, why)
    return faults


def odd_texts(kind: str, texts: Column, reading: Reading, *, shown: bool) -> str:
    """How many of a column's texts [rows] are no values of a kind, and where the first is; what it is if it may be
    `shown`. The end of a sentence; empty when all of them are."""
    every, rows, counts = np.unique(texts, return_index=True, return_counts=True)
    odd = np.array([not _is_of(kind, str(text), reading) for text in every], dtype=np.bool_)
    if not odd.any():
        return ""
    row = int(rows[odd].min())
    text = f", {spelled(str(texts[row]))}," if shown else ""
    are = {"time": "are not times", "boolean": "are not truth values"}.get(kind, "are not numbers")
    remedy = "--time-format" if kind == "time" else "--missing"
    named = f"{_of(int(counts[odd].sum()), len(texts))} {are}: the first{text} is in row {row + 1:,}"
    return f"; {named}; correct them, or add the files with {remedy}"


def _is_of(kind: str, text: str, reading: Reading) -> bool:
    """Whether a text is a value of a kind, or means that one is missing."""
    try:
        value = read(kind, text, reading.missing_words, decimal=reading.decimal, time_format=reading.time_format)
    except NotAValueError:
        return False
    return kind != "time" or value is None or seconds_of(str(value)) is not None


def _feature_column_faults(
    demands: Demands, feature: FeatureContract, kind: ColumnType | None, why: str
) -> Iterator[Fault]:
    path = f"features.{feature.name}"
    if feature.name in RESERVED:
        yield Fault(path, "is a reserved name; rename the column")
    if feature.name in demands.outcome:
        yield Fault(
            path,
            f"is an outcome column of dataset {demands.dataset}: it is known only after the fact; leave it out",
        )
    if kind is None or kind in TYPES_OF_KIND[feature.kind]:
        return
    if kind is ColumnType.TIME:
        problem = "is a time column; declare it with `kind: time`, and compute features from it: hour(), weekday()"
        yield Fault(path, problem, ("time",))
    elif kind is ColumnType.NUMBER and feature.kind != "time":
        yield Fault(path, f"is {feature.kind} in the spec, but the column has fractions", ("numeric",))
    else:
        yield Fault(path, f"is {feature.kind} in the spec, but {kind} in the dataset{why}", (_KIND_OF_TYPE[kind],))


def unknown_role_faults(known: Iterable[str], roles: Iterable[tuple[str, str]]) -> list[Fault]:
    """Columns that people name for a dataset and that are not in it: a misspelt outcome column protects nothing."""
    names = list(known)
    faults = []
    for role, column in roles:
        if column not in names:
            faults.append(Fault(f"{role}.{column}", f"{ABSENT}{did_you_mean(column, names)}"))
    return faults


def terms_faults(dataset: Dataset, allowed_licences: Collection[str]) -> list[Fault]:
    """Origin and licence have to be there; the licence has to be one of those allowed, when any are named. Capitals do
    not count (SPDX specification, annex on license expressions)."""
    faults = []
    if not dataset.origin.strip():
        faults.append(Fault("origin", f"dataset {dataset.name} has no origin; add it (--origin)"))
    licence = dataset.licence.strip()
    if not licence:
        problem = f"dataset {dataset.name} has no licence; add it (--licence)"
        faults.append(Fault("licence", problem, tuple(allowed_licences)))
    elif allowed_licences and licence.lower() not in {each.lower() for each in allowed_licences}:
        problem = f"dataset {dataset.name} has the licence {licence!r}, which this deployment does not allow"
        faults.append(Fault("licence", problem, tuple(allowed_licences)))
    return faults


def personal_faults(dataset: str, findings: Iterable[Finding]) -> list[Fault]:
    """Columns that look like personal data and are not declared as such."""
    remedy = (
        f"mark the column as personal data of dataset {dataset} (--pii), or remove it; if it holds no personal "
        "data, list it under checks.not_personal in the spec"
    )
    return [Fault(f"pii.{finding.column}", f"{finding}; {remedy}") for finding in findings]


def value_faults(
    features: Sequence[FeatureContract], table: Table, training: Column, *, personal: Collection[str] = ()
) -> list[Fault]:
    """Values that break the features' own rules, in any row of `table`; `training` [rows] masks the training rows. Of
    `personal` features no value is shown."""
    faults: list[Fault] = []
    for feature in features:
        column, shown = table[feature.name], feature.name not in personal
        if feature.kind == "categorical":
            faults += _category_faults(feature, column, training, shown=shown)
        elif feature.kind == "time":
            faults += _time_faults(feature, column, training)
        else:
            faults += _number_faults(feature, column, training, shown=shown)
    return faults


def twin_faults(features: Sequence[FeatureContract], table: Table) -> list[Fault]:
    """Features that are equal in every row of `table`, the training rows. Constant ones are not compared."""
    faults = []
    different: list[str] = []
    for feature in features:
        column = table[feature.name]
        if _equal(column, np.broadcast_to(column[:1], column.shape)):
            continue
        twin = next((name for name in different if _equal(table[name], column)), None)
        if twin is None:
            different.append(feature.name)
        else:
            problem = f"equals features.{twin} in every training row: a model learns nothing new from it; remove one"
            faults.append(Fault(f"features.{feature.name}", problem))
    return faults


def model_numbers(features: Sequence[FeatureContract], table: Table) -> Table:
    """The columns with their numbers as a model gets them: rounded to float32."""
    numbers = {feature.name for feature in features if feature.kind not in {"categorical", "time"}}
    return Table({name: _rounded(table[name]) if name in numbers else table[name] for name in table})


def _rounded(column: Column) -> Column:
    with np.errstate(over="ignore"):
        return column.astype(np.float32).astype(np.float64)


def precision_notes(features: Sequence[FeatureContract], table: Table) -> list[str]:
    """Numbers whose different values meet as float32, such as epoch seconds and ids beyond 2^24."""
    notes = []
    for feature in features:
        if feature.kind in {"categorical", "time"}:
            continue
        known = np.unique(table[feature.name])
        known = known[np.isfinite(known)]
        lost = len(known) - len(np.unique(_rounded(known)))
        if lost <= _LOST_SHARE * len(known):
            continue
        step = float(np.spacing(np.float32(np.abs(known[[0, -1]]).max())))
        if (known[-1] - known[0]) / step < _FEW_STEPS:
            shown = _of(lost, len(known), "different values")
            notes.append(f"features.{feature.name}: {shown} become another one {_AS_FLOAT32}; {_LARGE}")
    return notes


def wide_faults(path: str, column: Column) -> list[Fault]:
    """Whole numbers that name something, a group or a class, and that float64 does not distinguish."""
    if column.dtype.kind != "f" or not len(column) or float(np.abs(column).max()) < _EXACT:
        return []
    name = path.partition(".")[2]
    problem = "has whole numbers of 2^53 (9,007,199,254,740,992) or more, of which several would become one"
    return [Fault(path, f"{problem}; add the files with --text {name}")]


def _equal(one: Column, other: Column) -> bool:
    """Missing numbers are equal to each other."""
    if (one.dtype.kind == "f") != (other.dtype.kind == "f"):
        return False
    alike = one.dtype.kind == "f"
    few = slice(_GLANCE)
    return np.array_equal(one[few], other[few], equal_nan=alike) and np.array_equal(one, other, equal_nan=alike)


def _number_faults(feature: FeatureContract, column: Column, training: Column, *, shown: bool) -> Iterator[Fault]:
    path = f"features.{feature.name}"
    missing = np.isnan(column)
    yield from _missing_faults(feature, missing)
    known = column[~missing]
    finite = known[np.isfinite(known)]
    if len(finite) < len(known):
        yield Fault(
            path, f"{_of(len(known) - len(finite), len(column))} are infinite; correct them or leave them empty"
        )
    if beyond := int((np.abs(finite) > MAX_NUMBER).sum()):
        problem = f"{_of(beyond, len(column))} are beyond {MAX_NUMBER:.4g}, the largest 32-bit float"
        yield Fault(path, f"{problem}, and no request could have them; correct them or leave them empty")
    if feature.kind == "integer" and (fractions := int((finite % 1 != 0).sum())):
        yield Fault(path, f"{_of(fractions, len(column))} have fractions, but the spec says integer", ("numeric",))
    if feature.kind == "boolean" and (others := int((~np.isin(finite, (0, 1))).sum())):
        yield Fault(path, f"{_of(others, len(column))} are neither 0 nor 1, but the spec says boolean", ("integer",))
    if feature.minimum is not None and (below := finite[finite < feature.minimum]).size:
        worst = f" (the smallest is {below.min():g})" if shown else ""
        yield Fault(path, f"{_of(len(below), len(column))} are below min {feature.minimum:g}{worst}")
    if feature.maximum is not None and (above := finite[finite > feature.maximum]).size:
        worst = f" (the largest is {above.max():g})" if shown else ""
        yield Fault(path, f"{_of(len(above), len(column))} are above max {feature.maximum:g}{worst}")
    seen = column[training]
    gaps = np.isnan(seen)
    if len(seen) and (gaps.all() or (not gaps.any() and seen.min() == seen.max())):
        yield _constant(path, "missing" if gaps.all() else f"{seen[0]:g}" if shown else "the same")
    elif len(seen) and not gaps.any() and (one := _rounded(seen)).min() == one.max():
        yield Fault(path, f"has values that all become one in the training rows {_AS_FLOAT32}; {_LARGE}")


def _time_faults(feature: FeatureContract, column: Column, training: Column) -> Iterator[Fault]:
    path = f"features.{feature.name}"
    yield from _missing_faults(feature, np.isnan(column))
    if beyond := int(((column < FIRST_SECOND) | (column > LAST_SECOND)).sum()):
        yield Fault(path, f"{_of(beyond, len(column))} are not in the years 1 to 9999; correct them")
    seen = column[training]
    gaps = np.isnan(seen)
    if len(seen) and (gaps.all() or (not gaps.any() and seen.min() == seen.max())):
        yield _constant(path, "missing" if gaps.all() else "the same")


def _category_faults(feature: FeatureContract, column: Column, training: Column, *, shown: bool) -> Iterator[Fault]:
    path = f"features.{feature.name}"
    yield from _missing_faults(feature, column == "")
    values, counts = np.unique(column[training], return_counts=True)
    if len(values) == 1:
        value = repr(str(values[0])) if shown else "the same"
        yield _constant(path, value if values[0] else "missing")
    rows = int(counts.sum())
    if rows >= _ID_ROWS and len(values) > _ID_SHARE * rows:
        yield Fault(
            path,
            f"{len(values):,} categories in {rows:,} training rows: it identifies rows, and a model would "
            "memorise them; leave it out, or list it under ids",
        )
    if column.dtype.itemsize > 4 * MAX_TEXT and (long := int((np.char.str_len(column) > MAX_TEXT).sum())):
        problem = f"{_of(long, len(column))} have more than {MAX_TEXT:,} letters, and no request could have them"
        yield Fault(path, f"{problem}; shorten them, or leave the column out")
    if feature.unseen == "reject" and feature.categories is not None:
        present, counts = np.unique(column, return_counts=True)
        strange = ~np.isin(present, [*feature.categories, ""])
        if strange.any():
            names = f" ({_listed([repr(str(value)) for value in present[strange]])})" if shown else ""
            problem = f"{_of(int(counts[strange].sum()), len(column))} are not a listed category{names}"
            yield Fault(path, f"{problem}; list them, or set unseen: allow")


def _missing_faults(feature: FeatureContract, missing: Column) -> Iterator[Fault]:
    if feature.missing == "reject" and missing.any():
        problem = f"{_of(int(missing.sum()), len(missing))} are missing, which the spec rejects"
        yield Fault(f"features.{feature.name}", f"{problem}; set missing: allow, or fill them in")


def _constant(path: str, value: str) -> Fault:
    return Fault(path, f"is {value} in every training row: a model learns nothing from it; remove it")


def missing_target_faults(name: str, missing: int, rows: int, limits: Limits) -> list[Fault]:
    """Rows without an answer are left out; when they are many, what is left may not be like what is asked."""
    if missing <= limits.missing_target * rows:
        return []
    problem = (
        f"is missing in {_of(missing, rows, 'rows')}, more than checks.missing_target_at_most, "
        f"{limits.missing_target:.2%}; a model would learn from the other rows only"
    )
    remedy = "fill it in, leave those rows out of the dataset, or raise the limit if they have no answer yet"
    return [Fault(f"target.{name}", f"{problem}; {remedy}")]


def read_target(demands: Demands, column: Column, kind: ColumnType) -> tuple[Target | None, list[Fault]]:
    """The target's values as a model learns them, or why they do not fit the task. `column` has no missing values."""
    path = f"target.{demands.target}"
    if demands.task == "regression":
        faults = []
        if not np.isfinite(column).all():
            faults.append(Fault(path, f"{_of(int((~np.isfinite(column)).sum()), len(column))} are infinite"))
        elif len(column) and column.min() == column.max():
            faults.append(Fault(path, f"is {column[0]:g} in every row; there is nothing to predict"))
        return (None, faults) if faults else (Target(column.astype(np.float64)), [])
    if kind is ColumnType.TIME:
        return None, [Fault(path, f"is a time column; {demands.task} needs classes")]
    if faults := wide_faults(path, column):
        return None, faults
    values, codes = np.unique(column, return_inverse=True)
    if len(values) > MOST_CLASSES:
        hint = "" if kind is ColumnType.TEXT else "; is this task: regression?"
        return None, [Fault(path, f"has {len(values):,} different values, too many for classes{hint}")]
    classes = tuple(_label(value, kind) for value in values)
    positive, faults = _positive(demands, classes, kind) if demands.task == "binary" else (1, [])
    if len(classes) < 2 or (demands.task == "binary" and len(classes) > 2):
        needed = "exactly two" if demands.task == "binary" else "at least two"
        names = _listed([repr(label) for label in classes])
        problem = (
            f"has {english.count(len(classes), 'class', 'classes')} in these rows ({names}); task "
            f"{demands.task} needs {needed}"
        )
        return None, [Fault(path, problem), *faults]
    return (None if faults else Target(codes.astype(np.int64), classes, positive)), faults


def _positive(demands: Demands, classes: tuple[Label, ...], kind: ColumnType) -> tuple[int, list[Fault]]:
    allowed = tuple(map(class_name, classes))
    if demands.positive_class is None:
        if kind is ColumnType.TEXT:
            return 1, [
                Fault(
                    "positive_class", "is required for a text target: the class whose probability is the score", allowed
                )
            ]
        return 1, []  # of false and true, 0 and 1: the greater
    if demands.positive_class in classes:
        return classes.index(demands.positive_class), []
    return 1, [Fault("positive_class", f"{demands.positive_class!r} is not a class of {demands.target}", allowed)]


def _label(value: float | str, kind: ColumnType) -> Label:
    if kind is ColumnType.TEXT:
        return str(value)
    if kind is ColumnType.BOOLEAN:
        return bool(value)
    number = float(value)
    return int(number) if number.is_integer() else number


def split_faults(split: Split, target: Target) -> list[Fault]:
    """Too few rows to fit, to choose or to judge at all, or a class that no fitted row has.

    The floors are those below which a number means nothing; how large a holdout the verdict needs, the gate decides.
    """
    faults = []
    parts = (
        ("split.train", "fit", split.fit, FEWEST_FIT_ROWS),
        ("split.validation_fraction", "validate", split.validation, FEWEST_VALIDATION_ROWS),
        ("split.holdout", "judge", split.holdout, FEWEST_HOLDOUT_ROWS),
    )
    for path, verb, rows, fewest in parts:
        if len(rows) < fewest:
            why = (
                f"; {english.count(split.straddling, 'row was', 'rows were')} left out to keep groups apart"
                if split.straddling
                else ""
            )
            why += (
                f"; {english.count(split.outside, 'row lies', 'rows lie')} outside the periods" if split.outside else ""
            )
            faults.append(
                Fault(path, f"leaves {english.count(len(rows), 'row')} to {verb}; at least {fewest} are needed{why}")
            )
    if target.classes and len(split.fit) >= FEWEST_FIT_ROWS:
        counts = np.bincount(target.values[split.fit], minlength=len(target.classes))
        lacking = [repr(label) for label, count in zip(target.classes, counts, strict=True) if count == 0]
        if lacking:
            faults.append(Fault("split.train", f"the training rows have none of class {_listed(lacking)}"))
    return faults


def copies(hashes: Column, split: Split) -> int:
    """How many holdout rows occur in training too, equal in every column of the dataset."""
    return int(np.isin(hashes[split.holdout], hashes[split.training]).sum())


def copy_faults(copied: int, split: Split) -> tuple[list[Fault], list[str]]:
    """Few copies are noted; a holdout made of them would only test the memory."""
    shown = f"{_of(copied, len(split.holdout), 'holdout rows')} are copies of training rows"
    if 2 * copied <= len(split.holdout):
        return [], [f"split.holdout: {shown}"] if copied else []
    return [Fault("split.holdout", f"{shown}; {_APART}")], []


def duplicate_faults(hashes: Column, split: Split, limits: Limits) -> tuple[list[Fault], list[str]]:
    """Training rows that repeat an earlier one in every column of the dataset: each counts as often as it is there."""
    rows = len(split.training)
    repeated = rows - len(np.unique(hashes[split.training]))
    shown = f"{_of(repeated, rows, 'training rows')} repeat an earlier one in every column"
    if repeated <= limits.duplicate_rows * rows:
        return [], [f"split.train: {shown}"] if repeated else []
    most = f"more than checks.duplicate_rows_at_most, {limits.duplicate_rows:.2%}"
    return [Fault("split.train", f"{shown}, {most}; {_APART}")], []


def target_faults(name: str, target: Target, split: Split, limits: Limits) -> tuple[list[Fault], list[str]]:
    """Whether the target has a different distribution in the holdout than in training; judged as live targets are, by
    `drift.judge`. A season moves a class's share, so a change is noted, and a fault only beyond the limit."""
    classes = tuple(map(class_name, target.classes))
    training, holdout = target.values[split.training], target.values[split.holdout]
    column = (
        ColumnLayout(name, "categorical", categories=classes)
        if classes
        else ColumnLayout(name, "numeric", edges=profiles.quantile_edges(training))
    )
    layout = Layout(features=(), score=ColumnLayout("score", "numeric"), label=None, target=column)
    before, now = (profiles.count(layout, Table({}), target=values) for values in (training, holdout))
    (found,) = judge(layout, before, now, limits.target_drift).target.findings
    if not isinstance(found, ColumnFinding) or found.outcome is not DriftOutcome.DRIFTED:
        return [], []
    distance = found.distance or 0.0
    shown = (
        f"has a different distribution in the holdout: '{found.cell}' holds {found.cell_reference_share:.2%} of "
        f"{found.reference_rows:,} training rows and {found.cell_share:.2%} of {found.rows:,} holdout rows "
        f"({COMPARED.label} {distance:.3f})"
    )
    if distance <= limits.target_shift:
        return [], [f"target.{name}: {shown}"]
    remedy = "choose periods that are more alike, or raise the limit if the change is real"
    return [
        Fault(f"target.{name}", f"{shown}, more than monitoring.target_shift, {limits.target_shift:g}; {remedy}")
    ], []


def _of(count: int, rows: int, what: str = "values") -> str:
    return f"{count:,} of {rows:,} {what} ({count / max(rows, 1):.2%})"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
