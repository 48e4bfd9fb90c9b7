"""The inference function spoken to in other protocols: on in-memory ports and real ONNX artifacts."""

import base64
import contextlib
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.inference import handler as function
from tests.builders.serving import Serving
from tests.context import CONTEXT
from tidegate.domain.registry.route import CandidateRole, FallbackRef, Route, Served
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.contract import Contract, FeatureContract, PredictionInterval
from tidegate.domain.serving.fallback import Fallback
from tidegate.formats import mlflow_protocol, open_inference, openapi, openapi_page
from tidegate.kernel.errors import RequestInvalidError
from tidegate.kernel.values import Cells
from tidegate.testing.models import linear_onnx

MODEL = "flight-delay"
FEATURES = (
    FeatureContract("distance", "numeric", minimum=0, maximum=5000, unit="miles"),
    FeatureContract("hour", "integer", minimum=0, maximum=23),
    FeatureContract("holiday", "boolean"),
    FeatureContract("carrier", "categorical", categories=("AA", "UA"), unseen="reject", missing="allow"),
)
BINARY = Contract(MODEL, "binary", FEATURES, classes=(False, True))
GOOD = {"distance": 100.5, "hour": 7, "holiday": False, "carrier": "UA"}
OTHER = {"distance": 4000, "hour": 9, "holiday": True, "carrier": None}
TENSORS = [
    {"name": "distance", "datatype": "FP64", "shape": [2], "data": [100.5, 4000]},
    {"name": "hour", "datatype": "INT64", "shape": [2, 1], "data": [[7], [9]]},
    {"name": "holiday", "datatype": "BOOL", "shape": [2, 1], "data": [False, True]},
    {"name": "carrier", "datatype": "BYTES", "shape": [2], "data": ["UA", None]},
]


class Protocols(Serving):
    """The function, and models of every kind."""

    def served(self, version: int, contract: Contract = BINARY, bias: float = 0.0) -> Served:
        key = f"runs/{MODEL}/r-{version}/model.onnx"
        weights = [0.001, 0.01, 0.5][: len(contract.numeric)]
        data = linear_onnx(contract, weights, effects={"AA": 0.5, "UA": -0.5}, bias=bias)
        return Served(version, key, self.artifacts.put(key, data))

    def route(self, **parts: Any) -> None:
        before = self.registry._routes.get(MODEL)
        self.registry._routes[MODEL] = Route(MODEL, (before.revision if before else 0) + 1, **parts)

    def fallback(self) -> FallbackRef:
        rule = FittedRule("constant", (0.75, 0.25))
        key = f"runs/{MODEL}/r-0/fallback.json"
        return FallbackRef(key, self.artifacts.put(key, Fallback(BINARY, rule).to_bytes()), "r-0")


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Protocols:
    house = Protocols(ttl_seconds=0, max_body_bytes=20_000)
    house.route(champion=house.served(1))
    monkeypatch.setattr(function, "wire", lambda: house.parts)
    return house


def ask(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """Call the handler as an HTTP API does: status, body (decoded when it is JSON), headers."""
    event: dict[str, Any] = {
        "rawPath": path,
        "headers": {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()},
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
        "isBase64Encoded": isinstance(body, bytes),
    }
    if body is not None:
        event["body"] = base64.b64encode(body).decode() if isinstance(body, bytes) else body
        if not isinstance(body, bytes | str):
            event["body"] = json.dumps(body)
    answer = function.handler(event, CONTEXT)
    is_json = "json" in answer["headers"]["content-type"]
    return answer["statusCode"], json.loads(answer["body"]) if is_json else answer["body"], answer["headers"]


def plain(*instances: Any) -> list[dict[str, Any]]:
    """What /predict says of the instances, without the ids."""
    status, answer, _ = ask("POST", f"/models/{MODEL}/predict", {"instances": list(instances)})
    assert status == 200, answer
    return without_ids(answer["predictions"])


def without_ids(predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in each.items() if name != "id"} for each in predictions]


def infer(inputs: Any, path: str = f"/v2/models/{MODEL}/infer", **more: Any) -> tuple[int, dict[str, Any]]:
    status, answer, _ = ask("POST", path, {"inputs": inputs} | more)
    return status, answer


def outputs(answer: dict[str, Any]) -> dict[str, Any]:
    return {tensor["name"]: tensor for tensor in answer["outputs"]}


def with_tensor(place: int, **changes: Any) -> list[dict[str, Any]]:
    return [tensor | (changes if place == index else {}) for index, tensor in enumerate(TENSORS)]


# Open Inference Protocol


@pytest.mark.parametrize(
    ("read", "body", "said"),
    [
        (
            mlflow_protocol.read_request,
            {"distance": 1, "hour": 7},
            'the body is one instance; wrap it: {"dataframe_records": [{"distance": ..., ...}]}',
        ),
        (
            mlflow_protocol.read_request,
            [{"hour": 7}],
            'the body is not an object; wrap it: {"dataframe_records": [{"hour": ...}]}',
        ),
        (
            mlflow_protocol.read_request,
            {"instances": {"hour": 7}},
            'is not a list of objects, one for each prediction; wrap it: {"instances": [{"hour": ...}]}',
        ),
        (
            open_inference.read_request,
            {"distance": 1.5, "hour": 7},
            (
                "the body is one instance, not an object with a list `inputs`; give a tensor for each feature: "
                '{"inputs": [{"name": "distance", "datatype": "FP64", "shape": [1], "data": [...]}, ...]}'
            ),
        ),
        (
            open_inference.read_request,
            [{"carrier": "UA"}],
            (
                "the body is not an object with a list `inputs`; give a tensor for each feature: "
                '{"inputs": [{"name": "carrier", "datatype": "BYTES", "shape": [1], "data": [...]}]}'
            ),
        ),
    ],
)
def test_an_instance_alone_is_shown_as_the_protocol_wants_it(read: Any, body: Any, said: str) -> None:
    with pytest.raises(RequestInvalidError) as caught:
        read(json.dumps(body).encode(), max_instances=3)
    (fault,) = caught.value.faults
    assert fault.problem == said


def test_named_tensors_get_the_predictions_that_the_same_instances_get_elsewhere(house: Protocols) -> None:
    status, answer = infer(TENSORS, id="mine")
    assert status == 200, answer
    expected = plain(GOOD, OTHER)
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (MODEL, "1", "mine")
    assert answer["parameters"] == {"reason": "champion"}
    found = outputs(answer)
    assert found["score"]["data"] == [each["score"] for each in expected]
    assert (found["label"]["datatype"], found["label"]["data"]) == ("BOOL", [each["label"] for each in expected])
    probabilities = found["probabilities"]
    assert probabilities["shape"] == [2, 2]
    names = json.loads(probabilities["parameters"]["classes"])
    assert probabilities["data"] == [each["probabilities"][name] for each in expected for name in names]
    assert found["id"]["shape"] == [2]
    assert [capture.instances for capture in house.captures.offered] == [[GOOD, OTHER]] * 2


def test_parts_of_a_request_that_are_null_are_as_if_they_were_left_out(house: Protocols) -> None:
    status, answer = infer(TENSORS, id=None, parameters=None, outputs=None)
    assert (status, "id" in answer) == (200, False)


@pytest.mark.parametrize("path", ["predict", "invocations"])
def test_a_compressed_body_is_refused_by_name(house: Protocols, path: str) -> None:
    body = gzip.compress(json.dumps({"instances": [GOOD]}).encode())
    status, answer, _ = ask("POST", f"/models/{MODEL}/{path}", body, content_encoding="gzip")
    assert (status, answer["detail"]) == (415, "the body must not be compressed")
    assert answer["errors"] == [{"path": "content-encoding", "problem": "is 'gzip'", "allowed": ["identity"]}]


def test_only_the_outputs_that_are_asked_for_are_reported_and_unknown_ones_are_refused(house: Protocols) -> None:
    _, answer = infer(TENSORS, outputs=[{"name": "score"}, {"name": "unusual"}])
    assert list(outputs(answer)) == ["score"]
    status, answer = infer(TENSORS, outputs=[{"name": "logits"}])
    assert status == 422
    assert "outputs[0].name: no such output (allowed: id, label" in answer["error"]


def test_a_float32_tensor_is_read_as_the_decimals_it_was_made_of_and_nan_as_missing() -> None:
    for datatype, value in (("FP32", float(np.float32(0.1))), ("FP64", 0.1)):
        tensor = {"name": "x", "datatype": datatype, "shape": [3], "data": [value, float("nan"), None]}
        request, _, _ = open_inference.read_request(json.dumps({"inputs": [tensor]}).encode(), max_instances=9)
        assert [instance["x"] for instance in request.instances] == [0.1, None, None]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_no_float32_changes_by_being_read(values: list[float]) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(values)], "data": values}
    request, _, _ = open_inference.read_request(json.dumps({"inputs": [tensor]}).encode(), max_instances=9)
    read = [instance["x"] for instance in request.instances]
    assert np.array(read, np.float32).tolist() == values


def test_a_fault_names_instance_and_field_in_one_text_and_in_a_list(house: Protocols) -> None:
    status, answer = infer(with_tensor(1, data=[7, 99]))
    assert status == 422
    assert "instances[1].hour: is above the maximum 23" in answer["error"]
    assert answer["errors"] == [{"path": "instances[1].hour", "problem": "is above the maximum 23"}]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (None, "inputs: is required"),
        ([], "inputs: is required"),
        ([7], "inputs: is required"),
        ([{}], "inputs[0].name: is required"),
        ([TENSORS[0], TENSORS[0]], "inputs[1].name: is also the name of an earlier input"),
        (with_tensor(0, datatype="FP8"), "inputs[0].datatype: is not a supported datatype"),
        (with_tensor(0, datatype=[]), "inputs[0].datatype: is not a supported datatype"),
        (with_tensor(0, shape=[1, 2]), "inputs[0].shape: is not [n] or [n, 1]"),
        (with_tensor(0, shape=[True]), "inputs[0].shape: is not [n] or [n, 1]"),
        (with_tensor(0, shape=[]), "inputs[0].data: holds 2 values"),
        (with_tensor(0, shape=[3]), "inputs[0].data: holds 2 values"),
        (with_tensor(0, data="AAAA"), "inputs[0].data: is required"),
        (with_tensor(2, data=[0, 1]), "inputs[2].data: holds a value that is not BOOL"),
        (with_tensor(0, datatype="INT8", data=[[7], [128]]), "inputs[0].data: holds a value that is not INT8"),
        (with_tensor(0, datatype="UINT64", data=[[7], [-1]]), "inputs[0].data: holds a value that is not UINT64"),
        (with_tensor(0, data=[{}, 1]), "inputs[0].data: holds a value that is not FP64"),
        (with_tensor(0, shape=[1], data=[1.0]), "inputs: differ in the number of instances"),
        ([{"name": "hour", "datatype": "INT64", "shape": [0], "data": []}], "inputs: is empty"),
        ([{"name": "hour", "datatype": "INT64", "shape": [6], "data": [1] * 6}], "inputs: holds 6; at most 5"),
        (with_tensor(0, datatype="FP32", data=[10**400, 1e300]), "instances[0].distance: is not a finite number"),
    ],
)
def test_what_is_no_inference_request_is_refused_by_place(house: Protocols, inputs: Any, said: str) -> None:
    status, answer = infer(inputs)
    assert status == 422
    assert said in answer["error"]
    assert not house.captures.offered


def test_binary_tensors_are_refused_with_the_way_out(house: Protocols) -> None:
    status, answer, _ = ask("POST", f"/v2/models/{MODEL}/infer", "{}", inference_header_content_length="2")
    assert status == 415
    assert "binary_data=False" in answer["error"]


def test_a_version_that_serves_can_be_asked_for_and_no_other(house: Protocols) -> None:
    house.route(
        champion=house.served(1),
        candidate=house.served(2, bias=2.0),
        candidate_bp=1,
        candidate_role=CandidateRole.CANARY,
        shadow=house.served(3),
    )
    for version in ("1", "2"):
        status, answer = infer(TENSORS, f"/v2/models/{MODEL}/versions/{version}/infer")
        assert (status, answer["model_version"], answer["parameters"]) == (200, version, {"reason": "named"})
    assert ask("GET", f"/v2/models/{MODEL}/versions/2")[1]["versions"] == ["1", "2"]
    for version in ("3", "4"):
        status, answer = infer(TENSORS, f"/v2/models/{MODEL}/versions/{version}/infer")
        assert status == 404
        assert "does not serve now; these do: 1 and 2" in answer["error"]
        assert ask("GET", f"/v2/models/{MODEL}/versions/{version}/ready")[0] == 404


def test_what_callers_choose_themselves_is_no_evidence_for_either_side(house: Protocols) -> None:
    infer(TENSORS, f"/v2/models/{MODEL}/versions/1/infer")
    assert (house.captures.offered[0].arm, house.captures.offered[0].reason) == ("named", "named")


def test_a_version_named_and_broken_is_replaced_by_the_fallback_which_says_so(house: Protocols) -> None:
    broken = house.served(2)
    house.artifacts.objects[broken.artifact_key] = b"something else"
    house.route(champion=house.served(1), candidate=broken, candidate_bp=5_000, fallback=house.fallback())
    status, answer = infer(TENSORS, f"/v2/models/{MODEL}/versions/2/infer")
    assert status == 200, answer
    assert "model_version" not in answer
    assert answer["parameters"]["why"] == "not_loadable"
    assert answer["parameters"]["detail"].startswith("the requested version should have answered")
    assert outputs(answer)["fallback"]["data"] == [True, True]
    assert (house.captures.offered[0].arm, house.meter.counts.get("CandidateErrors")) == ("named", None)


def test_a_killed_model_has_no_version_to_ask_for(house: Protocols) -> None:
    house.route(champion=house.served(1), fallback=house.fallback(), killed=True)
    status, answer = infer(TENSORS, f"/v2/models/{MODEL}/versions/1/infer")
    assert status == 404
    assert "these do: none" in answer["error"]
    assert outputs(infer(TENSORS)[1])["score"]["data"] == [0.25, 0.25]


def test_server_and_models_say_what_they_are(house: Protocols, monkeypatch: pytest.MonkeyPatch) -> None:
    _, shown, _ = ask("GET", f"/v2/models/{MODEL}")
    assert (shown["name"], shown["versions"]) == (MODEL, ["1"])
    assert [(tensor["name"], tensor["datatype"]) for tensor in shown["inputs"]] == [
        ("distance", "FP64"),
        ("hour", "INT64"),
        ("holiday", "BOOL"),
        ("carrier", "BYTES"),
    ]
    answered = outputs(infer(TENSORS)[1])
    assert [tensor["name"] for tensor in shown["outputs"]] == list(answered)
    for tensor in shown["outputs"]:
        assert tensor["datatype"] == answered[tensor["name"]]["datatype"]
    assert ask("GET", f"/v2/models/{MODEL}/ready")[:2] == (200, {"name": MODEL, "ready": True})
    assert ask("GET", "/v2/health/ready")[:2] == (200, {"ready": True})
    assert ask("GET", "/v2/models/nobody/ready")[0] == 404
    monkeypatch.setattr(function, "wire", lambda: pytest.fail("liveness needs nothing"))
    assert ask("GET", "/v2/health/live")[:2] == (200, {"live": True})
    assert ask("GET", "/v2")[1]["name"] == "tidegate"


def test_a_regression_has_its_value_as_score_and_the_ends_of_its_interval(house: Protocols) -> None:
    contract = Contract(MODEL, "regression", FEATURES, interval=PredictionInterval(0.9, 2.0))
    house.route(champion=house.served(1, contract))
    answered = outputs(infer(TENSORS)[1])
    assert list(answered) == ["id", "score", "lower", "upper"]
    assert [tensor["name"] for tensor in ask("GET", f"/v2/models/{MODEL}")[1]["outputs"]] == list(answered)


# MLflow


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": list(GOOD), "index": [3, 4], "data": [[*GOOD.values()], [*OTHER.values()]]}},
        {"dataframe_records": [GOOD, OTHER]},
        {"instances": [GOOD, OTHER]},
        {"inputs": [GOOD, OTHER]},
        {"inputs": {name: [GOOD[name], OTHER[name]] for name in GOOD}},
        {"instances": [GOOD, OTHER | {"carrier": float("nan")}], "params": {"routing_key": 7}},
    ],
)
def test_every_form_of_mlflow_gets_the_same_predictions(house: Protocols, body: dict[str, Any]) -> None:
    status, answer, _ = ask("POST", f"/models/{MODEL}/invocations", body)
    assert status == 200, answer
    assert without_ids(answer["predictions"]) == plain(GOOD, OTHER)
    assert (answer["model"], answer["version"], answer["reason"]) == (MODEL, 1, "champion")
    assert house.captures.offered[0].instances == [GOOD, OTHER]


def test_csv_is_read_by_the_kinds_of_the_features(house: Protocols) -> None:
    text = "carrier,hour,holiday,distance\r\nUA,7,False,100.5\r\n,9.0,true,4000\r\n"
    for body in (text, ("\ufeff" + text).encode()):
        status, answer, _ = ask(
            "POST", f"/models/{MODEL}/invocations", body, content_type="text/csv; header=present; charset=utf-8"
        )
        assert status == 200, answer
        assert without_ids(answer["predictions"]) == plain(GOOD, OTHER)
    status, answer, headers = ask("POST", f"/models/{MODEL}/invocations", "hour\nlate\n", content_type="text/csv")
    assert (status, headers["content-type"]) == (422, "application/problem+json")
    assert {"path": "instances[0].hour", "problem": "is a text, not a number"} in answer["errors"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ([], ""),
        ({}, ""),
        ({"instances": [GOOD], "inputs": [GOOD]}, ""),
        ({"instances": [GOOD], "surprise": 1}, ""),
        ({"instances": [GOOD], "params": {"temperature": 1}}, "params"),
        ({"instances": {}}, "instances"),
        ({"instances": []}, "instances"),
        ({"inputs": [GOOD] * 6}, "inputs"),
        ({"inputs": {}}, "inputs"),
        ({"inputs": {"hour": 7}}, "inputs"),
        ({"inputs": {"hour": [7], "distance": [1, 2]}}, "inputs"),
        ({"inputs": [[1, 2]]}, "instances[0]"),
        ({"dataframe_split": []}, "dataframe_split"),
        ({"dataframe_split": {"columns": ["hour"]}}, "dataframe_split.data"),
        ({"dataframe_split": {"columns": [1], "data": [[1]]}}, "dataframe_split.columns"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 1]]}}, "dataframe_split.columns"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}, "dataframe_split.data[1]"),
        ({"dataframe_records": [GOOD, GOOD | {"hour": 99}]}, "instances[1].hour"),
    ],
)
def test_what_is_no_scoring_request_is_refused_by_place(house: Protocols, body: Any, path: str) -> None:
    status, answer, headers = ask("POST", f"/models/{MODEL}/invocations", body)
    assert (status, headers["content-type"]) == (422, "application/problem+json")
    assert path in {fault["path"] for fault in answer["errors"]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 422),
        ("hour\n", 422),
        ("hour,hour\n1,2\n", 422),
        ("hour\n1,2\n", 422),
        ('hour\n"1', 400),
        (b"hour\n\xff\n", 400),
    ],
)
def test_what_is_no_csv_is_refused(house: Protocols, body: Any, status: int) -> None:
    assert ask("POST", f"/models/{MODEL}/invocations", body, content_type="text/csv")[0] == status
    assert ask("POST", f"/models/{MODEL}/predict", body, content_type="text/csv")[0] == 415


@given(st.binary(max_size=200))
def test_no_bytes_break_a_reader(body: bytes) -> None:
    for read in (
        lambda: open_inference.read_request(body, max_instances=5),
        lambda: mlflow_protocol.read_request(body, max_instances=5),
        lambda: mlflow_protocol.read_csv(body, lambda: Cells({"hour": "integer"}), max_instances=5),
    ):
        with contextlib.suppress(RequestInvalidError):
            read()


def test_a_column_that_the_contract_does_not_name_holds_numbers_where_all_its_cells_are() -> None:
    request = mlflow_protocol.read_csv(b"a,b,c\n1,x,1_0\n,2,3\n", lambda: Cells({}), max_instances=5)
    assert request.instances == [{"a": 1, "b": "x", "c": "1_0"}, {"a": None, "b": "2", "c": "3"}]


# Routes and documents


def test_every_protocol_follows_the_routing_key(house: Protocols) -> None:
    house.route(champion=house.served(1), candidate=house.served(2), candidate_bp=5_000)
    for key in map(str, range(6)):
        said = {
            ask("POST", f"/models/{MODEL}/predict", {"instances": [GOOD], "routing_key": key})[1]["version"],
            ask("POST", f"/models/{MODEL}/predict", {"instances": [GOOD]}, x_tidegate_routing_key=key)[1]["version"],
            ask("POST", f"/models/{MODEL}/invocations", {"inputs": [GOOD], "params": {"routing_key": key}})[1][
                "version"
            ],
            int(infer(TENSORS, parameters={"routing_key": key})[1]["model_version"]),
        }
        assert len(said) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/models/{MODEL}/predict", 405),
        ("POST", f"/v2/models/{MODEL}", 405),
        ("POST", "/health", 405),
        ("GET", f"/models/{MODEL}/versions/1", 404),
        ("POST", f"/v2/models/{MODEL}/predict", 404),
        ("GET", f"/v2/models/{MODEL}/versions/one", 404),
        ("GET", "/v3", 404),
    ],
)
def test_other_paths_and_methods_are_refused(house: Protocols, method: str, path: str, status: int) -> None:
    found, answer, headers = ask(method, path)
    assert found == status
    wanted = "application/json" if path.startswith("/v2") else "application/problem+json"
    assert headers["content-type"] == wanted
    assert answer.get("error") or answer["detail"]


def test_the_document_has_every_route_of_the_function_and_one_model_has_its_contract(house: Protocols) -> None:
    _, general, _ = ask("GET", "/openapi.json")
    there = {
        f"{method.upper()} {path}"
        for path, item in general["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert there == function.ROUTES.keys() | function.ALONE.keys()
    _, own, _ = ask("GET", f"/models/{MODEL}/openapi.json")
    assert own["openapi"].startswith("3.1")
    instance = own["components"]["schemas"]["Instance"]
    assert instance["required"] == ["distance", "hour", "holiday"]
    assert instance["properties"]["distance"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 5000,
        "description": "in miles",
    }
    assert instance["properties"]["carrier"] == {"type": ["string", "null"], "enum": ["AA", "UA", "", None]}
    assert (instance["properties"]["hour"]["minimum"], instance["properties"]["hour"]["maximum"]) == (0, 23)
    assert ask("GET", "/models/nobody/openapi.json")[0] == 404


def test_the_examples_of_a_models_document_are_answered(house: Protocols) -> None:
    _, own, _ = ask("GET", f"/models/{MODEL}/openapi.json")
    asked = 0
    for path, item in own["paths"].items():
        for media, body in item.get("post", {}).get("requestBody", {}).get("content", {}).items():
            status, answer, _ = ask("POST", path.replace("{version}", "1"), body["example"], content_type=media)
            assert status == 200, (path, media, answer)
            asked += 1
    assert asked == 5


def test_the_page_shows_each_operation_and_loads_nothing(house: Protocols) -> None:
    for path in ("/docs", f"/models/{MODEL}/docs"):
        status, html, headers = ask("GET", path)
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "invocations" in html
        assert not any(mark in html for mark in ("<script", "src=", "http://", "@import"))


def test_names_of_a_contract_cannot_break_the_page() -> None:
    described = {
        "task": "binary",
        "classes": [False, True],
        "features": [{"name": "<script>", "kind": "categorical", "categories": ["</pre>"], "missing": "reject"}],
    }
    html = openapi_page.page(openapi.document("1", 5, "m", described))
    assert "<script>" not in html
    assert html.count("</pre>") == html.count("<pre>")


def test_a_plain_prediction_imports_no_protocol() -> None:
    code = (
        "import sys, functions.inference.handler; print(*(n for n in sys.modules if n.startswith('tidegate.domain')))"
    )
    root = Path(__file__).parents[3]
    path = f"{root / 'layers/core/python'}:{root}"
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONPATH": path}
    )
    loaded = set(run.stdout.split())
    assert loaded.isdisjoint({f"tidegate.domain.{name}" for name in ("open_inference", "mlflow_protocol", "openapi")})
