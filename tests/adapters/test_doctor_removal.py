"""What a doctor made is removed to the last version of an object; what has another name is not touched."""

from typing import Any

import boto3
import pytest

from tests.adapters.conftest import BUCKET, LEDGER, TABLE, client_of
from tidegate.aws import clients
from tidegate.cli.doctor import removal
from tidegate.cli.doctor.removal import NotOwnedError, leftovers, remove
from tidegate.cli.doctor.stage import Stage
from tidegate.cli.doctor.synthetic import OWNER
from tidegate.kernel.partitions import Partition
from tidegate.kernel.roles import Role

MINE = "tidegate-doctor-20260105t120000-abcd"
LATER = "tidegate-doctor-20260105t120001-abcd"
THEIRS = ("flight-delay", "tidegate-doctor", "tidegate-doctor-20269999t999999-beef", f"{MINE}e", "tidegate-doctor-mine")
FOLDERS = tuple(prefix for prefixes in removal._OBJECTS.values() for prefix in prefixes)


@pytest.fixture
def stage(aws: None) -> Stage:
    """A stage whose buckets are one."""
    values = {"registry-table": TABLE, "ledger-table": LEDGER, "release-state-machine": "arn", "control-url": "u"}
    values |= dict.fromkeys(("data-bucket", "artifacts-bucket", "captures-bucket"), BUCKET) | {"serving-url": "u"}
    values |= {f"{role}-policy": "arn" for role in Role}
    for name, value in values.items():
        client_of("ssm").put_parameter(Name=f"/tidegate/dev/{name}", Value=value, Type="String")
    clients.s3().put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    api: Any = None
    return Stage(boto3.Session(), "dev", api)


def filled(name: str, owner: str = OWNER) -> None:
    """Records of every kind, and objects in every folder: one written twice, one deleted."""
    for kind in Partition:
        whole = kind in {Partition.MODELS, Partition.DATASETS}
        pk, sk = (str(kind), name) if whole else (kind.of(name), "1")
        table = LEDGER if kind is Partition.LEDGER else TABLE
        said = {"owner": {"S": owner}} if whole else {}
        clients.dynamodb().put_item(TableName=table, Item={"pk": {"S": pk}, "sk": {"S": sk}} | said)
    for folder in FOLDERS:
        for key in ("once", "twice", "twice", "gone"):
            clients.s3().put_object(Bucket=BUCKET, Key=folder.format(name=name) + key, Body=b"x")
        clients.s3().delete_object(Bucket=BUCKET, Key=folder.format(name=name) + "gone")


def everything() -> set[tuple[str, ...]]:
    items = {
        (table, item["pk"]["S"], item["sk"]["S"])
        for table in (TABLE, LEDGER)
        for item in clients.dynamodb().scan(TableName=table)["Items"]
    }
    found = clients.s3().list_object_versions(Bucket=BUCKET)
    return items | {
        (each["Key"], each["VersionId"]) for each in found.get("Versions", []) + found.get("DeleteMarkers", [])
    }


def test_all_of_one_name_is_gone_but_its_ledger_and_nothing_else(stage: Stage) -> None:
    for name in THEIRS:
        filled(name)
    before = everything()
    filled(MINE)
    removed = remove(stage, MINE)
    assert everything() - before == {(LEDGER, f"LEDGER#{MINE}", "1")}
    assert before <= everything()
    assert (removed.items, removed.entries, removed.left) == (len(Partition) - 1, 1, [])
    assert removed.objects == 5 * len(FOLDERS)  # four versions and a marker


def test_a_model_of_such_a_name_that_no_doctor_made_is_refused_and_untouched(stage: Stage) -> None:
    filled(MINE, owner="somebody")
    before = everything()
    with pytest.raises(NotOwnedError, match="somebody"):
        remove(stage, MINE)
    assert everything() == before


@pytest.mark.parametrize("name", THEIRS)
def test_a_name_that_no_doctor_gives_is_refused_and_untouched(stage: Stage, name: str) -> None:
    filled(name)
    before = everything()
    with pytest.raises(NotOwnedError):
        remove(stage, name)
    assert everything() == before


def test_what_interrupted_checks_left_is_found_and_what_others_named_alike_is_not(stage: Stage) -> None:
    for name in THEIRS:
        filled(name)
    filled(MINE)
    for folder in FOLDERS:  # what was written when the records were gone already
        clients.s3().put_object(Bucket=BUCKET, Key=f"{folder.format(name=LATER)}late", Body=b"x")
        assert leftovers(stage) == [MINE, LATER]
        assert remove(stage, LATER).objects == 1
        assert leftovers(stage) == [MINE]


def test_what_could_not_be_deleted_is_named(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(MINE)
    monkeypatch.setattr(removal, "_empty", lambda *_: 0)
    removed = remove(stage, MINE)
    assert removed.objects == 0
    assert f"s3://{BUCKET}/datasets/{MINE}/once" in removed.left


def test_more_objects_than_one_call_deletes_are_all_gone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "_AT_ONCE", 3)
    filled(MINE)
    assert remove(stage, MINE).left == []
