"""MLflow's scoring protocol (`POST .../invocations`): its bodies in, its answer out.

JSON with exactly one of `dataframe_split`, `dataframe_records`, `instances` and `inputs`, or CSV with a header. On the
inference path, imported at the first request of this protocol: standard library only, columns instead of rows.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/#json-input
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tidegate.domain.serving.prediction import (
    MAX_FAULTS,
    PredictionRequest,
    demand_count,
    read_json,
    routing_key,
    wrap_hint,
)
from tidegate.formats import csv_lines
from tidegate.kernel import english
from tidegate.kernel.errors import Fault, RequestInvalidError
from tidegate.kernel.values import Cells

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_KEY = "params.routing_key"
_RECORDS = '{"dataframe_records": [%s]}'


def read_request(body: bytes, *, max_instances: int) -> PredictionRequest:
    """The instances of a JSON body, a NaN in them as a missing value; `params` may hold a routing key.

    Raises:
        RequestInvalidError: 400 when the body is no JSON text in UTF-8, 422 when it is JSON of another shape. What a
            field may hold is not looked at.
    """
    document = read_json(body, constants=True)
    if not isinstance(document, dict):
        raise _misshapen(Fault("", f"the body is not an object{wrap_hint(document, _RECORDS)}", FORMATS))
    given = [name for name in FORMATS if name in document]
    if not given and (hint := wrap_hint(document, _RECORDS)):
        raise _misshapen(Fault("", f"the body is one instance{hint}", FORMATS))
    if len(given) != 1 or not document.keys() <= {*given, "params"}:
        raise _misshapen(Fault("", "give one field with the instances, and `params` if needed", FORMATS))
    params = document.get("params")
    if params is not None and (not isinstance(params, dict) or not params.keys() <= {"routing_key"}):
        raise _misshapen(Fault("params", "is not an object with nothing but a routing key", ("routing_key",)))
    (form,) = given
    value = document[form]
    if form == "dataframe_split":
        instances = _split(value, max_instances)
    elif form == "inputs" and isinstance(value, dict):
        instances = _columns(value, form, max_instances)
    else:
        instances = _records(value, form, max_instances)
    return PredictionRequest(instances, routing_key((params or {}).get("routing_key"), _KEY))


def read_csv(body: bytes, cells: Callable[[], Cells], *, max_instances: int) -> PredictionRequest:
    """The instances of a CSV body. Cells are read by the kind of their feature (`kernel/values`).

    Args:
        body: UTF-8 text with a header.
        cells: says how to read them; asked once the text is known to be CSV. A column whose kind is not known holds
            numbers where each cell is one, else texts.
        max_instances: that one request may have.

    Raises:
        RequestInvalidError: 400 when the body is no CSV in UTF-8, 422 when lines differ in length or the header repeats
            a name. What a field may hold is not looked at.
    """
    try:
        lines = csv_lines.read(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        fault = Fault("", f"byte {error.start} cannot be decoded")
        raise RequestInvalidError("the body is not valid UTF-8", [fault], status=400) from None
    except csv_lines.NotCsvError as error:
        raise RequestInvalidError("the body is not valid CSV", [Fault("", str(error))], status=400) from None
    header, rows = (lines[0], lines[1:]) if lines else ([], [])
    demand_count(len(rows), max_instances)
    _demand_names(header, "header")
    _demand_widths(rows, len(header), "instances")
    known = cells()
    columns = [known.column(name, texts) for name, texts in zip(header, zip(*rows, strict=True), strict=True)]
    return PredictionRequest(_instances(header, columns))


def write_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of `Inference.predict`: MLflow's clients look for `predictions`, and leave the rest alone."""
    return {"predictions": answer["predictions"]} | {key: answer[key] for key in answer if key != "predictions"}


def _split(value: Any, most: int) -> list[Any]:
    """`{"columns": [...], "data": [[...], ...]}`; an index is passed over."""
    if not isinstance(value, dict) or not value.keys() <= {"columns", "data", "index"}:
        raise _misshapen(Fault("dataframe_split", "is not an object with `columns` and `data`"))
    names, rows = value.get("columns"), value.get("data")
    if not isinstance(names, list) or not all(type(name) is str for name in names):
        raise _misshapen(Fault("dataframe_split.columns", "is required: a list of field names"))
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise _misshapen(Fault("dataframe_split.data", "is required: a list of rows, each a list of values"))
    demand_count(len(rows), most, "dataframe_split.data")
    _demand_names(names, "dataframe_split.columns")
    _demand_widths(rows, len(names), "dataframe_split.data")
    return _instances(names, [[_or_missing(cell) for cell in column] for column in zip(*rows, strict=True)])


def _records(value: Any, path: str, most: int) -> list[Any]:
    """A list of objects. What is no object among them is left for the contract to refuse."""
    if not isinstance(value, list):
        hint = wrap_hint(value, f'{{"{path}": [%s]}}')
        raise _misshapen(Fault(path, f"is not a list of objects, one for each prediction{hint}"))
    demand_count(len(value), most, path)
    return [
        {name: _or_missing(cell) for name, cell in each.items()} if isinstance(each, dict) else each for each in value
    ]


def _columns(value: Mapping[str, Any], path: str, most: int) -> list[Any]:
    """`{"field": [...], ...}`: the columns of a table."""
    if not all(isinstance(column, list) for column in value.values()):
        raise _misshapen(Fault(path, "is not an object of lists, one for each field"))
    counts = {len(column) for column in value.values()} or {0}
    if len(counts) != 1:
        raise _misshapen(Fault(path, "has lists of different lengths"))
    demand_count(counts.pop(), most, path)
    return _instances(list(value), [[_or_missing(cell) for cell in column] for column in value.values()])


def _instances(names: Sequence[str], columns: Sequence[Iterable[Any]]) -> list[Any]:
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _or_missing(cell: Any) -> Any:
    """pandas writes a missing value of a column of numbers as NaN."""
    return None if type(cell) is float and cell != cell else cell  # noqa: PLR0124


def _demand_names(names: Sequence[str], path: str) -> None:
    if not names or len(set(names)) < len(names):
        raise _misshapen(Fault(path, "is empty, or names a field twice"))


def _demand_widths(rows: Sequence[Sequence[Any]], width: int, path: str) -> None:
    faults = [
        Fault(f"{path}[{place}]", f"has {english.count(len(row), 'value')} for {english.count(width, 'field')}")
        for place, row in enumerate(rows)
        if len(row) != width
    ]
    if faults:
        raise _misshapen(*faults[:MAX_FAULTS])


def _misshapen(*faults: Fault) -> RequestInvalidError:
    return RequestInvalidError("the request is not a scoring request of MLflow's protocol", faults)
