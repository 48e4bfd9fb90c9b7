"""What commands read of a file or a pipe: instances of JSON or CSV, and outcomes."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.cli.tool import reading
from tidegate.formats import csv_lines
from tidegate.kernel import english, strict_json, values
from tidegate.kernel.errors import Fault, InvalidInputError
from tidegate.kernel.fault_words import did_you_mean
from tidegate.kernel.values import Cells


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a file: `instances` have values, and `given` is the same as it stands in the file, in CSV texts. What
    JSON has in place of an object is left for the API to refuse."""

    instances: list[Any]
    given: list[Any]

    @property
    def columns(self) -> list[str]:
        """Names in the rows, in the order in which they come."""
        return list(dict.fromkeys(name for row in self.given if isinstance(row, dict) for name in row))


def text_of(source: str, advice: str) -> str:
    """A file's text, or standard input's for -.

    Raises:
        InvalidInputError: it cannot be read, or is a terminal; then with this `advice`.
    """
    if source != "-":
        with reading(source):
            return Path(source).read_bytes().decode("utf-8-sig")
    if sys.stdin.isatty():
        raise InvalidInputError("there is no input", next_step=advice)
    with reading("standard input"):
        return sys.stdin.buffer.read().decode("utf-8-sig")


def rows_of(described: Mapping[str, Any], text: str, advice: str) -> Rows:
    """The objects of JSON, JSON lines or CSV, for the version that `described` is about.

    Raises:
        InvalidInputError: it is none of them, or there is none; then with this `advice`.
    """
    if is_json(text):
        instances = _from_json(text.lstrip())
        rows = Rows(instances, instances)
    else:
        rows = from_csv(described, text)
    if not rows.instances:
        raise InvalidInputError("the input has no instances", next_step=advice)
    return rows


def features_alone(
    described: Mapping[str, Any], rows: Rows, kept: Sequence[str], *, advice: str = "rename or add these columns"
) -> tuple[list[Any], list[str]]:
    """What is sent of each row, and the names of the columns that no version asks for.

    Raises:
        InvalidInputError: the input lacks a column that the version needs in every row; or a column has nearly the
            name of a feature that is nowhere, and is not one of those to be `kept` as it is. With this `advice`.
    """
    columns = rows.columns
    features = {feature["name"]: feature["missing"] for feature in described["features"]}
    asked = features.keys() | set(described.get("also", ()))
    further = [name for name in columns if name not in asked]
    faults = list[Fault]()
    for name in features.keys() - columns if columns else ():
        near = did_you_mean(name, [other for other in further if other not in kept])
        if features[name] == "reject":
            faults.append(Fault(name, f"is not in the input, and the model needs it in every row{near}"))
        elif near:
            faults.append(Fault(name, f"is not in the input{near}"))
    if faults:
        raise InvalidInputError(
            "the input does not have the columns of the model",
            sorted(faults, key=lambda fault: list(features).index(fault.path)),
            next_step=advice,
        )
    sent = [
        {name: value for name, value in row.items() if name in asked} if isinstance(row, dict) else row
        for row in rows.instances
    ]
    return sent, further


def is_json(text: str) -> bool:
    """Whether it is JSON or JSON lines, by its first character; else it is CSV."""
    return text.lstrip()[:1] in {"[", "{"}


def _from_json(text: str) -> list[dict[str, Any]]:
    try:
        document = strict_json.read(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            document = [strict_json.read(line) for line in lines]
        except (ValueError, RecursionError):
            raise InvalidInputError("the input is not valid JSON", [Fault("", str(error))]) from None
    if isinstance(document, dict):
        document = document["instances"] if set(document) == {"instances"} else [document]
    if not isinstance(document, list):
        raise InvalidInputError("the input must be an array of objects")
    return document


def from_csv(described: Mapping[str, Any], text: str) -> Rows:
    """Rows of CSV, each cell read by the kind of its feature. Raises InvalidInputError."""
    try:
        names, *rows = csv_lines.read(text) or [[]]
    except csv_lines.NotCsvError as error:
        raise InvalidInputError(f"the input is neither JSON nor CSV: {error}") from None
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InvalidInputError("the CSV header is wrong", [Fault(name, "is named twice") for name in twice])
    width = english.count(len(names), "column")
    uneven = [
        Fault(f"row {at}", f"has {english.count(len(row), 'value')} for {width}")
        for at, row in enumerate(rows, 1)
        if len(row) != len(names)
    ]
    if uneven:
        raise InvalidInputError("the CSV rows do not fit the header", uneven[:20])
    if not rows:
        return Rows([], [])
    cells = Cells.of(described)
    columns = {name: cells.column(name, texts) for name, texts in zip(names, zip(*rows, strict=True), strict=True)}
    given = [dict(zip(names, row, strict=True)) for row in rows]
    return Rows([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)], given)


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
