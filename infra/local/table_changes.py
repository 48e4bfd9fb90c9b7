"""DynamoDB Streams: the record of what a request changed, kept once it has succeeded, one for each item.

moto records while it writes: twice for an update that makes an item, also of a transaction that is rolled back and of a
write that changes nothing, and it calls the functions that listen in the middle of the write. Here a request's changes
wait for its answer, and `Streams` delivers them.

For a transaction that may fail, moto copies each table once for every operation on it. Here the items that the
operations name are kept and put back, so that a transaction takes as long in a table of thousands as in an empty one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from moto.dynamodb import models
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import StreamRecord, StreamShard, Table
from moto.dynamodb.models.utilities import dynamo_json_dump

KEPT_RECORDS = 200  # of a stream, once every listener has read them


class _Records(list[Any]):
    """One list for a stream and for the copies moto makes of its table, for a backup say. What was forgotten is None,
    and no slice has it."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return [each for each in found if each is not None] if isinstance(place, slice) else found

    def __deepcopy__(self, _memo: object) -> _Records:
        return self


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an item is or may be put, and what is there."""

    items: dict[Any, Any]
    key: DynamoType
    item: Any

    @staticmethod
    def of(table: Table, key: Sequence[DynamoType]) -> _Place:
        items = table.items[key[0]] if table.has_range_key else table.items
        return _Place(items, key[-1], deepcopy(items.get(key[-1])))

    def put_back(self) -> None:
        if self.item is None:
            self.items.pop(self.key, None)
        else:
            self.items[self.key] = self.item


def _named(
    backend: DynamoDBBackend, operations: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Table, list[DynamoType]]]:
    """Table and key of each operation; moto refuses one that names neither."""
    for operation in operations:
        for said in operation.values():
            table, attributes = backend.tables.get(said.get("TableName")), said.get("Key") or said.get("Item") or {}
            names = [] if table is None else [name for name in (table.hash_key_attr, table.range_key_attr) if name]
            if table is not None and all(name in attributes for name in names):
                yield table, [DynamoType(attributes[name]) for name in names]


@dataclass(slots=True)
class _Change:
    shard: StreamShard
    old: Any
    new: Any

    def record(self, now: datetime) -> StreamRecord | None:
        """None when the item is what it was: a stream does not report such a write."""
        if self.old is None and self.new is None:
            return None
        if self.old is not None and self.new is not None and _plain(self.old) == _plain(self.new):
            return None
        name = "INSERT" if self.old is None else "REMOVE" if self.new is None else "MODIFY"
        table, shard = self.shard.table, self.shard
        view = (table.stream_specification or {})["StreamViewType"]
        number = shard.starting_sequence_number + len(shard.items)
        made = StreamRecord(table, view, name, self.old, self.new, number)
        made.record["eventVersion"] = "1.1"
        made.record["dynamodb"]["ApproximateCreationDateTime"] = now.replace(microsecond=0, tzinfo=None)
        return made


class TableChanges:
    """The streams of one account and region. `now` is the cloud's time; `on_change` is called after every commit."""

    def __init__(self, account: str, region: str, now: Callable[[], datetime]) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._account = account
        self._region = region
        self._now = now
        self._pending: dict[tuple[Any, ...], _Change] = {}

    def replacements(self) -> Iterator[tuple[Any, str, Any]]:
        """(class or module, name in it, what takes its place) of moto's streams and transactions."""
        original_init, original_transact = StreamShard.__init__, DynamoDBBackend.transact_write_items

        def init(shard: StreamShard, *arguments: Any) -> None:
            original_init(shard, *arguments)
            shard.items = _Records()

        def add(shard: StreamShard, old: Any, new: Any) -> None:
            item = new if new is not None else old
            key = (shard.table.name, item.hash_key, item.range_key)
            self._pending.setdefault(key, _Change(shard, old, new)).new = new

        def transact(backend: DynamoDBBackend, operations: list[dict[str, Any]]) -> None:
            before = [_Place.of(table, key) for table, key in _named(backend, operations)]
            try:
                original_transact(backend, operations)
            except BaseException:
                for place in before:
                    place.put_back()
                raise

        yield StreamShard, "__init__", init
        yield StreamShard, "add", add
        yield DynamoDBBackend, "transact_write_items", transact
        yield models, "copy", SimpleNamespace(deepcopy=lambda it: it if isinstance(it, Table) else deepcopy(it))

    def commit(self) -> None:
        """The request has succeeded: its changes are in their streams."""
        changes, self._pending = list(self._pending.values()), {}
        for change in changes:
            record = change.record(self._now())
            if record is not None:
                change.shard.items.append(record)
        if changes:
            self.on_change()

    def discard(self) -> None:
        """The request has failed: it has changed nothing."""
        self._pending.clear()

    def count(self, stream_arn: str) -> int:
        """How many records a stream has had."""
        return len(self._records(stream_arn))

    def forget(self, stream_arn: str, before: int) -> None:
        """Lets go of the records before a place, but for the last `KEPT_RECORDS` of them."""
        records = self._records(stream_arn)
        for place in range(before - KEPT_RECORDS - 1, -1, -1):
            if records[place] is None:
                break
            records[place] = None

    def record(self, stream_arn: str, place: int) -> dict[str, Any] | None:
        """The record at a place of a stream, as Lambda passes it to a function; None when it was forgotten."""
        kept = self._records(stream_arn)[place]
        if kept is None:
            return None
        record: Mapping[str, Any] = kept.to_json()
        change = {**record["dynamodb"]}
        at = change.pop("ApproximateCreationDateTime").replace(tzinfo=UTC)
        return {
            **{key: record[key] for key in ("eventID", "eventName", "eventVersion", "eventSource")},
            "awsRegion": self._region,
            "dynamodb": {"ApproximateCreationDateTime": at.timestamp(), **json.loads(dynamo_json_dump(change))},
            "eventSourceARN": stream_arn,
        }

    def shard_id(self, stream_arn: str) -> str:
        """A local stream has one shard."""
        shard = self._shard(stream_arn)
        return str(shard.id) if shard is not None else ""

    def _records(self, stream_arn: str) -> list[Any]:
        shard = self._shard(stream_arn)
        return shard.items if shard is not None else []

    def _shard(self, stream_arn: str) -> StreamShard | None:
        table = dynamodb_backends[self._account][self._region].tables.get(stream_arn.split("/")[1])
        return table.stream_shard if table is not None else None


def _plain(item: Any) -> Any:
    return json.loads(dynamo_json_dump(item.to_json()["Attributes"]))
