"""Both APIs, SSM and the data bucket on one loopback port: the real functions behind a small HTTP server.

Signatures are computed again with the caller's secret, so a request that is not signed as it was sent gets a 403.
"""

import hashlib
import json
import logging
import threading
from base64 import b64decode
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from functions.inference import handler as serving
from tests.builders.control_api import Answer, World, event, wired
from tests.builders.reports import ANA
from tests.context import CONTEXT
from tidegate import telemetry
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.ml.scoring import load
from tidegate.steps.serving.inference import Inference
from tidegate.testing.models import linear_onnx
from tidegate.testing.platform import RecordedSignals

ACCESS_KEY, SECRET = "AKIALOOPBACK", "loopback-secret"
REGION = "eu-west-1"
STAGE = "dev"

CONTRACT = Contract(
    model="flight-delay",
    task="binary",
    features=(
        FeatureContract("carrier", "categorical"),
        FeatureContract("hour", "integer", minimum=0, maximum=23),
        FeatureContract("distance", "numeric", missing="allow"),
    ),
    classes=(False, True),
)


@dataclass
class Loopback:
    """A running server over a world."""

    world: World
    url: str
    faults: deque[tuple[int, dict[str, Any], dict[str, str]]] = field(default_factory=deque)
    dropped: int = 0  # connections to close without an answer
    requests: list[tuple[str, str]] = field(default_factory=list)
    connections: int = 0
    deployed: bool = True
    lacks: str = ""  # an API whose address is not there
    actor: str = ANA  # who calls

    def state(self) -> dict[str, Any]:
        """What the local cloud would write into its state file."""
        return {
            "endpoint_url": self.url,
            "region": REGION,
            "account": "123456789012",
            "credentials": {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET},
        }

    def fail(self, status: int, body: dict[str, Any] | None = None, **headers: str) -> None:
        """Answer the next API request with this instead."""
        self.faults.append((status, body or {"message": "scripted"}, headers))


@contextmanager
def loopback(world: World) -> Iterator[Loopback]:
    """Serve a world until the end of the block."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = Loopback(world, f"http://127.0.0.1:{server.server_port}")
    Handler.loopback = running
    world.files.base = running.url
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        with wired(world), _serving(world):
            yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _serving(world: World) -> Iterator[None]:
    """The inference function over this world. What both functions measure is kept: standard output is the command's."""
    meter = RecordedSignals()
    inference = world.step(
        Inference, load=load, signals=meter, route_ttl_seconds=0, scoring_timeout_seconds=5, cache_bytes=1 << 24
    )
    parts = serving.Wired(
        inference, cast("telemetry.Meter", meter), world.captures, max_instances=100, max_body_bytes=1_000_000
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "wire", lambda: parts)
        patch.setattr(logging.getLogger("control"), "disabled", True)
        patch.setattr(world, "meter", meter)
        yield


def artifact() -> bytes:
    """A real ONNX model of the test spec."""
    return linear_onnx(CONTRACT, [0.1, 0.001], effects={"UA": 0.5, "DL": -0.5}, bias=-2.0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    loopback: Loopback

    def setup(self) -> None:
        super().setup()
        self.loopback.connections += 1

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("X-Amz-Target") == "AmazonSSM.GetParameter":
            self._parameter(json.loads(body)["Name"])
        elif self.path.startswith("/upload/"):
            self._upload(body)
        else:
            self._api(body)

    do_GET = do_PUT = do_POST = _any  # noqa: N815  http.server's names

    def _parameter(self, name: str) -> None:
        api = name.removeprefix(f"/tidegate/{STAGE}/").removesuffix("-url")
        if self.loopback.deployed and api in {"control", "serving"} - {self.loopback.lacks}:
            self._answer(200, {"Parameter": {"Name": name, "Value": f"{self.loopback.url}/{api}"}})
        else:
            self._answer(400, {"__type": "ParameterNotFound", "message": name})

    def _upload(self, body: bytes) -> None:
        _, _, key = urlsplit(self.path).path.partition("/upload/")
        checksum = b64decode(self.headers.get("x-amz-checksum-sha256", ""))
        self.loopback.requests.append(("PUT", key))
        if checksum != hashlib.sha256(body).digest() or f"size={len(body)}" not in self.path:
            self._send(400, b"<Error><Code>BadDigest</Code></Error>", {"Content-Type": "application/xml"})
            return
        self.loopback.world.files.objects[key] = body
        self._send(200, b"", {})

    def _api(self, body: bytes) -> None:
        self.loopback.requests.append((self.command, self.path))
        if self.loopback.dropped:
            self.loopback.dropped -= 1
            self.close_connection = True
            return
        if self.loopback.faults:
            status, document, headers = self.loopback.faults.popleft()
            self._answer(status, document, headers)
            return
        if not self._signed(body):
            self._answer(403, {"message": "The request signature we calculated does not match"})
            return
        _, api, path = self.path.split("/", 2)
        request = event(self.command, f"/{path}", body.decode() if body else None, actor=self.loopback.actor)
        request["headers"] |= {name.lower(): value for name, value in self.headers.items()}
        served = api == "serving"
        answer = Answer(serving.handler(request, CONTEXT)) if served else self.loopback.world.answer(request)
        self._send(answer.status, answer.raw["body"].encode(), answer.raw["headers"])

    def _signed(self, body: bytes) -> bool:
        given = self.headers.get("Authorization", "")
        if f"/{REGION}/execute-api/aws4_request" not in given or f"Credential={ACCESS_KEY}/" not in given:
            return False
        names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        headers = {name: self.headers[name] for name in names if name in self.headers}
        request = AWSRequest(self.command, f"http://{self.headers['Host']}{self.path}", headers=headers, data=body)
        request.context["timestamp"] = self.headers["X-Amz-Date"]
        signer = SigV4Auth(Credentials(ACCESS_KEY, SECRET), "execute-api", REGION)
        canonical = signer.canonical_request(request)
        signature = signer.signature(signer.string_to_sign(request, canonical), request)
        return given.endswith(f"Signature={signature}")

    def _answer(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(document).encode(), {"Content-Type": "application/json"} | (headers or {}))

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Quiet."""
