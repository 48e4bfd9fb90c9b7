"""EventBridge: rules find their targets, schedules fire by the clock, nothing is lost silently."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.local.clock import Clock
from infra.local.cloud import LocalCloud
from infra.local.patterns import matches, target_input
from infra.local.schedules import ScheduleError, next_time
from tests.builders.waiting import eventually


def put(cloud: LocalCloud, source: str, detail: Any) -> dict[str, Any]:
    entry = {"Source": source, "DetailType": "Order", "Detail": json.dumps(detail)}
    answer: dict[str, Any] = cloud.client("events").put_events(Entries=[entry])
    return answer


def executions(cloud: LocalCloud, given: str) -> list[str]:
    states = cloud.client("stepfunctions")
    listed = states.list_executions(stateMachineArn=cloud.outputs["MachineArn"])["executions"]
    described = [states.describe_execution(executionArn=e["executionArn"]) for e in listed]
    return [d["status"] for d in described if json.loads(d["input"]) == json.loads(given)]


def test_an_event_reaches_the_function_and_the_state_machine_of_the_rule_it_matches(clean: LocalCloud) -> None:
    before = clean.metric_sum("Sample", "Refused", {"model": "late"})
    assert put(clean, "sample.orders", {"amount": 11})["FailedEntryCount"] == 0
    clean.settle()
    assert clean.metric_sum("Sample", "Refused", {"model": "late"}) == before + 11
    assert eventually(lambda: executions(clean, '{"from": "a rule"}') == ["SUCCEEDED"])


def test_an_event_that_matches_no_rule_goes_nowhere(clean: LocalCloud) -> None:
    put(clean, "sample.orders", {"amount": 10})
    clean.settle()
    assert executions(clean, '{"from": "a rule"}').count("RUNNING") == 0
    assert clean.metric_sum("AWS/Events", "FailedInvocations") == 0


def test_what_came_to_the_default_bus_can_be_seen_by_its_source(clean: LocalCloud) -> None:
    put(clean, "sample.seen", {"n": 1})
    put(clean, "sample.other", {"n": 2})
    put(clean, "sample.seen", {"n": 3})
    first, second = clean.events_seen("sample.seen")
    assert (first["detail"], first["detail-type"], second["detail"]) == ({"n": 1}, "Order", {"n": 3})


def test_malformed_and_forbidden_entries_are_refused_one_by_one(clean: LocalCloud) -> None:
    entries = [
        {"Source": "sample.x", "DetailType": "t", "Detail": "not json"},
        {"Source": "aws.states", "DetailType": "t", "Detail": "{}"},
        {"Source": "sample.x", "DetailType": "t", "Detail": "{}"},
    ]
    answer = clean.client("events").put_events(Entries=entries)
    codes = [entry.get("ErrorCode") for entry in answer["Entries"]]
    assert codes == ["MalformedDetail", "NotAuthorizedForSourceException", None]


def test_an_undeliverable_event_goes_to_the_dead_letter_queue_with_the_reason(clean: LocalCloud) -> None:
    put(clean, "sample.lost", {"n": 1})
    queue = clean.client("sqs").get_queue_url(QueueName="lost")["QueueUrl"]
    (message,) = clean.client("sqs").receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert json.loads(message["Body"])["detail"] == {"n": 1}
    assert attributes["TARGET_ARN"].endswith(":function:nobody")
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"


def test_the_end_of_an_execution_is_an_event_as_step_functions_sends_it(clean: LocalCloud) -> None:
    states = clean.client("stepfunctions")
    arn = clean.outputs["MachineArn"]
    given = json.dumps({"do": "exit"})
    started = states.start_execution(stateMachineArn=arn, name="fails", input=given)
    (text,) = eventually(lambda: clean.messages("seen"))
    event = json.loads(text)
    detail = event["detail"]
    assert (event["source"], event["detail-type"]) == ("aws.states", "Step Functions Execution Status Change")
    assert event["resources"] == [started["executionArn"]]
    assert (detail["status"], detail["name"], detail["error"]) == ("FAILED", "fails", "Runtime.ExitError")
    assert (detail["stateMachineArn"], detail["input"], detail["output"]) == (arn, given, None)
    assert detail["startDate"] <= detail["stopDate"]
    assert clean.metric_sum("AWS/States", "ExecutionsFailed", {"StateMachineArn": arn}) >= 1


def test_a_stopped_execution_is_an_event_too(clean: LocalCloud) -> None:
    states = clean.client("stepfunctions")
    started = states.start_execution(stateMachineArn=clean.outputs["MachineArn"], input='{"wait": 5000}')
    states.stop_execution(executionArn=started["executionArn"])
    (text,) = eventually(lambda: clean.messages("seen"))
    assert json.loads(text)["detail"]["status"] == "ABORTED"


def test_the_clock_passes_a_time_without_any_schedule(clean: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean.bus, "next_due", lambda: None)
    before = clean.clock.time()
    clean.advance(90)
    assert clean.clock.time() >= before + 90


def test_a_schedule_fires_once_for_every_period_the_clock_passes(clean: LocalCloud) -> None:
    clean.advance(3 * 3600)
    hours = [text for text in clean.messages("seen") if "the hour has come" in text]
    assert len(hours) == 3
    clean.advance(600)
    assert len([text for text in clean.messages("seen") if "the hour has come" in text]) == 3


def test_a_schedule_in_a_time_zone_fires_once_a_day_with_the_role_it_was_given(clean: LocalCloud) -> None:
    clean.advance(2 * 86400)
    assert len([text for text in clean.messages("seen") if "the night has come" in text]) == 2


# --- patterns ---------------------------------------------------------------------------------------------------------

EVENT = {"source": "a", "detail": {"n": 5, "tags": ["x", "y"], "name": "Model-7", "ip": "10.0.0.9", "none": None}}


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ({"source": ["a", "b"]}, True),
        ({"source": ["b"]}, False),
        ({"detail": {"n": [{"numeric": [">", 3, "<=", 5]}]}}, True),
        ({"detail": {"n": [{"numeric": [">", 5]}]}}, False),
        ({"detail": {"n": ["5"]}}, False),
        ({"detail": {"tags": ["y"]}}, True),
        ({"detail": {"name": [{"prefix": "Model"}]}}, True),
        ({"detail": {"name": [{"suffix": "-7"}]}}, True),
        ({"detail": {"name": [{"equals-ignore-case": "model-7"}]}}, True),
        ({"detail": {"name": [{"wildcard": "M*-?"}]}}, False),
        ({"detail": {"name": [{"wildcard": "M*-7"}]}}, True),
        ({"detail": {"name": [{"anything-but": ["Model-7"]}]}}, False),
        ({"detail": {"name": [{"anything-but": {"prefix": "X"}}]}}, True),
        ({"detail": {"missing": [{"exists": False}]}}, True),
        ({"detail": {"name": [{"exists": True}]}}, True),
        ({"detail": [{"exists": True}]}, False),
        ({"detail": {"missing": [{"anything-but": ["x"]}]}}, False),
        ({"detail": {"none": [None]}}, True),
        ({"detail": {"ip": [{"cidr": "10.0.0.0/24"}]}}, True),
        ({"detail": {"$or": [{"n": [6]}, {"name": ["Model-7"]}]}}, True),
        ({"detail": {"$or": [{"n": [6]}, {"name": ["Model-8"]}]}}, False),
        ({"detail": {"n": [5], "missing": ["x"]}}, False),
    ],
)
def test_patterns(pattern: dict[str, Any], fits: bool) -> None:
    assert matches(pattern, EVENT) == fits


def test_a_transformed_input_keeps_json_outside_quotes_and_makes_text_inside() -> None:
    target = {
        "InputTransformer": {
            "InputPathsMap": {"n": "$.detail.n", "name": "$.detail.name", "tags": "$.detail.tags"},
            "InputTemplate": '{"n": <n>, "text": "<name> has <n>", "tags": <tags>, "rule": "<aws.events.rule-name>"}',
        }
    }
    assert target_input(target, EVENT, "arn:aws:events:us-east-1:1:rule/mine") == {
        "n": 5,
        "text": "Model-7 has 5",
        "tags": ["x", "y"],
        "rule": "mine",
    }


# --- schedules --------------------------------------------------------------------------------------------------------


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("expression", "after", "fires"),
    [
        ("rate(5 minutes)", "2026-01-01T00:07:00", "2026-01-01T00:10:00"),
        ("rate(1 day)", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("cron(0 3 * * ? *)", "2026-01-01T03:00:00", "2026-01-02T03:00:00"),
        ("cron(0/15 * * * ? *)", "2026-01-01T00:14:59", "2026-01-01T00:15:00"),
        ("cron(0 6 ? * MON-FRI *)", "2026-01-02T07:00:00", "2026-01-05T06:00:00"),
        ("cron(0 0 1 * ? *)", "2026-01-15T00:00:00", "2026-02-01T00:00:00"),
        ("cron(0 0 L * ? *)", "2026-02-01T00:00:00", "2026-02-28T00:00:00"),
        ("cron(0 12 ? * TUE#2 *)", "2026-01-01T00:00:00", "2026-01-13T12:00:00"),
        ("cron(0 12 ? * 6L *)", "2026-01-01T00:00:00", "2026-01-30T12:00:00"),
        ("cron(0 12 ? * L *)", "2026-01-01T00:00:00", "2026-01-03T12:00:00"),
        ("cron(0 12 ? * 2/3 *)", "2026-01-03T13:00:00", "2026-01-05T12:00:00"),
        ("cron(0 0 1 1 ? 2028)", "2026-01-15T00:00:00", "2028-01-01T00:00:00"),
        ("at(2026-03-01T10:00:00)", "2026-01-01T00:00:00", "2026-03-01T10:00:00"),
    ],
)
def test_next_time(expression: str, after: str, fires: str) -> None:
    assert next_time(expression, at(after), created=at("2026-01-01T00:00:00")) == at(fires)


def test_a_schedule_in_a_time_zone_follows_its_clock() -> None:
    noon = next_time("cron(0 12 * * ? *)", at("2026-07-01T00:00:00"), created=0, timezone="Europe/Berlin")
    assert noon == at("2026-07-01T10:00:00")


def test_a_moment_that_has_passed_never_comes() -> None:
    assert next_time("at(2026-01-01T00:00:00)", at("2026-01-02T00:00:00"), created=0) is None


@pytest.mark.parametrize(
    "expression",
    [
        "every hour",
        "rate(0 minutes)",
        "rate(2 weeks)",
        "cron(0 0 * *)",
        "cron(99 0 * * ? *)",
        "cron(0 0 ? * 0 *)",
        "cron(0 0 ? * 8 *)",
        "cron(0 0 * * ? soon)",
    ],
)
def test_an_expression_that_is_none_is_refused(expression: str) -> None:
    with pytest.raises(ScheduleError):
        next_time(expression, 0, created=0)


def test_what_was_stamped_by_a_clock_that_stood_behind_counts_when_it_happened() -> None:
    clock = Clock()
    start = clock.time()
    clock.move_to(start + 100)
    clock.move_to(start + 110)
    assert clock.caught_up(start - 5) == start - 5
    assert abs(clock.caught_up(start + 1) - (start + 111)) < 1  # the first jump, and the second right after it
    assert clock.caught_up(start + 200) == start + 200
    clock.move_to(start + 1_000)
    assert abs(clock.caught_up(start + 150) - (start + 150 + 890)) < 1
