"""The ledger of batches: who had what scored by which version, and what came of it, one entry each, chained by hashes.

It is a chain of its own beside the ledger of what is served (`domain/registry/ledger.py`), hashed in the same way: a
batch changes nothing that is served, and its functions may write here and nowhere else in the registry.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from tidegate.domain.batch.batch import TOTALS, Batch
from tidegate.domain.registry import ledger
from tidegate.domain.registry.ledger import GENESIS, Break
from tidegate.kernel.documents import StoredForm

KEEPER = "the record of the newest batch entry"


class Act(StrEnum):
    """What an entry says was done."""

    START = "batch_start"
    RESUME = "batch_resume"  # what an attempt that failed had left is scored
    COMPLETE = "batch_complete"  # every row is there


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """One act: who, when, which version, by which bytes, from where to where, and how many objects.

    A start and a resumption have the number of their attempt and the SHA-256 of the batch's record. A completion has
    the rows, those of them with faults, and the SHA-256 of the output's `_SUCCESS.json`.
    """

    FORM: ClassVar = StoredForm("batch ledger entry")

    model: str
    seq: int
    at: datetime
    actor: str
    action: Act
    batch_id: str
    version: int
    artifact_sha256: str
    input: str
    output: str
    objects: int
    attempt: int | None = None
    rows: int | None = None
    faulty: int | None = None
    success_sha256: str | None = None
    record_sha256: str | None = None
    previous_hash: str = GENESIS
    hash: str = ""

    @property
    def route_sha256(self) -> None:
        """A batch leads to no route."""

    @property
    def route_found_sha256(self) -> None:
        """Nor does it replace one."""

    @property
    def key(self) -> str:
        """The same for the same act, so that it is recorded once."""
        return key_of(self.batch_id, self.action, self.attempt)


def key_of(batch_id: str, action: Act, attempt: int | None = None) -> str:
    """What an act of a batch is found by."""
    return f"{batch_id}#{action}#{attempt or 0}"


@dataclass(frozen=True, slots=True)
class Head:
    """Number and hash of the newest entry."""

    FORM: ClassVar = StoredForm("head of the batch ledger")

    seq: int = 0
    hash: str = GENESIS


def begun(batch: Batch, record: bytes, attempt: int, *, actor: str, at: datetime) -> BatchEntry:
    """An attempt at a batch with this record, before it is chained."""
    action = Act.START if attempt == 1 else Act.RESUME
    record_sha256 = hashlib.sha256(record).hexdigest()
    return replace(_entry(batch, action, actor, at), attempt=attempt, record_sha256=record_sha256)


def completed(batch: Batch, success: bytes) -> BatchEntry:
    """The end of a batch, before it is chained: all of it follows from the batch and its `_SUCCESS.json`."""
    totals = TOTALS.read(success)
    return replace(
        _entry(batch, Act.COMPLETE, batch.started_by, datetime.fromisoformat(totals["ended_at"])),
        rows=totals["rows"],
        faulty=totals["faulty"],
        success_sha256=hashlib.sha256(success).hexdigest(),
    )


def _entry(batch: Batch, action: Act, actor: str, at: datetime) -> BatchEntry:
    return BatchEntry(
        model=batch.model,
        seq=0,
        at=at,
        actor=actor,
        action=action,
        batch_id=batch.batch_id,
        version=batch.version,
        artifact_sha256=batch.artifact_sha256,
        input=batch.input,
        output=batch.output,
        objects=len(batch.sources),
    )


def follow(entry: BatchEntry, head: Head) -> BatchEntry:
    """The entry as it comes behind the newest one."""
    linked = replace(entry, seq=head.seq + 1, previous_hash=head.hash)
    return replace(linked, hash=ledger.digest(linked))


def verify(model: str, entries: Sequence[BatchEntry], head: str) -> Break | None:
    """The first place where the entries are not one unbroken chain up to the head that is kept beside them."""
    return ledger.verify(model, entries, head, KEEPER)
