"""Versions and datasets from before declarations existed are read as they were: what they mean does not change."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tests.documents.forms import FOLDER
from tidegate.aws.items import decode
from tidegate.cli.inputs import from_csv
from tidegate.domain.batch.batch import Part
from tidegate.domain.data.dataset import DECLARED, GUESSED, ColumnType, DatasetVersion, Reading
from tidegate.domain.serving.contract import Contract
from tidegate.formats import mlflow_protocol
from tidegate.kernel.values import MISSING
from tidegate.ml.batches import rows_of
from tidegate.ml.frames import PandasReader

Row = Mapping[str, Any]


def contract(schema: int) -> Contract:
    """Of a served version, as an artifact of its time has it."""
    return Contract.from_json(json.loads((FOLDER / "serving-contract" / f"{schema}.json").read_text("utf-8")))


def in_batch(of: Contract, text: str) -> Row:
    data = text.encode()
    part = Part(0, "a.csv", "", data.index(b"\n") + 1, len(data), 0, 1)
    rows = rows_of("csv", part, len(data), of, ids=(), fetch=lambda start, stop: data[start:stop])
    return {each.name: rows.given[each.name].value(0, each.kind) for each in of.features}


def on_the_command_line(of: Contract, text: str) -> Row:
    features = [{"name": each.name, "kind": each.kind} for each in of.features]
    said = {"missing_words": of.missing_words, "decimal": of.decimal, "time_format": of.time_format}
    row: Row = from_csv({"features": features} | said, text).instances[0]
    return row


def by_mlflow(of: Contract, text: str) -> Row:
    row: Row = mlflow_protocol.read_csv(text.encode(), lambda: of.cells, max_instances=1).instances[0]
    return row


@pytest.mark.parametrize("read", [in_batch, on_the_command_line, by_mlflow])
@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ("02134,1e1,3.0", ("02134", 10.0, 3)),
        ("True,-2.5,007", ("True", -2.5, 7)),
        ("1.0,.5,3", ("1.0", 0.5, 3)),
        *((f"{word},{word},{word}", (None, None, None)) for word in sorted(MISSING)),
        ("unknown,31/12/2013,-999", ("unknown", "31/12/2013", -999)),  # words were not declared
        ('"1,5","1,5",3', ("1,5", "1,5", 3)),  # nor were commas
    ],
)
def test_a_served_version_of_schema_1_reads_a_cell_as_it_was_trained(
    read: Callable[[Contract, str], Row], cells: str, wanted: tuple[Any, ...]
) -> None:
    row = read(contract(1), f"line,wind,stops\n{cells}\n")
    assert tuple(row[name] for name in ("line", "wind", "stops")) == wanted


def test_a_served_version_of_schema_2_keeps_its_words_and_has_points_and_iso_times() -> None:
    found = contract(2)
    assert (found.decimal, found.time_format) == (".", "")
    words = json.loads((FOLDER / "serving-contract" / "2.json").read_text("utf-8"))["missing_words"]
    assert list(found.missing_words) == words


OLD = b"zip,flag,code,word,truth\n02134,True,1.0,NA,yes\n00501,False,,x,no\n"


def reading(schema: int) -> Reading:
    return decode(
        DatasetVersion, json.loads((FOLDER / "dataset-version" / f"{schema}.json").read_text("utf-8"))
    ).reading


def test_a_dataset_version_of_schema_1_is_read_by_guesses_for_good() -> None:
    assert reading(1) == GUESSED
    frame = PandasReader().read({"a.csv": OLD}, reading(1), {"zip": "categorical", "code": "categorical"})
    table = frame.table(frame.types, as_text=["zip", "flag", "code", "word"])
    assert table["zip"].tolist() == ["2134", "501"]
    assert table["flag"].tolist() == ["true", "false"]
    assert table["code"].tolist() == ["1", ""]
    assert table["word"].tolist() == ["", "x"]
    assert frame.types["truth"] is ColumnType.TEXT


def test_the_same_file_added_today_is_read_by_what_is_declared() -> None:
    frame = PandasReader().read({"a.csv": OLD}, DECLARED, {"zip": "categorical", "code": "categorical"})
    table = frame.table(frame.types, as_text=["zip", "code", "word"])
    assert table["zip"].tolist() == ["02134", "00501"]
    assert table["code"].tolist() == ["1.0", ""]
    assert table["word"].tolist() == ["NA", "x"]


def test_a_dataset_version_of_schema_2_has_points_and_iso_times() -> None:
    found = reading(2)
    assert (found.rules > 1, found.decimal, found.time_format) == (True, ".", "")
    assert not np.isnan(PandasReader().read({"a.csv": b"n\n1.5\n"}, found).table(["n"])["n"]).any()
