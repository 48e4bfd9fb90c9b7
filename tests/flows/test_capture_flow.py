"""Every prediction over HTTP becomes one record in S3, and nobody who asks for one notices."""

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.flows.conftest import House
from tidegate.domain.serving.capture import MASK

MODEL = "captured"
ASKED = 100


def records(house: House, model: str) -> dict[str, dict[str, Any]]:
    """What lies in S3 for a model, by object key and place."""
    assert house.cloud.settle()
    s3 = house.cloud.client("s3")
    name = house.cloud.client("ssm").get_parameter(Name="/tidegate/dev/captures-bucket")["Parameter"]["Value"]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=f"captures/model={model}/")
    found = {}
    for entry in (entry for page in pages for entry in page.get("Contents", [])):
        data = gzip.decompress(s3.get_object(Bucket=name, Key=entry["Key"])["Body"].read())
        for at, line in enumerate(data.splitlines()):
            found[f"{entry['Key']}#{at}"] = json.loads(line)
    return found


@pytest.fixture(scope="module")
def model(house: House) -> str:
    rules = {"mask": ["dest"], "drop": ["origin"]}
    assert house.release(MODEL, capture=rules)["status"] == "accepted"
    return MODEL


@pytest.fixture(scope="module")
def instances(house: House, model: str) -> list[dict[str, Any]]:
    return house.instances(house.flights[house.flights["month"] == 6].head(ASKED), model)


def test_a_hundred_predictions_are_a_hundred_records_with_the_served_scores(
    house: House, model: str, instances: list[dict[str, Any]]
) -> None:
    served: dict[str, tuple[float, dict[str, Any]]] = {}
    for instance in instances:
        (prediction,) = house.client.predict(model, [instance])["predictions"]
        served[prediction["id"]] = prediction["score"], instance
    found = records(house, model)
    assert len(found) == ASKED
    for key, record in found.items():
        score, instance = served.pop(record["id"])
        assert record["score"] == score
        assert (record["schema"], record["version"], record["arm"]) == (1, 1, "champion")
        at = datetime.fromtimestamp(int(record["id"].replace("-", "")[:12], 16) / 1000, UTC)
        assert key.startswith(f"captures/model={model}/hour={at:%Y-%m-%d-%H}/")
        assert "origin" not in record["inputs"]
        assert record["inputs"]["dest"] == MASK
        same = instance.keys() - {"origin", "dest"}
        assert {name: record["inputs"][name] for name in same} == {name: instance[name] for name in same}
    assert served == {}
    assert house.cloud.metric_sum("Tidegate", "CapturesDropped") == 0
    log = "\n".join(house.cloud.log_lines("/aws/lambda/tidegate-dev-inference"))
    assert '"distance"' not in log
    assert "captures are rejected" not in log


def test_people_see_the_newest_first(house: House, model: str, instances: list[dict[str, Any]]) -> None:
    last = [house.client.predict(model, [instance])["predictions"][0]["id"] for instance in instances[:3]]
    assert house.cloud.settle()
    shown = house.client.captures(model, f"{house.cloud.clock.now():%Y-%m-%d-%H}", 3)
    assert [record["id"] for record in shown] == last[::-1]


def test_instances_of_one_request_share_it(house: House, model: str, instances: list[dict[str, Any]]) -> None:
    ids = {prediction["id"] for prediction in house.client.predict(model, instances[:50])["predictions"]}
    found = [record for record in records(house, model).values() if record["id"] in ids]
    assert len(found) == 50
    assert {record["rows"] for record in found} == {50}
    assert len({record["request_id"] for record in found}) == 1


def test_killing_the_function_fails_no_request_and_loses_at_most_what_was_in_flight(
    house: House, model: str, instances: list[dict[str, Any]]
) -> None:
    kills, killed, answered = 4, 0, []
    for number in range(kills):
        for instance in instances[number * 5 : number * 5 + 5]:
            answered += [each["id"] for each in house.client.predict(model, [instance])["predictions"]]
        killed += house.cloud.kill("inference")  # right after an answer, perhaps before its record left
    answered += [each["id"] for each in house.client.predict(model, [instances[0]])["predictions"]]
    kept = {record["id"] for record in records(house, model).values()}
    lost = [each for each in answered if each not in kept]
    assert len(answered) == kills * 5 + 1
    assert len(lost) <= killed  # environments; each may have been sending the record of its last answer
    assert answered[-1] in kept
