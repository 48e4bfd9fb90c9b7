"""A small language for rules that people write into a spec: arithmetic, comparisons and logic over named values.

    rule = compile_expression("0 <= score <= 1 and not (cancelled and label == true)", {"score": NUMBER, ...})
    rule.value({"score": 0.4, "cancelled": 0, "label": False})    # True

    or, and, not                              < <= > >= == !=, also chained: 0 <= score <= 1
    + - * / and parentheses                   numbers, 'texts', true, false
    min(a, b, ...) max(a, b, ...) abs(a) log(a) exp(a) is_missing(a)
    name                                      a value; input("wind dir") for one whose name is no plain word

Python's own grammar is parsed and a short list of its nodes is accepted; everything else is a fault that says where it
stands. What is accepted becomes closures over the values: nothing is evaluated as code, and no attribute, subscript or
other function can be reached.

A missing value (null, NaN or an empty text) makes missing whatever is computed from it, and so does a result that is no
finite number (1 / 0, log(0)). Logic is Kleene's: `and` is false as soon as one side is, `or` is true as soon as one
side is, whatever the other; with neither, missing stays missing (Kleene 1952, "Introduction to Metamathematics",
section 64). So an expression never raises: it is a value or it is missing.

Standard library only, since it is on the inference path.
"""

import ast
import difflib
import math
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MAX_LENGTH = 1_000  # characters of an expression
MAX_DEPTH = 60  # operators within each other
_LISTED = 12  # names told to somebody who misspelt one

Value = bool | int | float | str | None
_Compiled = Callable[[Mapping[str, Any]], Any]


class Type(StrEnum):
    """What a value is, as far as it is known before there is one. A boolean may stand where a number may."""

    NUMBER = "a number"
    BOOLEAN = "a boolean"
    TEXT = "a text"
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


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled expression. `names` are the values it looks at."""

    text: str
    type: Type
    names: frozenset[str]
    _compute: _Compiled

    def value(self, values: Mapping[str, Any]) -> Value:
        """The value for these; None when it is missing. A name that is not among `values` is missing."""
        found: Value = self._compute(values)
        return found


def compile_expression(text: str, names: Mapping[str, Type] | None = None, *, wanted: Type = Type.ANY) -> Expression:
    """Check an expression and compile it.

    Args:
        names: what may be named, and what it is; None takes any name (an expression that was checked before).
        wanted: what the expression has to be.

    Raises:
        ExpressionError: with every fault, each with its place.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(text, [Problem(f"has {len(text)} characters; at most {MAX_LENGTH} are allowed")])
    tree = _parsed(text)
    compiler = _Compiler(text, names)
    type_, compute = compiler.compile(tree, 1)
    if not compiler.problems and wanted is not Type.ANY and not _fits(type_, wanted):
        compiler.problems.append(Problem(f"is {type_}, where {wanted} is needed"))
    if compiler.problems:
        raise ExpressionError(text, sorted(compiler.problems, key=lambda problem: problem.position or 0))
    return Expression(text, type_, frozenset(compiler.used), compute)


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


# Stands for what is faulty, so that the rest is looked at too.
_MISSING: tuple[Type, _Compiled] = (Type.ANY, lambda _: None)

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_NUMERIC: dict[str, tuple[int, int | None, Callable[..., Any]]] = {  # fewest and most arguments
    "min": (1, None, lambda *numbers: min(numbers)),
    "max": (1, None, lambda *numbers: max(numbers)),
    "abs": (1, 1, abs),
    "log": (1, 1, math.log),
    "exp": (1, 1, math.exp),
}
FUNCTIONS = (*_NUMERIC, "is_missing", "input")
_WORDS = {"true": True, "false": False}


class _Compiler:
    def __init__(self, text: str, names: Mapping[str, Type] | None) -> None:
        self.problems: list[Problem] = []
        self.used: set[str] = set()
        self._indent = len(text) - len(text.lstrip())
        self._lines = text[self._indent :].splitlines(keepends=True)
        self._names = names

    def compile(self, node: ast.expr, depth: int) -> tuple[Type, _Compiled]:  # noqa: PLR0911  one for each kind
        """Type and closure of a node."""
        if depth > MAX_DEPTH:
            return self._fault(node, f"is nested more than {MAX_DEPTH} deep")
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name():
                return self._constant_word(node) if node.id in _WORDS else self._name(node, node.id)
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

    def _constant(self, node: ast.Constant) -> tuple[Type, _Compiled]:
        value = node.value
        if isinstance(value, bool):
            return Type.BOOLEAN, lambda _: value
        if isinstance(value, str):
            return Type.TEXT, lambda _: value or None
        if isinstance(value, (int, float)):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return Type.NUMBER, lambda _: number
            return self._fault(node, "is too large a number")
        return self._fault(node, f"{_spoken(node)} is not part of the language")

    @staticmethod
    def _constant_word(node: ast.Name) -> tuple[Type, _Compiled]:
        value = _WORDS[node.id]
        return Type.BOOLEAN, lambda _: value

    def _name(self, node: ast.expr, name: str) -> tuple[Type, _Compiled]:
        known = self._names
        if known is not None and name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
            said = f"no value is called {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
            return self._fault(node, said, tuple(near or sorted(known)[:_LISTED]))
        self.used.add(name)
        return Type.ANY if known is None else known[name], _lookup(name)

    def _unary(self, node: ast.UnaryOp, depth: int) -> tuple[Type, _Compiled]:
        type_, operand = self.compile(node.operand, depth + 1)
        match node.op:
            case ast.Not():
                self._demand(node.operand, type_, Type.BOOLEAN, "`not`")
                return Type.BOOLEAN, lambda values: _not(_truth(operand(values)))
            case ast.USub():
                self._demand(node.operand, type_, Type.NUMBER, "`-`")
                return Type.NUMBER, _numeric(operator.neg, [operand])
            case ast.UAdd():
                self._demand(node.operand, type_, Type.NUMBER, "`+`")
                return Type.NUMBER, _numeric(operator.pos, [operand])
            case _:
                return self._fault(node, "`~` is not part of the language")

    def _arithmetic(self, node: ast.BinOp, depth: int) -> tuple[Type, _Compiled]:
        function = _ARITHMETIC.get(type(node.op))
        operands = []
        for side in (node.left, node.right):
            type_, operand = self.compile(side, depth + 1)
            self._demand(side, type_, Type.NUMBER, "arithmetic")
            operands.append(operand)
        if function is None:
            return self._fault(node, f"{_spoken(node.op)} is not part of the language; of arithmetic, + - * / are")
        return Type.NUMBER, _numeric(function, operands)

    def _comparison(self, node: ast.Compare, depth: int) -> tuple[Type, _Compiled]:
        sides = [node.left, *node.comparators]
        compiled = [self.compile(side, depth + 1) for side in sides]
        links = []
        for place, op in enumerate(node.ops):
            compare = _COMPARISONS.get(type(op))
            (left, first), (right, second) = compiled[place], compiled[place + 1]
            if compare is None:
                self._fault(node, f"{_spoken(op)} is not part of the language; of comparisons, < <= > >= == != are")
                continue
            if not (_fits(left, right) or _fits(right, left)):
                self._fault(sides[place], f"{left} cannot be compared with {right}")
            links.append(_compared(compare, first, second))
        return Type.BOOLEAN, links[0] if len(links) == 1 else _all(links)

    def _logic(self, node: ast.BoolOp, depth: int) -> tuple[Type, _Compiled]:
        word = "`and`" if isinstance(node.op, ast.And) else "`or`"
        parts = []
        for side in node.values:
            type_, part = self.compile(side, depth + 1)
            self._demand(side, type_, Type.BOOLEAN, word)
            parts.append(part)
        return Type.BOOLEAN, _all(parts) if isinstance(node.op, ast.And) else _any(parts)

    def _call(self, node: ast.Call, depth: int) -> tuple[Type, _Compiled]:  # noqa: PLR0911  one for each fault
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name not in FUNCTIONS:
            near = difflib.get_close_matches(name or "", FUNCTIONS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            return self._fault(node, f"{name or 'that'} is no function here{hint}", FUNCTIONS)
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            return self._fault(node, f"{name} takes plain arguments only")
        if name == "input":
            given = node.args[0] if len(node.args) == 1 else None
            if not isinstance(given, ast.Constant) or not isinstance(given.value, str):
                return self._fault(node, 'input takes one name in quotes: input("wind dir")')
            return self._name(node, given.value)
        compiled = [self.compile(argument, depth + 1) for argument in node.args]
        operands = [operand for _, operand in compiled]
        fewest, most, function = _NUMERIC.get(name, (1, 1, None))
        if len(operands) < fewest or (most is not None and len(operands) > most):
            return self._fault(node, f"{name} takes {'one argument' if most else 'at least one argument'}")
        if function is None:
            only = operands[0]
            return Type.BOOLEAN, lambda values: only(values) is None
        for argument, (type_, _) in zip(node.args, compiled, strict=True):
            self._demand(argument, type_, Type.NUMBER, name)
        return Type.NUMBER, _numeric(function, operands)

    def _demand(self, node: ast.expr, type_: Type, wanted: Type, what: str) -> None:
        if not _fits(type_, wanted):
            self._fault(node, f"{what} needs {wanted}, this is {type_}")

    def _fault(self, node: ast.expr, message: str, allowed: tuple[str, ...] = ()) -> tuple[Type, _Compiled]:
        self.problems.append(Problem(message, self._position(node), allowed))
        return _MISSING

    def _position(self, node: ast.expr) -> int:
        """Python counts bytes within a line; people count characters."""
        before = self._lines[: node.lineno - 1]
        line = self._lines[node.lineno - 1] if node.lineno <= len(self._lines) else ""
        within = len(line.encode("utf-8", "surrogatepass")[: node.col_offset].decode("utf-8", "ignore"))
        return self._indent + sum(map(len, before)) + within + 1


def _lookup(name: str) -> _Compiled:
    def value(values: Mapping[str, Any]) -> Any:
        found = values.get(name)
        return None if found is None or found == "" or found != found else found  # noqa: PLR0124  NaN

    return value


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
