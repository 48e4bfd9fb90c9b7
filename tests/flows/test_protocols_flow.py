"""Other projects' clients, and a fuzzer of OpenAPI documents, against a served model over signed HTTP."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from scripts.benchmarks import peers
from tests.builders.present import present
from tests.flows.conftest import HTTP, House

ROWS = 5
HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "authorization"}


class SigningProxy(ThreadingHTTPServer):
    """What awslabs/aws-sigv4-proxy does for clients that cannot sign: passes requests on with a signature."""

    daemon_threads = True

    def __init__(self, house: House) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.target = house.client.serving_endpoint.url
        keys = house.cloud.env()
        self.credentials = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
        self.region = house.cloud.region


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SigningProxy

    def __getattr__(self, name: str) -> Any:
        """Every method is passed on; http.server looks for do_<METHOD>."""
        if name.startswith("do_"):
            return self._pass_on
        raise AttributeError(name)

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        kept = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        request = AWSRequest(self.command, self.server.target + self.path, data=body)
        SigV4Auth(self.server.credentials, "execute-api", self.server.region).add_auth(request)
        answer = HTTP.request(
            self.command, present(request.url), body=body, headers=kept | dict(request.headers.items()), retries=False
        )
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("content-length", str(len(answer.data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.data)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def url(house: House, served_model: str) -> Iterator[str]:
    with SigningProxy(house) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy.url
        proxy.shutdown()


@pytest.fixture(scope="module")
def rows(house: House, served_model: str) -> list[dict[str, Any]]:
    """Instances of June, one of which lacks what a flight may lack."""
    june = house.flights[house.flights["month"] == 6].head(ROWS - 1)
    found = house.instances(june, served_model)
    optional = [each["name"] for each in house.client.served(served_model)["features"] if each["missing"] == "allow"]
    return [*found, found[0] | dict.fromkeys(optional)]


@pytest.fixture(scope="module")
def plain(house: House, served_model: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the platform's own API says of the same rows."""
    found: list[dict[str, Any]] = house.client.predict(served_model, rows)["predictions"]
    return found


@pytest.fixture(scope="module")
def answers(url: str, served_model: str, rows: list[dict[str, Any]], tmp_path_factory: Any) -> dict[str, Any]:
    """What the clients got, in their own environment."""
    assert peers.installed("clients") is None
    path = tmp_path_factory.mktemp("clients") / "rows.json"
    path.write_text(json.dumps(rows))
    found = peers.asked("clients", url, served_model, str(path))
    assert "error" not in found, found
    return found


def test_tritons_client_gets_the_same_scores_from_named_tensors(
    answers: dict[str, Any], plain: list[dict[str, Any]]
) -> None:
    found, scores = answers["triton"], [each["score"] for each in plain]
    assert (found["alive"], found["absent"], found["server"]) == ([True] * 3, False, "tidegate")
    assert (found["id"], found["version"], found["outputs"]) == ("triton-1", "1", ["score", "probabilities"])
    assert found["scores"] == found["all_scores"] == scores
    assert found["probabilities"] == [ROWS, len(plain[0]["probabilities"])]
    assert found["labels"] == [each["label"] for each in plain]
    assert len(set(found["ids"])) == ROWS
    assert "instances[0]." in found["refused"]
    assert "is missing" in found["refused"]


def test_kserves_client_gets_the_same_scores(answers: dict[str, Any], plain: list[dict[str, Any]]) -> None:
    found = answers["kserve"]
    assert (found["alive"], found["absent"]) == ([True] * 3, False)
    assert found["id"] == "kserve-1"
    assert found["scores"] == [each["score"] for each in plain]
    assert found["labels"] == [each["label"] for each in plain]


def test_mlflows_client_gets_the_same_scores_in_every_form(
    answers: dict[str, Any], plain: list[dict[str, Any]]
) -> None:
    found = answers["mlflow"]
    scores = [each["score"] for each in plain]
    assert found["scores"] == dict.fromkeys(
        ("dataframe_split", "inputs", "dataframe_records", "instances", "columns", "csv"), scores
    )
    assert (found["version"], {"id", "label", "score"} <= set(found["columns"])) == (1, True)
    assert "422" in found["refused"]
    assert "instances[0]." in found["refused"]


@pytest.mark.parametrize(("path", "examples"), [("/openapi.json", "1"), ("/models/{model}/openapi.json", "8")])
def test_a_fuzzer_finds_no_server_error_and_no_answer_beside_the_schema(
    url: str, served_model: str, path: str, examples: str, tmp_path: Path
) -> None:
    document = HTTP.request("GET", url + path.replace("{model}", served_model)).json()
    del document["security"]  # the proxy signs whatever comes
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        "openapi.json",
        "--url",
        url,
        "--seed",
        "7",
        "--no-color",
    ]
    options = ["--phases", "examples,fuzzing", "--max-examples", examples, "--generation-database", "none"]
    run = subprocess.run(
        [*command, *options, "--checks", f"{checks},negative_data_rejection"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout[-8_000:] + run.stderr[-2_000:]
