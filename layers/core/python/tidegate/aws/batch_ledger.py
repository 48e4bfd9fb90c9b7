"""The ledger of batches in the registry's table.

    pk               sk                    what
    BATCHES#{model}  ENTRY#0000000001      one act; never rewritten
    BATCHES#{model}  ACT#{key of the act}  says that it was recorded
    BATCHES#{model}  HEAD                  number and hash of the newest entry

The partitions are their own, so that the functions of batches may write here and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from tidegate.aws.items import attribute, chained, decode, encode
from tidegate.aws.table import ABSENT, RefusedError, Table, put
from tidegate.domain.batch.batch_ledger import BatchEntry, Head, follow
from tidegate.kernel.documents import StoredForm
from tidegate.kernel.errors import UnavailableError
from tidegate.kernel.partitions import Partition

_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class _Recorded:
    FORM: ClassVar = StoredForm("mark of a batch ledger entry")

    seq: int


def entry_of(record: Mapping[str, Any]) -> BatchEntry | None:
    """The entry that a record of the registry's stream adds; None when it is about something else."""
    item = record["dynamodb"]
    if not item["Keys"]["pk"]["S"].startswith(Partition.BATCHES.of("")) or "NewImage" not in item:
        return None
    return decode(BatchEntry, item["NewImage"]) if item["Keys"]["sk"]["S"].startswith("ENTRY#") else None


class DynamoBatchLedger:
    """ports.BatchLedger. Entry, act and head are one transaction, which whoever comes second decides again."""

    def __init__(self, table_name: str) -> None:
        self._table = Table(table_name)

    def append(self, entry: BatchEntry) -> None:
        """See ports.BatchLedger."""
        pk, act = Partition.BATCHES.of(entry.model), f"ACT#{entry.key}"
        for _ in range(_ATTEMPTS):
            if self._table.get(pk, act) is not None:
                return
            head = self.head(entry.model)
            linked = follow(entry, head)
            try:
                self._table.write(
                    put(pk, f"ENTRY#{linked.seq:010d}", encode(linked), when=ABSENT),
                    put(pk, act, encode(_Recorded(linked.seq)), when=ABSENT),
                    put(
                        pk,
                        "HEAD",
                        encode(Head(linked.seq, linked.hash)),
                        when=f"{ABSENT} OR #hash = :replaced",
                        replaced=attribute(Head, "hash", head.hash),
                    ),
                )
            except RefusedError:
                continue
            return
        raise UnavailableError(
            f"the batch of {entry.model} could not be recorded: other batches are being recorded", next_step="try again"
        )

    def find(self, model: str, key: str) -> BatchEntry | None:
        """See ports.BatchLedger."""
        pk = Partition.BATCHES.of(model)
        mark = self._table.get(pk, f"ACT#{key}")
        item = self._table.get(pk, f"ENTRY#{decode(_Recorded, mark).seq:010d}") if mark else None
        return chained(BatchEntry, "batches", model, item) if item else None

    def head(self, model: str) -> Head:
        """See ports.BatchLedger."""
        found = self._table.get(Partition.BATCHES.of(model), "HEAD")
        return decode(Head, found) if found else Head()

    def entries(
        self, model: str, *, after: int = 0, limit: int | None = None, newest_first: bool = False
    ) -> list[BatchEntry]:
        """See ports.BatchLedger."""
        items = self._table.query(
            Partition.BATCHES.of(model),
            "ENTRY#",
            after=f"ENTRY#{after:010d}" if after else "",
            newest_first=newest_first,
            at_a_time=limit,
        )
        return [chained(BatchEntry, "batches", model, item) for item in islice(items, limit)]
