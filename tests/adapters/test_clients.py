"""Faults that may pass by themselves become UnavailableError; on a real socket, with real time-outs."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError

from tests.adapters.conftest import BUCKET, TABLE
from tidegate.aws import clients
from tidegate.aws.clients import answering
from tidegate.aws.dispatch import LambdaDispatcher
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoRegistry
from tidegate.kernel.errors import UnavailableError


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


def a_client(service: Any, port: int) -> Any:
    config = Config(connect_timeout=0.2, read_timeout=0.2, retries={"mode": "standard", "total_max_attempts": 1})
    return boto3.client(service, endpoint_url=f"http://127.0.0.1:{port}", config=config)


@contextmanager
def a_server(status: int, body: bytes) -> Iterator[int]:
    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.usefixtures("credentials")
def test_nobody_listening_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UnavailableError, match="DynamoDB did not answer"), answering("DynamoDB"):
            a_client("dynamodb", taken.getsockname()[1]).get_item(TableName="t", Key={"pk": {"S": "a"}})


@pytest.mark.usefixtures("credentials")
def test_a_service_that_keeps_silent_is_unavailable() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(UnavailableError, match="did not answer"),
        answering("DynamoDB"),
    ):
        a_client("dynamodb", silent.getsockname()[1]).get_item(TableName="t", Key={"pk": {"S": "a"}})


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (503, b"{}"),
        (400, b'{"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}'),
        (400, b'{"__type": "com.amazon.coral.availability#ThrottlingException"}'),
        (400, b'{"__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException"}'),
    ],
)
def test_a_busy_service_is_unavailable(status: int, body: bytes) -> None:
    with a_server(status, body) as port, pytest.raises(UnavailableError, match="busy"), answering("DynamoDB"):
        a_client("dynamodb", port).get_item(TableName="t", Key={"pk": {"S": "a"}})


@pytest.mark.usefixtures("credentials")
def test_a_fault_that_does_not_pass_is_left_as_it_is() -> None:
    body = b'{"__type": "com.amazon.coral.service#AccessDeniedException", "message": "no"}'
    with a_server(400, body) as port, pytest.raises(ClientError, match="AccessDenied"), answering("DynamoDB"):
        a_client("dynamodb", port).get_item(TableName="t", Key={"pk": {"S": "a"}})
    with pytest.raises(NoCredentialsError), answering("DynamoDB"):
        raise NoCredentialsError


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("call", ["registry", "artifacts", "dispatcher"])
def test_adapters_say_that_a_service_is_away(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def away(service: str, **_: Any) -> Any:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            return a_client(service, taken.getsockname()[1])

    monkeypatch.setattr("tidegate.aws.table.dynamodb", clients.dynamodb.__wrapped__)
    monkeypatch.setattr("tidegate.aws.objects.s3", clients.s3.__wrapped__)
    monkeypatch.setattr("tidegate.aws.dispatch.lambda_functions", clients.lambda_functions.__wrapped__)
    calls = {
        "registry": lambda: DynamoRegistry(TABLE).route("m"),
        "artifacts": lambda: S3Artifacts(BUCKET).put("k", b"x"),
        "dispatcher": lambda: LambdaDispatcher("catalog").register_dataset("d", "v"),
    }
    monkeypatch.setattr(clients, "_client", away)
    with _without_moto(), pytest.raises(UnavailableError):
        calls[call]()


@contextmanager
def _without_moto() -> Iterator[None]:
    from moto.core.models import botocore_stubber

    botocore_stubber.enabled = False
    try:
        yield
    finally:
        botocore_stubber.enabled = True


MADE = {name: make for name, make in vars(clients).items() if hasattr(make, "cache_clear")}


def test_every_client_is_looked_at() -> None:
    assert {"dynamodb", "s3", "step_functions", "lambda_functions", "firehose", "sns", "eventbridge"} == set(MADE)


@pytest.mark.parametrize("name", MADE)
def test_every_client_has_short_time_outs_and_counted_attempts(name: str, aws: None) -> None:
    client = MADE[name]()
    config = client.meta.config
    assert config.connect_timeout <= 2
    assert config.read_timeout <= 10
    assert config.retries["mode"] == "standard"
    assert config.retries["total_max_attempts"] == (1 if name == "firehose" else clients.MAX_ATTEMPTS)
    assert MADE[name]() is client
