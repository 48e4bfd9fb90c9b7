"""What is kept of a prediction, in which form, and how it is packed."""

import json
from datetime import timedelta, timezone
from typing import Any

import pytest

from tests.builders.captures import MIDNIGHT, capture
from tests.documents.forms import hold
from tidegate.domain.serving.capture import (
    CAPTURE_RECORD,
    MASK,
    UNANSWERED,
    UNKNOWN,
    CapturePolicy,
    ShadowAnswer,
    line,
    policy_of,
    records,
    sampled,
)
from tidegate.formats.firehose import (
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    MAX_RECORD_BYTES,
    MAX_RECORD_LINES,
    Packed,
    batches,
    packed,
)

ALL = CapturePolicy()


def test_a_record_has_every_field_of_the_schema_and_null_where_there_is_nothing() -> None:
    (record,) = records(capture(), ALL)
    assert record == {
        "schema": 1,
        "id": "id-0",
        "model": "flight-delay",
        "hour": "2026-01-05-23",
        "time": "2026-01-05T23:59:59.123Z",
        "version": 3,
        "arm": "champion",
        "reason": "champion",
        "route": 5,
        "request_id": "request-1",
        "rows": 1,
        "latency_ms": 1.235,
        "billed_ms": 1.235,
        "cold": False,
        "inputs": {"carrier": "UA", "hour": 7, "tailnum": "N1"},
        "label": True,
        "score": 0.75,
        "probabilities": {"true": 0.75, "false": 0.25},
        "violations": [],
        "unusual": False,
        "fallback": False,
        "error": None,
        "shadow": None,
        "sample": 1.0,
    }
    hold(CAPTURE_RECORD, record)


def test_a_record_is_billed_what_its_version_and_the_shadow_took_at_least() -> None:
    shadow = ShadowAnswer(version=4, latency_ms=30.0)
    (unknown,) = records(capture(1, shadow=shadow), ALL)
    assert unknown["billed_ms"] == unknown["latency_ms"]
    (known,) = records(capture(1, shadow=shadow, billed_ms=50.0), ALL)
    assert known["billed_ms"] == pytest.approx(20.0)


def test_the_hour_is_that_of_utc() -> None:
    (record,) = records(capture(at=MIDNIGHT.astimezone(timezone(timedelta(hours=5)))), ALL)
    assert (record["hour"], record["time"]) == ("2026-01-05-23", "2026-01-05T23:59:59.123Z")


def test_each_row_gets_its_own_inputs_violations_and_shadow() -> None:
    shadow = ShadowAnswer(4, [{"score": 0.1}, {"score": 0.2}], 2.0)
    both = list(records(capture(2, violations=[[], ["score_in_range"]], error="", shadow=shadow), ALL))
    assert [record["violations"] for record in both] == [[], ["score_in_range"]]
    assert [record["shadow"]["score"] for record in both] == [0.1, 0.2]
    assert both[1]["shadow"] == {
        "version": 4, "latency_ms": 2.0, "error": None, "cold": False,
        "label": None, "score": 0.2, "probabilities": None,
    }  # fmt: skip
    assert [record["rows"] for record in both] == [2, 2]


def test_a_shadow_that_failed_says_so() -> None:
    (record,) = records(capture(shadow=ShadowAnswer(4, error="ModelFailedError")), ALL)
    assert record["shadow"]["error"] == "ModelFailedError"
    assert record["shadow"]["score"] is None


def test_a_record_says_what_had_to_be_opened_first() -> None:
    (record,) = records(capture(cold=True, shadow=ShadowAnswer(4, [{"score": 0.1}], cold=True)), ALL)
    assert (record["cold"], record["shadow"]["cold"]) == (True, True)


def test_a_request_that_nobody_answered_has_ids_and_inputs_but_no_outputs() -> None:
    unanswered = capture(version=None, reason=f"{UNANSWERED}:scoring_failed", predictions=[{"id": "id-0"}], error="E")
    (record,) = records(unanswered, ALL)
    assert (record["id"], record["version"], record["reason"]) == ("id-0", None, "unanswered:scoring_failed")
    assert record["inputs"] == {"carrier": "UA", "hour": 7, "tailnum": "N1"}
    assert {record[name] for name in ("label", "score", "probabilities")} == {None}


def test_an_answer_of_the_fallback_has_no_version_and_names_the_fault() -> None:
    (record,) = records(capture(version=None, arm="fallback", error="ModelFailedError"), ALL)
    assert (record["version"], record["arm"], record["error"]) == (None, "fallback", "ModelFailedError")


# What may be kept


def test_a_caller_cannot_mask_a_value_by_sending_the_word_for_it() -> None:
    sent = {"carrier": MASK, "hour": 7, "tailnum": MASK}
    (record,) = records(capture(instances=[sent]), CapturePolicy(mask=frozenset({"tailnum"})))
    assert record["inputs"] == {"carrier": '"[masked]"', "hour": 7, "tailnum": MASK}


def test_a_masked_column_shows_only_whether_it_was_missing() -> None:
    one = capture(2, instances=[{"tailnum": "N1", "hour": 7}, {"tailnum": None, "hour": 8}])
    kept = [record["inputs"] for record in records(one, CapturePolicy(mask=frozenset({"tailnum"})))]
    assert kept == [{"tailnum": MASK, "hour": 7}, {"tailnum": None, "hour": 8}]


def test_a_dropped_column_leaves_no_trace() -> None:
    (record,) = records(capture(), CapturePolicy(drop=frozenset({"tailnum"})))
    assert "N1" not in line(record).decode()
    assert "tailnum" not in record["inputs"]


def test_while_nothing_is_known_every_input_is_hidden() -> None:
    (record,) = records(capture(), UNKNOWN)
    assert set(record["inputs"].values()) == {MASK}
    assert record["score"] == 0.75


@pytest.mark.parametrize(
    ("declared", "masked", "dropped"),
    [
        ({}, {"tailnum", "name"}, set()),
        ({"drop": ["tailnum"]}, {"name"}, {"tailnum"}),
        ({"keep": ["tailnum"]}, {"name"}, set()),
        ({"mask": ["hour"]}, {"hour", "tailnum", "name"}, set()),
    ],
)
def test_personal_columns_are_masked_unless_the_spec_names_them(
    declared: dict[str, Any], masked: set[str], dropped: set[str]
) -> None:
    policy = policy_of(declared, ["tailnum", "name"])
    assert (policy.mask, policy.drop) == (masked, dropped)


def test_the_sample_is_drawn_by_id_and_a_larger_one_holds_the_smaller() -> None:
    ids = [f"id-{number}" for number in range(4_000)]
    small = {each for each in ids if sampled(each, 0.1)}
    large = {each for each in ids if sampled(each, 0.5)}
    assert small < large
    assert 320 < len(small) < 480
    assert all(sampled(each, 1.0) for each in ids)
    assert not any(sampled(each, 0.0) for each in ids)
    kept = list(records(capture(1_000), CapturePolicy(sample=0.1)))
    assert {record["id"] for record in kept} == small & set(ids[:1_000])
    assert {record["sample"] for record in kept} == {0.1}


# Packing


def test_lines_share_records_up_to_what_firehose_takes_apart() -> None:
    found, too_long = packed(b'{"n":%d}' % number for number in range(1_201))
    assert [each.lines for each in found] == [MAX_RECORD_LINES, MAX_RECORD_LINES, 201]
    assert too_long == 0
    lines = b"".join(each.data for each in found).splitlines()
    assert [json.loads(each)["n"] for each in lines] == list(range(1_201))


def test_no_record_is_larger_than_firehose_accepts() -> None:
    big = b"x" * (MAX_RECORD_BYTES - 1)
    found, too_long = packed([b"a", big, b"b", big + b"x"])
    assert [len(each.data) for each in found] == [2, MAX_RECORD_BYTES, 2]
    assert too_long == 1


def test_calls_keep_both_limits() -> None:
    by_count = list(batches([Packed(b"x", 1)] * 1_001))
    assert [len(batch) for batch in by_count] == [MAX_BATCH_RECORDS, MAX_BATCH_RECORDS, 1]
    by_size = list(batches([Packed(b"x" * MAX_RECORD_BYTES, 1)] * 9))
    assert [len(batch) for batch in by_size] == [4, 4, 1]
    assert all(sum(len(each.data) for each in batch) <= MAX_BATCH_BYTES for batch in by_size)
    assert list(batches([])) == []


def test_a_line_is_one_line_of_strict_json() -> None:
    assert line({"text": "é\nü"}) == '{"text":"é\\nü"}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        line({"score": float("nan")})
