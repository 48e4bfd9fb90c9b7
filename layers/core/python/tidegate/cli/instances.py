"""Rows that a person sends as instances: from a file or a pipe, as JSON, JSON lines or CSV."""

import csv
import io
import math
import sys
from pathlib import Path
from typing import Any

from tidegate.cli.tool import Tool, reading
from tidegate.kernel import strict_json
from tidegate.kernel.errors import Fault, InvalidInputError

_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})


def text_of(source: str) -> str:
    """A file's text, or standard input's for -. Raises InvalidInputError."""
    if source != "-":
        with reading(source):
            return Path(source).read_text(encoding="utf-8-sig")
    if sys.stdin.isatty():
        raise InvalidInputError("the input has no instances", next_step="give --input FILE, or pipe in JSON or CSV")
    with reading("standard input"):
        return sys.stdin.read()


def instances_of(tool: Tool, model: str, text: str) -> list[dict[str, Any]]:
    """The objects of JSON, JSON lines or CSV; the cells of CSV are typed by the contract of the version that serves.

    Raises:
        InvalidInputError: there are none, or the text cannot be read.
    """
    instances = _from_json(text.lstrip()) if is_json(text) else _from_csv(tool, model, text)
    if not instances:
        raise InvalidInputError("the input has no instances", next_step="see `tidegate predict --help`")
    return instances


def is_json(text: str) -> bool:
    """Whether a text is JSON, and not CSV."""
    return text.lstrip()[:1] in {"[", "{"}


def _from_json(text: str) -> list[dict[str, Any]]:
    try:
        document = _strict(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            document = [_strict(line) for line in lines]
        except (ValueError, RecursionError):
            raise InvalidInputError("the input is not valid JSON", [Fault("", str(error))]) from None
    if isinstance(document, dict):
        document = document["instances"] if set(document) == {"instances"} else [document]
    if not isinstance(document, list):
        raise InvalidInputError("the input must be an array of objects")
    return document


def _strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON; use null for a missing value")

    return strict_json.read(text, parse_constant=refuse)


def _from_csv(tool: Tool, model: str, text: str) -> list[dict[str, Any]]:
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise InvalidInputError(f"the input is neither JSON nor CSV: {error}") from None
    uneven = [Fault(f"row {at}", "has a different number of fields than the header") for at, row in enumerate(rows, 1)
              if None in row or None in row.values()]  # fmt: skip
    if uneven:
        raise InvalidInputError("the CSV rows do not fit the header", uneven[:20])
    if not rows:
        return []
    kinds = _kinds(tool, model)
    return [{name: _typed(value, kinds.get(name, "categorical")) for name, value in row.items()} for row in rows]


def _kinds(tool: Tool, model: str) -> dict[str, str]:
    """Kind of each feature in the contract of the version that serves."""
    return {feature["name"]: feature["kind"] for feature in tool.client.served(model)["features"]}


def _typed(text: str, kind: str) -> object:
    """The value a CSV text stands for; one that is not of its kind stays text, for the contract to refuse."""
    if text == "":
        return None
    match kind:
        case "integer" | "numeric":
            try:
                number = int(text) if kind == "integer" else float(text)
            except ValueError:
                return text
            return number if math.isfinite(number) else text
        case "boolean" if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        case _:
            return text
