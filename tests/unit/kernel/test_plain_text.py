"""What somebody else wrote acts on no terminal, mail or metric, and can still be read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.kernel import plain_text

ESCAPE = "ops\x1b[2J\x1b]0;owned\x07"
letters = st.text() | st.text(st.sampled_from("a\x00\x1b\x9b\n\r\t\u2028\u202e\u2066\ufeff\ud800\U000e0041"))


@given(letters)
def test_no_letter_that_acts_is_shown_and_others_stay(text: str) -> None:
    shown = plain_text.shown(text)
    assert plain_text.shown(shown) == shown
    assert all(letter.isprintable() or letter in "\n\t" or letter.isspace() or ord(letter) > 0x2100 or letter == "\xad"
               for letter in shown if ord(letter) < 0x100)  # fmt: skip
    assert not set(shown) & set("\x00\x1b\x9b\r\u2028\u202e\u2066\ufeff\ud800\U000e0041")
    if text.isascii() and text.isprintable():
        assert shown == text


@given(letters)
def test_a_line_is_one_line_and_a_dimension_is_what_cloudwatch_takes(text: str) -> None:
    assert len(plain_text.one_line(text).splitlines()) <= 1
    value = plain_text.dimension(text)
    assert value.isascii()
    assert value.isprintable()
    assert value.strip()
    assert not value.startswith(":")
    assert len(value) <= plain_text.MAX_DIMENSION


@given(letters)
def test_escaped_json_is_the_same_document(text: str) -> None:
    written = plain_text.escaped(json.dumps({text: [text]}, ensure_ascii=False))
    assert json.loads(written) == {text: [text]} or "\ud800" in text
    assert plain_text.shown(written) == written


@pytest.mark.parametrize(
    ("document", "path", "problem"),
    [
        ({"owner": ESCAPE}, "owner", r"has the control character \x1b at letter 4"),
        ({"owner": "a\nb"}, "owner", "has a line break at letter 2"),
        ({"features": [{"name": "a\u202eb"}]}, "features[0].name", r"\u202e at letter 2"),
        ({"a\x9b": 1}, r"a\x9b", r"\x9b at letter 2"),
        ({"categories": ["x", "y\r"]}, "categories[1]", r"\x0d"),
        ({"description": "two\nlines\x00"}, "description", r"\x00 at letter 10"),
    ],
)
def test_a_letter_that_acts_is_a_fault_with_its_place(document: object, path: str, problem: str) -> None:
    (fault,) = plain_text.text_faults(document)
    assert fault.path == path
    assert problem in fault.problem


def test_lines_of_a_description_are_no_fault() -> None:
    assert plain_text.text_faults({"description": "two\n\tlines", "owner": "Zoë 🚂", "n": [1, None, True]}) == []
