"""From text to a checked tree: Python's parser reads, what is not of the language is refused with its place."""

import ast
import math
import struct
import warnings
from collections.abc import Collection, Iterable, Mapping

from tidegate.kernel.expressions.language import (
    _NUMERIC,
    _OF_TIMES,
    FUNCTIONS,
    MAX_DEPTH,
    MAX_KEY_COLUMNS,
    MIN_ROWS,
    ExpressionError,
    Node,
    Op,
    Problem,
    Type,
)

_LISTED = 12  # names shown to somebody who misspelt one


def parsed(text: str) -> ast.expr:
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


def fits(type_: Type, wanted: Type) -> bool:
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
_WORDS = {"true": True, "false": False}


class Checker:
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
            return self._fault(
                node, f"{name!r} is computed later: a computed feature can only use those listed before it"
            )
        if known is not None and name not in known:
            hint, near = _hint(name, known)
            return self._fault(node, f"there is no value {name!r}{hint}", tuple(near or sorted(known)[:_LISTED]))
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
            return self._fault(node, f"{_spoken(node.op)} is not part of the language; use + - * /")
        return Node(op, Type.NUMBER, tuple(operands))

    def _comparison(self, node: ast.Compare, depth: int) -> Node:
        sides = [node.left, *node.comparators]
        compiled = [self.compile(side, depth + 1) for side in sides]
        links = []
        for place, op in enumerate(node.ops):
            comparison = _COMPARISONS.get(type(op))
            left, right = compiled[place], compiled[place + 1]
            if comparison is None:
                self._fault(node, f"{_spoken(op)} is not part of the language; use < <= > >= == !=")
                continue
            if Type.TIME in {left.type, right.type}:
                timed = sides[place + (left.type is not Type.TIME)]
                self._fault(timed, "a time cannot be compared; compare seconds_between(s, t) or hour(t) with a number")
            elif not (fits(left.type, right.type) or fits(right.type, left.type)):
                self._fault(sides[place], f"{left.type} cannot be compared with {right.type}")
            elif self._groups is not None and left.type is Type.TEXT and comparison not in {Op.EQUAL, Op.NOT_EQUAL}:
                self._fault(sides[place], "texts have no order in a computed feature; use == or !=")
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
            return self._fault(node, f"{name or 'this'} is not a function{_hint(name, FUNCTIONS)[0]}", FUNCTIONS)
        plain = not any(isinstance(argument, ast.Starred) for argument in node.args)
        if name == "group_rate" and plain:
            return self._group_rate(node, depth)
        if node.keywords or not plain:
            return self._fault(node, f"{name} takes only plain arguments")
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
                self._fault(argument, "an edge of a bucket must be a number")
            elif before is not None and edge <= before:
                self._fault(argument, f"the edges of a bucket must rise; this one is not above {before:g}")
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
                self._fault(argument, "a time cannot form groups; first compute a feature from it, such as hour(t)")
            elif part.op is not Op.NAME:
                self._fault(argument, "group_rate groups by names; first compute a feature from the expression")
            elif self._names is not None and part.value not in self._groups:
                self._fault(argument, f"group_rate cannot group by {part.value!r}, which is itself learned")
        return Node(Op.GROUP_RATE, Type.NUMBER, parts, value=least)

    def _demand(self, node: ast.expr, found: Node, wanted: Type, what: str) -> None:
        if not fits(found.type, wanted):
            hint = f"; use {', '.join(_OF_TIMES)}" if found.type is Type.TIME else ""
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


def _hint(name: str | None, known: Iterable[str]) -> tuple[str, list[str]]:
    from tidegate.kernel.fault_words import did_you_mean, near_names  # for faults only: not worth a cold start's time

    return did_you_mean(name, known), near_names(name, known)
