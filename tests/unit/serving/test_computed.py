"""Computed features: numpy and the ONNX graph agree on every expression; what is learned comes from the right rows."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.fronts import computed_by_onnxruntime
from tidegate.domain.serving.computed import FOLDS, MAX_GROUPS, columns, described, learned, replay
from tidegate.domain.serving.contract import ComputedContract, Contract, FeatureContract, GroupRates
from tidegate.kernel.errors import DataCheckError
from tidegate.kernel.expressions.compile import compile_computed
from tidegate.kernel.expressions.language import TYPE_OF_KIND
from tidegate.kernel.table import TARGET, Column, Table

FEATURES = (
    FeatureContract("size", "numeric", missing="allow", estimator=False),
    FeatureContract("count", "integer", missing="allow", estimator=False),
    FeatureContract("flag", "boolean", missing="allow", estimator=False),
    FeatureContract("colour", "categorical", missing="allow", estimator=False),
    FeatureContract("shape", "categorical", missing="allow", estimator=False),
)
NAN = float("nan")
FLOATS = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e-45, -1e-40, 3.4028235e38, 0.1, 1.0, 2.0])


def rows(sizes: st.SearchStrategy[float]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    row = st.tuples(
        sizes,
        st.integers(-3, 3).map(float) | st.just(NAN),
        st.sampled_from([0.0, 1.0, NAN]),
        st.sampled_from(["", "red", "blue", "né"]),
        st.sampled_from(["", "red", "rod"]),
    )
    return st.lists(row, min_size=1, max_size=12)


def contract(*expressions: str, task: Any = "binary", rates: tuple[tuple[GroupRates, ...], ...] = ()) -> Contract:
    """One that computes c0, c1, ..."""
    computed = tuple(
        ComputedContract(f"c{place}", text, rates=rates[place] if rates else ())
        for place, text in enumerate(expressions)
    )
    classes = () if task == "regression" else (False, True)
    return Contract("toy", task, FEATURES, classes=classes, computed=computed)


def table(values: list[tuple[Any, ...]]) -> Table:
    names = [feature.name for feature in FEATURES]
    kinds = [np.str_ if feature.kind == "categorical" else np.float64 for feature in FEATURES]
    return Table(
        {
            name: np.array(column, dtype=kind)
            for name, kind, column in zip(names, kinds, zip(*values, strict=True), strict=True)
        }
    )


def served(wanted: Contract, rows: Table) -> Column:
    return computed_by_onnxruntime(wanted, wanted.inputs(rows).feed())


def numbers(number: st.SearchStrategy[str], truth: st.SearchStrategy[str], *, exact: bool) -> st.SearchStrategy[str]:
    few = st.lists(number, min_size=1, max_size=3).map(", ".join)
    found = (
        st.builds("({} {} {})".format, number, st.sampled_from("+-*"), number)
        | st.builds("{}({})".format, st.sampled_from(["abs", "-", "+"]), number)
        | st.builds("{}({})".format, st.sampled_from(["min", "max"]), few)
        | st.builds("bucket({}, -1.5, 0, 1e-42, 3)".format, number)
        | st.builds("({} + {})".format, truth, number)
    )
    if exact:
        return found
    rounded = st.builds("({} / {})".format, number, number)
    return found | rounded | st.builds("{}({})".format, st.sampled_from(["log", "exp"]), number)


def truths(number: st.SearchStrategy[str], truth: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    compared = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    texts = st.sampled_from(["colour", "shape", "'red'", "'né'", "''"])
    return (
        st.builds("({} {} {})".format, number, compared, number)
        | st.builds("({} <= {} < {})".format, number, number, number)
        | st.builds("({} {} {})".format, texts, st.sampled_from(["==", "!="]), texts)
        | st.builds("({} {} {})".format, truth, st.sampled_from(["and", "or", "=="]), truth)
        | st.builds("(not {})".format, truth)
        | st.builds("is_missing({})".format, number | truth | texts)
    )


def named(text: str) -> bool:
    return any(feature.name in text for feature in FEATURES)


def expressions(*, exact: bool = False) -> st.SearchStrategy[str]:
    """With `exact`, only of what rounds nothing while numbers are small and whole."""
    constants = st.sampled_from(["0", "1", "2"])
    if not exact:
        constants |= st.floats(0, float(np.float32(3e38)), width=32).map(repr) | st.sampled_from(["1e-45", "0.1"])
    number: st.SearchStrategy[str] = st.sampled_from(["size", "count", "flag", "(size + count)"]) | constants
    truth: st.SearchStrategy[str] = st.sampled_from(["flag", "(size > count)", "is_missing(size)", "true"])
    for _ in range(3):
        number, truth = number | numbers(number, truth, exact=exact), truth | truths(number, truth)
    return (number | truth).filter(named)


@settings(max_examples=150)
@given(st.lists(expressions(), min_size=1, max_size=4), rows(FLOATS))
def test_the_graph_computes_what_numpy_computes(texts: list[str], values: list[tuple[Any, ...]]) -> None:
    wanted, given_rows = contract(*texts), table(values)
    ours = columns(wanted, wanted.inputs(given_rows))
    np.testing.assert_array_equal(served(wanted, given_rows), ours)
    assert ours.dtype == np.float32
    assert not np.isinf(ours).any()


@settings(max_examples=250)
@given(expressions(exact=True), rows(st.integers(-3, 3).map(float) | st.just(NAN) | st.just(np.inf)))
def test_columns_mean_what_the_language_means_row_by_row(text: str, values: list[tuple[Any, ...]]) -> None:
    wanted, given_rows = contract(text), table(values)
    ours = columns(wanted, wanted.inputs(given_rows))[:, 0]
    rule = compile_computed(text, {feature.name: TYPE_OF_KIND[feature.kind] for feature in FEATURES}, ())
    theirs = [rule.value(dict(zip(given_rows, row, strict=True))) for row in values]
    np.testing.assert_array_equal(ours, [np.nan if each is None else float(each) for each in theirs])


def test_what_float32_cannot_hold_is_missing() -> None:
    wanted = contract("exp(size)", "size * size", "size + 0.1", "1 / size", "log(size)")
    given_rows = table([(100.0, 0.0, 0.0, "", ""), (1e30, 0.0, 0.0, "", ""), (0.0, 0.0, 0.0, "", "")])
    found = columns(wanted, wanted.inputs(given_rows))
    assert np.isnan(found[0, 0])
    assert np.isnan(found[1, 1])
    assert found[2, 2] == np.float32(0.1)
    assert np.isnan(found[2, 3:]).all()


def test_a_computed_feature_may_use_earlier_ones() -> None:
    wanted = contract("size + 1", "c0 * 2", "bucket(c1, 4, 8)")
    rows_ = table([(1.0, 0.0, 0.0, "", ""), (3.0, 0.0, 0.0, "", "")])
    assert columns(wanted, wanted.inputs(rows_)).tolist() == [[2, 4, 1], [4, 8, 2]]
    np.testing.assert_array_equal(served(wanted, rows_), columns(wanted, wanted.inputs(rows_)))


def training(count: int, seed: int = 3) -> Table:
    """Red rows are hits more often; sizes are halves from -2 to 2, some missing."""
    chance = np.random.default_rng(seed)
    size = chance.integers(-4, 5, count) / 2
    size[chance.random(count) < 0.1] = np.nan
    colour = chance.choice(["", "blue", "né", "red"], count)
    columns_ = {
        "size": size,
        "count": chance.integers(0, 3, count).astype(float),
        "flag": chance.integers(0, 2, count).astype(float),
        "colour": colour,
        "shape": chance.choice(["disc", "rod"], count),
    }
    return Table({**columns_, TARGET: (chance.random(count) < np.where(colour == "red", 0.7, 0.2)).astype(np.int64)})


RATES = (
    "group_rate(colour, min_rows=5)",
    "group_rate(colour, size, flag, min_rows=4) - group_rate(shape)",
    "group_rate(size, min_rows=1)",
    "group_rate(count, shape, colour, size, min_rows=2) > 0.3",
    "group_rate(colour, min_rows=1000000)",
    "bucket(size, 0)",
    "group_rate(c5, colour)",
)


def test_a_group_rate_is_the_share_of_the_positive_class_in_groups_with_enough_rows() -> None:
    rows_ = training(300)
    known, _ = learned(contract("group_rate(colour, min_rows=5)"), rows_, seed=1)
    (rates,) = known.computed[0].rates
    hits = rows_[TARGET]
    expected = {(name,): float(np.float32(hits[rows_["colour"] == name].mean())) for name in ["", "blue", "né", "red"]}
    assert dict(rates.groups) == expected
    assert rates.overall == float(np.float32(hits.mean()))
    inverted, _ = learned(
        Contract("toy", "binary", FEATURES, (False, True), positive=0, computed=known.computed), rows_, seed=1
    )
    assert inverted.computed[0].rates[0].overall == pytest.approx(1 - hits.mean())


def test_groups_with_too_few_rows_and_unseen_ones_take_the_overall_rate() -> None:
    rows_ = training(300)
    known, _ = learned(contract("group_rate(colour, min_rows=1000)", "group_rate(colour)"), rows_, seed=1)
    fresh = table([(0.0, 0.0, 0.0, "mauve", "rod"), (0.0, 0.0, 0.0, "red", "rod")])
    overall = np.float32(rows_[TARGET].mean())
    found = columns(known, known.inputs(fresh))
    assert found[:, 0].tolist() == [overall, overall]
    assert found[0, 1] == overall
    assert found[1, 1] > overall


def test_a_regression_learns_means() -> None:
    rows_ = training(200)
    rows_ = Table({**rows_.columns, TARGET: 10 * rows_["count"]})
    known, _ = learned(contract("group_rate(count, min_rows=1)", task="regression"), rows_, seed=1)
    assert dict(known.computed[0].rates[0].groups) == {(0.0,): 0.0, (1.0,): 10.0, (2.0,): 20.0}


@pytest.mark.parametrize("seed", range(4))
def test_served_rates_are_those_of_replaying_the_recorded_contract(seed: int) -> None:
    known, _ = learned(contract(*RATES), training(400), seed=1)
    recorded = Contract.from_json(json.loads(json.dumps(known.to_json(), allow_nan=False)))
    assert recorded == known
    other = training(200, seed=seed + 10)
    strange = Table({**other.columns, "colour": np.where(other["flag"] == 1, "mauve", other["colour"])})
    replayed = replay(recorded, strange)
    assert list(replayed) == [each.name for each in known.computed]
    np.testing.assert_array_equal(served(known, strange), np.stack(list(replayed.columns.values()), axis=1))


def test_zeros_of_either_sign_are_one_group() -> None:
    rows_ = training(200)
    signed = Table({**rows_.columns, "size": np.where(rows_["size"] == 0, -0.0, rows_["size"])})
    known, _ = learned(contract("group_rate(size, min_rows=1)"), signed, seed=1)
    plain, _ = learned(contract("group_rate(size, min_rows=1)"), rows_, seed=1)
    assert known == plain
    np.testing.assert_array_equal(served(known, signed), served(known, rows_))


def test_no_training_row_sees_a_rate_that_its_own_target_is_part_of() -> None:
    rows_ = training(100)
    wanted = contract("group_rate(colour, min_rows=1)")
    _, before = learned(wanted, rows_, seed=1)
    for row in range(0, 100, 9):
        flipped = rows_[TARGET].copy()
        flipped[row] = 1 - flipped[row]
        _, after = learned(wanted, Table({**rows_.columns, TARGET: flipped}), seed=1)
        assert after[row] == before[row]
        assert (after != before).any()


def test_a_training_row_s_rate_does_not_give_its_target_away() -> None:
    chance = np.random.default_rng(5)
    rows_ = training(3_000)
    noise = Table({**rows_.columns, TARGET: chance.integers(0, 2, 3_000)})
    _, crossed = learned(contract("group_rate(colour, size, count, min_rows=1)"), noise, seed=1)
    assert abs(np.corrcoef(crossed[:, 0], noise[TARGET])[0, 1]) < 0.1
    many = Table({**noise.columns, "size": np.arange(3_000.0) // 2})
    known, crossed = learned(contract("group_rate(size, min_rows=1)"), many, seed=1)
    naive = columns(known, known.inputs(many))
    assert np.corrcoef(naive[:, 0], many[TARGET])[0, 1] > 0.6
    assert abs(np.corrcoef(crossed[:, 0], many[TARGET])[0, 1]) < 0.1


def test_the_seed_draws_the_folds_and_nothing_else() -> None:
    rows_, wanted = training(200), contract(RATES[0])
    first, second = learned(wanted, rows_, seed=1), learned(wanted, rows_, seed=2)
    assert first[0] == second[0]
    assert (first[1] != second[1]).any()
    assert len(np.unique(first[1][rows_["colour"] == "red"])) <= FOLDS


def test_too_many_groups_are_refused_with_a_way_out() -> None:
    count = MAX_GROUPS + 1
    rows_ = training(count)
    unique = Table({**rows_.columns, "size": np.arange(count, dtype=float)})
    with pytest.raises(
        DataCheckError, match=r"computed\.c0: 10,001 groups of size have 1 row or more; at most 10,000"
    ) as caught:
        learned(contract("group_rate(size, min_rows=1)"), unique, seed=1)
    assert "min_rows" in caught.value.next_step
    huge = Table({**rows_.columns, TARGET: np.full(count, 1e60)})
    with pytest.raises(DataCheckError, match="float32"):
        learned(contract("group_rate(flag)", task="regression"), huge, seed=1)


def test_the_record_says_how_each_was_computed_and_how_much_was_learned() -> None:
    known, _ = learned(contract("size / 2", "group_rate(colour, min_rows=9)"), training(300), seed=1)
    halved, rate = described(known)
    assert halved == {"name": "c0", "expression": "size / 2", "unit": None, "description": "", "learned": []}
    overall = known.computed[1].rates[0].overall
    assert rate["expression"] == "group_rate(colour, min_rows=9)"
    assert rate["learned"] == [{"by": ["colour"], "min_rows": 9, "groups": 4, "overall": overall}]
