"""What a cell means, by its kind."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.kernel.values import MISSING, Cells, NotAValueError, class_name, number, read


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("categorical", "02134", "02134"),
        ("categorical", "True", "True"),
        ("categorical", "1.0", "1.0"),
        ("categorical", "NA", "NA"),
        ("categorical", "", None),
        ("time", "2013-05-01", "2013-05-01"),
        ("numeric", "NA", None),
        ("numeric", "null", None),
        ("numeric", " 2.5\t", 2.5),
        ("numeric", "-1e3", -1000),
        ("numeric", ".5", 0.5),
        ("numeric", "007", 7),
        ("integer", "3.0", 3),
        ("integer", "+3", 3),
        ("integer", "9007199254740993", 9007199254740993),
        ("boolean", "1", True),
        ("boolean", "1.0", True),
        ("boolean", "yes", True),
        ("boolean", "FALSE", False),
        ("boolean", "NA", None),
    ],
)
def test_a_text_is_the_value_that_its_kind_says(kind: str, text: str, value: object) -> None:
    found = read(kind, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("numeric", "1_000"),
        ("numeric", "1,5"),
        ("numeric", "inf"),
        ("numeric", "1e400"),
        ("numeric", "0x10"),
        ("numeric", "1 2"),
        ("numeric", "--1"),
        ("numeric", "."),
        ("numeric", "e5"),
        ("numeric", "٣"),
        ("integer", "three"),
        ("boolean", "maybe"),
        ("boolean", "2"),
    ],
)
def test_what_is_no_value_of_the_kind_is_a_fault_and_stays_a_text_for_the_contract(kind: str, text: str) -> None:
    with pytest.raises(NotAValueError):
        read(kind, text)
    assert Cells({"a": kind}).column("a", [text]) == [text]


def test_words_mean_missing_where_they_are_declared_and_some_do_in_numbers_always() -> None:
    cells = Cells({"text": "categorical", "number": "numeric"}, missing=("", "unknown"))
    assert cells.column("text", ["NA", "unknown", ""]) == ["NA", None, None]
    assert cells.column("number", ["NA", "unknown", ""]) == [None, None, None]
    assert {read("boolean", word) for word in MISSING} == {None}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_to_the_last_bit(value: float) -> None:
    assert float(number(repr(value))) == value


@given(st.text(max_size=12))
def test_every_text_is_a_number_or_a_fault(text: str) -> None:
    try:
        found = number(text)
    except NotAValueError:
        return
    assert math.isfinite(found)
    assert float(text) == found


def test_a_class_has_one_name() -> None:
    assert [class_name(value) for value in (True, 3, 3.0, 2.5, "3.0")] == ["true", "3", "3", "2.5", "3.0"]


def test_a_declared_number_is_missing_however_it_is_spelt_but_in_texts_only_as_it_is_spelt() -> None:
    cells = Cells({"number": "numeric", "text": "categorical", "truth": "boolean"}, missing=("", "-999", "-"))
    assert cells.column("number", ["-999.0", "-9.99e2", "-", "5"]) == [None, None, None, 5]
    assert cells.column("text", ["-999.0", "-999"]) == ["-999.0", None]
    assert cells.column("truth", ["-999.0", "1"]) == [None, True]
