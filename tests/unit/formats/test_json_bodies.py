"""Whatever stands in a body, the caller gets an answer that says what is wrong: what is no JSON is 400, and nothing is
a fault of ours."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from functions.feedback import handler as feedback
from functions.inference import handler as inference
from tests.builders.control_api import World, event, wired
from tests.builders.feedback import FeedbackFunction, prediction
from tests.builders.json_bodies import CONSTANTS, bodies
from tests.builders.serving import MODEL, Serving, onnx
from tests.context import CONTEXT
from tidegate import wiring
from tidegate.control.call import Reading, resource
from tidegate.kernel.routes import CONTROL, SERVING, Route

NAMES = {"dataset": "flights", "model": MODEL, "run": "r-1", "version": "1"}
TAKE_NAN = frozenset({"invocations", "v2.infer", "v2.version_infer"})  # as pandas and MLServer write it
WRITES = [route for table in (CONTROL, SERVING) for route in table.values() if route.method in {"POST", "PUT"}]
SERVED_ABOUT = {
    "predict": b'{"instances": [{"distance": %b, "carrier": "UA"}]}',
    "invocations": b'{"dataframe_split": {"columns": ["distance", "carrier"], "data": [[%b, "UA"]]}}',
    "v2.infer": b'{"inputs": [{"name": "distance", "datatype": "FP64", "shape": [1], "data": [%b]}]}',
    "v2.version_infer": b'{"id": %b, "inputs": [], "parameters": {}}',
    "feedback": b'{"feedback": [{"id": "' + prediction().encode() + b'", "outcome": %b}]}',
    "corrections": b'{"id": %b, "outcome": true}',
}


def about(route: Route) -> Callable[[bytes], bytes]:
    """A document of a route with a value in each of its fields, or in the one that is named in `SERVED_ABOUT`."""
    if route.name in SERVED_ABOUT:
        return lambda value: SERVED_ABOUT[route.name] % value
    asked = resource(route)
    fields = list(asked.body.model_fields) if isinstance(asked, Reading) else ["description"]
    return lambda value: b"{" + b", ".join(b'"%b": %b' % (name.encode(), value) for name in fields) + b"}"


Sent = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Callable[[Route], Sent]:
    """What answers a route's requests, over parts in memory."""

    def sender(route: Route) -> Sent:
        if route.name in CONTROL:
            world = World()
            world.with_model()

            def control(request: dict[str, Any]) -> dict[str, Any]:
                with wired(world):
                    return world.answer(request).raw

            return control
        if route.name in {"feedback", "corrections"}:
            house = FeedbackFunction()
            house.settings = replace(house.settings, max_body_bytes=str(2**20))
            monkeypatch.setattr(wiring, "of", lambda _: house)
            return lambda request: feedback.handler(request, CONTEXT)
        serving = Serving(max_body_bytes=2**20)
        serving.release(1, onnx(0.0))
        monkeypatch.setattr(inference, "wire", lambda: serving.parts)
        return lambda request: inference.handler(request, CONTEXT)

    return sender


def asked(route: Route) -> dict[str, Any]:
    path = route.address(*(NAMES[name] for name in route.names))
    return event(route.method, path) | {"routeKey": route.key, "pathParameters": NAMES}


@pytest.mark.parametrize("route", WRITES, ids=[route.name for route in WRITES])
def test_every_body_gets_an_answer_that_names_the_fault(route: Route, send: Callable[[Route], Sent]) -> None:
    answered = send(route)
    wrong = []
    for name, body, is_json in bodies(about(route)):
        encoded = {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        answer = answered(asked(route) | encoded)
        status, said = answer["statusCode"], json.loads(answer["body"])
        problems = [fault["problem"] for fault in said.get("errors", ())] or [said.get("error")]
        problems = problems if status in {400, 422} else [said.get("detail")]
        unnamed = status >= 400 and not all(problems)
        if status >= 500 or unnamed or not (is_json or status == 400 or excused(route, name, status, body)):
            wrong.append(f"{name}: {status} {said.get('detail')} {problems}"[:200])
    assert not wrong, "\n".join(wrong)


def excused(route: Route, name: str, status: int, body: bytes) -> bool:
    """What is no JSON and still something: a spec, which is YAML; a body that may be left out; a NaN of pandas."""
    if route.name == "models.apply_model":
        return status in {200, 422} or (status == 413 and len(body) > 2**18)
    if not body and isinstance(asked := resource(route), Reading) and asked.optional:
        return status != 422  # that of its defaults, which may be about what is not there
    return name in CONSTANTS and route.name in TAKE_NAN


@pytest.mark.parametrize("route", WRITES, ids=[route.name for route in WRITES])
def test_half_a_pair_of_surrogates_that_arrives_as_text_is_400(route: Route, send: Callable[[Route], Sent]) -> None:
    answer = send(route)(asked(route) | {"body": '{"gate": "\ud83d"}'})
    assert answer["statusCode"] in ({400, 422} if route.name == "models.apply_model" else {400})
