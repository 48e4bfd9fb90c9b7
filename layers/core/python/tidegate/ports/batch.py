"""Batch predictions: their objects, runs and ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # numpy and pydantic stay off the import path of functions that need neither
    from tidegate.domain.batch.batch import Source
    from tidegate.domain.batch.batch_ledger import BatchEntry, Head
    from tidegate.kernel.address import Address


class BatchObjects(Protocol):
    """What batches read and write, wherever they may. Addresses are checked before they come here."""

    def sources(self, address: "Address", most: int) -> "list[Source]":
        """The object of this address, or those under it as a folder, by key; empty ones, and those whose name or
        whose folder's name begins with . or _, are passed over. At most `most` + 1 of them."""
        ...

    def read(self, address: "Address", etag: str, start: int, stop: int) -> bytes:
        """Bytes of an object that still has this ETag. Raises InputChangedError: it was changed or removed."""
        ...

    def document(self, address: "Address") -> bytes:
        """A whole object. Raises NotFoundError."""
        ...

    def create(self, address: "Address", data: bytes) -> bool:
        """Write a JSON document where nothing is yet; False, and nothing is written, where something is."""
        ...

    def put(self, address: "Address", data: bytes, content_type: str, facts: Mapping[str, str]) -> None:
        """Write an object that says these facts of itself."""
        ...

    def facts(self, address: "Address") -> Mapping[str, str] | None:
        """What an object says of itself; None when there is none."""
        ...

    def names(self, folder: "Address", after: str) -> set[str]:
        """Names of the objects directly in a folder that are behind the name `after`."""
        ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of the batch state machine. `status` as Step Functions calls it; `reason` of one that failed,
    or that its input ended."""

    number: int
    status: str
    reason: str = ""

    @property
    def running(self) -> bool:
        """It is not over."""
        return self.status == "RUNNING"


class BatchRuns(Protocol):
    """The batch state machine."""

    def latest(self, batch_id: str) -> Attempt | None:
        """The last attempt at a batch; None when there was none."""
        ...

    def start(self, batch_id: str, number: int, document: Mapping[str, Any]) -> None:
        """Start an attempt; the same one again changes nothing."""
        ...


class BatchLedger(Protocol):
    """What was done about batches, by model: one chain of entries each, which nobody rewrites."""

    def append(self, entry: "BatchEntry") -> None:
        """Chain an entry to the newest one; one whose `key` is recorded already changes nothing.

        Raises:
            UnavailableError: too many at once; that passes.
        """
        ...

    def find(self, model: str, key: str) -> "BatchEntry | None":
        """The entry of an act; None when it is not recorded. Strongly consistent.

        Raises:
            LedgerBrokenError: the entry cannot even be read.
        """
        ...

    def head(self, model: str) -> "Head":
        """The newest entry's number and hash. Strongly consistent."""
        ...

    def entries(
        self, model: str, *, after: int = 0, limit: int | None = None, newest_first: bool = False
    ) -> "list[BatchEntry]":
        """In order, oldest first: all, or at most `limit` of those behind entry `after`. Strongly consistent.

        Raises:
            LedgerBrokenError: an entry cannot even be read.
        """
        ...
