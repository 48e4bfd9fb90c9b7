"""Sampled Shapley values beside the exact ones, and what must hold of them whatever the model."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.domain.evaluation.shapley import MAX_ROWS, Attribution, attribute
from tidegate.domain.serving.contract import Inputs
from tidegate.kernel.table import Column

EFFECT = {"": 0.0, "UA": 1.5, "DL": -0.5}


def inputs(numeric: object, categorical: object = None) -> Inputs:
    numbers = np.array(numeric, dtype=np.float32)
    texts = np.empty((len(numbers), 0), dtype=object) if categorical is None else np.array(categorical, dtype=object)
    return Inputs(numbers, texts)


def linear(table: Inputs) -> Column:
    """3 a - 2 b + the carrier's effect; missing numbers count as 0."""
    effect = np.array([EFFECT[carrier] for carrier in table.categorical[:, 0]])
    return np.nan_to_num(table.numeric.astype(np.float64)) @ [3.0, -2.0] + effect


def interacting(table: Inputs) -> Column:
    """a b c + max(b, c, d) of numbers; e is ignored. (Of pairs alone, a pair of orders would leave no error.)"""
    a, b, c, d, _ = table.numeric.astype(np.float64).T
    return a * b * c + np.maximum(np.maximum(b, c), d)


def exact(score: Callable[[Inputs], Column], instance: Inputs, background: Inputs) -> Column:
    """By the definition: the average over all orders of switching, and over all background rows (numbers only)."""
    features = instance.numeric.shape[1]

    def value(switched: tuple[int, ...]) -> float:
        rows = background.numeric.copy()
        rows[:, list(switched)] = instance.numeric[:, list(switched)]
        return float(score(Inputs(rows, background.categorical)).mean())

    found = np.zeros(features)
    for feature in range(features):
        others = [each for each in range(features) if each != feature]
        for size in range(features):
            weight = math.factorial(size) * math.factorial(features - size - 1) / math.factorial(features)
            for before in itertools.combinations(others, size):
                found[feature] += weight * (value((*before, feature)) - value(before))
    return found


def interaction(rows: int = 30) -> tuple[Inputs, Inputs]:
    chance = np.random.default_rng(1)
    return inputs([[1.0, -2.0, 0.5, 0.4, 3.0]]), inputs(chance.normal(size=(rows, 5)))


def test_a_linear_model_s_contributions_are_its_terms_against_the_average_row() -> None:
    instance = inputs([[2.0, 1.0]], [["UA"]])
    background = inputs([[1.0, 0.0], [0.0, 2.0], [math.nan, 1.0]], [["DL"], [""], ["UA"]])
    found = attribute(linear, instance, background, seed=1)
    assert found.values == pytest.approx([3 * (2 - 1 / 3), -2 * (1 - 1), 1.5 - (1.0 / 3)])
    assert found.errors == pytest.approx([0, 0, 0], abs=1e-9)
    assert (found.base, found.score) == pytest.approx((linear(background).mean(), linear(instance)[0]))


def test_a_time_is_a_feature_like_the_others_after_the_texts() -> None:
    hours = np.array([[3], [9], [21]], dtype=np.int64)
    background = replace(inputs([[1.0], [2.0], [3.0]], [["UA"], ["DL"], [""]]), times=hours * 3600)
    instance = replace(inputs([[4.0]], [["UA"]]), times=np.array([[20 * 3600]]))

    def score(table: Inputs) -> Column:
        effect = np.array([EFFECT[carrier] for carrier in table.categorical[:, 0]])
        return 3.0 * table.numeric[:, 0] + effect + table.times[:, 0] // 3600

    found = attribute(score, instance, background, seed=1, max_rows=2_000)
    assert found.values == pytest.approx([6.0, 1.5 - 1 / 3, 9.0])
    assert found.errors == pytest.approx([0, 0, 0], abs=1e-9)


def test_with_interactions_they_lie_as_near_the_exact_ones_as_their_errors_say() -> None:
    instance, background = interaction()
    wanted = exact(interacting, instance, background)
    off = []
    for seed in range(40):
        found = attribute(interacting, instance, background, seed=seed, max_rows=2_000)
        off.append((found.values - wanted)[:4] / found.errors[:4])
    inside = np.mean(np.abs(off) < 1.96)
    assert 0.88 < inside < 0.99
    assert abs(np.mean(off)) < 0.3


def test_more_rows_bring_them_nearer_and_never_more_are_scored_than_allowed() -> None:
    instance, background = interaction(200)
    few, many = (attribute(interacting, instance, background, seed=3, max_rows=rows) for rows in (1_000, MAX_ROWS))
    assert many.errors[:4].max() < few.errors[:4].max() / 3
    assert few.scored_rows <= 1_000 < many.scored_rows <= MAX_ROWS
    assert many.values == pytest.approx(exact(interacting, instance, background), abs=4 * many.errors.max())


def test_all_rows_are_scored_in_one_call() -> None:
    sizes = []

    def score(table: Inputs) -> Column:
        sizes.append(len(table.numeric))
        return interacting(table)

    found = attribute(score, *interaction(), seed=0)
    assert sizes == [found.scored_rows]


def test_the_seed_decides() -> None:
    def drawn(seed: int) -> Attribution:
        return attribute(interacting, *interaction(), seed=seed, max_rows=1_000)

    assert drawn(1).values.tolist() == drawn(1).values.tolist() != drawn(2).values.tolist()


def test_many_features_are_held_against_fewer_rows_and_still_add_up() -> None:
    chance = np.random.default_rng(0)
    instance, background = inputs(chance.normal(size=(1, 600))), inputs(chance.normal(size=(200, 600)))

    def score(table: Inputs) -> Column:
        return np.tanh(table.numeric.astype(np.float64).sum(axis=1))

    found = attribute(score, instance, background, seed=0)
    assert found.background_rows < 200
    assert found.scored_rows * 600 <= 2_500_000
    assert found.values.sum() == pytest.approx(found.score - found.base, abs=1e-9)
    assert np.isfinite(found.errors).all()


def test_an_instance_like_every_background_row_costs_one_row_an_order_and_contributes_nothing() -> None:
    instance = inputs([[1.0, math.nan]], [["UA"]])
    found = attribute(linear, instance, inputs([[1.0, math.nan]] * 4, [["UA"]] * 4), seed=0, max_rows=100)
    assert found.values.tolist() == found.errors.tolist() == [0.0, 0.0, 0.0]
    assert found.scored_rows == found.orders


numbers = st.floats(-5, 5, width=32)


@settings(max_examples=50)
@given(
    x=st.lists(numbers, min_size=4, max_size=4),
    rows=st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=6),
    seed=st.integers(0, 2**63),
)
def test_contributions_add_up_a_dummy_gets_nothing_and_equals_get_equal_shares(
    x: list[float], rows: list[list[float]], seed: int
) -> None:
    """a and b are interchangeable in the model and equal in every row; d is ignored."""
    for row in (x, *rows):
        row[1] = row[0]

    def score(table: Inputs) -> Column:
        a, b, c, _ = table.numeric.astype(np.float64).T
        return np.sin(a * b) + np.exp(c / 5) * (a + b)

    found = attribute(score, inputs([x]), inputs(rows), seed=seed, max_rows=400)
    assert found.values.sum() == pytest.approx(found.score - found.base, abs=1e-9)
    assert found.values[3] == found.errors[3] == 0.0
    apart, error = abs(found.values[0] - found.values[1]), found.errors[0] + found.errors[1]
    assert apart <= 6 * error + 1e-9
    assert found.base == pytest.approx(score(inputs(rows)).mean(), abs=1e-9)
