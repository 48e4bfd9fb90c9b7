"""Removes what a doctor made, and nothing else: every key is made of a name that only a doctor gives.

What stays, since nobody may remove it: entries of the ledger, which has no deletion by design; log lines, metrics,
traces and histories of executions, which AWS keeps for a time; messages that were sent.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from tidegate.cli.doctor.stage import Stage, present
from tidegate.cli.doctor.synthetic import OWNER, PREFIX, is_owned
from tidegate.kernel.partitions import Partition
from tidegate.kernel.prefixes import CAPTURES, DATASETS, FEEDBACK, PROFILES, RUNS, TABLES, VERDICTS

_HEADERS = (Partition.MODELS, Partition.DATASETS)  # last: what is announced late still needs the model's owner
_ITEMS = tuple(each for each in Partition if each not in {*_HEADERS, Partition.LEDGER})
_OBJECTS = {
    "data-bucket": (f"{DATASETS}{{name}}/",),
    "artifacts-bucket": (f"{RUNS}{{name}}/", f"{TABLES}{{name}}/"),
    "captures-bucket": tuple(f"{folder}model={{name}}/" for folder in (CAPTURES, FEEDBACK, PROFILES, VERDICTS)),
}
_AT_ONCE = 1_000  # that DeleteObjects takes


class NotOwnedError(Exception):
    """No doctor gave this name; nothing of it is touched."""


@dataclass(slots=True)
class Removed:
    """How much was removed, and what stays."""

    items: int = 0
    objects: int = 0
    entries: int = 0  # of the ledger, which stay
    left: list[str] = field(default_factory=list)  # keys that are still there


def remove(stage: Stage, name: str) -> Removed:
    """Remove the model, the dataset and the log stream of this name, and look again.

    Raises:
        NotOwnedError: it is not a doctor's, by its name or by its owner.
    """
    if not is_owned(name):
        raise NotOwnedError(f"{name} is not the name of a doctor's model")
    table, ledger = stage.parameters["registry-table"], stage.parameters["ledger-table"]
    for kind in _HEADERS:
        key = {"pk": {"S": str(kind)}, "sk": {"S": name}}
        header = stage.aws("dynamodb").get_item(TableName=table, Key=key).get("Item")
        owner = header.get("owner", {}).get("S") if header else OWNER
        if owner != OWNER:
            raise NotOwnedError(f"{name} has the owner {owner}: no doctor made it")
    removed = Removed()
    for bucket, prefix in _places(stage, name):
        removed.objects += _empty(stage, bucket, prefix)
    for key in _keys(stage, name):
        stage.aws("dynamodb").delete_item(TableName=table, Key=key)
        removed.items += 1
    group = f"/aws/lambda/{stage.prefix}-monitor"
    present(lambda: stage.aws("logs").delete_log_stream(logGroupName=group, logStreamName=name))
    removed.left = [f"{key['pk']['S']} {key['sk']['S']}" for key in _keys(stage, name)]
    for bucket, prefix in _places(stage, name):
        removed.left += [f"s3://{bucket}/{each['Key']}" for each in _versions(stage, bucket, prefix)]
    removed.entries = sum(1 for _ in _in_partition(stage, ledger, Partition.LEDGER.of(name)))
    return removed


def leftovers(stage: Stage) -> list[str]:
    """Names of what earlier doctors could not remove, because they were ended or their model was captured late."""
    found = set()
    for kind in _HEADERS:
        for key in _in_partition(stage, stage.parameters["registry-table"], str(kind), PREFIX):
            found.add(key["sk"]["S"])
    pages = stage.aws("s3").get_paginator("list_object_versions")
    for bucket, prefix in _places(stage, PREFIX):
        before = prefix.removesuffix(f"{PREFIX}/")
        for page in pages.paginate(Bucket=bucket, Prefix=before + PREFIX, Delimiter="/"):
            found |= {each["Prefix"].removeprefix(before).rstrip("/") for each in page.get("CommonPrefixes", [])}
    return sorted(filter(is_owned, found))


def _places(stage: Stage, name: str) -> Iterator[tuple[str, str]]:
    for parameter, prefixes in _OBJECTS.items():
        for prefix in prefixes:
            yield stage.parameters[parameter], prefix.format(name=name)


def _keys(stage: Stage, name: str) -> list[dict[str, Any]]:
    """Keys of all its items in the registry, headers last."""
    table = stage.parameters["registry-table"]
    keys = [key for kind in _ITEMS for key in _in_partition(stage, table, kind.of(name))]
    headers = (key for kind in _HEADERS for key in _in_partition(stage, table, str(kind), name))
    return keys + [key for key in headers if key["sk"]["S"] == name]


def _in_partition(stage: Stage, table: str, pk: str, sk_prefix: str = "") -> Iterator[dict[str, Any]]:
    condition, values = "pk = :pk", {":pk": {"S": pk}}
    if sk_prefix:
        condition, values = f"{condition} AND begins_with(sk, :sk)", values | {":sk": {"S": sk_prefix}}
    pages = (
        stage.aws("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=table,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ProjectionExpression="pk, sk",
            ConsistentRead=True,
        )
    )
    for page in pages:
        yield from page["Items"]


def _versions(stage: Stage, bucket: str, prefix: str) -> Iterator[dict[str, str]]:
    """Every version of every object below a prefix, and the markers of deletions."""
    for page in stage.aws("s3").get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for each in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
            yield {"Key": each["Key"], "VersionId": each["VersionId"]}


def _empty(stage: Stage, bucket: str, prefix: str) -> int:
    found = list(_versions(stage, bucket, prefix))
    for start in range(0, len(found), _AT_ONCE):
        _delete(stage, bucket, found[start : start + _AT_ONCE])
    return len(found)


def _delete(stage: Stage, bucket: str, objects: Sequence[dict[str, str]]) -> None:
    answer = stage.aws("s3").delete_objects(Bucket=bucket, Delete={"Objects": list(objects), "Quiet": True})
    if errors := answer.get("Errors"):
        raise ClientError({"Error": {"Code": errors[0]["Code"], "Message": errors[0]["Message"]}}, "DeleteObjects")
