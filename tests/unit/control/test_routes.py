"""The table of routes: what answers them, and that the client has a method for each."""

import inspect
import json
import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import schemathesis

import tidegate.control
from tidegate.cli import api_reference, client
from tidegate.control.call import Reading, resource
from tidegate.kernel.routes import CONTROL, SERVING, Route

DOCS = Path(__file__).parents[3] / "docs"
RESOURCES = sorted({name.partition(".")[0] for name in CONTROL})


def test_no_route_is_there_twice() -> None:
    for table in (CONTROL, SERVING):
        assert len({route.key for route in table.values()}) == len(table)


def test_each_resource_is_a_module_and_each_function_in_it_answers_a_route() -> None:
    modules = {module.name for module in pkgutil.iter_modules(tidegate.control.__path__)}
    assert modules == {*RESOURCES, "call", "problems"}
    for name in RESOURCES:
        module = import_module(f"tidegate.control.{name}")
        found = {
            each
            for each, value in vars(module).items()
            if isinstance(value, Reading) or (inspect.isfunction(value) and value.__module__ == module.__name__)
        }
        assert {f"{name}.{each}" for each in found - {"acted"}} == {
            each for each in CONTROL if each.startswith(f"{name}.")
        }


def test_what_changes_something_says_what_body_it_takes() -> None:
    without = {
        name for name, route in CONTROL.items() if route.method != "GET" and not isinstance(resource(route), Reading)
    }
    assert without == {"models.apply_model"}  # a spec is a text of its own


def test_the_client_has_a_method_for_each_route() -> None:
    called = set(re.findall(r'self\._(?:control|listed)\(\s*"([a-z_.]+)"', inspect.getsource(client)))
    assert called == set(CONTROL)


def test_an_address_is_quoted_and_wants_all_its_names() -> None:
    route = Route("x", "GET /models/{model}/versions/{version}", frozenset(), "")
    assert route.address("a/b", "1") == "/models/a%2Fb/versions/1"
    assert (
        route.address("m", "1", at="2026-01-05T12:00+01:00") == "/models/m/versions/1?at=2026-01-05T12%3A00%2B01%3A00"
    )
    for wrong in (["m"], ["m", "1", "2"]):
        with pytest.raises(ValueError, match="zip"):
            route.address(*wrong)


def test_a_route_names_the_parameters_that_its_resource_reads() -> None:
    for route in CONTROL.values():
        answers = resource(route)
        source = inspect.getsource(answers.answer if isinstance(answers, Reading) else answers)
        read = {*re.findall(r'query\.get\("(\w+)"\)', source)}
        pages = {"after", "limit"} if "call.asked" in source else set()
        assert read <= set(route.query) <= read | pages, route.name
        assert ("after" in route.query) is bool(pages), route.name


def test_the_page_and_the_document_are_written_from_the_table() -> None:
    again = "write them again: see tidegate/cli/api_reference.py"
    assert (DOCS / "api.md").read_text("utf-8") == api_reference.page(), again
    assert json.loads((DOCS / "openapi-control.json").read_text("utf-8")) == api_reference.document(), again


def test_the_document_is_an_openapi_document_with_every_operation_and_every_body() -> None:
    document = api_reference.document()
    found: list[Any] = list(schemathesis.openapi.from_dict(document).get_all_operations())
    operations = [each.ok() for each in found]
    assert {(each.method.upper(), each.path) for each in operations} == {
        (route.method, route.path) for route in CONTROL.values()
    }
    (start,) = [each for each in operations if each.label == "POST /models/{model}/runs"]
    assert not start.body[0].is_required
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert named <= document["components"]["schemas"].keys()
