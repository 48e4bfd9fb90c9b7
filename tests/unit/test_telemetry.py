"""Counts by dimensions are lines of their own, beside the invocation's metrics."""

import json

from tidegate.telemetry import Meter


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_count_with_dimensions_is_told_by_stage_and_by_model_and_in_the_total(capsys):
    meter = Meter("inference", stage="test")
    meter.count("FallbackServed", 3, why="killed")
    meter.about("flight-delay")
    meter.flush()
    total, apart = lines(capsys)
    assert total["FallbackServed"] == [3.0]
    assert apart["FallbackServed"] == 3
    (directive,) = apart["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["service", "stage", "why"], ["service", "stage", "model", "why"]]
    assert (apart["model"], apart["why"], apart["stage"]) == ("flight-delay", "killed", "test")


def test_nothing_of_one_invocation_is_told_again_in_the_next(capsys):
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


def test_what_is_told_of_some_dimensions_is_added_to_no_others(capsys):
    meter = Meter("observe", stage="test")
    meter.tell({"Requests": 3, "CostUSD": 0.5}, model="flight-delay", version="2")
    (line,) = lines(capsys)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["service", "stage", "model", "version"]]
    assert [each["Name"] for each in directive["Metrics"]] == ["Requests", "CostUSD"]
    assert (line["Requests"], line["CostUSD"], line["version"]) == (3, 0.5, "2")
