"""Datasets, their files, and tables read from them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from tidegate.domain.data.dataset import ColumnProfile, ColumnType, Dataset, DatasetVersion, Exclusion, Reading

if TYPE_CHECKING:  # numpy and pydantic stay off the import path of functions that need neither
    from tidegate.kernel.table import Column, Table


class Catalog(Protocol):
    """Datasets, their versions and excluded periods."""

    def put_dataset(self, dataset: Dataset, *, replaces: Dataset | None = None) -> None:
        """Create it, or replace what people said of it before; `latest` is left as it is.

        Raises:
            ConflictError: somebody else described it in the meantime.
        """
        ...

    def dataset(self, name: str) -> Dataset:
        """Raises NotFoundError."""
        ...

    def datasets(self, *, after: str = "", limit: int | None = None) -> list[Dataset]:
        """By name: all, or at most `limit` of those behind the name `after`."""
        ...

    def add_version(self, version: DatasetVersion) -> bool:
        """Record a version that is being registered; False when a READY one of that content exists already."""
        ...

    def finish_version(self, version: DatasetVersion) -> None:
        """Record the outcome; a READY one becomes the dataset's latest, unless it has labelled captures. Idempotent."""
        ...

    def version(self, dataset: str, version: str | None = None) -> DatasetVersion:
        """The named one, or the latest READY one. Raises NotFoundError."""
        ...

    def versions(self, dataset: str, *, after: str = "", limit: int | None = None) -> list[DatasetVersion]:
        """Newest first: all, or at most `limit` of those behind the `position` `after`."""
        ...

    def exclude(self, exclusion: Exclusion) -> None:
        """Append; an exclusion is never changed or removed."""
        ...

    def exclusions(self, dataset: str) -> list[Exclusion]:
        """By start."""
        ...


class DatasetFiles(Protocol):
    """The bytes of dataset versions."""

    def put(self, dataset: str, data: bytes) -> str:
        """Store a file; returns its SHA-256 (hex). Storing the same bytes again changes nothing."""
        ...

    def upload_url(self, dataset: str, sha256: str, size: int) -> str:
        """A presigned PUT that accepts exactly those bytes (checked by S3 through the SHA-256 checksum header)."""
        ...

    def key(self, dataset: str, sha256: str) -> str:
        """Where those bytes live."""
        ...

    def exists(self, key: str) -> bool:
        """Whether those bytes were uploaded already."""
        ...

    def read(self, key: str) -> bytes:
        """Raises NotFoundError."""
        ...


class Frame(Protocol):
    """A dataset version in memory: typed columns, rows in the order they were read."""

    def __len__(self) -> int:
        """Rows."""
        ...

    @property
    def types(self) -> Mapping[str, ColumnType]:
        """Type of each column, in file order."""
        ...

    def profiles(self, *, private: Collection[str] = ()) -> tuple[ColumnProfile, ...]:
        """Schema and quality of each column; no value of a `private` column is shown."""
        ...

    def hints(self, *, private: Collection[str] = ()) -> tuple[str, ...]:
        """Sentences on cells that may be meant otherwise than they are read; none on `private` columns."""
        ...

    def period(self, column: str) -> tuple[datetime, datetime] | None:
        """First and last moment (aware UTC) of a time column; None when it holds none."""
        ...

    def row_hashes(self) -> "Column":
        """uint64 [rows]: equal for rows that agree in every column."""
        ...

    def table(self, columns: Iterable[str], *, as_text: Collection[str] = ()) -> "Table":
        """Columns as numpy arrays: numbers and booleans float64 (missing: NaN), texts (missing: ""), times
        datetime64[us] in UTC (missing: NaT). `as_text` columns become texts: 5 is "5", true is "true"."""
        ...

    def distinct(self, column: str, most: int) -> list[str]:
        """The different values of a column as texts; when there are more than `most`, that many from all over it."""
        ...


class FrameReader(Protocol):
    """Files to columns (pandas and Arrow live behind this)."""

    @property
    def most_bytes(self) -> int | None:
        """Of all files together, as they are stored; None: there is no limit."""
        ...

    def read(self, files: Mapping[str, bytes], reading: Reading, kinds: Mapping[str, str]) -> Frame:
        """One frame of all files (CSV, gzipped CSV or Parquet by content), columns in the order of the first file.

        `kinds` says what a spec's features are; other columns are what all their cells can be.

        Raises:
            DatasetInvalidError: unreadable, larger than memory once unpacked, or the files' columns differ.
        """
        ...


class FrameWriter(Protocol):
    """Columns to a file (pandas and Arrow live behind this)."""

    def write(self, rows: int, types: Mapping[str, ColumnType], cells: Mapping[str, Sequence[Any]]) -> bytes:
        """A Parquet file that `FrameReader` reads with these types; the same cells give the same bytes.

        `cells` [rows] are None or NaN where there is nothing: numbers and booleans as float64, times as microseconds
        since 1970 (UTC), texts as they are. A column without cells is empty.
        """
        ...
