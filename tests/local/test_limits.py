"""Every limit of AWS in the table, kept once and broken once."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.local import limit_checks, limits
from infra.local.cloud import LocalCloud
from infra.local.limits import LIMITS, most
from infra.machines.release_machine import Step, task
from tests.builders.waiting import eventually

KEY = {"pk": {"S": "limits"}, "sk": {"S": "1"}}
OK = ""  # what a probe gives for a call that is within the limit


def code(ask: Callable[[], Any]) -> str:
    """The error's name; empty when there is none."""
    try:
        ask()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return OK


def alarm(cloud: LocalCloud, metrics: int) -> str:
    queries: list[dict[str, Any]] = [
        {
            "Id": f"m{number}",
            "MetricStat": {"Metric": {"Namespace": "N", "MetricName": f"M{number}"}, "Period": 60, "Stat": "Sum"},
            "ReturnData": False,
        }
        for number in range(metrics)
    ]
    total = {"Id": "total", "Expression": "SUM(METRICS())", "ReturnData": True}
    return code(
        lambda: cloud.client("cloudwatch").put_metric_alarm(
            AlarmName="limits",
            Metrics=[*queries, total],
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanThreshold",
        )
    )


def execution(cloud: LocalCloud, size: int) -> str:
    given = json.dumps({"a": "x" * (size - 9)})
    assert len(given) == size
    return code(
        lambda: cloud.client("stepfunctions").start_execution(stateMachineArn=cloud.outputs["ShortArn"], input=given)
    )


def machine(cloud: LocalCloud, name: str, definition: Mapping[str, Any], role: str = "nobody") -> str:
    """A state machine of its own."""
    made = cloud._moto.state_machines().create_state_machine(
        name=name,
        definition=json.dumps(definition),
        roleArn=f"arn:aws:iam::{cloud.account}:role/{role}",
        tags=[],
        loggingConfiguration=None,
        tracingConfiguration=None,
        sm_type="STANDARD",
    )
    return str(made.arn)


def run(cloud: LocalCloud, arn: str, given: str = "{}") -> dict[str, Any]:
    """How an execution ended."""
    client = cloud.client("stepfunctions")
    started = client.start_execution(stateMachineArn=arn, input=given)["executionArn"]

    def ended() -> Any:
        found = client.describe_execution(executionArn=started)
        return found if found["status"] != "RUNNING" else None

    return dict(eventually(ended, 120))


def state(cloud: LocalCloud, size: int) -> str:
    """A Pass state that gives a result of that size."""
    name = f"passing-{size}"
    states = {"P": {"Type": "Pass", "Result": "x" * (size - 2), "End": True}}
    found = run(cloud, machine(cloud, name, {"StartAt": "P", "States": states}))
    return OK if found["status"] == "SUCCEEDED" else str(found["error"])


def history(cloud: LocalCloud, events: int) -> str:
    """A chain of Pass states with so many events: two for each, two for the execution."""
    rounds = (events - 2) // 2
    definition = {
        "StartAt": "P0",
        "States": {
            f"P{number}": {"Type": "Pass", **({"Next": f"P{number + 1}"} if number < rounds - 1 else {"End": True})}
            for number in range(rounds)
        },
    }
    found = run(cloud, machine(cloud, f"long-{events}", definition))
    return OK if found["status"] == "SUCCEEDED" else str(found["error"])


def transaction_items(cloud: LocalCloud, count: int) -> str:
    return transaction(cloud, [{"S": str(number)} for number in range(count)])


def transaction_bytes(cloud: LocalCloud, size: int) -> str:
    each = most("item_bytes") - 100
    full, rest = divmod(size, each)
    return transaction(cloud, [{"B": b"x" * (length - 50)} for length in [*[each] * full, rest]])


def transaction(cloud: LocalCloud, values: list[dict[str, Any]]) -> str:
    dynamodb = cloud.client("dynamodb")
    (table,) = dynamodb.list_tables()["TableNames"]
    items = [{"pk": {"S": "t"}, "sk": {"S": f"{number:06}"}, "v": value} for number, value in enumerate(values)]
    return code(
        lambda: dynamodb.transact_write_items(
            TransactItems=[{"Put": {"TableName": table, "Item": item}} for item in items]
        )
    )


def item(cloud: LocalCloud, size: int) -> str:
    dynamodb = cloud.client("dynamodb")
    (table,) = dynamodb.list_tables()["TableNames"]
    used = len("pk" + "limits" + "sk" + "1" + "v")
    return code(lambda: dynamodb.put_item(TableName=table, Item={**KEY, "v": {"B": b"x" * (size - used)}}))


def expression(cloud: LocalCloud, size: int) -> str:
    dynamodb = cloud.client("dynamodb")
    (table,) = dynamodb.list_tables()["TableNames"]
    text = "attribute_not_exists(#" + "a" * (size - 23) + ")"
    assert len(text) == size
    return code(
        lambda: dynamodb.put_item(
            TableName=table,
            Item={**KEY, "sk": {"S": str(size)}},
            ConditionExpression=text,
            ExpressionAttributeNames={text[21:-1]: "never"},
        )
    )


def policy(characters: int) -> dict[str, Any]:
    """A policy of exactly so many characters, not counting white space."""
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "a:B", "Resource": ""}]}
    document["Statement"][0]["Resource"] = "x" * (characters - limit_checks.policy_characters(document))  # type: ignore[index]
    return document


def template(kind: str, properties: Callable[[int], Mapping[str, Any]]) -> Callable[[LocalCloud, int], str]:
    def probe(_: LocalCloud, number: int) -> str:
        return limit_checks.fault(kind, lambda: properties(number)) or OK

    return probe


def partitions(cloud: LocalCloud, count: int) -> str:
    firehose, bucket = cloud.client("firehose"), cloud.outputs["BucketName"]
    lines = [json.dumps({"about": {"model": f"m{count}-{n}"}, "day": "d"}).encode() for n in range(count)]
    records = [{"Data": b"".join(lines[start : start + 500])} for start in range(0, count, 500)]
    firehose.put_record_batch(DeliveryStreamName="delivery", Records=records)
    assert cloud.settle()
    s3 = cloud.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"by-model/model=m{count}-")
    written = sum(len(page.get("Contents", ())) for page in pages)
    exceeded = cloud.metrics.between(
        "AWS/Firehose", "PartitionCountExceeded", {"DeliveryStreamName": "delivery"}, 0, cloud.clock.time() + 1
    )
    assert list(exceeded)[-1] == (written < count)
    return OK if written == count else f"{count - written} not partitioned"


def presigned(cloud: LocalCloud, seconds: int) -> str:
    s3 = cloud.session().client("s3", config=Config(signature_version="s3v4"))
    params = {"Bucket": cloud.outputs["BucketName"], "Key": "nothing"}
    url = s3.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url)  # noqa: S310  the local cloud's own address
    said = refused.value.read().decode().partition("<Code>")[2].partition("</Code>")[0]
    return OK if said == "NoSuchKey" else said


def event(cloud: LocalCloud, size: int) -> str:
    detail = json.dumps({"a": "x" * (size - 9 - len("limits") - len("test"))})
    entry = {"Source": "limits", "DetailType": "test", "Detail": detail}
    return code(lambda: cloud.client("events").put_events(Entries=[entry]))


def notification(cloud: LocalCloud, size: int) -> str:
    sns = cloud.client("sns")
    arn = sns.list_topics()["Topics"][0]["TopicArn"]
    return code(lambda: sns.publish(TopicArn=arn, Message="x" * size))


def variables(size: int) -> Mapping[str, Any]:
    return {"Environment": {"Variables": {"A": "x" * (size - 1)}}}


PROBES: Mapping[str, tuple[Callable[[LocalCloud, int], str], str, int]] = {
    # what asks for so many, what AWS says of one more, and the step that "one more" is
    "alarm_metrics": (alarm, "ValidationError", 1),
    "execution_input": (execution, "ValidationException", 1),
    "state_data": (state, "States.DataLimitExceeded", 1),
    "history_events": (history, "States.Runtime", 2),
    "transaction_items": (transaction_items, "ValidationException", 1),
    "transaction_bytes": (transaction_bytes, "ValidationException", 1000),
    "item_bytes": (item, "ValidationException", 1),
    "expression_bytes": (expression, "ValidationException", 1),
    "managed_policy": (
        template("AWS::IAM::ManagedPolicy", lambda number: {"PolicyDocument": policy(number)}),
        "Cannot exceed quota for PolicySize: 6144",
        1,
    ),
    "inline_policies": (
        template(
            "AWS::IAM::Role",
            lambda number: {
                "AssumeRolePolicyDocument": policy(500),
                "Policies": [{"PolicyDocument": policy(5_000)}, {"PolicyDocument": policy(number - 5_000)}],
            },
        ),
        "LimitExceeded",
        1,
    ),
    "trust_policy": (
        template("AWS::IAM::Role", lambda number: {"AssumeRolePolicyDocument": policy(number)}),
        "LimitExceeded",
        1,
    ),
    "role_policies": (
        template(
            "AWS::IAM::Role",
            lambda number: {"AssumeRolePolicyDocument": policy(500), "ManagedPolicyArns": ["arn"] * number},
        ),
        "LimitExceeded",
        1,
    ),
    "environment": (template("AWS::Lambda::Function", variables), "exceeded the 4KB limit", 1),
    "layers": (
        template("AWS::Lambda::Function", lambda number: {"Layers": ["arn"] * number}),
        "layers of a function",
        1,
    ),
    "active_partitions": (partitions, "1 not partitioned", 1),
    "presigned_seconds": (presigned, "AuthorizationQueryParametersError", 1),
    "event_entry": (event, "ValidationException", 1),
    "notification": (notification, "InvalidParameter", 1),
}


# Of these the whole number takes a minute: the mechanism is tried with a smaller one.
SCALED = {"history_events": 250, "active_partitions": 20}


@pytest.mark.parametrize("name", PROBES)
def test_the_limit_itself_is_allowed_and_one_more_is_refused(
    cloud: LocalCloud, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, said, step = PROBES[name]
    if name in SCALED:
        monkeypatch.setitem(limits.LIMITS, name, replace(LIMITS[name], number=SCALED[name]))
    assert probe(cloud, most(name)) == OK
    assert said in probe(cloud, most(name) + step)


def test_every_limit_is_tried() -> None:
    assert {*PROBES, "concurrency", "unreserved_concurrency"} == set(LIMITS)


def test_a_role_without_start_execution_runs_no_distributed_map(cloud: LocalCloud) -> None:
    items = {
        "StartAt": "Each",
        "States": {
            "Each": {
                "Type": "Map",
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                    "StartAt": "P",
                    "States": {"P": {"Type": "Pass", "End": True}},
                },
                "End": True,
            }
        },
    }
    iam = cloud._clients.root("iam")
    version, states = "2012-10-17", {"Service": "states.amazonaws.com"}
    trust = {"Version": version, "Statement": [{"Effect": "Allow", "Principal": states, "Action": "sts:AssumeRole"}]}
    iam.create_role(RoleName="mapping", AssumeRolePolicyDocument=json.dumps(trust))
    arn = machine(cloud, "mapping", items, role="mapping")
    refused = run(cloud, arn, "[1, 2]")
    assert (refused["status"], refused["error"]) == ("FAILED", "States.Permissions")
    assert "states:StartExecution" in refused["cause"]
    start = {"Effect": "Allow", "Action": "states:StartExecution", "Resource": arn}
    allowed = {"Version": version, "Statement": [start]}
    iam.put_role_policy(RoleName="mapping", PolicyName="children", PolicyDocument=json.dumps(allowed))
    assert run(cloud, arn, "[1, 2]")["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("account", "most_reserved", "least"), [(1_000, 900, 100), (101, 1, 100), (50, 0, 50), (10, 0, 10)]
)
def test_what_stays_unreserved_is_never_less_than_aws_wants(account: int, most_reserved: int, least: int) -> None:
    assert limit_checks.reservation_fault({"a": most_reserved}, account) is None
    said = limit_checks.reservation_fault({"a": most_reserved, "b": 1}, account)
    assert said is not None
    assert said.startswith("b ")
    assert f"below its minimum value of [{least}]" in said


def test_a_throttled_step_waits_for_its_turn(cloud: LocalCloud) -> None:
    """Its other faults are given up after six attempts; this one outlasts them."""
    iam, arn = cloud._clients.root("iam"), f"arn:aws:lambda:{cloud.region}:{cloud.account}:function:work"
    version, states = "2012-10-17", {"Service": "states.amazonaws.com"}
    trust = {"Version": version, "Statement": [{"Effect": "Allow", "Principal": states, "Action": "sts:AssumeRole"}]}
    invoke = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": arn}
    iam.create_role(RoleName="training", AssumeRolePolicyDocument=json.dumps(trust))
    permissions = json.dumps({"Version": version, "Statement": [invoke]})
    iam.put_role_policy(RoleName="training", PolicyName="invoke", PolicyDocument=permissions)
    definition = {"StartAt": "T", "States": {"T": {**task(Step(arn, 2), {}), "End": True}}}
    client, host = cloud.client("stepfunctions"), cloud.host
    training = machine(cloud, "training", definition, role="training")
    before, host._concurrency = host._concurrency, 0
    try:
        started = client.start_execution(stateMachineArn=training, input="{}")["executionArn"]

        def tried(times: int) -> bool:
            events = client.get_execution_history(executionArn=started, maxResults=1000)["events"]
            return sum(each["type"] == "LambdaFunctionFailed" for each in events) >= times

        for so_many in range(1, 12):
            assert eventually(partial(tried, so_many))
            cloud.advance(900)
        assert client.describe_execution(executionArn=started)["status"] == "RUNNING"
    finally:
        host._concurrency = before
    cloud.advance(900)
    assert eventually(lambda: client.describe_execution(executionArn=started)["status"] != "RUNNING")
    assert client.describe_execution(executionArn=started)["status"] == "SUCCEEDED"


def test_an_account_with_one_invocation_at_a_time_throttles_the_second(cloud: LocalCloud) -> None:
    host = cloud.host
    before, host._concurrency = host._concurrency, 1
    try:
        slow = threading.Thread(target=host.invoke, args=("work", b'{"do": "sleep", "seconds": 1}'))
        slow.start()
        eventually(lambda: host._in_flight)
        assert host.invoke("work", b"{}").is_throttled
        slow.join()
        eventually(lambda: not host._in_flight)
        assert not host.invoke("work", b"{}").is_throttled
    finally:
        host._concurrency = before
