"""Profiles: which cell a value falls into, exact sums whatever the partition, and what captures may hold."""

import json
import math
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.profiles.profile import (
    MASKED,
    MAX_CATEGORIES,
    MISSING,
    OUTSIDE,
    TYPE_FAULT,
    Layout,
    Profile,
    captured,
    count,
    predicted,
    quantile_edges,
    reference,
)
from tidegate.domain.serving.capture import MASK
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.kernel.errors import NewerDocumentError
from tidegate.kernel.table import Table

CONTRACT = Contract(
    model="flight-delay",
    task="binary",
    features=(
        FeatureContract("distance", "numeric", minimum=0, maximum=6000),
        FeatureContract("hour", "integer", minimum=0, maximum=23),
        FeatureContract("weekend", "boolean"),
        FeatureContract("carrier", "categorical"),
    ),
    classes=(False, True),
)
PRICES = Contract("prices", "regression", (FeatureContract("area", "numeric"),))


def table(rows=1000, seed=1):
    chance = np.random.default_rng(seed)
    return Table(
        {
            "distance": chance.uniform(100, 3000, rows).round(1),
            "hour": chance.integers(6, 22, rows).astype(np.float64),
            "weekend": (chance.random(rows) < 0.3).astype(np.float64),
            "carrier": chance.choice(["AA", "B6", "UA"], rows),
        }
    )


def outputs(rows=1000, seed=2):
    chance = np.random.default_rng(seed)
    score = chance.random(rows).astype(np.float32)
    return {
        "score": score,
        "label": (score >= 0.5).astype(np.int64),
        "target": (chance.random(rows) < score).astype(np.int64),
    }


def as_records(rows, answers):
    """What captures hold of the same rows."""
    return [
        {
            "inputs": {
                "distance": float(rows["distance"][index]),
                "hour": int(rows["hour"][index]),
                "weekend": bool(rows["weekend"][index]),
                "carrier": str(rows["carrier"][index]),
            },
            "score": float(str(answers["score"][index])),  # the shortest decimals, as in an answer
            "label": bool(answers["label"][index]),
        }
        for index in range(len(rows))
    ]


def one(layout, **inputs):
    """Counts of a single capture, by feature."""
    profile = captured(layout, [{"inputs": inputs, "score": 0.5, "label": True}])
    return dict(zip((column.name for column in layout.features), profile.features, strict=True))


LAYOUT, TRAINED = reference(CONTRACT, table(), **outputs())


def test_every_row_falls_into_one_cell_of_every_column():
    assert TRAINED.rows == 1000
    for column, counts in zip(LAYOUT.features, TRAINED.features, strict=True):
        assert len(counts) == column.size == len(column.cell_names)
        assert sum(counts) == 1000
    assert sum(TRAINED.score) == sum(TRAINED.label) == sum(TRAINED.target) == 1000


def test_the_reference_lies_in_its_own_range_in_parts_of_equal_size():
    distance = TRAINED.features[0]
    assert distance[0] == distance[-5] == 0  # below and above
    assert all(90 <= rows <= 110 for rows in distance[1:-5])
    assert len(distance[1:-5]) == 10


def test_captures_of_the_same_rows_give_the_same_profile():
    rows, answers = table(300, seed=5), outputs(300, seed=6)
    targets = [bool(each) for each in answers["target"]]
    assert captured(LAYOUT, as_records(rows, answers), targets=targets) == count(LAYOUT, rows, **answers)


@pytest.mark.parametrize(
    ("feature", "value", "cell"),
    [
        ("distance", -1, OUTSIDE),
        ("distance", 6001, OUTSIDE),
        ("distance", 10**400, OUTSIDE),
        ("distance", math.inf, OUTSIDE),
        ("distance", math.nan, TYPE_FAULT),
        ("distance", "12", TYPE_FAULT),
        ("distance", True, TYPE_FAULT),
        ("distance", [1], TYPE_FAULT),
        ("distance", {"km": 1}, TYPE_FAULT),
        ("distance", None, MISSING),
        ("distance", MASK, MASKED),
        ("distance", 5, 0),  # below the reference, and allowed
        ("distance", 5999.5, -5),  # above it
        ("hour", 7.5, TYPE_FAULT),
        ("hour", 24, OUTSIDE),
        ("weekend", 1, TYPE_FAULT),
        ("weekend", False, 1),
        ("weekend", True, 2),
        ("carrier", "B6", 1),
        ("carrier", "ZZ", OUTSIDE),
        ("carrier", "", MISSING),
        ("carrier", None, MISSING),
        ("carrier", 7, TYPE_FAULT),
        ("carrier", ["AA"], TYPE_FAULT),
        ("carrier", MASK, MASKED),
    ],
)
def test_a_value_as_sent_is_counted_where_it_belongs(feature, value, cell):
    counts = one(LAYOUT, **{feature: value})[feature]
    assert counts[cell] == 1 == sum(counts)


def test_what_was_not_sent_is_missing_and_what_captures_drop_is_masked():
    assert one(LAYOUT)["hour"][MISSING] == 1
    profile = captured(LAYOUT, [{"inputs": {}}, {"inputs": None}], dropped={"hour"})
    assert profile.features[1][MASKED] == 2
    assert profile.features[0][MISSING] == 2
    assert profile.score[MISSING] == 2  # the answer had none


def test_a_number_that_float32_cannot_hold_exactly_meets_its_own_edge():
    reference_table = Table({"area": np.asarray([3.1, 3.1, 7.7], dtype=np.float32).astype(np.float64)})
    layout, _ = reference(PRICES, reference_table, score=np.asarray([1.0]), target=np.asarray([2.0]))
    assert one(layout, area=3.1)["area"][1] == 1  # in JSON it is 3.1, in the training data 3.0999999
    assert one(layout, area=7.7)["area"][2] == 1


def test_few_distinct_numbers_have_a_cell_each_and_many_ties_share_one():
    assert len(quantile_edges(np.asarray([2.0, 1.0, 2.0, 5.0]))) == 4
    edges = quantile_edges(np.concatenate([np.zeros(900), np.arange(1, 101)]))
    assert edges[0] < 0 == edges[1]
    assert edges[2:] == (100.0,)
    assert quantile_edges(np.asarray([math.nan, math.inf])) == ()


def test_a_feature_that_was_always_missing_has_one_cell_for_any_value():
    layout, _ = reference(PRICES, Table({"area": np.full(3, math.nan)}), score=np.ones(1), target=np.ones(1))
    assert layout.features[0].cell_names[0] == "any value"
    assert one(layout, area=12.0)["area"][0] == 1


def test_rare_categories_beyond_the_most_are_counted_together():
    names = np.asarray([f"c{index:04}" for index in range(MAX_CATEGORIES + 50)] + ["often"] * 100)
    contract = Contract("m", "regression", (FeatureContract("code", "categorical"),))
    layout, trained = reference(contract, Table({"code": names}), score=np.ones(1), target=np.ones(1))
    assert "often" in layout.features[0].categories
    assert len(layout.features[0].categories) == MAX_CATEGORIES
    assert trained.features[0][OUTSIDE] == 51


def test_declared_categories_have_a_cell_though_training_had_none():
    contract = Contract("m", "regression", (FeatureContract("code", "categorical", categories=("a", "b")),))
    layout, _ = reference(contract, Table({"code": np.asarray(["b"])}), score=np.ones(1), target=np.ones(1))
    assert layout.features[0].categories == ("a", "b")


def test_a_regression_has_no_labels_and_counts_its_target_by_edges():
    numbers = np.arange(100.0)
    layout, trained = reference(PRICES, Table({"area": numbers}), score=numbers, target=2 * numbers)
    assert layout.label is None
    assert trained.label == ()
    assert trained.target[1:-5] == (10,) * 10
    assert captured(layout, [{"inputs": {"area": 4.0}, "score": 4.0, "label": None}], targets=[250]).target[-5] == 1


def test_score_and_label_are_what_an_answer_says():
    scores = np.asarray([[0.2, 0.8], [0.6, 0.4]], dtype=np.float32)
    score, label = predicted(CONTRACT, scores)
    assert score.tolist() == [np.float32(0.8), np.float32(0.4)]
    assert label is not None
    assert label.tolist() == [1, 0]
    colours = Contract("m", "multiclass", (), classes=("r", "g", "b"))
    score, label = predicted(colours, np.asarray([[0.1, 0.2, 0.7]]))
    assert label is not None
    assert (score.tolist(), label.tolist()) == ([0.7], [2])
    score, label = predicted(PRICES, np.asarray([[3.5]]))
    assert (score.tolist(), label) == ([3.5], None)


_VALUES = st.one_of(
    st.none(), st.booleans(), st.floats(), st.integers(), st.sampled_from(["AA", "ZZ", "", MASK]), st.just([])
)
_RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "inputs": st.dictionaries(st.sampled_from(["distance", "hour", "weekend", "carrier", "else"]), _VALUES),
            "score": st.one_of(st.none(), st.floats(0, 1)),
            "label": st.sampled_from([True, False, None]),
        }
    ),
    max_size=30,
)


@given(records=_RECORDS, data=st.data())
def test_any_partition_of_the_rows_added_in_any_order_gives_the_same_profile_byte_for_byte(records, data):
    parts: list[list[Any]] = [[] for _ in range(data.draw(st.integers(1, 5)))]
    for record in records:
        parts[data.draw(st.integers(0, len(parts) - 1))].append(record)
    profiles = data.draw(st.permutations([captured(LAYOUT, part) for part in parts]))
    while len(profiles) > 1:  # added two at a time, in any grouping
        first, second = profiles.pop(data.draw(st.integers(0, len(profiles) - 1))), profiles.pop()
        profiles.append(first + second)
    whole = captured(LAYOUT, records)
    assert json.dumps(profiles[0].to_json()).encode() == json.dumps(whole.to_json()).encode()
    assert all(sum(counts) == len(records) for counts in whole.features)


def test_columns_in_parts_add_up_to_the_whole():
    rows, answers = table(900, seed=9), outputs(900, seed=10)
    parts = [
        count(LAYOUT, rows.take(part), **{name: values[part] for name, values in answers.items()})
        for part in np.array_split(np.random.default_rng(0).permutation(900), 7)
    ]
    assert reduce(lambda one, other: one + other, parts, Profile.empty(LAYOUT)) == count(LAYOUT, rows, **answers)


def test_profiles_of_different_layouts_are_not_added():
    _, other = reference(CONTRACT, table(seed=77), **outputs())
    with pytest.raises(ValueError, match=r"profiles of different layouts .* count the rows again with one layout"):
        TRAINED + other


def test_layout_and_profile_survive_json():
    layout = Layout.from_json(json.loads(json.dumps(LAYOUT.to_json())))
    assert layout == LAYOUT
    assert layout.digest == LAYOUT.digest == TRAINED.layout
    assert Profile.from_json(json.loads(json.dumps(TRAINED.to_json()))) == TRAINED


@pytest.mark.parametrize("kind", [Layout, Profile])
def test_a_newer_schema_is_refused(kind):
    document = (LAYOUT if kind is Layout else TRAINED).to_json() | {"schema": 9}
    with pytest.raises(NewerDocumentError, match="schema 9"):
        kind.from_json(document)


def test_cells_are_named_for_people():
    by_name = {column.name: column.cell_names for column in LAYOUT.features}
    assert by_name["carrier"] == ("AA", "B6", "UA", "unseen categories", "missing", "type faults", "masked")
    assert by_name["weekend"][:4] == ("below 0", "false", "true", "above 1")
    assert by_name["hour"][0] == "below 6"
    assert by_name["hour"][-5:-3] == ("above 21", "out of the allowed range")
