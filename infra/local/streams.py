"""Event source mappings: what changes in a table reaches the functions that listen to its stream, as Lambda does it.

Away from the writer, in order, in batches, filtered; a batch that fails is tried again, split when the mapping says so,
and at last its whereabouts (not its records) go to the failure destination, and the stream goes on. A mapping reads
with its function's role. Two things are simpler than on AWS: one batch of a stream is under way at a time, which keeps
every partition key in order, and MaximumRecordAgeInSeconds never counts, since the waits between retries are short.

docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from infra.local import iam
from infra.local.clock import Clock
from infra.local.delivery import Courier, DeliveryError
from infra.local.front_door import FrontDoor
from infra.local.functions import FunctionConfig, Invocation
from infra.local.lambda_host import LambdaHost, UnknownFunctionError
from infra.local.metrics import Metrics
from infra.local.moto_server import MotoServer
from infra.local.patterns import matches

log = logging.getLogger(__name__)

READING = ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator")
_DEFAULT_BATCH = 100
_GATHER_S = 0.05  # at most, of a mapping that has a batching window
_LOOK_AGAIN_S = 0.25
_CLOSE_S = 10.0

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listener:
    """An event source mapping. `retries` None means until the function succeeds; no `patterns` means every record."""

    uuid: str
    function: str
    stream_arn: str
    batch_size: int
    window_s: float
    patterns: tuple[Mapping[str, Any], ...]
    retries: int | None
    bisects: bool
    reports_failures: bool
    on_failure_arn: str | None
    from_latest: bool

    def wants(self, record: Record) -> bool:
        """Whether one of the filters lets a record through."""
        return not self.patterns or any(matches(pattern, record) for pattern in self.patterns)


def read_listener(configuration: Mapping[str, Any]) -> Listener:
    """The listener that a mapping's configuration, as GetEventSourceMapping answers it, stands for."""
    retries = int(configuration.get("MaximumRetryAttempts", -1))
    filters = configuration.get("FilterCriteria", {}).get("Filters", [])
    return Listener(
        uuid=configuration["UUID"],
        function=configuration["FunctionArn"],
        stream_arn=configuration["EventSourceArn"],
        batch_size=int(configuration.get("BatchSize", _DEFAULT_BATCH)),
        window_s=float(configuration.get("MaximumBatchingWindowInSeconds", 0)),
        patterns=tuple(json.loads(each["Pattern"]) for each in filters),
        retries=None if retries < 0 else retries,
        bisects=bool(configuration.get("BisectBatchOnFunctionError", False)),
        reports_failures="ReportBatchItemFailures" in configuration.get("FunctionResponseTypes", []),
        on_failure_arn=configuration.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"),
        from_latest=configuration.get("StartingPosition") == "LATEST",
    )


@dataclass(slots=True, eq=False)
class _Reader:
    listener: Listener
    function: FunctionConfig
    place: int
    is_busy: bool = False
    is_refused: bool = False
    thread: threading.Thread = field(init=False)


class Streams:
    """Every event source mapping of a table's stream, each with a thread. Ends in two steps: `stop` takes up no more
    batches, then, when no invocation is under way any more, `close` waits for the threads."""

    def __init__(
        self,
        moto: MotoServer,
        door: FrontDoor,
        host: LambdaHost,
        courier: Courier,
        *,
        role_of: Callable[[str], str],
        clock: Clock,
        metrics: Metrics,
        retry_waits_s: Sequence[float],
    ) -> None:
        self._moto = moto
        self._door = door
        self._host = host
        self._courier = courier
        self._role_of = role_of
        self._clock = clock
        self._metrics = metrics
        self._retry_waits_s = retry_waits_s
        self._readers: dict[str, _Reader] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._batches = 0
        moto.changes.on_change = self._wake

    @property
    def batches(self) -> int:
        """How many batches were dealt with since the start."""
        return self._batches

    def look(self) -> None:
        """Learns of new mappings; those that start at LATEST miss what is in the stream by now."""
        for listener in map(read_listener, self._moto.stream_mappings()):
            try:
                function = self._host.config(listener.function)
            except UnknownFunctionError:
                log.warning("nothing is delivered from %s: %s is not here", listener.stream_arn, listener.function)
                continue
            with self._changed:
                if listener.uuid in self._readers or self._closed:
                    continue
                place = self._moto.changes.count(listener.stream_arn) if listener.from_latest else 0
                reader = self._readers[listener.uuid] = _Reader(listener, function, place)
                reader.thread = threading.Thread(
                    target=self._follow, args=(reader,), name=f"local-stream-{function.name}", daemon=True
                )
                reader.thread.start()
        self._wake()

    def drain(self, timeout_s: float) -> bool:
        """Waits until every record was dealt with; one whose function may not read the stream is not waited for."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._closed or all(self._is_idle(one) for one in self._readers.values()), timeout_s
            )

    def stop(self) -> None:
        """Takes up no more batches and retries none."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Waits for the threads."""
        for reader in self._readers.values():
            reader.thread.join(_CLOSE_S)

    # --- a thread's life ----------------------------------------------------------------------------------------------

    def _follow(self, reader: _Reader) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._is_behind(reader))
                if self._closed:
                    return
                reader.is_busy = True
            try:
                if self._may_read(reader):
                    self._read(reader)
                else:
                    self._pause(_LOOK_AGAIN_S)
            except Exception:
                if not self._closed:
                    log.exception("the stream %s failed", reader.listener.stream_arn)
                    self._pause(_LOOK_AGAIN_S)
            finally:
                with self._changed:
                    reader.is_busy = False
                    self._changed.notify_all()

    def _read(self, reader: _Reader) -> None:
        listener = reader.listener
        self._pause(min(listener.window_s, _GATHER_S))
        batch: list[Record] = []
        place, end = reader.place, self._moto.changes.count(listener.stream_arn)
        while place < end and len(batch) < listener.batch_size:
            record = self._moto.changes.record(listener.stream_arn, place)
            place += 1
            if record is not None and listener.wants(record):
                batch.append(record)
        self._deliver(reader, batch)
        with self._changed:
            reader.place = place
            self._batches += 1
            places = [each.place for each in self._readers.values() if each.listener.stream_arn == listener.stream_arn]
        self._moto.changes.forget(listener.stream_arn, min(places))

    def _deliver(self, reader: _Reader, batch: Sequence[Record]) -> None:
        """Until the batch is done or given up. Splitting it uses up no retry; neither does being throttled."""
        listener, retries_used = reader.listener, 0
        while batch and not self._closed:
            invocation = self._invoke(reader, batch)
            rest = _unprocessed(listener, batch, invocation)
            if not rest or self._closed:
                return
            if invocation.is_throttled:
                self._pause(self._retry_waits_s[0])
                continue
            if len(rest) < len(batch):
                retries_used = 0  # what was before the checkpoint is done; what comes after has failed once
            elif listener.bisects and len(batch) > 1:
                self._deliver(reader, batch[: len(batch) // 2])
                batch, retries_used = batch[len(batch) // 2 :], 0
                continue
            batch = rest
            if listener.retries is not None and retries_used >= listener.retries:
                self._give_up(reader, batch, invocation, retries_used + 1)
                return
            self._pause(self._retry_waits_s[min(retries_used, len(self._retry_waits_s) - 1)])
            retries_used += 1

    def _invoke(self, reader: _Reader, batch: Sequence[Record]) -> Invocation:
        invocation = self._host.invoke(reader.listener.function, json.dumps({"Records": batch}).encode())
        age_s = max(self._clock.time() - _created_at(batch[-1]), 0.0)
        dimensions = {"FunctionName": reader.function.name}
        self._metrics.put("AWS/Lambda", "IteratorAge", age_s * 1000, dimensions, unit="Milliseconds")
        return invocation

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)

    # --- what it asks and says ---------------------------------------------------------------------------------------

    def _is_behind(self, reader: _Reader) -> bool:
        listener = reader.listener
        return self._moto.changes.count(listener.stream_arn) > reader.place and any(
            one["UUID"] == listener.uuid for one in self._moto.stream_mappings()
        )

    def _is_idle(self, reader: _Reader) -> bool:
        if reader.is_refused and self._denials(reader):
            return True
        return not (reader.is_busy or self._is_behind(reader))

    def _may_read(self, reader: _Reader) -> bool:
        reasons = self._denials(reader)
        if reasons and not reader.is_refused:
            log.warning("nothing is delivered from %s: %s", reader.listener.stream_arn, "; ".join(reasons))
        reader.is_refused = bool(reasons)
        return not reasons

    def _denials(self, reader: _Reader) -> list[str]:
        """Why the function's role may not read the stream."""
        role_arn, stream_arn = self._role_of(reader.function.name), reader.listener.stream_arn
        name, account = role_arn.rpartition("/")[2], self._moto.account
        session = f"arn:aws:sts::{account}:assumed-role/{name}/{reader.function.name}"
        principal = iam.Principal("role", session, account, name, role_arn)
        needed = [iam.Permission(action, (stream_arn,)) for action in READING]
        # AWS's service authorization reference knows no resource for this one; its developer guide names the stream.
        needed.append(iam.Permission("dynamodb:ListStreams", ("*", stream_arn)))
        denied = [self._door.authorize(principal, permission) for permission in needed]
        return [each.message for each in denied if each]

    def _give_up(self, reader: _Reader, batch: Sequence[Record], invocation: Invocation, invocations: int) -> None:
        listener, function = reader.listener, reader.function
        numbers = [str(record["dynamodb"]["SequenceNumber"]) for record in batch]
        log.warning("%s failed on %s to %s of %s", function.name, numbers[0], numbers[-1], listener.stream_arn)
        if listener.on_failure_arn is None:
            return
        document = {
            "requestContext": {
                "requestId": invocation.request_id,
                "functionArn": listener.function,
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": invocations,
            },
            "responseContext": {
                "statusCode": invocation.status,
                "executedVersion": "$LATEST",
                "functionError": invocation.function_error,
            },
            "version": "1.0",
            "timestamp": _iso(self._clock.time(), "milliseconds"),
            "DDBStreamBatchInfo": {
                "shardId": self._moto.changes.shard_id(listener.stream_arn),
                "startSequenceNumber": numbers[0],
                "endSequenceNumber": numbers[-1],
                "approximateArrivalOfFirstRecord": _iso(_created_at(batch[0])),
                "approximateArrivalOfLastRecord": _iso(_created_at(batch[-1])),
                "batchSize": len(batch),
                "streamArn": listener.stream_arn,
            },
        }
        try:
            self._courier.deliver(
                listener.on_failure_arn,
                document,
                service="lambda.amazonaws.com",
                source_arn=function.arn,
                role_arn=self._role_of(function.name),
            )
        except DeliveryError as error:
            log.warning("%s did not accept the record of a failed batch: %s", listener.on_failure_arn, error)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _unprocessed(listener: Listener, batch: Sequence[Record], invocation: Invocation) -> Sequence[Record]:
    """What of a batch the function has not done: all of it when it failed, else from the first record it names."""
    if not invocation.is_ok:
        return batch
    if not listener.reports_failures:
        return ()
    answer = json.loads(invocation.payload or b"null")
    if answer is None or (isinstance(answer, dict) and not answer.get("batchItemFailures")):
        return ()
    places = {record["dynamodb"]["SequenceNumber"]: place for place, record in enumerate(batch)}
    try:
        return batch[min(places[failure["itemIdentifier"]] for failure in answer["batchItemFailures"]) :]
    except (KeyError, TypeError):
        return batch  # an identifier that is none of the batch's means that all of it failed


def _created_at(record: Record) -> float:
    return float(record["dynamodb"]["ApproximateCreationDateTime"])


def _iso(epoch_s: float, precision: str = "seconds") -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec=precision).replace("+00:00", "Z")
