"""Faults that tests ask for: services that throttle, clocks that are off."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.local.cloud import LocalCloud
from infra.local.skewed_clock import OFFSET, write_offset, write_shim
from tests.local.calls import call

PATIENT = Config(retries={"total_max_attempts": 3, "mode": "standard"})
IMPATIENT = Config(retries={"total_max_attempts": 1})
CALLS = [
    ("dynamodb", "ListTables", "ProvisionedThroughputExceededException", 400),
    ("s3", "ListBuckets", "SlowDown", 503),
    ("lambda", "ListFunctions", "TooManyRequestsException", 429),
    ("stepfunctions", "ListStateMachines", "ThrottlingException", 400),
    ("sns", "ListTopics", "Throttling", 400),
    ("sqs", "ListQueues", "RequestThrottled", 400),
    ("events", "ListRules", "ThrottlingException", 400),
    ("firehose", "ListDeliveryStreams", "ServiceUnavailableException", 500),
]


def method(operation: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in operation).lstrip("_")


@pytest.mark.parametrize(("service", "operation", "code", "http_status"), CALLS)
def test_each_service_throttles_with_its_own_error(
    cloud: LocalCloud, service: str, operation: str, code: str, http_status: int
) -> None:
    client = cloud.session().client(service, config=IMPATIENT)  # type: ignore[call-overload]
    with cloud.throttle(service, {operation}) as throttle, pytest.raises(ClientError) as refusal:
        getattr(client, method(operation))()
    assert refusal.value.response["Error"]["Code"] == code
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == http_status
    assert throttle.refused == 1
    assert getattr(client, method(operation))()["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(("service", "operation"), [(service, operation) for service, operation, _, _ in CALLS])
def test_the_sdk_retries_a_throttled_call(cloud: LocalCloud, service: str, operation: str) -> None:
    client = cloud.session().client(service, config=PATIENT)  # type: ignore[call-overload]
    with cloud.throttle(service, {operation}, times=1) as throttle:
        answer = getattr(client, method(operation))()
    assert throttle.refused == 1
    assert answer["ResponseMetadata"]["RetryAttempts"] == 1


def test_only_the_operations_and_the_roles_that_were_named_are_throttled(cloud: LocalCloud) -> None:
    client = cloud.session().client("dynamodb", config=IMPATIENT)
    (table,) = client.list_tables()["TableNames"]
    key = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    roles = cloud._clients.root("iam").list_roles()["Roles"]
    (arn,) = (role["Arn"] for role in roles if "WorkServiceRole" in role["RoleName"])
    worker = cloud._clients.role("dynamodb", arn)
    with cloud.throttle("dynamodb", {"GetItem"}, role="Somebody"):
        worker.get_item(TableName=table, Key=key)
    with cloud.throttle("dynamodb", {"GetItem"}, role="WorkServiceRole", times=2) as throttle:
        client.get_item(TableName=table, Key=key)
        worker.put_item(TableName=table, Item=key)
        assert throttle.refused == 0
        for _ in range(2):
            with pytest.raises(worker.exceptions.ProvisionedThroughputExceededException):
                worker.get_item(TableName=table, Key=key)
        worker.get_item(TableName=table, Key=key)
        assert throttle.refused == 2
    throttle = cloud.throttle("dynamodb", {"GetItem"})
    throttle.stop()
    client.get_item(TableName=table, Key=key)
    assert throttle.refused == 0


@pytest.fixture
def skewed(cloud: LocalCloud) -> Iterator[LocalCloud]:
    yield cloud
    cloud.skew("work", 0)


@pytest.mark.parametrize("seconds", [-600, 600])
def test_a_function_sees_the_clock_it_was_given_and_everything_else_works(skewed: LocalCloud, seconds: int) -> None:
    skewed.skew("work", seconds)
    _, seen = call(skewed, {"do": "clock"})
    for name in ("time", "time_ns", "gmtime", "now", "naive", "utcnow", "today"):
        assert abs(seen[name] - time.time() - seconds) < 5, name
    assert seen["is_datetime"]
    assert 0 < seen["remaining_ms"] <= 2000
    (table,) = skewed.client("dynamodb").list_tables()["TableNames"]
    written = {"TableName": table, "Item": {"pk": {"S": "skewed"}, "sk": {"S": str(seconds)}}}
    answer, _ = call(skewed, {"do": "call", "service": "dynamodb", "operation": "put_item", "with": written})
    assert "FunctionError" not in answer
    skewed.skew("work", 0)
    assert abs(call(skewed, {"do": "clock"})[1]["time"] - time.time()) < 5


def test_functions_follow_the_clock_of_the_cloud_whether_they_are_warm_or_not(cloud: LocalCloud) -> None:
    """One that is warm when the clock moves for the first time is replaced, and its successor follows."""
    cloud.recycle("work")
    before = call(cloud, {"do": "clock"})[1]
    cloud.advance(3_600)
    first, second = (call(cloud, {"do": "clock"})[1] for _ in range(2))
    cloud.advance(7_200)
    third = call(cloud, {"do": "clock"})[1]
    for seen, ahead in ((before, 0), (first, 3_600), (second, 3_600), (third, 10_800)):
        moved = cloud.clock.offset_s - 10_800
        assert abs(seen["time"] - time.time() - moved - ahead) < 30
        assert 0 < seen["remaining_ms"] <= 2000
    (table,) = cloud.client("dynamodb").list_tables()["TableNames"]
    written = {"TableName": table, "Item": {"pk": {"S": "later"}, "sk": {"S": "0"}}}
    request = {"do": "call", "service": "dynamodb", "operation": "put_item", "with": written}
    assert "FunctionError" not in call(cloud, request)[0]
    cloud.client("dynamodb").describe_table(TableName=table)  # and people go by real time


def test_a_clock_that_is_too_far_off_signs_nothing_aws_would_take(skewed: LocalCloud) -> None:
    skewed.skew("work", 1200)
    request = {"do": "call", "service": "dynamodb", "operation": "list_tables"}
    answer, error = call(skewed, request)
    assert answer["FunctionError"] == "Unhandled"
    assert "Signature expired" in error["errorMessage"]


SHIFTED = """
import copy, datetime, json, pickle, sys, time
moment = datetime.datetime.now(datetime.UTC)
class Own(datetime.datetime):
    pass
assert pickle.loads(pickle.dumps(moment)) == copy.deepcopy(moment) == moment
assert isinstance(datetime.datetime.strptime("2026", "%Y") + datetime.timedelta(1), datetime.datetime)
assert issubclass(type(moment.replace(year=2000)), datetime.datetime)
assert not isinstance(moment, Own) and isinstance(Own.now(), Own)
assert datetime.datetime.fromisoformat("2026-01-01T00:00:00+00:00").tzinfo is not None
print(json.dumps([time.time(), moment.timestamp(), str(datetime.date.today())]))
"""


def test_a_shifted_datetime_is_a_datetime_in_every_way(tmp_path: Path) -> None:
    shim, clock = write_shim(tmp_path), tmp_path / "clock"
    write_offset(clock, 86400.0)
    run = subprocess.run(
        [sys.executable, "-c", SHIFTED],
        env={"PYTHONPATH": str(shim), OFFSET: str(clock)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    seconds, moment, today = json.loads(run.stdout)
    tomorrow = time.time() + 86400
    assert abs(seconds - tomorrow) < 30
    assert abs(moment - tomorrow) < 30
    days = {dt.datetime.fromtimestamp(tomorrow + delta).date().isoformat() for delta in (-30, 0, 30)}  # noqa: DTZ006
    assert today in days
