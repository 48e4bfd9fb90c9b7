"""The doctor on a deployed stage: every check is made and passes, what it made is gone, and what is broken is named."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import House
from tidegate.cli import exits
from tidegate.cli.doctor import checks, removal, synthetic, trial
from tidegate.cli.doctor.stage import Stage
from tidegate.cli.doctor.trial import Trial
from tidegate.cli.doctor.verdicts import Line, Outcome
from tidegate.cli.main import main

BUCKETS = ("artifacts-bucket", "captures-bucket", "data-bucket")
MONITOR = "/aws/lambda/tidegate-dev-monitor"
WANTED = "tidegate-dev-retraining-wanted"
LEFT = f"{synthetic.PREFIX}20260105t120000-abcd"

Doctor = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def doctor(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """The command, with somebody's credentials."""

    def run(*options: str, user: str = "developer") -> tuple[int, dict[str, Any]]:
        keys = house.cloud.env(user)
        state: dict[str, Any] = {
            "endpoint_url": house.cloud.endpoint_url,
            "region": keys["AWS_DEFAULT_REGION"],
            "stage": "dev",
            "clock_offset_s": house.cloud.clock.offset_s,
        }
        file = tmp_path / f"{user}.json"
        file.write_text(
            json.dumps(state | {"credentials": {name: keys[name] for name in keys if "ACCESS_KEY" in name}})
        )
        capsys.readouterr()
        code = main(["doctor", "--json", f"--local={file}", *options])
        answer = capsys.readouterr()
        try:
            return code, json.loads(answer.out)
        except ValueError:
            raise AssertionError(answer) from None

    return run


@pytest.fixture
def stage(house: House) -> Stage:
    cloud = house.cloud
    return Stage(cloud.session(), "dev", house.client, endpoint_url=cloud.endpoint_url, now=cloud.clock.now)


@contextmanager
def minutes_passing(house: House) -> Iterator[None]:
    """Alarms are evaluated while the doctor waits for one, and only then: an hour would set monitoring off."""
    while 4 <= house.cloud.clock.now().minute < 11:  # monitoring looks at ten past
        house.cloud.advance(60)
    assert house.cloud.settle()
    counted = {"service": "monitor", "stage": "dev"}
    before, over = house.cloud.metric_sum("Tidegate", trial.WANTED, counted), threading.Event()

    def pass_by() -> None:
        left = 3
        while left and not over.wait(0.2):
            grown = house.cloud.metric_sum("Tidegate", trial.WANTED, counted) > before
            left -= grown
            if grown or house.cloud.alarm_state(WANTED) == "ALARM":
                house.cloud.advance(60)

    passing = threading.Thread(target=pass_by)
    passing.start()
    try:
        yield
    finally:
        over.set()
        passing.join()


def kept(house: House) -> set[tuple[str, ...]]:
    """Keys of what is in tables and buckets, and the streams of the log that the doctor writes to."""
    ssm, found = house.cloud.client("ssm"), set[tuple[str, ...]]()

    def value(name: str) -> str:
        return str(ssm.get_parameter(Name=f"/tidegate/dev/{name}")["Parameter"]["Value"])

    for table in ("registry-table", "ledger-table"):
        for page in house.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=value(table)):
            keys = {(table, item["pk"]["S"], item["sk"]["S"]) for item in page["Items"]}
            found |= {key for key in keys if not key[1].startswith("LEASE#")}  # releases of others give them back
    for bucket in BUCKETS:
        for page in house.cloud.client("s3").get_paginator("list_object_versions").paginate(Bucket=value(bucket)):
            found |= {(bucket, each["Key"]) for each in page.get("Versions", []) + page.get("DeleteMarkers", [])}
    streams = house.cloud.client("logs").describe_log_streams(logGroupName=MONITOR)["logStreams"]
    return found | {("stream", each["logStreamName"]) for each in streams}


def test_every_check_of_a_healthy_stage_passes_and_only_what_is_named_stays(house: House, doctor: Doctor) -> None:
    assert house.cloud.settle()
    before, undelivered = kept(house), house.cloud.messages("tidegate-dev-failures")
    with minutes_passing(house):
        code, answer = doctor()
    lines = {line["check"]: line for line in answer["checks"]}
    assert code == exits.OK, answer
    assert list(lines) == [*(check.name for check in checks.CHECKS), "removal"]
    assert {name: line for name, line in lines.items() if line["outcome"] not in {"ok"}} == {}
    assert house.cloud.settle()
    name = lines["removal"]["tried"].removeprefix("removed ")
    assert synthetic.is_owned(name)
    stayed = {key for key in kept(house) - before if any(name in part for part in key)}
    assert {key[:2] for key in stayed} == {("ledger-table", f"LEDGER#{name}")}
    assert f"{len(stayed)} entries in the ledger" in lines["removal"]["came"]
    assert before <= kept(house)
    assert house.cloud.messages("tidegate-dev-failures") == undelivered


def test_a_stage_that_is_not_there_fails_and_the_rest_is_skipped(doctor: Doctor) -> None:
    code, answer = doctor("--stage", "prod")
    assert code == exits.FAILED
    assert [line["outcome"] for line in answer["checks"]] == ["fail", *["skipped"] * (len(checks.CHECKS) - 1)]
    assert "not deployed" in answer["checks"][0]["came"]


def test_what_somebody_may_not_ask_is_skipped_and_names_the_call(house: House, doctor: Doctor) -> None:
    reading = {"Effect": "Allow", "Action": ["ssm:GetParametersByPath"], "Resource": "*"}
    house.cloud.add_user("half-a-doctor", {"Version": "2012-10-17", "Statement": [reading]})
    code, answer = doctor(user="half-a-doctor")
    lines = {line["check"]: line for line in answer["checks"]}
    assert code == exits.OK
    assert [name for name, line in lines.items() if line["outcome"] == "ok"] == ["identity", "clock"]
    assert "may not call GetFunctionConfiguration" in lines["functions"]["came"]
    assert "may not call DescribeDeliveryStream" in lines["delivery"]["came"]
    assert "may not call GetPolicy" in lines["people"]["came"]


def test_what_an_ended_doctor_left_is_removed_later_also_its_training(
    house: House, doctor: Doctor, stage: Stage
) -> None:
    assert house.cloud.settle()
    before = kept(house)
    left = Trial(stage, LEFT, say=lambda _: None)
    assert trial.dataset(left).outcome is Outcome.OK
    trial.apply(left, 1)
    run = house.client.start_run(LEFT)["run"]
    assert removal.leftovers(stage) == [LEFT]
    code, answer = doctor("--remove")
    assert code == exits.OK, answer
    assert [line["tried"] for line in answer["checks"]] == [f"removed {LEFT}"]
    ended = house.states.describe_execution(executionArn=run["execution"])
    assert ended["status"] in {"ABORTED", "FAILED"}, ended  # stopped, unless a step of it failed first
    assert house.cloud.settle()  # a step that was at work may have written a file since
    assert doctor("--remove")[0] == exits.OK
    assert doctor("--remove") == (exits.OK, {"stage": "dev", "checks": []})
    assert kept(house) == before


def made(stage: Stage, name: str) -> Line:
    """The last line of one check and those that it needs."""
    return checks.make(Trial(stage, LEFT, say=lambda _: None), checks.chosen([name]), lambda _: None)[-1]


@contextmanager
def with_policy(house: House, stage: Stage, function: str, effect: str, action: str) -> Iterator[None]:
    """Something that somebody attached to the role of a function by hand."""
    found = stage.function(function)
    assert found
    role = found["Role"].rpartition("/")[2]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": action, "Resource": "*"}]}
    iam = house.cloud._clients.root("iam")
    iam.put_role_policy(RoleName=role, PolicyName="by-hand", PolicyDocument=json.dumps(document))
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="by-hand")


def test_roles_that_were_changed_by_hand_are_named(house: House, stage: Stage) -> None:
    with (
        with_policy(house, stage, "train", "Allow", "dynamodb:PutItem"),
        with_policy(house, stage, "rollout", "Allow", "dynamodb:DeleteItem"),
        with_policy(house, stage, "feedback", "Deny", "firehose:PutRecordBatch"),
    ):
        line = made(stage, "permissions")
    assert line.verdict.outcome is Outcome.FAIL
    for fault in (
        "train may dynamodb:PutItem on",
        "rollout may dynamodb:DeleteItem on",
        "feedback may not firehose:PutRecordBatch on",
    ):
        assert fault in line.verdict.came


def test_a_policy_of_people_that_was_widened_by_hand_is_named(house: House, stage: Stage) -> None:
    iam, arn = house.cloud._clients.root("iam"), stage.parameters["viewer-policy"]
    document = stage.policy("viewer")
    document["Statement"][0]["Resource"].append(
        "arn:aws:execute-api:us-east-1:123456789012:x/$default/POST/models/*/kill"
    )
    widened = iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(document), SetAsDefault=True)
    try:
        line = made(stage, "people")
    finally:
        iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
        iam.delete_policy_version(PolicyArn=arn, VersionId=widened["PolicyVersion"]["VersionId"])
    assert (line.verdict.outcome, line.verdict.came) == (Outcome.FAIL, "viewer may POST/models/*/kill")


def test_a_function_that_may_not_write_traces_has_none(
    house: House, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "TRACE_SECONDS", 0.0)
    with with_policy(house, stage, "control", "Deny", "xray:PutTraceSegments"):
        line = made(stage, "traces")
    assert (line.verdict.outcome, line.verdict.came) == (Outcome.WARN, "X-Ray has no trace of control")


def test_a_delivery_stream_without_its_error_log_is_named(house: House, stage: Stage) -> None:
    logs, where = house.cloud.client("logs"), {"logGroupName": "/aws/kinesisfirehose/tidegate-dev-feedback"}
    logs.delete_log_stream(**where, logStreamName=checks.ERROR_LOG)
    try:
        line = made(stage, "delivery")
    finally:
        logs.create_log_stream(**where, logStreamName=checks.ERROR_LOG)
    assert line.verdict.outcome is Outcome.FAIL
    assert "tidegate-dev-feedback has no log stream" in line.verdict.came
