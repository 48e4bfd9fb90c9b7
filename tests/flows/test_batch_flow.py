"""Whole files through the deployed batch machine: a row for each row, whatever is in them, whatever dies meanwhile."""

import csv
import hashlib
import io
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.flows.conftest import House, alarmed_on, instances_of, to_parquet
from tidegate.kernel.errors import ConflictError

ROWS = 20_000
ALARMS = ("batch-failed", "batch-errors")


@pytest.fixture(scope="module")
def bucket(house: House) -> str:
    found: str = house.cloud.client("ssm").get_parameter(Name="/tidegate/dev/data-bucket")["Parameter"]["Value"]
    return found


def put(house: House, bucket: str, key: str, data: bytes) -> str:
    house.cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=data)
    return f"s3://{bucket}/{key}"


def objects(house: House, bucket: str, prefix: str) -> dict[str, Any]:
    found = house.cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    return {each["Key"].removeprefix(prefix): each["LastModified"] for each in found}


def get(house: House, bucket: str, key: str) -> bytes:
    body: bytes = house.cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def rows_in(house: House, bucket: str, prefix: str) -> list[dict[str, str]]:
    names = sorted(name for name in objects(house, bucket, prefix) if name.startswith("part-"))
    texts = [get(house, bucket, prefix + name).decode() for name in names]
    return [row for text in texts for row in csv.DictReader(io.StringIO(text))]


def june(house: House, rows: int) -> pd.DataFrame:
    return house.flights[house.flights["month"] == 6].sample(rows, random_state=3, replace=True).reset_index(drop=True)


def test_every_row_of_a_folder_is_answered_as_a_request_is_also_after_parts_were_killed(
    house: House, served_model: str, bucket: str
) -> None:
    flights = june(house, ROWS).astype(object)
    flights.loc[7, "distance"] = -4
    flights.loc[8, "distance"] = "far"
    flights.loc[9, "origin"] = "LHR"
    flights.loc[10, "hour"] = 7.5
    flights.loc[11, "carrier"] = None
    pieces = np.array_split(np.arange(ROWS), 4)
    for number, piece in enumerate(pieces):
        text = flights.loc[piece].to_csv(index=False)
        if number == 1:
            text += "too,few\n"
        put(house, bucket, f"batch/june/{number}.csv", text.encode())
    source, output = f"s3://{bucket}/batch/june/", f"s3://{bucket}/batch/june-scored/"

    before_killing = alarmed_on(house, *ALARMS)
    answer = house.client.start_batch(served_model, source, output)
    assert not answer["resumed"]
    deadline = time.monotonic() + 90
    while (batch := house.client.batch(served_model, output))["status"] == "running":
        assert time.monotonic() < deadline
        house.cloud.kill("score")
        time.sleep(0.02)
    assert batch["status"] == "failed"
    assert "parts were not scored; part" in batch["reason"]
    assert "Runtime.ExitError" in batch["reason"]
    grown = {name for name, total in alarmed_on(house, *ALARMS).items() if total > before_killing[name]}
    assert grown == {"ExecutionsFailed", "Errors of tidegate-dev-score"}
    before = objects(house, bucket, "batch/june-scored/")

    assert house.client.start_batch(served_model, source, output)["resumed"]
    batch = house.client.wait_for_batch(served_model, output, timeout_seconds=90)
    assert (batch["status"], batch["attempt"]) == ("succeeded", 2)
    assert batch["totals"]["rows"] == ROWS + 1
    assert batch["totals"]["faulty"] == 6
    after = objects(house, bucket, "batch/june-scored/")
    kept = {name for name in before if name.startswith("part-")}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert not house.client.start_batch(served_model, source, output)["resumed"]
    acts = house.client.acts(served_model)["batches"]
    assert [(act["action"], act["attempt"], act["rows"]) for act in acts if act["output"] == output] == [
        ("batch_start", 1, None), ("batch_resume", 2, None), ("batch_complete", None, ROWS + 1),
    ]  # fmt: skip
    success = hashlib.sha256(get(house, bucket, "batch/june-scored/_SUCCESS.json")).hexdigest()
    assert success in {act["success_sha256"] for act in acts}
    assert house.client.verify_ledger(served_model)["batches"]["intact"]

    found = rows_in(house, bucket, "batch/june-scored/")
    assert len(found) == ROWS + 1
    del found[ROWS // 2]  # the broken line, at the end of the second object
    assert [row["flight_id"] for row in found] == flights["flight_id"].astype(str).tolist()
    faulty = {at: row["error"] for at, row in enumerate(found) if row["error"]}
    assert faulty == {
        7: "distance: is below the minimum 0 miles",
        8: "distance: is a text, not a number",
        9: "origin: is not a known category (allowed: EWR, JFK, LGA)",
        10: "hour: is not a whole number",
        11: "carrier: is null; the model needs a value",
    }
    assert not any(found[at]["score"] or found[at]["label"] for at in faulty)
    names = [feature["name"] for feature in house.client.served(served_model)["features"]]
    places = [*range(5), *range(12, 60)]
    asked = house.client.predict(served_model, instances_of(flights.loc[places], names))["predictions"]
    assert [float(found[at]["score"]) for at in places] == [each["score"] for each in asked]
    assert [found[at]["label"] == "true" for at in places] == [each["label"] for each in asked]
    sides = [get(house, bucket, f"batch/june-scored/_errors/part-00000{part}.csv").decode() for part in (1, 2)]
    lines = list(csv.DictReader(io.StringIO(sides[0])))
    assert [(line["row"], line["column"], line["value"]) for line in lines[:2]] == [
        ("8", "distance", "-4"), ("9", "distance", "far"),
    ]  # fmt: skip
    assert f"has 2 values for {len(flights.columns)} columns" in sides[1]


def test_parquet_in_is_parquet_out_in_the_order_of_its_rows(house: House, served_model: str, bucket: str) -> None:
    flights = june(house, 3_000)
    source = put(house, bucket, "batch/one/june.parquet", to_parquet(flights))
    output = f"s3://{bucket}/batch/one-scored"
    house.client.start_batch(served_model, source, output, ids=["flight_id", "dest"])
    batch = house.client.wait_for_batch(served_model, output, timeout_seconds=60)
    assert batch["status"] == "succeeded", batch
    data = get(house, bucket, "batch/one-scored/part-000001.parquet")
    found = pd.read_parquet(io.BytesIO(data))
    assert found["row"].tolist() == list(range(1, 3_001))
    assert found["dest"].tolist() == flights["dest"].tolist()
    asked = house.client.predict(served_model, house.instances(flights.head(50), served_model))["predictions"]
    assert [np.float32(each["score"]) for each in asked] == found["score"].head(50).tolist()
    assert found["error"].isna().all()


def test_an_output_belongs_to_one_batch_and_a_batch_stays_where_it_may_be(
    house: House, served_model: str, bucket: str
) -> None:
    source = put(house, bucket, "batch/small/a.csv", june(house, 20).to_csv(index=False).encode())
    output = f"s3://{bucket}/batch/small-scored/"
    house.client.start_batch(served_model, source, output)
    assert house.client.wait_for_batch(served_model, output, timeout_seconds=60)["status"] == "succeeded"
    put(house, bucket, "batch/small/a.csv", june(house, 30).to_csv(index=False).encode())
    with pytest.raises(ConflictError, match=r"a\.csv was changed, added or removed"):
        house.client.start_batch(served_model, source, output)


def test_faulty_files_fail_the_batch_by_name_and_raise_no_alarm(house: House, served_model: str, bucket: str) -> None:
    before = alarmed_on(house, *ALARMS)
    sound = to_parquet(june(house, 50))
    put(house, bucket, "batch/torn/a.parquet", sound)
    put(house, bucket, "batch/torn/b.parquet", sound[:4] + bytes([255]) * 2_000 + sound[2_004:])
    output = f"s3://{bucket}/batch/torn-scored/"
    house.client.start_batch(served_model, f"s3://{bucket}/batch/torn/", output)
    batch = house.client.wait_for_batch(served_model, output, timeout_seconds=60)
    assert (batch["status"], batch["done"]["parts"]) == ("failed", 1)
    assert "1 of 2 parts was not scored; part 2 (" in batch["reason"]
    assert "b.parquet rows 1 to 50): DatasetInvalidError" in batch["reason"]

    flights = june(house, 20).drop(columns=["distance"])
    source = put(house, bucket, "batch/lacking.csv", flights.to_csv(index=False).encode())
    output = f"s3://{bucket}/batch/lacking-scored/"
    house.client.start_batch(served_model, source, output)
    batch = house.client.wait_for_batch(served_model, output, timeout_seconds=60)
    assert batch["status"] == "failed"
    assert "lacking.csv lacks columns" in batch["reason"]
    assert "distance" in batch["reason"]
    assert alarmed_on(house, *ALARMS) == before
