"""Runs in the environment of serving_mlflow.txt: cells as MLflow's scoring server reads CSV, by a model's signature.

    python values_mlflow.py cells.json     prints {"read": [...], "version": ...}

The file has pairs of a kind and a text. Each cell is a file of its own, so that one which is refused spoils no other.
"""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models.utils import _enforce_schema
from mlflow.pyfunc.scoring_server import parse_csv_input
from mlflow.types import ColSpec, Schema

TYPES = {"numeric": "double", "integer": "long", "boolean": "boolean", "categorical": "string", "time": "datetime"}
FAULT = "a fault"


def read(kind: str, text: str) -> Any:
    """A number, a truth value, a text, seconds since 1970, None for what is missing, or a fault."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([["id", "cell"], ["1", text]])
    schema = Schema([ColSpec("long", "id"), ColSpec(TYPES[kind], "cell", required=False)])
    try:
        cell = _enforce_schema(parse_csv_input(io.StringIO(out.getvalue()), schema), schema)["cell"].iloc[0]
    except MlflowException:
        return FAULT
    if pd.isna(cell):
        return None
    if kind == "time":
        return (pd.Timestamp(cell) - pd.Timestamp(0)) // pd.Timedelta(seconds=1)
    return cell if isinstance(cell, str) else cell.item() if hasattr(cell, "item") else cell


if __name__ == "__main__":
    cells = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps({"read": [read(kind, text) for kind, text in cells], "version": mlflow.__version__}))
