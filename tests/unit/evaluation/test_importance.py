"""Importances say what a model leans on, and how sure that is."""

from dataclasses import replace

import numpy as np
import pytest

from tests.builders.trials import FEATURES, SALES, rows, trial, value
from tidegate.domain.evaluation.importance import MOST_SCORED, REPEATS, importances
from tidegate.domain.serving.contract import FeatureContract, Inputs
from tidegate.kernel.table import TARGET, Column, Table


def test_a_feature_is_as_important_as_the_error_without_it() -> None:
    table = rows(5000)
    found = importances(trial(table, metric="rmse"))
    assert list(found)[:2] == ["price", "region"]
    price = table["price"]
    assert found["price"].value == pytest.approx(3 * price.std() * np.sqrt(2), rel=0.03)  # of two independent draws
    assert found["region"].value == pytest.approx(np.sqrt(2), rel=0.03)
    assert found["price"].low < found["price"].value < found["price"].high
    assert found["region"].low > 1
    for name in ("noise", "hour", "member"):
        assert [found[name].value, found[name].low, found[name].high] == pytest.approx([0, 0, 0], abs=1e-9)


def test_a_feature_without_meaning_has_an_interval_around_zero() -> None:
    table = rows(3000)

    def leaning_on_noise(inputs: Inputs) -> Column:
        return value(inputs) + 0.3 * inputs.numeric[:, 1:2]

    found = importances(trial(table, score=leaning_on_noise))["noise"]
    assert found.low < 0.01
    assert found.high - found.low < 0.05


def test_importances_are_those_of_the_seed_and_leave_the_rows_alone() -> None:
    table = rows()
    before = table.to_npz()
    found = importances(trial(table))
    assert importances(trial(table)) == found
    assert importances(trial(table, seed=4)) != found
    assert table.to_npz() == before


def test_a_feature_that_misleads_is_worth_less_than_nothing() -> None:
    table = rows()
    misled = Table({**table.columns, TARGET: -table[TARGET]})
    found = importances(trial(misled))
    assert list(found)[-1] == "price"
    assert found["price"].high < 0


def test_many_features_share_the_work() -> None:
    asked: list[int] = []

    def counting(inputs: Inputs) -> Column:
        asked.append(len(inputs.numeric))
        return inputs.numeric[:, :1]

    table = rows(6000)
    extra = [FeatureContract(f"f{number}", "numeric") for number in range(95)]
    wide = Table({**table.columns, **{each.name: table["noise"] for each in extra}})
    many = replace(SALES, features=(*FEATURES, *extra))
    importances(trial(wide, many, score=counting))
    assert sum(asked[1:]) == MOST_SCORED
    assert len(asked[1:]) == 100 * REPEATS


def test_rows_that_do_not_define_the_metric_give_no_importances() -> None:
    constant = Table({**rows().columns, TARGET: np.ones(800)})
    assert importances(trial(constant, metric="r2")) == {}
