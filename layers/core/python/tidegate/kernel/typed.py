"""Frozen dataclasses to plain JSON and back, by the types of their fields; and the JSON Schema of that form.

    class Importance:
        feature: str
        loss: Annotated[Estimate, Stored(flat={"value": "drop"})]   # {"feature": ..., "drop": ..., "low": ..., ...}

A field is stored under its name and as its type says; `Stored` says otherwise. Names that a class does not know are
passed over when a document is read: which documents can be read is known by their number (`kernel.documents`).
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union

T = TypeVar("T")
_NAMES = {float: "number", int: "integer", str: "string", bool: "boolean", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Stored:
    """How a field is stored.

    Attributes:
        name: its name in the document; "differences.baseline" is a name inside a mapping.
        keys: names inside it that differ from those of its class.
        flat: its own fields lie beside the others, under these names where they differ.
        omit: it is left out while it has its default.
    """

    name: str = ""
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    flat: Mapping[str, str] | None = None
    omit: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    """A field: its type, its class where it has one, and how it is stored."""

    attribute: str
    path: tuple[str, ...]
    hint: Any
    optional: bool
    how: Stored
    default: Any

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def inner(self) -> Any:
        return next((each for each in typing.get_args(self.hint) if each is not type(None)), self.hint)

    @property
    def flat(self) -> dict[str, str]:
        """Where its own fields lie, by their names inside."""
        names = self.how.flat or {}
        return {each.name: names.get(each.name, each.name) for each in _parts(self.inner)}


@cache
def _parts(cls: Any) -> tuple[_Part, ...]:
    hints = typing.get_type_hints(cls, include_extras=True)
    found = []
    for each in dataclasses.fields(cls):
        hint, how = hints[each.name], Stored()
        if typing.get_origin(hint) is Annotated:
            hint, how = typing.get_args(hint)
        path = tuple((how.name or each.name).split("."))
        default = each.default if each.default_factory is MISSING else None
        found.append(_Part(each.name, path, hint, type(None) in typing.get_args(hint), how, default))
    return tuple(found)


def to_json(value: Any) -> Any:
    """Plain JSON of a dataclass, or of what its fields hold."""
    if is_dataclass(value):
        document: dict[str, Any] = {}
        for part in _parts(typing.cast("Any", type(value))):
            _write(document, part, getattr(value, part.attribute))
        return document
    if isinstance(value, Mapping):
        return {name: to_json(each) for name, each in value.items()}
    return [to_json(each) for each in value] if isinstance(value, tuple | list) else value


def _write(document: dict[str, Any], part: _Part, value: Any) -> None:
    if part.how.omit and value == part.default:
        return
    found = to_json(value)
    if part.how.flat is not None:
        document.update({stored: found and found[name] for name, stored in part.flat.items()})
        return
    for name in part.path[:-1]:
        document = document.setdefault(name, {})
    document[part.name] = _renamed(found, part.how.keys) if found and part.how.keys else found


def from_json(cls: type[T], document: Mapping[str, Any]) -> T:
    """Read what `to_json` wrote.

    Raises:
        ValueError: a field is missing that has no default.
    """
    given: dict[str, Any] = {}
    for part in _parts(typing.cast("Any", cls)):
        found = _read(part, document)
        if found is not MISSING:
            given[part.attribute] = found
        elif part.default is MISSING:
            raise ValueError(f"{cls.__name__} has no {'.'.join(part.path)}")
    return cls(**given)


def _read(part: _Part, document: Mapping[str, Any]) -> Any:
    if part.how.flat is not None:
        inside = {name: document[stored] for name, stored in part.flat.items() if stored in document}
        if any(value is not None for value in inside.values()):
            return from_json(part.inner, inside)
        return None if inside and part.optional else MISSING
    place: Any = document
    for name in part.path:
        if not isinstance(place, Mapping) or name not in place:
            return MISSING
        place = place[name]
    if place and part.how.keys:
        place = _renamed(place, {stored: name for name, stored in part.how.keys.items()})
    return _converted(part.hint, place)


def _converted(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in {Union, types.UnionType}:
        known = [each for each in inside if each is not type(None)]
        return _converted(known[0], value) if len(known) == 1 else value
    if origin is tuple:
        return tuple(_converted(inside[0], each) for each in value)
    if origin not in {None, Literal}:
        return {name: _converted(inside[1], each) for name, each in value.items()}
    return from_json(typing.cast("type", hint), value) if is_dataclass(hint) else value


def json_schema(cls: type) -> dict[str, Any]:
    """JSON Schema (2020-12) of the stored form; docstrings are its descriptions."""
    definitions: dict[str, Any] = {}
    whole = _object(cls, definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | whole | {"$defs": definitions}


def _object(cls: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": " ".join(cls.__doc__.split()), "type": "object"}
    schema |= {"properties": {}, "required": []}
    for part in _parts(cls):
        _describe(schema, part, definitions)
    return schema


def _describe(schema: dict[str, Any], part: _Part, definitions: dict[str, Any]) -> None:
    needed = part.default is MISSING and not part.how.omit
    if part.how.flat is not None:
        inner = _object(part.inner, definitions)
        for name, stored in part.flat.items():
            known, nullable = inner["properties"][name], part.optional and not part.how.omit
            schema["properties"][stored] = {"anyOf": [known, {"type": "null"}]} if nullable else known
        schema["required"] += [part.flat[name] for name in inner["required"] if needed]
        return
    for name in part.path[:-1]:
        if name not in schema["properties"]:
            schema["properties"][name] = {"type": "object", "properties": {}, "required": []}
            schema["required"].append(name)
        schema = schema["properties"][name]
    found = _type(part.hint, definitions)
    if part.how.keys:
        found = _object(part.inner, definitions)
        found["properties"] = _renamed(found["properties"], part.how.keys)
        found["required"] = [part.how.keys.get(name, name) for name in found["required"]]
        found = {"anyOf": [found, {"type": "null"}]} if part.optional else found
    schema["properties"][part.name] = found
    if needed:
        schema["required"].append(part.name)


def _type(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in {Union, types.UnionType}:
        return {"anyOf": [_type(each, definitions) for each in inside]}
    if origin is Literal:
        return {"enum": list(inside)}
    if origin is tuple:
        return {"type": "array", "items": _type(inside[0], definitions)}
    if origin is not None:
        return {"type": "object", "additionalProperties": _type(inside[1], definitions)}
    if is_dataclass(hint):
        name = typing.cast("type", hint).__name__
        if name not in definitions:
            definitions[name] = {}
            definitions[name] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{name}"}
    return {"type": _NAMES[hint]} if hint in _NAMES else {}


def _renamed(document: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in document.items()}
