"""From a dataset's columns to rows that may be trained and judged on, or every reason why not.

Pure: what is asked (`Demands`, `SplitRule`), what is there (`types`, `table`), one answer (`Prepared`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tidegate.domain.data.checks import (
    Demands,
    Limits,
    Target,
    column_faults,
    copies,
    copy_faults,
    duplicate_faults,
    missing_target_faults,
    model_numbers,
    precision_notes,
    read_target,
    split_faults,
    target_faults,
    twin_faults,
    value_faults,
    wide_faults,
)
from tidegate.domain.data.dataset import ColumnType
from tidegate.domain.data.leaks import key_notes, leak_faults
from tidegate.domain.data.splits import Division, Interval, Rolling, Rows, Split
from tidegate.domain.serving.contract import FeatureContract
from tidegate.kernel import english
from tidegate.kernel.errors import DataCheckError, Fault
from tidegate.kernel.table import Column, Table, seconds


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How rows are divided; periods, fixed or rolling, take the place of `holdout_fraction`."""

    holdout_fraction: float
    validation_fraction: float
    seed: int
    train: Interval | None = None
    holdout: Interval | None = None
    rolling: Rolling | None = None


@dataclass(frozen=True, slots=True)
class Excluded:
    """Periods that people excluded, and the time column that they speak of."""

    column: str | None
    periods: Sequence[Interval] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows that may be used (positions in the dataset version), and how they are divided (positions in `rows`).

    `rule` is the one that was followed: rolling periods are fixed in it. `time` and `group` are columns of the whole
    dataset. `left_out` counts rows by reason, `copied` the holdout rows that occur in training too, `strengths` how
    well each feature alone predicts the target. `notes` are worth knowing and stop nothing.
    """

    rows: Rows
    target: Target
    rule: SplitRule
    split: Split
    time: Column | None
    group: Column | None
    left_out: Mapping[str, int]
    copied: int
    strengths: Mapping[str, float]
    notes: tuple[str, ...]


def readable(feature: FeatureContract, types: Mapping[str, ColumnType]) -> bool:
    """Whether the feature's column is there and can be read the way its kind needs."""
    kind = types.get(feature.name)
    if feature.kind == "categorical":
        return kind not in {None, ColumnType.TIME}
    if feature.kind == "time":
        return kind is ColumnType.TIME
    return kind in {ColumnType.NUMBER, ColumnType.INTEGER, ColumnType.BOOLEAN}


def columns_needed(demands: Demands, excluded: Excluded, types: Mapping[str, ColumnType]) -> list[str]:
    """The columns, of those that are there, that `prepare_rows` looks at; texts too where a feature is something else,
    to say which of them are not."""
    features = [
        feature.name
        for feature in demands.features
        if readable(feature, types) or types.get(feature.name) is ColumnType.TEXT
    ]
    names = [demands.target, demands.time, demands.group, excluded.column, *features]
    return list(dict.fromkeys(name for name in names if name is not None and name in types))


def prepare_rows(
    demands: Demands,
    rule: SplitRule,
    excluded: Excluded,
    *,
    types: Mapping[str, ColumnType],
    table: Table,
    hashes: Column,
    limits: Limits,
    known: Sequence[Fault] = (),
    captured: int = 0,
) -> Prepared:
    """Drop the rows that must not be used, check the rest, divide it.

    Args:
        types: of all columns of the dataset.
        table: the `columns_needed`, categorical features as texts.
        hashes: of whole rows.
        known: faults found elsewhere, which are reported with those that are found here.
        captured: so many of the last rows are captured predictions.

    Raises:
        DataCheckError: with every fault; a check whose own columns are at fault is passed over.
    """
    found = _Findings(demands, types, table, np.arange(len(hashes), dtype=np.int64))
    found.faults += [*known, *column_faults(demands, types, table.columns)]
    found.exclude(excluded)
    found.drop_missing_target()
    time = found.role("time", demands.time)
    group = found.role("group", demands.group)
    rule = found.fix_periods(rule, time)
    found.keep_periods(rule, time)
    target = found.read_target()
    split = found.divide(rule, target, time, group, own_rows=len(hashes) - captured if captured else None)
    strengths = found.check_features(target, split)
    missing, asked = found.left_out.get("missing_target", 0), len(hashes) - found.left_out.get("excluded", 0)
    found.faults += missing_target_faults(demands.target, missing, asked, limits)
    copied = 0
    if target is not None and split is not None:
        copied = copies(hashes[found.rows], split)
        found.faults += split_faults(split, target)
        found.add(copy_faults(copied, split))
        found.add(duplicate_faults(hashes[found.rows], split, limits))
        found.add(target_faults(demands.target, target, split, limits))
    if found.faults or target is None or split is None:
        raise DataCheckError(
            f"{english.count(len(found.faults), 'fault')} in dataset {demands.dataset} for this spec",
            found.faults,
            next_step="correct the spec or the dataset; nothing was trained",
        )
    left_out = {**found.left_out, "straddling_groups": split.straddling}
    return Prepared(found.rows, target, rule, split, time, group, left_out, copied, strengths, tuple(found.notes))


@dataclass(slots=True)
class _Findings:
    """What is known so far: faults and notes, and the rows that are left."""

    demands: Demands
    types: Mapping[str, ColumnType]
    table: Table
    rows: Rows
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def add(self, found: tuple[list[Fault], list[str]]) -> None:
        faults, notes = found
        self.faults += faults
        self.notes += notes

    def exclude(self, excluded: Excluded) -> None:
        if not excluded.periods:
            return
        if excluded.column is None or self.types.get(excluded.column) is not ColumnType.TIME:
            problem = "excluded periods of the dataset refer to this column, which is not a time column here"
            self.faults.append(Fault(f"time.{excluded.column or '?'}", problem))
            return
        time = self.table[excluded.column]
        held = [period.contains(time) for period in excluded.periods]
        if excluded.column != self.demands.time:  # else such rows are a fault anyway
            held.append(_missing(time))  # a row without a time may be of any period
        self._drop("excluded", np.any(held, axis=0))

    def drop_missing_target(self) -> None:
        if self.demands.target in self.table:
            self._drop("missing_target", _missing(self.table[self.demands.target]))

    def role(self, role: str, name: str | None) -> Column | None:
        """The column, once the rows that lack it are reported; None when there is none to use."""
        if name is None or name not in self.table or self._faulty(f"{role}.{name}"):
            return None
        column = self.table[name]
        gaps = _missing(column)
        if count := int(gaps[self.rows].sum()):
            problem = f"is missing in {english.count(count, 'row')}; fill it in, or leave those rows out of the dataset"
            self.faults.append(Fault(f"{role}.{name}", problem))
            self.rows = self.rows[~gaps[self.rows]]
        if role == "group":
            self.faults += wide_faults(f"{role}.{name}", column[self.rows])
        return column

    def fix_periods(self, rule: SplitRule, time: Column | None) -> SplitRule:
        """The rule with rolling periods counted back from the last row that is left."""
        if rule.rolling is None or time is None or not len(self.rows):
            return rule
        moments = time[self.rows]
        if problem := rule.rolling.shortage(moments):
            self.faults.append(Fault("split.holdout_days", problem))
            return rule
        train, holdout = rule.rolling.periods(moments)
        return replace(rule, train=train, holdout=holdout)

    def keep_periods(self, rule: SplitRule, time: Column | None) -> None:
        if time is not None and rule.train and rule.holdout:
            self._drop("outside_periods", ~(rule.train.contains(time) | rule.holdout.contains(time)))

    def read_target(self) -> Target | None:
        name = self.demands.target
        if name not in self.table or self._faulty(f"target.{name}") or not len(self.rows):
            return None
        target, faults = read_target(self.demands, self.table[name][self.rows], self.types[name])
        self.faults += faults
        return target

    def divide(
        self,
        rule: SplitRule,
        target: Target | None,
        time: Column | None,
        group: Column | None,
        *,
        own_rows: int | None,
    ) -> Split | None:
        if not len(self.rows):
            counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in self.left_out.items() if count)
            self.faults.append(Fault("split", f"no rows are left ({counts or 'the dataset is empty'})"))
            return None
        if (time is None) != (self.demands.time is None) or (group is None) != (self.demands.group is None):
            return None
        division = Division(
            strata=np.zeros(len(self.rows)) if target is None else target.values,
            time=None if time is None else time[self.rows],
            group=None if group is None else group[self.rows],
            seed=rule.seed,
        )
        split = division.split(
            holdout_fraction=rule.holdout_fraction,
            validation_fraction=rule.validation_fraction,
            train=rule.train,
            holdout=rule.holdout,
            own=None if own_rows is None else np.flatnonzero(self.rows < own_rows),
            own_days=rule.rolling.holdout_days if rule.rolling else None,
        )
        return replace(split, outside=self.left_out.get("outside_periods", 0))

    def check_features(self, target: Target | None, split: Split | None) -> dict[str, float]:
        """Values of the features, and leaks among them; the strength of each feature alone."""
        features = [feature for feature in self.demands.features if feature.name in self.table]
        features = [feature for feature in features if readable(feature, self.types)]
        used = Table({feature.name: seconds(self.table[feature.name][self.rows]) for feature in features})
        training = np.arange(len(self.rows), dtype=np.int64) if split is None else split.training
        self.faults += value_faults(features, used, training, personal=self.demands.personal)
        trained = used.take(training)
        self.notes += precision_notes(features, trained)
        self.notes += key_notes(features, trained, group=self.demands.group)
        trained = model_numbers(features, trained)
        self.faults += twin_faults(features, trained)
        if target is None or not len(training):
            return {}
        answers = replace(target, values=target.values[training])
        found = leak_faults(features, trained, answers, vouched=self.demands.vouched)
        self.faults += [leak for leak in found.faults if not self._faulty(leak.path)]  # an outcome column is named once
        self.notes += found.notes
        return dict(found.strengths)

    def _drop(self, reason: str, unwanted: Column) -> None:
        kept = self.rows[~unwanted[self.rows]]
        self.left_out[reason] = len(self.rows) - len(kept)
        self.rows = kept

    def _faulty(self, path: str) -> bool:
        return any(fault.path == path for fault in self.faults)


def _missing(column: Column) -> Column:
    match column.dtype.kind:
        case "U":
            empty: Column = column == ""
            return empty
        case "M":
            return np.isnat(column)
        case _:
            return np.isnan(column)
