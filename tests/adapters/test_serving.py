"""What the inference function asks AWS for by itself, against moto over HTTP: the answers are those of boto3."""

import hashlib
import json
from datetime import UTC, datetime

import pytest

from tests.adapters.conftest import BUCKET, TABLE, client_of
from tests.builders.specs import a_spec
from tidegate.aws.items import encode
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoRegistry
from tidegate.aws.serving import CaptureStream, ServingArtifacts, ServingRegistry, ServingTable
from tidegate.aws.signed import CallRefusedError
from tidegate.aws.table import Table, put
from tidegate.domain.registry.route import CandidateRole, FallbackRef, Route, Served
from tidegate.kernel.errors import ArtifactRejectedError, NotFoundError

pytestmark = pytest.mark.usefixtures("over_http")
ROUTE = Route(
    "flight-delay",
    7,
    champion=Served(3, "runs/r-3/model.onnx", "aa"),
    candidate=Served(4, "runs/r-4/model.onnx", "bb"),
    candidate_bp=500,
    candidate_role=CandidateRole.CANARY,
    fallback=FallbackRef("runs/r-3/fallback.json", "cc", "r-3"),
    fields=("carrier", "hour"),
)


def test_a_route_is_read_as_it_was_written() -> None:
    Table(TABLE).write(put("ROUTE#flight-delay", "ROUTE", encode(ROUTE)))
    table = ServingTable(TABLE)
    assert ServingRegistry(table).route("flight-delay") == DynamoRegistry(TABLE).route("flight-delay") == ROUTE
    assert ServingRegistry(table).route("other") is None


def test_a_compressed_attribute_is_read_as_boto3_reads_it() -> None:
    many = Route("flight-delay", 1, fields=tuple(f"a field with a long name, number {n}" for n in range(2_000)))
    Table(TABLE).write(put("ROUTE#flight-delay", "ROUTE", encode(many)))
    assert ServingRegistry(ServingTable(TABLE)).route("flight-delay") == many


def test_a_model_that_is_not_there_is_named() -> None:
    DynamoRegistry(TABLE).apply(a_spec(), author="ann", at=datetime(2026, 1, 5, tzinfo=UTC))
    registry = ServingRegistry(ServingTable(TABLE))
    assert registry.model("flight-delay") == DynamoRegistry(TABLE).model("flight-delay")
    with pytest.raises(NotFoundError, match="no model 'ghost'"):
        registry.model("ghost")


def test_an_artifact_must_be_what_was_recorded() -> None:
    sha256 = S3Artifacts(BUCKET).put("runs/a b+c/model.onnx", b"bytes")
    artifacts = ServingArtifacts(BUCKET)
    assert artifacts.get_verified("runs/a b+c/model.onnx", sha256) == b"bytes"
    with pytest.raises(ArtifactRejectedError, match="the registry recorded"):
        artifacts.get_verified("runs/a b+c/model.onnx", hashlib.sha256(b"other").hexdigest())
    with pytest.raises(NotFoundError, match=r"s3://.* does not exist"):
        artifacts.get_verified("runs/ghost", sha256)


def test_a_stream_takes_records() -> None:
    client_of("firehose").create_delivery_stream(
        DeliveryStreamName="captures",
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/firehose",
            "BucketARN": f"arn:aws:s3:::{BUCKET}",
            "Prefix": "raw/",
        },
    )
    assert CaptureStream("captures").put([b'{"id":"1"}\n', b'{"id":"2"}\n']) == [True, True]
    s3 = client_of("s3")
    (entry,) = s3.list_objects_v2(Bucket=BUCKET, Prefix="raw/")["Contents"]
    stored = s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
    assert [json.loads(each)["id"] for each in stored.splitlines()] == ["1", "2"]
    with pytest.raises(CallRefusedError, match="ResourceNotFound"):
        CaptureStream("ghost").put([b"{}"])
