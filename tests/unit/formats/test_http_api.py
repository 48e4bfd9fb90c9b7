"""Answers of the functions behind an HTTP API."""

import json
import math
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.formats.http_api import answer

documents = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=12,
    ),
)


@given(documents)
def test_an_answer_reads_back_as_what_was_answered(document):
    assert repr(json.loads(answer(HTTPStatus.OK, document)["body"])) == repr(document)


@pytest.mark.parametrize("value", [2**64, -(2**70), "\ud800", "null", None, {1: 2}, ("a", "b")])
def test_what_only_the_standard_library_writes_is_written_as_it_does(value):
    assert json.loads(answer(HTTPStatus.OK, {"value": value})["body"]) == json.loads(json.dumps({"value": value}))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_has_not_is_never_answered(number):
    with pytest.raises(ValueError, match="JSON compliant"):
        answer(HTTPStatus.OK, {"predictions": [{"score": number}]})
