"""What DuckDB and polars write as Parquet is read cell by cell, in datasets, trainings and batches, or refused by name.

What Arrow writes, tests/unit/training/test_parquet.py reads.
"""

import io
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.builders.parquet_cells import everywhere, meant
from tidegate.kernel.errors import DatasetInvalidError
from tidegate.ml.frames import PandasReader

ROWS = 200
NEW_YEAR = datetime(2013, 1, 1)  # noqa: DTZ001  as files have them
FIRST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001

EXPRESSIONS = {
    **{kind: f"(i * 37 % 101)::{kind}" for kind in ("TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT")},
    "BIGINT": "i * 1_000_003",
    "UINTEGER": "(i * 8_000_000)::UINTEGER",
    "UBIGINT": "(i * 1_000_003)::UBIGINT",
    "HUGEINT": "(i * 1_000_003)::HUGEINT",
    "FLOAT": "(i / 3)::FLOAT",
    "DOUBLE": "i / 3",
    "BOOLEAN": "i % 3 = 0",
    "VARCHAR": "'ä' || i",
    "BLOB": "encode('ö' || i)",
    "ENUM": "('c' || i % 5)::ENUM ('c0', 'c1', 'c2', 'c3', 'c4')",
    "UUID": "('12345678-1234-5678-1234-' || lpad(i::VARCHAR, 12, '0'))::UUID",
    "JSON": """('{"a": ' || i || '}')::JSON""",
    "DATE": "DATE '0001-01-01' + (i * 17_000)::INTEGER",
    "TIMESTAMP": "TIMESTAMP '2013-01-01' + to_microseconds(i * 7_919_000_001)",
    "TIMESTAMP_S": "(TIMESTAMP '2013-01-01' + to_seconds(i * 7_919))::TIMESTAMP_S",
    "TIMESTAMP_MS": "(TIMESTAMP '1969-12-31' + to_milliseconds(i * 7_919_001))::TIMESTAMP_MS",
    "TIMESTAMP_NS": "(TIMESTAMP '2013-01-01' + to_microseconds(i * 7_919_000_001))::TIMESTAMP_NS",
    "TIMESTAMPTZ": "to_timestamp(i * 7_919)",
    **{f"DECIMAL({digits},2)": f"(i % 400 / 4)::DECIMAL({digits},2)" for digits in (4, 9, 18, 38)},
    "DECIMAL(18,0)": "i::DECIMAL(18,0)",
}
SQL = {kind: f"CASE WHEN i % 7 = 3 THEN NULL ELSE {said} END" for kind, said in EXPRESSIONS.items()} | {
    f"{kind} without gaps": EXPRESSIONS[kind] for kind in ("BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR", "TIMESTAMP")
}
DUCK_WAYS = [
    f"PARQUET_VERSION {version}, COMPRESSION {codec}, DICTIONARY_SIZE_LIMIT {words}, ROW_GROUP_SIZE {rows}"
    for version in ("V1", "V2")
    for codec in ("uncompressed", "snappy", "gzip", "zstd", "brotli", "lz4_raw")
    for words, rows in ((1, 2_048), (100_000, 100))
]


@pytest.fixture(scope="module")
def duck() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect()
    made.execute("SET TimeZone = 'UTC'")
    columns = ", ".join(f'{said} AS "{name}"' for name, said in SQL.items())
    made.execute(f"CREATE TABLE cells AS SELECT {columns} FROM range({ROWS}) numbers(i)")  # noqa: S608
    return made


def by_duckdb(duck: duckdb.DuckDBPyConnection, folder: Path, query: str, how: str = "COMPRESSION snappy") -> bytes:
    file = folder / "duck.parquet"
    duck.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet, {how})")
    return file.read_bytes()


@pytest.mark.parametrize("how", DUCK_WAYS, ids=lambda how: how.replace(",", "").replace(" ", "-"))
def test_each_cell_that_duckdb_writes_is_read(duck: duckdb.DuckDBPyConnection, tmp_path: Path, how: str) -> None:
    columns = zip(*duck.execute("SELECT * FROM cells").fetchall(), strict=True)
    wanted = {name: [meant(cell) for cell in column] for name, column in zip(SQL, columns, strict=True)}
    for reader, found in everywhere(by_duckdb(duck, tmp_path, "SELECT * FROM cells", how)):
        for name in SQL:
            assert found[name] == wanted[name], (reader, name)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("TIME '12:00:00'", "time64[us]"),
        ("INTERVAL 3 DAY", "interval"),
        ("[1, 2]", "list<element: int32"),
        ("{'a': 1}", "struct<a: int32"),
        ("MAP {'a': 1}", "map<string, int32"),
    ],
)
def test_what_duckdb_writes_and_no_table_holds_is_refused_by_column_and_type(
    duck: duckdb.DuckDBPyConnection, tmp_path: Path, kind: str, said: str
) -> None:
    data = by_duckdb(duck, tmp_path, f"SELECT 1 AS fine, {kind} AS odd")
    with pytest.raises(DatasetInvalidError, match="odd: holds values of type") as caught:
        PandasReader().read({"a.parquet": data})
    assert f"odd: holds values of type {said}" in str(caught.value)
    assert "fine" not in str(caught.value)


def _gappy(values: list[Any]) -> list[Any]:
    return [None if place % 7 == 3 else value for place, value in enumerate(values)]


MOMENTS = [NEW_YEAR + timedelta(seconds=7_919 * place, microseconds=place) for place in range(ROWS - 2)] + [FIRST, LAST]
SERIES = {
    **{
        str(kind): pl.Series(_gappy([place * 37 % 101 for place in range(ROWS)]), dtype=kind)
        for kind in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
    },
    "sorted": pl.Series(range(ROWS), dtype=pl.Int64),
    "single": pl.Series(_gappy([place / 3 for place in range(ROWS)]), dtype=pl.Float32),
    "double": pl.Series(_gappy([place / 3 for place in range(ROWS)])),
    "truth": pl.Series(_gappy([place % 3 == 0 for place in range(ROWS)])),
    "sure": pl.Series([place % 3 == 0 for place in range(ROWS)]),
    "text": pl.Series(_gappy([f"ä{place}" for place in range(ROWS)])),
    "bytes": pl.Series(_gappy([f"ö{place}".encode() for place in range(ROWS)])),
    "category": pl.Series(_gappy([f"c{place % 5}" for place in range(ROWS)]), dtype=pl.Categorical),
    "enum": pl.Series([f"c{place % 3}" for place in range(ROWS)], dtype=pl.Enum(["c0", "c1", "c2"])),
    "day": pl.Series(_gappy([date(1, 1, 1) + timedelta(days=17_000 * place) for place in range(ROWS)])),
    "us": pl.Series(_gappy(MOMENTS), dtype=pl.Datetime("us")),
    "ms": pl.Series(_gappy([each.replace(microsecond=0) for each in MOMENTS]), dtype=pl.Datetime("ms")),
    "ns": pl.Series(_gappy(MOMENTS[:-2] + [NEW_YEAR] * 2), dtype=pl.Datetime("ns")),
    "zone": pl.Series(_gappy(MOMENTS[:-2] * 2)[:ROWS], dtype=pl.Datetime("us", "UTC")),
    "money": pl.Series(_gappy([Decimal(place) / 4 for place in range(ROWS)]), dtype=pl.Decimal(12, 2)),
    "count": pl.Series(_gappy([Decimal(place) for place in range(ROWS)]), dtype=pl.Decimal(18, 0)),
    "null": pl.Series([None] * ROWS, dtype=pl.Null),
}  # fmt: skip
POLARS_WAYS: list[dict[str, Any]] = [
    {"compression": codec, "statistics": pages is None, "row_group_size": rows, "data_page_size": pages}
    for codec in ("uncompressed", "snappy", "gzip", "zstd", "brotli", "lz4")
    for rows, pages in ((None, None), (100, 256))
]


def by_polars(columns: dict[str, pl.Series], **how: Any) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(columns).write_parquet(file, **how)
    return file.getvalue()


@pytest.mark.parametrize("how", POLARS_WAYS, ids=lambda how: "-".join(map(str, how.values())))
def test_each_cell_that_polars_writes_is_read(how: dict[str, Any]) -> None:
    for reader, found in everywhere(by_polars(SERIES, **how)):
        for name, series in SERIES.items():
            assert found[name] == [meant(value) for value in series.to_list()], (reader, name)


@pytest.mark.parametrize(
    ("series", "said"),
    [
        (pl.Series([timedelta(1), None], dtype=pl.Duration("us")), "duration[us]"),
        (pl.Series([datetime(2013, 1, 1, 5).time()] * 2), "time64[ns]"),  # noqa: DTZ001
        (pl.Series([[1], [2, 3]]), "large_list<"),
        (pl.Series([{"a": 1}, {"a": 2}]), "struct<a: int64"),
        (pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)), "fixed_size_list<"),
    ],
)
def test_what_polars_writes_and_no_table_holds_is_refused_by_column_and_type(series: pl.Series, said: str) -> None:
    with pytest.raises(DatasetInvalidError, match="odd: holds values of type") as caught:
        PandasReader().read({"a.parquet": by_polars({"fine": pl.Series([1, 2]), "odd": series})})
    assert f"odd: holds values of type {said}" in str(caught.value)
    assert "fine" not in str(caught.value)


def test_these_files_have_the_encodings_that_readers_took_wrongly(
    duck: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    data = by_duckdb(duck, tmp_path, "SELECT * FROM cells", DUCK_WAYS[12])
    meta = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0)
    found = {encoding for place in range(meta.num_columns) for encoding in meta.column(place).encodings}
    assert {"DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "BYTE_STREAM_SPLIT"} <= found
