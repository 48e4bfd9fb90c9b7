"""Counts by dimensions are lines of their own, beside the invocation's metrics; faults of people are answers."""

import json
from typing import Any

import pytest
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from tidegate.kernel.errors import (
    ConflictError,
    DataCheckError,
    DatasetInvalidError,
    Fault,
    NotFoundError,
    RunEndedError,
    TidegateError,
    TrainingFailedError,
    UnavailableError,
)
from tidegate.telemetry import MAX_HELD, Meter, ends_runs


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_count_with_dimensions_is_reported_by_stage_and_by_model_and_in_the_total(capsys):
    meter = Meter("inference", stage="test")
    meter.count("FallbackServed", 3, why="killed")
    meter.about("flight-delay")
    meter.flush()
    total, apart = lines(capsys)
    assert total["FallbackServed"] == [3]
    assert apart["FallbackServed"] == 3
    (directive,) = apart["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["stage", "service", "why"], ["stage", "service", "model", "why"]]
    assert (apart["model"], apart["why"], apart["stage"]) == ("flight-delay", "killed", "test")


def test_nothing_of_one_invocation_is_reported_again_in_the_next(capsys):
    meter = Meter("inference", stage="test")
    meter.about("flight-delay")
    meter.count("FallbackServed", why="killed")
    meter.flush()
    lines(capsys)
    meter.count("RuleViolations", arm="candidate")
    meter.flush()
    _, apart = lines(capsys)
    assert "model" not in apart
    assert "FallbackServed" not in apart


def test_what_is_reported_of_some_dimensions_is_added_to_no_others(capsys):
    meter = Meter("monitor", stage="test")
    meter.report({"Requests": 3, "CostUSD": 0.5}, model="flight-delay", version="2")
    (line,) = lines(capsys)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["stage", "service", "model", "version"]]
    assert [each["Name"] for each in directive["Metrics"]] == ["Requests", "CostUSD"]
    assert (line["Requests"], line["CostUSD"], line["version"]) == (3, 0.5, "2")


def test_an_invocations_metrics_are_a_line_as_powertools_writes_it(capsys):
    peer = Metrics(namespace="Tidegate", service="inference")
    peer.set_default_dimensions(stage="test")
    peer.add_metric(name="Requests", unit=MetricUnit.Count, value=1)
    for rows in (3, 2):
        peer.add_metric(name="Predictions", unit=MetricUnit.Count, value=rows)
    peer.add_metric(name="LatencyMs", unit=MetricUnit.Milliseconds, value=1.25)
    peer.add_dimensions(service="inference", model="flight-delay")
    peer.flush_metrics()
    (theirs,) = lines(capsys)

    meter = Meter("inference", stage="test")
    meter.count("Requests")
    for rows in (3, 2):
        meter.count("Predictions", rows)
    meter.took("LatencyMs", 1.25)
    meter.about("flight-delay")
    meter.flush()
    (ours,) = lines(capsys)

    assert abs(ours["_aws"].pop("Timestamp") - theirs["_aws"].pop("Timestamp")) < 10_000
    assert ours == theirs


def test_an_invocation_that_counted_nothing_writes_nothing(capsys):
    Meter("inference", stage="test").flush()
    assert lines(capsys) == []


def test_lines_that_are_held_are_written_when_asked_for_and_in_order(capsys):
    meter = Meter("inference", stage="test", holds=True)
    for rows in (3, 2):
        meter.count("Predictions", rows, why="killed")
        meter.flush()
    assert lines(capsys) == []
    meter.write()
    assert [line["Predictions"] for line in lines(capsys)] == [[3], 3, [2], 2]
    meter.write()
    assert lines(capsys) == []


def test_lines_that_nobody_asks_for_are_written_all_the_same(capsys):
    meter = Meter("inference", stage="test", holds=True)
    for _ in range(MAX_HELD + 1):
        meter.count("Requests")
        meter.flush()
    assert len(lines(capsys)) == MAX_HELD + 1


def test_a_dimension_is_what_cloudwatch_takes_whatever_people_wrote(capsys):
    meter = Meter("monitor", stage="test")
    for written in ("Köln\n\x1b[2Jops", ":x", " ", "a" * 2_000):
        meter.report({"CostUSD": 0.5}, business_unit=written)
    assert [line["business_unit"] for line in lines(capsys)] == [r"K?ln \x1b[2Jops", "x", "-", "a" * 1_024]


@pytest.mark.parametrize(
    "error",
    [
        DataCheckError("2 faults", [Fault("features.wind", "is above max 150")]),
        DatasetInvalidError("the files cannot be used"),
        TrainingFailedError("candidate 1: max_bins"),
        RunEndedError("run r-1 is already failed"),
    ],
)
def test_what_people_are_at_fault_for_is_an_answer_of_a_step_and_a_warning(
    error: TidegateError, caplog: pytest.LogCaptureFixture
) -> None:
    @ends_runs("prepare")
    def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
        raise error

    answer = handler({"run": {"model": "m", "run_id": "r-1"}}, None)
    assert answer == {"ends_run": {"Error": type(error).__name__, "Cause": str(error)}}
    (line,) = caplog.records
    assert (line.levelname, line.fault, line.run) == ("WARNING", type(error).__name__, {"model": "m", "run_id": "r-1"})  # type: ignore[attr-defined]
    assert not any("wind" in str(value) for name, value in vars(line).items() if name != "exc_info")


@pytest.mark.parametrize(
    "error", [UnavailableError("S3"), NotFoundError("no run"), ConflictError("race"), KeyError("x")]
)
def test_a_fault_of_the_platform_stays_an_error_of_its_function(error: Exception) -> None:
    @ends_runs("prepare")
    def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
        raise error

    with pytest.raises(type(error)):
        handler({"model": "m", "run_id": "r-1"}, None)
