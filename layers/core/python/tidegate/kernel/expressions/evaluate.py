"""From a checked tree to the function that computes it for one row; what is missing stays missing."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

from tidegate.kernel.expressions.language import Node, Op
from tidegate.kernel.expressions.times import DAY, day_of_year, hour, month, seconds_of, weekday

Compiled = Callable[[Mapping[str, Any]], Any]


def closure(node: Node) -> Compiled:  # noqa: PLR0911  one for each kind
    parts = [closure(part) for part in node.parts]
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


def _lookup(name: str) -> Compiled:
    def value(values: Mapping[str, Any]) -> Any:
        found = values.get(name)
        if isinstance(found, float):
            return found if math.isfinite(found) else None
        return None if found == "" else found

    return value


def _moment(operand: Compiled) -> Compiled:
    """Seconds since 1970 of a time, which a request gives as text and a table as such seconds."""

    def compute(values: Mapping[str, Any]) -> Any:
        found = operand(values)
        if isinstance(found, str):
            return seconds_of(found)
        return math.floor(found) if isinstance(found, int | float) else None

    return compute


def _numeric(function: Callable[..., Any], operands: Sequence[Compiled]) -> Compiled:
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


def _compared(compare: Callable[[Any, Any], bool], first: Compiled, second: Compiled) -> Compiled:
    def compute(values: Mapping[str, Any]) -> Any:
        left, right = first(values), second(values)
        if left is None or right is None:
            return None
        try:
            return compare(left, right)
        except TypeError:  # a label that is a text against a number
            return None

    return compute


def _all(parts: Sequence[Compiled]) -> Compiled:
    def compute(values: Mapping[str, Any]) -> Any:
        known = True
        for part in parts:
            truth = _truth(part(values))
            if truth is False:
                return False
            known = known and truth is not None
        return True if known else None

    return compute


def _any(parts: Sequence[Compiled]) -> Compiled:
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


def _not(truth: bool | None) -> bool | None:  # noqa: FBT001  a truth value, no switch
    return None if truth is None else not truth
