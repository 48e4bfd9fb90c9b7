"""Objects and executions of batches: in memory as on AWS (moto)."""

import json

import boto3
import pytest

from tests.adapters.conftest import BUCKET
from tidegate.aws import clients
from tidegate.aws.batch import S3BatchObjects, StepFunctionsBatches
from tidegate.kernel.address import Address
from tidegate.kernel.errors import InputChangedError, InvalidInputError, NotFoundError
from tidegate.ports.batch import Attempt, BatchObjects
from tidegate.testing.batch import InMemoryBatchObjects

HERE = Address(BUCKET, "batch/")


@pytest.fixture(params=["memory", "aws"])
def objects(request: pytest.FixtureRequest, aws: None) -> BatchObjects:
    return InMemoryBatchObjects() if request.param == "memory" else S3BatchObjects()


def upload(objects: BatchObjects, key: str, data: bytes) -> Address:
    address = Address(BUCKET, key)
    objects.put(address, data, "text/csv", {})
    return address


def test_a_folder_has_the_objects_under_it_but_no_empty_or_hidden_ones(objects: BatchObjects) -> None:
    for key in (
        "in/b.csv",
        "in/a.csv",
        "in/_tmp",
        "in/.hidden",
        "in/_tidegate/parts.json",
        "inside.csv",
        "in/deep/c.csv",
    ):
        upload(objects, key, b"a\n1\n")
    upload(objects, "in/empty.csv", b"")
    assert [source.key for source in objects.sources(Address(BUCKET, "in"), 10)] == [
        "in/a.csv",
        "in/b.csv",
        "in/deep/c.csv",
    ]
    assert [source.size for source in objects.sources(Address(BUCKET, "in/a.csv"), 10)] == [4]
    assert objects.sources(Address(BUCKET, "nothing/"), 10) == []


def test_bytes_are_read_of_an_object_that_is_still_the_same(objects: BatchObjects) -> None:
    address = upload(objects, "in/a.csv", b"0123456789")
    (source,) = objects.sources(address, 10)
    assert objects.read(address, source.etag, 2, 5) == b"234"
    upload(objects, "in/a.csv", b"another one")
    with pytest.raises(InputChangedError, match=r"in/a\.csv was changed"):
        objects.read(address, source.etag, 2, 5)
    with pytest.raises(InputChangedError, match=r"in/gone\.csv was removed"):
        objects.read(Address(BUCKET, "in/gone.csv"), source.etag, 2, 5)


def test_a_document_is_created_once(objects: BatchObjects) -> None:
    assert objects.create(HERE / "x.json", b"1")
    assert not objects.create(HERE / "x.json", b"2")
    assert objects.document(HERE / "x.json") == b"1"
    with pytest.raises(NotFoundError):
        objects.document(HERE / "y.json")


def test_an_object_says_its_facts_and_a_folder_its_names(objects: BatchObjects) -> None:
    objects.put(HERE / "part-000001.csv", b"1", "text/csv", {"batch": "b", "rows": "7"})
    objects.put(HERE / "_errors/part-000001.csv", b"1", "text/csv", {})
    objects.put(HERE / "_SUCCESS.json", b"1", "application/json", {})
    assert objects.facts(HERE / "part-000001.csv") == {"batch": "b", "rows": "7"}
    assert objects.facts(HERE / "part-000002.csv") is None
    assert objects.names(HERE, "part-") == {"part-000001.csv"}


def test_a_bucket_that_is_not_there_is_the_callers_fault(aws: None) -> None:
    with pytest.raises(InvalidInputError, match="there is no bucket nobodys"):
        S3BatchObjects().sources(Address("nobodys", "a"), 10)


def test_an_attempt_starts_once_and_the_latest_is_found(aws: None) -> None:
    role = boto3.client("iam", region_name="eu-west-1").create_role(RoleName="r", AssumeRolePolicyDocument="{}")
    definition = {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}
    machine = clients.step_functions().create_state_machine(
        name="batch", definition=json.dumps(definition), roleArn=role["Role"]["Arn"]
    )
    batches = StepFunctionsBatches(machine["stateMachineArn"])
    assert batches.latest("b1") is None
    batches.start("b1", 1, {"output": "s3://a/b/"})
    batches.start("b1", 1, {"output": "s3://a/b/"})
    assert batches.latest("b1") == Attempt(1, "RUNNING")
    batches.start("b1", 2, {"output": "s3://a/b/"})
    assert batches.latest("b1") == Attempt(2, "RUNNING")
