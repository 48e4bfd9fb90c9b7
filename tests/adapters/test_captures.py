"""Captured predictions there and back, in memory and on AWS; and the policy as the registry has it."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from tests.adapters.conftest import BUCKET, TABLE
from tests.fakes import InMemoryCaptures
from tests.unit.control_api import spec_document
from tests.unit.test_capture import capture
from tidegate.aws.captures import PREFIX, DynamoCapturePolicies, FirehoseCaptures, S3CaptureReader
from tidegate.aws.registry import DynamoCatalog, DynamoRegistry
from tidegate.domain.capture import Capture, CapturePolicy
from tidegate.domain.dataset import Dataset
from tidegate.domain.ids import uuid7
from tidegate.errors import NotFoundError
from tidegate.spec import ModelSpec

AT = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
STREAM = "captures"


class Silent:
    def count(self, name: str, value: float = 1) -> None:
        raise AssertionError(name)

    def warn(self, message: str, **facts: object) -> None:
        raise AssertionError(message, facts)


class Everything:
    def policy(self, model: str) -> CapturePolicy:
        return CapturePolicy()


def asked(minute: int, rows: int = 2, model: str = "flight-delay") -> Capture:
    at = AT + timedelta(minutes=minute)
    predictions = [{"id": uuid7(at, bytes([row] * 8)), "score": row / 10} for row in range(rows)]
    return capture(rows, model=model, at=at, predictions=predictions)


@pytest.fixture
def captures(where: str) -> Any:
    """A log and a reader of what went into it."""
    return InMemoryCaptures() if where == "memory" else S3CaptureReader(BUCKET)


@pytest.fixture
def keep(where: str, captures: Any) -> Callable[[Capture], None]:
    """Offer a capture and see it delivered."""

    def through_firehose(one: Capture) -> None:
        log = FirehoseCaptures(STREAM, policies=Everything(), signals=Silent())
        log.offer(one)
        log.deliver(5.0)
        _partition_as_firehose_does()

    if where == "aws":
        boto3.client("firehose").create_delivery_stream(
            DeliveryStreamName=STREAM,
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::123456789012:role/firehose",
                "BucketARN": f"arn:aws:s3:::{BUCKET}",
                "Prefix": "raw/",
            },
        )
        return through_firehose
    return captures.offer  # type: ignore[no-any-return]


def _partition_as_firehose_does() -> None:
    """moto writes what it takes as it is; tests/local has the whole of it."""
    s3 = boto3.client("s3")
    for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix="raw/").get("Contents", []):
        data = s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
        first = json.loads(data.splitlines()[0])
        name = f"model={first['model']}/hour={first['hour']}/{entry['Key'].rpartition('/')[2]}.jsonl.gz"
        s3.put_object(Bucket=BUCKET, Key=PREFIX + name, Body=gzip.compress(data))


def test_captures_come_back_by_model_and_hour_newest_first_and_each_once(
    captures: Any, keep: Callable[[Capture], None]
) -> None:
    for one in (asked(0), asked(1), asked(1), asked(45), asked(2, model="other")):
        keep(one)
    found = captures.read("flight-delay", "2026-01-05-12", 10)
    wanted = [prediction["id"] for one in (asked(0), asked(1)) for prediction in one.predictions]
    assert [record["id"] for record in found] == sorted(wanted, reverse=True)
    assert {record["schema"] for record in found} == {1}
    assert len(captures.read("flight-delay", "2026-01-05-13", 10)) == 2
    assert captures.read("flight-delay", "2026-01-05-11", 10) == []
    assert len(captures.read("flight-delay", "2026-01-05-12", 3)) == 3


def spec(**changes: Any) -> ModelSpec:
    return ModelSpec.parse(spec_document(**changes))


@pytest.fixture
def policies(aws: None) -> DynamoCapturePolicies:
    return DynamoCapturePolicies(TABLE)


def test_the_policy_is_that_of_the_current_spec_and_of_its_dataset(policies: DynamoCapturePolicies) -> None:
    registry = DynamoRegistry(TABLE)
    registry.apply(spec(), author="ana", at=AT)
    assert policies.policy("flight-delay") == CapturePolicy()
    about = Dataset("flights", "PyPI", "CC0", "ops", ("carrier", "tailnum"), (), None, "ana", AT)
    DynamoCatalog(TABLE).put_dataset(about)
    assert policies.policy("flight-delay").mask == {"carrier", "tailnum"}
    registry.apply(spec(capture={"sample": 0.5, "keep": ["carrier"], "drop": ["hour"]}), author="ana", at=AT)
    changed = policies.policy("flight-delay")
    assert (changed.sample, changed.mask, changed.drop) == (0.5, {"tailnum"}, {"hour"})


def test_a_model_that_is_not_there_has_no_policy(policies: DynamoCapturePolicies) -> None:
    with pytest.raises(NotFoundError):
        policies.policy("nobody")
