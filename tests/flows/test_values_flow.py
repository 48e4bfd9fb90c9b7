"""A table of awkward cells, trained on and scored through every way in: each cell means the same, to the last bit."""

import csv
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.flows.conftest import House, to_parquet
from tests.flows.rollouts import DIRECT
from tidegate.cli.inputs import from_csv

MODEL, ROWS, SCORED = "awkward", 2_400, 100
CHANCE = np.random.default_rng(15)
FEATURES = [
    {"name": "zip", "kind": "categorical"},
    {"name": "flag", "kind": "categorical"},
    {"name": "code", "kind": "categorical", "missing": "allow"},
    {"name": "word", "kind": "categorical", "missing": "allow"},
    {"name": "number", "kind": "numeric", "missing": "allow"},
    {"name": "whole", "kind": "integer"},
    {"name": "truth", "kind": "boolean"},
]


def table() -> pd.DataFrame:
    """Texts as they stand in CSV. The target leans on the cells that readers used to take for something else."""
    cells = {
        "zip": CHANCE.choice(["02134", "00501", "10001", "94103"], ROWS),
        "flag": CHANCE.choice(["True", "False"], ROWS),
        "code": CHANCE.choice(["1.0", "2.0", ""], ROWS),
        "word": CHANCE.choice(["NA", "None", "unknown", "x"], ROWS),
        "number": np.where(CHANCE.random(ROWS) < 0.1, "NA", CHANCE.normal(size=ROWS).astype(str)),
        "whole": np.char.add(CHANCE.integers(0, 9, ROWS).astype(str), ".0"),
        "truth": CHANCE.choice(["yes", "No", "1", "0.0"], ROWS),
    }
    frame = pd.DataFrame(cells)
    leaning = (frame["zip"] == "02134") * 1.5 + (frame["word"] == "NA") * 1.5 - (frame["code"] == "1.0") * 1.5
    frame["bought"] = np.where(CHANCE.random(ROWS) < 1 / (1 + np.exp(-leaning)), "1", "0")
    return frame


@pytest.fixture(scope="module")
def awkward(house: House) -> pd.DataFrame:
    frame = table()
    content = frame.to_csv(index=False).encode()
    version = house.register("awkward", content, time=None, missing=["unknown"])
    assert version["status"] == "ready", version["problem"]
    assert any(hint.startswith("word: the text NA or None") for hint in version["hints"])
    plain: dict[str, Any] = {"dataset": "awkward", "target": "bought", "time": None, "ids": [], "positive_class": None}
    judged = {"baseline": {"kind": "prior"}, "fallback": {"kind": "prior"}, "gate": {"margin": 0.005, "min_rows": 500}}
    spec = house.spec(MODEL, features=FEATURES, split={"holdout_fraction": 0.3}, release=DIRECT) | plain | judged
    for section in ("value", "monitoring", "rules"):
        spec.pop(section, None)
    house.client.apply_model(MODEL, json.dumps({name: value for name, value in spec.items() if value is not None}))
    run = house.over(MODEL, house.client.start_run(MODEL)["run"]["run_id"])
    assert run["status"] == "accepted", run
    return frame.head(SCORED).drop(columns="bought")


def test_every_way_in_reads_a_cell_as_training_did(house: House, awkward: pd.DataFrame) -> None:
    text = awkward.to_csv(index=False)
    served = house.client.served(MODEL)
    assert served["missing_words"] == ["", "unknown"]
    categories = {feature["name"]: feature.get("categories") for feature in served["features"]}
    assert categories["zip"] == ["00501", "02134", "10001", "94103"]
    assert categories["word"] == ["NA", "None", "x"]
    assert categories["code"] == ["1.0", "2.0"]

    instances = from_csv(served, text).instances
    wanted = [each["score"] for each in house.client.predict(MODEL, instances)["predictions"]]
    assert len(set(wanted)) > 4

    answer = json.loads(house.asked(f"/models/{MODEL}/invocations", text.encode(), **{"content-type": "text/csv"}).data)
    assert [each["score"] for each in answer["predictions"]] == wanted
    tensors = {"inputs": [tensor(name, [row[name] for row in instances]) for name in map(str, awkward)]}
    answer = json.loads(house.asked(f"/v2/models/{MODEL}/infer", json.dumps(tensors).encode()).data)
    assert next(each["data"] for each in answer["outputs"] if each["name"] == "score") == wanted

    batch = scored(house, "csv", text.encode())
    assert [float(row["score"]) for row in csv.DictReader(io.StringIO(batch.decode()))] == wanted


def tensor(name: str, values: list[Any]) -> dict[str, Any]:
    kind = next(feature["kind"] for feature in FEATURES if feature["name"] == name)
    datatype = {"categorical": "BYTES", "numeric": "FP64", "integer": "INT64", "boolean": "BOOL"}[kind]
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": values}


def scored(house: House, kind: str, data: bytes) -> bytes:
    """The first part of a batch over one file."""
    s3 = house.cloud.client("s3")
    bucket = house.cloud.client("ssm").get_parameter(Name="/tidegate/dev/data-bucket")["Parameter"]["Value"]
    s3.put_object(Bucket=bucket, Key=f"batch/awkward.{kind}", Body=data)
    output = f"s3://{bucket}/batch/awkward-{kind}/"
    house.client.start_batch(MODEL, f"s3://{bucket}/batch/awkward.{kind}", output)
    batch = house.client.wait_for_batch(MODEL, output, timeout_seconds=60)
    assert batch["status"] == "succeeded", batch
    assert batch["totals"]["faulty"] == 0
    body: bytes = s3.get_object(Bucket=bucket, Key=f"batch/awkward-{kind}/part-000001.{kind}")["Body"].read()
    return body


def test_parquet_of_the_same_values_gets_the_same_scores(house: House, awkward: pd.DataFrame) -> None:
    instances = from_csv(house.client.served(MODEL), awkward.to_csv(index=False)).instances
    wanted = [np.float32(each["score"]) for each in house.client.predict(MODEL, instances)["predictions"]]
    frame = pd.DataFrame(instances).assign(word=awkward["word"])  # the declared word is missing there too
    found = pd.read_parquet(io.BytesIO(scored(house, "parquet", to_parquet(frame))))
    assert found["score"].tolist() == wanted
