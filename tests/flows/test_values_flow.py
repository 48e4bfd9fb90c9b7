"""A table of awkward cells, trained on and scored through every way in: each cell means the same, to the last bit."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.flows.conftest import House, to_parquet
from tests.flows.rollouts import DIRECT, monitored
from tidegate.cli import exits
from tidegate.cli.inputs import from_csv
from tidegate.cli.main import main

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


@pytest.fixture
def shown(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """What the command line answers, as JSON."""
    keys = house.cloud.env()
    file = tmp_path / "cloud.json"
    state = {"endpoint_url": house.cloud.endpoint_url, "region": keys["AWS_DEFAULT_REGION"], "stage": "dev"}
    file.write_text(json.dumps(state | {"credentials": {name: keys[name] for name in keys if "ACCESS_KEY" in name}}))

    def run(*command: str) -> Any:
        capsys.readouterr()
        code = main(["--json", f"--local={file}", *command])
        answer = capsys.readouterr().out
        assert code == exits.OK, answer
        return json.loads(answer)

    return run


def test_every_way_in_reads_a_cell_as_training_did(
    house: House, awkward: pd.DataFrame, shown: Callable[..., Any], tmp_path: Path
) -> None:
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

    (tmp_path / "rows.csv").write_text(text)
    said = shown("predict", MODEL, "--input", str(tmp_path / "rows.csv"))
    assert [each["score"] for each in said["predictions"]] == wanted

    batch = scored(house, "csv", text.encode())
    assert [float(row["score"]) for row in csv.DictReader(io.StringIO(batch.decode()))] == wanted


def tensor(name: str, values: list[Any]) -> dict[str, Any]:
    kind = next(feature["kind"] for feature in FEATURES if feature["name"] == name)
    datatype = {"categorical": "BYTES", "numeric": "FP64", "integer": "INT64", "boolean": "BOOL"}[kind]
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": values}


def scored(house: House, kind: str, data: bytes, model: str = MODEL) -> bytes:
    """The first part of a batch over one file."""
    s3 = house.cloud.client("s3")
    bucket = house.cloud.client("ssm").get_parameter(Name="/tidegate/dev/data-bucket")["Parameter"]["Value"]
    s3.put_object(Bucket=bucket, Key=f"batch/{model}.{kind}", Body=data)
    output = f"s3://{bucket}/batch/{model}-{kind}/"
    house.client.start_batch(model, f"s3://{bucket}/batch/{model}.{kind}", output)
    batch = house.client.wait_for_batch(model, output, timeout_seconds=60)
    assert batch["status"] == "succeeded", batch
    assert batch["totals"]["faulty"] == 0
    body: bytes = s3.get_object(Bucket=bucket, Key=f"batch/{model}-{kind}/part-000001.{kind}")["Body"].read()
    return body


def test_parquet_of_the_same_values_gets_the_same_scores(house: House, awkward: pd.DataFrame) -> None:
    instances = from_csv(house.client.served(MODEL), awkward.to_csv(index=False)).instances
    wanted = [np.float32(each["score"]) for each in house.client.predict(MODEL, instances)["predictions"]]
    frame = pd.DataFrame(instances).assign(word=awkward["word"])  # the declared word is missing there too
    found = pd.read_parquet(io.BytesIO(scored(house, "parquet", to_parquet(frame))))
    assert found["score"].tolist() == wanted


def test_a_decimal_comma_and_a_format_of_times_are_read_everywhere_as_they_were_declared(
    house: House, shown: Callable[..., Any], tmp_path: Path
) -> None:
    model = "commas"
    price, days = np.round(CHANCE.gamma(4, 20, ROWS), 2), CHANCE.integers(0, 700, ROWS)
    when = pd.Timestamp("2024-03-01") + pd.to_timedelta(days, unit="D")
    sold = CHANCE.random(ROWS) < 1 / (1 + np.exp((price - 75) / 25 - (when.day_of_week >= 5)))
    frame = pd.DataFrame(
        {
            "price": [f"{value:.2f}".replace(".", ",") for value in price],
            "day": when.strftime("%d/%m/%Y"),
            "sold": np.where(sold, "yes", "no"),
        }
    )
    about = {"time": None, "decimal": ",", "time_format": "%d/%m/%Y"}
    version = house.register(model, frame.to_csv(index=False).encode(), **about)
    assert version["status"] == "ready", version["problem"]
    features = [{"name": "price", "kind": "numeric"}, {"name": "day", "kind": "time"}]
    computed = [{"name": "weekday", "expression": "weekday(day)"}]
    plain = {"dataset": model, "target": "sold", "positive_class": "yes", "time": None, "ids": [], "computed": computed}
    judged = {"baseline": {"kind": "prior"}, "fallback": {"kind": "prior"}, "gate": {"margin": 0.005, "min_rows": 500}}
    spec = house.spec(model, features=features, split={"holdout_fraction": 0.3}, release=DIRECT) | plain | judged
    for section in ("value", "monitoring", "rules"):
        spec.pop(section, None)
    house.client.apply_model(model, json.dumps(spec))
    run = house.over(model, house.client.start_run(model)["run"]["run_id"])
    assert run["status"] == "accepted", run["error"]

    asked = frame.head(SCORED).drop(columns="sold")
    instances = [
        {"price": float(value), "day": moment.isoformat()} for value, moment in zip(price[:SCORED], when, strict=False)
    ]
    wanted = [each["score"] for each in house.client.predict(model, instances)["predictions"]]
    assert len(set(wanted)) > 4
    text = asked.to_csv(index=False)
    assert '"' in text  # a comma that is no separator
    answer = json.loads(house.asked(f"/models/{model}/invocations", text.encode(), **{"content-type": "text/csv"}).data)
    assert [each["score"] for each in answer["predictions"]] == wanted
    (tmp_path / "rows.csv").write_text(text)
    said = shown("predict", model, "--input", str(tmp_path / "rows.csv"))
    assert [each["score"] for each in said["predictions"]] == wanted
    batch = scored(house, "csv", text.encode(), model)
    assert [float(row["score"]) for row in csv.DictReader(io.StringIO(batch.decode()))] == wanted


def test_an_outcome_is_the_same_class_however_it_is_spelt(
    house: House, awkward: pd.DataFrame, shown: Callable[..., Any], tmp_path: Path
) -> None:
    """The target is 1 or 0, so these are classes; "true" and "sold" are none and count for nothing."""
    instances = from_csv(house.client.served(MODEL), awkward.to_csv(index=False)).instances
    ids = [each["id"] for each in house.client.predict(MODEL, instances)["predictions"]]
    spelt: list[Any] = [1, 1.0, "1", "1.0", "01", " 1"]
    items = [{"id": each, "outcome": outcome} for each, outcome in zip(ids, [*spelt, "true", "sold"], strict=False)]
    said = house.client.feedback(MODEL, items)
    assert said == {"accepted": len(items), "of_no_class": 2}
    cells = ["0", "0.0", "00", "-0", "lost"]
    lines = [f"{each},{cell}" for each, cell in zip(ids[len(items) :], cells, strict=False)]
    (tmp_path / "outcomes.csv").write_text("\n".join(["id,outcome", *lines, ""]))
    found = shown("feedback", str(tmp_path / "outcomes.csv"), "--model", MODEL)
    assert (found["accepted"], found["of_no_class"]) == (len(cells), 1)
    monitored(house, MODEL)
    hours = house.client.model_health(MODEL)["verdicts"]["maturity"]["groups"]
    assert sum(each["labelled"] for each in hours) == len(spelt) + len(cells) - 1
