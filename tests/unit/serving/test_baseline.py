"""The non-ML rules: counted rightly, stable as JSON, quick for many rows and the same for one."""

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.training.rules import fitted
from tidegate.kernel.table import Table
from tidegate.spec.rules.registry import FallbackRule

LABELS = (False, True)
FLIGHTS = Table({"carrier": np.array(["UA", "UA", "AA", "AA", "AA"]), "hour": np.array([8.0, 8, 8, np.nan, np.nan])})
LATE = np.array([1, 0, 1, 1, 0])


def learned(kind, *, table, target, classes=(), positive=1, order=None, **said):
    rule = TypeAdapter(FallbackRule).validate_python({"kind": kind} | said)
    return fitted(rule, table=table, target=target, classes=classes, positive=positive, order=order)


def by_carrier_and_hour(min_rows=1):
    return learned("group_rate", by=["carrier", "hour"], min_rows=min_rows, table=FLIGHTS, target=LATE, classes=LABELS)


def test_a_constant_is_the_probability_of_the_positive_class():
    rule = learned("constant", value=0.2, table=Table({}), target=LATE, classes=LABELS)
    assert rule.scores(Table({}), 2).tolist() == [[0.8, 0.2], [0.8, 0.2]]
    first = learned("constant", value=0.2, table=Table({}), target=LATE, classes=LABELS, positive=0)
    assert first.score({}) == (0.2, 0.8)


def test_a_constant_of_a_regression_is_the_value():
    assert learned("constant", value=12.5, table=Table({}), target=LATE).scores(FLIGHTS).tolist() == [[12.5]] * 5


def test_the_prior_is_the_share_of_each_class_or_the_mean():
    assert learned("prior", table=FLIGHTS, target=LATE, classes=LABELS).score({}) == (0.4, 0.6)
    assert learned("prior", table=FLIGHTS, target=np.array([2, 2, 0, 1]), classes="abc").score({}) == (0.25, 0.25, 0.5)
    assert learned("prior", table=FLIGHTS, target=np.array([1.0, 2.0, 6.0])).score({}) == (3.0,)


def test_a_group_gets_its_own_rate_and_missing_is_a_group():
    rule = by_carrier_and_hour()
    assert rule.score({"carrier": "UA", "hour": 8}) == (0.5, 0.5)
    assert rule.score({"carrier": "AA", "hour": 8}) == (0.0, 1.0)
    assert rule.score({"carrier": "AA", "hour": None}) == rule.score({"carrier": "AA"}) == (0.5, 0.5)


def test_a_group_unseen_or_with_too_few_rows_gets_the_overall_rate():
    rule = by_carrier_and_hour(min_rows=2)
    assert rule.score({"carrier": "AA", "hour": 8}) == (0.4, 0.6)
    assert rule.score({"carrier": "ZZ", "hour": 8}) == (0.4, 0.6)
    assert by_carrier_and_hour(min_rows=100).scores(FLIGHTS).tolist() == [[0.4, 0.6]] * 5


def test_the_rate_of_a_number_is_its_mean_within_the_group():
    rule = learned("group_rate", by=["carrier"], min_rows=1, table=FLIGHTS, target=np.array([1.0, 3, 10, 20, 30]))
    assert rule.scores(FLIGHTS)[:, 0].tolist() == [2, 2, 20, 20, 20]


def test_the_json_is_the_same_whatever_the_order_of_the_rows():
    shuffled = np.array([4, 2, 0, 3, 1])
    again = learned(
        "group_rate",
        by=["carrier", "hour"],
        min_rows=1,
        table=FLIGHTS.take(shuffled),
        target=LATE[shuffled],
        classes=LABELS,
    )
    text = json.dumps(by_carrier_and_hour().to_json(), allow_nan=False)
    assert json.dumps(again.to_json()) == text
    assert FittedRule.from_json(json.loads(text)) == again


def test_a_moving_average_is_that_of_the_latest_rows_of_all_and_of_each_group():
    table = Table({"line": np.array(["a", "b", "a", "a", "b", "c"])})
    target = np.array([10.0, 1.0, 20.0, 30.0, 3.0, 100.0])
    order = np.array([5, 1, 3, 4, 2, 0])  # newest: 10 (a), 30 (a), 20 (a), 3 (b), 1 (b), 100 (c)
    rows = {"table": table, "target": target, "rows": 2, "order": order}
    assert learned("moving_average", **rows).score({}) == (20.0,)
    rule = learned("moving_average", by=["line"], min_rows=2, **rows)
    assert [rule.score({"line": line})[0] for line in "abcz"] == [20.0, 2.0, 20.0, 20.0]
    assert rule.scores(table)[:, 0].tolist() == [20, 2, 20, 20, 2, 20]
    assert rule.title == "moving_average by line"


def test_a_moving_average_of_classes_is_their_shares_and_a_missing_time_is_no_obstacle():
    order = np.array(["2026-01-01", "2026-01-03", "2026-01-02", "2026-01-05", "2026-01-04"], dtype="datetime64[D]")
    rule = learned("moving_average", rows=2, order=order, table=FLIGHTS, target=LATE, classes=LABELS)
    assert rule.score({}) == (0.5, 0.5)
    everything = learned("moving_average", rows=99, order=order, table=FLIGHTS, target=LATE, classes=LABELS)
    assert everything.score({}) == (0.4, 0.6)


def test_an_expression_is_a_probability_cut_to_its_range_and_the_prior_where_it_has_no_value():
    asked = {"expression": "hour / 10", "table": FLIGHTS, "target": LATE, "classes": LABELS}
    rule = learned("arithmetic", **asked)
    assert rule.scores(FLIGHTS)[:, 1].tolist() == pytest.approx([0.8, 0.8, 0.8, 0.6, 0.6])
    assert rule.score({"hour": 23}) == (0.0, 1.0)
    assert rule.score({"hour": -1}) == (1.0, 0.0)
    assert rule.score({}) == (0.4, 0.6)
    assert learned("arithmetic", **asked, positive=0).score({"hour": 2}) == (0.2, 0.8)
    assert rule.title == "arithmetic: hour / 10"
    assert FittedRule.from_json(json.loads(json.dumps(rule.to_json()))) == rule


def test_an_expression_of_a_regression_is_the_value():
    rule = learned("arithmetic", expression="5", table=FLIGHTS, target=np.array([1.0, 2.0, 6.0, 0, 0]))
    assert rule.scores(FLIGHTS).tolist() == [[5.0]] * 5
    assert rule.scores(FLIGHTS.take(np.zeros(5, dtype=bool))).shape == (0, 1)


def test_a_title_names_the_columns():
    assert by_carrier_and_hour().title == "group_rate by carrier, hour"
    assert learned("prior", table=FLIGHTS, target=LATE, classes=LABELS).title == "prior"


def test_a_table_without_rows_has_no_scores():
    assert by_carrier_and_hour().scores(FLIGHTS.take(np.zeros(5, dtype=bool))).shape == (0, 2)


def test_a_rule_that_cannot_be_fitted_says_why():
    with pytest.raises(ValueError, match="a prior rule needs rows"):
        learned("prior", table=FLIGHTS, target=LATE[:0], classes=LABELS)
    with pytest.raises(ValueError, match="a moving_average rule needs the order"):
        learned("moving_average", table=FLIGHTS, target=LATE, classes=LABELS)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", "a", "b", "é"]), st.sampled_from([np.nan, -1.0, 0.0, 2.5]), st.integers(0, 2)),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 5),
)
def test_one_row_scores_as_it_does_in_a_table_and_as_counting_by_hand(cases, min_rows):
    texts, numbers, target = (list(part) for part in zip(*cases, strict=True))
    table = Table({"t": np.array(texts), "n": np.array(numbers)})
    rule = learned(
        "group_rate", by=["t", "n"], min_rows=min_rows, table=table, target=np.array(target), classes=("x", "y", "z")
    )
    scores = rule.scores(table)
    for row, (text, number, _) in enumerate(cases):
        group = [case[2] for case in cases if case[0] == text and repr(case[1]) == repr(number)]
        counted = group if len(group) >= min_rows else target
        assert scores[row] == pytest.approx([counted.count(code) / len(counted) for code in range(3)])
        assert rule.score({"t": text or None, "n": number}) == tuple(scores[row])


def test_a_hundred_thousand_rows_and_a_single_one_are_quick():
    chance = np.random.default_rng(0)
    table = Table({"t": chance.choice(["UA", "AA", "DL", ""], 100_000), "n": chance.integers(0, 24, 100_000) * 1.0})
    target = chance.integers(0, 2, 100_000)
    started = time.perf_counter()
    rule = learned("group_rate", by=["t", "n"], min_rows=50, table=table, target=target, classes=LABELS)
    rule.scores(table)
    many = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(1_000):
        rule.score({"t": "UA", "n": 7})
    assert many < 1.0
    assert time.perf_counter() - started < 0.1
