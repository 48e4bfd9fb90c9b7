"""Hours: every prediction once, whatever chunks, objects and kinds of values it comes in; and what was used."""

import gc
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.monitoring import hours
from tidegate.domain.monitoring.costs import Usage
from tidegate.domain.monitoring.hours import Counting, Hour
from tidegate.domain.monitoring.reference import Reference
from tidegate.domain.profiles.profile import MISSING, OUTSIDE, captured, reference
from tidegate.domain.serving.capture import MASK
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.domain.serving.feedback import Outcomes
from tidegate.domain.serving.reporters import Reports
from tidegate.domain.serving.service_level import ServiceLevel
from tidegate.kernel.errors import NewerDocumentError
from tidegate.kernel.table import Table

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
    counting = Counting(of, version=3, outcomes=Outcomes(outcomes or {}), **how)
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
    monkeypatch.setattr(hours, "_BLOCK_BYTES", 50_000)  # so that ids are stored and merged many times
    made = [record(number) for number in range(6_000)]
    again = [made[int(place)] for place in np.random.default_rng(3).integers(0, 6_000, 6_000)]
    twice = [each for each in made[:600] for _ in (1, 2)]
    once = counted(made)
    assert counted([*twice, *made, *again]) == once
    assert once.profile.rows == once.predictions == 6_000


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
    outcomes = {"p1": True, "p2": "True", "p3": "false", "p4": True, "p5": "maybe", "else": True}
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


def test_outcomes_are_counted_by_reporter_and_those_without_a_capture_apart() -> None:
    made = [record(number) for number in range(10)]
    known = dict.fromkeys(("p1", "p2", "p3", "made up", "another model's"), True)
    outcomes = Outcomes(known, {name: "ann" if name == "p1" else "bob" for name in known}, frozenset({"p2"}))
    counting = Counting(REFERENCE, version=3, outcomes=outcomes)
    for each in (made, made):  # delivered twice
        counting.add(json.dumps(one).encode() for one in each)
    assert counting.hour("from").reports == Reports({"bob": 2, "ann": 1}, ignored=1, uncaptured=2)


def test_an_hour_survives_json_and_nothing_is_known_of_what_older_ones_did_not_count() -> None:
    found = counted([record(number) for number in range(50)], outcomes={"p3": True}, sensitive=("line",))
    document = json.loads(json.dumps(found.to_json()))
    assert Hour.from_json(document) == found
    assert document["usage"] == {"3": [50, 50, 200.0, 0, 1]}
    second = {name: value for name, value in document.items() if name != "service"} | {"schema": 2}
    unknown: Any = {"service": ServiceLevel(), "reports": Reports()}
    assert Hour.from_json(second) == replace(found, **unknown)
    first = {name: value for name, value in second.items() if name not in {"usage", "schema"}}
    assert Hour.from_json(first) == replace(found, usage={}, **unknown)


def test_captures_of_a_newer_form_are_refused() -> None:
    made = [record(number) for number in range(3)]
    assert counted([each | {"schema": 1} for each in made]) == counted(made)
    with pytest.raises(NewerDocumentError, match="the capture record has schema 2"):
        counted([*made, record(4) | {"schema": 2}])


def test_groups_of_a_dropped_feature_are_not_counted() -> None:
    made = [record(number) for number in range(300)]
    assert counted(made, sensitive=("line",)).decisions["line"] == {"AA": (100, 50), "B6": (100, 50)}
    assert counted(made, sensitive=("line",), dropped=("line",)).decisions == {}


@pytest.mark.parametrize("broken", [b'{"id": ', b'{"id": "p9"', b'{"id": "p9",}', b"p9", b'{"inputs": {"wind": 1.}}'])
def test_a_line_that_is_no_json_stops_the_count_and_garbage_is_collected_again(broken: bytes) -> None:
    counting = Counting(REFERENCE, version=3, outcomes=Outcomes())
    with pytest.raises(json.JSONDecodeError):
        counting.add([json.dumps(record(1)).encode(), broken])
    assert gc.isenabled()


@pytest.mark.parametrize("odd", [[], "", 0, [1], "text", 7])
def test_inputs_that_are_no_object_are_missing_when_empty_and_stop_the_count_otherwise(odd: Any) -> None:
    if odd:
        with pytest.raises(AttributeError):
            counted([record(1), record(2, inputs=odd)])
    else:
        assert counted([record(1), record(2, inputs=odd)]) == counted([record(1), record(2, inputs=None)])


def test_only_lines_that_the_fast_parser_refuses_go_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = {"wind": MASK, "gusts": None, "hour": 2**64, "weekend": "yes", "line": ["AA"], "else": {"a": [1]}}
    made = [
        record(1),
        record(2, inputs=odd),
        record(3, inputs=None, label="late", shadow={"version": 5, "latency_ms": 1}),
    ]
    wanted = counted(made)
    read: list[bytes] = []
    slow = json.loads
    monkeypatch.setattr(json, "loads", lambda line: read.append(line) or slow(line))
    assert counted(made) == wanted
    assert read == []
    assert counted([*made, record(4, inputs={"wind": 10**400})]).profile.rows == 4
    assert len(read) == 4


_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(),
    st.sampled_from([2**53 + 1, 2**63, 2**64, -(2**70), 10**30, 10**400, -(10**400)]),
    st.sampled_from(["AA", "ZZ", "", "NaN", "Infinity", "3.5", "null", '\u00fc\n"', MASK]),
    st.lists(st.one_of(st.integers(), st.text(max_size=3)), max_size=2),
    st.dictionaries(st.sampled_from(["wind", "x"]), st.one_of(st.none(), st.integers()), max_size=2),
)
_INPUTS = st.one_of(
    st.none(), st.dictionaries(st.sampled_from([*(feature.name for feature in FEATURES), "else"]), _ODD, max_size=6)
)
_SHADOW = {"version": 5, "latency_ms": 12, "error": None}


@st.composite
def odd_record(draw: st.DrawFn) -> dict[str, Any]:
    """What may come as a record: fields that are not there or null, others that nobody knows, inputs of any kind."""
    changes = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "version": st.sampled_from([3, 3.0, 4, None]),
                "reason": st.sampled_from(["champion", "candidate", "champion:timed_out"]),
                "violations": st.sampled_from([[], None, ["too_low"]]),
                "sample": st.sampled_from([1, 0.5]),
                "billed_ms": st.sampled_from([None, 4, 0.125]),
                "shadow": st.sampled_from([None, _SHADOW]),
                "score": st.one_of(st.floats(0, 1), st.integers(0, 1)),
                "label": st.sampled_from([True, False, None, "true", 1, 2**64, "maybe"]),
                "inputs": _INPUTS,
                "else": _ODD,
            },
        )
    )
    made = record(draw(st.integers(0, 12)), **changes)
    for name in draw(
        st.sets(st.sampled_from(["billed_ms", "violations", "shadow", "label", "probabilities", "inputs"]))
    ):
        made.pop(name)
    return made


@settings(deadline=None, max_examples=60)
@given(made=st.lists(odd_record(), max_size=12), data=st.data())
def test_odd_records_count_as_their_values_do_however_they_are_read_and_wherever_blocks_end(
    made: list[dict[str, Any]], data: st.DataObject
) -> None:
    known: dict[str, Any] = {"p1": True, "p2": "false"}
    how: Any = {"outcomes": known, "sensitive": ("line", "weekend", "hour", "wind")}
    found = counted(made, **how)
    first = {each["id"]: each for each in reversed(made)}.values()
    own = [each for each in first if each["version"] == 3 and ":" not in each["reason"] and not each.get("violations")]
    targets = [known[each["id"]] for each in own if each["id"] in known]
    assert found.profile == captured(LAYOUT, own, targets=targets)
    unreadable = [each | {"beyond": 10**400, "nan": float("nan")} for each in made]  # but by the standard library
    assert counted(unreadable, **how) == found
    counting = Counting(REFERENCE, version=3, **(how | {"outcomes": Outcomes(known)}))
    whole = b"".join(json.dumps(each).encode() + b"\n" for each in made).splitlines(keepends=True)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=4)))
    counting.add(b"".join(whole[start:end]) for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True))
    assert counting.hour("from") == found


@pytest.mark.parametrize("name", ["wind speed", "\u98a8", 'so-called "wind"', "wind\\speed", "wind\n", "class", "f0"])
def test_a_feature_may_have_any_name(name: str) -> None:
    contract = Contract("late", "binary", (FeatureContract(name, "numeric"),), classes=(False, True))
    table = Table({name: TABLE["wind"]})
    layout, trained = reference(contract, table, score=SCORES, label=(SCORES >= 0.5).astype(int), target=SCORES > 0.4)
    made = [record(number, inputs={name: number / 10, "wind": 0.5}) for number in range(200)]
    found = counted(made, of=replace(REFERENCE, layout=layout, profile=trained))
    assert found.profile == captured(layout, made)
    assert found.profile.features[0][MISSING] == 0


def test_inputs_that_a_guard_gave_to_the_fallback_are_monitored_or_it_would_hide_their_drift() -> None:
    made = [record(number, unusual=number % 3 == 0, fallback=number % 3 == 0) for number in range(90)]
    assert counted(made).profile == captured(LAYOUT, made)


def test_an_hour_of_other_answers_only_has_usage_and_no_profile() -> None:
    found = counted(record(number, version=4) for number in range(20))
    assert (found.profile.rows, found.answers.rows, found.usage["4"].predictions) == (0, 0, 20)
    assert counted([]).usage == {}
