"""Records are cut where a CSV reader would end them, however the text is spread over parts."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.batch.batch import Source, row_group_parts
from tidegate.formats import csv_records
from tidegate.formats.csv_records import CsvCutter, records

CELLS = st.text(alphabet='ab,"\n 5é', max_size=6)
TABLES = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=12))


def written(rows: list[list[str]], ending: str = "\n") -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator=ending).writerows(rows)
    return out.getvalue().encode()


@given(TABLES, st.sampled_from(["\n", "\r\n"]))
def test_each_record_of_what_a_csv_writer_wrote_is_found_with_its_fields(rows: list[list[str]], ending: str) -> None:
    text = written(rows, ending)
    found = records(text, last=True)
    pieces = [text[a:b].decode() for a, b in zip(found.starts, found.ends, strict=True)]
    assert "".join(pieces) == text.decode()
    read = [next(csv.reader(io.StringIO(piece, newline="")), []) for piece in pieces]
    assert [row for row, blank in zip(read, found.blank, strict=True) if not blank] == rows
    assert found.fields[~found.blank].tolist() == [len(row) for row in rows]


def test_a_quote_inside_a_field_is_a_letter_and_blank_lines_are_no_records() -> None:
    found = records(b'5" pipe,1\n\n\r\n2,"a\nb"x\n3', last=True)
    assert found.fields[~found.blank].tolist() == [2, 2, 1]


def test_without_its_end_a_text_has_only_whole_records() -> None:
    assert records(b'1,2\n3,"a\n').ends.tolist() == [4]
    assert records(b'1,2\n3,"a\n', last=True).ends.tolist() == [4, 9]
    assert records(b"").ends.tolist() == []


@given(TABLES, st.integers(1, 5), st.integers(8, 40), st.integers(1, 30))
def test_parts_have_every_row_once_and_in_order_however_the_text_comes(
    rows: list[list[str]], most_rows: int, most_bytes: int, step: int
) -> None:
    text = b"header\n" + written(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_records, "PART_ROWS", most_rows)
        patch.setattr(csv_records, "PART_BYTES", most_bytes)
        cutter, parts, left = CsvCutter(Source("a.csv", "e", len(text)), 7, 1, 1), [], b""
        for start in range(7, len(text), step):
            left += text[start : start + step]
            found = records(left, last=start + step >= len(text))
            parts += cutter.take(found)
            left = left[int(found.ends[-1]) if len(found.ends) else 0 :]
        parts += cutter.rest()
    read = [
        row
        for part in parts
        for row in csv.reader(io.StringIO(text[part.start : part.stop].decode(), newline=""))
        if row
    ]
    assert read == rows
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert [part.first_row for part in parts] == [1 + sum(p.rows for p in parts[:at]) for at in range(len(parts))]
    assert all(part.rows <= most_rows for part in parts)


def test_row_groups_are_gathered_and_never_cut() -> None:
    parts = row_group_parts(Source("a.parquet", "e", 1), [60_000, 40_000, 1, 300_000, 5], 4)
    assert [(part.number, part.start, part.stop, part.first_row, part.rows) for part in parts] == [
        (4, 0, 2, 1, 100_000),
        (5, 2, 3, 100_001, 1),
        (6, 3, 4, 100_002, 300_000),
        (7, 4, 5, 400_002, 5),
    ]
