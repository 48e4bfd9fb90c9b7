"""Dataclasses as DynamoDB items and back, by their type hints: one codec instead of code for each type.

    encode(run) -> {"model": {"S": "flight-delay"}, "status": {"S": "running"}, ...}
    decode(Run, item) -> run

- None is an absent attribute.
- A float becomes a number; one that DynamoDB cannot hold (NaN, infinite, beyond 1e±120) becomes its text.
- `Any` becomes JSON text, so 1 stays 1 and 1.0 stays 1.0.
- The number of a record's form (kernel/documents) is the attribute `schema`; a record without one has schema 1.
- A field whose JSON is longer than `PACK_BYTES` is stored compressed, so that profiles of wide tables and long specs
  stay below DynamoDB's 400 KB an item; what is larger even so is refused with `ItemTooLargeError`.
"""

import json
import types
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from tidegate.kernel.documents import StoredForm
from tidegate.kernel.errors import InvalidInputError, LedgerBrokenError

if TYPE_CHECKING:
    from boto3.dynamodb.types import TypeSerializer

    from tidegate.domain.registry.ledger import Link

T = TypeVar("T")
L = TypeVar("L", bound="Link")
Item = dict[str, Any]  # attribute names to DynamoDB attribute values

NULL = {"NULL": True}
PACK_BYTES = 32 * 1024
MAX_ITEM_BYTES = 400 * 1024 - 4 * 1024  # room for keys and names
_known_hints: dict[Any, dict[str, Any]] = {}


class ItemTooLargeError(InvalidInputError):
    """One record is larger than DynamoDB stores, even compressed."""


def encode(value: Any) -> Item:
    """All fields of a stored record as attribute values, with the number of its form.

    Raises:
        ItemTooLargeError: more than DynamoDB holds in one item.
    """
    parts = {name: attribute(type(value), name, getattr(value, name)) for name in _hints(type(value))}
    item = {name: part for name, part in parts.items() if part != NULL}
    item |= {name: {"N": str(number)} for name, number in _form(type(value)).mark().items()}
    size = sum(len(name) + _size(part) for name, part in item.items())
    if size > MAX_ITEM_BYTES:
        largest = max(item, key=lambda name: _size(item[name]))
        raise ItemTooLargeError(
            f"{type(value).__name__} takes {size:,} bytes, more than the {MAX_ITEM_BYTES:,} that one record may have",
            next_step=f"most of it is `{largest}` ({_size(item[largest]):,} bytes): shorten it",
        )
    return item


def attribute(cls: type, name: str, value: Any) -> Any:
    """One field of dataclass `cls` as an attribute value; raises TypeError for a field it does not have."""
    if name not in _hints(cls):
        raise TypeError(f"{cls.__name__} has no field {name!r}")
    plain = _plain(_hints(cls)[name], value)
    if isinstance(plain, (str, list, dict)):
        text = json.dumps(plain, separators=(",", ":"), default=str)
        if len(text) > PACK_BYTES:
            return {"B": zlib.compress(text.encode())}
    return _serializer().serialize(plain)


def chained(kind: type[L], chain: str, model: str, item: Item) -> L:
    """An entry of a chain, whose key ends in its number. Raises LedgerBrokenError: it is not as it was written."""
    seq = int(item["sk"]["S"].rpartition("#")[2])
    try:
        entry = decode(kind, item)
        if entry.seq != seq:
            raise ValueError(f"it says that it is entry {entry.seq}")
    except (ArithmeticError, AttributeError, TypeError, ValueError, zlib.error) as error:
        raise LedgerBrokenError(
            f"entry {seq} of the {chain} of {model} is corrupt: Tidegate did not write it",
            seq=seq,
            next_step="compare it with a backup of the table: docs/operations.md",
        ) from error
    return entry


@cache
def _serializer() -> "TypeSerializer":
    """boto3's, loaded when something is written: the inference function only reads, and does without boto3."""
    from boto3.dynamodb.types import TypeSerializer

    return TypeSerializer()


def decode(cls: type[T], item: Mapping[str, Any]) -> T:
    """Read what `encode` wrote; attributes that are no fields are passed over, absent fields take their default.

    Raises:
        NewerDocumentError: newer code wrote it.
    """
    form = _form(cls)
    upgrades = form.missing(int(item[form.field]["N"]) if form.field in item else 1)
    names = item if upgrades else _hints(cls)
    plain: Mapping[str, Any] = {name: _unpacked(_deserialized(item[name])) for name in names if name in item}
    for upgrade in upgrades:
        plain = upgrade(plain)
    built: T = _built(cls, plain)
    return built


def _form(cls: Any) -> StoredForm:
    """Of a class of stored records: its FORM."""
    form: StoredForm = cls.FORM
    return form


def _hints(cls: Any) -> dict[str, Any]:
    if cls not in _known_hints:
        hints = get_type_hints(cls)
        _known_hints[cls] = {field.name: hints[field.name] for field in fields(cls)}
    return _known_hints[cls]


def _deserialized(part: Mapping[str, Any]) -> Any:
    """An attribute value as Python has it; numbers exact."""
    ((kind, value),) = part.items()
    match kind:
        case "S" | "BOOL":
            return value
        case "N":
            return Decimal(value)
        case "L":
            return [_deserialized(entry) for entry in value]
        case "M":
            return {name: _deserialized(entry) for name, entry in value.items()}
        case "B":
            return bytes(value)
        case "NULL":
            return None
        case _:
            raise TypeError(f"no rule to read an attribute of type {kind}")


def _unpacked(value: Any) -> Any:
    return json.loads(zlib.decompress(value)) if isinstance(value, bytes) else value


def _plain(hint: Any, value: Any) -> Any:
    """Strings, numbers, booleans, lists and maps only, as boto3's serializer and JSON both take them."""
    hint = _without_none(hint)
    plain: Any
    if value is None:
        plain = None
    elif hint is Any:
        plain = json.dumps(value, separators=(",", ":"))
    elif is_dataclass(hint):
        plain = {name: _plain(part, getattr(value, name)) for name, part in _hints(hint).items()}
    elif get_origin(hint) is tuple:
        plain = [_plain(part, entry) for part, entry in zip(_members(hint, len(value)), value, strict=True)]
    elif get_origin(hint) is Mapping:
        plain = {str(key): _plain(get_args(hint)[1], entry) for key, entry in value.items()}
    elif issubclass(hint, Enum):
        plain = value.value
    elif issubclass(hint, datetime):
        plain = value.isoformat()
    elif hint is float:
        number = float(value)
        plain = Decimal(repr(number)) if number == 0 or 1e-120 < abs(number) < 1e120 else repr(number)
    elif hint in {str, bool, int}:
        plain = hint(value)
    else:
        raise TypeError(f"no rule to store a {hint}")
    return plain


def _value(hint: Any, plain: Any) -> Any:
    """The other way round; accepts what DynamoDB and what JSON makes of `_plain`."""
    hint = _without_none(hint)
    if plain is None:
        value = None
    elif hint is Any:
        value = json.loads(plain)
    elif is_dataclass(hint):
        value = _built(hint, plain)
    elif get_origin(hint) is tuple:
        value = tuple(_value(part, entry) for part, entry in zip(_members(hint, len(plain)), plain, strict=True))
    elif get_origin(hint) is Mapping:
        value = {key: _value(get_args(hint)[1], entry) for key, entry in plain.items()}
    elif issubclass(hint, datetime):
        value = datetime.fromisoformat(plain)
    else:
        value = hint(plain)
    return value


def _built(cls: Any, plain: Mapping[str, Any]) -> Any:
    hints = _hints(cls)
    values = {name: _value(hint, plain[name]) for name, hint in hints.items() if name in plain}
    for field in fields(cls):
        required = field.default is MISSING and field.default_factory is MISSING
        if required and field.name not in values and _without_none(hints[field.name]) is not hints[field.name]:
            values[field.name] = None
    return cls(**values)


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in {Union, types.UnionType}:
        members = [member for member in get_args(hint) if member is not type(None)]
        if len(members) == 1:
            return members[0]
        raise TypeError(f"no rule to store a {hint}")
    return hint


def _members(hint: Any, length: int) -> tuple[Any, ...]:
    members = get_args(hint)
    return (members[0],) * length if len(members) == 2 and members[1] is Ellipsis else members


def _size(part: Any) -> int:
    """Bytes of an attribute value as DynamoDB counts them, rounded up."""
    ((kind, value),) = part.items()
    match kind:
        case "S":
            return len(value.encode())
        case "B":
            return len(value)
        case "N":
            return 21
        case "L":
            return 3 + sum(1 + _size(entry) for entry in value)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size(entry) for name, entry in value.items())
        case _:
            return 1
