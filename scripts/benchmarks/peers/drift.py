"""Runs in the peers' own environment: seconds in which a peer compares the rows of a file with its reference.

    python drift.py {evidently,nannyml} rows.npz     prints {"seconds": ..., "version": ...}

The file has arrays named `reference/<column>` and `current/<column>`: float64 and texts. Reading it into pandas, and
what a peer does once for a reference, are not in the seconds.
"""

import json
import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd


def frames(path: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reference and current rows."""
    with np.load(path) as found:
        columns: dict[str, dict[str, Any]] = {"reference": {}, "current": {}}
        for name in found.files:
            part, _, column = name.partition("/")
            values = found[name]
            columns[part][column] = pd.Series(values.astype(object)) if values.dtype.kind == "U" else values
    return pd.DataFrame(columns["reference"]), pd.DataFrame(columns["current"])


def evidently(reference: pd.DataFrame, current: pd.DataFrame) -> float:
    """The data drift preset with its defaults."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    texts = [name for name in reference if reference[name].dtype == object]
    definition = DataDefinition(
        numerical_columns=[name for name in reference if name not in texts], categorical_columns=texts
    )
    sets = [Dataset.from_pandas(each, data_definition=definition) for each in (current, reference)]
    started = time.perf_counter()
    Report([DataDriftPreset()]).run(*sets)
    return time.perf_counter() - started


def nannyml(reference: pd.DataFrame, current: pd.DataFrame) -> float:
    """The univariate drift calculator with its defaults, the rows as one chunk."""
    from nannyml import UnivariateDriftCalculator

    calculator = UnivariateDriftCalculator(column_names=list(reference), chunk_size=len(current))
    calculator.fit(reference)
    started = time.perf_counter()
    calculator.calculate(current)
    return time.perf_counter() - started


if __name__ == "__main__":
    tool, path = sys.argv[1:]
    taken = {"evidently": evidently, "nannyml": nannyml}[tool](*frames(path))
    print(json.dumps({"seconds": taken, "version": version(tool)}))
