"""Runs in the peers' own environment: what other projects' clients get from a served model.

    python clients.py URL MODEL rows.json      prints {"triton": ..., "kserve": ..., "mlflow": ...}

URL leads to the serving API, through whatever signs the requests. rows.json is a list of instances with all features.
"""

import asyncio
import importlib.util
import io
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import requests
import tritonclient.http as triton_http
from mlflow.pyfunc import scoring_server
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from tritonclient.utils import InferenceServerException


def _without_its_server(name: str) -> None:
    """Lets parts of kserve be imported without its __init__, which wants a Kubernetes client and a whole server."""
    found = importlib.util.find_spec(name)
    if found is None or found.submodule_search_locations is None:
        raise ImportError(name)
    package = ModuleType(name)
    package.__path__ = list(found.submodule_search_locations)
    sys.modules[name] = package


_without_its_server("kserve")
_scipy = ModuleType("scipy")  # MLflow's client does without scipy.sparse, but asks a package scipy for it
_scipy.__path__ = []
sys.modules["scipy"] = _scipy

from kserve.inference_client import InferenceRESTClient, RESTConfig  # noqa: E402
from kserve.protocol.infer_type import InferInput, InferRequest  # noqa: E402

_DTYPES = {"FP64": np.float64, "FP32": np.float32, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}


def _tensors(inputs: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[tuple[str, str, np.ndarray]]:
    """Name, datatype and values [n, 1] of each input; a missing number is NaN, for which an integer becomes FP64."""
    found = []
    for each in inputs:
        values, datatype = [row[each["name"]] for row in rows], each["datatype"]
        if datatype == "BYTES":
            values = ["" if value is None else value for value in values]
        elif datatype == "INT64" and None in values:
            datatype = "FP64"
        found.append((each["name"], datatype, np.array(values, dtype=_DTYPES[datatype])[:, None]))
    return found


def triton(url: str, model: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Triton's HTTP client, with JSON tensors."""
    client = triton_http.InferenceServerClient(url.removeprefix("http://"))
    shown = client.get_model_metadata(model)
    inputs = []
    for name, datatype, values in _tensors(shown["inputs"], rows):
        tensor = triton_http.InferInput(name, list(values.shape), datatype)
        inputs.append(tensor.set_data_from_numpy(values, binary_data=False))
    wanted = [triton_http.InferRequestedOutput(name, binary_data=False) for name in ("score", "probabilities")]
    some = client.infer(model, inputs, request_id="triton-1", outputs=wanted)
    every = client.infer(model, inputs, model_version=shown["versions"][0])
    try:
        client.infer(model, inputs[:1])
    except InferenceServerException as fault:
        refused = fault.message()
    return {
        "alive": [client.is_server_live(), client.is_server_ready(), client.is_model_ready(model)],
        "absent": client.is_model_ready(model, "999"),
        "server": client.get_server_metadata()["name"],
        "id": some.get_response()["id"],
        "version": some.get_response()["model_version"],
        "outputs": [output["name"] for output in some.get_response()["outputs"]],
        "scores": some.as_numpy("score").tolist(),
        "probabilities": list(some.as_numpy("probabilities").shape),
        "all_scores": every.as_numpy("score").tolist(),
        "labels": every.as_numpy("label").tolist(),
        "ids": every.as_numpy("id").tolist(),
        "refused": refused,
    }


async def kserve(url: str, model: str, rows: list[dict[str, Any]], inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """KServe's REST client."""
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        tensors = [
            InferInput(
                name,
                list(values.shape),
                datatype,
                data=[None if _nan(each) else each for each in values.ravel().tolist()],
            )
            for name, datatype, values in _tensors(inputs, rows)
        ]
        answer = await client.infer(url, InferRequest(model, tensors, request_id="kserve-1"), model_name=model)
        found = {output.name: output for output in answer.outputs}
        return {
            "alive": [
                await client.is_server_live(url),
                await client.is_server_ready(url),
                await client.is_model_ready(url, model),
            ],
            "absent": await client.is_model_ready(url, "nobody"),
            "id": answer.id,
            "scores": found["score"].as_numpy().tolist(),
            "labels": found["label"].data,
        }


def _nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def mlflow(url: str, model: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """MLflow's scoring client with a data frame, a list and JSON of the caller's own; and CSV, as its documentation has
    it."""
    client = ScoringServerClient("127.0.0.1", 0)
    client.url_prefix = f"{url}/models/{model}"
    frame = pd.DataFrame(rows)
    text = io.StringIO()
    frame.to_csv(text, index=False)
    csv = requests.post(
        f"{client.url_prefix}/invocations",
        data=text.getvalue(),
        headers={"Content-Type": scoring_server.CONTENT_TYPE_CSV},
        timeout=30,
    )
    forms = {
        "dataframe_split": client.invoke(frame),
        "inputs": client.invoke(rows),
        "dataframe_records": client.invoke(json.dumps({"dataframe_records": rows})),
        "instances": client.invoke(json.dumps({"instances": rows})),
        "columns": client.invoke(json.dumps({"inputs": {name: [row[name] for row in rows] for name in rows[0]}})),
        "csv": csv.json(),
    }
    predictions = forms["dataframe_split"].get_predictions()
    try:
        client.invoke(frame.iloc[:, :1])
    except Exception as fault:  # noqa: BLE001  the client raises no other class
        refused = str(fault)
    return {
        "scores": {name: [each["score"] for each in form["predictions"]] for name, form in forms.items()},
        "version": forms["dataframe_split"]["version"],
        "columns": list(predictions.columns),
        "refused": refused,
    }


def main() -> None:
    """Prints what each client got."""
    url, model, path = sys.argv[1:]
    rows = json.loads(Path(path).read_text())
    inputs = triton_http.InferenceServerClient(url.removeprefix("http://")).get_model_metadata(model)["inputs"]
    found = {
        "triton": triton(url, model, rows),
        "kserve": asyncio.run(kserve(url, model, rows, inputs)),
        "mlflow": mlflow(url, model, rows),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
