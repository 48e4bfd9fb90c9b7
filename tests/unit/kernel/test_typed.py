"""Dataclasses to JSON and back, and the schema of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jsonschema
import pytest

from tidegate.kernel.typed import Stored, from_json, json_schema, to_json


@dataclass(frozen=True)
class Point:
    """A number with an end."""

    value: float
    high: float


@dataclass(frozen=True)
class Whole:
    """All ways of storing a field."""

    name: str
    points: tuple[Point, ...]
    by_name: Mapping[str, Point | None]
    beside: Annotated[Point, Stored(flat={"value": "drop"})]
    nulls: Annotated[Point | None, Stored(flat={"value": "a", "high": "b"})]
    below: Annotated[Point | None, Stored(name="inside.first", keys={"value": "estimate"})]
    renamed: Annotated[int, Stored(name="class")]
    kind: Literal["one", "two"] = "one"
    left_out: Annotated[Point | None, Stored(omit=True)] = None
    absent: Annotated[Point | None, Stored(flat={"value": "c", "high": "d"}, omit=True)] = None


WHOLE = Whole("w", (Point(1.0, 2.0),), {"x": Point(3.0, 4.0), "y": None}, Point(5.0, 6.0), None, Point(7.0, 8.0), 9)
STORED = {
    "name": "w",
    "points": [{"value": 1.0, "high": 2.0}],
    "by_name": {"x": {"value": 3.0, "high": 4.0}, "y": None},
    "drop": 5.0,
    "high": 6.0,
    "a": None,
    "b": None,
    "inside": {"first": {"estimate": 7.0, "high": 8.0}},
    "class": 9,
    "kind": "one",
}


def test_a_document_has_the_form_that_its_fields_say() -> None:
    assert to_json(WHOLE) == STORED
    assert from_json(Whole, json.loads(json.dumps(STORED))) == WHOLE


def test_what_may_be_left_out_is_read_where_it_is_there() -> None:
    given = STORED | {"left_out": {"value": 1.0, "high": 2.0}, "c": 0.0, "d": 1.0, "a": 2.0, "b": 3.0, "new": True}
    found = from_json(Whole, given)
    assert (found.left_out, found.absent, found.nulls) == (Point(1.0, 2.0), Point(0.0, 1.0), Point(2.0, 3.0))
    assert to_json(found) == {name: value for name, value in given.items() if name != "new"}


@pytest.mark.parametrize("name", ["name", "drop", "class", "inside"])
def test_a_field_that_is_missing_is_named(name: str) -> None:
    known = {"drop": "high", "inside": "inside.first"}.get(name, name)
    gone = {name, "high"} if name == "drop" else {name}
    with pytest.raises(ValueError, match="beside" if name == "drop" else known):
        from_json(Whole, {each: value for each, value in STORED.items() if each not in gone})


def test_the_schema_is_that_of_the_document() -> None:
    schema = json_schema(Whole)
    jsonschema.validate(STORED, schema)
    assert schema["description"] == "All ways of storing a field."
    assert set(schema["required"]) == set(STORED) - {"kind"}
    wrongs: list[dict[str, Any]] = [{"kind": "three"}, {"drop": "much"}, {"points": [{"value": 1.0}]}, {"inside": {}}]
    for wrong in wrongs:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(STORED | wrong, schema)
