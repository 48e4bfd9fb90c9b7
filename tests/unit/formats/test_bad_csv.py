"""Whatever is wrong with a CSV file, each reader names it, in bounded memory; none fails by itself."""

import resource
import subprocess
import sys
from typing import Any

import pytest

from tests.builders.bad_csv import FILES, HEADER, quoted_lines
from tidegate.cli.inputs import from_csv
from tidegate.domain.batch.batch import Part, Source
from tidegate.domain.batch.rows import Rows, suspects
from tidegate.domain.data.checks import Demands, column_faults, value_faults
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.domain.serving.prediction import validate
from tidegate.formats import mlflow_protocol
from tidegate.kernel.errors import DatasetInvalidError, InvalidInputError, RequestInvalidError
from tidegate.kernel.table import Table
from tidegate.ml import batches
from tidegate.ml.frames import PandasReader

FEATURES = (
    FeatureContract("number", "numeric", missing="allow"),
    FeatureContract("word", "categorical", missing="allow"),
)
CONTRACT = Contract("m", "regression", FEATURES)
SERVED = {"features": [{"name": each.name, "kind": each.kind} for each in FEATURES]}
MIB = 2**20


def dataset(data: bytes) -> str:
    """What `data add`, or the checks before training, say of the file."""
    kinds = {feature.name: feature.kind for feature in FEATURES}
    try:
        frame = PandasReader(512).read({"a.csv": data}, kinds=kinds)
        faults = column_faults(Demands("d", "regression", "id", FEATURES), frame.types)
        if not faults:
            table: Table = frame.table(kinds, as_text=["word"])
            faults = value_faults(FEATURES, table, table["number"] == table["number"])
    except DatasetInvalidError as error:
        return str(error)
    return "; ".join(map(str, faults))


def part(data: bytes) -> Rows:
    source = Source("a.csv", "e", len(data))
    _, start = batches.header(source, lambda first, stop: data[first:stop])
    whole = Part(1, "a.csv", "e", start, len(data), 1, data.count(b"\n"))
    return batches.rows_of("csv", whole, len(data), CONTRACT, ids=["id"], fetch=lambda first, stop: data[first:stop])


def batch(data: bytes) -> str:
    """What a batch says of the file, or of its rows."""
    try:
        rows = part(data)
    except DatasetInvalidError as error:
        return str(error)
    suspected = [row for row in range(rows.count) if suspects(CONTRACT, rows)[row]]
    return "; ".join(rows.broken.get(row) or refused([rows.instance(CONTRACT, row)]) for row in suspected)


def refused(instances: list[Any]) -> str:
    try:
        validate(CONTRACT, instances, also=frozenset({"id"}))
    except RequestInvalidError as error:
        return str(error)
    return ""


def invocations(data: bytes) -> str:
    """What the serving API says of the body."""
    try:
        return refused(mlflow_protocol.read_csv(data, lambda: CONTRACT.cells, max_instances=10_000).instances)
    except RequestInvalidError as error:
        return str(error)


def predict(data: bytes) -> str:
    """What `tidegate predict --input`, and then the API, say of the file."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "the file is not UTF-8 text"
    try:
        return refused(from_csv(SERVED, text).instances) if text.count("\n") > 1 else "the input has no instances"
    except InvalidInputError as error:
        return str(error)


@pytest.mark.parametrize("wrong", FILES)
def test_what_is_wrong_with_a_file_is_named_when_it_is_added_or_before_it_is_trained_on(wrong: str) -> None:
    data, said, _ = FILES[wrong]
    assert said in dataset(data)


@pytest.mark.parametrize("reader", [predict, invocations])
@pytest.mark.parametrize("wrong", [name for name in FILES if name not in {"nothing", "a header alone"}])
def test_what_is_wrong_with_a_request_s_csv_is_named(reader: Any, wrong: str) -> None:
    data, _, said = FILES[wrong]
    assert said in reader(data).replace("fields", "columns")


@pytest.mark.parametrize("wrong", [name for name in FILES if name not in {"nothing", "a header alone"}])
def test_what_is_wrong_in_a_batch_is_named(wrong: str) -> None:
    assert batch(FILES[wrong][0])


def test_a_good_row_beside_a_bad_one_is_scored() -> None:
    rows = part(FILES["cut inside a quote"][0])
    assert (rows.count, list(rows.broken)) == (3, [2])
    rows = part(HEADER + b"1,2.5,x\r2,3.5,y\n3,4.5,z\n")
    assert (rows.count, list(rows.broken)) == (2, [0])
    assert rows.instance(CONTRACT, 1) == {"number": 4.5, "word": "z"}


def test_cells_over_several_lines_are_read_alike() -> None:
    data = quoted_lines()
    wanted = [('a\n"b",\r\nc', 2.5), ("d\re", 3.5), (None, 4.5)]
    frame = PandasReader().read({"a.csv": data}, kinds={"word": "categorical"})
    table = frame.table(["word", "number"])
    assert [(text or None, number) for text, number in zip(table["word"], table["number"], strict=True)] == wanted
    rows = part(data)
    assert [tuple(rows.instance(CONTRACT, at)[name] for name in ("word", "number")) for at in range(3)] == wanted
    found = mlflow_protocol.read_csv(data, lambda: CONTRACT.cells, max_instances=10).instances
    assert [(each["word"], each["number"]) for each in found] == wanted
    assert [(each["word"], each["number"]) for each in from_csv(SERVED, data.decode()).instances] == wanted


def test_no_bad_file_takes_much_memory() -> None:
    code = "from tests.unit.formats.test_bad_csv import most; print(most())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after - before < 150


def most() -> str:
    """Peak memory in MiB before and after all files went through all readers."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    for data, _, _ in FILES.values():
        for reader in (dataset, batch, invocations, predict):
            reader(data)
    return f"{before} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}"
