"""Declared slices are judged apart, and slices that nobody declared are named only when they are really there."""

import numpy as np
import pytest

from scripts.benchmarks.gate import EqualSlices
from tests.builders.present import present
from tidegate.domain.evaluation.bootstrap import CANDIDATE, Arm, Resampling, simultaneous
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.slices import (
    CHAMPION,
    MAX_CATEGORIES,
    Condition,
    Judged,
    confirm,
    halves,
    judge,
    members,
    part,
    row_loss,
    shortened,
    worst,
)
from tidegate.kernel.table import Table
from tidegate.kernel.typed import to_json
from tidegate.ml.slices import DEPTH, LEAST_LEAF_ROWS, tree_leaves

NAN = float("nan")


def parts_of(column, **options):
    parting = part(column, **options)
    return [parting.labels[code] for code in parting.codes.tolist()]


def probabilities(positive):
    return np.stack([1 - positive, positive], axis=1).astype(np.float32)


def judged_rows(target, candidate, champion=None, *, cluster=None, metric="brier", min_rows=100, resamples=400):
    arms = {CANDIDATE: Arm(probabilities(candidate))}
    if champion is not None:
        arms[CHAMPION] = Arm(probabilities(champion))
    drawn = Resampling(len(target), cluster, resamples=resamples, seed=3)
    return Judged(metric, target, arms, drawn, min_rows)


def test_categories_beyond_the_twenty_with_most_rows_are_taken_together():
    names = [f"c{number:02}" for number in range(MAX_CATEGORIES + 2) for _ in range(30 - number)]
    column = np.array(["", *names])
    found = part(column)
    assert found.labels == (*(f"c{number:02}" for number in range(MAX_CATEGORIES)), "other", "missing")
    assert np.bincount(found.codes)[-2:].tolist() == [19, 1]


def test_numbers_are_parted_by_quartile_and_the_missing_are_a_part_of_their_own():
    column = np.array([*range(1, 9), NAN])
    assert parts_of(column) == [
        *["at most 2"] * 2,
        *["above 2, at most 4"] * 2,
        *["above 4, at most 6"] * 2,
        *["above 6"] * 2,
        "missing",
    ]


def test_quartiles_that_fall_together_make_fewer_parts_and_none_is_empty():
    column = np.array([0.0] * 80 + list(range(1, 21)))
    assert part(column).labels == ("at most 0", "above 0")
    column = np.array([*range(1, 21)] + [30.0] * 80)
    assert set(parts_of(column)) == set(part(column).labels) == {"at most 30"}


def test_few_numbers_and_booleans_are_parted_by_value():
    assert parts_of(np.array([1.0, 2.0, 2.5, 1.0])) == ["1", "2", "2.5", "1"]
    assert parts_of(np.array([1.0, 0.0, NAN]), boolean=True) == ["true", "false", "missing"]


def a_holdout(rows=6_000, seed=0, worse_in=None):
    """A champion that knows the truth, and a candidate that is as good but where it is made to be worse."""
    chance = np.random.default_rng(seed)
    truth = chance.uniform(0.05, 0.95, rows)
    target = (chance.random(rows) < truth).astype(np.int64)
    carrier = chance.choice(["AA", "EV", "UA"], rows)
    noise = chance.normal(0, 0.02, rows)
    candidate = np.where(carrier == worse_in, 0.5, np.clip(truth + noise, 0.01, 0.99))
    return target, candidate, truth, carrier


def test_a_slice_in_which_the_candidate_is_worse_is_shown_and_the_others_are_not():
    target, candidate, champion, carrier = a_holdout(worse_in="EV")
    found = {each.value: each for each in judge(judged_rows(target, candidate, champion), {"carrier": part(carrier)})}
    assert set(found) == {"AA", "EV", "UA"}
    assert present(found["EV"].gain_over_champion).high < 0
    assert present(found["AA"].gain_over_champion).high > 0
    assert present(found["EV"].metric).value == pytest.approx(np.mean((0.5 - target[carrier == "EV"]) ** 2), abs=1e-6)
    assert sum(each.rows for each in found.values()) == len(target)


def test_without_a_champion_slices_have_a_metric_and_no_gain():
    target, candidate, _, carrier = a_holdout()
    found = judge(judged_rows(target, candidate), {"carrier": part(carrier)})
    assert [each.gain_over_champion for each in found] == [None] * 3
    assert all(present(each.metric).low < present(each.metric).value < present(each.metric).high for each in found)


def test_a_slice_says_what_it_has_too_little_of():
    target, candidate, champion, carrier = a_holdout()
    carrier[:40] = "HA"
    carrier[40:240] = "OO"
    target[40:240] = 1
    days = np.arange(len(target)) // 100  # OO flies on three days
    found = judge(judged_rows(target, candidate, champion), {"carrier": part(carrier)})
    assert {each.value: each.lacking for each in found}["HA"] == "40 of 100 rows"
    ranked = judge(judged_rows(target, candidate, champion, metric="roc_auc"), {"carrier": part(carrier)})
    assert {each.value: each.lacking for each in ranked}[
        "OO"
    ] == "roc_auc is not defined: all 200 rows are of one class"
    by_day = judge(judged_rows(target, candidate, champion, cluster=days), {"carrier": part(carrier)})
    lacking = {each.value: each for each in by_day}["OO"]
    assert lacking.lacking == "3 of 20 days or groups"
    assert lacking.too_few
    assert lacking.metric is lacking.gain_over_champion is None


def test_a_slice_with_few_rows_of_the_rarer_class_is_not_judged():
    target, candidate, champion, carrier = a_holdout()
    target[carrier == "EV"] = 0
    target[np.flatnonzero(carrier == "EV")[:9]] = 1
    found = {each.value: each for each in judge(judged_rows(target, candidate, champion), {"carrier": part(carrier)})}
    assert found["EV"].lacking == "9 of 10 rows with the rarer class"
    assert not any(each.too_few for name, each in found.items() if name != "EV")


def test_more_slices_and_fewer_units_make_each_interval_wider():
    alone = Estimate(0.1, 0.05, 0.16)
    for comparisons, factor in ((1, 1.0), (10, 2.8070 / 1.95996), (100, 3.4808 / 1.95996)):
        together = simultaneous(alone, comparisons, confidence=0.95, clusters=10**9, units=10**9)
        assert together.value == 0.1
        assert (together.low, together.high) == pytest.approx((0.1 - 0.055 * factor, 0.1 + 0.055 * factor), abs=1e-4)
    few = simultaneous(alone, 10, confidence=0.95, clusters=10**9, units=25)
    assert few.high - few.value == pytest.approx(0.055 / 1.95996 * 3.0905, abs=1e-4)  # t of 24 degrees at 0.9975


@pytest.mark.simulation
def test_rare_positives_do_not_make_a_slice_worse_that_is_not():
    """2.5 % promised; 8 of 100 would be beyond three standard errors."""
    assert sum(EqualSlices(8, 500, 0.05).called_worse(seed) for seed in range(100)) <= 7


@pytest.mark.simulation
def test_a_candidate_that_is_worse_nowhere_is_seldom_called_worse_in_any_of_many_slices():
    """Family-wise error at 0.95: 2.5 % expected; 12 of 200 would be beyond three standard errors."""
    wrong = alone = 0
    for seed in range(200):
        chance = np.random.default_rng(seed)
        rows = 2_400
        target = (chance.random(rows) < 0.5).astype(np.int64)
        candidate, champion = (np.clip(0.5 + chance.normal(0, 0.1, rows), 0.01, 0.99) for _ in range(2))
        slices = {"group": part(np.array([f"g{number:02}" for number in range(20)])[chance.integers(0, 20, rows)])}
        found = judge(judged_rows(target, candidate, champion, min_rows=60, resamples=200), slices)
        gains = [present(each.gain_over_champion) for each in found]
        wrong += any(gain.high < 0 for gain in gains)
        factor = 3.24 / 2  # about Student's quantiles
        alone += any(gain.value + (gain.high - gain.value) / factor < 0 for gain in gains)
    assert wrong <= 12
    assert alone > 40


def test_a_condition_holds_for_what_it_says():
    numbers = np.array([1.0, 3.0, NAN])
    texts = np.array(["EV", "", "UA"])
    cases = [
        (Condition("hour", "<=", 1.5), numbers, [True, False, False], "hour at most 1.5"),
        (Condition("hour", ">", 1.5), numbers, [False, True, False], "hour above 1.5"),
        (Condition("hour", ">", 1.5, True), numbers, [False, True, True], "hour above 1.5 or missing"),
        (Condition("hour", "is missing"), numbers, [False, False, True], "hour is missing"),
        (Condition("hour", "is known"), numbers, [True, True, False], "hour is known"),
        (Condition("late", "is", True), np.array([1.0, 0.0, NAN]), [True, False, False], "late is true"),
        (Condition("carrier", "is", "EV"), texts, [True, False, False], "carrier is EV"),
        (Condition("carrier", "is not", "EV"), texts, [False, True, True], "carrier is not EV"),
        (Condition("carrier", "is", ""), texts, [False, True, False], "carrier is missing"),
    ]
    for condition, column, held, words in cases:
        assert condition.holds(column).tolist() == held, words
        assert condition.words == words


def test_a_path_is_reported_in_few_words_and_means_the_same_rows():
    path = (
        Condition("hour", ">", 6.5),
        Condition("carrier", "is not", "AA"),
        Condition("hour", ">", 18.5, True),
        Condition("carrier", "is", "EV"),
        Condition("hour", "<=", 22.5),
    )
    short = shortened(path)
    assert " and ".join(step.words for step in short) == "hour above 18.5 and carrier is EV and hour at most 22.5"
    chance = np.random.default_rng(0)
    hours = np.where(chance.random(500) < 0.1, NAN, chance.integers(0, 24, 500))
    table = Table({"hour": hours, "carrier": chance.choice(["AA", "EV"], 500)})
    assert members(short, table).tolist() == members(path, table).tolist()
    assert members(short, table).any()


def test_losses_are_those_of_the_metrics():
    scores = probabilities(np.array([0.9, 0.2, 0.0]))
    assert row_loss("binary", np.array([1, 0, 1]), scores) == pytest.approx(
        [-np.log(0.9), -np.log(0.8), -np.log(np.finfo(np.float32).eps)], rel=1e-5
    )
    assert row_loss("regression", np.array([1.0, 4.0]), np.array([[2.0], [1.0]])).tolist() == [1.0, 9.0]


def test_whole_clusters_go_to_one_half_and_the_seed_decides_which():
    cluster = np.repeat(np.arange(31), 10)
    first, second = halves(310, cluster, seed=1)
    assert not set(cluster[first]) & set(cluster[second])
    assert sorted([*first, *second]) == list(range(310))
    assert len(first) == 150
    assert halves(310, cluster, seed=1)[0].tolist() == first.tolist()
    assert halves(310, cluster, seed=2)[0].tolist() != first.tolist()
    assert [len(half) for half in halves(11, None, seed=0)] == [5, 6]


def test_the_leaves_of_the_tree_hold_every_row_once_and_are_large():
    chance = np.random.default_rng(0)
    rows = 6_000
    table = Table(
        {
            "hour": np.where(chance.random(rows) < 0.2, NAN, chance.integers(0, 24, rows)),
            "carrier": chance.choice(["AA", "EV", "UA", ""], rows),
            "holiday": chance.integers(0, 2, rows).astype(float),
        }
    )
    loss = chance.random(rows) + np.isnan(table["hour"]) + (table["carrier"] == "EV") + table["holiday"]
    paths = tree_leaves(table, {"holiday"}, loss)
    held = np.stack([members(path, table) for path in paths])
    assert held.sum(axis=0).tolist() == [1] * rows
    assert held.sum(axis=1).min() >= LEAST_LEAF_ROWS
    assert 2 <= len(paths) <= 2**DEPTH
    words = {step.words for path in paths for step in path}
    assert {"hour is missing", "carrier is EV", "holiday is true"} <= words
    (top, *_) = worst(paths, table, loss)
    assert {step.feature for step in top} == {"hour", "carrier", "holiday"}
    assert loss[members(top, table)].mean() > 3


def test_few_rows_are_not_parted():
    table = Table({"hour": np.arange(399.0)})
    assert tree_leaves(table, (), np.arange(399.0)) == []


def searched(seed, *, planted, clustered=False, rows=3_000):
    """One version's search: features without influence on the loss, but for a planted slice."""
    chance = np.random.default_rng(seed)
    hour, carrier = chance.integers(0, 24, rows).astype(float), chance.choice(["AA", "EV", "UA"], rows)
    cluster = chance.integers(0, 40, rows) if clustered else None
    sure = np.full(rows, 0.8)
    right = chance.random(rows) < np.where(planted & (carrier == "EV") & (hour > 18), 0.5, 0.8)
    if clustered:
        right &= chance.random(40)[cluster] > 0.15  # some days are bad as a whole
    target = right.astype(np.int64)
    judged = judged_rows(target, sure, cluster=cluster, resamples=200)
    table = Table({"hour": hour, "carrier": carrier})
    loss = row_loss("binary", target, judged.arms[CANDIDATE].scores)
    first, second = halves(rows, cluster, seed)
    named = table.take(first)
    paths = worst(tree_leaves(named, (), loss[first]), named, loss[first])
    return confirm(paths, table.take(second), loss[second], judged.take(second))


@pytest.mark.simulation
@pytest.mark.parametrize("clustered", [False, True])
def test_without_a_real_slice_one_is_seldom_confirmed(clustered):
    """At most 2.5 % of runs by design; 12 of 200 would be beyond three standard errors, and beyond 5 %."""
    runs = [searched(seed, planted=False, clustered=clustered) for seed in range(200)]
    assert sum(any(each.confirmed for each in found) for found in runs) <= 11
    assert sum(bool(found) for found in runs) > 150  # there was something to be wrong about


def test_a_slice_of_a_few_bad_days_is_reported_and_not_confirmed():
    rows = 4_000
    day = np.arange(rows) // 100
    fog = np.isin(day, [3, 4, 12, 13, 20, 21, 30, 31]).astype(float)
    target = np.where(fog > 0, np.arange(rows) % 2, 1)
    judged = judged_rows(target, np.full(rows, 0.8), cluster=day, resamples=200)
    loss = row_loss("binary", target, judged.arms[CANDIDATE].scores)
    foggy = [(Condition("fog", ">", 0.5),)]
    (found,) = confirm(foggy, Table({"fog": fog}), loss, judged)
    assert found.loss_over_rest.low > 0
    assert not found.confirmed
    assert found.section.lacking == "8 of 10 days or groups"
    (found,) = confirm(foggy, Table({"fog": fog}), loss, judged_rows(target, np.full(rows, 0.8), resamples=200))
    assert found.confirmed


def test_a_planted_slice_is_found_and_named():
    for seed in range(10):
        confirmed = [each for each in searched(seed, planted=True, rows=8_000) if each.confirmed]
        assert confirmed, seed
        said = to_json(confirmed[0].section)
        assert "carrier is EV" in said["words"], seed
        (above,) = [value for feature, operator, value in said["path"] if (feature, operator) == ("hour", ">")]
        assert 17 <= above <= 20, seed
        assert said["loss_over_rest"]["low"] > 0
        assert said["metric"]["value"] > 0.2
