"""Alarms: metrics from logs and from the platform itself, CloudWatch's rules, actions and events."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from infra.local.alarm_rules import State, check_supported, evaluate, next_state
from infra.local.alarms import _composite
from infra.local.cloud import LocalCloud
from infra.local.logs import embedded_metrics
from infra.local.metrics import Metrics, statistic


def call(cloud: LocalCloud, event: dict[str, Any]) -> None:
    cloud.client("lambda").invoke(FunctionName="work", Payload=json.dumps(event).encode())
    cloud.settle()


def test_a_metric_in_a_log_line_raises_an_alarm_that_notifies_its_topic_and_clears_by_itself(clean: LocalCloud) -> None:
    assert clean.alarm_state("refused") == "INSUFFICIENT_DATA"
    clean.advance(60)
    assert clean.alarm_state("refused") == "OK"
    call(clean, {"do": "metric", "value": 6})
    clean.advance(60)
    assert clean.alarm_state("refused") == "ALARM"
    published = [json.loads(m) for m in clean.messages("alarms")]
    assert [(m["AlarmName"], m["NewStateValue"], m["OldStateValue"]) for m in published] == [("refused", "ALARM", "OK")]
    assert any('"AlarmName": "refused"' in text for text in clean.messages("seen"))
    clean.advance(300)
    assert clean.alarm_state("refused") == "OK"


def test_metric_math_over_the_functions_own_metrics(clean: LocalCloud) -> None:
    clean.advance(300)
    for event in ({"do": "raise"}, {"do": "raise"}, {}):
        call(clean, event)
    clean.advance(60)
    assert clean.alarm_state("error-rate") == "ALARM"
    call(clean, {})
    clean.advance(300)
    assert clean.alarm_state("error-rate") == "INSUFFICIENT_DATA"


def test_the_metrics_of_the_platform_are_there_and_in_the_api_too(clean: LocalCloud) -> None:
    before = clean.metric_sum("AWS/Lambda", "Invocations", {"FunctionName": "work"})
    call(clean, {})
    assert clean.metric_sum("AWS/Lambda", "Invocations", {"FunctionName": "work"}) == before + 1
    now = clean.clock.time()
    points = clean.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Invocations",
        Dimensions=[{"Name": "FunctionName", "Value": "work"}],
        StartTime=now - 60,
        EndTime=now + 60,
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    assert sum(point["Sum"] for point in points) >= 1


def test_what_is_called_by_an_alias_counts_for_the_alias_too(clean: LocalCloud) -> None:
    def seen() -> list[float]:
        function = {"FunctionName": "work"}
        sets = (function, function | {"Resource": "work:live"}, function | {"Resource": "work"})
        return [clean.metric_sum("AWS/Lambda", "Errors", dimensions) for dimensions in sets]

    before = seen()
    lambdas = clean.client("lambda")
    lambdas.invoke(FunctionName="work", Qualifier="live", Payload=b'{"do": "raise"}')
    call(clean, {"do": "raise"})
    assert [now - then for now, then in zip(seen(), before, strict=True)] == [2, 1, 0]


def test_metrics_put_through_the_api_count_in_alarms(clean: LocalCloud) -> None:
    clean.advance(300)
    datum = {"MetricName": "Refused", "Value": 9, "Dimensions": [{"Name": "model", "Value": "late"}]}
    clean.client("cloudwatch").put_metric_data(Namespace="Sample", MetricData=[datum])
    clean.advance(60)
    assert clean.alarm_state("refused") == "ALARM"


# --- CloudWatch's own table of missing data ---------------------------------------------------------------------------


def states(points: str, m: int, n: int) -> dict[str, State]:
    """Newest last, as the documentation writes them: 0 fine, X over, - missing. Current state: OK unless it says so."""
    read = {"0": False, "X": True, "-": None}
    newest_first = [read[p] for p in points.split()][::-1]
    return {
        treatment: next_state(
            newest_first,
            evaluation_periods=n,
            datapoints_to_alarm=m,
            treat_missing_data=treatment,
            current="INSUFFICIENT_DATA",
        )
        for treatment in ("missing", "ignore", "breaching", "notBreaching")
    }


KEPT: State = "INSUFFICIENT_DATA"


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ("0 - X - X", ("OK", "OK", "OK", "OK")),
        ("- - - - 0", ("OK", "OK", "OK", "OK")),
        ("- - - - -", ("INSUFFICIENT_DATA", KEPT, "ALARM", "OK")),
        ("0 X X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("- - X - -", ("ALARM", KEPT, "ALARM", "OK")),
    ],
)
def test_three_of_three(points: str, expected: tuple[State, ...]) -> None:
    assert tuple(states(points, 3, 3).values()) == expected


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ("0 - X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("0 0 X 0 X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("0 - X - -", ("OK", "OK", "ALARM", "OK")),
        ("- - - - 0", ("OK", "OK", "ALARM", "OK")),
        ("- - - X -", ("ALARM", KEPT, "ALARM", "OK")),
    ],
)
def test_two_of_three(points: str, expected: tuple[State, ...]) -> None:
    assert tuple(states(points, 2, 3).values()) == expected


@pytest.mark.parametrize(
    ("expression", "values", "result"),
    [
        ("100 * e / i", {"e": 1.0, "i": 4.0}, 25.0),
        ("e / i", {"e": 1.0, "i": 0.0}, None),
        ("e + i", {"e": 1.0, "i": None}, None),
        ("FILL(e, 0) + i", {"e": None, "i": 2.0}, 2.0),
        ("IF(i > 3, e, 0)", {"e": 7.0, "i": 4.0}, 7.0),
        ("SUM(METRICS())", {"a": 1.0, "b": None, "c": 2.0}, 3.0),
        ("MAX([a, b])", {"a": 1.0, "b": 5.0}, 5.0),
        ("-(a - b)", {"a": 1.0, "b": 5.0}, 4.0),
    ],
)
def test_metric_math(expression: str, values: dict[str, float | None], result: float | None) -> None:
    assert evaluate(expression, values) == result


def test_an_alarm_the_local_cloud_cannot_evaluate_says_why() -> None:
    math = {"ComparisonOperator": "GreaterThanThreshold"}
    assert check_supported({**math, "ExtendedStatistic": "tm99"}) is not None
    assert check_supported({"ComparisonOperator": "GreaterThanUpperThreshold", "Statistic": "Sum"}) is not None
    search = {"Id": "x", "Expression": "SEARCH('x', 'Sum')"}
    assert check_supported({**math, "Metrics": [search]}) is not None
    assert check_supported({**math, "ExtendedStatistic": "p99"}) is None


def test_a_composite_rule() -> None:
    known = {"a": "ALARM", "b": "OK", "c": "INSUFFICIENT_DATA"}
    assert _composite('ALARM("a") AND NOT ALARM(b)', known)
    assert _composite("ALARM(b) OR (OK(b) AND INSUFFICIENT_DATA(c))", known)
    assert not _composite("NOT (ALARM(a) OR FALSE)", known)


def test_percentiles_are_interpolated() -> None:
    assert statistic([1.0, 2.0, 3.0, 4.0], "p50") == 2.5
    assert statistic([5.0], "p99") == 5.0
    assert statistic([], "Sum") is None


def test_a_metric_with_other_dimensions_is_another_metric() -> None:
    metrics = Metrics(time.time)
    metrics.put("N", "M", 1, {"a": "1"}, at=10)
    metrics.put("N", "M", [2, 3], {"a": "2"}, at=11)
    assert metrics.between("N", "M", {"a": "2"}, 11, 12) == [2, 3]
    assert metrics.between("N", "M", {"a": "2"}, 10, 11) == []
    assert metrics.total("N", "M") == 6
    assert metrics.total("N", "M", {"a": "1"}) == 1


def emf(**document: Any) -> str:
    meta = {
        "Timestamp": 1_700_000_000_000,
        "CloudWatchMetrics": [
            {
                "Namespace": "T",
                "Dimensions": [["model"], ["model", "stage"]],
                "Metrics": [{"Name": "n", "Unit": "Count"}],
            }
        ],
    }
    return json.dumps({"_aws": meta, **document})


def test_a_metric_is_recorded_under_each_of_its_dimension_sets() -> None:
    found = list(embedded_metrics(emf(model="a", stage="dev", n=[1, 2])))
    assert [f.dimensions for f in found] == [{"model": "a"}, {"model": "a", "stage": "dev"}]
    assert {f.values for f in found} == {(1.0, 2.0)}
    assert found[0].at == 1_700_000_000


@pytest.mark.parametrize(
    "line", ["plain text", "{broken _aws", emf(model="a", stage="b", n="text"), emf(n=1), json.dumps({"_aws": 1})]
)
def test_a_line_that_breaks_the_format_has_no_metrics(line: str) -> None:
    assert not list(embedded_metrics(line))
