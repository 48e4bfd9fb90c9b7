"""Captured predictions as they lie in S3: listed by model and hour, as feedback is, and read for people who look."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from typing import Any

from tidegate.aws.clients import answering, s3
from tidegate.aws.unpacking import lines
from tidegate.domain.monitoring.quarantine import UnreadableError
from tidegate.domain.serving.capture import CAPTURE_RECORD
from tidegate.kernel.prefixes import CAPTURES


class S3CaptureReader:
    """ports.CaptureReader over the objects that Firehose writes: gzip, one record a line."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def read(self, model: str, hour: str, limit: int) -> list[dict[str, Any]]:
        """See ports.CaptureReader."""
        found: dict[str, dict[str, Any]] = {}
        newest_first = sorted(self._keys(f"{CAPTURES}model={model}/hour={hour}/"), key=_written, reverse=True)
        for _, together in groupby(newest_first, _written):  # of the same second, any may hold the newest
            for key in together:
                with answering("S3"):
                    data = s3().get_object(Bucket=self._bucket, Key=key)["Body"].read()
                for record in _records(data):
                    found.setdefault(record["id"], record)
            if len(found) >= limit:
                break
        return sorted(found.values(), key=lambda record: str(record["id"]), reverse=True)[:limit]

    def _keys(self, prefix: str) -> Iterator[str]:
        with answering("S3"):
            for page in s3().get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                yield from (str(entry["Key"]) for entry in page.get("Contents", []))


def _records(data: bytes) -> Iterator[dict[str, Any]]:
    """Those that can be read; monitoring reports the others."""
    with suppress(UnreadableError):
        for line in lines(data):
            with suppress(ValueError, RecursionError):
                record = CAPTURE_RECORD.read(line)
                if type(record.get("id")) is str:
                    yield record


def listed(bucket: str, prefix: str, model: str, first: str, last: str) -> Iterator[tuple[str, str, int]]:
    """Key, hour and bytes of each object of a model under a prefix, from one hour to another, in order."""
    folder = f"{prefix}model={model}/hour="
    with answering("S3"):
        pages = s3().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=folder, StartAfter=folder + first):
            for entry in page.get("Contents", []):
                hour = entry["Key"].removeprefix(folder).partition("/")[0]
                if hour > last:
                    return
                yield entry["Key"], hour, entry["Size"]


def _written(key: str) -> str:
    """The moment in the name Firehose gives an object: <stream>-<version>-2026-01-05-12-00-00-<uuid>.gz."""
    return "-".join(key.rpartition("/")[2].split("-")[-11:-5])
