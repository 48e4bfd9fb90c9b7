"""Batches in memory: the objects and the executions. The adapters pass the same tests."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.domain.batch.batch import Source
from tidegate.domain.batch.batch_ledger import BatchEntry, Head, follow
from tidegate.kernel.address import Address, folder, hidden
from tidegate.kernel.errors import InputChangedError, NotFoundError
from tidegate.ports.batch import Attempt
from tidegate.testing.found import behind


@dataclass
class InMemoryBatchObjects:
    """ports.BatchObjects."""

    stored: dict[str, tuple[bytes, Mapping[str, str]]] = field(default_factory=dict)

    def upload(self, address: str, data: bytes) -> None:
        """What people do."""
        self.stored[address] = data, {}

    def sources(self, address: Address, most: int) -> list[Source]:
        under = str(folder(address))
        found = []
        for name, (data, _) in sorted(self.stored.items()):
            key = name.removeprefix(f"s3://{address.bucket}/")
            below = name.startswith(under) and not hidden(key, folder(address).key)
            if data and (name == str(address) or below):
                found.append(Source(key, _etag(data), len(data)))
        return found[: most + 1]

    def read(self, address: Address, etag: str, start: int, stop: int) -> bytes:
        if str(address) not in self.stored:
            raise InputChangedError(f"{address} was removed after the batch had begun")
        data = self.document(address)
        if _etag(data) != etag:
            raise InputChangedError(f"{address} was changed after the batch had begun")
        return data[start:stop]

    def document(self, address: Address) -> bytes:
        if str(address) not in self.stored:
            raise NotFoundError(f"there is no {address}")
        return self.stored[str(address)][0]

    def create(self, address: Address, data: bytes) -> bool:
        if str(address) in self.stored:
            return False
        self.stored[str(address)] = data, {}
        return True

    def put(self, address: Address, data: bytes, content_type: str, facts: Mapping[str, str]) -> None:
        self.stored[str(address)] = data, dict(facts)

    def facts(self, address: Address) -> Mapping[str, str] | None:
        found = self.stored.get(str(address))
        return None if found is None else found[1]

    def names(self, folder: Address, after: str) -> set[str]:
        names = {name.removeprefix(str(folder)) for name in self.stored if name.startswith(str(folder))}
        return {name for name in names if "/" not in name and name > after}


@dataclass
class InMemoryBatchRuns:
    """ports.BatchRuns; `end` ends an attempt."""

    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    inputs: list[Mapping[str, Any]] = field(default_factory=list)

    def latest(self, batch_id: str) -> Attempt | None:
        return self.attempts[batch_id][-1] if self.attempts.get(batch_id) else None

    def start(self, batch_id: str, number: int, document: Mapping[str, Any]) -> None:
        known = self.attempts.setdefault(batch_id, [])
        if len(known) < number:
            known.append(Attempt(number, "RUNNING"))
            self.inputs.append(document)

    def end(self, batch_id: str, status: str, reason: str = "") -> None:
        """What Step Functions does."""
        self.attempts[batch_id][-1] = Attempt(len(self.attempts[batch_id]), status, reason)


@dataclass
class InMemoryBatchLedger:
    """ports.BatchLedger."""

    chains: dict[str, list[BatchEntry]] = field(default_factory=dict)

    def append(self, entry: BatchEntry) -> None:
        known = self.chains.setdefault(entry.model, [])
        if entry.key not in {each.key for each in known}:
            known.append(follow(entry, self.head(entry.model)))

    def find(self, model: str, key: str) -> BatchEntry | None:
        return next((entry for entry in self.chains.get(model, []) if entry.key == key), None)

    def head(self, model: str) -> Head:
        known = self.chains.get(model)
        return Head(known[-1].seq, known[-1].hash) if known else Head()

    def entries(
        self, model: str, *, after: int = 0, limit: int | None = None, newest_first: bool = False
    ) -> list[BatchEntry]:
        return behind(self.chains.get(model, []), after, limit, newest_first=newest_first)


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
