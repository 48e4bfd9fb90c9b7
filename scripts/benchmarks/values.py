"""Random cells through every reader: each gives the value that `kernel/values` says, or a fault where it says one.

Numbers, truth values, categories and times are drawn, valid and odd ones alike, and read as the cells of a dataset, of
a batch in S3, of `tidegate predict --input` and of MLflow's CSV: half of the files with a decimal comma and a format of
times that are declared. Beside them stand pandas' defaults, and Tidegate's reading of datasets that do not say how they
are read, and MLflow's own reader of CSV for a model with a signature of these kinds, which knows neither words that
mean missing, nor decimal commas, nor formats of times. MLflow runs in an environment of its own.
"""

import csv
import io
import json
import math
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from scripts.benchmarks import peers
from tidegate.cli.inputs import from_csv
from tidegate.domain.batch.batch import Part
from tidegate.domain.data.checks import TYPES_OF_KIND
from tidegate.domain.data.dataset import GUESSED, RULES, Reading
from tidegate.domain.serving.contract import Contract, FeatureContract, Kind
from tidegate.formats import mlflow_protocol
from tidegate.kernel.errors import DatasetInvalidError
from tidegate.kernel.expressions.times import seconds_of
from tidegate.kernel.values import MISSING, NotAValueError, read
from tidegate.ml.batches import rows_of
from tidegate.ml.frames import PandasReader

SUMMARY = "random numbers, truth values, categories and times through every reader: how many are read otherwise"
CELLS, QUICK_CELLS = 10_000, 2_000
WORDS = ("unknown", "-999")  # that people declare to mean missing
FAULT = "a fault"  # as peers/values_mlflow.py has it
COLUMNS = 50  # of one file, which has one row: each column is judged by its one cell
KINDS: tuple[Kind, ...] = ("numeric", "integer", "boolean", "categorical", "time")
PLAIN = Reading(RULES, WORDS)
EUROPEAN = Reading(RULES, WORDS, decimal=",", time_format="%d/%m/%Y")
_ODD = (
    *MISSING,
    *WORDS,
    "02134",
    "-999.0",
    "-9.99e2",
    "True",
    "true",
    "1.0",
    "1",
    "0",
    "yes",
    "No",
    "1_000",
    "1,5",
    "inf",
    "1e400",
    "1E5",
    "٣",
)

Cells = Sequence[tuple[Kind, str]]
Reader = Callable[[Cells, Reading], list[Any]]


def drawn(count: int, chance: random.Random) -> list[tuple[Kind, str]]:
    """So many cells: a kind and a text."""

    def text(kind: Kind) -> str:
        match chance.randrange(7):
            case 0:
                found = chance.choice(_ODD)
            case 1:
                found = str(chance.randint(-(10**6), 10**6))
            case 2:
                found = repr(chance.uniform(-1e3, 1e3))
            case 3:
                found = f"{chance.choice(('', '+', '-'))}{chance.randint(0, 99)}.{chance.choice(('', '0', '5', '25'))}"
            case 4:
                found = repr(chance.uniform(-1e3, 1e3)).replace(".", ",")
            case 5 if kind != "categorical":  # which is refused where each cell is a time
                day = date(chance.randint(1900, 2100), chance.randint(1, 12), chance.randint(1, 28))
                found = chance.choice((day.isoformat(), f"{day.day}/{day.month}/{day.year:04}"))
            case _:
                found = "".join(chance.choices("aB0. ,\"'-_é", k=chance.randint(1, 6))).strip() or "x"
        return found

    return [(kind, text(kind)) for kind in chance.choices(KINDS, k=count)]


def expected(cells: Cells, reading: Reading) -> list[Any]:
    """What the one reader of values says."""

    def one(kind: Kind, text: str) -> Any:
        try:
            found = read(kind, text, ("", *WORDS), decimal=reading.decimal, time_format=reading.time_format)
        except NotAValueError:
            return FAULT
        return _moment(found) if kind == "time" else found

    return [one(kind, text) for kind, text in cells]


def _moment(text: Any) -> Any:
    """Seconds since 1970, as the contract takes a time, or the fault that it finds."""
    return None if text is None else FAULT if (found := seconds_of(text)) is None else found


def _named(cells: Cells) -> list[tuple[str, tuple[Kind, str]]]:
    return [(f"c{place}", cell) for place, cell in enumerate(cells)]


def _csv(cells: Cells) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        zip(*((name, text) for name, (_, text) in _named(cells)), strict=True)
    )
    return out.getvalue().encode()


def _contract(cells: Cells, said: Reading) -> Contract:
    features = tuple(FeatureContract(name, kind) for name, (kind, _) in _named(cells))
    words = said.missing_words
    return Contract(
        "m", "regression", features, missing_words=words, decimal=said.decimal, time_format=said.time_format
    )


def _dataset(always: Reading | None = None) -> Reader:
    """By the declared reading, or always by the same."""

    def dataset(cells: Cells, said: Reading) -> list[Any]:
        kinds: dict[str, str] = {name: kind for name, (kind, _) in _named(cells)}
        frame = PandasReader().read({"a.csv": _csv(cells)}, always or said, kinds)
        table = frame.table(kinds, as_text=[name for name, kind in kinds.items() if kind == "categorical"])
        found = {name: _value(kind, table[name][0]) for name, kind in kinds.items()}
        # What training refuses by the type of the column.
        return [
            found[name] if found[name] is None or frame.types[name] in TYPES_OF_KIND[kind] else FAULT
            for name, kind in kinds.items()
        ]

    return dataset


def _value(kind: str, cell: Any) -> Any:
    """Of a table's column: what is no number there is a fault of the checks that follow."""
    if kind == "categorical":
        return str(cell) or None
    if isinstance(cell, np.datetime64):
        return None if np.isnat(cell) else int(cell.astype("datetime64[s]").astype(np.int64))
    if isinstance(cell, str):
        return FAULT if cell else None
    if math.isnan(cell):
        return None
    return FAULT if kind == "time" or math.isinf(cell) or (kind == "boolean" and cell not in {0, 1}) else float(cell)


def batch(cells: Cells, said: Reading) -> list[Any]:
    """A part of a file in S3."""
    data, contract = _csv(cells), _contract(cells, said)
    part = Part(0, "a.csv", "", data.index(b"\n") + 1, len(data), 0, 1)
    rows = rows_of("csv", part, len(data), contract, ids=(), fetch=lambda start, stop: data[start:stop])
    return _judged(cells, {name: rows.given[name].value(0, kind) for name, (kind, _) in _named(cells)})


def predict(cells: Cells, said: Reading) -> list[Any]:
    """`tidegate predict --input`."""
    features = [{"name": feature.name, "kind": feature.kind} for feature in _contract(cells, said).features]
    written = {"decimal": said.decimal, "time_format": said.time_format}
    served = {"features": features, "missing_words": ["", *WORDS]} | written
    return _judged(cells, from_csv(served, _csv(cells).decode()).instances[0])


def invocations(cells: Cells, said: Reading) -> list[Any]:
    """MLflow's protocol."""
    request = mlflow_protocol.read_csv(_csv(cells), lambda: _contract(cells, said).cells, max_instances=1)
    return _judged(cells, request.instances[0])


def _judged(cells: Cells, row: Mapping[str, Any]) -> list[Any]:
    return [_instance(kind, row[name]) for name, (kind, _) in _named(cells)]


def _instance(kind: str, value: Any) -> Any:
    """A text where none is wanted is refused by the contract, and so is what is beyond all numbers."""
    if kind == "time":
        return _moment(value)
    wrong = isinstance(value, str) and kind != "categorical"
    return FAULT if wrong or (isinstance(value, float) and math.isinf(value)) else value


def defaults(cells: Cells, _: Reading) -> list[Any]:
    """`pandas.read_csv` without options."""
    row = pd.read_csv(io.BytesIO(_csv(cells))).iloc[0]
    plain = ["" if pd.isna(cell) else cell if isinstance(cell, str) else float(cell) for cell in row]
    return [_value(kind, cell) for (kind, _), cell in zip(cells, plain, strict=True)]


OURS: Mapping[str, Reader] = {
    "dataset": _dataset(),
    "batch": batch,
    "predict --input": predict,
    "MLflow's CSV": invocations,
}
OTHERS: Mapping[str, Reader] = {"pandas.read_csv": defaults, "dataset before 0.2.0": _dataset(GUESSED)}


def read_otherwise(
    reader: Reader, cells: Cells, readings: Sequence[Reading] = (PLAIN, EUROPEAN)
) -> list[tuple[Kind, str, Any, Any]]:
    """Cells that the reader takes for something else: kind, text, what it should be, what it is."""
    found: list[tuple[Kind, str, Any, Any]] = []
    for start in range(0, len(cells), COLUMNS):
        some, said = cells[start : start + COLUMNS], readings[start // COLUMNS % len(readings)]
        try:
            got = reader(some, said)
        except DatasetInvalidError as error:
            got = [str(error)] * len(some)
        wanted = expected(some, said)
        found += [(*cell, want, have) for cell, want, have in zip(some, wanted, got, strict=True) if want != have]
    return found


def mlflow_reads(cells: Cells) -> tuple[str, Reader] | None:
    """MLflow's reader by its version, for these cells in their order; None, and a line that says why, where it cannot
    be had."""
    if missing := peers.installed("serving_mlflow"):
        print(f"without MLflow: {missing}", file=sys.stderr)
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.json"
        path.write_text(json.dumps(cells))
        answer = peers.asked("serving_mlflow", str(path), script="values_mlflow")
    if "error" in answer:
        print(f"without MLflow: {answer['error']}", file=sys.stderr)
        return None
    values = iter(answer["read"])
    return f"MLflow {answer['version']}", lambda some, _: [next(values) for _ in some]


def run(*, quick: bool) -> dict[str, Any]:
    """Counts by reader, the same cells for each."""
    cells = drawn(QUICK_CELLS if quick else CELLS, random.Random(15))
    ours = {name: len(read_otherwise(reader, cells)) for name, reader in OURS.items()}
    peer = mlflow_reads(cells)
    others = {name: read_otherwise(reader, cells) for name, reader in [*OTHERS.items(), *([peer] if peer else [])]}
    return {
        "cells": len(cells),
        "readers_disagree": sum(ours.values()),
        "read_otherwise": ours | {name: len(each) for name, each in others.items()},
        "by_kind": {name: dict(Counter(kind for kind, *_ in each)) for name, each in others.items()},
    }


def failed(figures: Mapping[str, Any]) -> list[str]:
    """Readers of ours that take a cell for something else."""
    count = cast("int", figures["readers_disagree"])
    return [f"{count} cells are read otherwise"] if count else []


def tables(figures: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[Any]]]]:
    """One row a reader."""
    rows = [[name, f"{count:,}"] for name, count in figures["read_otherwise"].items()]
    return [(f"of {figures['cells']:,} cells", ["reader", "read otherwise"], rows)]
