"""DynamoDB's attribute values in answers, written as they are.

moto looks for each of the ten types in each value, by every name that one of its services may have for it: half of what
a query costs. A value says its type itself.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

from moto.core.model import StructureShape
from moto.core.serialize import BaseJSONSerializer


def replacements() -> Iterator[tuple[type, str, Callable[..., None]]]:
    """(class, method, what takes its place) of moto's JSON serializer."""
    original = BaseJSONSerializer._serialize_type_structure  # noqa: SLF001 - its one seam for a shape

    def structure(
        serializer: BaseJSONSerializer, serialized: dict[str, Any], value: Any, shape: StructureShape, key: str
    ) -> None:
        if shape.name == "AttributeValue" and isinstance(value, dict):
            serialized[serializer.get_serialized_name(shape, key)] = _written(value)
        else:
            original(serializer, serialized, value, shape, key)

    yield BaseJSONSerializer, "_serialize_type_structure", structure


def _written(value: dict[str, Any]) -> dict[str, Any]:
    ((kind, content),) = value.items()
    match kind:
        case "M":
            content = {name: _written(each) for name, each in content.items()}
        case "L":
            content = [_written(each) for each in content]
        case "B":
            content = base64.b64encode(content).decode()
        case "BS":
            content = [base64.b64encode(each).decode() for each in content]
    return {kind: content}
