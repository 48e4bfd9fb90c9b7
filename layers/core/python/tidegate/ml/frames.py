"""Dataset files to typed columns and back to plain arrays, through pandas.

    frame = PandasReader().read({"2026-01.parquet": data})
    frame.profiles(private={"email"}), frame.table(["carrier", "distance"])
    data = ParquetWriter().write(1, {"distance": ColumnType.INTEGER}, {"distance": [213.0]})

Five column types come out whatever the file format: number, integer, boolean, text, time. A text column whose every
value is an ISO 8601 moment is a time; a time with a zone is turned into UTC, one without is taken as it stands.
`Reading` says by which rules: by those of today, texts are what they are (`kernel/values`), and the words that mean
missing are for numbers, truth values and times.
"""

import csv
import gzip
import io
import re
import shlex
import warnings
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from tidegate.domain.data.dataset import DECLARED, ColumnProfile, ColumnType, Reading
from tidegate.formats.csv_records import BOM, records
from tidegate.kernel import english, values
from tidegate.kernel.errors import DatasetInvalidError, Fault
from tidegate.kernel.expressions.times import SPELLING
from tidegate.kernel.plain_text import text_faults
from tidegate.kernel.table import Column, Table
from tidegate.ml.parquet import ParquetFile, text_of, unreadable, written

MAX_COLUMNS = 600  # a version's profile is one registry item
MAX_NAME = 128  # letters of a column's name, as in specs
MAX_HEADER = 2**20  # bytes of the line that names the columns
_CHUNK = 2**20  # bytes unpacked at a time
# Memory that reading takes at least, measured on columns of whole numbers (texts take up to three times as much).
_BASE_BYTES, _CSV_CELL_BYTES, _PARQUET_CELL_BYTES = 75 * 2**20, 36, 24
_MOST_LINES = 5  # named in one fault
_SAMPLE = 1_000  # different texts that a hint looks at
_CODES = "codes"
_LF = b"\n"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # how a file in it begins
_MOST_WORDS, _MOST_LETTERS = 5, 20  # of words among numbers, that a hint names
_ZERO_FIRST = re.compile(rb'[,\n"]0\d')
_DAY = re.compile(r"\d{1,2}([./-])\d{1,2}\1\d{2,4}")
_DAYS = [
    f"{day}{by}{month}{by}{year}"
    for by in "/.-"
    for year in ("%Y", "%y")
    for day, month in (("%d", "%m"), ("%m", "%d"))
]
_TOP = 5
_TOP_LENGTH = 40
_INTEGERS = 2**63
_EXACT_INTEGERS = 2.0**53  # beyond, float64 skips integers
_FIRST, _LAST = np.datetime64("0001-01-01", "us"), np.datetime64("9999-12-31T23:59:59.999999", "us")
_COMPATIBLE = {ColumnType.INTEGER, ColumnType.NUMBER}


class PandasFrame:
    """ports.Frame over one DataFrame whose columns already have the canonical dtype of their type."""

    def __init__(
        self,
        data: pd.DataFrame,
        types: Mapping[str, ColumnType],
        most_bytes: int | None = None,
        codes: Collection[str] = (),
        reading: Reading = DECLARED,
    ) -> None:
        self._data = data
        self._codes = codes
        self._reading = reading
        self._types = dict(types)
        self._most_bytes = most_bytes
        self._hashes: Column | None = None

    def __len__(self) -> int:
        return len(self._data)

    @property
    def types(self) -> Mapping[str, ColumnType]:
        """See ports.Frame."""
        return self._types

    def profiles(self, *, private: Collection[str] = ()) -> tuple[ColumnProfile, ...]:
        """See ports.Frame."""
        return tuple(_profile(self._data[name], kind, private=name in private) for name, kind in self._types.items())

    def hints(self, *, private: Collection[str] = ()) -> tuple[str, ...]:
        """See ports.Frame."""
        return tuple(hint for name in self._types if name not in private for hint in self._hints(name))

    def _hints(self, name: str) -> Iterator[str]:
        if name in self._codes:
            yield f"{name}: some numbers have leading zeros; if these are codes, add the files with --text {name}"
        if self._types[name] is ColumnType.INTEGER and self._data[name].abs().max() >= _EXACT_INTEGERS:
            problem = "whole numbers of 2^53 (9,007,199,254,740,992) or more lose digits"
            yield f"{name}: {problem}; if these are ids, add the files with --text {name}"
        if self._types[name] is not ColumnType.TEXT:
            return
        texts = self._data[name].dropna()
        every = texts.unique()
        distinct = every[:_SAMPLE]
        others = [text for text in distinct if not _is_number(text)]
        spellings = list(_spellings([text for text in distinct if text not in values.MISSING], self._reading.decimal))
        if spellings or any(len(text) > _MOST_LETTERS or not text.isprintable() for text in others):
            others = []  # no words that people would declare
        words = sorted(values.MISSING.intersection(every))
        among_numbers = 0 < len(others) <= min(_MOST_WORDS, len(distinct) - len(others))
        if among_numbers or words:
            found = others if among_numbers else words
            cells = english.count(int(texts.isin(found).sum()), "cell")
            options = " ".join(f"--missing={shlex.quote(word)}" for word in found)
            beside = ", beside numbers," if among_numbers else ""
            listed = " or ".join(found)
            yield f"{name}: the text {listed} in {cells}{beside} is a value; if it means missing, give {options}"
        yield from (f"{name}: {hint}" for hint in spellings)

    def period(self, column: str) -> tuple[datetime, datetime] | None:
        """See ports.Frame."""
        known = self._data[column].dropna()
        if known.empty:
            return None
        first, last = known.min(), known.max()
        return first.to_pydatetime().replace(tzinfo=UTC), last.to_pydatetime().replace(tzinfo=UTC)

    def row_hashes(self) -> Column:
        """See ports.Frame. Computed once."""
        if self._hashes is None:
            self._hashes = pd.util.hash_pandas_object(self._data, index=False).to_numpy(dtype=np.uint64)
        return self._hashes

    def table(self, columns: Iterable[str], *, as_text: Collection[str] = ()) -> Table:
        """See ports.Frame."""
        return Table({name: self._array(name, as_text=name in as_text) for name in columns})

    def _array(self, name: str, *, as_text: bool) -> Column:
        series, kind = self._data[name], self._types[name]
        if kind is ColumnType.TEXT:
            return self._texts(name, series.fillna("").to_numpy(dtype=object))
        if kind is ColumnType.TIME:
            return series.to_numpy(dtype="datetime64[us]")
        if as_text:
            texts = series.astype(object).map(text_of, na_action="ignore")
            return self._texts(name, texts.where(series.notna(), "").to_numpy(dtype=object))
        return series.to_numpy(dtype="float64", na_value=np.nan)

    def _texts(self, name: str, texts: Column) -> Column:
        """Each takes as much room as the longest, four bytes for a letter."""
        longest = max(map(len, texts), default=0)
        if self._most_bytes is not None and 4 * longest * len(texts) > self._most_bytes:
            problem = f"has a text of {longest:,} letters, too long for {len(texts):,} rows in the memory there is"
            raise unreadable(name, f"{problem}; shorten it, or leave the column out")
        return np.asarray(texts, dtype=np.str_)

    def distinct(self, column: str, most: int) -> list[str]:
        """See ports.Frame."""
        known = self._data[column].dropna().unique()
        places = np.linspace(0, len(known) - 1, min(len(known), most)).astype(np.int64)
        return [text_of(value) for value in known[places]]


def _is_number(text: str, decimal: str = ".") -> bool:
    try:
        return values.read("numeric", text, decimal=decimal) is not None
    except values.NotAValueError:
        return False


def _spellings(texts: Sequence[str], decimal: str) -> Iterator[str]:
    """What could be declared, so that the texts of a column are numbers or times."""
    if not texts:
        return
    (other,) = {*values.DECIMALS} - {decimal}
    if all(_is_number(text, other) for text in texts):
        yield f"texts like {texts[0]} are not numbers; write decimals with {decimal}, or give --decimal {other}"
    if not _DAY.fullmatch(texts[0]):
        return
    found = [each for each in _DAYS if all(values.read("time", text, time_format=each) != text for text in texts)]
    formats = " or ".join(f"--time-format {each}" for each in found)
    which = "may be day and month or month and day" if len(found) > 1 else "are not times"
    yield f"texts like {texts[0]} {which}; write YYYY-MM-DD" + (f", or give {formats}" if found else "")


class _Room:
    """Memory that is left for a table. Files of a few kilobytes may unpack to gigabytes: what certainly does not fit is
    refused before it is read."""

    def __init__(self, memory_mb: int | None) -> None:
        self._memory_mb = memory_mb
        self._left = float("inf") if memory_mb is None else memory_mb * 2**20 - _BASE_BYTES

    def take(self, name: str, needed: float) -> None:
        """Raises DatasetInvalidError when there is not so much left; `needed` in bytes."""
        self._left -= needed
        if self._left < 0:
            problem = f"needs more memory than the {self._memory_mb:,} MB there are, with the files before it"
            raise unreadable(name, f"{problem}; give fewer rows or columns, or deploy with more training_memory_mb")


class PandasReader:
    """ports.FrameReader; with `memory_mb`, files that would take more than so much memory are refused."""

    def __init__(self, memory_mb: int | None = None) -> None:
        self._memory_mb = memory_mb

    @property
    def most_bytes(self) -> int | None:
        """See ports.FrameReader."""
        return None if self._memory_mb is None else self._memory_mb * 2**20 - _BASE_BYTES

    def read(
        self, files: Mapping[str, bytes], reading: Reading = DECLARED, kinds: Mapping[str, str] | None = None
    ) -> PandasFrame:
        """See ports.FrameReader."""
        known = kinds or {}
        texts = {*reading.text, *(name for name, kind in known.items() if kind == "categorical")}
        how = _How(reading, frozenset(texts), frozenset(name for name, kind in known.items() if kind == "boolean"))
        room = _Room(self._memory_mb)
        faults: list[Fault] = []
        parts: dict[str, tuple[pd.DataFrame, dict[str, ColumnType | None]]] = {}
        for name, data in files.items():
            try:
                raw = _read_file(name, data, room, how)
                parts[name] = _canonical(name, raw, how)
            except DatasetInvalidError as error:
                faults += error.faults
            except MemoryError:
                faults.append(Fault(name, "needs more memory than there is; give fewer rows or columns"))
        types, disagreements = _common_types({name: types for name, (_, types) in parts.items()})
        faults += disagreements
        if not files:
            faults.append(Fault("", "no files"))
        if not faults and not any(len(data) for data, _ in parts.values()):
            faults.append(Fault(next(iter(files)), "has no rows"))
        if faults:
            raise DatasetInvalidError(
                "the files do not make one table", faults, next_step="correct them and add them again"
            )
        pieces = [
            pd.DataFrame({name: _cast(data[name], kind) for name, kind in types.items()}) for data, _ in parts.values()
        ]
        whole = pieces[0] if len(pieces) == 1 else pd.concat(pieces, ignore_index=True)
        typed = pd.DataFrame({name: _cast(whole[name], kind) for name, kind in types.items()})
        codes = {column for raw in parts.values() for column in raw[0].attrs.get(_CODES, ())}
        return PandasFrame(typed, types, self.most_bytes, codes, reading)


@dataclass(frozen=True, slots=True)
class _How:
    """The rules, and what is known of columns: which are texts, and which are truth values, however they are spelt."""

    reading: Reading
    texts: frozenset[str]
    truths: frozenset[str]

    @property
    def guesses(self) -> bool:
        """Whether pandas decides what the words and columns of CSV mean."""
        return self.reading.rules == 1

    def is_text(self, column: str) -> bool:
        """Whether a column has texts whatever stands in it."""
        return not self.guesses and column in self.texts


class ParquetWriter:
    """ports.FrameWriter."""

    def write(self, rows: int, types: Mapping[str, ColumnType], cells: Mapping[str, Sequence[Any]]) -> bytes:
        """See ports.FrameWriter."""
        nothing = pd.Series(np.full(rows, np.nan))
        return written({name: _column(cells[name], kind) if name in cells else nothing for name, kind in types.items()})


def _column(cells: Sequence[Any], kind: ColumnType) -> pd.Series:
    """In the dtype of its type; whole numbers that are none after all stay numbers."""
    match kind:
        case ColumnType.TEXT:
            return pd.Series(cells, dtype=object)
        case ColumnType.TIME:
            return pd.Series(np.asarray(cells, dtype="int64").view("datetime64[us]"))
        case ColumnType.NUMBER:
            return pd.Series(np.asarray(cells, dtype="float64"))
    numbers = np.asarray(cells, dtype="float64")
    known = pd.Series(numbers).mask(np.isnan(numbers))
    if kind is ColumnType.BOOLEAN:
        return known.astype("boolean")
    whole = bool(((known.dropna() % 1 == 0) & (known.dropna().abs() < _INTEGERS)).all())
    return known.astype("Int64") if whole else known


def _read_file(name: str, data: bytes, room: _Room, how: _How) -> pd.DataFrame:
    if data[:4] in {b"PAR1", b"PARE"}:
        return _read_parquet(name, data, room, how)
    if data[:2] == b"\x1f\x8b":
        data = _unpacked(name, data, room)
    if data[:4] == b"PK\x03\x04":
        raise unreadable(name, "is a ZIP archive (or a spreadsheet); give CSV, gzipped CSV or Parquet")
    if data[:2] in _UTF16:
        raise unreadable(name, "is UTF-16 text; save it as UTF-8")
    if b"\x00" in data[:4096]:
        raise unreadable(name, "is neither CSV, gzipped CSV nor Parquet")
    if not how.guesses and (place := data.find(b"\x00")) >= 0:
        raise unreadable(name, f"has a NUL character in line {data.count(_LF, 0, place) + 1:,}; remove it")
    return _read_csv(name, data, room, how)


def _unpacked(name: str, data: bytes, room: _Room) -> bytes:
    """In pieces, since the length that a gzip file states means nothing."""
    pieces = []
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            while piece := file.read(_CHUNK):
                room.take(name, len(piece))
                pieces.append(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(name, f"is not a complete gzip file ({error}); upload it again") from None
    return b"".join(pieces)


def _read_parquet(name: str, data: bytes, room: _Room, how: _How) -> pd.DataFrame:
    file = ParquetFile.opened(name, io.BytesIO(data))
    faults = list(_name_faults(name, file.columns))
    if faults:
        raise DatasetInvalidError(f"{name} has faulty columns", faults)
    room.take(name, max(sum(file.groups) * len(file.columns) * _PARQUET_CELL_BYTES, file.unpacked_bytes))
    frame = file.read(file.columns)
    return frame.astype(dict.fromkeys(file.decimals, "float64")) if how.guesses else frame


def _read_csv(name: str, data: bytes, room: _Room, how: _How) -> pd.DataFrame:
    header = _header(name, data)
    rows = max(data.count(b"\n"), data.count(b"\r")) + 1
    room.take(name, rows * len(header) * _CSV_CELL_BYTES)
    if how.guesses:
        return _parsed(name, data, header)
    data = _whole_lines(name, data, len(header))
    texts = [column for column in header if how.is_text(column)]
    declared = frozenset(how.reading.missing_words)
    decimal: dict[str, Any] = {"decimal": how.reading.decimal, "skip_blank_lines": False}
    # Pandas takes -999.0 for the word -999, which holds for numbers; texts are masked afterwards.
    words = {column: values.NOTHING if column in texts else declared | values.MISSING for column in header}
    frame = _parsed(name, data, header, words, texts=texts, **decimal)
    wide = [each for each in header if _is_wide(frame[each])]
    if wide:  # whole numbers with gaps, which floats would round
        frame[wide] = _parsed(name, data, header, words, texts=wide, usecols=wide, **decimal)[wide]
    for each in header:
        if each not in texts and _is_text(frame[each]):
            frame[each] = _numbers(frame[each], how.reading)
    # The words that mean missing elsewhere are texts in the columns that turn out to hold texts.
    guessed = [each for each in header if each not in texts and _is_text(frame[each]) and frame[each].isna().any()]
    guessed = [each for each in guessed if _moments(frame[each], how.reading.time_format) is None]
    if guessed:
        words = dict.fromkeys(guessed, values.NOTHING)
        frame[guessed] = _parsed(name, data, header, words, texts=guessed, usecols=guessed, **decimal)[guessed]
    if _ZERO_FIRST.search(data):
        numbers = [column for column in header if frame[column].dtype.kind in "iuf"]
        spelt = (
            _parsed(name, data, header, {}, texts=numbers, usecols=numbers, **decimal) if numbers else frame[numbers]
        )
        frame.attrs[_CODES] = [column for column in numbers if spelt[column].str.fullmatch(r"0\d+").any()]
    return frame


def _parsed(
    name: str,
    data: bytes,
    header: Sequence[str],
    missing: Mapping[str, Collection[str]] | None = None,
    *,
    texts: Sequence[str] = (),
    **options: Any,
) -> pd.DataFrame:
    """What pandas makes of CSV: by its own guess, or with the words that are `missing` in each column, and `texts` as
    they stand."""
    if missing is not None:
        na_values = {column: list(words) for column, words in missing.items()}
        options |= {"na_values": na_values, "keep_default_na": False, "dtype": dict.fromkeys(texts, object)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # it would drop surplus values in silence
            file = io.BytesIO(data)
            frame: pd.DataFrame = pd.read_csv(file, encoding="utf-8-sig", low_memory=False, index_col=False, **options)
            return frame
    except UnicodeDecodeError as error:
        raise unreadable(name, f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=list(header))
    except pd.errors.ParserWarning:
        raise unreadable(name, f"has rows with more values than its {english.count(len(header), 'column')}") from None
    except ValueError as error:  # pandas' ParserError is one
        raise unreadable(name, _csv_problem(str(error))) from None


def _is_text(series: pd.Series) -> bool:
    return pd.api.types.infer_dtype(series, skipna=True) == "string"


def _is_wide(series: pd.Series) -> bool:
    if series.dtype != "float64":
        return False
    return bool(series.abs().max() >= _EXACT_INTEGERS and (series.dropna() % 1 == 0).all())


def _numbers(series: pd.Series, reading: Reading) -> pd.Series:
    """Of texts: the numbers that they are, each of them, beside what is missing; else the texts."""
    codes, texts = pd.factorize(series)
    found: list[Any] = []
    for text in texts:
        try:
            found.append(values.read("numeric", text, reading.missing_words, decimal=reading.decimal))
        except values.NotAValueError:
            return series
    whole = all(value is None or (type(value) is int and abs(value) < _INTEGERS) for value in found)
    numbers = pd.Series([*found, None], dtype="Int64" if whole else "float64").take(codes)
    return numbers.set_axis(series.index)


def _whole_lines(name: str, data: bytes, columns: int) -> bytes:
    """The lines that are not blank. Raises DatasetInvalidError for those that are none of the table: pandas would fill
    or part them."""
    text = data.removeprefix(BOM)
    if _LF not in text:
        text = text.replace(b"\r", _LF)
    found = records(text, last=True)
    problems = found.problems(columns)
    if problems:
        rows = np.cumsum(~found.blank) - 1
        named = sorted(problems.items())[:_MOST_LINES]
        faults = [Fault(name, f"row {rows[place]:,} {problem}") for place, problem in named]
        summary = f"{name} has {english.count(len(problems), 'row')} that do not fit its header"
        raise DatasetInvalidError(summary, faults)
    if not found.blank.any():
        return text
    held = ~found.blank
    return b"".join(text[start:stop] for start, stop in zip(found.starts[held], found.ends[held], strict=True))


def _csv_problem(said: str) -> str:
    """What pandas' C parser found, in our words."""
    if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", said):
        columns, line, values = map(int, found.groups())
        return f"line {line:,} has {english.count(values, 'value')} for {english.count(columns, 'column')}"
    if found := re.search(r"EOF inside string starting at row (\d+)", said):
        return f"the quote that opens in row {int(found[1]):,} is never closed"
    return "is not readable as CSV; save it again with commas between values and a line for each row"


def _header(name: str, data: bytes) -> list[str]:
    """Names of the columns. Raises DatasetInvalidError."""
    text = io.TextIOWrapper(io.BytesIO(data[:MAX_HEADER]), encoding="utf-8-sig", errors="replace", newline="")
    try:
        header = next(csv.reader(text), [])
    except csv.Error:  # a field of more than 128 KiB, as where a quote is never closed
        header = []
    if (not header or not text.read(1)) and len(data) > MAX_HEADER:
        raise unreadable(name, f"names its columns in more than {MAX_HEADER:,} bytes; is its first line the header?")
    faults = list(_name_faults(name, header))
    if len(header) == 1 and re.search(r"[;\t|]", header[0]):
        faults.append(Fault(name, "has only one column; separate the values by commas"))
    if faults:
        raise DatasetInvalidError(f"{name} has a faulty header", faults)
    return header


def _name_faults(name: str, columns: Sequence[str]) -> Iterator[Fault]:
    """Of the names of a file's columns; in time linear in their number."""
    if not columns:
        yield Fault(name, "is empty; the first line must name the columns")
    if len(columns) > MAX_COLUMNS:
        yield Fault(name, f"has {len(columns):,} columns; at most {MAX_COLUMNS} are allowed")
        return
    for position, (column, count) in enumerate(Counter(columns).items(), start=1):
        if len(column) > MAX_NAME:
            yield Fault(
                name, f"the name of column {position} has {len(column):,} letters; at most {MAX_NAME} are allowed"
            )
            continue
        if not column.strip():
            yield Fault(name, f"column {position} has no name; name it, or write the file without an index")
        if count > 1:
            yield Fault(name, f"column {column!r} occurs twice; rename one")
        for fault in text_faults(column):
            yield Fault(name, f"the name of column {position} {fault.problem}")


def _canonical(name: str, raw: pd.DataFrame, how: _How) -> tuple[pd.DataFrame, dict[str, ColumnType | None]]:
    """Columns with the dtype of their type; the type of a column that holds nothing is None: it fits every other."""
    faults: list[Fault] = []
    columns: dict[str, pd.Series] = {}
    types: dict[str, ColumnType | None] = {}
    for label in raw.columns:
        column = str(label)
        kind, series = _typed(raw[label]) if how.guesses else _by_kind(column, raw[label], how)
        if kind == "unknown":
            found = f"values of kind {series.iloc[0]}"
            faults.append(Fault(f"{name}: {column}", f"holds {found}; give numbers, truth values, texts or times"))
            continue
        if kind == "time" and (beyond := (series < _FIRST) | (series > _LAST)).any():
            row = int(beyond.to_numpy().argmax())
            found = f"{series.to_numpy()[row]} in row {row + 1:,}"
            faults.append(Fault(f"{name}: {column}", f"has the time {found}; give times of the years 1 to 9999"))
            continue
        if kind == "text" and not how.guesses and (holds := series.str.contains("\0", regex=False, na=False)).any():
            row = int(holds.to_numpy().argmax())
            faults.append(Fault(f"{name}: {column}", f"has a NUL character in row {row + 1:,}; remove it"))
            continue
        columns[column], types[column] = series, None if kind == "empty" else ColumnType(kind)
    if faults:
        raise DatasetInvalidError(f"{name} cannot be used", faults)
    typed = pd.DataFrame(columns, index=raw.index)
    typed.attrs = dict(raw.attrs)
    return typed, types


def _by_kind(column: str, series: pd.Series, how: _How) -> tuple[str, pd.Series]:
    """As `_typed`, with what is known of the column."""
    if not how.is_text(column):
        kind, series = _typed(series, how.reading.time_format)
    elif series.isna().all():
        return "empty", pd.Series(np.nan, index=series.index, dtype="float64")
    else:
        # A categorical feature that holds moments is refused, unless people say that they are texts.
        said = column in how.reading.text
        kind, series = ("text", series) if said and _is_text(series) else _typed(series, how.reading.time_format)
        if kind in {"number", "integer", "boolean"}:
            kind, series = "text", series.astype(object).map(text_of, na_action="ignore")
    if kind != "text":
        return kind, series
    series = series.astype("str")
    series = series.mask(series.isin(how.reading.missing_words))
    if column in how.truths:
        with suppress(values.NotAValueError):
            truth = partial(values.read, "boolean", decimal=how.reading.decimal)
            truths = {text: truth(text) for text in series.dropna().unique()}
            return "boolean", series.map(truths).astype("boolean")
    return kind, series


def _typed(series: pd.Series, time_format: str = "") -> tuple[str, pd.Series]:
    """Name of the type ("empty" and "unknown" besides) and the values in its dtype."""
    kind = "empty" if series.isna().all() else pd.api.types.infer_dtype(series, skipna=True)
    typed: tuple[str, pd.Series]
    match kind:
        case "empty":
            typed = "empty", pd.Series(np.nan, index=series.index, dtype="float64")
        case "boolean":
            typed = "boolean", series.astype("boolean")
        case "integer" | "integer-na" if series.min() >= -_INTEGERS and series.max() < _INTEGERS:
            typed = "integer", series.astype("Int64" if series.isna().any() else "int64")
        case "integer" | "integer-na" | "floating" | "mixed-integer-float" | "decimal":
            typed = _number(series.astype("float64"))
        case "date" | "datetime" | "datetime64":
            typed = "time", _utc(pd.to_datetime(series, utc=True))
        case "string":
            times = _moments(series, time_format)
            typed = ("text", series.astype("str")) if times is None else ("time", times)
        case _:
            typed = "unknown", pd.Series([kind])
    return typed


def _number(series: pd.Series) -> tuple[str, pd.Series]:
    """Integers with gaps come from files as floats; only those become integers again."""
    known = series.dropna()
    whole = bool(series.isna().any()) and bool(((known % 1 == 0) & (known.abs() < _EXACT_INTEGERS)).all())
    return ("integer", series.astype("Int64")) if whole else ("number", series)


def _moments(series: pd.Series, time_format: str) -> pd.Series | None:
    if time_format:
        texts = series.dropna().unique()
        spelt = {text: values.read("time", text, time_format=time_format) or text for text in texts}
        series = series.map(spelt)
    known = series.dropna()
    if not all(SPELLING.fullmatch(value) for value in known.head(20)):
        return None
    times = pd.to_datetime(series, format="ISO8601", utc=True, errors="coerce")
    return _utc(times) if int(times.isna().sum()) == len(series) - len(known) else None


def _utc(times: pd.Series) -> pd.Series:
    naive: pd.Series = times.dt.tz_convert(None)
    return naive.astype("datetime64[us]")


def _common_types(
    parts: Mapping[str, Mapping[str, ColumnType | None]],
) -> tuple[dict[str, ColumnType], list[Fault]]:
    """One type for each column of all files, or what they disagree on; a column that holds nothing is a number."""
    faults: list[Fault] = []
    merged: dict[str, tuple[ColumnType | None, str]] = {}
    first = next(iter(parts), "")
    for name, types in parts.items():
        if name == first:
            merged = {column: (kind, name) for column, kind in types.items()}
            continue
        lacking = [column for column in merged if column not in types]
        surplus = [column for column in types if column not in merged]
        faults += [Fault(f"{name}: {column}", f"is missing, but {first} has it") for column in lacking]
        faults += [
            Fault(f"{name}: {column}", f"is not in {first}; all files need the same columns") for column in surplus
        ]
        for column, kind in types.items():
            known, where = merged.get(column, (kind, name))
            if known is None or kind is None:
                merged |= {column: (known or kind, where if known else name)} if column in merged else {}
            elif known != kind and {known, kind} <= _COMPATIBLE:
                merged[column] = (ColumnType.NUMBER, where)
            elif known != kind:
                faults.append(Fault(f"{name}: {column}", f"holds {kind} values here and {known} values in {where}"))
    return {column: kind or ColumnType.NUMBER for column, (kind, _) in merged.items()}, faults


def _cast(series: pd.Series, kind: ColumnType) -> pd.Series:
    match kind:
        case ColumnType.BOOLEAN:
            return series.astype("boolean")
        case ColumnType.INTEGER:
            return series.astype("Int64") if series.isna().any() else series.astype("int64")
        case ColumnType.NUMBER:
            return series.astype("float64")
        case ColumnType.TEXT:
            return series.astype("str")
        case ColumnType.TIME:
            return series.astype("datetime64[us]")


def _profile(series: pd.Series, kind: ColumnType, *, private: bool) -> ColumnProfile:
    rows = len(series)
    missing = int(series.isna().sum())
    low = high = mean = None
    top: tuple[tuple[str, int], ...] = ()
    if kind in _COMPATIBLE and not private:
        numbers = series.to_numpy(dtype="float64", na_value=np.nan)
        finite = numbers[np.isfinite(numbers)]
        if len(finite):
            low, high, mean = float(finite.min()), float(finite.max()), float(finite.mean())
    if kind in {ColumnType.TEXT, ColumnType.BOOLEAN} and not private:
        counts = series.value_counts()
        commonest = [(text_of(value), int(count)) for value, count in counts[counts > 1].head(10 * _TOP).items()]
        commonest.sort(key=lambda item: (-item[1], item[0]))
        top = tuple((value[:_TOP_LENGTH], count) for value, count in commonest[:_TOP])
    return ColumnProfile(
        name=str(series.name),
        type=kind,
        missing=missing / rows,
        distinct=int(series.nunique(dropna=True)),
        low=low,
        high=high,
        mean=mean,
        top=top,
    )
