"""What a cell means: the one reader of values.

    read("numeric", "1e3"), read("boolean", "Yes"), read("categorical", "02134"), read("integer", "NA")
    read("numeric", "1,5", decimal=","), read("time", "31/12/2013", time_format="%d/%m/%Y")
    Cells({"zip": "categorical"}, missing={"", "unknown"}).column("zip", ["02134", "unknown"])
    class_name(True), class_name(3.0), class_of("1.0", {"0", "1"})

A text is a value of its column's kind, nothing (None), or a fault. What a column is comes from the spec and from what
people declared of their dataset, never from what happens to stand in it. Every reader of texts goes through this
module: dataset files, batches, MLflow's CSV, the command line. Standard library only: it is on the inference path.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self

MISSING = frozenset(
    {"", "NA", "N/A", "n/a", "#NA", "#N/A", "#N/A N/A", "<NA>", "null", "NULL", "None", "NaN", "nan", "-NaN", "-nan"}
)
"""Texts that mean nothing is there, for numbers, truth values and moments. In a column of texts they are texts."""

NOTHING = frozenset(("",))
"""The text that always means that nothing is there."""

TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
"""Words for truth values, whatever their case; the numbers 1 and 0 are truth values too."""

TEXT_KINDS = frozenset({"categorical", "time"})
"""Kinds whose values are texts."""
DECIMALS = (".", ",")
"""What may stand before the decimals of a number."""

_BLANKS = " \t"
_OF_TRUTH = frozenset({"true", "false"})
_DIRECTIVES = "YymbBdjHIpMSfz"  # of time formats, those that mean the same everywhere
_OF_NUMBERS = frozenset("0123456789+-.eE")
_COMMA_FOR_POINT = str.maketrans(",.", ".,")
_EXACT = 2.0**53  # from here on, float64 skips whole numbers


class NotAValueError(ValueError):
    """A text that is no value of its kind; the message completes a sentence that begins with the text."""


def read(
    kind: str, text: str, missing: Collection[str] = NOTHING, *, decimal: str = ".", time_format: str = ""
) -> bool | int | float | str | None:
    """The value that a text stands for in a column of a kind (see `spec.features.FeatureKind`).

    Args:
        kind: numeric, integer, boolean, categorical or time; a categorical stays the text it is, and so does a time,
            for its reader to judge, unless it has the declared format.
        text: a cell.
        missing: which texts mean that a value is missing; those of `MISSING` do too, but not of a categorical.
        decimal: what stands before decimals, one of `DECIMALS`.
        time_format: of times, as of `datetime.strptime`; such a time becomes ISO 8601. Empty when none is declared.

    Raises:
        NotAValueError: no value of the kind.
    """
    if kind == "categorical":
        return None if text in missing else text
    stripped = text.strip(_BLANKS)
    if text in missing or stripped in MISSING or _is_declared(stripped, missing, decimal):
        return None  # -999.0 is the -999 that was declared
    if kind == "time":
        return _in_iso(text, time_format) if time_format else text
    if kind == "boolean" and (word := stripped.lower()) in TRUTHS:
        return TRUTHS[word]
    found = number(stripped, decimal)
    return _truth(found) if kind == "boolean" else found


def _in_iso(text: str, time_format: str) -> str:
    """A time of the format in ISO 8601; another text stays as it is."""
    try:
        return datetime.strptime(text, time_format).isoformat()  # noqa: DTZ007  without an offset it is in UTC
    except ValueError:
        return text


def time_format_problem(time_format: str) -> str:
    """Why a format cannot be declared, as the end of a sentence that begins with it; empty when it can be."""
    found = [part[:1] for part in time_format.replace("%%", "").split("%")[1:]]
    if strange := [letter for letter in found if not letter or letter not in _DIRECTIVES]:
        known = " ".join(f"%{letter}" for letter in _DIRECTIVES)
        return f"has %{strange[0]}; use some of {known}"
    if twice := [letter for letter in found if found.count(letter) > 1]:
        return f"has %{twice[0]} twice"
    day = datetime(2013, 2, 1, tzinfo=UTC)
    try:
        text = day.strftime(time_format)
        read_back = datetime.strptime(text, time_format)  # noqa: DTZ007
    except ValueError as error:
        return f"cannot be read back: {error}"
    if read_back.date() != day.date():
        return "does not say the year, the month and the day"
    with suppress(ValueError):
        if datetime.fromisoformat(text).date() != day.date():
            return f"writes 1 February 2013 as {text}, which is another day in ISO 8601; write such days otherwise"
    return ""


def _is_declared(text: str, missing: Collection[str], decimal: str) -> bool:
    """Whether it is a number that means missing, also with a point where a comma stands before decimals."""
    words = {found for word in missing if (found := _number_of(word, decimal)) is not None}
    return bool(words) and any(_number_of(text, each) in words for each in {decimal, "."})


@lru_cache(4_096)
def _number_of(text: str, decimal: str) -> float | None:
    """The number that a text is, if it is one."""
    try:
        return number(text, decimal)
    except NotAValueError:
        return None


def _truth(found: float) -> bool:
    if found not in {0, 1}:
        raise NotAValueError("is not a truth value; write true or false")
    return bool(found)


@dataclass(frozen=True, slots=True)
class Cells:
    """How the texts of a table's cells are read: the kind of each column, and what was declared of the dataset (see
    `read`)."""

    kinds: Mapping[str, str]
    missing: Collection[str] = NOTHING
    decimal: str = "."
    time_format: str = ""

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Self:
        """For a served version, as `GET /models/{model}` of the serving API describes it."""
        kinds = {feature["name"]: feature["kind"] for feature in described["features"]}
        missing = frozenset(described.get("missing_words", NOTHING))
        return cls(kinds, missing, described.get("decimal", "."), described.get("time_format", ""))

    def column(self, name: str, texts: Sequence[str]) -> list[Any]:
        """Values; a text that is none of its kind stays as it is, for the contract to refuse. A column whose kind is
        not known has numbers, or else texts."""
        kind = self.kinds.get(name)
        values = [self._cell(kind or "numeric", text) for text in texts]
        if kind is None and any(type(value) is str for value in values):
            return [text or None for text in texts]
        return values

    def _cell(self, kind: str, text: str) -> bool | int | float | str | None:
        try:
            return read(kind, text, self.missing, decimal=self.decimal, time_format=self.time_format)
        except NotAValueError:
            return text


def number(text: str, decimal: str = ".") -> int | float:
    """A decimal number as JSON has it, and beyond: `+1`, `.5`, `5.`, `007`; with a decimal comma, if that is declared.
    A whole one is an int.

    Raises:
        NotAValueError: anything else, such as `1_000`, `1,5`, `inf` and digits of other scripts; or more than float64
            holds.
    """
    if decimal != ".":
        text = text.translate(_COMMA_FOR_POINT)
    if not _OF_NUMBERS.issuperset(text):
        raise NotAValueError("is not a number")
    try:
        found = float(text)
        whole = int(text) if text.lstrip("+-").isdigit() else found
    except ValueError:
        raise NotAValueError("is not a number") from None
    if not math.isfinite(found):
        raise NotAValueError("is too large for a number")
    return int(whole) if found.is_integer() and abs(found) < _EXACT else whole


def class_name(value: object) -> str:
    """What a value is called as a class or a category, as `probabilities` spell it: true is "true", 3 and 3.0 are
    "3"."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def class_of(outcome: object, classes: Collection[str]) -> str:
    """The name of the class that an outcome is, among the names of all; what is none of them keeps its own name.

    A text is read as a target in CSV is: "1.0" is the class 1 unless there is a class "1.0", and "True" is true. But 1
    is not true: a target of 1 and 0 has these classes.
    """
    name = class_name(outcome)
    if name in classes:
        return name
    if name.lower() in _OF_TRUTH:
        spelt = name.lower()
    else:
        try:
            spelt = class_name(number(name.strip(_BLANKS)))
        except NotAValueError:
            return name
    return spelt if spelt in classes else name
