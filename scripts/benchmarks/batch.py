"""How much of the bare runtime's speed is left when whole files are scored: read, checked, scored and written.

The model is the demo's, trained here on the flights of January to April; the rows are flights of the year, drawn with
replacement. The bare loop runs a session over tensors that are ready, in blocks of the same size. Both take turns, part
by part, in one thread; the seconds are those of the processor. What S3 and the network take is in neither.
"""

import io
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import yaml

from examples.flights.build_dataset import flights
from examples.flights.scene import HERE
from tidegate.domain.batch.batch import Format, Part, Source, row_group_parts
from tidegate.domain.serving import guard
from tidegate.domain.serving.contract import SCORES_OUTPUT, Contract, FeatureContract, Inputs
from tidegate.formats.csv_records import CsvCutter, records
from tidegate.kernel.table import TARGET, Table
from tidegate.ml import batches
from tidegate.ml.scoring import load
from tidegate.ml.training import OnnxFitter
from tidegate.spec.model import ModelSpec
from tidegate.steps.batch.work import BLOCK_ROWS, Answering, answer_rows

SUMMARY = "rows per second and core in batch predictions, compared with bare onnxruntime"
PART_ROWS = 100_000


def run(*, quick: bool) -> dict[str, Any]:
    """Rows a second of one core, for each format and for the bare loop, and their ratio."""
    rows = 200_000 if quick else 1_000_000
    year = flights()
    artifact, contract = _demo_model(year)
    drawn = year.sample(rows, replace=True, random_state=1).reset_index(drop=True)
    version = Answering.of(load(artifact), None)
    session = _bare(artifact)
    return {
        "rows": rows,
        "block_rows": BLOCK_ROWS,
        "artifact_bytes": len(artifact),
        "formats": {kind: _measured(kind, drawn, contract, version, session) for kind in ("parquet", "csv")},
    }


def tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """One row for each format."""
    yield (
        f"{figures['rows']:,} rows of the demo model, blocks of {figures['block_rows']:,}: rows a second of one core",
        ["format", "bare onnxruntime", "batch", "share", "reading", "checking and scoring", "writing"],
        [
            [
                kind,
                f"{found['bare_rows_per_s']:,}",
                f"{found['rows_per_s']:,}",
                f"{100 * found['share_of_bare']:.0f} %",
                *(f"{found['seconds'][step]:.2f} s" for step in ("read", "score", "write")),
            ]
            for kind, found in figures["formats"].items()
        ],
    )


def _demo_model(year: pd.DataFrame) -> tuple[bytes, Contract]:
    """The demo's second version: boosted trees, and the guard that goes with every version."""
    document = yaml.safe_load((HERE / "flight-delay-v2.yaml").read_text("utf-8"))
    spec = ModelSpec.parse(document)
    features = tuple(
        FeatureContract(
            name=each["name"],
            kind=each["kind"],
            minimum=each.get("min"),
            maximum=each.get("max"),
            categories=tuple(each["categories"]) if "categories" in each else None,
            unseen=each.get("unseen", "allow"),
            missing=each.get("missing", "reject"),
        )
        for each in document["features"]
    )
    contract = Contract("flight-delay", "binary", features, classes=(False, True))
    train = year[year["month"] <= 4]
    columns = {
        feature.name: train[feature.name].to_numpy(dtype=np.str_ if feature.kind == "categorical" else np.float64)
        for feature in features
    }
    table = Table(columns | {TARGET: train["late"].to_numpy(dtype=np.int64)})
    (candidate,) = spec.candidates
    learned = guard.fit(contract, contract.inputs(table), share=0.001, answer="model")
    contract = replace(contract, guard=learned)
    return OnnxFitter().export(spec, contract, candidate, table, []).onnx, contract


def _bare(artifact: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])


def _measured(
    kind: Format, drawn: pd.DataFrame, contract: Contract, version: Answering, session: onnxruntime.InferenceSession
) -> dict[str, Any]:
    data = _file(kind, drawn)
    seconds = dict.fromkeys(("read", "score", "write", "bare"), 0.0)
    for part in _parts(kind, data):
        began = time.process_time()
        rows = batches.rows_of(kind, part, len(data), contract, ids=["flight_id"], fetch=lambda a, b: data[a:b])
        read = time.process_time()
        found = answer_rows(version, rows)
        scored = time.process_time()
        batches.write(kind, part.first_row, rows, found, contract)
        written = time.process_time()
        seconds["read"] += read - began
        seconds["score"] += scored - read
        seconds["write"] += written - scored
        seconds["bare"] += _bare_seconds(session, contract, drawn.iloc[part.first_row - 1 :][: part.rows])
    ours, rows_in_all = seconds["read"] + seconds["score"] + seconds["write"], len(drawn)
    return {
        "rows_per_s": round(rows_in_all / ours),
        "bare_rows_per_s": round(rows_in_all / seconds["bare"]),
        "share_of_bare": round(seconds["bare"] / ours, 3),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def _bare_seconds(session: onnxruntime.InferenceSession, contract: Contract, frame: pd.DataFrame) -> float:
    numeric = frame[[feature.name for feature in contract.numeric]].to_numpy(dtype=np.float32)
    categorical = frame[[feature.name for feature in contract.categorical]].to_numpy(dtype=object)
    edges = [*range(0, len(frame), BLOCK_ROWS), len(frame)]
    feeds = [Inputs(numeric[start:stop], categorical[start:stop]).feed() for start, stop in pairwise(edges)]
    began = time.process_time()
    for feed in feeds:
        session.run([SCORES_OUTPUT], feed)
    return time.process_time() - began


def _file(kind: Format, frame: pd.DataFrame) -> bytes:
    if kind == "csv":
        return frame.to_csv(index=False).encode()
    file = io.BytesIO()
    frame.to_parquet(file, index=False, row_group_size=PART_ROWS)
    return file.getvalue()


def _parts(kind: Format, data: bytes) -> list[Part]:
    source = Source(f"rows.{kind}", "", len(data))
    if kind == "parquet":
        return row_group_parts(source, batches.row_groups(source, lambda start, stop: data[start:stop])[1], 1)
    _, start = batches.header(source, lambda start, stop: data[start:stop])
    cutter = CsvCutter(source, start, 1, 1)
    return [*cutter.take(records(data[start:], last=True)), *cutter.rest()]
