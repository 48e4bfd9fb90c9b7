"""Ledgers of any length, with a time an hour apart."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.builders.registry import AT
from tidegate.domain.batch.batch_ledger import Act, BatchEntry, Head, follow
from tidegate.domain.registry.ledger import GENESIS, LedgerEntry, chain
from tidegate.steps.pages import Asked
from tidegate.steps.registry.ledger import verify_ledger
from tidegate.testing.batch import InMemoryBatchLedger
from tidegate.testing.monitoring import InMemoryHealthRecords


def hour(number: int) -> datetime:
    """When entry `number` was written."""
    return AT + timedelta(hours=number)


def a_chain(length: int, model: str = "flight-delay", **facts: Any) -> list[LedgerEntry]:
    """Entries 1 to `length`: version `seq` was promoted."""
    entries: list[LedgerEntry] = []
    for seq in range(1, length + 1):
        entry = LedgerEntry(
            model=model,
            seq=seq,
            at=hour(seq),
            actor="arn:aws:iam::123456789012:user/ann",
            action="promote",
            version=seq,
            previous_version=None,
            weight_bp=10_000,
            reason="because",
        )
        entries.append(chain(replace(entry, **facts), entries[-1].hash if entries else GENESIS))
    return entries


def batch_acts(length: int, model: str = "flight-delay") -> list[BatchEntry]:
    """One act an hour, half an hour after the ledger's."""
    entries: list[BatchEntry] = []
    for seq in range(1, length + 1):
        act = BatchEntry(
            model=model,
            seq=0,
            at=hour(seq) + timedelta(minutes=30),
            actor="arn:aws:iam::123456789012:user/ann",
            action=Act.START,
            batch_id=f"b{seq}",
            version=3,
            artifact_sha256="a" * 64,
            input="s3://data/in/",
            output="s3://data/out/",
            objects=2,
            attempt=1,
        )
        entries.append(follow(act, Head(entries[-1].seq, entries[-1].hash) if entries else Head()))
    return entries


def verified(model: str, registry: Any, health_records: InMemoryHealthRecords | None = None) -> dict[str, Any]:
    """What whoever verifies is answered, of a registry that is all of ports.Models, Routes and Versions."""
    return verify_ledger(
        model,
        Asked(),
        models=registry,
        routes=registry,
        versions=registry,
        batch_ledger=InMemoryBatchLedger(),
        health_records=health_records or InMemoryHealthRecords(),
    )
