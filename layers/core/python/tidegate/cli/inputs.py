"""What commands read of a file or a pipe: instances of JSON or CSV, and outcomes."""

import csv
import io
import sys
from pathlib import Path
from typing import Any

from tidegate.cli.tool import Tool, reading
from tidegate.kernel import strict_json, values
from tidegate.kernel.errors import Fault, InvalidInputError
from tidegate.kernel.values import Cells


def text_of(source: str, advice: str) -> str:
    """A file's text, or standard input's for -.

    Raises:
        InvalidInputError: it cannot be read, or is a terminal; then with this `advice`.
    """
    if source != "-":
        with reading(source):
            return Path(source).read_text(encoding="utf-8-sig")
    if sys.stdin.isatty():
        raise InvalidInputError("there is no input", next_step=advice)
    with reading("standard input"):
        return sys.stdin.read().removeprefix("\ufeff")


def instances_of(tool: Tool, model: str, text: str, advice: str) -> list[dict[str, Any]]:
    """The objects of JSON, JSON lines or CSV.

    Raises:
        InvalidInputError: it is none of them, or there is none; then with this `advice`.
    """
    instances = _from_json(text.lstrip()) if is_json(text) else from_csv(tool, model, text)
    if not instances:
        raise InvalidInputError("the input has no instances", next_step=advice)
    return instances


def is_json(text: str) -> bool:
    """Whether it is JSON or JSON lines, by its first character; else it is CSV."""
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


def from_csv(tool: Tool, model: str, text: str) -> list[dict[str, Any]]:
    """Instances of CSV, each cell read by the kind of its feature. Raises InvalidInputError."""
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        names, rows = list(reader.fieldnames or ()), list(reader)
    except csv.Error as error:
        raise InvalidInputError(f"the input is neither JSON nor CSV: {error}") from None
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise InvalidInputError("the CSV header is wrong", [Fault(name, "is named twice") for name in twice])
    uneven = [Fault(f"row {at}", "has a different number of fields than the header") for at, row in enumerate(rows, 1)
              if None in row or None in row.values()]  # fmt: skip
    if uneven:
        raise InvalidInputError("the CSV rows do not fit the header", uneven[:20])
    if not rows:
        return []
    cells = Cells.of(tool.client.served(model))
    columns = {name: cells.column(name, [row[name] for row in rows]) for name in rows[0]}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def outcome_of(text: str, *, numeric: bool) -> bool | float | str | None:
    """The value that a CSV text stands for. Classes are compared by their text, so only truth values need a type."""
    if not text.strip():
        return None
    if numeric:
        try:
            return values.read("numeric", text)
        except values.NotAValueError:
            return text
    return text.lower() == "true" if text.lower() in {"true", "false"} else text
