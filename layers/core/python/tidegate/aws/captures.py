"""Captured predictions as they lie in S3: listed by model and hour, as feedback is, and read for people who look."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from typing import Any

from tidegate.aws.clients import answering, s3
from tidegate.aws.unpacking import lines
from tidegate.domain.monitoring.quarantine import UnreadableError
from tidegate.domain.serving.capture import CAPTURE_RECORD
from tidegate.kernel.errors import NewerDocumentError
from tidegate.kernel.prefixes import CAPTURES


class S3CaptureReader:
    """ports.CaptureReader over the objects that Firehose writes: gzip, one record a line.

    The order is that of the objects' moments, and within a moment that of ids: what is written later is in front, so
    places stay.
    """

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def walk(self, model: str, hour: str, after: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """See ports.CaptureReader."""
        seen: set[str] = set()
        moment, _, last = after.partition("/")
        newest_first = sorted(self._keys(f"{CAPTURES}model={model}/hour={hour}/"), key=_written, reverse=True)
        for written, together in groupby(newest_first, _written):  # of the same second, any may hold the newest
            if after and written > moment:
                continue
            found = {record["id"]: record for key in together for record in _records(self._read(key))}
            for each in sorted(found.keys() - seen, reverse=True):
                if not after or written < moment or each < last:
                    yield f"{written}/{each}", found[each]
            seen |= found.keys()

    def _read(self, key: str) -> bytes:
        with answering("S3"):
            return s3().get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def _keys(self, prefix: str) -> Iterator[str]:
        with answering("S3"):
            for page in s3().get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                yield from (str(entry["Key"]) for entry in page.get("Contents", []))


def _records(data: bytes) -> Iterator[dict[str, Any]]:
    """Those that can be read; monitoring reports the others."""
    with suppress(UnreadableError):
        for line in lines(data):
            with suppress(NewerDocumentError, RecursionError, ValueError):
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
