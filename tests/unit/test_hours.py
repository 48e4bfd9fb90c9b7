"""Hours: every prediction once, whatever chunks, objects and kinds of values it comes in; and what was used."""

import gc
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tidegate.domain import hours
from tidegate.domain.capture import MASK
from tidegate.domain.costs import Usage
from tidegate.domain.evaluation import Estimate
from tidegate.domain.hours import SCHEMA, Counting, Hour
from tidegate.domain.prediction import Contract, FeatureContract
from tidegate.domain.profile import MISSING, OUTSIDE, captured, reference
from tidegate.domain.reference import Reference
from tidegate.domain.table import Table

FEATURES = (
    FeatureContract("wind", "numeric"),
    FeatureContract("gusts", "numeric"),
    FeatureContract("hour", "integer"),
    FeatureContract("weekend", "boolean"),
    FeatureContract("line", "categorical"),
)
CONTRACT = Contract("late", "binary", FEATURES, classes=(False, True))
CHANCE = np.random.default_rng(7)
SCORES = CHANCE.random(2_000)
TABLE = Table(
    {
        "wind": CHANCE.normal(10, 3, 2_000),
        "gusts": CHANCE.normal(20, 5, 2_000),
        "hour": CHANCE.integers(0, 24, 2_000).astype(np.float64),
        "weekend": (CHANCE.random(2_000) < 0.3).astype(np.float64),
        "line": CHANCE.choice(["AA", "B6"], 2_000),
    }
)
LAYOUT, TRAINED = reference(
    CONTRACT, TABLE, score=SCORES, label=(SCORES >= 0.5).astype(int), target=(SCORES >= 0.4).astype(int)
)
REFERENCE = Reference(
    layout=LAYOUT,
    profile=TRAINED,
    importances={},
    metric="roc_auc",
    design=Estimate(0.8, 0.7, 0.9),
    loss_by_score=None,
    task="binary",
    classes=(False, True),
    positive=1,
    threshold=0.5,
)
PRICES, PRICED = reference(
    Contract("prices", "regression", FEATURES[:1]), TABLE.select(["wind"]), score=SCORES, target=SCORES
)
REGRESSION = replace(REFERENCE, layout=PRICES, profile=PRICED, task="regression", classes=(), metric="mae")


def record(number: int, **changes: Any) -> dict[str, Any]:
    inputs = {
        "wind": 0.5 + number % 20,
        "gusts": 0.25 + number % 30,
        "hour": number % 24,
        "weekend": number % 7 > 4,
        "line": ("AA", "B6", "ZZ")[number % 3],
    }
    made = {
        "id": f"p{number}",
        "version": 3,
        "reason": "champion",
        "violations": [],
        "rows": 1,
        "sample": 1.0,
        "latency_ms": 2.0,
        "billed_ms": 4.0,
        "shadow": None,
        "score": number % 100 / 100,
        "label": number % 100 >= 50,
        "probabilities": None,
        "inputs": inputs,
    }
    return made | changes


def counted(records: Iterable[dict[str, Any]], *, outcomes: Any = None, of: Reference = REFERENCE, **how: Any) -> Hour:
    counting = Counting(of, version=3, outcomes=outcomes or {}, **how)
    counting.add(json.dumps(each).encode() for each in records)
    return counting.hour("from")


def test_the_profile_of_an_hour_is_that_of_its_records() -> None:
    made = [record(number) for number in range(1_500)]
    assert counted(made).profile == captured(LAYOUT, made)


@pytest.mark.parametrize(
    "inputs",
    [
        {"wind": None},
        {"wind": 3},
        {"wind": 10**400},
        {"wind": "3.5"},
        {"wind": True, "gusts": [1.0]},
        {"wind": MASK, "line": MASK},
        {"hour": 7.5},
        {"weekend": 1},
        {"line": ["AA"]},
        {"line": None, "other": 1},
    ],
)
def test_one_odd_value_among_many_others_changes_its_own_cell_only(inputs: dict[str, Any]) -> None:
    odd = record(300)
    odd["inputs"] |= inputs
    made = [*(record(number) for number in range(300)), odd, *(record(number) for number in range(301, 700))]
    found = counted(made).profile
    assert found == captured(LAYOUT, made)
    plain = counted(record(number) for number in range(700)).profile
    for column, ours, theirs in zip(LAYOUT.features, found.features, plain.features, strict=True):
        moved = sum(abs(mine - other) for mine, other in zip(ours, theirs, strict=True))
        assert moved in ({0, 2} if column.name in inputs else {0})


def test_inputs_that_lack_a_feature_or_are_not_there_are_missing() -> None:
    made = [record(1), record(2, inputs={"line": "AA"}), record(3, inputs=None)]
    found = counted(made).profile
    assert [counts[MISSING] for counts in found.features] == [2, 2, 2, 2, 1]
    huge = counted([record(1), record(2, inputs={"wind": 10**400})]).profile
    assert huge.features[0][OUTSIDE] == 1


def test_each_id_counts_once_however_often_and_wherever_it_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hours, "_LATEST_IDS", 300)  # so that ids are stored and merged many times
    made = [record(number) for number in range(6_000)]
    again = [made[int(place)] for place in np.random.default_rng(3).integers(0, 6_000, 6_000)]
    twice = [each for each in made[:600] for _ in (1, 2)]
    assert counted([*twice, *made, *again]) == counted(made)
    assert counted(made).profile.rows == counted(made).predictions == 6_000


def test_of_a_record_that_differs_the_first_is_counted() -> None:
    found = counted([record(1), record(1, version=None, reason="fallback"), record(2)])
    assert found.usage == {"3": Usage(2, 2, 8)}


def test_usage_is_of_all_versions_and_of_the_fallback_whoever_answered() -> None:
    made = [
        record(1),
        record(2, version=4, billed_ms=10.0),
        record(3, version=None, reason="champion:scoring_failed", billed_ms=6.0),
        record(4, violations=["too_low"], billed_ms=1.0),
        *(record(10 + row, rows=4, billed_ms=8.0) for row in range(4)),
    ]
    found = counted(made)
    assert found.usage == {"3": Usage(3, 6, 13), "4": Usage(1, 1, 10), "fallback": Usage(1, 1, 6)}
    assert found.profile.rows == 5
    assert list(found.usage) == ["3", "4", "fallback"]


def test_a_sample_stands_for_all_and_old_captures_for_their_latency() -> None:
    made = [record(number, sample=0.25) for number in range(100)]
    for each in made[:40]:
        del each["billed_ms"]
    found = counted(made)
    assert found.usage == {"3": Usage(400, 400, 4 * (40 * 2 + 60 * 4))}
    assert found.predictions == 400


def test_a_shadow_has_the_time_it_took_and_no_requests() -> None:
    shadow = {"version": 5, "latency_ms": 12.0}
    found = counted([record(1), record(2, shadow=shadow, rows=2), record(3, shadow=shadow, rows=2)])
    assert found.usage["5"] == Usage(billed_ms=12.0)
    assert found.usage["3"] == Usage(2, 3, 8)


def test_decisions_are_right_or_wrong_by_the_name_of_their_class() -> None:
    made = [
        record(1, label=True),
        record(2, label=False),
        record(3, label=True, version=None, reason="champion:timed_out"),
        record(4, label=None, version=None, reason="unanswered:no_fallback"),
        record(5, label=True),
        record(6, label=True),
    ]
    outcomes = {"p1": True, "p2": "true", "p3": "false", "p4": True, "p5": "maybe", "else": True}
    found = counted(made, outcomes=outcomes)
    assert (found.usage["3"].right, found.usage["3"].wrong) == (1, 1)
    assert (found.usage["fallback"].right, found.usage["fallback"].wrong) == (0, 1)
    assert (found.labelled.rows, found.labelled.targets) == (2, (1.0, 1.0))


def test_a_regression_is_right_within_its_tolerance_and_not_judged_without_one() -> None:
    made = [record(number, score=10.0, label=None, inputs={"wind": 1.0}) for number in range(4)]
    outcomes = {"p0": 10.5, "p1": 11, "p2": 11.01, "p3": "eleven"}
    judged = counted(made, outcomes=outcomes, of=REGRESSION, tolerance=1.0).usage["3"]
    assert (judged.right, judged.wrong) == (2, 1)
    assert counted(made, outcomes=outcomes, of=REGRESSION).usage["3"] == Usage(4, 4, 16)


def test_an_hour_survives_json_and_an_older_one_is_refused() -> None:
    found = counted([record(number) for number in range(50)], outcomes={"p3": True}, sensitive=("line",))
    document = json.loads(json.dumps(found.to_json()))
    assert Hour.from_json(document) == found
    assert document["usage"] == {"3": [50, 50, 200.0, 0, 1]}
    with pytest.raises(ValueError, match="schema 1"):
        Hour.from_json(document | {"schema": SCHEMA - 1})


def test_groups_of_a_dropped_feature_are_not_counted() -> None:
    made = [record(number) for number in range(300)]
    assert counted(made, sensitive=("line",)).decisions["line"] == {"AA": (100, 50), "B6": (100, 50)}
    assert counted(made, sensitive=("line",), dropped=("line",)).decisions == {}


def test_garbage_is_collected_again_after_a_record_that_cannot_be_read() -> None:
    counting = Counting(REFERENCE, version=3, outcomes={})
    with pytest.raises(json.JSONDecodeError):
        counting.add([b'{"id": '])
    assert gc.isenabled()
