"""Robustness, dependence and flips of a model whose every answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from tests.builders.present import present
from tests.builders.trials import FEATURES, RETURNS, SALES, other_rows, probability, returned, rows, trial, value
from tidegate.domain.evaluation.dependence import dependence
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.flips import flips
from tidegate.domain.evaluation.robustness import missing, noise, worst_case
from tidegate.domain.evaluation.sections import Flips, Missing
from tidegate.domain.serving.contract import Contract, FeatureContract, Inputs
from tidegate.kernel.table import TARGET, Column, Table


def test_what_may_be_missing_is_measured_and_what_may_not_is_said() -> None:
    found = {each.feature: each for each in missing(trial(rows()))}
    assert list(found) == ["region", "noise", "price", "hour", "member"]
    assert present(found["region"].loss).value == pytest.approx(1, abs=1e-6)  # the effect of 1 either way is left out
    assert present(found["region"].loss).low == pytest.approx(1, abs=1e-6)
    assert found["noise"] == Missing("noise", allowed=True, loss=Estimate(0, 0, 0))
    assert found["price"] == Missing("price", allowed=False)


def test_a_model_that_gives_no_score_without_a_feature_it_may_lack_is_found() -> None:
    gaps = replace(SALES, features=tuple(replace(each, missing="allow") for each in FEATURES))
    found = {each.feature: each for each in missing(trial(rows(), gaps))}
    assert found["price"] == Missing("price", allowed=True, unscored=800)


def test_inexact_numbers_cost_the_error_that_they_make() -> None:
    table = rows(4000)
    found = noise(trial(table), table)
    assert [each.sd for each in found] == [0.05, 0.1, 0.2]
    expected = 3 * np.sqrt(2 / np.pi) * table["price"].std()
    assert [each.loss.value for each in found] == pytest.approx([each.sd * expected for each in found], rel=0.05)
    assert all(each.loss.low < each.loss.value < each.loss.high for each in found)


def test_noise_makes_only_inputs_that_a_request_could_carry() -> None:
    asked: list[Inputs] = []

    def recording(inputs: Inputs) -> Column:
        asked.append(inputs)
        return value(inputs)

    table = rows()
    narrow = replace(SALES, features=(FEATURES[0], replace(FEATURES[1], minimum=-1, maximum=1), *FEATURES[2:]))
    noise(trial(table, narrow, score=recording), table)
    price, _, hour, member = asked[-1].numeric.T
    assert (price.min(), price.max()) == (-1, 1)
    assert (hour == np.round(hour)).all()
    assert not (hour == table["hour"]).all()
    assert (member == table["member"]).all()


def test_a_model_without_numbers_has_no_noise() -> None:
    only = replace(SALES, features=FEATURES[:1])

    def by_region(inputs: Inputs) -> Column:
        return np.zeros((len(inputs.categorical), 1), dtype=np.float32)

    assert noise(trial(rows(), only, score=by_region), rows()) == ()


def test_the_worst_case_runs_over_the_declared_limits_or_those_of_training() -> None:
    table = rows()
    found = {each.feature: each for each in worst_case(trial(table), table, ["noise", "price", "region", "hour"])}
    assert list(found) == ["price", "noise", "hour"] or list(found) == ["price", "hour", "noise"]
    price = found["price"]
    assert (price.lowest, price.highest, price.rows) == (-10, 10, 500)
    assert (price.mean_change, price.largest_change) == (pytest.approx(60, rel=1e-5), pytest.approx(60, rel=1e-5))
    assert (found["noise"].lowest, found["noise"].highest) == (table["noise"].min(), table["noise"].max())
    assert found["hour"].largest_change == 0


def test_dependence_follows_the_model_and_counts_the_rows_behind_each_point() -> None:
    table = rows(3000)
    price, region = dependence(trial(table), table, ["price", "region"])
    at, mean = [float(point.at) for point in price.points], [point.mean.value for point in price.points]
    assert (price.feature, price.kind, len(at)) == ("price", "numeric", 12)
    assert np.polyfit(at, mean, 1)[0] == pytest.approx(3, rel=1e-4)
    assert sum(point.rows for point in price.points) == 3000
    assert all(point.mean.low < point.mean.value < point.mean.high for point in price.points)
    points = {point.at: point for point in region.points}
    assert points["north"].mean.value - points["south"].mean.value == pytest.approx(2, abs=1e-5)
    assert points["north"].rows == (table["region"] == "north").sum()


def test_a_classifier_s_dependence_is_that_of_a_probability() -> None:
    table = returned(rows())
    (binary,) = dependence(trial(table, RETURNS, "roc_auc", probability), table, ["price"])
    assert [0 <= point.mean.value <= 1 for point in binary.points] == [True] * 12
    assert binary.points[0].mean.value < 0.1
    assert binary.points[-1].mean.value > 0.9
    many = replace(RETURNS, task="multiclass", classes=("kept", "returned", "lost"))

    def three(inputs: Inputs) -> Column:
        given = probability(inputs)
        return np.hstack([given[:, :1] / 4, given[:, 1:] / 4, np.full((len(given), 1), 0.75, dtype=np.float32)])

    (found,) = dependence(trial(table, many, "accuracy", three), table, ["price"])
    assert found.class_name == "lost"
    assert {point.mean.value for point in found.points} == {0.75}


def flipped(contract: Contract = RETURNS) -> dict[str, Flips]:
    table = returned(rows(2000))
    shown = flips(trial(table, contract, "roc_auc", probability), table, ["region", "member", "hour", "sex"], None)
    return {each.column: each for each in shown}


def test_decisions_that_a_sensitive_feature_makes_alone_are_counted() -> None:
    found = flipped()
    table = rows(2000)
    score = 3 * table["price"]
    expected = (np.abs(score) < 1).mean()  # where -1 and +1 lie on two sides of zero
    assert found["region"].values in (("north", "south"), ("south", "north"))
    assert found["region"].rows == 2000
    assert present(found["region"].changed).value == pytest.approx(expected, abs=1e-3)
    assert present(found["region"].changed).low < expected < present(found["region"].changed).high


def test_a_feature_that_the_model_does_not_use_flips_nothing() -> None:
    found = flipped()
    assert found["member"].values == (0, 1)
    assert len(present(found["hour"].values)) == 4
    for name in ("member", "hour"):
        assert found[name].changed == Estimate(0, 0, 0)


def test_a_column_that_is_no_feature_cannot_be_flipped_and_says_so() -> None:
    assert flipped()["sex"] == Flips("sex", "it is not a feature of the model, so it cannot be changed")


def test_the_contract_s_threshold_decides_what_a_flip_is() -> None:
    assert present(flipped(replace(RETURNS, threshold=0.999999))["region"].changed).value < 0.01


def test_a_regression_flips_beyond_the_declared_tolerance_only() -> None:
    table = rows()
    shown = [flips(trial(table), table, ["region"], tolerance)[0] for tolerance in (None, 1.9, 2.1)]
    assert "without value.tolerance" in present(shown[0].problem)
    assert [present(each.changed).value for each in shown[1:]] == [1, 0]


def test_columns_without_a_value_are_passed_over() -> None:
    table = rows()
    empty = Table({**table.columns, "noise": np.full(800, np.nan)})
    assert worst_case(trial(table), empty, ["noise"]) == ()
    assert dependence(trial(table), empty, ["noise"])[0].points == ()
    assert present(flips(trial(table), empty, ["noise"], 1.0)[0].changed).value == 0


def test_a_hundred_categories_are_not_all_tried() -> None:
    chance = np.random.default_rng(1)
    table = Table({**rows().columns, "town": np.array([f"T{each}" for each in chance.integers(0, 100, 800)])})
    contract = replace(SALES, features=(*FEATURES, FeatureContract("town", "categorical")))
    (found,) = flips(trial(table, contract), table, ["town"], 1.0)
    assert len(present(found.values)) == 10
    counts = {name: (table["town"] == name).sum() for name in np.unique(table["town"])}
    assert min(counts[name] for name in present(found.values)) >= sorted(counts.values())[-10]


def test_a_draw_of_rows_keeps_their_scores() -> None:
    found = trial(rows())
    drawn = found.draw(100)
    assert (drawn.scores == value(SALES.inputs(drawn.rows))).all()
    assert found.draw(800) is found
    assert len(other_rows(found, 5).draw(100).rows) == 5
    assert (np.diff([np.flatnonzero(found.rows[TARGET] == each)[0] for each in drawn.rows[TARGET]]) > 0).all()
