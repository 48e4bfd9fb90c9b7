"""Differences between groups are fairlearn's, and their intervals hold."""

import numpy as np
import pytest
from fairlearn.metrics import (
    demographic_parity_difference,
    equal_opportunity_difference,
    equalized_odds_difference,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.present import present
from tidegate.domain.evaluation.bootstrap import Resampling
from tidegate.domain.evaluation.fairness import MIN_GROUP_ROWS, RATES_OF, Decisions
from tidegate.ml.fairness import FairlearnGroups

FAIRLEARN = {
    "demographic_parity": demographic_parity_difference,
    "equal_opportunity": equal_opportunity_difference,
    "equalized_odds": equalized_odds_difference,
}


def decisions(rows=4_000, seed=0, *, groups=3, chosen=(0.3, 0.4, 0.5), sizes=None):
    chance = np.random.default_rng(seed)
    group = chance.choice(groups, rows, p=sizes)
    positive = chance.random(rows) < 0.4
    decided = chance.random(rows) < np.asarray(chosen)[group] + 0.2 * positive
    return Decisions(positive, decided, group, groups)


@settings(max_examples=6)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_the_counted_differences_and_rates_are_fairlearns(seed, groups):
    chance = np.random.default_rng(seed)
    found = decisions(3_000, seed, groups=groups, chosen=chance.uniform(0.1, 0.7, groups))
    resampling = Resampling(3_000, resamples=200, seed=seed)
    for measure, by_fairlearn in FAIRLEARN.items():
        expected = by_fairlearn(found.positive, found.decided, sensitive_features=found.group)
        assert found.difference(measure, resampling).estimate.value == pytest.approx(expected, abs=1e-15)
        ours = FairlearnGroups().difference(measure, found.positive, found.decided, found.group)
        assert ours == pytest.approx(expected, abs=1e-15)
    table = FairlearnGroups().rates(found.positive, found.decided, found.group)
    for rate in {rate for rates in RATES_OF.values() for rate in rates}:
        assert [table[code][rate] for code in range(groups)] == pytest.approx(found.rates(rate).tolist(), abs=1e-15)


def test_rates_that_rest_on_few_rows_are_left_out_of_the_differences():
    found = decisions(4_000, sizes=[0.49, 0.49, 0.02])
    assert np.bincount(found.group)[2] >= MIN_GROUP_ROWS
    assert found.counts("true_positive_rate")[2] < MIN_GROUP_ROWS
    assert found.compared("demographic_parity") == (0, 1, 2)
    assert found.compared("equal_opportunity") == found.compared("equalized_odds") == (0, 1)
    alone = Decisions(found.positive, found.decided, np.zeros(4_000, dtype=int), 1)
    assert alone.difference("demographic_parity", Resampling(4_000)) is None


def test_the_difference_names_the_groups_that_are_furthest_apart_and_the_rate():
    chance = np.random.default_rng(4)
    rows = 6_000
    group, positive = chance.integers(0, 3, rows), chance.random(rows) < 0.5
    decided = positive & (chance.random(rows) < 0.9)
    decided |= ~positive & (group == 2) & (chance.random(rows) < 0.3)
    found = present(
        Decisions(positive, decided, group, 3).difference("equalized_odds", Resampling(rows, resamples=300))
    )
    assert (found.rate, found.high) == ("false_positive_rate", 2)
    assert found.estimate.low < found.estimate.value < found.estimate.high
    assert found.estimate.low > 0.2


@pytest.mark.simulation
def test_the_interval_holds_the_true_difference():
    """Two groups 0.10 apart, by row and by clusters that share their luck."""
    for clustered in (False, True):
        held = 0
        for seed in range(200):
            chance = np.random.default_rng(seed)
            rows = 2_000
            group, cluster = chance.integers(0, 2, rows), chance.integers(0, 50, rows)
            luck = chance.normal(0, 0.05, 50)[cluster] * group if clustered else 0.0
            decided = chance.random(rows) < 0.3 + 0.1 * group + luck
            resampling = Resampling(rows, cluster if clustered else None, resamples=200, seed=seed)
            found = present(Decisions(decided, decided, group, 2).difference("demographic_parity", resampling))
            held += found.estimate.low <= 0.1 <= found.estimate.high
        assert 0.9 <= held / 200 <= 0.99


def test_a_group_without_positive_rows_has_rates_all_the_same():
    positive, group = np.array([True, False, False, False]), np.array([0, 0, 1, 1])
    found = FairlearnGroups().rates(positive, np.array([True, False, True, False]), group)
    assert found[0] == {"positive_rate": 0.5, "true_positive_rate": 1.0, "false_positive_rate": 0.0, "accuracy": 1.0}
    assert (found[1]["true_positive_rate"], found[1]["false_positive_rate"]) == (0.0, 0.5)


def test_numbers_are_averaged_by_group():
    found = FairlearnGroups().means(np.zeros(4), np.array([1.0, 3.0, 5.0, 5.0]), np.array([0, 0, 2, 2]))
    assert found == {0: {"mean_prediction": 2.0}, 2: {"mean_prediction": 5.0}}
