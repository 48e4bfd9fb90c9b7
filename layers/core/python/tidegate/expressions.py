"""A small language that people write into a spec: arithmetic, comparisons and logic over named values.

    rule = compile_expression("0 <= score <= 1 and not (cancelled and label == true)", {"score": NUMBER, ...})
    rule.value({"score": 0.4, "cancelled": 0, "label": False})    # True

    or, and, not                              < <= > >= == !=, also chained: 0 <= score <= 1
    + - * / and parentheses                   numbers, 'texts', true, false
    min(a, b, ...) max(a, b, ...) abs(a) log(a) exp(a) is_missing(a)
    bucket(a, 10, 20)                         how many of the edges are reached: 0 below 10, 1 from 10 on, 2 from 20 on
    hour(t) weekday(t) month(t)               of a time in UTC: 0 to 23, Monday 0 to Sunday 6, 1 to 12,
    day_of_year(t)                            1 to 366
    seconds_between(s, t) days_between(s, t)  s less t
    group_rate(a, b, min_rows=50)             the target's rate in a row's group; in computed features only
    name                                      a value; input("wind dir") for one whose name is no plain word

Python's own grammar is parsed and a short list of its nodes is accepted; everything else is a fault that says where it
stands. What is accepted becomes a tree of `Node`: nothing is evaluated as code, and no attribute, subscript or other
function can be reached. Three things compute from the tree: `Expression.value` one row, in Python's float64;
`tidegate.domain.computed` columns, in float32; `tidegate.ml.graph` writes the ONNX that does as the columns do.

A missing value (null, NaN, an infinity or an empty text) makes missing whatever is computed from it, and so does a
result that is no finite number (1 / 0, log(0)). Only `is_missing` and `group_rate`, to which what is missing is a group
of its own, look at it. Logic is Kleene's: `and` is false as soon as one side is, `or` is true as soon as one
side is, whatever the other; with neither, missing stays missing (Kleene 1952, "Introduction to Metamathematics",
section 64). So an expression never raises: it is a value or it is missing.

Standard library only, since it is on the inference path.
"""

import ast
import math
import operator
import struct
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, assert_never

MAX_LENGTH = 1_000  # characters of an expression
MAX_DEPTH = 60  # operators within each other
MAX_KEY_COLUMNS = 4  # of a group_rate
MIN_ROWS = 50  # of a group whose own rate is used, unless a group_rate says otherwise
_LISTED = 12  # names told to somebody who misspelt one

Value = bool | int | float | str | None
_Compiled = Callable[[Mapping[str, Any]], Any]


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


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled expression. `names` are the values it looks at."""

    text: str
    type: Type
    names: frozenset[str]
    tree: Node
    _compute: _Compiled

    @property
    def group_rates(self) -> tuple[Node, ...]:
        """The look-ups of what is learned in training, in the order of the text."""
        return tuple(node for node in self.tree.walk() if node.op is Op.GROUP_RATE)

    def value(self, values: Mapping[str, Any]) -> Value:
        """The value for these; None when it is missing. A name that is not among `values` is missing."""
        found: Value = self._compute(values)
        return found


def compile_expression(
    text: str,
    names: Mapping[str, Type] | None = None,
    *,
    wanted: Type = Type.ANY,
    groups: Collection[str] | None = None,
    later: Collection[str] = (),
) -> Expression:
    """Check an expression and compile it.

    Args:
        names: what may be named, and what it is; None takes any name (an expression that was checked before).
        wanted: what the expression has to be.
        groups: the names that a group_rate may group by; None where there is nobody to learn one. See
            `compile_computed`.
        later: names that there are, but not yet.

    Raises:
        ExpressionError: with every fault, each with its place.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(text, [Problem(f"has {len(text)} characters; at most {MAX_LENGTH} are allowed")])
    tree = _parsed(text)
    compiler = _Compiler(text, names, groups, later)
    node = compiler.compile(tree, 1)
    if not compiler.problems and wanted is not Type.ANY and not _fits(node.type, wanted):
        compiler.problems.append(Problem(f"is {node.type}, where {wanted} is needed"))
    if compiler.problems:
        raise ExpressionError(text, sorted(compiler.problems, key=lambda problem: problem.position or 0))
    return Expression(text, node.type, frozenset(compiler.used), node, _closure(node))


def compile_computed(
    text: str, names: Mapping[str, Type] | None, groups: Collection[str], later: Collection[str] = ()
) -> Expression:
    """Compile the expression of a computed feature: a number or a boolean, in float32, of at least one name.

    Args:
        names: as for `compile_expression`.
        groups: the names that a group_rate may group by: those that are not learned themselves.
        later: the computed features that are listed later, and this one.

    Raises:
        ExpressionError: with every fault, each with its place.
    """
    expression = compile_expression(text, names, wanted=Type.NUMBER, groups=groups, later=later)
    if not expression.names:
        raise ExpressionError(text, [Problem("looks at no feature; a computed feature is computed from features")])
    return expression


def _parsed(text: str) -> ast.expr:
    if not text.strip():
        raise ExpressionError(text, [Problem("is empty")])
    indent = len(text) - len(text.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a text, `1and 2`: Python only warns of them
            return ast.parse(text[indent:], mode="eval").body
    except SyntaxError as error:
        place = error.offset + indent if error.offset and error.lineno == 1 and error.offset <= len(text) else None
        raise ExpressionError(text, [Problem(f"cannot be read: {error.msg}", place)]) from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError(text, [Problem("cannot be read")]) from None


def _fits(type_: Type, wanted: Type) -> bool:
    if Type.ANY in {type_, wanted} or type_ is wanted:
        return True
    return type_ is Type.BOOLEAN and wanted is Type.NUMBER


_FAULTY = Node(Op.CONSTANT, Type.ANY)  # stands for what is faulty, so that the rest is looked at too

_ARITHMETIC: dict[type[ast.operator], Op] = {
    ast.Add: Op.ADD,
    ast.Sub: Op.SUBTRACT,
    ast.Mult: Op.MULTIPLY,
    ast.Div: Op.DIVIDE,
}
_COMPARISONS: dict[type[ast.cmpop], Op] = {
    ast.Eq: Op.EQUAL,
    ast.NotEq: Op.NOT_EQUAL,
    ast.Lt: Op.LESS,
    ast.LtE: Op.LESS_OR_EQUAL,
    ast.Gt: Op.GREATER,
    ast.GtE: Op.GREATER_OR_EQUAL,
}
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
_WORDS = {"true": True, "false": False}


class _Compiler:
    def __init__(
        self, text: str, names: Mapping[str, Type] | None, groups: Collection[str] | None, later: Collection[str]
    ) -> None:
        self.problems: list[Problem] = []
        self.used: set[str] = set()
        self._indent = len(text) - len(text.lstrip())
        self._lines = text[self._indent :].splitlines(keepends=True)
        self._names = names
        self._groups = groups
        self._later = later

    def compile(self, node: ast.expr, depth: int) -> Node:  # noqa: PLR0911  one for each kind
        """The checked tree of a node."""
        if depth > MAX_DEPTH:
            return self._fault(node, f"is nested more than {MAX_DEPTH} deep")
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name():
                if node.id in _WORDS:
                    return Node(Op.CONSTANT, Type.BOOLEAN, value=_WORDS[node.id])
                return self._name(node, node.id)
            case ast.UnaryOp():
                return self._unary(node, depth)
            case ast.BinOp():
                return self._arithmetic(node, depth)
            case ast.Compare():
                return self._comparison(node, depth)
            case ast.BoolOp():
                return self._logic(node, depth)
            case ast.Call():
                return self._call(node, depth)
            case _:
                return self._fault(node, f"{_spoken(node)} is not part of the language")

    def _constant(self, node: ast.Constant) -> Node:
        value = node.value
        if isinstance(value, bool):
            return Node(Op.CONSTANT, Type.BOOLEAN, value=value)
        if isinstance(value, str):
            return Node(Op.CONSTANT, Type.TEXT, value=value or None)
        if isinstance(value, (int, float)):
            try:
                number = float(value) if self._groups is None else _as_float32(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return Node(Op.CONSTANT, Type.NUMBER, value=number)
            return self._fault(node, "is too large a number")
        return self._fault(node, f"{_spoken(node)} is not part of the language")

    def _name(self, node: ast.expr, name: str) -> Node:
        known = self._names
        if known is not None and name not in known and name in self._later:
            return self._fault(node, f"{name!r} is not computed yet: a computed feature uses those listed before it")
        if known is not None and name not in known:
            near = _close(name, known, 3)
            said = f"no value is called {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
            return self._fault(node, said, tuple(near or sorted(known)[:_LISTED]))
        self.used.add(name)
        return Node(Op.NAME, Type.ANY if known is None else known[name], value=name)

    def _unary(self, node: ast.UnaryOp, depth: int) -> Node:
        operand = self.compile(node.operand, depth + 1)
        match node.op:
            case ast.Not():
                self._demand(node.operand, operand, Type.BOOLEAN, "`not`")
                return Node(Op.NOT, Type.BOOLEAN, (operand,))
            case ast.USub():
                self._demand(node.operand, operand, Type.NUMBER, "`-`")
                return Node(Op.NEGATIVE, Type.NUMBER, (operand,))
            case ast.UAdd():
                self._demand(node.operand, operand, Type.NUMBER, "`+`")
                return Node(Op.MAX, Type.NUMBER, (operand,))  # of one number: that number
            case _:
                return self._fault(node, "`~` is not part of the language")

    def _arithmetic(self, node: ast.BinOp, depth: int) -> Node:
        op = _ARITHMETIC.get(type(node.op))
        operands = []
        for side in (node.left, node.right):
            operand = self.compile(side, depth + 1)
            self._demand(side, operand, Type.NUMBER, "arithmetic")
            operands.append(operand)
        if op is None:
            return self._fault(node, f"{_spoken(node.op)} is not part of the language; of arithmetic, + - * / are")
        return Node(op, Type.NUMBER, tuple(operands))

    def _comparison(self, node: ast.Compare, depth: int) -> Node:
        sides = [node.left, *node.comparators]
        compiled = [self.compile(side, depth + 1) for side in sides]
        links = []
        for place, op in enumerate(node.ops):
            comparison = _COMPARISONS.get(type(op))
            left, right = compiled[place], compiled[place + 1]
            if comparison is None:
                self._fault(node, f"{_spoken(op)} is not part of the language; of comparisons, < <= > >= == != are")
                continue
            if Type.TIME in {left.type, right.type}:
                timed = sides[place + (left.type is not Type.TIME)]
                self._fault(timed, "a time is not compared; compare seconds_between(s, t) or hour(t) with a number")
            elif not (_fits(left.type, right.type) or _fits(right.type, left.type)):
                self._fault(sides[place], f"{left.type} cannot be compared with {right.type}")
            elif self._groups is not None and left.type is Type.TEXT and comparison not in {Op.EQUAL, Op.NOT_EQUAL}:
                self._fault(sides[place], "texts have no order in a computed feature; of comparisons, == and != do")
            links.append(Node(comparison, Type.BOOLEAN, (left, right)))
        return links[0] if len(links) == 1 else Node(Op.AND, Type.BOOLEAN, tuple(links))

    def _logic(self, node: ast.BoolOp, depth: int) -> Node:
        op = Op.AND if isinstance(node.op, ast.And) else Op.OR
        parts = []
        for side in node.values:
            part = self.compile(side, depth + 1)
            self._demand(side, part, Type.BOOLEAN, f"`{op}`")
            parts.append(part)
        return Node(op, Type.BOOLEAN, tuple(parts))

    def _call(self, node: ast.Call, depth: int) -> Node:  # noqa: PLR0911  one for each fault
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name not in FUNCTIONS:
            near = _close(name or "", FUNCTIONS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            return self._fault(node, f"{name or 'that'} is no function here{hint}", FUNCTIONS)
        plain = not any(isinstance(argument, ast.Starred) for argument in node.args)
        if name == "group_rate" and plain:
            return self._group_rate(node, depth)
        if node.keywords or not plain:
            return self._fault(node, f"{name} takes plain arguments only")
        if name == "input":
            given = node.args[0] if len(node.args) == 1 else None
            if not isinstance(given, ast.Constant) or not isinstance(given.value, str):
                return self._fault(node, 'input takes one name in quotes: input("wind dir")')
            return self._name(node, given.value)
        parts = tuple(self.compile(argument, depth + 1) for argument in node.args)
        if name == "bucket":
            return self._bucket(node, parts)
        if name in _OF_TIMES:
            return self._of_times(node, name, parts)
        op, most = _NUMERIC.get(name, (Op.IS_MISSING, 1))
        if not parts or (most is not None and len(parts) > most):
            return self._fault(node, f"{name} takes {'one argument' if most else 'at least one argument'}")
        if op is Op.IS_MISSING:
            return Node(op, Type.BOOLEAN, parts)
        for argument, part in zip(node.args, parts, strict=True):
            self._demand(argument, part, Type.NUMBER, name)
        return Node(op, Type.NUMBER, parts)

    def _bucket(self, node: ast.Call, parts: tuple[Node, ...]) -> Node:
        if len(parts) < 2:
            return self._fault(node, "bucket takes a number and at least one edge: bucket(distance, 500, 1000)")
        self._demand(node.args[0], parts[0], Type.NUMBER, "bucket")
        edges = [_number(part) for part in parts[1:]]
        for argument, edge, before in zip(node.args[1:], edges, [None, *edges], strict=False):
            if edge is None:
                self._fault(argument, "an edge of a bucket is a number")
            elif before is not None and edge <= before:
                self._fault(argument, f"the edges of a bucket rise; this one is not above {before:g}")
        return Node(Op.BUCKET, Type.NUMBER, parts[:1], edges=tuple(edge for edge in edges if edge is not None))

    def _of_times(self, node: ast.Call, name: str, parts: tuple[Node, ...]) -> Node:
        op, wanted = _OF_TIMES[name]
        if len(parts) != wanted:
            return self._fault(node, f"{name} takes {'one time' if wanted == 1 else 'two times'}")
        for argument, part in zip(node.args, parts, strict=True):
            self._demand(argument, part, Type.TIME, name)
        return Node(op, Type.NUMBER, parts)

    def _group_rate(self, node: ast.Call, depth: int) -> Node:
        if self._groups is None:
            return self._fault(node, "group_rate is learned in training; only a computed feature may use it")
        least = float(MIN_ROWS)
        for keyword in node.keywords:
            given = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if keyword.arg != "min_rows" or type(given) is not int or given < 1:
                return self._fault(
                    node, "group_rate takes names and min_rows, a whole number: group_rate(a, min_rows=9)"
                )
            least = float(given)
        if not 1 <= len(node.args) <= MAX_KEY_COLUMNS:
            return self._fault(node, f"group_rate takes 1 to {MAX_KEY_COLUMNS} names")
        parts = tuple(self.compile(argument, depth + 1) for argument in node.args)
        for argument, part in zip(node.args, parts, strict=True):
            if part is _FAULTY:
                continue
            if part.type is Type.TIME:
                self._fault(argument, "a time makes no groups; compute hour(t), weekday(t) or such under a name first")
            elif part.op is not Op.NAME:
                self._fault(argument, "group_rate groups by names; give the expression a name of its own first")
            elif self._names is not None and part.value not in self._groups:
                self._fault(argument, f"{part.value!r} is learned itself; group_rate cannot group by it")
        return Node(Op.GROUP_RATE, Type.NUMBER, parts, value=least)

    def _demand(self, node: ast.expr, found: Node, wanted: Type, what: str) -> None:
        if not _fits(found.type, wanted):
            hint = f"; take {', '.join(_OF_TIMES)} of it" if found.type is Type.TIME else ""
            self._fault(node, f"{what} needs {wanted}, this is {found.type}{hint}")

    def _fault(self, node: ast.expr, message: str, allowed: tuple[str, ...] = ()) -> Node:
        self.problems.append(Problem(message, self._position(node), allowed))
        return _FAULTY

    def _position(self, node: ast.expr) -> int:
        """Python counts bytes within a line; people count characters."""
        before = self._lines[: node.lineno - 1]
        line = self._lines[node.lineno - 1] if node.lineno <= len(self._lines) else ""
        within = len(line.encode("utf-8", "surrogatepass")[: node.col_offset].decode("utf-8", "ignore"))
        return self._indent + sum(map(len, before)) + within + 1


def _as_float32(number: float) -> float:
    """Rounded to the nearest; raises OverflowError beyond the largest."""
    rounded: float = struct.unpack("f", struct.pack("f", number))[0]
    return rounded


def _number(node: Node) -> float | None:
    """The number that stands there, with its sign; None when something else does."""
    if node.op is Op.NEGATIVE:
        found = _number(node.parts[0])
        return None if found is None else -found
    return float(node.value or 0) if node.op is Op.CONSTANT and node.type is Type.NUMBER else None


def _closure(node: Node) -> _Compiled:  # noqa: PLR0911  one for each kind
    parts = [_closure(part) for part in node.parts]
    match node.op:
        case Op.CONSTANT:
            value = node.value
            return lambda _: value
        case Op.NAME:
            return _lookup(str(node.value))
        case Op.AND:
            return _all(parts)
        case Op.OR:
            return _any(parts)
        case Op.NOT:
            only = parts[0]
            return lambda values: _not(_truth(only(values)))
        case Op.IS_MISSING:
            only = parts[0]
            return lambda values: only(values) is None
        case Op.BUCKET:
            edges = node.edges
            return _numeric(lambda number: sum(number >= edge for edge in edges), parts)
        case Op.HOUR | Op.WEEKDAY | Op.MONTH | Op.DAY_OF_YEAR | Op.SECONDS_BETWEEN | Op.DAYS_BETWEEN:
            return _numeric(_COMPUTED[node.op], [_moment(part) for part in parts])
        case Op.EQUAL | Op.NOT_EQUAL | Op.LESS | Op.LESS_OR_EQUAL | Op.GREATER | Op.GREATER_OR_EQUAL:
            return _compared(_COMPUTED[node.op], *parts)
        case Op.GROUP_RATE:
            return lambda _: None  # it has no value before training
        case Op.NEGATIVE | Op.ADD | Op.SUBTRACT | Op.MULTIPLY | Op.DIVIDE | Op.MIN | Op.MAX | Op.ABS | Op.LOG | Op.EXP:
            return _numeric(_COMPUTED[node.op], parts)
        case never:
            assert_never(never)


DAY = 86_400  # seconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_UNSAID = _EPOCH.replace(tzinfo=None)  # of times that do not say that they are UTC
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999


def seconds_of(text: str) -> int | None:
    """Whole seconds from 1970-01-01 in UTC to a moment in ISO 8601, fractions floored; None when it is none, or is
    before the year 1 or after 9999. A moment without an offset is one in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    since = at - (_EPOCH if at.tzinfo else _EPOCH_UNSAID)
    seconds = since.days * DAY + since.seconds
    return seconds if FIRST_SECOND <= seconds <= LAST_SECOND else None


def hour(seconds: Any) -> Any:
    """0 to 23. This and the three below take whatever has + - * // % of whole numbers, // rounding down: an int, a
    column of int64, a value of an ONNX graph. So all three compute the same."""
    return seconds % DAY // 3600


def weekday(seconds: Any) -> Any:
    """Monday 0 to Sunday 6."""
    return (seconds // DAY + 3) % 7  # 1970-01-01 was a Thursday


def month(seconds: Any) -> Any:
    """1 to 12."""
    return (_from_march(seconds)[1] + 2) % 12 + 1


def day_of_year(seconds: Any) -> Any:
    """1 to 366."""
    year, place = _from_march(seconds)
    before = year + (place + 2) // 12 - 1  # years that are over; January and February belong to the next one
    return seconds // DAY + 719_163 - (before * 365 + before // 4 - before // 100 + before // 400)


def _from_march(seconds: Any) -> tuple[Any, Any]:
    """The year, as it were counted from March, and the month's place in it: March 0 to February 11.

    civil_from_days of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"
    (howardhinnant.github.io/date_algorithms.html), in the proleptic Gregorian calendar.
    """
    days = seconds // DAY + 719_468  # since 0000-03-01
    era, of_era = days // 146_097, days % 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (year * 365 + year // 4 - year // 100)
    return year + era * 400, (of_year * 5 + 2) // 153


_COMPUTED: dict[Op, Callable[..., Any]] = {
    Op.HOUR: hour,
    Op.WEEKDAY: weekday,
    Op.MONTH: month,
    Op.DAY_OF_YEAR: day_of_year,
    Op.SECONDS_BETWEEN: operator.sub,
    Op.DAYS_BETWEEN: lambda later, earlier: (later - earlier) / DAY,
    Op.NEGATIVE: operator.neg,
    Op.ADD: operator.add,
    Op.SUBTRACT: operator.sub,
    Op.MULTIPLY: operator.mul,
    Op.DIVIDE: operator.truediv,
    Op.MIN: lambda *numbers: min(numbers),
    Op.MAX: lambda *numbers: max(numbers),
    Op.ABS: abs,
    Op.LOG: math.log,
    Op.EXP: math.exp,
    Op.EQUAL: operator.eq,
    Op.NOT_EQUAL: operator.ne,
    Op.LESS: operator.lt,
    Op.LESS_OR_EQUAL: operator.le,
    Op.GREATER: operator.gt,
    Op.GREATER_OR_EQUAL: operator.ge,
}


def _lookup(name: str) -> _Compiled:
    def value(values: Mapping[str, Any]) -> Any:
        found = values.get(name)
        if isinstance(found, float):
            return found if math.isfinite(found) else None
        return None if found == "" else found

    return value


def _moment(operand: _Compiled) -> _Compiled:
    """Seconds since 1970 of a time, which a request gives as text and a table as such seconds."""

    def compute(values: Mapping[str, Any]) -> Any:
        found = operand(values)
        if isinstance(found, str):
            return seconds_of(found)
        return math.floor(found) if isinstance(found, int | float) else None

    return compute


def _numeric(function: Callable[..., Any], operands: Sequence[_Compiled]) -> _Compiled:
    def compute(values: Mapping[str, Any]) -> Any:
        numbers = []
        for operand in operands:
            number = operand(values)
            if number is None or isinstance(number, str):
                return None
            numbers.append(number)
        try:
            result = float(function(*numbers))
        except (ArithmeticError, TypeError, ValueError):
            return None
        return result if math.isfinite(result) else None

    return compute


def _compared(compare: Callable[[Any, Any], bool], first: _Compiled, second: _Compiled) -> _Compiled:
    def compute(values: Mapping[str, Any]) -> Any:
        left, right = first(values), second(values)
        if left is None or right is None:
            return None
        try:
            return compare(left, right)
        except TypeError:  # a label that is a text against a number
            return None

    return compute


def _all(parts: Sequence[_Compiled]) -> _Compiled:
    def compute(values: Mapping[str, Any]) -> Any:
        known = True
        for part in parts:
            truth = _truth(part(values))
            if truth is False:
                return False
            known = known and truth is not None
        return True if known else None

    return compute


def _any(parts: Sequence[_Compiled]) -> _Compiled:
    def compute(values: Mapping[str, Any]) -> Any:
        known = True
        for part in parts:
            truth = _truth(part(values))
            if truth:
                return True
            known = known and truth is not None
        return False if known else None

    return compute


def _truth(value: Any) -> bool | None:
    return None if value is None or isinstance(value, str) else bool(value)


def _not(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def _spoken(node: ast.AST) -> str:
    """What people call a piece of Python."""
    names: dict[type[ast.AST], str] = {
        ast.Attribute: "an attribute (a.b)",
        ast.BitAnd: "`&`",
        ast.BitOr: "`|`",
        ast.BitXor: "`^`",
        ast.Constant: "this literal",
        ast.FloorDiv: "`//`",
        ast.IfExp: "`if ... else`",
        ast.In: "`in`",
        ast.Is: "`is`",
        ast.IsNot: "`is not`",
        ast.JoinedStr: "an f-string",
        ast.Lambda: "`lambda`",
        ast.List: "a list",
        ast.LShift: "`<<`",
        ast.MatMult: "`@`",
        ast.Mod: "`%`",
        ast.NamedExpr: "`:=`",
        ast.NotIn: "`not in`",
        ast.Pow: "`**`",
        ast.RShift: "`>>`",
        ast.Subscript: "a subscript (a[b])",
        ast.Tuple: "a tuple",
    }
    return names.get(type(node), "that")


def _close(name: str, known: Iterable[str], most: int) -> list[str]:
    from difflib import get_close_matches  # for faults only: not worth its share of a cold start

    return get_close_matches(name, list(known), n=most)
