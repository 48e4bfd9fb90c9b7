"""What a cell means, by its kind."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.kernel.values import (
    DECIMALS,
    MISSING,
    Cells,
    NotAValueError,
    class_name,
    class_of,
    number,
    read,
    time_format_problem,
)


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


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_declared_comma_stands_before_decimals_and_a_point_does_not_any_more(value: float) -> None:
    text = repr(value)
    assert read("numeric", text.replace(".", ","), decimal=",") == value
    if "." in text:
        with pytest.raises(NotAValueError):
            read("numeric", text, decimal=",")


def test_a_declared_number_is_missing_with_a_decimal_comma_too() -> None:
    assert Cells({"a": "numeric"}, ("", "-9,5"), ",").column("a", ["-9,50", "1,5", "1.5"]) == [None, 1.5, "1.5"]
    assert "," in DECIMALS


@pytest.mark.parametrize(
    ("text", "time_format", "value"),
    [
        ("31/12/2013", "%d/%m/%Y", "2013-12-31T00:00:00"),
        ("3.4.2013 17:30", "%d.%m.%Y %H:%M", "2013-04-03T17:30:00"),
        ("03/04/2013 -0500", "%m/%d/%Y %z", "2013-03-04T00:00:00-05:00"),
        ("2013-05-01", "%d/%m/%Y", "2013-05-01"),
        ("soon", "%d/%m/%Y", "soon"),
        ("NA", "%d/%m/%Y", None),
    ],
)
def test_a_time_of_the_declared_format_becomes_iso_8601(text: str, time_format: str, value: str | None) -> None:
    assert Cells({"at": "time"}, time_format=time_format).column("at", [text]) == [value]
    assert time_format_problem(time_format) == ""


@pytest.mark.parametrize(
    ("time_format", "problem"),
    [
        ("%d/%m", "does not say the year"),
        ("%d/%m/%Y %c", "has %c"),
        ("%d/%d/%Y", "has %d twice"),
        ("%d/%m/%Y %", "has %"),
        ("%Y-%d-%m", "writes 1 February 2013 as 2013-01-02, which is another day in ISO 8601"),
        ("", "does not say"),
    ],
)
def test_a_format_that_does_not_name_a_day_cannot_be_declared(time_format: str, problem: str) -> None:
    assert problem in time_format_problem(time_format)


def test_a_class_has_one_name() -> None:
    assert [class_name(value) for value in (True, 3, 3.0, 2.5, "3.0")] == ["true", "3", "3", "2.5", "3.0"]


@pytest.mark.parametrize(
    ("outcome", "classes", "name"),
    [
        ("1.0", ("0", "1"), "1"),
        (" 1", ("0", "1"), "1"),
        ("1.0", ("1", "1.0"), "1.0"),
        ("2.50", ("2.5", "3"), "2.5"),
        ("True", ("false", "true"), "true"),
        ("True", ("False", "True"), "True"),
        (1, ("false", "true"), "1"),
        (True, ("0", "1"), "true"),
        ("one", ("0", "1"), "one"),
        ("2.0", ("0", "1"), "2.0"),
    ],
)
def test_an_outcome_is_the_class_that_a_target_spelt_so_would_have(
    outcome: object, classes: tuple[str, ...], name: str
) -> None:
    assert class_of(outcome, classes) == name


def test_a_declared_number_is_missing_however_it_is_spelt_but_in_texts_only_as_it_is_spelt() -> None:
    cells = Cells({"number": "numeric", "text": "categorical", "truth": "boolean"}, missing=("", "-999", "-"))
    assert cells.column("number", ["-999.0", "-9.99e2", "-", "5"]) == [None, None, None, 5]
    assert cells.column("text", ["-999.0", "-999"]) == ["-999.0", None]
    assert cells.column("truth", ["-999.0", "1"]) == [None, True]
