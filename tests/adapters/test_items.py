"""The codec between dataclasses and DynamoDB items."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.aws.items import MAX_ITEM_BYTES, PACK_BYTES, ItemTooLargeError, attribute, decode, encode
from tidegate.kernel.documents import StoredForm
from tidegate.kernel.errors import NewerDocumentError


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Part:
    FORM: ClassVar = StoredForm("part")

    name: str
    size: int | None


@dataclass(frozen=True)
class Whole:
    FORM: ClassVar = StoredForm("whole")

    text: str
    colour: Colour
    at: datetime
    number: float = 0.0
    count: int = 0
    flag: bool = False
    parts: tuple[Part, ...] = ()
    pairs: tuple[tuple[str, int], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    part: Part | None = None
    names: tuple[str, ...] = field(default_factory=tuple)


AT = datetime(2026, 1, 5, 12, 0, 0, 1, tzinfo=UTC)
WHOLE = Whole(
    "a",
    Colour.RED,
    AT,
    0.1,
    3,
    True,
    (Part("p", None), Part("q", 2)),
    (("x", 1),),
    {"C": 1.0, "n": 1, "w": None, "l": [1]},
    Part("r", 0),
    ("n",),
)


def test_a_record_comes_back_as_it_was():
    back = decode(Whole, encode(WHOLE))
    assert back == WHOLE
    assert type(back.colour) is Colour
    assert type(back.count) is int
    assert [type(value) for value in back.facts.values()] == [float, int, type(None), list]


def test_what_is_none_takes_no_attribute():
    assert "size" not in encode(Part("a", None))
    assert decode(Part, encode(Part("a", None))) == Part("a", None)


def test_a_record_of_an_older_shape_takes_defaults_and_a_newer_one_is_read_without_what_is_unknown():
    item = encode(WHOLE)
    del item["count"], item["parts"]
    item["future"] = {"S": "x"}
    back = decode(Whole, item)
    assert (back.count, back.parts) == (0, ())


@dataclass(frozen=True)
class Renamed:
    """Schema 1 called `title` a name, schema 2 a label."""

    FORM: ClassVar = StoredForm(
        "renamed",
        upgrades=(
            lambda plain: {**plain, "label": plain["name"]},
            lambda plain: {**plain, "title": plain["label"].upper()},
        ),
        renew="write it again",
    )

    title: str
    count: int = 0


def test_a_record_carries_the_number_of_its_form_and_one_of_schema_1_none():
    assert encode(Renamed("A", 2)) == {"title": {"S": "A"}, "count": {"N": "2"}, "schema": {"N": "3"}}
    assert "schema" not in encode(WHOLE)


@pytest.mark.parametrize(
    "item",
    [
        {"name": {"S": "a"}, "count": {"N": "2"}},
        {"label": {"S": "a"}, "count": {"N": "2"}, "schema": {"N": "2"}},
        {"title": {"S": "A"}, "count": {"N": "2"}, "schema": {"N": "3"}},
    ],
)
def test_a_record_of_an_older_form_is_upgraded(item):
    assert decode(Renamed, item) == Renamed("A", 2)


def test_a_record_of_a_newer_form_is_refused_with_what_to_do():
    with pytest.raises(NewerDocumentError, match="the renamed has schema 4, which newer code wrote") as refused:
        decode(Renamed, encode(Renamed("A")) | {"schema": {"N": "4"}})
    assert refused.value.next_step == "deploy the newer code again, or write it again"


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_float_is_kept_exactly(number):
    back = decode(Whole, encode(Whole("a", Colour.RED, AT, number))).number
    assert back == number or (math.isnan(back) and math.isnan(number))


def test_a_long_field_is_packed_and_read_back():
    parts = tuple(Part(f"part {number} of many", number) for number in range(5_000))
    item = encode(Whole("a", Colour.RED, AT, parts=parts))
    assert "B" in item["parts"]
    assert len(item["parts"]["B"]) < MAX_ITEM_BYTES
    assert decode(Whole, item).parts == parts
    text = "tidegate " * PACK_BYTES
    assert decode(Part, encode(Part(text, 1))).name == text


def test_a_record_too_large_even_packed_is_refused_and_says_which_part():
    chance = random.Random(1)
    noise = "".join(chance.choices("0123456789abcdefghijklmnopqrstuvwxyz", k=900_000))
    with pytest.raises(ItemTooLargeError, match="Part takes") as caught:
        encode(Part(noise, 1))
    assert "`name`" in caught.value.next_step


def test_a_field_that_is_not_there_cannot_be_set():
    with pytest.raises(TypeError, match="no field 'nmae'"):
        attribute(Part, "nmae", "x")
