"""The ledger of batches: in memory as in DynamoDB (moto)."""

import threading
from dataclasses import replace

import pytest

from tests.adapters.conftest import TABLE
from tests.builders.batch import START
from tidegate.aws.batch_ledger import DynamoBatchLedger
from tidegate.aws.table import Table, put
from tidegate.domain.batch.batch_ledger import Act, Head, verify
from tidegate.kernel.errors import LedgerBrokenError
from tidegate.ports.batch import BatchLedger
from tidegate.testing.batch import InMemoryBatchLedger

END = replace(START, action=Act.COMPLETE, attempt=None, rows=10, faulty=1, success_sha256="e" * 64)


@pytest.fixture
def ledger(where: str) -> BatchLedger:
    return InMemoryBatchLedger() if where == "memory" else DynamoBatchLedger(TABLE)


def test_acts_become_one_chain_for_each_model(ledger: BatchLedger) -> None:
    assert (ledger.head("delay"), ledger.entries("delay")) == (Head(), [])
    for entry in (START, END, replace(START, batch_id="b2"), replace(START, model="price")):
        ledger.append(entry)
    found = ledger.entries("delay")
    assert [(entry.seq, entry.batch_id, entry.action, entry.rows) for entry in found] == [
        (1, "b1", Act.START, None),
        (2, "b1", Act.COMPLETE, 10),
        (3, "b2", Act.START, None),
    ]
    assert ledger.head("delay") == Head(3, found[-1].hash)
    assert verify("delay", found, found[-1].hash) is None
    assert [entry.seq for entry in ledger.entries("price")] == [1]


def test_an_act_that_comes_again_is_recorded_once_whoever_brings_it(ledger: BatchLedger) -> None:
    assert ledger.find("delay", START.key) is None
    ledger.append(START)
    before = ledger.entries("delay")
    assert [ledger.find("delay", START.key)] == before
    assert ledger.find("price", START.key) is None
    ledger.append(replace(START, actor="arn:aws:iam::123456789012:user/eve"))
    assert ledger.entries("delay") == before
    ledger.append(replace(START, action=Act.RESUME, attempt=2))
    assert len(ledger.entries("delay")) == 2


def test_those_who_record_at_once_lose_nothing(aws: None) -> None:
    entries = [replace(START, batch_id=f"b{number}") for number in range(4)]
    threads = [threading.Thread(target=DynamoBatchLedger(TABLE).append, args=(entry,)) for entry in entries * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger = DynamoBatchLedger(TABLE)
    found = ledger.entries("delay")
    assert sorted(entry.batch_id for entry in found) == ["b0", "b1", "b2", "b3"]
    assert verify("delay", found, ledger.head("delay").hash) is None


def test_entries_come_in_parts_from_either_end(ledger: BatchLedger) -> None:
    for number in range(1, 6):
        ledger.append(replace(START, batch_id=f"b{number}"))
    assert [each.seq for each in ledger.entries("delay", after=2, limit=2)] == [3, 4]
    assert [each.seq for each in ledger.entries("delay", limit=2, newest_first=True)] == [5, 4]
    assert [each.seq for each in ledger.entries("delay", after=3, newest_first=True)] == [2, 1]
    assert ledger.entries("delay", after=5) == ledger.entries("delay", after=1, newest_first=True) == []


def test_an_entry_that_cannot_be_read_is_named(aws: None) -> None:
    ledger = DynamoBatchLedger(TABLE)
    ledger.append(START)
    Table(TABLE).write(put("BATCHES#delay", "ENTRY#0000000002", {"seq": {"S": "what"}}))
    with pytest.raises(LedgerBrokenError, match="entry 2 of the batches of delay is corrupt"):
        ledger.entries("delay")
