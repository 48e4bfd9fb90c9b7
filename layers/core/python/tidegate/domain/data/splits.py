"""Which rows a model is fitted on, chosen by, and judged on.

The rule is the same for the holdout and for the validation part of training: with a time column the later rows are set
aside, with a group column whole groups, with both whole groups and later; else a seeded, stratified share. No row is on
both sides, no group either, and with a time column no fitted row is as late as a row it is judged on.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tidegate.kernel import english
from tidegate.kernel.table import ROW, Column, Table

Rows = npt.NDArray[np.int64]  # positions, rising
_HOLDOUT, _VALIDATION = 0, 1  # separate streams of chance from one seed
_STRATA_OF_NUMBERS = 10
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, slots=True)
class Interval:
    """Half-open [start, end) in the unit of the time column."""

    start: np.datetime64
    end: np.datetime64

    def contains(self, time: Column) -> npt.NDArray[np.bool_]:
        """Mask of the moments inside."""
        inside: npt.NDArray[np.bool_] = (time >= self.start) & (time < self.end)
        return inside


@dataclass(frozen=True, slots=True)
class Rolling:
    """Periods counted back from the last row: so many days held out, and so many before those to train on (None: all).

    A day is 24 hours, and both may be fractions.
    """

    holdout_days: float
    train_days: float | None = None

    def shortage(self, time: Column) -> str:
        """Why rows of these moments are too short a time; empty when they are not. The moments of a time column that
        holds days lie one day less apart than there are days, so a lack of up to a day is none."""
        spanned = float((time.max() - time.min()) / _DAY)
        total = self.holdout_days + (self.train_days or 0.0)
        if self.holdout_days <= spanned and total <= spanned + 1:
            return ""
        asked = f"{english.count(self.holdout_days, 'day')} to hold out"
        if self.train_days is not None:
            asked += f" and {self.train_days:g} to train on"
        first, last = (english.moment(str(np.datetime_as_string(each, unit="m"))) for each in (time.min(), time.max()))
        return f"asks for {asked}, but the rows span {spanned:.4g} days ({first} to {last}); ask for fewer, or add data"

    def periods(self, time: Column) -> tuple[Interval, Interval]:
        """Training and holdout periods for moments without a `shortage`; the holdout ends just after the last one."""
        end = time.max().astype("datetime64[us]") + np.timedelta64(1, "us")
        start = end - _days(self.holdout_days)
        begin = time.min() if self.train_days is None else start - _days(self.train_days)
        return Interval(begin, start), Interval(start, end)


@dataclass(frozen=True, slots=True)
class Split:
    """Row positions. `outside` counts rows of no period, `straddling` those left out to keep each group on one side.
    `guard` are rows without captures that nothing is fitted on; those of them in the holdout are in both."""

    fit: Rows
    validation: Rows
    holdout: Rows
    outside: int
    straddling: int
    guard: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def training(self) -> Rows:
        """Fit and validation rows, in order."""
        return np.sort(np.concatenate([self.fit, self.validation]))


@dataclass(frozen=True, slots=True)
class Division:
    """What rows are distinguished by: columns [rows] or None. Times must be known (no NaT); groups are any values.

    `strata` are class codes or numbers; they count only when there is neither time nor group.
    """

    strata: Column
    time: Column | None = None
    group: Column | None = None
    seed: int = 0

    def split(
        self,
        *,
        holdout_fraction: float,
        validation_fraction: float,
        train: Interval | None = None,
        holdout: Interval | None = None,
        own: Rows | None = None,
        own_days: float | None = None,
    ) -> Split:
        """Divide all rows; periods, when given, take the place of `holdout_fraction` and need a time column.

        `own` are the rows without captures, where there are others. Those that would be held out of them alone
        (`own_days` of them, or `holdout_fraction`) are kept from training too, and are the guard.
        """
        everything = np.arange(len(self.strata), dtype=np.int64)
        outside = 0
        if train is not None and holdout is not None and self.time is not None:
            in_training, in_holdout = train.contains(self.time), holdout.contains(self.time)
            outside = int((~in_training & ~in_holdout).sum())
            share = float(in_holdout.sum()) / max(1, len(everything) - outside)
            training, judged = self._part_groups(everything[in_training], everything[in_holdout], share, _HOLDOUT)
        else:
            training, judged = self._set_aside(everything, holdout_fraction, _HOLDOUT)
        guard = everything[:0] if own is None else self._guard(own, judged, holdout_fraction, own_days)
        kept = np.setdiff1d(training, guard)
        fit, validation = self._set_aside(kept, validation_fraction, _VALIDATION)
        apart = len(training) - len(kept)
        straddling = len(everything) - outside - apart - len(fit) - len(validation) - len(judged)
        return Split(fit, validation, judged, outside, straddling, guard)

    def _guard(self, own: Rows, judged: Rows, fraction: float, days: float | None) -> Rows:
        """The later of the own rows; without time, or where they span no more than the days, those held out anyway."""
        held_out = np.intersect1d(own, judged)
        if self.time is None or not len(own):
            return held_out
        moments = self.time[own]
        rolling = None if days is None else Rolling(days)
        if rolling is None:
            return own[moments >= _cut(moments, fraction)]
        if rolling.shortage(moments):
            return held_out
        return own[rolling.periods(moments)[1].contains(moments)]

    def _set_aside(self, rows: Rows, fraction: float, purpose: int) -> tuple[Rows, Rows]:
        """The rows that stay, and about `fraction` of them set aside."""
        if len(rows) == 0:
            return rows, rows
        if self.time is not None:
            later = self.time[rows] >= _cut(self.time[rows], fraction)
            return self._part_groups(rows[~later], rows[later], fraction, purpose)
        chance = np.random.default_rng([self.seed, purpose])
        if self.group is not None:
            aside = _whole_groups(self.group[rows], fraction, chance)
        else:
            aside = _stratified(self.strata[rows], fraction, chance)
        return rows[~aside], rows[aside]

    def _part_groups(self, earlier: Rows, later: Rows, share: float, purpose: int) -> tuple[Rows, Rows]:
        """Give each group that is in both to one side and leave out its rows on the other.

        A group goes later with the chance of a row to be there, so that neither side is emptied when all groups are in
        both; groups that are on one side only, the usual case, stay as they are.
        """
        if self.group is None:
            return earlier, later
        both = np.intersect1d(self.group[earlier], self.group[later])
        goes_later = both[np.random.default_rng([self.seed, purpose]).random(len(both)) < share]
        stays_earlier = np.setdiff1d(both, goes_later)
        return (
            earlier[~np.isin(self.group[earlier], goes_later)],
            later[~np.isin(self.group[later], stays_earlier)],
        )


def clusters(rows: Rows, resample_by: str, *, group: Column | None = None, time: Column | None = None) -> Column:
    """What the bootstrap draws together (int64 [rows]): the row itself, its group, or its day since 1970.

    `group` and `time` are columns of the whole dataset, `rows` positions in it.
    """
    if resample_by == "group" and group is not None:
        codes: Column = np.unique(group[rows], return_inverse=True)[1].astype(np.int64)
        return codes
    if resample_by == "day" and time is not None:
        return time[rows].astype("datetime64[D]").astype(np.int64)
    return rows.astype(np.int64)


def training_rows(fit: Table, validation: Table) -> Table:
    """All training rows in the order of the dataset, however they were parted."""
    joined = Table({name: np.concatenate([fit[name], validation[name]]) for name in fit})
    return joined.take(np.argsort(joined[ROW], kind="stable"))


def _days(days: float) -> np.timedelta64:
    return np.timedelta64(round(days * 86_400_000_000), "us")


def _cut(time: Column, fraction: float) -> np.datetime64:
    """The moment from which rows are later: of all moments the one that sets aside the share nearest to `fraction`."""
    moments, first = np.unique(np.sort(time), return_index=True)
    shares = 1 - first / len(time)
    shares[0] = np.inf if len(moments) > 1 else 1.0  # something must stay, if it can
    chosen: np.datetime64 = moments[np.argmin(np.abs(shares - fraction))]
    return chosen


def _whole_groups(group: Column, fraction: float, chance: np.random.Generator) -> npt.NDArray[np.bool_]:
    _, codes, sizes = np.unique(group, return_inverse=True, return_counts=True)
    order = chance.permutation(len(sizes))
    shares = np.cumsum(sizes[order]) / len(group)
    count = int(np.argmin(np.abs(shares[:-1] - fraction))) + 1 if len(sizes) > 1 else 0
    return np.isin(codes, order[:count])


def _stratified(strata: Column, fraction: float, chance: np.random.Generator) -> npt.NDArray[np.bool_]:
    if strata.dtype.kind == "f":
        edges = np.quantile(strata, np.linspace(0, 1, _STRATA_OF_NUMBERS + 1)[1:-1])
        strata = np.searchsorted(edges, strata, side="right")
    aside = np.zeros(len(strata), dtype=np.bool_)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        count = min(round(fraction * len(rows)), len(rows) - 1)
        aside[chance.permutation(rows)[:count]] = True
    return aside
