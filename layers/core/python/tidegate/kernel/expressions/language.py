"""The words of the expression language: types, operators, limits, and what is said of a fault."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_LENGTH = 1_000  # characters of an expression
MAX_DEPTH = 60  # operators within each other
MAX_KEY_COLUMNS = 4  # of a group_rate
MIN_ROWS = 50  # of a group whose own rate is used, unless a group_rate says otherwise

Value = bool | int | float | str | None


class Type(StrEnum):
    """What a value is, as far as it is known before there is one. A boolean may stand where a number may."""

    NUMBER = "a number"
    BOOLEAN = "a boolean"
    TEXT = "a text"
    TIME = "a time"
    ANY = "anything"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with an expression. `position` is the character it begins at, counted from 1."""

    message: str
    position: int | None = None
    allowed: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.message} (at character {self.position})" if self.position else self.message


class ExpressionError(ValueError):
    """An expression that cannot be used; `problems` names every fault of it, in the order of the text."""

    def __init__(self, text: str, problems: Sequence[Problem]) -> None:
        super().__init__(f"{text[:MAX_LENGTH]!r}: {'; '.join(map(str, problems))}")
        self.problems = tuple(problems)


TYPE_OF_KIND: Mapping[str, Type] = {  # of a feature
    "numeric": Type.NUMBER,
    "integer": Type.NUMBER,
    "boolean": Type.BOOLEAN,
    "categorical": Type.TEXT,
    "time": Type.TIME,
}


class Op(StrEnum):
    """What a piece of an expression does with its parts."""

    CONSTANT = "constant"
    NAME = "name"
    NEGATIVE = "negative"
    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"
    MIN = "min"
    MAX = "max"
    ABS = "abs"
    LOG = "log"
    EXP = "exp"
    BUCKET = "bucket"
    HOUR = "hour"
    WEEKDAY = "weekday"
    MONTH = "month"
    DAY_OF_YEAR = "day_of_year"
    SECONDS_BETWEEN = "seconds_between"
    DAYS_BETWEEN = "days_between"
    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    NOT = "not"
    AND = "and"
    OR = "or"
    IS_MISSING = "is_missing"
    GROUP_RATE = "group_rate"


@dataclass(frozen=True, slots=True)
class Node:
    """A checked piece of an expression.

    `value` is a constant's value (None for an empty text), a name, or the fewest rows of a group_rate; `edges` are a
    bucket's, rising.
    """

    op: Op
    type: Type
    parts: tuple["Node", ...] = ()
    value: Value = None
    edges: tuple[float, ...] = ()

    def walk(self) -> Iterator["Node"]:
        """This piece and all within it, in the order of the text."""
        yield self
        for part in self.parts:
            yield from part.walk()


_NUMERIC: dict[str, tuple[Op, int | None]] = {  # most arguments
    "min": (Op.MIN, None),
    "max": (Op.MAX, None),
    "abs": (Op.ABS, 1),
    "log": (Op.LOG, 1),
    "exp": (Op.EXP, 1),
}
_OF_TIMES: dict[str, tuple[Op, int]] = {  # how many times it takes
    "hour": (Op.HOUR, 1),
    "weekday": (Op.WEEKDAY, 1),
    "month": (Op.MONTH, 1),
    "day_of_year": (Op.DAY_OF_YEAR, 1),
    "seconds_between": (Op.SECONDS_BETWEEN, 2),
    "days_between": (Op.DAYS_BETWEEN, 2),
}
FUNCTIONS = (*_NUMERIC, "bucket", "group_rate", "is_missing", *_OF_TIMES, "input")
