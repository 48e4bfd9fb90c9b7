"""What ports.Artifacts, DatasetFiles and Workflow promise, held against the fakes and against S3 and Step Functions."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.adapters.conftest import BUCKET
from tidegate.aws.objects import S3Artifacts, S3DatasetFiles
from tidegate.aws.workflow import StepFunctionsWorkflow
from tidegate.kernel.errors import ArtifactRejectedError, NotFoundError, UnavailableError

SHA = hashlib.sha256(b"model").hexdigest()


def test_stored_bytes_come_back_under_their_hash(artifacts: Any) -> None:
    assert artifacts.put("runs/m/r/model.onnx", b"model") == SHA
    assert artifacts.put("runs/m/r/model.onnx", b"model") == SHA
    assert artifacts.get("runs/m/r/model.onnx") == b"model"
    assert artifacts.get_verified("runs/m/r/model.onnx", SHA) == b"model"


def test_tampered_bytes_are_refused(artifacts: Any) -> None:
    artifacts.put("runs/m/r/model.onnx", b"evil")
    with pytest.raises(ArtifactRejectedError):
        artifacts.get_verified("runs/m/r/model.onnx", SHA)


def test_an_object_that_is_not_there_is_not_found(artifacts: Any, files: Any) -> None:
    for look in (
        lambda: artifacts.get("ghost"),
        lambda: artifacts.get_verified("ghost", SHA),
        lambda: files.read("ghost"),
    ):
        with pytest.raises(NotFoundError):
            look()


def test_an_uploaded_file_is_read_by_its_key(files: Any, upload: Callable[[str, bytes], None]) -> None:
    upload("flights", b"model")
    key = files.key("flights", SHA)
    assert key == f"datasets/flights/{SHA}"
    assert files.read(key) == b"model"
    assert files.exists(key)
    assert not files.exists(files.key("flights", "0" * 64))


def test_a_run_is_started_once(workflow: Any) -> None:
    workflow.start("flight-delay", "r-001")
    workflow.start("flight-delay", "r-001")
    assert workflow.execution("r-001").endswith(":r-001")
    assert workflow.execution("r-001") != workflow.execution("r-002")


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("InvalidToken", None),
        ("TaskDoesNotExist", None),
        ("TaskTimedOut", None),
        ("ThrottlingException", UnavailableError),
        ("InvalidOutput", ClientError),
    ],
)
def test_only_faults_of_the_call_itself_are_reported_of_a_wake_up(
    monkeypatch: pytest.MonkeyPatch, code: str, raised: type[Exception] | None
) -> None:
    sent: list[dict[str, Any]] = []
    client: Any = boto3.client("stepfunctions", region_name="eu-west-1")
    client.meta.events.register("provide-client-params.states.SendTaskSuccess", lambda params, **_: sent.append(params))
    answer = SimpleNamespace(status_code=400, headers={}, content=b"", text="")
    client.meta.events.register(
        "before-call.states.SendTaskSuccess", lambda **_: (answer, {"Error": {"Code": code, "Message": "no"}})
    )
    monkeypatch.setattr("tidegate.aws.workflow.step_functions", lambda: client)
    with pytest.raises(raised) if raised else nullcontext():
        StepFunctionsWorkflow("arn").resume("a token")
    assert sent == [{"taskToken": "a token", "output": "{}"}]


@pytest.mark.usefixtures("aws")
def test_the_upload_url_binds_length_and_hash_by_its_signature() -> None:
    url = S3DatasetFiles(BUCKET).upload_url("flights", SHA, 5)
    query = parse_qs(urlsplit(url).query)
    (signed,) = query["X-Amz-SignedHeaders"]
    assert {"content-length", "x-amz-checksum-sha256"} <= set(signed.split(";"))
    assert "x-amz-checksum-crc32" not in url
    assert b64encode(bytes.fromhex(SHA)).decode() not in query.get("x-amz-checksum-sha256", [])


@pytest.mark.usefixtures("aws")
def test_artifacts_are_stored_with_a_checksum_and_their_content_type() -> None:
    S3Artifacts(BUCKET).put("report.json", b"{}", content_type="application/json")
    head: dict[str, Any] = dict(
        boto3.client("s3").head_object(Bucket=BUCKET, Key="report.json", ChecksumMode="ENABLED")
    )
    assert head["ChecksumSHA256"] == b64encode(hashlib.sha256(b"{}").digest()).decode()
    assert head["ContentType"] == "application/json"


@pytest.mark.usefixtures("aws")
def test_the_execution_gets_the_run_as_its_input(request: pytest.FixtureRequest) -> None:
    steps = boto3.client("stepfunctions")
    definition = '{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}'
    machine = steps.create_state_machine(
        name="release", definition=definition, roleArn="arn:aws:iam::123456789012:role/release"
    )
    workflow = StepFunctionsWorkflow(machine["stateMachineArn"])
    workflow.start("flight-delay", "r-001")
    found = steps.describe_execution(executionArn=workflow.execution("r-001"))
    assert json.loads(found["input"]) == {"model": "flight-delay", "run_id": "r-001"}
    assert found["name"] == "r-001"
