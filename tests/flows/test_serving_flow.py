"""The served model under good, bad and hostile requests, over signed HTTP."""

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.flows.conftest import HTTP, House, instances_of
from tidegate.domain.serving.contract import CONTRACT_KEY, Contract


def bucket(house: House) -> str:
    name: str = house.cloud.client("ssm").get_parameter(Name="/tidegate/dev/artifacts-bucket")["Parameter"]["Value"]
    return name


@pytest.fixture(scope="module")
def good(house: House, served_model: str) -> dict[str, Any]:
    """An instance the model answers."""
    (instance,) = house.instances(house.flights[house.flights["month"] == 6].head(1), served_model)
    return instance


def mutations(good: dict[str, Any], chance: random.Random) -> bytes:
    """One malformed body, drawn by chance."""
    field = chance.choice(
        ["carrier", "origin", "dest", "distance", "hour", "weekday", "month"]
    )  # weather may be absent
    garbage: list[Any] = [
        None,
        True,
        [],
        {},
        "",
        "x" * 5_000,
        -1e308,
        1e400,
        "NaN",
        {"deep": [[[]]]},
        "\u0000",
        10**40,
        0.5,
    ]
    broken: list[bytes] = [
        b"", b"{", b"null", b"[]", b"42", b'"text"', b"\xff\xfe\x00", b"{}" * 2,
        b'{"instances": NaN}', b'{"instances": [{"hour": NaN}]}', b'{"instances": [{"hour": Infinity}]}',
        b"[" * 100_000,
        json.dumps({"instances": chance.choice([None, {}, [], "text", 3, [None], [[]], ["a"], [1, 2]])}).encode(),
        json.dumps({"instances": [good], "surprise": 1}).encode(),
        json.dumps({"instances": [{key: value for key, value in good.items() if key != field}]}).encode(),
        json.dumps({"instances": [good | {"no_such_field": 1}]}).encode(),
        json.dumps({"instances": [good | {"hour": chance.choice([99, -1, 1.5, "7", True, []])}]}).encode(),
        json.dumps({"instances": [good | {"origin": chance.choice(["XXX", 1, None, {}])}]}).encode(),
        json.dumps({"instances": [good] * 5_000}).encode(),
        json.dumps({"instances": [good | {"carrier": chance.choice([garbage[5], 4, [], {}, True])}]}).encode(),
    ]  # fmt: skip
    body = chance.choice(broken)
    cut = chance.randrange(len(body) + 1)
    return body if chance.random() < 0.8 else body[:cut] + bytes([chance.randrange(256)])


def test_two_hundred_malformed_bodies_get_a_4xx_that_names_the_problem_and_never_a_5xx(
    house: House, served_model: str, good: dict[str, Any]
) -> None:
    chance = random.Random(7)
    statuses: dict[int, int] = {}
    for _ in range(200):
        body = mutations(good, chance)
        answer = house.asked(f"/models/{served_model}/predict", body)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        assert 400 <= answer.status < 500, (answer.status, answer.data, body[:600])
        assert answer.headers["content-type"] == "application/problem+json"
        problem = json.loads(answer.data)
        assert problem["status"] == answer.status
        assert problem["detail"]
    assert sum(statuses.values()) == 200
    assert house.client.predict(served_model, [good])["predictions"][0]["id"]


def test_a_fault_names_instance_and_field(house: House, served_model: str, good: dict[str, Any]) -> None:
    body = {"instances": [good, good | {"hour": 99, "origin": "XXX"}, {"hour": 5}]}
    answer = house.asked(f"/models/{served_model}/predict", json.dumps(body).encode())
    assert answer.status == 422
    paths = {fault["path"] for fault in json.loads(answer.data)["errors"]}
    assert {"instances[1].hour", "instances[1].origin", "instances[2].carrier"} <= paths


def test_wrong_content_type_and_too_large_bodies_have_their_own_answers(house: House, served_model: str) -> None:
    path = f"/models/{served_model}/predict"
    assert house.asked(path, b"{}", **{"content-type": "text/plain"}).status == 415
    assert house.asked(path, b" " * 1_500_000).status == 413


def test_an_unknown_model_is_not_found(house: House) -> None:
    assert house.asked("/models/nobody/predict", b'{"instances": [{}]}').status == 404


def test_unsigned_and_wrongly_signed_requests_do_not_reach_the_function(house: House, served_model: str) -> None:
    url = f"{house.client.serving_endpoint.url}/models/{served_model}"
    assert HTTP.request("GET", url, retries=False).status == 403
    request = AWSRequest("GET", url)
    SigV4Auth(Credentials(house.cloud.env()["AWS_ACCESS_KEY_ID"], "wrong"), "execute-api", "us-east-1").add_auth(
        request
    )
    assert HTTP.request("GET", url, headers=dict(request.headers.items()), retries=False).status == 403


def test_a_user_without_the_right_is_refused_although_the_signature_is_good(house: House, served_model: str) -> None:
    nobody = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "*"}]}
    keys = house.cloud.add_user("nobody", nobody)
    url = f"{house.client.serving_endpoint.url}/models/{served_model}"
    request = AWSRequest("GET", url)
    credentials = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(credentials, "execute-api", "us-east-1").add_auth(request)
    assert HTTP.request("GET", url, headers=dict(request.headers.items()), retries=False).status == 403


def test_a_tampered_artifact_is_refused_and_the_previous_good_version_serves_on(house: House) -> None:
    weak = [{"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": 4}}]
    assert house.release("robbed", candidates=weak)["status"] == "accepted"
    forest = [{"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_iter": 60}}]
    assert house.release("robbed", candidates=forest)["status"] == "accepted"
    champion = next(version for version in house.client.versions("robbed") if version["status"] == "champion")
    assert champion["number"] == 2
    s3 = house.cloud.client("s3")
    stolen = s3.get_object(Bucket=bucket(house), Key=champion["artifact_key"])["Body"].read()
    s3.put_object(Bucket=bucket(house), Key=champion["artifact_key"], Body=stolen[:-1] + b"\x00")

    house.cloud.recycle("inference")  # a cold start meets the tampered bytes
    june = house.flights[house.flights["month"] == 6].head(3)
    instances = instances_of(june, [feature["name"] for feature in house.spec("robbed")["features"]])
    answer = house.client.predict("robbed", instances)
    assert (answer["version"], answer["reason"]) == (1, "previous_good")

    house.cloud.settle()
    assert house.cloud.metric_sum("Tidegate", "ArtifactRejected") >= 1
    house.cloud.advance(600)
    assert "artifact" in " ".join(house.cloud.messages(topic_of(house))).lower()

    s3.put_object(Bucket=bucket(house), Key=champion["artifact_key"], Body=stolen)
    house.cloud.recycle("inference")
    assert house.client.predict("robbed", instances)["version"] == 2


def test_a_rollback_of_code_leaves_newer_artifacts_to_the_fallback_with_an_alarm_that_says_so(
    house: House, good: dict[str, Any]
) -> None:
    assert house.release("ahead")["status"] == "accepted"
    assert house.client.predict("ahead", [good])["version"] == 1
    (version,) = house.client.versions("ahead")
    place = {"Bucket": bucket(house), "Key": version["artifact_key"]}
    s3, alarm = house.cloud.client("s3"), "tidegate-dev-inference-artifact-newer-than-code"
    known = s3.get_object(**place)["Body"].read()
    table = house.cloud.client("ssm").get_parameter(Name="/tidegate/dev/registry-table")["Parameter"]["Value"]

    def registered(data: bytes) -> None:
        """What is registered and serves is these bytes, and a cold start meets them."""
        s3.put_object(**place, Body=data)
        changed = {
            ("ROUTE#ahead", "ROUTE"): "champion.artifact_sha256",
            ("VERSION#ahead", "VERSION#000001"): "artifact_sha256",
        }
        for (pk, sk), name in changed.items():
            house.cloud.client("dynamodb").update_item(
                TableName=table,
                Key={"pk": {"S": pk}, "sk": {"S": sk}},
                UpdateExpression=f"SET {name} = :sha256",
                ExpressionAttributeValues={":sha256": {"S": hashlib.sha256(data).hexdigest()}},
            )
        house.cloud.recycle("inference")

    model = onnx.load_model_from_string(known)
    (entry,) = (each for each in model.metadata_props if each.key == CONTRACT_KEY)
    entry.value = json.dumps(json.loads(entry.value) | {"schema": Contract.FORM.schema + 1, "new": "it"})
    registered(model.SerializeToString())
    answer = house.client.predict("ahead", [good])
    assert (answer["version"], answer["reason"], answer["why"]) == (None, "fallback", "not_loadable")
    assert "needs newer code" in answer["detail"]

    house.cloud.settle()
    states = []
    for _ in range(3):
        house.cloud.advance(60)
        states.append(house.cloud.alarm_state(alarm))
    assert "ALARM" in states
    assert any(alarm in message for message in house.cloud.messages(topic_of(house)))

    registered(known)
    assert house.client.predict("ahead", [good])["version"] == 1


def topic_of(house: House) -> str:
    return house.cloud.outputs["AlarmTopic"].rsplit(":", 1)[-1]


def test_the_command_line_does_the_same_from_another_process(
    house: House, served_model: str, good: dict[str, Any], tmp_path: Path
) -> None:
    def tidegate(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tidegate.cli.main", *words]
        environment = house.cloud.env() | {"PATH": "/usr/bin:/bin", "NO_COLOR": "1"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)

    listed = tidegate("versions", served_model, "--json")
    assert listed.returncode == 0, listed.stderr
    assert json.loads(listed.stdout)["versions"][0]["status"] == "champion"
    (tmp_path / "one.json").write_text(json.dumps({"instances": [good]}))
    predicted = tidegate("predict", served_model, "--input", "one.json", "--json")
    assert predicted.returncode == 0, predicted.stderr
    assert json.loads(predicted.stdout)["version"] == 1
    report = tidegate("report", served_model)
    assert report.returncode == 0, report.stderr
    assert "accepted" in report.stdout
    unknown = tidegate("report", "nobody")
    assert unknown.returncode == 4
    assert "Traceback" not in unknown.stderr
