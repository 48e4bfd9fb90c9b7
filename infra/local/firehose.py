"""Firehose: takes records, takes them apart, partitions them by what they say, and writes them to S3 as its role.

In the order of the service: deaggregation, metadata extraction, prefix, delimiter, compression, one object for each
partition. What cannot be partitioned goes under the error prefix. What S3 refuses is written into the error log, if the
role may. Only the buffer is shorter than any real one: what
has arrived is written after a quarter of a second, and at once when someone waits for it.

docs.aws.amazon.com/firehose/latest/dev/dynamic-partitioning.html
docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html
docs.aws.amazon.com/firehose/latest/dev/monitoring-with-cloudwatch-logs.html
"""

from __future__ import annotations

import base64
import gzip
import json
import logging
import re
import secrets
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.local import iam
from infra.local.calls import ApiCall, HttpAnswer
from infra.local.limits import most
from infra.local.metrics import Metrics

log = logging.getLogger(__name__)

MAX_RECORD_BYTES = 1000 * 1024
MAX_BATCH_RECORDS = 500
MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_DEAGGREGATED = 500
MIN_PARTITIONED_MIB, MIN_PARTITIONED_SECONDS = 64, 60
_GATHER_S = 0.25  # so that the records of a burst share objects
_KEY = re.compile(r"\"?(\w+)\"?\s*:\s*\.(\w+(?:\.\w+)*)")
_EXTRACTION = re.compile(rf"\{{\s*(?:{_KEY.pattern}\s*,?\s*)+\}}")
_EXPRESSION = re.compile(r"!\{([^:}]+):([^}]*)\}")
_PROCESSORS = frozenset({"RecordDeAggregation", "MetadataExtraction", "AppendDelimiterToRecord"})
_TIMESTAMP = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


@dataclass(frozen=True, slots=True)
class Stream:
    """A delivery stream to S3, as its template says."""

    name: str
    role_arn: str
    bucket: str
    prefix: str
    error_prefix: str
    partitioned: bool
    deaggregates: bool
    keys: Mapping[str, tuple[str, ...]]  # partition key -> path in the record
    delimiter: bytes
    gzipped: bool
    extension: str
    error_log: tuple[str, str] | None  # group and stream


class _UnparsedError(Exception):
    """A record is not what the stream's processors need; the message is Firehose's error code."""


def read_stream(name: str, properties: Mapping[str, Any]) -> Stream:
    """The stream of a template's properties.

    Raises:
        ValueError: AWS would refuse it, or the local cloud does not do what it asks.
    """
    destination = properties.get("ExtendedS3DestinationConfiguration")
    if destination is None:
        raise ValueError("the local cloud supports only ExtendedS3DestinationConfiguration")
    partitioned = _true(destination.get("DynamicPartitioningConfiguration", {}).get("Enabled"))
    processing = destination.get("ProcessingConfiguration", {})
    processors = {
        step["Type"]: {one["ParameterName"]: one["ParameterValue"] for one in step.get("Parameters", [])}
        for step in (processing.get("Processors", []) if _true(processing.get("Enabled")) else [])
    }
    if unknown := processors.keys() - _PROCESSORS:
        raise ValueError(f"the local cloud does not have these processors: {', '.join(sorted(unknown))}")
    query = processors.get("MetadataExtraction", {}).get("MetadataExtractionQuery", "")
    if query and not _EXTRACTION.fullmatch(query.strip()):
        raise ValueError(f"the local cloud supports only {{key:.path,...}} of JQ, not {query}")
    stream = Stream(
        name=name,
        role_arn=destination["RoleARN"],
        bucket=destination["BucketARN"].split(":")[-1],
        prefix=destination.get("Prefix", ""),
        error_prefix=destination.get("ErrorOutputPrefix", ""),
        partitioned=partitioned,
        deaggregates="RecordDeAggregation" in processors,
        keys={key: tuple(path.split(".")) for key, path in _KEY.findall(query)},
        delimiter=b"\n" if "AppendDelimiterToRecord" in processors else b"",
        gzipped=destination.get("CompressionFormat") == "GZIP",
        extension=destination.get("FileExtension", ""),
        error_log=_error_log(destination.get("CloudWatchLoggingOptions", {})),
    )
    _check(stream, destination.get("BufferingHints", {}))
    return stream


def _error_log(options: Mapping[str, Any]) -> tuple[str, str] | None:
    return (options["LogGroupName"], options["LogStreamName"]) if _true(options.get("Enabled")) else None


def _check(stream: Stream, hints: Mapping[str, Any]) -> None:
    used = {name for kind, name in _EXPRESSION.findall(stream.prefix) if kind == "partitionKeyFromQuery"}
    if not stream.partitioned:
        if used or stream.keys:
            raise ValueError("partition keys need DynamicPartitioningConfiguration")
        return
    if not stream.error_prefix:
        raise ValueError("dynamic partitioning needs ErrorOutputPrefix")
    if used != stream.keys.keys():
        raise ValueError(f"the prefix uses the keys {sorted(used)}, the query extracts {sorted(stream.keys)}")
    if int(hints.get("SizeInMBs", 128)) < MIN_PARTITIONED_MIB:
        raise ValueError("BufferingHints.SizeInMBs must be at least 64 with dynamic partitioning")
    if int(hints.get("IntervalInSeconds", 300)) < MIN_PARTITIONED_SECONDS:
        raise ValueError("BufferingHints.IntervalInSeconds must be at least 60 with dynamic partitioning")


class Firehose:
    """Every delivery stream of the cloud.

    Args:
        streams: by name; filled while stacks are created.
        client_as: a client of a service, with the rights of a role.
        now: the cloud's time.
    """

    def __init__(
        self,
        streams: dict[str, Stream],
        client_as: Callable[[str, str], Any],
        now: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        self._streams = streams
        self._client_as = client_as
        self._now = now
        self._metrics = metrics
        self._arrived: dict[str, list[bytes]] = defaultdict(list)
        self._changed = threading.Condition()
        self._writing = False
        self._awaited = 0
        self._closed = False
        self._undelivered: list[tuple[Stream, str, bytes, float]] = []
        self._thread = threading.Thread(target=self._work, name="local-firehose", daemon=True)
        self._thread.start()

    def put_record_batch(self, call: ApiCall, _principal: iam.Principal) -> HttpAnswer:
        """PutRecordBatch: all of it is taken, or the call is refused."""
        return self._put(call, [record["Data"] for record in call.params["Records"]], batch=True)

    def put_record(self, call: ApiCall, _principal: iam.Principal) -> HttpAnswer:
        """PutRecord."""
        return self._put(call, [call.params["Record"]["Data"]], batch=False)

    def forget(self, call: ApiCall, _answer: HttpAnswer) -> None:
        """DeleteDeliveryStream: what arrives from now on is refused; what waits is not delivered."""
        with self._changed:
            self._streams.pop(str(call.params["DeliveryStreamName"]), None)

    def drain(self, timeout_s: float) -> bool:
        """Has what has arrived written at once, and waits until it was or has failed; False when that takes longer."""
        with self._changed:
            self._awaited += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not (self._arrived or self._writing), timeout_s)
            finally:
                self._awaited -= 1

    def tick(self) -> None:
        """Tries again what S3 did not take; how long the oldest has waited is a metric, as on AWS."""
        with self._changed:
            waiting, self._undelivered = self._undelivered, []
        for stream, key, data, since in waiting:
            self._write(stream, key, data, since)

    def close(self) -> None:
        """Writes what has arrived and ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _put(self, call: ApiCall, data: list[bytes], *, batch: bool) -> HttpAnswer:
        name = str(call.params["DeliveryStreamName"])
        if name not in self._streams:
            return call.error("ResourceNotFoundException", f"Firehose {name} under account not found.")
        if len(data) > MAX_BATCH_RECORDS or sum(map(len, data)) > MAX_BATCH_BYTES:
            return call.error("InvalidArgumentException", "The batch is over 500 records or 4 MiB.")
        if any(len(each) > MAX_RECORD_BYTES for each in data):
            return call.error("InvalidArgumentException", "A record is over 1000 KiB.")
        with self._changed:
            self._arrived[name] += data
            self._changed.notify_all()
        taken = [{"RecordId": secrets.token_hex(16)} for _ in data]
        answer = {"FailedPutCount": 0, "Encrypted": True, "RequestResponses": taken} if batch else taken[0]
        headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": str(uuid.uuid4())}
        return HttpAnswer(200, headers, json.dumps(answer).encode())

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._arrived) or self._closed)
                if not self._arrived:
                    return
                self._changed.wait_for(lambda: self._closed or self._awaited > 0, _GATHER_S)
                arrived, self._arrived = dict(self._arrived), defaultdict(list)
                self._writing = True
            try:
                for name, data in arrived.items():
                    if stream := self._streams.get(name):
                        self._deliver(stream, data)
            except Exception:
                log.exception("the local Firehose failed")
            finally:
                with self._changed:
                    self._writing = False
                    self._changed.notify_all()

    def _deliver(self, stream: Stream, data: list[bytes]) -> None:
        now = self._now()
        objects: dict[str, list[bytes]] = defaultdict(list)
        partitions: set[str] = set()
        exceeded = False
        for record in data:
            try:
                for part in _parts(stream, record):
                    try:
                        prefix = _prefix(stream, part, now)
                        if stream.partitioned and len(partitions | {prefix}) > most("active_partitions"):
                            exceeded = True
                            raise _UnparsedError("DynamicPartitioning.ActivePartitionLimitExceeded")
                        partitions.add(prefix)
                        objects[prefix].append(part + stream.delimiter)
                    except _UnparsedError as error:
                        objects[_error_prefix(stream, now)].append(_failed(part, str(error), now))
            except _UnparsedError as error:
                objects[_error_prefix(stream, now)].append(_failed(record, str(error), now))
        for prefix, lines in objects.items():
            key = f"{prefix}{stream.name}-1-{now:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}{stream.extension}"
            body = b"".join(lines)
            self._write(stream, key, gzip.compress(body) if stream.gzipped else body, now.timestamp())
        if stream.partitioned:
            self._metrics.put(
                "AWS/Firehose", "PartitionCountExceeded", float(exceeded), {"DeliveryStreamName": stream.name}
            )

    def _write(self, stream: Stream, key: str, data: bytes, since: float) -> None:
        dimensions = {"DeliveryStreamName": stream.name}
        try:
            self._client_as("s3", stream.role_arn).put_object(Bucket=stream.bucket, Key=key, Body=data)
        except (BotoCoreError, ClientError) as error:
            log.warning("delivery stream %s cannot write %s: %s", stream.name, key, error)
            self._note(stream, error)
            with self._changed:
                self._undelivered.append((stream, key, data, since))
        self._metrics.put(
            "AWS/Firehose",
            "DeliveryToS3.DataFreshness",
            self._now().timestamp() - since,
            dimensions,
            unit="Seconds",
        )

    def _note(self, stream: Stream, error: BotoCoreError | ClientError) -> None:
        """Writes into the error log; a role that may not leaves no trace on AWS, and a warning here."""
        if stream.error_log is None:
            return
        group, name = stream.error_log
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        about = {
            "deliveryStreamName": stream.name,
            "destination": f"arn:aws:s3:::{stream.bucket}",
            "message": str(error),
            "errorCode": f"S3.{code}",
        }
        # The real time: a log takes no line of a time to come.
        event = {"timestamp": int(time.time() * 1000), "message": json.dumps(about)}
        try:
            self._client_as("logs", stream.role_arn).put_log_events(
                logGroupName=group, logStreamName=name, logEvents=[event]
            )
        except (BotoCoreError, ClientError) as refused:
            log.warning("delivery stream %s cannot write its error log: %s", stream.name, refused)


def _parts(stream: Stream, record: bytes) -> Iterator[bytes]:
    """The records within a record: consecutive JSON objects, the spaces between them gone."""
    if not stream.deaggregates:
        yield record
        return
    try:
        text = record.decode()
        decoder, found, place = json.JSONDecoder(), [], 0
        while text[place:].strip():
            place += len(text[place:]) - len(text[place:].lstrip())
            _, end = decoder.raw_decode(text, place)
            found.append(text[place:end].encode())
            place = end
    except ValueError:
        raise _UnparsedError("DynamicPartitioning.DeaggregationFailed") from None
    if len(found) > MAX_DEAGGREGATED:
        raise _UnparsedError("DynamicPartitioning.DeaggregationFailed")
    yield from found


def _prefix(stream: Stream, record: bytes, now: datetime) -> str:
    keys = _keys(stream, record)
    prefix = _EXPRESSION.sub(lambda match: _value(match[1], match[2], now, keys), stream.prefix)
    return prefix if "!{" in stream.prefix else f"{prefix}{now:%Y/%m/%d/%H}/"


def _keys(stream: Stream, record: bytes) -> dict[str, str]:
    if not stream.partitioned:
        return {}
    try:
        document = json.loads(record)
    except ValueError:
        raise _UnparsedError("DynamicPartitioning.MetadataExtractionFailed") from None
    keys = {}
    for name, path in stream.keys.items():
        value: Any = document
        for part in path:
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None or value == "" or isinstance(value, dict | list):
            raise _UnparsedError("DynamicPartitioning.MetadataExtractionFailed")
        keys[name] = str(value)
    return keys


def _error_prefix(stream: Stream, now: datetime) -> str:
    kinds = {"error-output-type": "metadata-extraction-failed"}
    return _EXPRESSION.sub(lambda match: _value(match[1], match[2], now, kinds), stream.error_prefix)


def _value(kind: str, name: str, now: datetime, keys: Mapping[str, str]) -> str:
    match kind, name:
        case ("partitionKeyFromQuery", _) | ("firehose", "error-output-type"):
            return keys[name]
        case ("timestamp", _):
            return now.strftime(re.sub("|".join(_TIMESTAMP), lambda match: _TIMESTAMP[match[0]], name))
        case ("firehose", "random-string"):
            return secrets.token_hex(6)[:11]
        case _:
            raise ValueError(f"!{{{kind}:{name}}} is not supported by the local cloud")


def _failed(record: bytes, code: str, now: datetime) -> bytes:
    at = int(now.timestamp() * 1000)
    about = {
        "attemptsMade": 1,
        "arrivalTimestamp": at,
        "errorCode": code,
        "errorMessage": "The record could not be partitioned.",
        "attemptEndingTimestamp": at,
        "rawData": base64.b64encode(record).decode(),
    }
    return json.dumps(about).encode() + b"\n"


def _true(value: Any) -> bool:
    return str(value).lower() == "true"
