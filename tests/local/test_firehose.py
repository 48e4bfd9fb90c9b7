"""Delivery streams of the local cloud: partitions, errors, limits and rights as on AWS."""

from __future__ import annotations

import base64
import gzip
import json
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local import firehose
from infra.local.calls import HttpAnswer
from infra.local.cloud import LocalCloud
from infra.local.firehose import read_stream
from infra.local.metrics import Metrics

STREAM = "delivery"


def put(cloud: LocalCloud, *records: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = cloud.client("firehose").put_record_batch(
        DeliveryStreamName=STREAM, Records=[{"Data": data} for data in records]
    )
    assert cloud.settle()
    return answer


def objects(cloud: LocalCloud, prefix: str) -> dict[str, list[dict[str, Any]]]:
    """Records by folder."""
    s3, bucket = cloud.client("s3"), cloud.outputs["BucketName"]
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
        data = gzip.decompress(s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())
        folder = entry["Key"].rpartition("/")[0]
        found.setdefault(folder, []).extend(json.loads(line) for line in data.splitlines())
    return found


def error_log(cloud: LocalCloud) -> list[str]:
    """Lines of the stream's error log."""
    logs = cloud.client("logs")
    (group,) = (
        each["logGroupName"] for each in logs.describe_log_groups()["logGroups"] if "Delivery" in each["logGroupName"]
    )
    return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]


def line(model: str, day: str, number: int) -> bytes:
    return json.dumps({"about": {"model": model}, "day": day, "n": number}).encode()


def test_a_stream_that_was_deleted_takes_nothing() -> None:
    stream = read_stream(
        "gone", {"ExtendedS3DestinationConfiguration": {"RoleARN": "r", "BucketARN": "arn:aws:s3:::b"}}
    )
    stopped = firehose.Firehose({"gone": stream}, lambda *_: None, lambda: datetime.now(UTC), Metrics(time.time))
    record = {"DeliveryStreamName": "gone", "Records": [{"Data": b"x"}]}
    nobody: Any = None
    call: Any = SimpleNamespace(params=record, error=lambda code, _message: HttpAnswer(400, {}, code.encode()))
    try:
        stopped.forget(call, HttpAnswer(200, {}, b""))
        answer = stopped.put_record_batch(call, nobody)
    finally:
        stopped.close()
    assert answer.body == b"ResourceNotFoundException"


def test_each_line_of_each_record_goes_to_its_own_partition(cloud: LocalCloud) -> None:
    both = line("a", "d1", 1) + b"\n" + line("b", "d1", 2) + line("a", "d2", 3)
    answer = put(cloud, both, line("a", "d1", 4))
    assert answer["FailedPutCount"] == 0
    assert len(answer["RequestResponses"]) == 2
    found = objects(cloud, "by-model/")
    assert {folder: sorted(each["n"] for each in records) for folder, records in found.items()} == {
        "by-model/model=a/day=d1": [1, 4],
        "by-model/model=a/day=d2": [3],
        "by-model/model=b/day=d1": [2],
    }


def test_what_cannot_be_partitioned_goes_under_the_error_prefix_with_the_reason(cloud: LocalCloud) -> None:
    put(cloud, b'{"day": "d3"}', b"no json")
    ((folder, records),) = objects(cloud, "errors/").items()
    assert folder.startswith("errors/metadata-extraction-failed/20")
    assert sorted(base64.b64decode(each["rawData"]) for each in records) == [b"no json", b'{"day": "d3"}']
    assert {each["errorCode"].partition(".")[0] for each in records} == {"DynamicPartitioning"}


def test_records_of_a_burst_share_an_object_and_who_waits_for_it_does_not_wait_for_more(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firehose, "_GATHER_S", 60.0)
    cloud.settle()
    client = cloud.client("firehose")
    for number in range(5):
        client.put_record(DeliveryStreamName=STREAM, Record={"Data": line("burst", "d1", number)})
    assert cloud.settle(20)
    s3, bucket = cloud.client("s3"), cloud.outputs["BucketName"]
    assert s3.list_objects_v2(Bucket=bucket, Prefix="by-model/model=burst/")["KeyCount"] == 1


@pytest.mark.parametrize(
    "records", [[b"x"] * 501, [b"x" * (1000 * 1024 + 1)], [b"x" * 1000 * 1024] * 5], ids=["count", "record", "bytes"]
)
def test_more_than_firehose_takes_is_refused(cloud: LocalCloud, records: list[bytes]) -> None:
    with pytest.raises(ClientError):
        put(cloud, *records)


def test_an_unknown_stream_is_refused(cloud: LocalCloud) -> None:
    client = cloud.client("firehose")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.put_record_batch(DeliveryStreamName="nobody", Records=[{"Data": b"{}"}])


def test_only_who_may_puts_records(cloud: LocalCloud) -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    cloud.add_user("no-firehose", policy)
    with pytest.raises(ClientError, match="firehose:PutRecordBatch"):
        cloud.client("firehose", "no-firehose").put_record_batch(
            DeliveryStreamName=STREAM, Records=[{"Data": line("a", "d9", 1)}]
        )


def test_what_s3_refuses_waits_and_is_written_when_the_role_may(cloud: LocalCloud) -> None:
    iam = cloud.client("iam")
    (role,) = (role["RoleName"] for role in iam.list_roles()["Roles"] if "DeliveryRole" in role["RoleName"])
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:PutObject", "Resource": "*"}]}
    root = cloud._clients.root("iam")
    root.put_role_policy(RoleName=role, PolicyName="deny", PolicyDocument=json.dumps(deny))
    put(cloud, line("late", "d4", 1))
    assert objects(cloud, "by-model/model=late/") == {}
    assert json.loads(error_log(cloud)[-1])["errorCode"] == "S3.AccessDenied"
    cloud.advance(600)
    dimensions = {"DeliveryStreamName": STREAM}
    now = cloud.clock.time()
    assert max(cloud.metrics.between("AWS/Firehose", "DeliveryToS3.DataFreshness", dimensions, 0, now + 1)) >= 300
    root.delete_role_policy(RoleName=role, PolicyName="deny")
    cloud.advance(120)
    assert [len(records) for records in objects(cloud, "by-model/model=late/").values()] == [1]


def test_a_role_that_may_not_writes_no_error_log(cloud: LocalCloud) -> None:
    iam = cloud.client("iam")
    (role,) = (role["RoleName"] for role in iam.list_roles()["Roles"] if "DeliveryRole" in role["RoleName"])
    actions = ["s3:PutObject", "logs:PutLogEvents"]
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": actions, "Resource": "*"}]}
    before = len(error_log(cloud))
    root = cloud._clients.root("iam")
    root.put_role_policy(RoleName=role, PolicyName="deny", PolicyDocument=json.dumps(deny))
    put(cloud, line("unheard", "d4", 1))
    root.delete_role_policy(RoleName=role, PolicyName="deny")
    cloud.advance(120)
    assert len(objects(cloud, "by-model/model=unheard/")) == 1
    assert len(error_log(cloud)) == before


def test_the_arn_of_a_log_group_means_all_its_streams(cloud: LocalCloud) -> None:
    (machine,) = (
        each
        for each in cloud.client("stepfunctions").list_state_machines()["stateMachines"]
        if each["name"] == "sample"
    )
    found = cloud.client("stepfunctions").describe_state_machine(stateMachineArn=machine["stateMachineArn"])
    (destination,) = found["loggingConfiguration"]["destinations"]
    assert destination["cloudWatchLogsLogGroup"]["logGroupArn"].endswith(":log-group:/aws/vendedlogs/states/sample:*")


GOOD: dict[str, Any] = {
    "RoleARN": "arn:aws:iam::123456789012:role/r",
    "BucketARN": "arn:aws:s3:::b",
    "Prefix": "m=!{partitionKeyFromQuery:m}/",
    "ErrorOutputPrefix": "errors/",
    "DynamicPartitioningConfiguration": {"Enabled": True},
    "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 60},
    "ProcessingConfiguration": {
        "Enabled": True,
        "Processors": [
            {
                "Type": "MetadataExtraction",
                "Parameters": [
                    {"ParameterName": "MetadataExtractionQuery", "ParameterValue": "{m:.m}"},
                    {"ParameterName": "JsonParsingEngine", "ParameterValue": "JQ-1.6"},
                ],
            }
        ],
    },
}


def _processing(query: str) -> dict[str, Any]:
    parameters = [{"ParameterName": "MetadataExtractionQuery", "ParameterValue": query}]
    return {"Enabled": True, "Processors": [{"Type": "MetadataExtraction", "Parameters": parameters}]}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"BufferingHints": {"SizeInMBs": 5}}, "at least 64"),
        ({"BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 10}}, "at least 60"),
        ({"ErrorOutputPrefix": ""}, "ErrorOutputPrefix"),
        ({"DynamicPartitioningConfiguration": {"Enabled": False}}, "need DynamicPartitioning"),
        ({"ProcessingConfiguration": _processing("{n:.n}")}, "extracts"),
        ({"ProcessingConfiguration": _processing("{m:.m|ascii_downcase}")}, "only"),
        ({"ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "Lambda"}]}}, "these processors"),
    ],
)
def test_a_template_that_aws_would_refuse_is_refused(changed: dict[str, Any], problem: str) -> None:
    assert read_stream("s", {"ExtendedS3DestinationConfiguration": GOOD}).keys == {"m": ("m",)}
    with pytest.raises(ValueError, match=problem):
        read_stream("s", {"ExtendedS3DestinationConfiguration": GOOD | changed})
