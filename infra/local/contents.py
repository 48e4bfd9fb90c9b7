"""What tables and buckets hold, as documents that a file can have; reaches into moto as `moto_server` does."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.utilities import dynamo_json_dump
from moto.s3.models import FakeBucket, FakeDeleteMarker, FakeKey, s3_backends

from infra.local.objects import Objects

Document = dict[str, Any]

_PLAIN = (  # attributes of an object that are texts, numbers or None
    "_etag", "_version_id", "_is_versioned", "_storage_class", "contentsize", "encryption", "kms_key_id",
    "bucket_key_enabled", "checksum_algorithm", "checksum_value", "checksum_type", "checksum_parts",
)  # fmt: skip


def tables(account: str, region: str) -> dict[str, list[Document]]:
    """The items of every table, in DynamoDB's JSON."""
    found = dynamodb_backends[account][region].tables
    attributes = {
        name: [item.to_json()["Attributes"] for item in table.all_items()] for name, table in list(found.items())
    }
    read: dict[str, list[Document]] = json.loads(dynamo_json_dump(attributes))
    return read


def put_items(account: str, region: str, saved: Mapping[str, list[Document]]) -> list[str]:
    """Fills tables that are empty; returns the names of those that are not there. Their streams record it: whoever
    calls this drops that."""
    there = dynamodb_backends[account][region].tables
    for name, items in saved.items():
        for item in items if name in there else ():
            there[name].put_item(item)
    return [name for name, items in saved.items() if items and name not in there]


def buckets(account: str, without: Collection[str]) -> dict[str, list[Document]]:
    """The objects of every bucket but a few: each version and each delete marker, oldest first by name."""
    found = {name: bucket for name, bucket in s3_backends[account]["aws"].buckets.items() if name not in without}
    return {name: list(_objects(bucket, account)) for name, bucket in found.items()}


def put_objects(account: str, saved: Mapping[str, list[Document]], objects: Objects) -> list[str]:
    """Fills buckets that are empty; returns the names of those that are not there.

    Raises:
        FileNotFoundError: the content of an object is gone.
    """
    backend = s3_backends[account]["aws"]
    for name, documents in saved.items():
        bucket = backend.buckets.get(name)
        if bucket is None:
            continue
        versions: dict[str, list[Any]] = {}
        for document in documents:
            before = versions.setdefault(document["name"], [])
            if "content" not in document:
                before.append(_marker(document, bucket))
                continue
            key = _key(document, bucket, objects)
            before.append(key)
            if document.get("tags"):
                backend.tagger.tag_resource(key.arn, [{"Key": k, "Value": v} for k, v in document["tags"].items()])
        for each, made in versions.items():
            bucket.keys.setlist(each, made)
    return [name for name, documents in saved.items() if documents and name not in backend.buckets]


def _objects(bucket: FakeBucket, account: str) -> Iterator[Document]:
    tagger = s3_backends[account]["aws"].tagger
    for name, versions in list(bucket.keys.lists()):
        for version in versions:
            about = {"name": name, "last_modified": version.last_modified.isoformat()}
            if isinstance(version, FakeDeleteMarker):
                yield about | {"_version_id": version.version_id}
                continue
            about |= {
                "content": version._value_buffer.name,  # noqa: SLF001
                "metadata": dict(version.metadata),
                **{attribute: getattr(version, attribute) for attribute in _PLAIN},
            }
            tags = tagger.get_tag_dict_for_resource(version.arn)
            yield about | ({"tags": tags} if tags else {})


def _key(document: Document, bucket: FakeBucket, objects: Objects) -> FakeKey:
    key = FakeKey(document["name"], b"", bucket.account_id, bucket.region_name, bucket_name=bucket.name)
    key._value_buffer = objects.kept(document["content"])  # type: ignore[assignment]  # noqa: SLF001
    for attribute in _PLAIN:
        setattr(key, attribute, document[attribute])
    key.set_metadata(dict(document["metadata"]))
    key.last_modified = datetime.fromisoformat(document["last_modified"])
    return key


def _marker(document: Document, bucket: FakeBucket) -> FakeDeleteMarker:
    marker = FakeDeleteMarker(FakeKey(document["name"], b"", bucket.account_id, bucket.region_name))
    marker._version_id = document["_version_id"]  # noqa: SLF001
    marker.last_modified = datetime.fromisoformat(document["last_modified"])
    return marker
