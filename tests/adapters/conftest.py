"""Each port twice: in memory and on AWS (moto). Every test of this folder runs against both.

What concerns DynamoDB alone runs a third time, on MiniStack: two emulators seldom err alike.
"""

import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import boto3
import pytest
import urllib3
from botocore.config import Config
from moto import mock_aws
from moto.dynamodb.responses import DynamoHandler
from moto.server import ThreadedMotoServer

from tests.tools import installed
from tidegate import telemetry, wiring
from tidegate.aws import clients, serving, table
from tidegate.aws.objects import S3Artifacts, S3DatasetFiles
from tidegate.aws.registry import DynamoCatalog, DynamoRoutes
from tidegate.aws.rollouts import DynamoRollouts
from tidegate.aws.workflow import StepFunctionsWorkflow
from tidegate.testing.data import InMemoryCatalog, InMemoryDatasetFiles
from tidegate.testing.registry import InMemoryArtifacts, InMemoryRegistry, InMemoryWorkflow

TABLE, LEDGER, BUCKET = "registry", "ledger", "tidegate-test"
ON_BOTH_EMULATORS = {"test_batch_ledger", "test_catalog", "test_registry", "test_rollouts"}
SECOND = pytest.param("ministack", marks=pytest.mark.second_emulator)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test in every place that it is for."""
    file = metafunc.module.__name__.rpartition(".")[2]
    second = [SECOND] if file in ON_BOTH_EMULATORS or "health_records" in metafunc.fixturenames else []
    if "where" in metafunc.fixturenames:
        metafunc.parametrize("where", ["memory", "aws", *second], indirect=True)
    elif "aws" in metafunc.fixturenames and second:
        metafunc.parametrize("aws", ["moto", *second], indirect=True)


@pytest.fixture
def aws(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fresh moto account with the tables of registry and ledger, and a bucket."""
    if getattr(request, "param", "moto") == "ministack":
        request.getfixturevalue("second_account")
        yield
        return
    _credentials(monkeypatch)
    _one_dynamodb_request_at_a_time(monkeypatch)
    with mock_aws():
        _create_tables()
        clients.s3().create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield


@pytest.fixture
def second_account(_ministack: str, _second_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables on MiniStack."""
    _credentials(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", _ministack)
    for module in (clients, table):
        monkeypatch.setattr(module, "dynamodb", lambda: _second_client)
    assert urllib3.request("POST", f"{_ministack}/_ministack/reset", timeout=60).status == 200
    _create_tables()


@pytest.fixture(scope="package")
def _second_client(_ministack: str) -> Iterator[Any]:
    """What `clients.dynamodb` would be in a process that knows MiniStack only."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _credentials(monkeypatch)
        monkeypatch.setenv("AWS_ENDPOINT_URL", _ministack)
        client = clients.dynamodb.__wrapped__()
    yield client
    client.close()


@pytest.fixture(scope="package")
def _ministack() -> Iterator[str]:
    """MiniStack's address. It gets a socket that listens already, so that no port is taken meanwhile."""
    packages = installed.ministack()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-m", "hypercorn", "ministack.app:app", "--bind", f"fd://{listening.fileno()}"]
        environment = {**os.environ, "PYTHONPATH": str(packages), "LOG_LEVEL": "ERROR"}
        server = subprocess.Popen(command, env=environment, pass_fds=[listening.fileno()])
        host, port = listening.getsockname()
    url = f"http://{host}:{port}"
    try:
        # A service is loaded by its first request, which takes longer than our own clients wait.
        urllib3.request("POST", url, headers={"x-amz-target": "DynamoDB_20120810.ListTables"}, body="{}", timeout=60)
        yield url
    finally:
        server.terminate()
        server.wait()


@cache
def client_of(service: str) -> Any:
    """A client to look at a service with, as moto intercepts it. A new one costs as much as most tests."""
    config: Any = Config(ignore_configured_endpoint_urls=True)  # type: ignore[call-arg]  # unknown to the stubs
    return boto3.client(service, config=config)  # type: ignore[call-overload]


def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


def _create_tables() -> None:
    for name in (TABLE, LEDGER):
        clients.dynamodb().create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )


@pytest.fixture(scope="package")
def _server() -> Iterator[str]:
    """moto's services over HTTP, with the stores of `aws`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def over_http(aws: None, _server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For what calls AWS without botocore, which is where moto intercepts."""
    services = (serving._dynamodb, serving._firehose, serving._s3)
    for name in ("DYNAMODB", "FIREHOSE", "S3"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name}", _server)
    for service in services:
        service.cache_clear()
    yield
    for service in services:
        service().close()
        service.cache_clear()


@pytest.fixture
def cold(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Functions with nothing wired yet; called with what stacks set, without its prefix."""

    def environment(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"TIDEGATE_{name}", value)

    _forget_functions()
    yield environment
    _forget_functions()


def _forget_functions() -> None:
    wiring.forget()
    telemetry.logger.cache_clear()


def _one_dynamodb_request_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """DynamoDB serialises transactions; moto undoes a failed one by putting the whole table back as it was before, and
    with it what other threads wrote meanwhile. Clients still race: their requests interleave as they will.
    """
    lock, answer = threading.RLock(), DynamoHandler.call_action

    def locked(self: DynamoHandler) -> Any:
        with lock:
            return answer(self)

    monkeypatch.setattr(DynamoHandler, "call_action", locked)


@pytest.fixture(scope="package", autouse=True)
def _clients_of_these_tests_only() -> Iterator[None]:
    """Clients are kept from test to test, as a warm function keeps them, and not handed to other folders' tests."""
    _forget_clients()
    yield
    _forget_clients()


def _forget_clients() -> None:
    for make in (
        client_of,
        clients.dynamodb,
        clients.eventbridge,
        clients.firehose,
        clients.lambda_functions,
        clients.s3,
        clients.sns,
        clients.step_functions,
    ):
        make.cache_clear()


@pytest.fixture
def where(request: pytest.FixtureRequest) -> str:
    """Memory or AWS, on one emulator or the other."""
    if request.param == "memory":
        return "memory"
    request.getfixturevalue("second_account" if request.param == "ministack" else "aws")
    return "aws"


@pytest.fixture
def registry(where: str) -> Any:
    return InMemoryRegistry() if where == "memory" else DynamoRoutes(TABLE, LEDGER)


@pytest.fixture
def rollouts(where: str, registry: Any) -> Any:
    return registry if where == "memory" else DynamoRollouts(TABLE, LEDGER)


@pytest.fixture
def catalog(where: str) -> Any:
    return InMemoryCatalog() if where == "memory" else DynamoCatalog(TABLE)


@pytest.fixture
def artifacts(where: str) -> Any:
    return InMemoryArtifacts() if where == "memory" else S3Artifacts(BUCKET)


@pytest.fixture
def files(where: str) -> Any:
    return InMemoryDatasetFiles() if where == "memory" else S3DatasetFiles(BUCKET)


@pytest.fixture
def upload(where: str, files: Any) -> Callable[[str, bytes], None]:
    """Store a dataset file the way a person's machine does."""

    def through_memory(dataset: str, data: bytes) -> None:
        files.upload(dataset, data)

    def through_s3(dataset: str, data: bytes) -> None:
        client_of("s3").put_object(Bucket=BUCKET, Key=files.key(dataset, hashlib.sha256(data).hexdigest()), Body=data)

    return through_memory if where == "memory" else through_s3


@pytest.fixture
def workflow(where: str) -> Any:
    if where == "memory":
        return InMemoryWorkflow()
    definition = '{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}'
    machine = client_of("stepfunctions").create_state_machine(
        name="release", definition=definition, roleArn="arn:aws:iam::123456789012:role/release"
    )
    return StepFunctionsWorkflow(machine["stateMachineArn"])
