"""Every type that Parquet has, in every encoding, compression and page version, is read right or refused by name."""

import io
import itertools
import math
import struct
import uuid
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from tests.builders.parquet_cells import everywhere, meant, of
from tidegate.domain.batch.batch import Part, Source
from tidegate.domain.data.dataset import DECLARED, GUESSED, ColumnType, Reading
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.kernel.errors import DatasetInvalidError
from tidegate.ml import batches
from tidegate.ml.frames import PandasFrame, PandasReader
from tidegate.ml.parquet import MAX_FOOTER

ROWS = 1_000
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
FIRST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001  as files have them
NEW_YEAR = datetime(2013, 1, 1)  # noqa: DTZ001


def _gappy(values: Callable[[int], Any]) -> list[Any]:
    return [None if place % 7 == 3 else values(place) for place in range(ROWS)]


def _moment(place: int) -> datetime:
    if place < 9:
        return (FIRST, LAST, NEW_YEAR.replace(year=1969, microsecond=5))[place % 3]
    return NEW_YEAR + timedelta(seconds=place * 7_919, microseconds=place)


COLUMNS: dict[str, pa.Array] = {
    **{
        str(kind): pa.array([None if each % 7 == 3 else each % 5 if each % 11 else top for each in range(ROWS)], kind)
        for kind, top in {
            pa.int8(): -(2**7), pa.int16(): -(2**15), pa.int32(): -(2**31), pa.int64(): -(2**63),
            pa.uint8(): 2**8 - 1, pa.uint16(): 2**16 - 1, pa.uint32(): 2**32 - 1, pa.uint64(): 2**63 - 1,
        }.items()
    },
    "whole": pa.array([place * 37 % 1_009 for place in range(ROWS)], pa.int64()),
    "half": pa.array(np.array([place / 8 for place in range(ROWS)], dtype=np.float16)),
    "single": pa.array(_gappy(lambda place: np.float32(place / 3)), pa.float32()),
    "double": pa.array(_gappy(lambda place: place / 3), pa.float64()),
    "truth": pa.array(_gappy(lambda place: place % 3 == 0), pa.bool_()),
    "sure": pa.array([place % 3 == 0 for place in range(ROWS)], pa.bool_()),
    "text": pa.array(_gappy(lambda place: f"ä{place % 50}")),
    "long": pa.array(_gappy(lambda place: "x" * (place % 300)), pa.large_string()),
    "view": pa.array(_gappy(lambda place: f"view of {place}"), pa.string_view()),
    "bytes": pa.array(_gappy(lambda place: f"ö{place}".encode()), pa.binary()),
    "fixed": pa.array(_gappy(lambda place: b"%04d" % place), pa.binary(4)),
    "category": pa.array(_gappy(lambda place: f"c{place % 5}")).dictionary_encode(),
    "day": pa.array(_gappy(lambda place: _moment(place).date()), pa.date32()),
    "day64": pa.array(_gappy(lambda place: _moment(place).date()), pa.date64()),
    "s": pa.array(_gappy(lambda place: _moment(place).replace(microsecond=0)), pa.timestamp("s")),
    "ms": pa.array(_gappy(lambda place: _moment(place).replace(microsecond=0)), pa.timestamp("ms")),
    "us": pa.array(_gappy(_moment), pa.timestamp("us")),
    "ns": pa.array(_gappy(lambda place: NEW_YEAR + timedelta(microseconds=place)), pa.timestamp("ns")),
    "zone": pa.array(_gappy(_moment), pa.timestamp("us", "America/New_York")),
    "money": pa.array(_gappy(lambda place: Decimal(place) / 100), pa.decimal128(9, 2)),
    "wide": pa.array(_gappy(lambda place: Decimal(place) / 1_000), pa.decimal256(60, 3)),
    "count": pa.array(_gappy(Decimal), pa.decimal128(18, 0)),
    "uuid": pa.array(_gappy(lambda _: UUID.bytes), pa.uuid()),
    "json": pa.array(_gappy(lambda place: f'{{"a": {place}}}'), pa.json_()),
    "null": pa.nulls(ROWS),
}  # fmt: skip
NOT_DICTIONARY = {
    "DELTA_BINARY_PACKED": {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "whole", "day",
                            "day64", "s", "ms", "us", "ns", "zone"},
    "BYTE_STREAM_SPLIT": {"half", "single", "double", "int32", "int64", "whole", "us", "fixed"},
    "DELTA_LENGTH_BYTE_ARRAY": {"text", "long", "view", "bytes", "json"},
    "DELTA_BYTE_ARRAY": {"text", "long", "view", "bytes", "fixed", "json"},
    "RLE": {"truth", "sure"},
    "PLAIN": set(COLUMNS) - {"null"},
}  # fmt: skip
CODECS = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")


def cells(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us"))
    if pa.types.is_timestamp(column.type):  # without tzdata, and where the offset would leave Python's years
        column = column.cast(pa.timestamp(column.type.unit))
    return [meant(value) for value in column.to_pylist()]


def written(table: pa.Table, **how: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **{"compression": "none", **how})
    return file.getvalue()


def read(data: bytes, reading: Reading = DECLARED, **kinds: str) -> PandasFrame:
    return PandasReader().read({"a.parquet": data}, reading, kinds)


def ways() -> Iterator[dict[str, Any]]:
    for version, codec, dictionary in itertools.product(("1.0", "2.0"), CODECS, (True, False)):
        yield {"data_page_version": version, "compression": codec, "use_dictionary": dictionary}
    for version, (encoding, columns) in itertools.product(("1.0", "2.0"), NOT_DICTIONARY.items()):
        encodings = dict.fromkeys(sorted(columns), encoding)  # the name of a test is the same in every process
        yield {"data_page_version": version, "use_dictionary": False, "column_encoding": encodings}
    yield {"store_schema": False}
    yield {"row_group_size": 97, "data_page_size": 128, "write_page_checksum": True}
    yield {"version": "1.0", "coerce_timestamps": "ms", "allow_truncated_timestamps": True}


@pytest.mark.parametrize("how", list(ways()), ids=lambda how: "-".join(map(str, how.values()))[:60])
def test_each_cell_of_each_type_is_what_was_written(how: dict[str, Any]) -> None:
    table = pa.table(COLUMNS)
    if "coerce_timestamps" in how:
        table = table.drop_columns([name for name in table.column_names if name in {"us", "ns", "zone"}])
    wanted = {name: cells(COLUMNS[name]) for name in table.column_names}
    for reader, found in everywhere(written(table, **how)):
        for name in table.column_names:
            assert found[name] == wanted[name], (reader, name)


def test_int96_moments_keep_their_microseconds_and_years() -> None:
    data = written(pa.table({"us": COLUMNS["us"]}), use_deprecated_int96_timestamps=True)
    assert of(read(data))["us"] == cells(COLUMNS["us"])


def _days(*years: int) -> pa.Array:
    return pa.array(
        np.array([f"{year:05}-03-01" for year in years], dtype="datetime64[D]").astype(np.int32), pa.date32()
    )


@pytest.mark.parametrize("year", [0, -5, 10_000, 90_000])
def test_a_time_of_another_year_than_1_to_9999_is_named(year: int) -> None:
    for kind in (pa.date32(), pa.timestamp("s"), pa.timestamp("us")):
        said = refusal(written(pa.table({"n": [1, 2], "at": _days(2013, year).cast(kind)})))
        assert "a.parquet: at: has the time " in said, kind
        assert f"{year:05}-03-01T00:00:00.000000 in row 2; give times of the years 1 to 9999" in said or year < 10_000


def test_a_time_that_no_microseconds_reach_is_named() -> None:
    data = written(pa.table({"at": pa.array([0, 2**62], pa.timestamp("ms"))}))
    assert "in row 2; give times of the years 1 to 9999" in refusal(data)


def test_a_time_of_the_year_0_in_csv_is_named() -> None:
    with pytest.raises(DatasetInvalidError, match="years 1 to 9999"):
        PandasReader().read({"a.csv": b"at\n2013-01-01\n0000-12-31\n"})


def test_each_type_is_one_of_five() -> None:
    found = {name: kind.value for name, kind in read(written(pa.table(COLUMNS))).types.items()}
    numbers = {"half", "single", "double", "money", "wide", "null"}
    truths, times = {"truth", "sure"}, {"day", "day64", "s", "ms", "us", "ns", "zone"}
    texts = {"text", "long", "view", "bytes", "fixed", "category", "uuid", "json"}
    for name, kind in found.items():
        kinds = {"number": numbers, "boolean": truths, "time": times, "text": texts}
        assert kind == next((kind for kind, names in kinds.items() if name in names), "integer"), name


def test_whole_decimals_of_old_versions_stay_the_numbers_that_they_were() -> None:
    table = pa.table({"count": pa.array([Decimal(1), Decimal(2)], pa.decimal128(9, 0))})
    assert read(written(table)).types["count"] is ColumnType.INTEGER
    assert read(written(table), GUESSED).types["count"] is ColumnType.NUMBER


def test_a_decimal_is_the_float_next_to_it() -> None:
    drawn = np.random.default_rng(1).integers(0, 10**17, 2_000).tolist()
    texts = [f"{number // 10**9}.{number % 10**9:09}" for number in drawn]
    table = pa.table({"d": pa.array([Decimal(text) for text in texts], pa.decimal128(30, 9))})
    assert of(read(written(table)))["d"] == [float(text) for text in texts]


def test_csv_and_parquet_of_one_table_are_one_content() -> None:
    numbers = np.random.default_rng(0).normal(size=ROWS)
    table = pa.table(
        {
            "number": pa.array(numbers),
            "gaps": pa.array([None if place % 9 == 0 else place for place in range(ROWS)], pa.int32()),
            "code": pa.array([f"{place % 30:05}" for place in range(ROWS)]),
            "truth": COLUMNS["truth"],
            "at": pa.array([NEW_YEAR + timedelta(minutes=place) for place in range(ROWS)]),
            "day": pa.array([date(2013, 1, 1) + timedelta(days=place) for place in range(ROWS)]),
            "price": COLUMNS["money"],
        }
    )
    texts = table.to_pandas(date_as_object=True).to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%S").encode()
    reading = Reading(2, text=("code",))
    ours, theirs = (PandasReader().read({"a": data}, reading) for data in (written(table), texts))
    assert ours.types == theirs.types
    assert ours.row_hashes().tolist() == theirs.row_hashes().tolist()
    assert ours.profiles() == theirs.profiles()


# --- refused ----------------------------------------------------------------------------------------------------------

REFUSED = {
    "list<element: int64>": pa.array([[1], [2, 3]]),
    "struct<a: int64>": pa.array([{"a": 1}, {"a": 2}]),
    "map<string, int64": pa.array([{"a": 1}, {}], pa.map_(pa.string(), pa.int64())),
    "fixed_size_list<element: float>[2]": pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2)),
    "time64[us]": pa.array([1, 2], pa.time64("us")),
    "time32[ms]": pa.array([1, 2], pa.time32("ms")),
    "duration[us]": pa.array([1, 2], pa.duration("us")),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_column_that_has_no_place_in_a_table_is_refused_by_name_and_type(kind: str) -> None:
    table = pa.table({"fine": [1, 2], "odd.one": REFUSED[kind], "after": ["x", "y"]})
    said = refusal(written(table))
    assert f"a.parquet: odd.one: holds values of type {kind}" in said
    assert "after" not in said


def test_columns_behind_a_nested_one_are_themselves_in_a_batch() -> None:
    table = pa.table({"s": pa.array([{"a": 1, "b": [2]}] * 2), "s.a": [5.0, 6.0], "n": [7.0, 8.0]})
    data = written(table)
    contract = Contract("m", "regression", (FeatureContract("n", "numeric"), FeatureContract("s.a", "numeric")))
    part = Part(1, "a.parquet", "e", 0, 1, 1, 2)
    rows = batches.rows_of("parquet", part, len(data), contract, ids=[], fetch=lambda a, b: data[a:b])
    numbers = {name: None if given.numbers is None else given.numbers.tolist() for name, given in rows.given.items()}
    assert numbers == {"n": [7.0, 8.0], "s.a": [5.0, 6.0]}


def refusal(data: bytes) -> str:
    """Of a file, as a dataset and as the input of a batch; both name it."""
    with pytest.raises(DatasetInvalidError) as caught:
        PandasReader(1_000).read({"a.parquet": data})
    said = str(caught.value)
    assert "a.parquet" in said
    assert len(said) < 1_000
    return said


def batch_refusal(data: bytes) -> str:
    with pytest.raises(DatasetInvalidError) as caught:
        batches.row_groups(Source("a.parquet", "e", len(data)), lambda a, b: data[a:b])
    return str(caught.value)


def test_two_columns_of_one_name_are_a_fault() -> None:
    data = written(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))
    assert "column 'a' occurs twice" in refusal(data)
    assert "names column 'a' twice" in batch_refusal(data)


def test_bytes_that_are_no_text_are_a_fault_of_their_column() -> None:
    said = refusal(written(pa.table({"a": [1], "b": pa.array([b"\xff\xfe"])})))
    assert "a.parquet: b: has values that its type does not allow (bytes that are not UTF-8 text)" in said


# --- damaged ----------------------------------------------------------------------------------------------------------

GOOD = written(pa.table({"n": np.arange(5_000.0), "t": [f"t{n}" for n in range(5_000)]}), write_page_checksum=True)


@pytest.mark.parametrize("data", [GOOD[:-20], GOOD[: len(GOOD) // 2], GOOD[:-4], GOOD[:12], b"PAR1", b"PAR1PAR1"])
def test_a_file_that_was_cut_off_is_not_complete(data: bytes) -> None:
    assert "a.parquet: is not a complete Parquet file; write or copy it again" in refusal(data)
    assert "is not a complete Parquet file" in batch_refusal(data)


@pytest.mark.parametrize("data", [b"PARX" + GOOD[4:], b"\0" * 1_000, GOOD[4:]])
def test_a_file_with_another_magic_word_is_no_parquet(data: bytes) -> None:
    assert "neither CSV, gzipped CSV nor Parquet" in refusal(data)


def test_a_page_that_does_not_have_its_checksum_is_a_fault_of_its_column() -> None:
    data = bytearray(GOOD)
    data[GOOD.index(struct.pack("<d", 1_234.0))] ^= 1
    said = refusal(bytes(data))
    assert "a.parquet: n: is damaged (could not verify page integrity, CRC checksum verification failed" in said
    assert "a.parquet: t" not in said


@pytest.mark.parametrize("seed", range(60))
def test_no_damage_goes_unnoticed_or_is_anything_but_a_fault(seed: int) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(GOOD)
    tail = seed % 2  # every other time in the footer
    places = random.integers(len(data) - 1_200 if tail else 4, len(data) - 8, 4)
    for place in places:
        data[place] ^= int(random.integers(1, 256))
    said = ""
    try:
        found = of(PandasReader(1_000).read({"a.parquet": bytes(data)}))
    except DatasetInvalidError as error:
        said = str(error)
    assert "a.parquet" in said or tail or found == of(read(GOOD))


class _Keys(pe.KmsClient):  # type: ignore[misc]  # pyarrow has no types
    def wrap_key(self, key_bytes: bytes, _master: str) -> bytes:
        return key_bytes

    def unwrap_key(self, wrapped_key: bytes, _master: str) -> bytes:
        return wrapped_key


@pytest.mark.parametrize("plain_footer", [True, False])
def test_an_encrypted_file_says_so(plain_footer: bool) -> None:
    keys = pe.CryptoFactory(lambda _: _Keys())
    how = pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["n"]}, plaintext_footer=plain_footer)
    properties = keys.file_encryption_properties(pe.KmsConnectionConfig(), how)
    file = io.BytesIO()
    with pq.ParquetWriter(file, pa.schema([("n", pa.int64())]), encryption_properties=properties) as writer:
        writer.write_table(pa.table({"n": [1]}))
    assert "encrypted" in refusal(file.getvalue())


def test_a_file_of_very_many_columns_is_refused_by_their_number() -> None:
    data = written(
        pa.table({f"c{place}": [1] for place in range(100_000)}), use_dictionary=False, write_statistics=False
    )
    assert "has 100,000 columns; at most 600 are allowed" in refusal(data)


def test_a_footer_that_would_fill_the_memory_is_not_read() -> None:
    footer = MAX_FOOTER + 1
    data = b"PAR1" + bytes(footer) + footer.to_bytes(4, "little") + b"PAR1"
    assert "has a footer of 33,554,433 bytes; at most 33,554,432 are allowed" in refusal(data)
    assert "write larger row groups" in batch_refusal(data)


def test_a_text_with_a_nul_is_refused_as_in_csv_and_stays_what_it_was_in_versions_of_before() -> None:
    data = written(pa.table({"n": [1, 2, 3], "gate": ["a", None, "a\0"]}))
    assert "a.parquet: gate: has a NUL character in row 3; remove it" in refusal(data)
    frame = PandasReader().read({"a.parquet": data}, GUESSED)
    assert frame.types["gate"] is ColumnType.TEXT


def test_a_column_that_is_nested_deeper_than_anyone_needs_is_a_fault() -> None:
    kind: pa.DataType = pa.int64()
    for _ in range(200):
        kind = pa.list_(kind)
    assert "not a readable Parquet file" in refusal(written(pa.table({"deep": pa.array([None], kind)})))


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "", " "])
def test_a_name_that_nobody_could_write_is_a_fault(name: str) -> None:
    assert "column 1" in refusal(written(pa.table({name: [1]})))


def test_a_file_that_unpacks_to_more_than_memory_is_refused_before() -> None:
    data = written(pa.table({"t": ["x" * 2**20] * 2_000}), use_dictionary=False, compression="zstd")
    assert len(data) < 2**20
    assert "needs more memory than the 1,000 MB there are" in refusal(data)


def test_not_a_number_is_missing() -> None:
    found = read(written(pa.table({"n": pa.array([1.5, math.nan, None])})))
    assert pd.isna(found.table(["n"])["n"]).tolist() == [False, True, True]
