"""Parts of CSV and Parquet files to rows as a contract looks at them, and answers back to files.

    rows = rows_of("csv", part, size, contract, ["flight_id"], fetch)
    write("csv", part.first_row, rows, answers, contract)

Of Parquet only the columns that are needed are fetched. A CSV text is what `tidegate predict` takes it for: numbers and
truth values by the contract's kind, everything else as it stands (`kernel/values`).
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pandas as pd

from tidegate.domain.batch.batch import Format, Part, Source, passed_names
from tidegate.domain.batch.rows import Answers, Given, Rows
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.formats.csv_records import BOM, records
from tidegate.kernel import values
from tidegate.kernel.errors import DatasetInvalidError, Fault
from tidegate.kernel.table import Column
from tidegate.kernel.values import Cells, class_name
from tidegate.ml.parquet import ParquetFile, text_of, written

HEADER_BYTES = 1 << 16
_READ_AHEAD = 4 << 20
_SPECIAL = ',"\r\n'  # a field with one of them stands in quotes
_TRUTHS = np.array(["false", "true", ""], dtype=object)

Fetch = Callable[[int, int], bytes]
"""The bytes of an object from a place up to another."""


class Ranges(io.RawIOBase):
    """An object in S3 as a file: what is read of it is fetched, nothing else."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch, self._size, self._place = fetch, size, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere else."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fetch as much as there is room for."""
        stop = min(self._place + len(buffer), self._size)
        if stop <= self._place:
            return 0
        data = self._fetch(self._place, stop)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def header(source: Source, fetch: Fetch) -> tuple[list[str], int]:
    """The columns that the first line of a CSV object names, and the byte behind it.

    Raises:
        DatasetInvalidError: it names none, one twice, or is longer than 64 KiB.
    """
    text = fetch(0, min(source.size, HEADER_BYTES))
    begins = len(BOM) if text.startswith(BOM) else 0
    found = records(text[begins:], last=source.size <= HEADER_BYTES)
    if not len(found.ends):
        problem = (
            "is empty; the first line must name the columns" if not source.size else "has no line of 64 KiB or less"
        )
        raise DatasetInvalidError("the input cannot be read", [Fault(source.key, problem)])
    stop = begins + int(found.ends[0])
    try:
        names = next(csv.reader([text[begins:stop].decode()]), [])
    except UnicodeDecodeError:
        raise DatasetInvalidError("the input cannot be read", [Fault(source.key, "is not UTF-8 text")]) from None
    except csv.Error:
        problem = "has a header that is not CSV; end each line with a line feed"
        raise DatasetInvalidError("the input cannot be read", [Fault(source.key, problem)]) from None
    if not names:
        problem = "has a blank first line; it must name the columns"
        raise DatasetInvalidError("the input cannot be read", [Fault(source.key, problem)])
    _demand_different(source, names)
    return names, stop


def _demand_different(source: Source, names: Sequence[str]) -> None:
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DatasetInvalidError("the input cannot be read", [Fault(source.key, f"names column {twice!r} twice")])


def row_groups(source: Source, fetch: Fetch) -> tuple[list[str], list[int]]:
    """The columns of a Parquet object, and the rows of each of its row groups. Raises DatasetInvalidError."""
    file = _parquet(source.key, source.size, fetch)
    _demand_different(source, file.columns)
    return file.columns, file.groups


def rows_of(kind: Format, part: Part, size: int, contract: Contract, *, ids: Sequence[str], fetch: Fetch) -> Rows:
    """The rows of a part.

    Raises:
        DatasetInvalidError: they cannot be read at all.
    """
    if kind == "parquet":
        return _from_parquet(part, size, contract, ids, fetch)
    names, _ = header(Source(part.key, part.etag, size), fetch)
    return _from_csv(part, names, contract, ids, fetch(part.start, part.stop))


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(key: str, size: int, fetch: Fetch) -> ParquetFile:
    return ParquetFile.opened(key, io.BufferedReader(Ranges(fetch, size), _READ_AHEAD))


def _from_parquet(part: Part, size: int, contract: Contract, ids: Sequence[str], fetch: Fetch) -> Rows:
    file = _parquet(part.key, size, fetch)
    there = set(file.columns)
    features = [feature for feature in contract.features if feature.name in there]
    wanted = list(dict.fromkeys([*(feature.name for feature in features), *(name for name in ids if name in there)]))
    frame = file.read(wanted, range(part.start, part.stop))
    return Rows(
        count=part.rows,
        given={feature.name: _given(feature, frame[feature.name], contract.cells) for feature in features},
        ids={name: frame[name].to_numpy() for name in ids if name in there},
    )


def _given(feature: FeatureContract, series: pd.Series, cells: Cells) -> Given:
    """A typed column: numbers for what wants numbers, texts for what wants texts, everything else is odd."""
    kind = series.dtype
    if feature.kind in {"numeric", "integer", "boolean"}:
        truths = pd.api.types.is_bool_dtype(kind)
        if pd.api.types.is_numeric_dtype(kind) and truths is (feature.kind == "boolean"):
            return Given(numbers=series.to_numpy(dtype="float64", na_value=np.nan))
        return _mixed(feature, series)
    codes, found = pd.factorize(series)
    return _texts(codes, cells.column(feature.name, [text_of(value) for value in found]))


def _texts(codes: Column, texts: Sequence[str | None]) -> Given:
    """Texts by their places, -1 for what is missing."""
    known = np.array([-1 if text is None else place for place, text in enumerate(texts)] + [-1])
    return Given(codes=known[codes], texts=np.array([text or "" for text in texts], dtype=object))


def _mixed(feature: FeatureContract, series: pd.Series) -> Given:
    """Numbers, or truth values, among other things."""
    wanted = (bool, np.bool_) if feature.kind == "boolean" else (int, float, np.integer, np.floating)
    numbers, odd = np.full(len(series), np.nan), {}
    for row, value in enumerate(series.astype(object)):
        if value is None or value is pd.NA or value is pd.NaT or value != value:  # noqa: PLR0124  NaN
            continue
        if isinstance(value, wanted) and isinstance(value, bool | np.bool_) is (feature.kind == "boolean"):
            numbers[row] = value
        else:
            odd[row] = bool(value) if isinstance(value, bool | np.bool_) else _plain(value)
    return Given(numbers=numbers, odd=odd)


def _plain(value: Any) -> Any:
    if isinstance(value, int | float | np.integer | np.floating):
        return float(value)
    return text_of(value)


# --- CSV --------------------------------------------------------------------------------------------------------------


def _from_csv(part: Part, names: Sequence[str], contract: Contract, ids: Sequence[str], text: bytes) -> Rows:
    found = records(text, last=True)
    problems = found.problems(len(names))
    held, good = ~found.blank, ~found.blank
    good[list(problems)] = False
    if not good.all():
        text = b"".join(text[a:b] for a, b in zip(found.starts[good], found.ends[good], strict=True))
    features = [feature for feature in contract.features if feature.name in names]
    passed = [name for name in ids if name in names]
    wanted = [name for name in names if name in passed or any(name == feature.name for feature in features)]
    count = int(good.sum())
    try:
        numbers = {each.name for each in features if each.kind in {"numeric", "integer"}}.difference(passed)
        parsed = _parsed(text, names, wanted, numbers, contract.cells) if count and wanted else None
    except ValueError:  # pandas' ParserError is one
        parsed = pd.DataFrame()
    frame = pd.DataFrame({name: pd.Series(dtype=object) for name in wanted}, range(count)) if parsed is None else parsed
    if len(frame) != count:
        raise DatasetInvalidError(
            "the input cannot be read", [Fault(part.key, f"rows from {part.first_row} do not parse")]
        )
    rows = np.cumsum(held) - 1
    if problems:
        frame.index = pd.Index(rows[good])
        frame = frame.reindex(range(int(held.sum())))
    return Rows(
        count=int(held.sum()),
        given={feature.name: _from_texts(feature, frame[feature.name], contract.cells) for feature in features},
        ids={name: frame[name].where(frame[name].notna(), None).to_numpy(dtype=object) for name in passed},
        broken={int(rows[place]): problem for place, problem in problems.items()},
    )


def _parsed(
    text: bytes, names: Sequence[str], wanted: Collection[str], numbers: Collection[str], cells: Cells
) -> pd.DataFrame:
    """The wanted columns: `numbers` as float64 where each cell is one, all others as texts."""
    missing = {name: list({*cells.missing, *values.MISSING}) for name in numbers}
    errors = "strict" if _decodes(text) else "surrogateescape"

    def read(columns: Collection[str], texts: Collection[str]) -> pd.DataFrame:
        return pd.read_csv(
            io.BytesIO(text),
            header=None,
            names=list(names),
            usecols=[name for name in names if name in columns],
            dtype=dict.fromkeys(texts, object),
            low_memory=False,
            na_values=missing,
            keep_default_na=False,
            skip_blank_lines=False,
            decimal=cells.decimal,
            encoding="utf-8",
            encoding_errors=errors,  # anything but strict takes a slower way
        )

    frame = read(wanted, [name for name in wanted if name not in numbers])
    odd = [name for name in numbers if frame[name].dtype.kind not in "iuf"]
    if odd:  # some texts are no numbers; which, is then seen one by one
        frame[odd] = read(odd, odd)[odd]  # which come in the order of the file
    return frame.astype(dict.fromkeys({*numbers} - {*odd}, "float64"))


def _decodes(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _from_texts(feature: FeatureContract, series: pd.Series, cells: Cells) -> Given:
    """A column of texts, or of numbers where each is one; every different text is read once."""
    if series.dtype == "float64":
        return Given(numbers=series.to_numpy())
    codes, found = pd.factorize(series)
    read = cells.column(feature.name, list(found))
    if feature.kind in values.TEXT_KINDS:
        return _texts(codes, read)
    numbers = np.array([np.nan if value is None or type(value) is str else value for value in read] + [np.nan])
    odd = [type(value) is str for value in read] + [False]
    return Given(
        numbers=numbers[codes].astype(np.float64),
        odd={int(row): str(found[codes[row]]) for row in np.flatnonzero(np.array(odd)[codes])},
    )


# --- out --------------------------------------------------------------------------------------------------------------


def write(kind: Format, first_row: int, rows: Rows, found: Answers, contract: Contract) -> bytes:
    """One row for each row: its number, the columns passed on, and the answer or what is wrong."""
    columns = _columns(first_row, rows, found, contract)
    if kind == "csv":
        lines = map(",".join, zip(*map(_fields, columns.values()), strict=True))
        return "\n".join([",".join(_quoted(list(columns))), *lines, ""]).encode(errors="backslashreplace")
    return written(columns)


def _fields(column: pd.Series) -> list[str]:
    """A column as CSV has it: numbers as JSON answers have them, the shortest decimals that name the float32; nothing
    for what is missing."""
    if column.dtype == np.float32:
        numbers = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode()
        return numbers.replace("null", "").split(",") if len(column) else []
    if isinstance(column.dtype, pd.BooleanDtype):
        texts: list[str] = _TRUTHS[column.to_numpy(dtype=np.int8, na_value=2)].tolist()
        return texts
    values = column.tolist()
    if column.dtype == np.int64:
        return list(map(str, values))
    if values.count(None) == len(values):
        return [""] * len(values)
    try:
        return _quoted(values)
    except TypeError:  # not all are texts
        return _quoted(["" if value is None or value is pd.NA else str(value) for value in values])


def _quoted(texts: list[str]) -> list[str]:
    """As the csv module quotes them, and faster when nothing has to be."""
    whole = "".join(texts)
    if not any(letter in whole for letter in _SPECIAL):
        return texts
    return [
        '"' + text.replace('"', '""') + '"' if any(letter in text for letter in _SPECIAL) else text for text in texts
    ]


def write_faults(first_row: int, rows: Rows, found: Answers) -> bytes:
    """One line for each fault: the row's number, the columns passed on, the wrong column, what it holds and why."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["row", *rows.ids, "column", "value", "problem"])
    for row in sorted(found.faults):
        passed = [rows.ids[name][row] for name in rows.ids]
        for fault in found.faults[row]:
            given = rows.given.get(fault.path)
            lines.writerow([first_row + row, *passed, fault.path, _seen(given, row), _said(fault)])
    return out.getvalue().encode(errors="backslashreplace")


def _said(fault: Fault) -> str:
    return str(Fault("", fault.problem, fault.allowed))


def _seen(given: Given | None, row: int) -> str:
    value = None if given is None else given.value(row, "")
    text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 200 else text[:197] + "..."


def _columns(first_row: int, rows: Rows, found: Answers, contract: Contract) -> dict[str, pd.Series]:
    columns: dict[str, pd.Series] = {"row": pd.Series(np.arange(first_row, first_row + rows.count, dtype=np.int64))}
    for name, passed in zip(passed_names(rows.ids), rows.ids.values(), strict=True):
        columns[name] = pd.Series(passed)
    numbers: dict[str, Column] = {"score": found.score}
    if contract.classes:
        columns["label"] = _labels(contract, found)
        numbers |= {
            f"probability_{class_name(label)}": found.probabilities[:, place]
            for place, label in enumerate(contract.classes)
        }
    elif contract.interval is not None:
        numbers |= {"lower": found.lower, "upper": found.upper}
    columns |= {name: pd.Series(column) for name, column in numbers.items()}
    faulty = np.zeros(rows.count, dtype=bool)
    faulty[list(found.faults)] = True
    columns["fallback"] = pd.Series(pd.arrays.BooleanArray(found.fallback, faulty))
    if contract.guard is not None:
        columns["unusual"] = pd.Series(pd.arrays.BooleanArray(found.unusual, faulty))
    columns["rule"] = _sparse(rows.count, found.rule)
    columns["error"] = _sparse(rows.count, {row: "; ".join(map(str, faults)) for row, faults in found.faults.items()})
    return columns


def _labels(contract: Contract, found: Answers) -> pd.Series:
    if all(isinstance(label, bool) for label in contract.classes):
        return pd.Series(pd.arrays.BooleanArray(np.array([*contract.classes, False])[found.label], found.label < 0))
    if all(isinstance(label, int) for label in contract.classes):
        numbers = np.array([*contract.classes, 0], dtype=np.int64)[found.label]
        return pd.Series(pd.arrays.IntegerArray(numbers, found.label < 0))
    texts = np.array([*map(str, contract.classes), None], dtype=object)
    return pd.Series(texts[found.label], dtype=object)


def _sparse(count: int, values: Mapping[int, str]) -> pd.Series:
    column = np.full(count, None, dtype=object)
    for row, value in values.items():
        column[row] = value.encode(errors="backslashreplace").decode()
    return pd.Series(column, dtype=object)
