"""The threshold follows what errors cost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.training.thresholds import Worth, best_threshold, curve


def scored(rows: int = 40_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Events, and their true probabilities."""
    chance = np.random.default_rng(seed)
    score = chance.random(rows)
    return chance.random(rows) < score, score


@pytest.mark.parametrize(("false_positive", "false_negative"), [(1, 1), (1, 4), (9, 1), (1, 19)])
def test_on_true_probabilities_it_is_the_ratio_of_the_costs(false_positive: float, false_negative: float) -> None:
    event, score = scored()
    found = best_threshold(Worth(0, false_positive, false_negative), event, score)
    assert found == pytest.approx(false_positive / (false_positive + false_negative), abs=0.05)


def test_what_right_decisions_bring_counts_too() -> None:
    event, score = scored()
    worth = Worth(10, 1, 21)
    assert worth.of_calibrated == pytest.approx(11 / 42)
    assert best_threshold(worth, event, score) == pytest.approx(11 / 42, abs=0.05)


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=1, max_size=30),
    st.tuples(st.floats(0, 9), st.floats(0, 9), st.floats(0, 9)),
)
def test_no_other_threshold_is_worth_more(rows: list[tuple[bool, float]], prices: tuple[float, float, float]) -> None:
    event, score = (np.array(column) for column in zip(*rows, strict=True))
    worth = Worth(*prices)
    found = worth.of(event, score.astype(np.float32), best_threshold(worth, event, score)).sum()
    tried = [worth.of(event, score, each).sum() for each in (*score, 0, 1, 0.5)]
    assert found >= max(tried) - 1e-6


def test_an_error_without_cost_is_made_every_time() -> None:
    event, score = np.array([True, False, False]), np.array([0.9, 0.5, 0.1])
    assert best_threshold(Worth(0, 0, 1), event, score) == 0
    assert best_threshold(Worth(0, 1, 0), event, score) == 1


def test_equally_good_thresholds_give_way_to_the_one_of_true_probabilities() -> None:
    event, score = np.array([False, True]), np.array([0.2, 0.8])
    assert best_threshold(Worth(0, 1, 1), event, score) == 0.5
    assert best_threshold(Worth(0, 0, 0), event, score) == 0.5


def test_the_curve_is_worth_a_thousand_decisions_by_hundredths() -> None:
    event, score = np.array([True, False, True, False]), np.array([0.9, 0.6, 0.4, 0.1])
    found = {point[0]: point[1] for point in curve(Worth(2, 1, 5), event, score)}
    assert len(found) == 101
    assert found[0.0] == 1000 * (2 - 1 + 2 - 1) / 4
    assert found[0.5] == 1000 * (2 - 1 - 5 + 2) / 4
    assert found[1.0] == 1000 * (-5 + 2 - 5 + 2) / 4
