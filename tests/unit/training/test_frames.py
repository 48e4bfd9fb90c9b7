"""Files become typed columns: the same five types from CSV, gzipped CSV and Parquet, and words if they do not."""

import gzip
import io
import time
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.data.dataset import GUESSED, RULES, ColumnType, Reading
from tidegate.kernel.errors import DatasetInvalidError
from tidegate.kernel.values import Cells
from tidegate.ml.frames import PandasFrame, PandasReader, ParquetWriter

CSV = b"""when,carrier,miles,seats,ok,note
2013-01-01T05:15:00,UA,1400.5,10,true,plain
2013-01-02T06:00:00,AA,,20,,"with, comma"
2013-01-03T07:30:00,UA,1089.0,30,false,
"""


def read(*contents: bytes) -> PandasFrame:
    return PandasReader().read({f"file{number}": content for number, content in enumerate(contents)})


def problem(*contents: bytes) -> str:
    with pytest.raises(DatasetInvalidError) as caught:
        read(*contents)
    assert caught.value.faults
    return str(caught.value)


def parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file, compression="zstd", index=False)
    return file.getvalue()


def test_columns_of_a_csv_get_their_types() -> None:
    assert dict(read(CSV).types) == {
        "when": ColumnType.TIME,
        "carrier": ColumnType.TEXT,
        "miles": ColumnType.NUMBER,
        "seats": ColumnType.INTEGER,
        "ok": ColumnType.BOOLEAN,
        "note": ColumnType.TEXT,
    }


def test_a_gzipped_csv_is_the_same_table() -> None:
    plain, zipped = read(CSV), read(gzip.compress(CSV))
    assert plain.types == zipped.types
    assert plain.row_hashes().tolist() == zipped.row_hashes().tolist()


def test_parquet_gives_the_same_types_and_values() -> None:
    frame = pd.DataFrame(
        {
            "when": pd.to_datetime(pd.Series(["2013-01-01T05:15", "2013-01-02T06:00", None])),
            "carrier": pd.Series(["UA", None, "AA"], dtype=object),
            "origin": pd.Categorical(["EWR", "JFK", "EWR"]),
            "miles": [1400.5, np.nan, 1089.0],
            "seats": pd.array([10, None, 30], dtype="Int64"),
            "ok": pd.array([True, None, False], dtype="boolean"),
        }
    )
    found = read(parquet(frame))
    assert [kind.value for kind in found.types.values()] == ["time", "text", "text", "number", "integer", "boolean"]
    table = found.table(found.types)
    assert table["carrier"].tolist() == ["UA", "", "AA"]
    assert table["origin"].tolist() == ["EWR", "JFK", "EWR"]
    assert table["seats"].tolist() == pytest.approx([10, np.nan, 30], nan_ok=True)
    assert table["ok"].tolist() == pytest.approx([1, np.nan, 0], nan_ok=True)
    assert np.isnat(table["when"]).tolist() == [False, False, True]


def test_times_with_a_zone_become_utc() -> None:
    frame = read(b"at\n2013-05-31T23:00:00-04:00\n2013-06-01T00:30:00Z\n")
    assert frame.period("at") == (datetime(2013, 6, 1, 0, 30, tzinfo=UTC), datetime(2013, 6, 1, 3, tzinfo=UTC))


def test_a_text_column_with_one_value_that_is_no_moment_stays_text() -> None:
    assert read(b"at\n2013-05-31\nsoon\n").types["at"] is ColumnType.TEXT


def test_whole_numbers_with_gaps_are_integers_again() -> None:
    frame = read(b"n,m\n1,1.5\n,\n3,2\n")
    assert frame.types == {"n": ColumnType.INTEGER, "m": ColumnType.NUMBER}


def test_as_text_writes_values_as_json_does() -> None:
    table = read(b"n,ok\n5,True\n,False\n").table(["n", "ok"], as_text={"n", "ok"})
    assert table["n"].tolist() == ["5", ""]
    assert table["ok"].tolist() == ["true", "false"]


def test_several_files_become_one_table_and_types_widen() -> None:
    frame = read(b"a,b,c\n1,x,\n", b"c,b,a\n7,y,2.5\n")
    assert frame.types == {"a": ColumnType.NUMBER, "b": ColumnType.TEXT, "c": ColumnType.INTEGER}
    assert frame.table(["a", "b", "c"])["a"].tolist() == [1.0, 2.5]


def test_files_whose_columns_differ_are_refused_with_every_difference() -> None:
    shown = problem(b"a,b\n1,2\n", b"a,c\nx,2\n")
    assert "file1: b" in shown
    assert "file1: c" in shown
    assert "file1: a: holds text values here and integer values in file0" in shown


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"a,b\n", "has no rows"),
        (b"a,a\n1,2\n", "occurs twice"),
        (b",a\n0,1\n", "column 1 has no name"),
        (b"a;b\n1;2\n", "separate the values by commas"),
        (b"a,b\n1,2\n3,4,5\n", "row 2 has 3 values for 2 columns"),
        (b'a,b\n1,2\n3,"4\n', "row 2 has a quote that is never closed"),
        (b"a,b\x1b[2J\n1,2\n", r"the name of column 2 has the control character \x1b at letter 2"),
        (b"a," + b"b" * 129 + b"\n1,2\n", "the name of column 2 has 129 letters; at most 128"),
        (b",".join(b"c%d" % place for place in range(601)) + b"\n", "has 601 columns; at most 600"),
        (b'"' + b"a" * 2**21, "names its columns in more than 1,048,576 bytes"),
        (b"a,b\n1,2,3\n", "row 1 has 3 values for 2 columns"),
        (b"a,b\n1,2\n3\n", "row 2 has 1 value for 2 columns"),
        (b"a\n\xff\xfe\n", "not UTF-8"),
        (b"\x00\x01\x02", "neither CSV"),
        (b"a,b\n1,2\n" + b"3,4\n" * 2_000 + b"5,\x00\n", "has a NUL character in line 2,003"),
        (b"a,b\n1,x\ry\n2,z\n", "row 1 has a carriage return that ends no line"),
        (b"\xff\xfea\x00\n\x001\x00", "is UTF-16 text; save it as UTF-8"),
        (b"PK\x03\x04rest", "ZIP"),
        (b"\x1f\x8bbroken", "not a complete gzip"),
        (b"PAR1garbagePAR1", "not a complete Parquet"),
        (b"PAR1garbage\x07\0\0\0PAR1", "not a readable Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content: bytes, words: str) -> None:
    shown = problem(content)
    assert words in shown
    assert "file0" in shown


BOMBS = {
    "a column of ones": lambda: b"a\n" + b"1\n" * 2**25,
    "blank lines": lambda: b"a\n" + b"\n" * 2**26,
    "carriage returns": lambda: b"a\n" + b"1\r" * 2**25,
    "wide rows": lambda: b",".join(b"c%d" % place for place in range(600)) + b"\n" + (b"," * 599 + b"\n") * 2**16,
    "one line": lambda: b"a" * 2**27,
    "commas": lambda: b"," * 2**27,
    "an open quote": lambda: b'"' + b"a,\n" * 2**25,
}


@pytest.mark.parametrize("bomb", [*BOMBS, "many members"])
def test_a_file_that_unpacks_to_more_than_memory_is_refused_at_once(bomb: str) -> None:
    member = gzip.compress(b"1\n" * 2**19)
    packed = gzip.compress(BOMBS[bomb](), 1) if bomb in BOMBS else gzip.compress(b"a\n") + member * 100
    assert len(packed) < 2**20
    began = time.process_time()
    with pytest.raises(DatasetInvalidError) as caught:
        PandasReader(512).read({"bomb.csv.gz": packed})
    assert caught.value.faults
    assert time.process_time() - began < 10  # seconds


def test_a_parquet_file_of_more_rows_than_fit_is_refused_by_what_it_says_of_itself() -> None:
    packed = parquet(pd.DataFrame({"a": np.zeros(2**22)}))
    assert len(packed) < 2**20
    with pytest.raises(DatasetInvalidError, match="needs more memory than the 128 MB there are"):
        PandasReader(128).read({"bomb.parquet": packed})


def test_files_fit_together_or_not_at_all() -> None:
    content = b"a,b\n" + b"1,2\n" * 100_000
    assert len(PandasReader(128).read({"one": content})) == 100_000
    with pytest.raises(DatasetInvalidError, match="file9: needs more memory"):
        PandasReader(128).read({f"file{number}": content for number in range(10)})


def test_a_long_text_does_not_make_room_for_itself_in_every_row() -> None:
    content = b"a\n" + b"x\n" * 10_000 + b"y" * 50_000 + b"\n"
    frame = PandasReader(512).read({"a.csv": content})
    with pytest.raises(DatasetInvalidError, match="has a text of 50,000 letters, too long for 10,001 rows"):
        frame.table(["a"])


def test_a_header_of_a_hundred_thousand_columns_is_refused_at_once() -> None:
    began = time.process_time()
    assert "has 100,000 columns; at most 600" in problem(b",".join([b"a"] * 100_000) + b"\n1\n")
    assert time.process_time() - began < 5  # seconds


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"a,b\n", b"\x1f\x8b\x08", b"PAR1", b'"a', gzip.compress(b"a\n1")])
)
def test_any_bytes_are_a_table_or_a_sentence(content: bytes, begin: bytes) -> None:
    said = ""
    try:
        assert len(PandasReader(512).read({"file": begin + content})) > 0
    except DatasetInvalidError as error:
        said = str(error)
    assert "C error" not in said
    assert "Error tokenizing" not in said


def test_a_whole_number_beyond_64_bits_is_a_number() -> None:
    data = ParquetWriter().write(2, {"a": ColumnType.INTEGER}, {"a": [2.0**63, 1.0]})
    assert read(data).types == {"a": ColumnType.NUMBER}


def test_no_value_of_a_private_column_is_reported() -> None:
    frame = read(b"mail,age\na@x.org,30\na@x.org,40\nb@x.org,50\n")
    mail, age = frame.profiles(private={"mail", "age"})
    assert (mail.top, mail.distinct) == ((), 2)
    assert (age.low, age.high, age.mean) == (None, None, None)


def test_a_profile_counts_what_is_missing_distinct_and_frequent() -> None:
    frame = read(b"c,n\nx,1\nx,2\ny,\n,inf\n")
    category, number = frame.profiles()
    assert (category.missing, category.distinct, category.top) == (0.25, 2, (("x", 2),))
    assert (number.missing, number.low, number.high, number.mean) == (0.25, 1.0, 2.0, 1.5)


def test_rows_that_agree_in_every_column_have_one_hash() -> None:
    hashes = read(b"a,b\n1,x\n1,x\n1,\n1,\n2,x\n").row_hashes()
    assert hashes[0] == hashes[1]
    assert hashes[2] == hashes[3]
    assert len(set(hashes.tolist())) == 3


def test_different_values_come_as_texts_from_all_over_the_column() -> None:
    rows = "".join(f"{number},{'red' if number % 2 else ''}\n" for number in range(1_000))
    frame = read(f"id,line\n{rows}{rows}".encode())
    assert frame.distinct("line", 10) == ["red"]
    assert frame.distinct("id", 1_000) == [str(number) for number in range(1_000)]
    assert frame.distinct("id", 4) == ["0", "333", "666", "999"]


# What cells mean: by the rules of today, and by those of versions that were added before there were any


CELLS = b"""zip,flag,code,word,number,whole
02134,True,1.0,NA,NA,3.0
10001,yes,,None,2.5,NA
10002,0,2.0,x,1e2,4
"""
KINDS = {
    "zip": "categorical",
    "flag": "boolean",
    "code": "categorical",
    "word": "categorical",
    "number": "numeric",
    "whole": "integer",
}


def test_a_column_is_what_the_spec_says_and_a_text_stays_what_it_is() -> None:
    table = PandasReader().read({"a.csv": CELLS}, kinds=KINDS).table(KINDS)
    assert {name: table[name].tolist() for name in ("zip", "code", "word")} == {
        "zip": ["02134", "10001", "10002"],
        "code": ["1.0", "", "2.0"],
        "word": ["NA", "None", "x"],
    }
    assert table["flag"].tolist() == [1.0, 1.0, 0.0]
    assert np.isnan(table["number"]).tolist() == [True, False, False]
    assert np.isnan(table["whole"]).tolist() == [False, True, False]


def test_words_that_people_declare_mean_missing_and_columns_that_they_declare_are_texts() -> None:
    reading = Reading(RULES, missing=("NA",), text=("zip",))
    frame = PandasReader().read({"a.csv": CELLS}, reading)
    assert frame.types["zip"] is ColumnType.TEXT
    assert frame.table(["zip", "word"])["word"].tolist() == ["", "None", "x"]
    assert frame.table(["zip"])["zip"].tolist() == ["02134", "10001", "10002"]


def test_versions_that_do_not_say_how_they_are_read_are_read_as_they_were() -> None:
    frame = PandasReader().read({"a.csv": CELLS}, GUESSED, KINDS)
    table = frame.table(KINDS, as_text=["zip", "code", "word"])
    assert table["zip"].tolist() == ["2134", "10001", "10002"]
    assert table["code"].tolist() == ["1", "", "2"]
    assert table["word"].tolist() == ["", "", "x"]


@pytest.mark.parametrize("gap", [True, False])
def test_a_number_of_parquet_has_one_text_whether_or_not_its_column_has_a_gap(gap: bool) -> None:
    cells = [1.0, 2.0, 1e5, 2.5, *([np.nan] if gap else [])]
    data = ParquetWriter().write(len(cells), {"code": ColumnType.NUMBER}, {"code": cells})
    table = PandasReader().read({"a": data}, kinds={"code": "categorical"}).table(["code"])
    assert table["code"].tolist()[:4] == ["1", "2", "100000", "2.5"]


def test_cells_that_may_be_meant_otherwise_are_named_but_not_those_of_personal_data() -> None:
    content = b'zip,word,price,day,name\n02134,NA,"1,5",03/04/2013,NA\n10001,x,"2,5",04/04/2013,y\n'
    hints = PandasReader().read({"a.csv": content}).hints(private=("name",))
    assert [hint.partition(":")[0] for hint in hints] == ["zip", "word", "price", "day"]
    assert "--text zip" in hints[0]
    assert "the text NA in 1 cell is a value; if it means missing, give --missing=NA" in hints[1]


def test_codes_in_a_column_with_a_gap_and_words_among_numbers_are_named_too() -> None:
    content = b"code,area\n007,12\n,13.5\n012,unknown\n013,NA\n014,15\n"
    codes, area = PandasReader().read({"a.csv": content}).hints()
    area = area.replace("unknown or NA", "NA or unknown")
    assert codes == "code: some numbers have leading zeros; if these are codes, add the files with --text code"
    assert "the text NA or unknown in 2 cells, beside numbers, is a value" in area


def test_a_blank_cell_leaves_a_column_of_numbers_one() -> None:
    frame = read(b"a,b,c\n1, ,x\n 2,2.5,\t\n3,\t,y\n")
    assert frame.types == {"a": ColumnType.INTEGER, "b": ColumnType.NUMBER, "c": ColumnType.TEXT}
    table = frame.table(["a", "b", "c"])
    assert table["a"].tolist() == [1, 2, 3]
    assert table["b"].tolist() == pytest.approx([np.nan, 2.5, np.nan], nan_ok=True)
    assert table["c"].tolist() == ["x", "\t", "y"]


def test_ids_beyond_2_to_the_53_keep_their_digits_beside_a_gap_and_are_named() -> None:
    frame = read(b"id,n\n9007199254740993,1\n,2\n9007199254740995,3\n")
    assert frame.types["id"] is ColumnType.INTEGER
    assert frame.distinct("id", 5) == ["9007199254740993", "9007199254740995"]
    (hint,) = frame.hints()
    assert hint.startswith("id: whole numbers of 2^53 (9,007,199,254,740,992) or more lose digits")
    assert "--text id" in hint


EUROPEAN = b'price,day,iso\n"1,5",3/4/2013,2013-05-01\n"-2e3",13/4/2013,NA\n7,,2013-05-02\n'


def test_decimal_commas_and_times_are_read_as_declared_and_else_named() -> None:
    reading = Reading(RULES, decimal=",", time_format="%d/%m/%Y")
    frame = PandasReader().read({"a.csv": EUROPEAN}, reading)
    assert frame.types == {"price": ColumnType.NUMBER, "day": ColumnType.TIME, "iso": ColumnType.TIME}
    table = frame.table(frame.types)
    assert table["price"].tolist() == [1.5, -2000, 7]
    assert table["day"].astype("datetime64[D]").astype(str).tolist() == ["2013-04-03", "2013-04-13", "NaT"]
    assert np.isnat(table["iso"]).tolist() == [False, True, False]
    assert list(frame.hints()) == []
    price, day = PandasReader().read({"a.csv": EUROPEAN}).hints()
    assert price == "price: texts like 1,5 are not numbers; write decimals with ., or give --decimal ,"
    assert day.endswith("are not times; write YYYY-MM-DD, or give --time-format %d/%m/%Y")


def test_a_text_that_would_mean_missing_elsewhere_makes_no_column_of_times() -> None:
    reading = Reading(RULES, time_format="%d/%m/%Y")
    frame = PandasReader().read({"a.csv": b"word\nnull\nNA\n"}, reading, {"word": "categorical"})
    assert frame.table(["word"])["word"].tolist() == ["null", "NA"]


def test_days_that_may_be_months_are_named_with_both_formats() -> None:
    (hint,) = read(b"day\n03/04/2013\n05/06/2013\n").hints()
    assert "may be day and month or month and day" in hint
    assert hint.endswith("give --time-format %d/%m/%Y or --time-format %m/%d/%Y")


def test_a_declared_comma_makes_points_no_decimals() -> None:
    reading = Reading(RULES, decimal=",")
    frame = PandasReader().read({"a.csv": b"price\n1.5\n2.5\n"}, reading)
    assert frame.types["price"] is ColumnType.TEXT
    assert [*frame.hints()] == ["price: texts like 1.5 are not numbers; write decimals with ,, or give --decimal ."]


def test_a_word_that_means_missing_does_so_in_a_column_of_times() -> None:
    table = PandasReader().read({"a.csv": b"at\n2013-05-01\nNA\n"}, kinds={"at": "time"}).table(["at"])
    assert np.isnat(table["at"]).tolist() == [False, True]
    assert Cells({"at": "time"}).column("at", ["2013-05-01", "NA"]) == ["2013-05-01", None]
