"""The Open Inference Protocol, version 2, over REST: its documents in and out of Tidegate's own.

A request has one tensor for each feature, of shape [n] or [n, 1]; an answer one tensor for each part of a prediction.
Tensors travel as JSON, not as binary data. On the inference path, imported at the first request of this protocol:
standard library and numpy only, columns instead of rows.

https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from tidegate.domain.serving.prediction import (
    MAX_FAULTS,
    PredictionRequest,
    demand_count,
    read_json,
    routing_key,
    wrap_hint,
)
from tidegate.kernel import english
from tidegate.kernel.errors import Fault, RequestInvalidError
from tidegate.kernel.values import class_name

Document = dict[str, Any]

PLATFORM = "tidegate_onnx"
BINARY_HEADER = "inference-header-content-length"  # of a request with binary tensors
OUTPUTS = ("id", "label", "score", "probabilities", "lower", "upper", "fallback", "rule", "unusual", "why")
MAX_ID = 256  # characters of a request's own id
_KEY = "parameters.routing_key"
_BITS = (8, 16, 32, 64)
_RANGES = {f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in _BITS} | {
    f"UINT{bits}": (0, 2**bits - 1) for bits in _BITS
}
_HOLDS: Mapping[str, frozenset[type]] = {
    "BOOL": frozenset({bool}),
    "BYTES": frozenset({str}),
    "FP32": frozenset({int, float}),
    "FP64": frozenset({int, float}),
    **dict.fromkeys(_RANGES, frozenset({int})),
}
_DATATYPES = {"numeric": "FP64", "integer": "INT64", "boolean": "BOOL"}  # of features by kind; BYTES for others
_OF_TYPE: Mapping[type, str] = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}
_NOTHING = frozenset({type(None)})


def server(version: str) -> Document:
    """What `GET /v2` returns."""
    return {"name": "tidegate", "version": version, "extensions": []}


def metadata(model: str, described: Mapping[str, Any], versions: Sequence[int]) -> Document:
    """What `GET /v2/models/{model}` returns: the tensors of a request and of an answer.

    Args:
        model: its name.
        described: what `Inference.describe` says of it.
        versions: those that a request may name.
    """
    inputs = [
        {"name": feature["name"], "datatype": _DATATYPES.get(feature["kind"], "BYTES"), "shape": [-1]}
        for feature in described["features"]
    ]
    classes = described["classes"]
    outputs: list[Document] = [{"name": "id", "datatype": "BYTES", "shape": [-1]}]
    if classes:
        outputs.append({"name": "label", "datatype": _datatype(classes), "shape": [-1]})
    outputs.append({"name": "score", "datatype": "FP64", "shape": [-1]})
    if classes:
        names = {"classes": json.dumps([class_name(label) for label in classes])}
        shape = [-1, len(classes)]
        outputs.append({"name": "probabilities", "datatype": "FP64", "shape": shape, "parameters": names})
    if "interval" in described:
        outputs += [{"name": name, "datatype": "FP64", "shape": [-1]} for name in ("lower", "upper")]
    return {
        "name": model,
        "versions": [str(version) for version in versions],
        "platform": PLATFORM,
        "inputs": inputs,
        "outputs": outputs,
    }


def read_request(body: bytes, *, max_instances: int) -> tuple[PredictionRequest, str | None, tuple[str, ...]]:
    """The instances of an inference request, the id it has of its own, and the outputs it wants (none: all of them).

    A null, and a NaN of an FP tensor, say that a value is missing. FP32 numbers are read as the shortest decimals that
    name them, so that a 0.1 is captured as 0.1.

    Raises:
        RequestInvalidError: 400 when the body is no JSON text in UTF-8, 422 when it is JSON of another shape. What a
            feature may hold is not looked at.
    """
    document = read_json(body, constants=True)
    if not isinstance(document, dict):
        raise _misshapen(Fault("", f"the body is not an object with a list `inputs`{_as_tensors(document)}"))
    if not document.keys() & {"inputs", "outputs", "id", "parameters"} and (hint := _as_tensors(document)):
        raise _misshapen(Fault("", f"the body is one instance, not an object with a list `inputs`{hint}"))
    request_id = document.get("id")
    if request_id is not None and (type(request_id) is not str or len(request_id) > MAX_ID):
        raise _misshapen(Fault("id", f"is not a text of at most {MAX_ID} characters"))
    parameters = _object(document.get("parameters") or {}, "parameters")
    tensors = _objects(document.get("inputs"), "inputs")
    wanted = _wanted(document.get("outputs"))
    columns: dict[str, list[Any]] = {}
    for place, tensor in enumerate(tensors):
        name = tensor.get("name")
        if type(name) is not str or name in columns:
            problem = "is also the name of an earlier input" if type(name) is str else "is required: a feature's name"
            raise _misshapen(Fault(f"inputs[{place}].name", problem))
        columns[name] = _column(tensor, f"inputs[{place}]")
    counts = {len(column) for column in columns.values()}
    if len(counts) != 1:
        raise _misshapen(Fault("inputs", "differ in the number of instances; all must have the same first dimension"))
    demand_count(counts.pop(), max_instances, "inputs")
    instances = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return PredictionRequest(instances, routing_key(parameters.get("routing_key"), _KEY)), request_id, wanted


def _as_tensors(given: Any) -> str:
    """What an instance, or a list of them, looks like in a request: its first field as a tensor."""
    first = given[0] if isinstance(given, list) and given else given
    if not wrap_hint(first, "%s"):
        return ""
    name, value = next(iter(first.items()))
    tensor = {"name": name[:128], "datatype": _OF_TYPE.get(type(value), "BYTES"), "shape": [1], "data": ["..."]}
    shown = json.dumps(tensor).replace('"..."', "...")
    return f'; give a tensor for each feature: {{"inputs": [{shown}{", ..." if len(first) > 1 else ""}]}}'


def write_answer(answer: Mapping[str, Any], request_id: str | None, wanted: Sequence[str]) -> Document:
    """The answer of `Inference.predict` as an inference response.

    Which version answered is its `model_version` (left out when the fallback did), why is among its parameters. Numbers
    are those of `POST /models/{model}/predict`. What only some predictions have is false, "" or null in the others;
    what none has is left out, wanted or not.
    """
    tensors = {tensor["name"]: tensor for tensor in _tensors(answer["predictions"])}
    version = {} if answer["version"] is None else {"model_version": str(answer["version"])}
    own = {} if request_id is None else {"id": request_id}
    said = {name: answer[name] for name in ("reason", "why", "detail") if name in answer}
    outputs = [tensors[name] for name in wanted or tensors if name in tensors]
    return {"model_name": answer["model"]} | version | own | {"parameters": said, "outputs": outputs}


def refused(problem: Mapping[str, Any]) -> Document:
    """A problem document (RFC 9457) as this protocol reports errors: in one text, with the same list beside it."""
    faults = problem.get("errors", ())
    listed = "; ".join(str(Fault(each["path"], each["problem"], tuple(each.get("allowed", ())))) for each in faults)
    said = f"{problem['detail']}: {listed}" if listed else str(problem["detail"])
    step = f" ({problem['next_step']})" if "next_step" in problem else ""
    return {"error": said + step} | ({"errors": faults} if faults else {})


def _column(tensor: Mapping[str, Any], path: str) -> list[Any]:
    """The values of an input tensor, None where one is missing."""
    datatype, shape, data = tensor.get("datatype"), tensor.get("shape"), tensor.get("data")
    if type(datatype) is not str or datatype not in _HOLDS:
        raise _misshapen(Fault(f"{path}.datatype", "is not a supported datatype", tuple(_HOLDS)))
    if not isinstance(shape, list) or not all(type(size) is int for size in shape) or shape[1:] not in ([], [1]):
        raise _misshapen(Fault(f"{path}.shape", "is not [n] or [n, 1], where n is the number of instances"))
    if not isinstance(data, list):
        raise _misshapen(Fault(f"{path}.data", "is required: a list; binary tensor data is not supported"))
    if set(map(type, data)) == {list}:
        data = list(chain.from_iterable(data))
    if [len(data)] != shape[:1]:
        raise _misshapen(
            Fault(f"{path}.data", f"holds {english.count(len(data), 'value')}, but the shape says otherwise")
        )
    least, most = _RANGES.get(datatype, (0, 0))
    fits = set(map(type, data)) - _NOTHING <= _HOLDS[datatype]
    if not fits or (datatype in _RANGES and not all(least <= value <= most for value in data if value is not None)):
        raise _misshapen(Fault(f"{path}.data", f"holds a value that is not {datatype}"))
    if datatype == "FP32":
        return _shortest(data)
    if datatype == "FP64":
        return [None if value is None or value != value else value for value in data]  # noqa: PLR0124  NaN
    return data


def _shortest(data: list[Any]) -> list[float | None]:
    """The shortest decimals that name float32 numbers; one too large for a float32 stays infinite."""
    clipped = [math.nan if value is None else _as_float(value) for value in data]
    with np.errstate(over="ignore"):
        decimals = np.array(clipped, dtype=np.float64).astype(np.float32).astype(np.str_).astype(np.float64)
    return [None if math.isnan(value) else value for value in decimals.tolist()]


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond 1.8e308
        return math.inf


def _wanted(outputs: Any) -> tuple[str, ...]:
    if outputs is None:
        return ()
    names = [output.get("name") for output in _objects(outputs, "outputs")]
    strange = [place for place, name in enumerate(names) if name not in OUTPUTS]
    if strange:
        faults = [Fault(f"outputs[{place}].name", "no such output", OUTPUTS) for place in strange[:MAX_FAULTS]]
        raise _misshapen(*faults)
    return tuple(dict.fromkeys(map(str, names)))


def _objects(value: Any, path: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        raise _misshapen(Fault(path, "is required: a list of tensors"))
    return value


def _object(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _misshapen(Fault(path, "is not an object"))
    return value


def _tensors(predictions: Sequence[Mapping[str, Any]]) -> list[Document]:
    """One tensor for each name that a prediction has, in the order of their first appearance."""
    count = len(predictions)
    names = dict.fromkeys(chain.from_iterable(predictions))
    found: list[Document] = []
    for name in names:
        values = [prediction.get(name) for prediction in predictions]
        if name == "probabilities":
            found.append(_probabilities(values))
            continue
        kinds = [value for value in values if value is not None]
        datatype = _datatype(kinds)
        if name == "label" and datatype == "BYTES":
            values = [None if value is None else class_name(value) for value in values]
        default = {"BOOL": False, "BYTES": ""}.get(datatype)
        data = [default if value is None else value for value in values]
        found.append({"name": name, "datatype": datatype, "shape": [count], "data": data})
    return found


def _probabilities(rows: Sequence[Mapping[str, float] | None]) -> Document:
    """A tensor [n, classes], row by row; the names of the classes are a JSON list among its parameters."""
    names = list(next(row for row in rows if row is not None))
    data = list(chain.from_iterable([None if row is None else row.get(name) for name in names] for row in rows))
    parameters = {"classes": json.dumps(names)}
    shape = [len(rows), len(names)]
    return {"name": "probabilities", "datatype": "FP64", "shape": shape, "parameters": parameters, "data": data}


def _datatype(values: Sequence[Any]) -> str:
    """Of values of one type; BYTES when labels have several."""
    kinds = set(map(type, values))
    return _OF_TYPE.get(kinds.pop(), "BYTES") if len(kinds) == 1 else "BYTES"


def _misshapen(*faults: Fault) -> RequestInvalidError:
    return RequestInvalidError("the request is not an inference request of the Open Inference Protocol", faults)
