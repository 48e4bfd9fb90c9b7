"""The table of routes: what answers them, and that the client has a method for each."""

import inspect
import pkgutil
import re
from importlib import import_module

import pytest

import tidegate.control
from tidegate.cli import client
from tidegate.control.call import Reading, resource
from tidegate.kernel.routes import CONTROL, SERVING, Route

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
    called = set(re.findall(r'self\._(?:control|all)\(\s*"([a-z_.]+)"', inspect.getsource(client)))
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
