"""The inference function: its handler on in-memory ports and real ONNX artifacts."""

import base64
import json
import random
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest

from functions.inference import handler as function
from tests.builders.present import present
from tests.builders.serving import (
    CANDIDATE,
    CONTRACT,
    GOOD,
    MODEL,
    Artifacts,
    Broken,
    Serving,
    breaks,
    fail,
    onnx,
    second,
    slow,
)
from tests.context import CONTEXT
from tidegate.domain.registry.route import CandidateRole, FallbackRef, Route, Served
from tidegate.domain.serving.capture import Capture, CapturePolicy, line, records
from tidegate.domain.serving.contract import Contract, FeatureContract, OutputRule
from tidegate.domain.serving.guard import fit
from tidegate.kernel.errors import ArtifactRejectedError, NewerDocumentError, NotFoundError, UnavailableError
from tidegate.kernel.settings import InferenceSettings
from tidegate.kernel.table import Table
from tidegate.ml.scoring import load
from tidegate.steps.serving.inference import MEMORY_PER_BYTE, REFUSED, SESSION_BYTES, STALE
from tidegate.testing.models import linear_onnx


@pytest.fixture
def house(monkeypatch):
    house = Serving()
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


def test_a_model_shows_its_version_and_contract(house):
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
        "missing_words": [""],
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


def test_a_broken_contract_is_reported_field_by_field(house):
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


def test_an_artifact_under_another_versions_number_is_not_served(house):
    house.release(2, onnx(1.0))
    house.registry.registered[2] = "0" * 64
    assert version_served() == (1, "previous_good")
    assert house.meter.counts["ArtifactRejected"] == 1


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


class NewerContract(Contract):
    """As code that comes later may write it."""

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"schema": self.FORM.schema + 1, "calibration": {"method": "isotonic"}}


def newer_onnx(bias: float) -> bytes:
    return onnx(bias, NewerContract(**{each.name: getattr(CONTRACT, each.name) for each in fields(CONTRACT)}))


def test_an_artifact_that_newer_code_wrote_is_counted_apart_and_the_previous_version_serves(house):
    house.release(2, newer_onnx(1.0))
    status, body, _ = predict(GOOD)
    assert (status, body["version"], body["reason"], body["why"]) == (200, 1, "previous_good", "not_loadable")
    assert "needs newer code" in body["detail"]
    assert house.meter.counts["NewerArtifact"] == 1
    assert "ArtifactRejected" not in house.meter.counts
    assert f"the serving contract has schema {Contract.FORM.schema + 1}, which newer code wrote" in house.meter.said[-1]


def test_a_fallback_that_newer_code_wrote_is_counted_apart(house):
    house.falls_back()
    ref = house.registry._routes[MODEL].fallback
    newer = json.dumps(json.loads(house.artifacts.objects[ref.key]) | {"format": 2}).encode()
    house.change(champion=None, fallback=replace(ref, sha256=house.artifacts.put(ref.key, newer)))
    refused = problem(predict(GOOD), 503)
    assert refused["detail"].startswith("the fallback has schema 2, which newer code wrote")
    assert refused["next_step"].startswith("deploy the newer code again")
    assert house.meter.counts["NewerArtifact"] == 1


def test_without_a_version_that_this_code_reads_the_answer_says_to_deploy_the_newer_code(house):
    house.release(2, newer_onnx(1.0))
    house.change(previous=None)
    assert problem(predict(GOOD), 503)["next_step"].startswith("deploy the newer code again")
    house.falls_back()
    house.clock.move(seconds=3)
    assert version_served() == (None, "fallback")


def test_a_route_that_newer_code_wrote_leaves_the_last_known_one_in_place(house):
    version_served()
    house.registry.down = NewerDocumentError("the route has schema 2", next_step="deploy the newer code again")
    house.clock.move(seconds=3)
    assert version_served() == (1, "champion")
    house.restart()
    assert problem(predict(GOOD), 503)["detail"] == "the route has schema 2"
    assert house.meter.counts["NewerArtifact"] == 2


def test_artifacts_out_of_reach_are_503_and_tried_again_soon(house):
    house.artifacts.down = True
    assert problem(predict(GOOD), 503)["detail"] == "a required service does not answer"
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


def test_with_steady_requests_routes_are_read_between_answers_and_never_before_one(house):
    version_served()
    asked = house.registry.asked
    house.release(2, onnx(1.0))
    for _ in range(10):
        house.clock.move(seconds=1)
        version_served()
        assert house.registry.asked == asked
        house.parts.inference.refresh()
        asked = house.registry.asked
    assert version_served() == (2, "champion")
    assert house.registry.asked == 6


def test_a_route_that_cannot_be_read_between_answers_is_read_before_the_next_one(house):
    version_served()
    house.clock.move(seconds=2)
    version_served()
    house.registry.down = UnavailableError("DynamoDB did not answer")
    house.parts.inference.refresh()
    house.registry.down = None
    house.release(2, onnx(1.0))
    assert version_served() == (1, "champion")
    house.clock.move(seconds=1)
    assert version_served() == (2, "champion")


def test_between_answers_nothing_is_begun_when_there_is_no_time_left(house):
    version_served()
    house.clock.move(seconds=2)
    version_served()
    asked = house.registry.asked
    house.parts.inference.refresh(0)
    assert house.registry.asked == asked


def between_answers(house):
    """The route is read again after an answer."""
    house.clock.move(seconds=2)
    version_served()
    house.parts.inference.refresh()


def test_what_is_new_in_a_route_is_opened_between_answers_and_not_while_one_waits(house):
    version_served()
    house.release(2, onnx(1.0))
    house.change(candidate=house.registry._routes[MODEL].previous, candidate_bp=1)
    between_answers(house)
    house.artifacts.down = True
    assert version_served() == (2, "champion")


def test_the_fallback_is_there_when_a_rollback_comes_while_artifacts_cannot_be_fetched(house):
    house.falls_back()
    house.release(2, onnx(1.0))
    version_served()
    between_answers(house)
    house.artifacts.down = True
    house.change(champion=house.registry._routes[MODEL].previous, previous=None)
    house.clock.move(seconds=3)
    status, answer, _ = predict(GOOD)
    assert (status, answer["reason"], answer["why"]) == (200, "fallback", "not_loadable")


def test_a_version_that_cannot_be_opened_between_answers_keeps_neither_the_fallback_nor_the_next_answer(house):
    house.falls_back()
    version_served()
    house.release(2, onnx(1.0))
    house.tamper(2, b"something else")
    between_answers(house)
    house.artifacts.down = True
    assert version_served() == (1, "previous_good")
    house.change(killed=True)
    house.clock.move(seconds=3)
    assert predict(GOOD)[1]["why"] == "killed"


def test_when_the_registry_fails_and_nothing_is_known_the_answer_is_503_with_a_time_to_retry(house):
    house.registry.down = UnavailableError("DynamoDB did not answer")
    answer = predict(GOOD)
    problem(answer, 503)
    assert int(answer[2]["retry-after"]) > 0


def test_sessions_are_kept_up_to_a_number_of_bytes_the_least_used_goes_first(house):
    several(house, "aa", "bb", "cc", room_for=2)
    for name in ("aa", "bb", "aa", "cc", "aa", "bb"):
        assert predict(GOOD, model=name)[0] == 200
    read = [key.split("/")[1] for key in house.artifacts.reads]
    assert read == ["aa", "bb", "cc", "bb"]
    assert house.meter.counts["ArtifactEvicted"] == 2


def several(house: Serving, *names: str, room_for: int) -> None:
    """A model of each name, of one size in memory, and a function that has room for so many of them."""
    made = {name: onnx(0.0, Contract(name, "binary", CONTRACT.features, (False, True))) for name in names}
    size = SESSION_BYTES + MEMORY_PER_BYTE * len(made[names[0]])
    house.cache_bytes = room_for * size
    house.restart()
    for name, data in made.items():
        house.release(1, data, model=name)


def test_while_there_is_room_nothing_is_read_or_opened_twice(house):
    several(house, "aa", "bb", "cc", room_for=3)
    for name in ("aa", "bb", "cc") * 3:
        assert predict(GOOD, model=name)[0] == 200
    assert len(house.artifacts.reads) == 3
    assert "ArtifactEvicted" not in house.meter.counts


def test_a_model_larger_than_the_room_is_kept_as_long_as_nobody_asks_for_another(house):
    several(house, "aa", "bb", room_for=0)
    for name in ("aa", "aa", "bb", "bb", "aa"):
        assert predict(GOOD, model=name)[0] == 200
    assert [key.split("/")[1] for key in house.artifacts.reads] == ["aa", "bb", "aa"]


def test_what_had_to_go_is_not_opened_again_between_answers_while_its_route_stays(house):
    several(house, "aa", "bb", room_for=1)
    for name in ("aa", "bb"):
        predict(GOOD, model=name)
    house.clock.move(seconds=2)
    for name in ("aa", "bb"):
        predict(GOOD, model=name)
    reads = len(house.artifacts.reads)
    house.parts.inference.refresh()
    assert len(house.artifacts.reads) == reads


class Held(Artifacts):
    """Artifacts that are not handed out before somebody lets them go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.free = threading.Event(), threading.Event()

    def get(self, key: str) -> bytes:
        self.asked.set()
        assert self.free.wait(10)
        return super().get(key)


@pytest.mark.parametrize("tampered", [False, True])
def test_those_who_ask_for_a_cold_model_at_once_wait_for_one_read_and_one_session(tampered):
    sessions = []
    held = Held()
    house = Serving(artifacts=held, load=lambda data: sessions.append(1) or load(data))
    house.release(1, onnx(0.0))
    if tampered:
        house.tamper(1, b"evil")
    with ThreadPoolExecutor(16) as pool:
        first = pool.submit(house.parts.inference.describe, MODEL)
        assert held.asked.wait(10)
        others = [pool.submit(house.parts.inference.describe, MODEL) for _ in range(15)]
        held.free.set()
        if tampered:
            assert {type(each.exception(10)) for each in (first, *others)} == {ArtifactRejectedError}
            assert house.meter.counts["ArtifactRejected"] == 1
        else:
            assert {each.result(10)["version"] for each in (first, *others)} == {1}
            assert len(sessions) == 1
    assert len(house.artifacts.reads) == 1


def test_bytes_that_were_opened_for_one_model_do_not_answer_for_another(house):
    version_served()
    house.registry._routes["other"] = replace(house.registry._routes[MODEL], model="other")
    problem(predict(GOOD, model="other"), 503)


def test_an_unknown_model_is_not_known_because_the_registry_was_asked(house):
    with pytest.raises(NotFoundError):
        house.parts.inference.describe("ghost")
    assert not house.parts.inference.knows("ghost")


# Two versions at once


def keyed(key: Any, *, header: bool = False) -> tuple[int, str]:
    document = {"instances": [GOOD]} | ({} if header else {"routing_key": key})
    headers = {"content-type": "application/json"} | ({"X-Tidegate-Routing-Key": key} if header else {})
    status, body, _ = ask("POST", f"/models/{MODEL}/predict", body=json.dumps(document), headers=headers)
    assert status == 200, body
    return body["version"], body["reason"]


def test_a_routing_key_gets_the_same_version_from_header_and_body_as_text_and_as_number(house):
    second(house, onnx(1.0), share_bp=5_000)
    answers = {key: keyed(str(key)) for key in range(200)}
    assert set(answers.values()) == {(1, "champion"), (2, "candidate")}
    assert all(keyed(key) == keyed(float(key)) == keyed(str(key), header=True) == answers[key] for key in range(50))
    assert {capture.arm for capture in house.captures.offered} == {"champion", "candidate"}


def test_without_a_key_each_request_falls_by_its_own_prediction_id(house):
    second(house, onnx(1.0), share_bp=5_000, role=CandidateRole.SPLIT)
    served = [version_served() for _ in range(200)]
    assert set(served) == {(1, "champion"), (2, "split")}
    assert 50 < served.count((2, "split")) < 150


@pytest.mark.parametrize("key", [True, [], {}, "", "x" * 300, 10**400, "1e999"])
def test_a_routing_key_of_another_kind_is_the_callers_fault(house, key):
    text = json.dumps({"instances": [GOOD], "routing_key": key})
    body = text.replace('"1e999"', "1e999")
    answer = ask("POST", f"/models/{MODEL}/predict", body=body)
    assert problem(answer, 422)["errors"][0]["path"] == "routing_key"


def not_a_number() -> Any:
    return np.array([[np.nan, np.nan]], dtype=np.float32)


@pytest.mark.parametrize(
    ("act", "why", "error"),
    [
        (fail, "scoring_failed", "RuntimeError"),
        (not_a_number, "scoring_failed", "ModelFailedError"),
        (slow, "timed_out", "ScoringTimeoutError"),
    ],
)
def test_when_the_candidate_fails_the_champion_answers_and_it_counts_against_the_candidate(house, act, why, error):
    second(house, onnx(1.0))
    breaks(house, onnx(1.0), act)
    status, body, _ = predict(GOOD)
    assert (status, body["version"], body["reason"], body["why"]) == (200, 1, "champion", why)
    assert "the candidate should have answered" in body["detail"]
    assert house.meter.counts[f"CandidateErrors:{why}"] == 1
    assert house.meter.counts["ModelFailures"] == 1
    (capture,) = house.captures.offered
    assert (capture.arm, capture.version, capture.error, capture.reason) == ("candidate", 1, error, f"champion:{why}")
    assert "UA" not in " ".join(house.meter.said)


def test_a_candidate_that_cannot_be_loaded_is_passed_over(house):
    second(house, b"evil")
    status, body, _ = predict(GOOD)
    assert (status, body["version"], body["reason"], body["why"]) == (200, 1, "champion", "not_loadable")


def test_a_request_that_only_the_candidate_refuses_is_answered_by_the_champion(house):
    stricter = replace(CONTRACT, features=(*CONTRACT.features, FeatureContract("hour", "numeric")))
    second(house, linear_onnx(stricter, [0.001, 0.1], effects={"AA": 0.5, "UA": -0.5}))
    status, body, _ = predict(GOOD)
    assert (status, body["version"], body["why"]) == (200, 1, "contract_broken")
    problem(predict({"distance": -5}), 422)
    assert house.meter.counts["CandidateErrors"] == 1


# A version that asks for a field more


WIDER = replace(CONTRACT, features=(*CONTRACT.features, FeatureContract("hour", "integer", maximum=23)))
WIDER_ONNX = linear_onnx(WIDER, [0.001, 0.1], effects={"AA": 0.5, "UA": -0.5})
KNOWN = ("carrier", "distance", "hour")  # what the route says once such a version was on it
NEW = GOOD | {"hour": 7}


def test_a_field_that_no_version_of_the_route_was_ever_asked_with_is_refused(house):
    (fault,) = problem(predict(NEW), 422)["errors"]
    assert fault == {"path": "instances[0].hour", "problem": "no such field in the model's contract"}


def test_a_candidate_gets_its_new_field_and_the_champion_beside_it_passes_it_over(house):
    second(house, WIDER_ONNX, share_bp=5_000)
    house.change(fields=KNOWN)
    answers = {False: set[float](), True: set[float]()}
    for hour in (1, 23) * 25:
        status, body, _ = predict(GOOD | {"hour": hour})
        assert status == 200
        assert body["reason"] == ("candidate" if body["version"] == CANDIDATE else "champion")
        assert "why" not in body
        answers[body["version"] == CANDIDATE].add(body["predictions"][0]["score"])
    assert (len(answers[False]), len(answers[True])) == (1, 2)  # only one of them looks at the hour
    assert "CandidateErrors" not in house.meter.counts


def test_the_description_names_the_fields_that_only_other_versions_ask_for(house):
    house.change(fields=KNOWN)
    assert ask("GET", f"/models/{MODEL}")[1]["also"] == ["hour"]


def test_a_shadow_gets_its_new_field_too(house):
    shadowed(house, WIDER_ONNX)
    house.change(fields=KNOWN)
    assert predict(NEW)[1]["version"] == 1
    assert house.captures.offered[-1].shadow.error == ""


def test_after_a_rollback_callers_go_on_sending_what_the_older_version_does_not_know(house):
    house.change(fields=KNOWN)
    status, body, _ = predict(NEW)
    assert (status, body["version"], body["reason"]) == (200, 1, "champion")
    assert house.captures.offered[-1].instances == [NEW]
    (fault,) = problem(predict(NEW | {"hours": 7}), 422)["errors"]
    assert fault["path"] == "instances[0].hours"


def test_the_fallback_of_a_killed_model_passes_over_what_another_version_knows(house):
    house.falls_back()
    house.change(fields=KNOWN, killed=True)
    status, body, _ = predict(NEW)
    assert (status, body["version"], body["why"]) == (200, None, "killed")
    (fault,) = problem(predict(NEW | {"hours": 7}), 422)["errors"]
    assert fault["path"] == "instances[0].hours"


def test_a_model_is_described_by_its_champion_while_a_candidate_has_a_share(house):
    second(house, onnx(1.0))
    assert ask("GET", f"/models/{MODEL}")[1]["version"] == 1


def test_a_version_that_was_rolled_back_does_not_come_back_when_the_champion_cannot_be_loaded(house):
    house.release(2, onnx(1.0))
    assert version_served() == (2, "champion")
    house.falls_back()
    house.change(champion=house.registry._routes[MODEL].previous, previous=None)
    house.tamper(1, b"evil")
    house.clock.move(seconds=3)
    assert predict(GOOD)[1]["why"] == "not_loadable"


# The first version on its way in, and the last one on its way out


def first_release(house: Serving, data: bytes, *, share_bp: int = 10_000) -> None:
    """Version 2 gets a share, and nothing serves beside it."""
    second(house, data, share_bp=share_bp)
    house.change(champion=None, previous=None)


def test_without_a_champion_the_fallback_answers_those_who_do_not_fall_to_the_candidate(house):
    house.falls_back()
    first_release(house, onnx(1.0), share_bp=5_000)
    answers = [predict(GOOD)[1] for _ in range(100)]
    by_reason = {(body["version"], body["reason"], body.get("why")) for body in answers}
    assert by_reason == {(2, "candidate", None), (None, "fallback", "no_version")}
    assert {(capture.arm, capture.version) for capture in house.captures.offered} == {
        ("candidate", 2),
        ("fallback", None),
    }


@pytest.mark.parametrize(
    ("act", "why"), [(fail, "scoring_failed"), (not_a_number, "scoring_failed"), (slow, "timed_out")]
)
def test_without_a_champion_a_candidate_that_fails_is_answered_for_and_it_is_its_own_fault(house, act, why):
    house.falls_back()
    first_release(house, onnx(1.0))
    breaks(house, onnx(1.0), act)
    status, body, _ = predict(GOOD)
    assert (status, body["version"], body["reason"], body["why"]) == (200, None, "fallback", why)
    assert "the candidate should have answered" in body["detail"]
    assert house.meter.counts[f"CandidateErrors:{why}"] == 1
    (capture,) = house.captures.offered
    assert (capture.arm, capture.reason) == ("candidate", f"fallback:{why}")


def test_without_a_champion_a_candidate_that_cannot_be_loaded_is_answered_for(house):
    house.falls_back()
    first_release(house, b"evil")
    assert predict(GOOD)[1]["why"] == "not_loadable"
    assert house.captures.offered[-1].arm == "candidate"
    problem(predict({"distance": -5, "carrier": "UA"}), 422)


def test_without_a_champion_a_request_that_breaks_the_candidates_contract_is_the_callers_fault(house):
    house.falls_back()
    first_release(house, onnx(1.0))
    assert problem(predict({"distance": -5, "carrier": "UA"}), 422)["errors"][0]["path"] == "instances[0].distance"
    assert house.captures.offered == []
    assert "CandidateErrors" not in house.meter.counts


def test_without_champion_and_fallback_nobody_answers_those_who_do_not_fall_to_the_candidate(house):
    first_release(house, onnx(1.0), share_bp=5_000)
    answers = [predict(GOOD) for _ in range(100)]
    assert {status for status, _, _ in answers} == {200, 409}
    assert "no accepted version" in next(body for status, body, _ in answers if status == 409)["detail"]
    assert {capture.version for capture in house.captures.offered} == {2}


@pytest.mark.parametrize("role", [CandidateRole.HOLDBACK, CandidateRole.SPLIT])
def test_a_version_that_is_not_on_its_way_in_answers_for_an_arm_of_its_own(house, role):
    second(house, onnx(1.0), role=role)
    assert version_served() == (2, role.value)
    assert house.captures.offered[-1].arm == role.value
    second(house, b"evil", role=role)
    house.clock.move(seconds=3)
    assert version_served() == (1, "champion")
    assert house.captures.offered[-1].arm == role.value
    assert house.meter.counts[f"{role.value.capitalize()}Errors:not_loadable"] == 1


def test_what_a_version_held_back_does_wrong_is_counted_as_its_own(house):
    house.falls_back()
    second(house, onnx(2.0, replace(CONTRACT, rules=RULES)), role=CandidateRole.HOLDBACK)
    assert predict(GOOD)[1]["predictions"][0]["rule"] == "short-is-punctual"
    assert house.meter.counts["RuleViolations:holdback"] == 1
    second(house, b"evil", role=CandidateRole.HOLDBACK)
    house.clock.move(seconds=3)
    status, body, _ = predict(GOOD)
    assert (status, body["version"], body["reason"], body["why"]) == (200, 1, "champion", "not_loadable")
    assert "the version held back should have answered" in body["detail"]
    assert house.meter.counts["HoldbackErrors:not_loadable"] == 1
    assert "CandidateErrors" not in house.meter.counts


def test_when_candidate_and_champion_fail_the_capture_says_what_the_candidate_did(house):
    house.falls_back()
    second(house, b"evil")
    breaks(house, onnx(0.0), fail)
    status, body, _ = predict(GOOD)
    assert (status, body["reason"], body["why"]) == (200, "fallback", "not_loadable")
    (capture,) = house.captures.offered
    assert (capture.arm, capture.reason, capture.error) == (
        "candidate",
        "fallback:not_loadable",
        "ArtifactRejectedError",
    )
    assert house.meter.counts["FallbackServed:scoring_failed"] == 1


# What captures say of a request


def test_a_capture_names_the_revision_of_the_route(house):
    predict(GOOD)
    second(house, onnx(1.0))
    predict(GOOD)
    house.clock.move(seconds=3)
    predict(GOOD)
    known = house.registry._routes[MODEL].revision
    assert [capture.route for capture in house.captures.offered] == [known - 1, known - 1, known]


def colds(house: Serving) -> list[bool]:
    return [capture.cold for capture in house.captures.offered]


def test_a_request_is_cold_when_an_artifact_had_to_be_opened_for_it(house):
    for _ in range(3):
        predict(GOOD)
    second(house, onnx(1.0))
    house.clock.move(seconds=3)
    for _ in range(2):
        predict(GOOD)
    assert colds(house) == [True, False, False, True, False]


def test_a_request_that_waited_for_an_artifact_in_vain_is_cold_too(house):
    house.falls_back()
    house.tamper(1, b"evil")
    for _ in range(2):
        assert predict(GOOD)[0] == 200
    assert colds(house) == [True, False]


def test_opening_the_shadow_makes_only_the_shadow_cold(house):
    predict(GOOD)
    shadowed(house, onnx(3.0))
    house.clock.move(seconds=3)
    for _ in range(2):
        predict(GOOD)
    assert colds(house) == [True, False, False]
    assert [capture.shadow.cold for capture in house.captures.offered[1:]] == [True, False]


def unanswered(house: Serving) -> Capture:
    """The capture of a request that nobody could answer; it can be written."""
    (capture,) = house.captures.offered
    assert capture.version is None
    assert capture.shadow is None
    for record in records(capture, CapturePolicy()):
        assert line(record)
        assert (record["label"], record["score"], record["probabilities"]) == (None, None, None)
    return capture


@pytest.mark.parametrize(
    ("act", "why", "error"),
    [(fail, "scoring_failed", "RuntimeError"), (slow, "timed_out", "ScoringTimeoutError")],
)
def test_a_request_that_nobody_could_answer_is_captured_with_its_inputs(house, act, why, error):
    shadowed(house, onnx(3.0))
    breaks(house, onnx(0.0), act)
    body = problem(predict(GOOD, GOOD), 500)
    capture = unanswered(house)
    assert (capture.arm, capture.reason, capture.error) == ("champion", f"unanswered:{why}", error)
    assert [set(each) for each in capture.predictions] == [{"id"}, {"id"}]
    assert list(capture.instances) == [GOOD, GOOD]
    assert capture.request_id == body["instance"].removeprefix("urn:uuid:")
    assert "Predictions" not in house.meter.counts


def test_a_candidate_that_nobody_can_stand_in_for_is_captured_as_such(house):
    first_release(house, onnx(1.0))
    breaks(house, onnx(1.0), fail)
    problem(predict(GOOD), 500)
    assert (unanswered(house).arm, unanswered(house).reason) == ("candidate", "unanswered:scoring_failed")


def test_inputs_that_no_contract_has_checked_are_not_kept(house):
    house.tamper(1, b"evil")
    problem(predict({"distance": "far", "passport": "X1"}, ["no object"]), 503)
    capture = unanswered(house)
    assert (capture.reason, capture.error) == ("unanswered:not_loadable", "ArtifactRejectedError")
    assert list(capture.instances) == [{}, {}]
    assert capture.cold


def test_an_answer_that_breaks_a_rule_and_has_no_stand_in_is_captured_with_the_rule(house):
    house.release(2, onnx(2.0, replace(CONTRACT, rules=RULES)))
    problem(predict(GOOD), 500)
    capture = unanswered(house)
    assert (capture.arm, capture.reason) == ("champion", "unanswered:rule_violated")
    assert list(capture.violations) == [("short-is-punctual",)]


def test_a_fallback_that_cannot_be_used_leaves_a_request_unanswered(house):
    house.falls_back()
    house.change(killed=True)
    house.artifacts.objects[house.registry._routes[MODEL].fallback.key] += b" "
    problem(predict(GOOD), 503)
    assert (unanswered(house).arm, unanswered(house).reason) == ("fallback", "unanswered:killed")


def test_a_request_that_is_refused_is_not_captured(house):
    problem(predict({"distance": -5}), 422)
    house.change(killed=True)
    house.clock.move(seconds=3)
    problem(predict(GOOD), 409)
    assert house.captures.offered == []


# Shadow


def shadowed(house: Serving, data: bytes) -> None:
    key = f"runs/{MODEL}/r-9/model.onnx"
    house.change(shadow=Served(9, key, house.artifacts.put(key, data)))


def test_the_shadow_scores_the_same_request_and_changes_nothing_of_the_answer(house):
    _, before, _ = predict(GOOD)
    shadowed(house, onnx(3.0))
    house.clock.move(seconds=3)
    _, after, _ = predict(GOOD)
    assert [each["score"] for each in after["predictions"]] == [each["score"] for each in before["predictions"]]
    assert (after["version"], after["reason"]) == (1, "champion")
    shadow = house.captures.offered[-1].shadow
    assert (shadow.version, shadow.error, len(shadow.predictions)) == (9, "", 1)
    assert shadow.predictions[0]["score"] > after["predictions"][0]["score"]


@pytest.mark.parametrize("act", [fail, not_a_number, slow])
def test_a_shadow_that_fails_is_counted_and_nobody_else_notices(house, act):
    shadowed(house, onnx(3.0))
    breaks(house, onnx(3.0), act)
    assert version_served() == (1, "champion")
    assert house.meter.counts["ShadowErrors"] == 1
    assert house.captures.offered[-1].shadow.error


def test_a_shadow_is_passed_over_when_little_time_is_left(house):
    shadowed(house, onnx(3.0))
    context = SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: 900)
    body = json.dumps({"instances": [GOOD]})
    event = {"rawPath": f"/models/{MODEL}/predict", "requestContext": {"http": {"method": "POST"}}, "body": body}
    assert function.handler(event, context)["statusCode"] == 200
    assert house.captures.offered[-1].shadow is None


# Fallback


def test_a_killed_model_is_answered_for_by_its_fallback_and_says_so(house):
    house.falls_back()
    house.change(killed=True)
    status, body, _ = predict(GOOD, GOOD)
    assert status == 200
    assert (body["version"], body["reason"], body["why"]) == (None, "fallback", "killed")
    first = body["predictions"][0]
    assert {name: first[name] for name in ("label", "score", "probabilities", "fallback")} == {
        "label": False,
        "score": 0.25,
        "probabilities": {"false": 0.75, "true": 0.25},
        "fallback": True,
    }
    assert uuid.UUID(first["id"]).version == 7
    assert house.meter.counts["FallbackServed:killed"] == 2
    (capture,) = house.captures.offered
    assert (capture.version, capture.arm, capture.reason) == (None, "fallback", "fallback:killed")
    assert len(house.artifacts.reads) == 1


def test_a_killed_model_still_holds_requests_against_a_contract_and_describes_it(house):
    house.falls_back()
    house.change(killed=True)
    assert problem(predict({"distance": 9000, "carrier": "UA"}), 422)["errors"][0]["path"] == "instances[0].distance"
    status, body, _ = ask("GET", f"/models/{MODEL}")
    assert (status, body["version"], body["reason"], body["why"]) == (200, None, "fallback", "killed")
    assert [feature["name"] for feature in body["features"]] == ["distance", "carrier"]


def test_a_model_without_accepted_version_is_answered_for_once_a_run_was_registered(house):
    house.registry._routes[MODEL] = Route(MODEL, 1)
    house.falls_back()
    status, body, _ = predict(GOOD)
    assert (status, body["version"], body["why"]) == (200, None, "no_version")
    assert house.meter.models == [MODEL]


def test_a_killed_model_without_fallback_is_a_conflict_that_says_what_to_do(house):
    house.change(killed=True)
    body = problem(predict(GOOD), 409)
    assert "switched off" in body["detail"]
    assert "tidegate resume" in body["next_step"]


def test_an_artifact_that_cannot_be_used_is_answered_for_and_an_earlier_version_goes_first(house):
    house.falls_back()
    house.release(2, onnx(1.0))
    house.tamper(2, b"evil")
    assert version_served() == (1, "previous_good")
    house.tamper(1, b"evil")
    house.restart()
    status, body, _ = predict(GOOD)
    assert (status, body["reason"], body["why"]) == (200, "fallback", "not_loadable")
    assert house.captures.offered[-1].error == "ArtifactRejectedError"
    assert house.captures.offered[-1].arm == "champion"


@pytest.mark.parametrize(
    ("act", "why"), [(fail, "scoring_failed"), (not_a_number, "scoring_failed"), (slow, "timed_out")]
)
def test_a_champion_that_fails_is_answered_for(house, act, why):
    house.falls_back()
    breaks(house, onnx(0.0), act)
    status, body, _ = predict(GOOD)
    assert (status, body["version"], body["reason"], body["why"]) == (200, None, "fallback", why)
    assert house.meter.counts[f"FallbackServed:{why}"] == 1
    assert "ServerErrors" not in house.meter.counts


def test_without_a_fallback_a_model_that_fails_is_a_fault_of_ours(house):
    breaks(house, onnx(0.0), fail)
    assert "UA" not in json.dumps(problem(predict(GOOD), 500))


def test_an_invocation_with_little_time_left_is_answered_by_the_fallback(house):
    house.falls_back()
    predict(GOOD)
    context = SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: 100)
    body = json.dumps({"instances": [GOOD]})
    event = {"rawPath": f"/models/{MODEL}/predict", "requestContext": {"http": {"method": "POST"}}, "body": body}
    assert json.loads(function.handler(event, context)["body"])["why"] == "timed_out"


def test_a_fallback_that_was_tampered_with_never_answers(house):
    house.falls_back()
    house.change(killed=True)
    key = house.registry._routes[MODEL].fallback.key
    house.artifacts.objects[key] += b" "
    problem(predict(GOOD), 503)
    assert house.meter.counts["ArtifactRejected"] == 1


def test_a_document_that_is_no_fallback_is_refused(house):
    house.change(killed=True, fallback=FallbackRef("k", house.artifacts.put("k", b'{"format": 9}'), "r"))
    problem(predict(GOOD), 503)


# Business rules


RULES = (
    OutputRule("short-is-punctual", "label == false", when="distance < 500"),
    OutputRule("in-range", "0 <= score <= 1"),
    OutputRule("united-low", "score < 0.9", when="carrier == 'UA'"),
)


def ruled(house: Serving, bias: float = 2.0) -> None:
    contract = replace(CONTRACT, rules=RULES)
    house.falls_back()
    house.release(2, onnx(bias, contract))


def test_an_answer_that_breaks_a_rule_is_the_fallbacks_and_only_that_one(house):
    ruled(house)
    status, body, _ = predict({"distance": 100, "carrier": "AA"}, {"distance": 1000, "carrier": "AA"})
    assert (status, body["version"], body["reason"]) == (200, 2, "champion")
    broken, kept = body["predictions"]
    assert (broken["score"], broken["label"], broken["fallback"], broken["rule"]) == (
        0.25,
        False,
        True,
        "short-is-punctual",
    )
    assert kept["label"] is True
    assert set(kept) == {"id", "label", "score", "probabilities"}
    assert house.meter.counts["RuleViolations:champion"] == house.meter.counts["FallbackServed:rule_violated"] == 1
    assert house.captures.offered[-1].violations == [("short-is-punctual",), ()]


def test_a_candidates_violations_are_counted_as_its_own(house):
    house.falls_back()
    second(house, onnx(2.0, replace(CONTRACT, rules=RULES)))
    status, body, _ = predict(GOOD)
    assert (status, body["version"], body["reason"]) == (200, 2, "candidate")
    assert body["predictions"][0]["rule"] == "short-is-punctual"
    assert house.meter.counts["RuleViolations:candidate"] == 1


def test_without_a_fallback_an_answer_that_breaks_a_rule_is_not_given(house):
    house.release(2, onnx(2.0, replace(CONTRACT, rules=RULES)))
    problem(predict(GOOD), 500)
    assert house.meter.counts["RuleViolations"] == 1


@pytest.mark.parametrize("knows", [True, False], ids=["the fallback's own rule", "a newer version's rule"])
def test_an_answer_of_the_fallback_that_breaks_a_rule_is_not_given_either(house, knows):
    contract = replace(CONTRACT, rules=(OutputRule("at-most", "score <= 0.9"),))
    house.falls_back(0.9048, contract if knows else CONTRACT)
    house.release(2, onnx(9.0, contract))
    problem(predict(GOOD), 500)
    capture = unanswered(house)
    assert (capture.arm, capture.reason) == ("champion", "unanswered:rule_violated")
    assert list(capture.violations) == [("at-most",)]
    assert "FallbackServed" not in house.meter.counts


def test_a_killed_model_gives_no_answer_that_breaks_a_rule_and_all_others(house):
    contract = replace(CONTRACT, rules=(OutputRule("at-most", "score <= 0.9", when="distance < 500"),))
    house.falls_back(0.9048, contract)
    house.change(killed=True)
    problem(predict({"distance": 100, "carrier": "AA"}), 500)
    assert unanswered(house).reason == "unanswered:killed"
    status, body, _ = predict({"distance": 1000, "carrier": "AA"})
    assert (status, body["predictions"][0]["score"]) == (200, 0.9048)


def test_the_version_answers_what_is_unusual_where_the_fallback_breaks_a_rule(house):
    rules = (OutputRule("at-least", "score > 0.3"),)
    house.falls_back()
    house.release(2, onnx(0.0, replace(detecting("fallback"), rules=rules)))
    (far,) = predict(FAR)[1]["predictions"]
    assert (far["unusual"], far["score"] > 0.3) == (True, True)
    assert "fallback" not in far


def test_the_rules_are_part_of_what_a_model_says_of_itself(house):
    ruled(house)
    assert ask("GET", f"/models/{MODEL}")[1]["rules"][0] == {
        "name": "short-is-punctual",
        "when": "distance < 500",
        "require": "label == false",
    }


def test_an_artifact_with_a_rule_that_cannot_be_read_is_refused(house):
    house.release(2, onnx(0.0, replace(CONTRACT, rules=(OutputRule("bad", "score ** 2 < 1"),))))
    assert version_served() == (1, "previous_good")


# What it costs to start


BUDGET = {  # what may be imported from here; each has to be worth its share of a cold start
    "tidegate",
    "tidegate.aws",
    "tidegate.aws.capture_log",
    "tidegate.aws.clock",
    "tidegate.aws.extension",
    "tidegate.aws.integrity",
    "tidegate.aws.items",
    "tidegate.aws.serving",
    "tidegate.aws.signed",
    "tidegate.domain",
    "tidegate.domain.registry",
    "tidegate.domain.registry.route",
    "tidegate.domain.serving",
    "tidegate.domain.serving.baseline",
    "tidegate.domain.serving.capture",
    "tidegate.domain.serving.contract",
    "tidegate.domain.serving.fallback",
    "tidegate.domain.serving.guard",
    "tidegate.domain.serving.prediction",
    "tidegate.domain.serving.routing",
    "tidegate.formats",
    "tidegate.formats.firehose",
    "tidegate.formats.http_api",
    "tidegate.kernel",
    "tidegate.kernel.documents",
    "tidegate.kernel.english",
    "tidegate.kernel.errors",
    "tidegate.kernel.expressions",
    "tidegate.kernel.expressions.check",
    "tidegate.kernel.expressions.compile",
    "tidegate.kernel.expressions.evaluate",
    "tidegate.kernel.expressions.language",
    "tidegate.kernel.expressions.times",
    "tidegate.kernel.ids",
    "tidegate.kernel.partitions",
    "tidegate.kernel.settings",
    "tidegate.kernel.table",
    "tidegate.kernel.values",
    "tidegate.ml",
    "tidegate.ml.scoring",
    "tidegate.steps",
    "tidegate.steps.serving",
    "tidegate.steps.serving.inference",
    "tidegate.steps.serving.sessions",
    "tidegate.steps.serving.timelimit",
    "tidegate.telemetry",
}


def test_the_cold_path_imports_no_more_than_it_must():
    settings = InferenceSettings("table", "artifacts", "captures", "test", "3", "2000", "100", "1000000")
    code = "import sys; from functions.inference import handler; handler.wire(); print(*sys.modules)"
    root = Path(__file__).parents[3]
    env = {"PYTHONPATH": f"{root / 'layers/core/python'}:{root}", "AWS_REGION": "eu-west-1"} | settings.to_env()
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root, env=env)
    modules = set(run.stdout.split())
    packages = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    installed = {name for name in packages if not name.startswith(("_", "site"))}
    assert installed == {"functions", "numpy", "onnxruntime", "orjson", "tidegate"}
    assert {name for name in modules if name.partition(".")[0] == "tidegate"} <= BUDGET


# Unusual inputs


FAR = {"distance": 4900, "carrier": "UA"}


def detecting(answer: Literal["model", "fallback"] = "model", contract: Contract = CONTRACT) -> Contract:
    """A contract with a guard that knows distances from 0 to 1000."""
    chance = np.random.default_rng(0)
    rows = Table({"distance": chance.uniform(0, 1000, 5_000), "carrier": chance.choice(["AA", "UA"], 5_000)})
    return replace(contract, guard=fit(contract, contract.inputs(rows), share=0.001, answer=answer))


def test_an_answer_to_an_unusual_input_says_so_and_only_that_one(house):
    house.release(2, onnx(0.0, detecting()))
    status, body, _ = predict(GOOD, FAR)
    assert (status, body["version"], body["reason"]) == (200, 2, "champion")
    usual, unusual = body["predictions"]
    assert set(usual) == {"id", "label", "score", "probabilities"}
    assert unusual["unusual"] is True
    assert set(unusual) == {*usual, "unusual"}
    assert unusual["score"] == pytest.approx(1 / (1 + np.exp(-4.4)), abs=1e-6)  # the model's own
    assert house.meter.counts["Unusual"] == 1
    assert "FallbackServed" not in house.meter.counts
    kept = list(records(house.captures.offered[-1], CapturePolicy()))
    assert [(record["unusual"], record["fallback"]) for record in kept] == [(False, False), (True, False)]


def test_nothing_is_marked_or_counted_when_all_is_as_usual(house):
    house.release(2, onnx(0.0, detecting()))
    predict(GOOD)
    assert "Unusual" not in house.meter.counts


def test_by_spec_the_fallback_answers_an_unusual_input(house):
    house.falls_back()
    house.release(2, onnx(0.0, detecting("fallback")))
    status, body, _ = predict(GOOD, FAR)
    assert (status, body["version"], body["reason"]) == (200, 2, "champion")
    assert "why" not in body
    usual, unusual = body["predictions"]
    assert "fallback" not in usual
    assert (unusual["score"], unusual["label"]) == (0.25, False)
    assert (unusual["fallback"], unusual["why"], unusual["unusual"]) == (True, "unusual", True)
    assert house.meter.counts["Unusual"] == house.meter.counts["FallbackServed:unusual"] == 1
    capture = house.captures.offered[-1]
    assert (capture.version, capture.arm, capture.reason, capture.error) == (2, "champion", "champion", "")
    kept = list(records(capture, CapturePolicy()))
    assert [(record["unusual"], record["fallback"]) for record in kept] == [(False, False), (True, True)]


@pytest.mark.parametrize("broken", [False, True])
def test_without_a_usable_fallback_the_model_answers_an_unusual_input_and_it_stays_marked(house, broken):
    if broken:
        house.falls_back()
        house.artifacts.objects[house.registry._routes[MODEL].fallback.key] += b" "
    house.release(2, onnx(0.0, detecting("fallback")))
    status, body, _ = predict(FAR)
    assert (status, body["version"]) == (200, 2)
    (only,) = body["predictions"]
    assert only["unusual"] is True
    assert "fallback" not in only
    assert only["score"] > 0.9
    assert house.meter.counts["Unusual"] == 1


def test_rules_look_at_what_the_model_answered_and_the_mark_stays(house):
    rules = (OutputRule("never-sure", "score < 0.9"),)
    house.falls_back()
    house.release(2, onnx(0.0, replace(detecting(), rules=rules)))
    (only,) = predict(FAR)[1]["predictions"]
    assert (only["rule"], only["fallback"], only["unusual"]) == ("never-sure", True, True)
    assert "why" not in only


def test_what_the_fallback_answered_for_the_guard_is_no_violation_of_the_version(house):
    rules = (OutputRule("never-sure", "score < 0.3"),)
    house.falls_back()
    house.release(2, onnx(0.0, replace(detecting("fallback"), rules=rules)))
    far, near = predict(FAR, GOOD)[1]["predictions"]
    assert (far["why"], far["score"]) == ("unusual", 0.25)
    assert "rule" not in far
    assert near["rule"] == "never-sure"
    assert house.captures.offered[-1].violations == [(), ("never-sure",)]


def test_each_version_has_its_own_guard(house):
    house.falls_back()
    second(house, onnx(0.0, detecting("fallback")))
    assert "unusual" in predict(FAR)[1]["predictions"][0]
    house.change(candidate=None, candidate_bp=0)
    house.clock.move(seconds=3)
    assert "unusual" not in predict(FAR)[1]["predictions"][0]


def test_a_shadow_is_asked_itself_whatever_its_guard_says(house):
    key = f"runs/{MODEL}/r-9/model.onnx"
    house.falls_back()
    house.change(shadow=Served(9, key, house.artifacts.put(key, onnx(0.0, detecting("fallback")))))
    (only,) = predict(FAR)[1]["predictions"]
    shadow = house.captures.offered[-1].shadow
    assert "unusual" not in only
    assert shadow.predictions[0]["score"] > 0.9
    assert "Unusual" not in house.meter.counts


def test_an_artifact_whose_guard_is_not_its_contracts_is_refused(house):
    guard = present(detecting().guard)
    stray = replace(guard, numbers=(replace(guard.numbers[0], name="height"),))
    house.release(2, onnx(0.0, replace(CONTRACT, guard=stray)))
    assert version_served() == (1, "previous_good")


# Personal data


def text_of(path: str) -> str:
    """What a GET answers, be it JSON or a page."""
    about = {"http": {"method": "GET", "path": path}, "stage": "$default"}
    answer = function.handler({"version": "2.0", "rawPath": path, "headers": {}, "requestContext": about}, CONTEXT)
    assert answer["statusCode"] == 200
    return str(answer["body"])


@pytest.mark.parametrize("path", ["", "/openapi.json", "/docs"])
def test_no_category_of_personal_data_is_shown_to_who_asks_about_a_model(house, path):
    assert "UA" in text_of(f"/models/{MODEL}{path}")
    house.captures._policy = CapturePolicy(personal=frozenset({"carrier"}))
    shown = text_of(f"/models/{MODEL}{path}")
    assert "carrier" in shown
    assert "UA" not in shown
    assert "AA" not in shown


def test_a_wrong_value_of_personal_data_lists_no_right_ones(house):
    (listed,) = predict({"distance": 1, "carrier": "ZZ"})[1]["errors"]
    assert listed["allowed"] == ["AA", "UA"]
    house.captures._policy = CapturePolicy(personal=frozenset({"carrier"}))
    (fault,) = predict({"distance": 1, "carrier": "ZZ"})[1]["errors"]
    assert fault == {"path": "instances[0].carrier", "problem": "is not a known category"}


def test_a_time_that_is_none_is_quoted_unless_it_is_personal(house):
    contract = replace(CONTRACT, features=(*CONTRACT.features, FeatureContract("born", "time")))
    house.load = lambda _: Broken(contract, fail)
    house.restart()
    (fault,) = predict(GOOD | {"born": "1 May 1970"})[1]["errors"]
    assert fault["problem"].startswith("'1 May 1970' is not a time in ISO 8601")
    house.captures._policy = CapturePolicy(personal=frozenset({"born"}))
    (fault,) = predict(GOOD | {"born": "1 May 1970"})[1]["errors"]
    assert fault["problem"].startswith("is not a time in ISO 8601")


def test_while_the_catalog_cannot_be_read_no_category_is_shown(house, monkeypatch):
    monkeypatch.setattr(house.captures, "policy", lambda _: 1 / 0)
    assert "UA" not in text_of(f"/models/{MODEL}")
    assert predict(GOOD)[0] == 200
