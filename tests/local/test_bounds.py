"""What a cloud that is up for days lets go of, so that its memory does not grow with every request."""

from __future__ import annotations

import pytest

from infra.local import metrics as metrics_module
from infra.local import moto_server, stepfunctions, table_changes
from infra.local.cloud import LocalCloud
from infra.local.metrics import DAYS, Metrics
from tests.builders.waiting import eventually
from tests.local.calls import finished, reached


def test_records_of_a_stream_that_everybody_has_read_are_let_go_of(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_changes, "KEPT_RECORDS", 3)
    client = cloud.client("dynamodb")
    (table,) = client.list_tables()["TableNames"]
    arn = client.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    for number in range(10):
        client.put_item(TableName=table, Item={"pk": {"S": "bounded"}, "sk": {"S": str(number)}})
        assert cloud.settle()
    changes = cloud._moto.changes
    count = changes.count(arn)
    assert changes.record(arn, 0) is None
    assert changes.record(arn, count - 1) is not None
    streams = cloud.client("dynamodbstreams")
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    place = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    read = streams.get_records(ShardIterator=place["ShardIterator"])["Records"]
    assert read[-1]["dynamodb"]["Keys"]["sk"]["S"] == "9"
    assert len(read) < count


def test_old_points_and_lines_make_room_for_new_ones(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moto_server, "MOST_LINES", 10)
    monkeypatch.setattr(moto_server, "MOST_POINTS", 10)
    for number in range(100):
        cloud.logs.line("/sample/bounded", f"line {number}")
        cloud.metrics.put("Sample", "Bounded", 1.0)
    lines = cloud.log_lines("/sample/bounded")
    assert lines[-1] == "line 99"
    assert len(lines) <= 21
    assert cloud.metric_sum("Sample", "Bounded") == 100.0  # what alarms and dashboards go by
    found = cloud.client("cloudwatch").list_metrics(Namespace="Sample", MetricName="Bounded")["Metrics"]
    assert 0 < len(found) <= 21


def test_points_are_kept_for_days_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "_OLD_POINTS", 5)
    now = 1_000_000_000.0
    metrics = Metrics(lambda: now)
    for number in range(20):
        metrics.put("Sample", "Seen", 1.0, at=now + number)
    now += 86_400 * DAYS + 10
    metrics.put("Sample", "Seen", 1.0)
    assert metrics.total("Sample", "Seen") == 11.0
    assert metrics.between("Sample", "Seen", None, now - 1, now + 1) == [1.0]


def test_executions_that_are_over_are_let_go_of_and_those_under_way_are_not(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepfunctions, "KEPT_EXECUTIONS", 2)
    states, machine = cloud.client("stepfunctions"), cloud.outputs["MachineArn"]
    waiting = states.start_execution(stateMachineArn=machine, input='{"wait": 7200}')["executionArn"]
    assert reached(cloud, waiting, "WaitStateEntered")
    for number in range(6):
        short = states.start_execution(stateMachineArn=machine, name=f"short-{number}", input='{"wait": 1}')
        assert reached(cloud, short["executionArn"], "WaitStateEntered")  # only then does moving the clock end it
        cloud.advance(5)
        assert finished(cloud, short["executionArn"])

    def listed(status: str) -> set[str]:
        found = states.list_executions(stateMachineArn=machine, statusFilter=status)["executions"]
        return {each["executionArn"].rpartition(":")[2] for each in found}

    assert eventually(lambda: "short-0" not in listed("SUCCEEDED"))  # its thread reports the end first, then tidies
    assert "short-5" in listed("SUCCEEDED")
    assert waiting.rpartition(":")[2] in listed("RUNNING")
    states.stop_execution(executionArn=waiting)
