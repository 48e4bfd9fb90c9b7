"""`tidegate predict`: score instances from a file or a pipe."""

import csv
import io
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import click

from tidegate.cli.tool import Command, Tool, pass_tool, reading
from tidegate.errors import Fault, InvalidInputError

ENOUGH_FAULTS = 50
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})


@click.command(cls=Command)
@click.argument("model")
@click.option("--input", "source", default="-", metavar="FILE", help="JSON, JSON lines or CSV; - is standard input.")
@click.option("--batch", default=100, show_default=True, type=click.IntRange(1, 10_000), help="Instances per request.")
@pass_tool
def predict(tool: Tool, model: str, source: str, batch: int) -> None:
    """Score instances with the version that MODEL serves.

    The input is a JSON array of objects (or {"instances": [...]}, or one object, or one object a line) or CSV with a
    header row. CSV texts become numbers and booleans as the model's contract says; an empty one is missing. Either all
    instances are scored or their faults are told.

    \b
    Example:
      echo '{"carrier": "UA", "hour": 7, "distance": 1400}' | tidegate predict flight-delay
      tidegate predict flight-delay --input flights.csv --json
    """
    from tidegate.cli import render

    text = _text(source)
    instances = _instances(tool, model, text)
    answers = []
    refused: list[InvalidInputError] = []
    for start in range(0, len(instances), batch):
        try:
            answers.append(tool.client.predict(model, instances[start : start + batch]))
        except InvalidInputError as error:
            refused.append(_of_the_whole(error, instances, start, rows=not _is_json(text)))
            if not error.faults or sum(len(each.faults) for each in refused) >= ENOUGH_FAULTS:
                break
    if refused:
        raise refused[0] if len(refused) == 1 else _of_all(refused)
    whole = answers[0] | {"predictions": [each for answer in answers for each in answer["predictions"]]}
    tool.answer(whole, lambda out: render.predictions(out, whole))


def _of_the_whole(error: InvalidInputError, instances: list[Any], start: int, *, rows: bool) -> InvalidInputError:
    """The faults of one request: places counted from the first instance of the input, or its row 1, and the values."""

    def moved(fault: Fault) -> Fault:
        found = re.fullmatch(r"instances\[(\d+)\](?:\.(.*))?", fault.path, re.DOTALL)
        if not found:
            return fault
        at, name = int(found[1]) + start, found[2]
        place = f"row {at + 1}" if rows else f"instances[{at}]"
        value = instances[at].get(name) if name else None
        named = isinstance(value, str | int | float) and fault.problem.startswith("is ")
        problem = f"{str(value)[:40]!r} {fault.problem}" if named else fault.problem
        return Fault(f"{place}.{name}" if name else place, problem, fault.allowed)

    return InvalidInputError(error.summary, [moved(fault) for fault in error.faults], next_step=error.next_step)


def _of_all(refused: list[InvalidInputError]) -> InvalidInputError:
    """One error of several requests' faults."""
    faults = [fault for error in refused for fault in error.faults]
    more = "; there may be more" if len(faults) >= ENOUGH_FAULTS else ""
    return InvalidInputError(f"{len(faults)} fault(s) in the instances{more}", faults, next_step=refused[0].next_step)


def _text(source: str) -> str:
    if source != "-":
        with reading(source):
            return Path(source).read_text(encoding="utf-8-sig")
    if sys.stdin.isatty():
        raise InvalidInputError("there is nothing to score", next_step="give --input FILE, or pipe JSON or CSV in")
    with reading("standard input"):
        return sys.stdin.read()


def _instances(tool: Tool, model: str, text: str) -> list[dict[str, Any]]:
    instances = _from_json(text.lstrip()) if _is_json(text) else _from_csv(tool, model, text)
    if not instances:
        raise InvalidInputError("the input holds no instance", next_step="see `tidegate predict --help`")
    return instances


def _is_json(text: str) -> bool:
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
        raise ValueError(f"{name} is not JSON; say null for a missing value")

    return json.loads(text, parse_constant=refuse)


def _from_csv(tool: Tool, model: str, text: str) -> list[dict[str, Any]]:
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise InvalidInputError(f"the input is neither JSON nor CSV: {error}") from None
    uneven = [Fault(f"row {at}", "has another number of fields than the header") for at, row in enumerate(rows, 1)
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
