"""Columns by name, as they travel between steps: numpy arrays in one .npz object, never a pickle."""

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tidegate.kernel.documents import StoredForm

Column = npt.NDArray[Any]

# Columns of a run's tables (fit, validation, holdout) besides the features.
TARGET = "__target__"  # int64 class codes (positions in the contract's classes), or float64 for regression
CLUSTER = "__cluster__"  # int64: rows of one value are resampled together (row number, group, or day since 1970)
ROW = "__row__"  # int64: position in the dataset version, files in the order of their SHA-256
RESERVED = frozenset({TARGET, CLUSTER, ROW})


def seconds(column: Column) -> Column:
    """Of moments (datetime64) the whole seconds since 1970-01-01 as float64, fractions floored, NaN for missing; any
    other column as it is."""
    if column.dtype.kind != "M":
        return column
    microseconds = column.astype("datetime64[us]").view(np.int64)
    return np.where(np.isnat(column), np.nan, (microseconds // 1_000_000).astype(np.float64))


@dataclass(frozen=True, slots=True)
class Table:
    """Equally long columns. Numbers are float64 with NaN for missing; texts are unicode arrays with "" for missing.

    Time features are numbers too: whole seconds since 1970-01-01 in UTC, as `seconds` makes them.
    """

    FORM: ClassVar = StoredForm("table of a run", renew="train the model again", field="__schema__")

    columns: Mapping[str, Column]

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns differ in length: {lengths}")

    def __len__(self) -> int:
        return next((len(column) for column in self.columns.values()), 0)

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def take(self, rows: npt.NDArray[Any]) -> "Table":
        """The rows picked by a boolean mask or by positions."""
        return Table({name: column[rows] for name, column in self.columns.items()})

    def select(self, names: Iterable[str]) -> "Table":
        """Only the named columns, in that order; raises KeyError for a name that is not there."""
        return Table({name: self.columns[name] for name in names})

    def to_npz(self) -> bytes:
        """One object for S3. The same columns give the same bytes: members carry no time stamp."""
        import zipfile  # of the steps: the inference function, which holds no tables in S3, starts without it

        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, column in [*self.columns.items(), *self.FORM.mark().items()]:
                member = io.BytesIO()
                np.save(member, np.asarray(column), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED)
        return buffer.getvalue()

    @classmethod
    def from_npz(cls, data: bytes) -> "Table":
        """Read what `to_npz` wrote; raises NewerDocumentError."""
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            columns: dict[str, Any] = {name: archive[name] for name in archive.files}
        if cls.FORM.field in columns:
            columns[cls.FORM.field] = int(columns[cls.FORM.field])
        return cls({name: column for name, column in cls.FORM.current(columns).items() if name != cls.FORM.field})
