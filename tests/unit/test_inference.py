"""The inference function: its handler on in-memory ports and real ONNX artifacts."""

import base64
import json
import random
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from functions.inference import handler as function
from tests.fakes import FixedClock, InMemoryArtifacts, InMemoryRegistry
from tests.tiny_onnx import linear_onnx
from tidegate.domain.prediction import Contract, FeatureContract
from tidegate.domain.release import Route, Served
from tidegate.errors import NotFoundError, UnavailableError
from tidegate.ml.scoring import load
from tidegate.steps.inference import REFUSED, STALE, Inference

MODEL = "flight-delay"
CONTRACT = Contract(
    model=MODEL,
    task="binary",
    features=(
        FeatureContract("distance", "numeric", minimum=0, maximum=5000, unit="miles"),
        FeatureContract("carrier", "categorical", categories=("AA", "UA"), unseen="reject"),
    ),
    classes=(False, True),
)
GOOD = {"distance": 100, "carrier": "UA"}
CONTEXT = SimpleNamespace(aws_request_id="0b1f7f0e-6d0c-4d5a-9c6e-000000000001")


def onnx(bias: float, contract: Contract = CONTRACT) -> bytes:
    return linear_onnx(contract, [0.001], effects={"AA": 0.5, "UA": -0.5}, bias=bias)


class Registry(InMemoryRegistry):
    """A registry that can stop answering, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.down: Exception | None = None
        self.asked = 0

    def route(self, model: str) -> Route | None:
        self.asked += 1
        if self.down:
            raise self.down
        return super().route(model)

    def model(self, name: str) -> Any:
        if name == "unreleased":
            return object()
        return super().model(name)


class Artifacts(InMemoryArtifacts):
    """Artifacts that can stop answering."""

    down = False

    def get(self, key: str) -> bytes:
        if self.down:
            raise UnavailableError("S3 did not answer")
        return super().get(key)


@dataclass
class Meter:
    """What the function would have logged and measured."""

    counts: dict[str, float] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    flushed: int = 0

    def about(self, model: str) -> None:
        self.models.append(model)

    def count(self, name: str, value: float = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + value

    def took(self, name: str, milliseconds: float) -> None:
        self.count(name, milliseconds)

    def warn(self, message: str, **facts: object) -> None:
        self.said.append(f"{message} {facts}")

    def fault(self, message: str, error: BaseException, **facts: object) -> None:
        self.said.append(f"{message} {type(error).__name__} {facts}")

    def flush(self) -> None:
        self.flushed += 1


@dataclass
class House:
    """The function with everything around it."""

    registry: Registry = field(default_factory=Registry)
    artifacts: Artifacts = field(default_factory=Artifacts)
    clock: FixedClock = field(default_factory=FixedClock)
    meter: Meter = field(default_factory=Meter)
    cache_bytes: int = 2**20

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A cold start: nothing is kept."""
        inference = Inference(
            routes=self.registry,
            models=self.registry,
            artifacts=self.artifacts,
            load=load,
            clock=self.clock,
            signals=self.meter,
            route_ttl_seconds=3,
            cache_bytes=self.cache_bytes,
        )
        self.parts = function.Wired(inference, self.meter, max_instances=5, max_body_bytes=2_000)

    def release(self, version: int, data: bytes, model: str = MODEL) -> None:
        key = f"runs/{model}/r-{version}/model.onnx"
        served = Served(version, key, self.artifacts.put(key, data))
        before = self.registry._routes.get(model)
        revision = before.revision + 1 if before else 1
        self.registry._routes[model] = Route(model, revision, served, before.champion if before else None)

    def tamper(self, version: int, data: bytes) -> None:
        self.artifacts.objects[f"runs/{MODEL}/r-{version}/model.onnx"] = data


@pytest.fixture
def house(monkeypatch):
    house = House()
    house.release(1, onnx(0.0))
    monkeypatch.setattr(function, "wire", lambda: house.parts)
    return house


def ask(method: str, path: str, **event: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Call the handler as an HTTP API does: status, decoded body, headers."""
    request = {
        "version": "2.0",
        "rawPath": path,
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
        "isBase64Encoded": False,
    }
    answer = function.handler(request | event, CONTEXT)
    assert answer["isBase64Encoded"] is False
    return answer["statusCode"], json.loads(answer["body"]), answer["headers"]


def predict(*instances: Any, model: str = MODEL) -> tuple[int, dict[str, Any], dict[str, str]]:
    return ask("POST", f"/models/{model}/predict", body=json.dumps({"instances": list(instances)}))


def version_served(*instances: Any) -> tuple[int, str]:
    status, body, _ = predict(*(instances or (GOOD,)))
    assert status == 200, body
    return body["version"], body["reason"]


# What is served


def test_a_prediction_says_model_version_reason_and_has_its_own_id(house):
    status, body, headers = predict(GOOD, {"distance": 4000.0, "carrier": "AA"})
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert (body["model"], body["version"], body["reason"]) == (MODEL, 1, "champion")
    assert "detail" not in body
    first, second = body["predictions"]
    assert first["label"] is False
    assert second["label"] is True
    assert first["score"] == first["probabilities"]["true"] == pytest.approx(0.40131234, abs=1e-7)
    assert second["score"] == pytest.approx(0.9890131, abs=1e-6)
    assert {uuid.UUID(each["id"]).version for each in (first, second)} == {7}
    assert first["id"] != second["id"]
    assert house.meter.counts["Predictions"] == 2
    assert house.meter.counts["Requests"] == house.meter.flushed == 1
    assert house.meter.models == [MODEL]


def test_a_model_tells_its_version_and_contract(house):
    status, body, _ = ask("GET", f"/models/{MODEL}")
    assert status == 200
    assert body == {
        "model": MODEL,
        "version": 1,
        "reason": "champion",
        "task": "binary",
        "classes": [False, True],
        "features": [
            {
                "name": "distance",
                "kind": "numeric",
                "unit": "miles",
                "minimum": 0,
                "maximum": 5000,
                "missing": "reject",
            },
            {
                "name": "carrier",
                "kind": "categorical",
                "categories": ["AA", "UA"],
                "unseen": "reject",
                "missing": "reject",
            },
        ],
    }


def test_health_asks_nobody(monkeypatch):
    monkeypatch.setattr(function, "wire", lambda: pytest.fail("health must not need the registry"))
    assert ask("GET", "/health")[:2] == (200, {"status": "ok"})


def test_a_named_stage_in_the_path_is_passed_over(house):
    context = {"http": {"method": "GET"}, "stage": "v1"}
    assert ask("GET", f"/v1/models/{MODEL}", requestContext=context)[0] == 200


def test_a_base64_body_is_decoded(house):
    body = base64.b64encode(json.dumps({"instances": [GOOD]}).encode()).decode()
    assert ask("POST", f"/models/{MODEL}/predict", body=body, isBase64Encoded=True)[0] == 200


# The caller's faults


def problem(answer: tuple[int, dict[str, Any], dict[str, str]], status: int) -> dict[str, Any]:
    got, body, headers = answer
    assert got == status == body["status"], body
    assert headers["content-type"] == "application/problem+json"
    assert {"type", "title", "detail", "instance"} <= set(body)
    assert body["instance"] == f"urn:uuid:{CONTEXT.aws_request_id}"
    return body


def test_a_broken_contract_is_told_field_by_field(house):
    body = problem(predict(GOOD, {"distance": 9000, "carrier": "ZZ"}), 422)
    assert body["errors"] == [
        {"path": "instances[1].distance", "problem": "is above the maximum 5000 miles"},
        {"path": "instances[1].carrier", "problem": "is not a known category", "allowed": ["AA", "UA"]},
    ]
    assert house.meter.counts["ClientErrors"] == 1
    assert "ServerErrors" not in house.meter.counts


def test_too_many_instances_and_too_large_a_body_are_refused(house):
    assert "at most 5" in problem(predict(*[GOOD] * 6), 422)["errors"][0]["problem"]
    problem(predict({"carrier": "x" * 3000}), 413)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
def test_a_body_that_is_not_json_by_its_own_word_is_refused(house, content_type):
    headers = {"Content-Type": content_type}
    problem(ask("POST", f"/models/{MODEL}/predict", body="{}", headers=headers), 415)


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=UTF-8", "application/vnd.x+json"]
)
def test_json_by_any_of_its_names_is_taken(house, content_type):
    body = json.dumps({"instances": [GOOD]})
    assert ask("POST", f"/models/{MODEL}/predict", body=body, headers={"content-type": content_type})[0] == 200


def test_a_body_that_cannot_be_decoded_is_refused(house):
    path = f"/models/{MODEL}/predict"
    problem(ask("POST", path, body="%%%", isBase64Encoded=True), 400)
    problem(ask("POST", path, body=base64.b64encode(b"\xff\xfe").decode(), isBase64Encoded=True), 400)
    problem(ask("POST", path, body='{"\ud800": 1}'), 400)
    problem(ask("POST", path), 400)


def test_what_is_not_there_is_404_and_the_wrong_method_405(house):
    problem(predict(GOOD, model="ghost"), 404)
    problem(ask("GET", "/models/ghost"), 404)
    problem(ask("GET", "/"), 404)
    problem(ask("GET", "/models/Not_A_Name"), 404)
    problem(ask("GET", f"/models/{MODEL}/predict"), 405)
    problem(ask("DELETE", f"/models/{MODEL}"), 405)
    assert set(house.meter.models) <= {MODEL}


def test_a_model_without_an_accepted_version_is_a_conflict(house):
    assert "no accepted version" in problem(predict(GOOD, model="unreleased"), 409)["detail"]


def test_two_hundred_malformed_bodies_are_all_the_callers_fault(house):
    chance = random.Random(20130101)
    for body, encoded in malformed(chance, 200):
        status, answer, headers = ask("POST", f"/models/{MODEL}/predict", body=body, isBase64Encoded=encoded)
        assert 400 <= status < 500, (status, body)
        assert headers["content-type"] == "application/problem+json"
        assert answer["status"] == status
    assert house.meter.counts["ClientErrors"] == 200
    assert house.meter.said == []
    assert predict(GOOD)[0] == 200


def malformed(chance: random.Random, count: int) -> list[tuple[str, bool]]:
    """Bodies that are wrong in many ways: cut, flipped, retyped, misspelt, nested, not text at all."""
    odd = ["null", "true", "1.5", "-1", "1e999", "NaN", "-Infinity", '""', '"ZZ"', "[]", "{}", '"\\ud800"', "9" * 4000]
    bodies: list[tuple[str, bool]] = []
    while len(bodies) < count:
        good = json.dumps({"instances": [GOOD] * chance.randint(1, 3)})
        match chance.randrange(8):
            case 0:
                body = good[: chance.randrange(len(good))]
            case 1:
                raw = bytearray(good.encode())
                raw[chance.randrange(len(raw))] = chance.choice(b"\x00\x80\xff{}[]:,")
                body = base64.b64encode(bytes(raw)).decode()
                if is_good(bytes(raw)):
                    continue
                bodies.append((body, True))
                continue
            case 2:
                name = chance.choice(["distance", "carrier"])
                value = chance.choice([each for each in odd if not (name == "distance" and each == "1.5")])
                other = {"distance": "100", "carrier": '"UA"'} | {name: value}
                body = '{"instances": [{' + ", ".join(f'"{key}": {text}' for key, text in other.items()) + "}]}"
            case 3:
                body = '{"instances": ' + chance.choice(odd) + "}"
            case 4:
                body = chance.choice(odd)
            case 5:
                body = good.replace("carrier", "".join(chance.choices('abc\\u0000"é', k=4)), 1)
            case 6:
                depth = chance.choice([10, 900])
                body = '{"instances": [' + "[" * depth + "]" * depth + "]}"
            case _:
                body = json.dumps({"instances": [GOOD], "".join(chance.choices("xyz", k=3)): chance.choice([1, None])})
        bodies.append((body, False))
    return bodies


def is_good(raw: bytes) -> bool:
    try:
        instances = json.loads(raw)["instances"]
    except (ValueError, KeyError, TypeError):
        return False
    return all(set(each) == {"distance", "carrier"} and each["carrier"] in {"AA", "UA"} for each in instances)


def test_a_fault_of_ours_is_500_with_the_request_id_and_no_inputs(house, monkeypatch):
    def broken(*_: Any) -> None:
        raise RuntimeError("could not handle 'UA'")

    monkeypatch.setattr(house.parts.inference, "predict", broken)
    body = problem(predict(GOOD), 500)
    assert "UA" not in json.dumps(body)
    assert "UA" not in " ".join(house.meter.said)
    assert CONTEXT.aws_request_id in house.meter.said[0]
    assert house.meter.counts["ServerErrors"] == 1


# Artifacts and routes


def test_a_new_champion_is_served_when_the_route_is_read_again(house):
    assert version_served() == (1, "champion")
    house.release(2, onnx(1.0))
    assert version_served() == (1, "champion")
    house.clock.move(seconds=3)
    assert version_served() == (2, "champion")


def test_route_and_session_are_kept_between_requests(house):
    for _ in range(5):
        predict(GOOD)
    assert house.registry.asked == 1
    assert len(house.artifacts.reads) == 1


def test_a_tampered_artifact_is_refused_and_a_cold_function_serves_the_previous_version(house):
    house.release(2, onnx(1.0))
    house.tamper(2, onnx(9.0))
    status, body, _ = predict(GOOD)
    assert (status, body["version"], body["reason"]) == (200, 1, "previous_good")
    assert "detail" in body
    assert house.meter.counts["ArtifactRejected"] == 1
    assert house.meter.models == [MODEL]


def test_a_warm_function_goes_on_with_what_it_had(house):
    house.release(2, onnx(1.0))
    assert version_served() == (2, "champion")
    house.release(3, onnx(2.0))
    house.release(4, onnx(3.0))
    house.tamper(3, b"evil")
    house.tamper(4, b"evil")
    house.clock.move(seconds=3)
    assert version_served() == (2, "previous_good")


def test_the_champion_in_memory_serves_on_when_its_object_is_tampered_with(house):
    version_served()
    house.tamper(1, b"evil")
    house.clock.move(minutes=10)
    assert version_served() == (1, "champion")


def test_a_refused_artifact_is_not_fetched_on_each_request_but_looked_at_again_later(house):
    house.release(2, onnx(1.0))
    house.tamper(2, b"evil")
    for _ in range(10):
        assert version_served() == (1, "previous_good")
    assert len(house.artifacts.reads) == 2
    assert house.meter.counts["ArtifactRejected"] == 1
    house.tamper(2, onnx(1.0))
    house.clock.move(seconds=REFUSED.total_seconds())
    assert version_served() == (2, "champion")


def test_an_artifact_of_another_model_or_that_is_no_model_is_refused(house):
    house.release(2, onnx(1.0, Contract("other", "binary", CONTRACT.features, (False, True))))
    assert version_served() == (1, "previous_good")
    house.release(3, b"not onnx at all")
    house.clock.move(seconds=3)
    assert version_served() == (1, "previous_good")
    assert house.meter.counts["ArtifactRejected"] == 2


def test_without_any_good_artifact_the_answer_is_503(house):
    house.tamper(1, b"evil")
    problem(predict(GOOD), 503)
    assert house.meter.counts["ServerErrors"] == 1
    assert house.meter.counts["ArtifactRejected"] == 1


def test_an_artifact_that_was_deleted_counts_as_refused(house):
    del house.artifacts.objects[f"runs/{MODEL}/r-1/model.onnx"]
    problem(predict(GOOD), 503)
    assert house.meter.counts["ArtifactRejected"] == 1


def test_artifacts_out_of_reach_are_503_and_tried_again_soon(house):
    house.artifacts.down = True
    assert problem(predict(GOOD), 503)["detail"] == "a service this one needs does not answer"
    house.artifacts.down = False
    problem(predict(GOOD), 503)
    house.clock.move(seconds=5)
    assert version_served() == (1, "champion")


@pytest.mark.parametrize("fault", [UnavailableError("DynamoDB did not answer"), PermissionError("AccessDenied")])
def test_when_the_registry_fails_the_last_known_route_serves_on(house, fault):
    version_served()
    house.registry.down = fault
    house.clock.move(seconds=3)
    asked = house.registry.asked
    for _ in range(5):
        assert version_served() == (1, "champion")
    assert house.registry.asked == asked + 1
    assert house.meter.counts["RouteStale"] == 1
    assert house.meter.counts.get("ServerErrors", 0) == (0 if isinstance(fault, UnavailableError) else 1)
    house.registry.down = None
    house.release(2, onnx(1.0))
    house.clock.move(seconds=STALE.total_seconds())
    assert version_served() == (2, "champion")


def test_when_the_registry_fails_and_nothing_is_known_the_answer_is_503_with_a_time_to_retry(house):
    house.registry.down = UnavailableError("DynamoDB did not answer")
    answer = predict(GOOD)
    problem(answer, 503)
    assert int(answer[2]["retry-after"]) > 0


def test_sessions_are_kept_up_to_a_number_of_bytes_the_least_used_goes_first(house):
    sizes = [len(onnx(0.0, Contract(name, "binary", CONTRACT.features, (False, True)))) for name in ("aa", "bb", "cc")]
    house.cache_bytes = sum(sizes[:2])
    house.restart()
    for name in ("aa", "bb", "cc"):
        house.release(1, onnx(0.0, Contract(name, "binary", CONTRACT.features, (False, True))), model=name)
    for name in ("aa", "bb", "aa", "cc", "aa", "bb"):
        assert predict(GOOD, model=name)[0] == 200
    read = [key.split("/")[1] for key in house.artifacts.reads]
    assert read == ["aa", "bb", "cc", "bb"]


def test_an_unknown_model_is_not_known_because_the_registry_was_asked(house):
    with pytest.raises(NotFoundError):
        house.parts.inference.describe("ghost")
    assert not house.parts.inference.knows("ghost")


# What it costs to start


def test_the_cold_path_imports_no_more_than_it_must():
    code = "import sys, functions.inference.handler; print(*sys.modules)"
    root = Path(__file__).parents[2]
    path = f"{root / 'layers/core/python'}:{root}"
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root, env={"PYTHONPATH": path}
    )
    modules = set(run.stdout.split())
    packages = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    powertools = {"aws_lambda_powertools", "botocore", "jmespath", "typing_extensions"}
    installed = {name for name in packages if not name.startswith(("_", "site"))}
    assert installed == powertools | {"functions", "numpy", "onnxruntime", "tidegate"}
    # Powertools reads botocore's version, which costs 0.4 ms; its clients would cost 250.
    assert {name for name in modules if name.startswith("botocore")} <= {"botocore"}
    assert modules.isdisjoint({"tidegate.spec", "tidegate.messages", "tidegate.aws.registry"})
