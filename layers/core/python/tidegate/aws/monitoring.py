"""What monitoring keeps: in the captures bucket the counted hours and the verdicts, in the registry how models stand.

    profiles/model=<model>/hour=<hour>/version=<version>.json     an hour of a version, counted
    verdicts/model=<model>/<hour of the look>.json                what a look found
    registry, pk HEALTH#<model>, sk HEALTH                        domain.monitoring.health.HealthRecord

Documents are written whole under names that follow from what they say, so a repeated write changes nothing.
"""

import json
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from gzip import GzipFile
from io import BytesIO
from itertools import chain
from typing import Any

import orjson
from botocore.exceptions import ClientError
from isal.igzip import IGzipFile
from isal.isal_zlib import IsalError

from tidegate.aws.captures import listed
from tidegate.aws.clients import answering, code_of, s3
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import revised, stored
from tidegate.aws.table import RefusedError, Table
from tidegate.aws.unpacking import blocks
from tidegate.domain.monitoring.findings import VERDICT
from tidegate.domain.monitoring.health import HealthRecord
from tidegate.domain.monitoring.quarantine import because
from tidegate.domain.serving.feedback import FEEDBACK_RECORD, Claim, Outcomes, outcomes_that_count, read_claim
from tidegate.kernel.errors import ConflictError, NotFoundError, UnavailableError
from tidegate.kernel.partitions import Partition
from tidegate.kernel.prefixes import CAPTURES, FEEDBACK, PROFILES, VERDICTS
from tidegate.ports.monitoring import Sources

HEALTH = "HEALTH"
_THREADS = 8


class DynamoHealthRecords:
    """ports.HealthRecords."""

    def __init__(self, table_name: str) -> None:
        self._table = Table(table_name)

    def record(self, model: str) -> HealthRecord | None:
        """See ports.HealthRecords."""
        return stored(self._table, HealthRecord, Partition.HEALTH.of(model), HEALTH)

    def save(self, record: HealthRecord) -> None:
        """See ports.HealthRecords. A write that is refused because of itself finds its own record and is done."""
        try:
            self._table.write(revised(Partition.HEALTH.of(record.model), HEALTH, record))
        except RefusedError:
            if self.record(record.model) == record:
                return
            raise ConflictError(
                f"the health of {record.model} was changed by somebody else (revision {record.revision} exists)",
                next_step=f"see `tidegate drift {record.model}` and decide again",
            ) from None


class S3Verdicts:
    """ports.Verdicts."""

    def __init__(self, bucket: str) -> None:
        self._objects = S3Artifacts(bucket)

    def write(self, model: str, hour: str, document: Mapping[str, Any]) -> str:
        """See ports.Verdicts."""
        key = f"{VERDICTS}model={model}/{hour}.json"
        self._objects.put(key, _encoded(document), content_type="application/json")
        return key

    def read(self, key: str) -> dict[str, Any]:
        """See ports.Verdicts."""
        document: dict[str, Any] = VERDICT.read(self._objects.get(key))
        return document


class S3Hours:
    """ports.Hours. Captures and feedback are what Firehose writes: gzip, one record a line, never changed."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._objects = S3Artifacts(bucket)

    def asked(self, model: str, since: str) -> bool:
        """See ports.Hours."""
        folder = f"{CAPTURES}model={model}/hour="
        with answering("S3"):
            page = s3().list_objects_v2(Bucket=self._bucket, Prefix=folder, StartAfter=folder + since, MaxKeys=1)
        return page["KeyCount"] > 0

    def sources(self, model: str, first: str, last: str) -> dict[str, Sources]:
        """See ports.Hours."""
        captures = self._sizes(CAPTURES, model, first, last)
        feedback = self._sizes(FEEDBACK, model, first, last)
        return {
            hour: Sources(
                captures=tuple(captures[hour]),
                feedback=tuple(feedback[hour]),
                stored_bytes=sum(captures[hour].values()) + sum(feedback[hour].values()),
            )
            for hour in sorted(captures.keys() | feedback.keys())
        }

    def outcomes(self, sources: Sources) -> tuple[Outcomes, dict[str, str]]:
        """See ports.Hours."""
        claims: list[Claim] = []
        unread: dict[str, str] = {}
        for key, lines in zip(sources.feedback, self._read(sources.feedback), strict=True):
            try:
                each = chain.from_iterable(map(bytes.splitlines, lines))
                claims += [read_claim(FEEDBACK_RECORD.current(orjson.loads(line))) for line in each]
            except Exception as error:  # noqa: BLE001  whatever it is, it is this object's; the others are read
                unread[key] = because(error)
        return outcomes_that_count(claims), unread

    def lines(self, sources: Sources) -> Iterator[Iterable[bytes]]:
        """See ports.Hours."""
        return self._read(sources.captures)

    def counted(self, model: str, version: int, hours: Collection[str]) -> dict[str, dict[str, Any]]:
        """See ports.Hours."""

        def read(hour: str) -> dict[str, Any] | None:
            with suppress(NotFoundError, ValueError):  # a broken one is counted again
                document: dict[str, Any] = json.loads(self._objects.get(_profile_key(model, version, hour)))
                return document
            return None

        with ThreadPoolExecutor(_THREADS) as pool:
            found = zip(hours, pool.map(read, hours), strict=True)
            return {hour: document for hour, document in found if document is not None}

    def keep(self, model: str, version: int, hour: str, document: Mapping[str, Any]) -> None:
        """See ports.Hours."""
        self._objects.put(_profile_key(model, version, hour), _encoded(document), content_type="application/json")

    def _sizes(self, prefix: str, model: str, first: str, last: str) -> defaultdict[str, dict[str, int]]:
        """Bytes by hour and key, in order."""
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for key, hour, size in listed(self._bucket, prefix, model, first, last):
            found[hour][key] = size
        return found

    def _read(self, keys: Iterable[str]) -> Iterator[Iterable[bytes]]:
        """Lines of each object, as `unpacked` has them; the next few objects are fetched ahead, packed as they are."""
        with ThreadPoolExecutor(_THREADS) as pool:
            ahead: deque[Future[bytes]] = deque()
            for key in keys:
                ahead.append(pool.submit(self._fetch, key))
                if len(ahead) >= _THREADS:
                    yield _fetched(ahead.popleft())
            while ahead:
                yield _fetched(ahead.popleft())

    def _fetch(self, key: str) -> bytes:
        """An object that was listed.

        Raises:
            NotFoundError: it was removed meanwhile.
            UnavailableError: S3 does not answer, or refuses: that is not the object's fault, and it may be read later.
        """
        try:
            with answering("S3"):
                return s3().get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                raise NotFoundError(f"s3://{self._bucket}/{key} does not exist") from None
            raise UnavailableError(
                f"S3 refuses s3://{self._bucket}/{key}: {code_of(error)}",
                next_step="look at the function's role and at the bucket's policy, key and storage class",
            ) from error


def _profile_key(model: str, version: int, hour: str) -> str:
    return f"{PROFILES}model={model}/hour={hour}/version={version}.json"


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _fetched(data: Future[bytes]) -> Iterator[bytes]:
    yield from unpacked(data.result())


def unpacked(data: bytes) -> Iterator[bytes]:
    """Lines of an object, many whole ones at a time. Raises as `unpacking.blocks` does."""
    file: GzipFile = IGzipFile(fileobj=BytesIO(data))  # type: ignore[no-untyped-call]
    return blocks(file, IsalError)  # type: ignore[arg-type]
