"""Parquet files to columns and back: the one place where Arrow is used.

    file = ParquetFile.opened("june.parquet", io.BytesIO(data))
    file.columns, file.groups, file.read(file.columns), file.read(["distance"], groups=[3])
    data = written({"distance": pd.Series([213.0])})

By its type, a column has whole numbers, numbers, truth values, texts or moments in UTC. Columns of other types, such as
nested and repeated ones, are refused by name and type; so are files and pages that are damaged or encrypted.
"""

import io
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from tidegate.kernel.errors import DatasetInvalidError, Fault
from tidegate.kernel.values import class_name

_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_END = 8  # bytes behind the footer: its length and the magic word
MAX_FOOTER = 32 * 2**20  # bytes; in memory it takes ten times as much
_DEEPEST = 32  # levels of a nested column; Arrow descends by recursion
_TEXT: Any = pd.StringDtype("pyarrow", na_value=np.nan)
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_NO_TIME = np.iinfo(np.int64).min
_BYTES = frozenset({"INTERVAL", "GEOMETRY", "GEOGRAPHY", "BSON"})  # logical types that Arrow takes for bytes
_MOST_SAID = 200  # letters of Arrow's own words

_Convert = Callable[[pa.ChunkedArray], pd.Series]


def unreadable(name: str, problem: str) -> DatasetInvalidError:
    """One fault of a file or a column."""
    return DatasetInvalidError(f"{name} cannot be read", [Fault(name, problem)])


def text_of(value: Any) -> str:
    """A value of a column as JSON writes it: numbers, truth values and times are the texts that models learn."""
    if isinstance(value, np.generic):
        value = value.item()
    return value.isoformat() if isinstance(value, pd.Timestamp) else class_name(value)


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A file of which only the footer was read. `columns` are without the row labels that pandas adds."""

    name: str
    file: Any
    columns: list[str]

    @classmethod
    def opened(cls, name: str, source: Any) -> Self:
        """From a binary file that can seek.

        Raises:
            DatasetInvalidError: it is damaged, cut off or encrypted, or describes more chunks than fit into memory.
        """
        size = source.seek(0, io.SEEK_END)
        source.seek(max(0, size - _END))
        end = source.read(_END)
        if end[4:] == _ENCRYPTED:
            raise unreadable(name, "is encrypted; write it without encryption")
        footer = int.from_bytes(end[:4], "little")
        if end[4:] != _MAGIC or footer > size - _END - len(_MAGIC):
            raise unreadable(name, "is not a complete Parquet file; write or copy it again")
        if footer > MAX_FOOTER:
            problem = f"has a footer of {footer:,} bytes; at most {MAX_FOOTER:,} are allowed"
            raise unreadable(name, f"{problem}; write larger row groups or fewer columns")
        source.seek(0)
        with _named(name, "is not a readable Parquet file"):
            file = pq.ParquetFile(
                source,
                coerce_int96_timestamp_unit="us",
                page_checksum_verification=True,
                pre_buffer=False,
                schema_depth_limit=_DEEPEST,
            )
            return cls(name, file, [each for each in file.schema_arrow.names if not each.startswith("__index_level_")])

    @property
    def groups(self) -> list[int]:
        """The rows of each row group."""
        return [self._group(place).num_rows for place in range(self.file.metadata.num_row_groups)]

    @property
    def unpacked_bytes(self) -> int:
        """Of all columns, as the file says."""
        return sum(self._group(place).total_byte_size for place in range(self.file.metadata.num_row_groups))

    def _group(self, place: int) -> Any:
        return self.file.metadata.row_group(place)

    @property
    def decimals(self) -> list[str]:
        """Columns of decimal numbers."""
        return [field.name for field in self.file.schema_arrow if types.is_decimal(field.type)]

    def read(self, columns: Iterable[str], groups: Sequence[int] | None = None) -> pd.DataFrame:
        """Columns of the file, or of some of its row groups. Whole numbers and truth values have pandas' dtype where
        there are gaps, else numpy's; floats, str and datetime64[us] (UTC, any year) besides.

        Raises:
            DatasetInvalidError: columns are damaged, or of a type that is none of these; all are named.
        """
        numbers = self.groups
        read = range(len(numbers)) if groups is None else groups
        places = dict(_places(self.file.schema_arrow))
        faults: list[Fault] = []
        found: dict[str, pd.Series] = {}
        for name in columns:
            try:
                found[name] = self._read(name, places[name], list(read))
            except DatasetInvalidError as error:
                faults += error.faults
        if faults:
            raise DatasetInvalidError(f"{self.name} cannot be read", faults)
        return pd.DataFrame(found, index=pd.RangeIndex(sum(numbers[place] for place in read)))

    def _read(self, name: str, place: int, groups: list[int]) -> pd.Series:
        where, kind = f"{self.name}: {name}", self.file.schema_arrow.field(name).type
        convert = _conversion(kind)
        column = self.file.metadata.schema.column(place)
        odd = _BYTES.intersection({column.logical_type.type, column.converted_type})  # DuckDB writes the latter alone
        if convert is None or odd:
            said = min(odd).lower() if odd else kind
            raise unreadable(where, f"holds values of type {said}; give numbers, truth values, texts or times")
        with _named(where, "is damaged"):
            # One column at a time: what is read of it is free again before the next one.
            table = self.file.reader.read_row_groups(groups, [place], use_threads=False)
            table.validate(full=True)
        with _named(where, "has values that its type does not allow"):
            return convert(table.column(0))


@contextmanager
def _named(where: str, problem: str) -> Iterator[None]:
    """What Arrow finds, as a fault."""
    try:
        yield
    except (DatasetInvalidError, MemoryError):
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        if "ecrypt" in str(error):
            raise unreadable(where, "is encrypted; write it without encryption") from None
        said = "".join(letter if " " <= letter <= "~" else " " for letter in str(error)[:_MOST_SAID])
        raise unreadable(where, f"{problem} ({said.strip()}); write or copy the file again") from None


def _places(schema: Any) -> Iterator[tuple[str, int]]:
    """Where each column's first leaf stands among all leaves."""
    place = 0
    for field in schema:
        yield field.name, place
        place += _leaves(field.type)


def _leaves(kind: Any) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return sum(_leaves(kind.field(place).type) for place in range(kind.num_fields)) if kind.num_fields else 1


# --- one column -------------------------------------------------------------------------------------------------------


def _conversion(kind: Any) -> _Convert | None:
    """What makes a column of pandas of one of Arrow's types, if there is a rule for it."""
    if types.is_dictionary(kind):
        of_values = _conversion(kind.value_type)
        return of_values and (lambda column: of_values(column.cast(kind.value_type)))
    if isinstance(kind, pa.BaseExtensionType):
        rules: dict[str, _Convert] = {"arrow.uuid": _uuids, "arrow.json": lambda column: _texts(_stored(column))}
        return rules.get(kind.extension_name)
    for applies, convert in _RULES:
        if applies(kind):
            return convert
    return None


def _nothing(column: pa.ChunkedArray) -> pd.Series:
    return pd.Series(np.full(len(column), np.nan))


def _truths(column: pa.ChunkedArray) -> pd.Series:
    known = np.array(column.fill_null(False).to_numpy())  # noqa: FBT003
    return pd.Series(pd.arrays.BooleanArray(known, _gaps(column)) if column.null_count else known)


def _whole(column: pa.ChunkedArray) -> pd.Series:
    known = np.array(column.fill_null(0).to_numpy())
    return pd.Series(pd.arrays.IntegerArray(known, _gaps(column)) if column.null_count else known)


def _floats(column: pa.ChunkedArray) -> pd.Series:
    found = column.to_numpy()
    return pd.Series(np.array(found, dtype=np.float32 if found.dtype == np.float16 else found.dtype))


def _decimals(column: pa.ChunkedArray) -> pd.Series:
    """Whole where the type says so; else the float64 next to the decimal, as its text is read."""
    if column.type.scale == 0:
        try:
            return _whole(column.cast(pa.int64()))
        except pa.ArrowInvalid:
            pass
    return _floats(column.cast(pa.string()).cast(pa.float64()))


def _texts(column: pa.ChunkedArray) -> pd.Series:
    try:
        return pd.Series(_TEXT.__from_arrow__(column.cast(pa.large_string())))
    except pa.ArrowInvalid:
        raise pa.ArrowInvalid("bytes that are not UTF-8 text") from None


def _bytes(column: pa.ChunkedArray) -> pd.Series:
    return _texts(column.cast(pa.large_binary()))


def _uuids(column: pa.ChunkedArray) -> pd.Series:
    texts = [value and str(uuid.UUID(bytes=value)) for value in _stored(column).to_pylist()]
    return pd.Series(texts, dtype="str")


def _stored(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def _moments(column: pa.ChunkedArray) -> pd.Series:
    """Years beyond those of int64 microseconds become its first and last ones."""
    kind = column.type
    stored = column.cast(pa.int32()) if types.is_date32(kind) else column
    counts = np.array(stored.cast(pa.int64()).fill_null(0).to_numpy())
    if types.is_timestamp(kind) and kind.unit == "ns":
        counts //= 1_000
    else:
        each = 86_400_000_000 if types.is_date32(kind) else _MICROSECONDS["ms" if types.is_date64(kind) else kind.unit]
        most = -(_NO_TIME + 1) // each
        counts = np.clip(counts, -most, most) * each
    counts[_gaps(column)] = _NO_TIME
    return pd.Series(counts.view("datetime64[us]"))


def _gaps(column: pa.ChunkedArray) -> Any:
    return np.array(column.is_null().to_numpy())


_RULES: tuple[tuple[Callable[[Any], bool], _Convert], ...] = (
    (types.is_null, _nothing),
    (types.is_boolean, _truths),
    (types.is_integer, _whole),
    (types.is_floating, _floats),
    (types.is_decimal, _decimals),
    (types.is_date, _moments),
    (types.is_timestamp, _moments),
    (types.is_string, _texts),
    (types.is_large_string, _texts),
    (types.is_string_view, _texts),
    (types.is_binary, _bytes),
    (types.is_large_binary, _bytes),
    (types.is_binary_view, _bytes),
    (types.is_fixed_size_binary, _bytes),
)


# --- out --------------------------------------------------------------------------------------------------------------


def written(columns: Mapping[str, pd.Series]) -> bytes:
    """A file of columns of equal length; the same columns give the same bytes. Objects are texts or None."""
    kinds = {name: pa.string() if _is_text(column) else None for name, column in columns.items()}
    arrays = [pa.array(column, kinds[name], from_pandas=True) for name, column in columns.items()]
    file = io.BytesIO()
    table = pa.table(arrays, names=list(columns))
    pq.write_table(table, file, compression="snappy", store_schema=False, write_page_checksum=True)
    return file.getvalue()


def _is_text(column: pd.Series) -> bool:
    return column.dtype == object or isinstance(column.dtype, pd.StringDtype)
