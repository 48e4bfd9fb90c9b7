"""What a local cloud keeps between two starts."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.local.cloud import LocalCloud
from infra.local.kept import KeptStateError

LARGE = b"x" * 200_000


@contextmanager
def opened(assembly: Path, keep: Path) -> Iterator[LocalCloud]:
    with LocalCloud.start(assembly, keep=keep, tick=False, event_retry_waits_s=(0.05, 0.05)) as cloud:
        yield cloud


def versions(cloud: LocalCloud, bucket: str) -> list[tuple[Any, ...]]:
    """Every version and delete marker of every object."""
    page = cloud.client("s3").list_object_versions(Bucket=bucket)
    found = [(each["Key"], each["VersionId"], each["ETag"], each["LastModified"]) for each in page["Versions"]]
    return found + [(each["Key"], each["VersionId"]) for each in page["DeleteMarkers"]]


def aborted(cloud: LocalCloud) -> list[dict[str, Any]]:
    return [event["detail"] for event in cloud.events_seen("aws.states") if event["detail"]["status"] == "ABORTED"]


def test_a_cloud_that_starts_again_holds_what_it_held_and_reports_what_it_had_under_way(
    assembly: Path, tmp_path: Path
) -> None:
    keep = tmp_path / "kept"
    with opened(assembly, keep) as cloud:
        bucket, keys, where = cloud.outputs["BucketName"], cloud.env(), cloud.endpoint_url
        (table,) = cloud.client("dynamodb").list_tables()["TableNames"]
        item = {
            "pk": {"S": "a"},
            "sk": {"S": "1"},
            "n": {"N": "1.50"},
            "b": {"B": b"\0\1"},
            "m": {"M": {"x": {"NULL": True}}},
        }
        cloud.client("dynamodb").put_item(TableName=table, Item=item)
        s3 = cloud.client("s3")
        for body in (b"first", LARGE):
            s3.put_object(Bucket=bucket, Key="open/a", Body=body, ContentType="text/plain", Metadata={"who": "me"})
        s3.put_object(Bucket=bucket, Key="open/gone", Body=b"")
        s3.delete_object(Bucket=bucket, Key="open/gone")
        cloud.advance(7_200)
        cloud.metrics.put("Sample", "Seen", [1.0, 2.0], {"who": "me"})
        cloud.logs.line("/sample/work", "a line\nof two")
        started = cloud.client("stepfunctions").start_execution(
            stateMachineArn=cloud.outputs["MachineArn"], name="lost", input='{"wait": 7200}'
        )
        before = versions(cloud, bucket)
        assert cloud.settle()
    assert json.loads((keep / "state.json").read_text())["executions"]
    with opened(assembly, keep) as cloud:
        assert cloud.env() == keys
        assert cloud.endpoint_url == where
        assert cloud.outputs["BucketName"] == bucket
        assert abs(cloud.clock.offset_s - 7_200) < 60
        (found,) = cloud.client("dynamodb").scan(TableName=table)["Items"]
        assert found == item
        assert versions(cloud, bucket) == before
        read = cloud.client("s3").get_object(Bucket=bucket, Key="open/a")
        assert (read["Body"].read(), read["ContentType"], read["Metadata"]) == (LARGE, "text/plain", {"who": "me"})
        assert cloud.metric_sum("Sample", "Seen", {"who": "me"}) == 3.0
        assert "a line\nof two" in cloud.log_lines("/sample/work")
        (lost,) = aborted(cloud)
        assert lost["executionArn"] == started["executionArn"]
        assert lost["input"] == '{"wait": 7200}'
        assert "the local cloud was stopped" in lost["cause"]
        assert cloud.settle()
        assert cloud.streams.batches == 0  # what was put back is nobody's news
    with opened(assembly, keep) as cloud:
        assert aborted(cloud) == []  # it was reported once


def test_a_cloud_that_is_killed_loses_what_came_after_its_last_save_and_nothing_else(
    assembly: Path, tmp_path: Path
) -> None:
    keep, killed = tmp_path / "kept", tmp_path / "killed"
    with opened(assembly, keep) as cloud:
        bucket, s3 = cloud.outputs["BucketName"], cloud.client("s3")
        s3.put_object(Bucket=bucket, Key="early", Body=LARGE)
        cloud.save()
        s3.put_object(Bucket=bucket, Key="early", Body=b"again")
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "early"}]})
        s3.put_object(Bucket=bucket, Key="late", Body=LARGE)
        shutil.copytree(keep, killed)
    with opened(assembly, killed) as cloud:
        listed = cloud.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
        assert [(each["Key"], each["Size"]) for each in listed] == [("early", len(LARGE))]
        assert cloud.client("s3").get_object(Bucket=bucket, Key="early")["Body"].read() == LARGE
        assert [path.stat().st_size for path in (killed / "objects").iterdir()].count(len(LARGE)) == 1


def test_a_state_that_cannot_be_read_is_refused_and_stays(assembly: Path, tmp_path: Path) -> None:
    for text in ("{", '{"format": 99}'):
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(KeptStateError, match=r"state\.json"):
            LocalCloud.start(assembly, keep=tmp_path, tick=False)
        assert (tmp_path / "state.json").read_text() == text


def test_other_processes_see_and_move_the_clock_with_the_token_only(assembly: Path, tmp_path: Path) -> None:
    import urllib3

    with LocalCloud.start(assembly, state_dir=tmp_path, tick=False) as cloud:
        control = json.loads((tmp_path / "local.json").read_text())["control"]

        def asked(method: str, target: str, token: str = control["token"]) -> tuple[int, dict[str, Any]]:
            headers = {"Authorization": f"Bearer {token}"}
            answer = urllib3.request(method, control["url"] + target, headers=headers, retries=False)
            return answer.status, answer.json()

        assert asked("POST", "/clock?seconds=60", token="other")[0] == 403
        for wrong in ("/clock", "/clock?seconds=-5", "/clock?seconds=nan", "/clock?seconds=1e9"):
            assert asked("POST", wrong)[0] == 400
        assert asked("GET", "/other")[0] == 404
        assert cloud.clock.offset_s == 0
        status, document = asked("POST", "/clock?seconds=3600")
        assert status == 200
        assert abs(document["clock_offset_s"] - 3_600) < 5
        assert abs(cloud.clock.time() - time.time() - 3_600) < 5
        assert json.loads((tmp_path / "local.json").read_text())["clock_offset_s"] == cloud.clock.offset_s
        assert asked("GET", "/status")[1]["dashboards"] == cloud.dashboards_url
