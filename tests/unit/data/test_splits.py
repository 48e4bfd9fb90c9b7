"""No row, no group and no moment is on two sides, whatever the data looks like."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.domain.data.splits import Division, Interval, Rolling, Split, clusters, training_rows
from tidegate.kernel.table import ROW, Table

DAY = np.timedelta64(1, "D")


def days(offsets: list[int]) -> np.ndarray:
    return np.datetime64("2013-01-01", "us") + np.array(offsets) * DAY


def fractions(division: Division, holdout: float = 0.2, validation: float = 0.25) -> Split:
    return division.split(holdout_fraction=holdout, validation_fraction=validation)


def assert_apart(split: Split, rows: int) -> None:
    parts = [split.fit, split.validation, split.holdout]
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)
    assert len(together) + split.straddling + split.outside == rows


def test_without_time_or_group_shares_are_stratified_and_seeded() -> None:
    strata = np.repeat([0, 1], [900, 100])
    split = fractions(Division(strata, seed=1))
    assert_apart(split, 1000)
    assert np.bincount(strata[split.holdout]).tolist() == [180, 20]
    assert np.bincount(strata[split.validation]).tolist() == [180, 20]
    assert split.holdout.tolist() == fractions(Division(strata, seed=1)).holdout.tolist()
    assert split.holdout.tolist() != fractions(Division(strata, seed=2)).holdout.tolist()


def test_numbers_are_stratified_by_their_tenths() -> None:
    values = np.arange(1000.0)
    split = fractions(Division(values, seed=3))
    assert values[split.holdout].mean() == pytest.approx(values.mean(), abs=10)


def test_with_time_the_later_rows_are_held_out() -> None:
    time = days([4, 0, 3, 1, 2] * 20)
    split = fractions(Division(np.zeros(100), time=time))
    assert_apart(split, 100)
    assert time[split.fit].max() < time[split.validation].min()
    assert time[split.training].max() < time[split.holdout].min()
    assert len(split.holdout) == 20


def test_rows_of_one_moment_are_never_parted() -> None:
    time = days([0] * 50 + [1] * 30 + [2] * 20)
    split = fractions(Division(np.zeros(100), time=time), holdout=0.3, validation=0.3)
    assert np.unique(time[split.holdout]).tolist() == np.unique(days([2])).tolist()


def test_periods_are_kept_and_the_rest_is_counted() -> None:
    time = days(list(range(100)))
    train, holdout = Interval(*days([10, 40])), Interval(*days([50, 60]))
    split = Division(np.zeros(100), time=time).split(
        holdout_fraction=0.2, validation_fraction=0.2, train=train, holdout=holdout
    )
    assert split.training.tolist() == list(range(10, 40))
    assert split.holdout.tolist() == list(range(50, 60))
    assert split.outside == 60


def test_a_period_ends_before_its_end() -> None:
    assert Interval(*days([1, 2])).contains(days([0, 1, 2])).tolist() == [False, True, False]


def test_rolling_periods_count_days_back_from_the_last_row() -> None:
    time = days(list(range(100)))
    train, holdout = Rolling(10, 30).periods(time)
    assert time[holdout.contains(time)].tolist() == days(list(range(90, 100))).tolist()
    assert time[train.contains(time)].tolist() == days(list(range(60, 90))).tolist()
    assert train.end == holdout.start


def test_without_train_days_all_rows_before_the_holdout_are_trained_on() -> None:
    time = days(list(range(100)))
    train, holdout = Rolling(10).periods(time)
    assert int(train.contains(time).sum()) + int(holdout.contains(time).sum()) == 100


def test_rolling_days_have_24_hours_and_may_be_fractions() -> None:
    time = days([0])[0] + np.arange(100) * np.timedelta64(1, "h")
    train, holdout = Rolling(0.5, 1.25).periods(time)
    assert np.flatnonzero(holdout.contains(time)).tolist() == list(range(88, 100))
    assert np.flatnonzero(train.contains(time)).tolist() == list(range(58, 88))


@settings(max_examples=60)
@given(
    minutes=st.lists(st.integers(0, 200_000), min_size=1, max_size=60),
    holdout_days=st.floats(0.001, 200),
    train_days=st.none() | st.floats(0.001, 200),
)
def test_the_last_row_is_held_out_and_rolling_periods_meet(
    minutes: list[int], holdout_days: float, train_days: float | None
) -> None:
    time = days([0])[0] + np.array(minutes) * np.timedelta64(1, "m")
    train, holdout = Rolling(holdout_days, train_days).periods(time)
    assert holdout.contains(time)[time.argmax()]
    assert not (train.contains(time) & holdout.contains(time)).any()
    assert not (time >= holdout.end).any()
    if not Rolling(holdout_days).shortage(time):
        assert not holdout.contains(time)[time.argmin()]
    if train_days is None and not Rolling(holdout_days).shortage(time):
        assert (train.contains(time) | holdout.contains(time)).all()


@pytest.mark.parametrize(
    ("rolling", "enough"),
    [
        (Rolling(10, 90), True),  # 100 days, the first and the last at midnight
        (Rolling(10, 90.5), False),
        (Rolling(99), True),
        (Rolling(99.5), False),
        (Rolling(99.5, 0.1), False),
        (Rolling(1e12, 1e12), False),
    ],
)
def test_rows_of_too_short_a_time_are_reported(rolling: Rolling, enough: bool) -> None:
    shortage = rolling.shortage(days(list(range(100))))
    assert (shortage == "") == enough
    if not enough:
        assert "the rows span 99 days (2013-01-01 to 2013-04-10)" in shortage


def test_whole_groups_are_held_out() -> None:
    group = np.arange(1000) % 50
    split = fractions(Division(np.zeros(1000), group=group))
    assert_apart(split, 1000)
    assert not set(group[split.training]) & set(group[split.holdout])
    assert not set(group[split.fit]) & set(group[split.validation])
    assert len(split.holdout) == 200


def test_groups_that_end_before_the_holdout_are_all_kept() -> None:
    time = days(list(range(100)))
    split = fractions(Division(np.zeros(100), time=time, group=np.arange(100) // 5))
    assert split.straddling == 0
    assert len(split.holdout) == 20


def test_groups_that_go_on_all_the_time_are_shared_out_and_both_sides_keep_some() -> None:
    time, group = days([row // 20 for row in range(2000)]), np.arange(2000) % 20
    split = fractions(Division(np.zeros(2000), time=time, group=group, seed=4))
    assert_apart(split, 2000)
    assert split.straddling > 0
    assert min(len(split.fit), len(split.validation), len(split.holdout)) > 0
    assert time[split.training].max() < time[split.holdout].min()


@settings(max_examples=60)
@given(
    data=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=120),
    timed=st.booleans(),
    grouped=st.booleans(),
    seed=st.integers(0, 5),
)
def test_nothing_is_on_two_sides(data: list[tuple[int, int, int]], timed: bool, grouped: bool, seed: int) -> None:
    offsets, groups, strata = (np.array(column) for column in zip(*data, strict=True))
    time = days(offsets.tolist())
    division = Division(strata, time=time if timed else None, group=groups if grouped else None, seed=seed)
    split = fractions(division)
    assert_apart(split, len(data))
    for earlier, later in ((split.fit, split.validation), (split.training, split.holdout)):
        if grouped:
            assert not set(groups[earlier]) & set(groups[later])
        if timed and len(earlier) and len(later):
            assert time[earlier].max() < time[later].min()


@settings(max_examples=60)
@given(
    data=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=120),
    captured=st.integers(1, 60),
    timed=st.booleans(),
    rolling=st.booleans(),
    seed=st.integers(0, 5),
)
def test_nothing_is_fitted_on_the_guard_which_has_no_captures(
    data: list[tuple[int, int, int]], captured: int, timed: bool, rolling: bool, seed: int
) -> None:
    offsets, _, strata = (np.array(column) for column in zip(*data, strict=True))
    later = np.concatenate([offsets, 31 + np.arange(captured) % 5])
    strata = np.concatenate([strata, np.zeros(captured, dtype=int)])
    time, own = days(later.tolist()), np.arange(len(offsets))
    division = Division(strata, time=time if timed else None, seed=seed)
    periods = Rolling(4).periods(time) if timed and rolling and not Rolling(4).shortage(time) else (None, None)
    split = division.split(
        holdout_fraction=0.2,
        validation_fraction=0.25,
        train=periods[0],
        holdout=periods[1],
        own=own,
        own_days=4 if periods[0] else None,
    )
    assert not set(split.guard) & set(split.training)
    assert set(split.guard) <= set(own.tolist())
    assert set(own.tolist()) & set(split.holdout) <= set(split.guard)
    together = np.concatenate([split.training, np.union1d(split.guard, split.holdout)])
    assert len(np.unique(together)) == len(together)
    assert len(together) + split.outside + split.straddling == len(later)
    left = np.intersect1d(split.training, own)
    if timed and len(left) and len(split.guard):
        assert time[left].max() < time[split.guard].min()


def test_the_guard_is_what_would_be_held_out_without_captures() -> None:
    time = days([*range(100), *range(200, 260)])
    division, own = Division(np.zeros(160), time=time), np.arange(100)
    train, holdout = Rolling(10).periods(time)
    split = division.split(
        holdout_fraction=0.2, validation_fraction=0.25, train=train, holdout=holdout, own=own, own_days=10
    )
    assert split.guard.tolist() == list(range(90, 100))
    assert split.holdout.tolist() == list(range(150, 160))
    assert split.straddling == 0
    assert fractions(division).guard.tolist() == []


def test_clusters_are_rows_groups_or_days() -> None:
    rows = np.array([0, 2, 3])
    time, group = days([0, 1, 1, 1]) + np.timedelta64(5, "h"), np.array(["x", "y", "x", "z"])
    assert clusters(rows, "row").tolist() == [0, 2, 3]
    assert clusters(rows, "group", group=group).tolist() == [0, 0, 1]
    found = clusters(rows, "day", time=time)
    assert found[1] == found[2] == found[0] + 1
    assert found.dtype == np.int64


def test_training_rows_come_in_the_order_of_the_dataset() -> None:
    fit, validation = (Table({"x": np.array(x), ROW: np.array(x)}) for x in ([4, 0], [2]))
    assert training_rows(fit, validation)["x"].tolist() == [0, 2, 4]
