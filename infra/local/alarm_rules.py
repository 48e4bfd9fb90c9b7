"""How CloudWatch decides an alarm's state from data points; pure, from its documentation on missing data and M of N."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from infra.local.metrics import statistic

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]

# CloudWatch looks back over more periods than it evaluates, so that late data still counts; its examples use two more.
EXTRA_PERIODS = 2

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


def breaches(value: float, comparison: str, threshold: float) -> bool:
    """Whether one data point is over (or under) the threshold."""
    return _COMPARISONS[comparison](value, threshold)


def next_state(
    breaching: Sequence[bool | None],
    *,
    evaluation_periods: int,
    datapoints_to_alarm: int,
    treat_missing_data: str,
    current: State,
) -> State:
    """The state after an evaluation.

    Args:
        breaching: per period of the evaluation range, newest first: over the threshold, not over, or None for no data.
        treat_missing_data: missing, ignore, breaching or notBreaching.
    """
    present = [b for b in breaching if b is not None]
    points = present[:evaluation_periods]
    missing = evaluation_periods - len(points)
    if missing and treat_missing_data in ("breaching", "notBreaching"):
        points = [*points, *[treat_missing_data == "breaching"] * missing]
    elif not points:
        return current if treat_missing_data == "ignore" else "INSUFFICIENT_DATA"
    over = sum(points)
    if over >= datapoints_to_alarm:
        return "ALARM"
    if missing and over == len(points):  # all there is breaches, but there is not enough of it
        return {"missing": "ALARM", "ignore": current}.get(treat_missing_data, "OK")
    return "OK"


def check_supported(alarm: Mapping[str, Any]) -> str | None:
    """Why an alarm, as a template describes it, cannot be evaluated locally; None when it can."""
    if alarm.get("ComparisonOperator") not in _COMPARISONS:
        return f"{alarm.get('ComparisonOperator')} is not supported by the local cloud"
    queries = alarm.get("Metrics") or []
    names = [alarm.get("ExtendedStatistic") or alarm.get("Statistic")] if not queries else []
    names += [query["MetricStat"]["Stat"] for query in queries if "MetricStat" in query]
    try:
        for name in names:
            statistic([0.0], str(name))
        for query in queries:
            if "Expression" in query:
                evaluate(query["Expression"], {other["Id"]: 1.0 for other in queries})
    except ValueError as error:
        return str(error)
    return None


def evaluate(expression: str, values: Mapping[str, float | None]) -> float | None:
    """Metric math over the values of one period: + - * /, comparisons, IF, FILL, SUM, AVG, MIN, MAX, ABS, METRICS().

    No data in, no data out, except through FILL and IF. Raises ValueError for what it does not know.
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"metric math {expression!r} is not supported by the local cloud") from None
    result = _value(tree, values, expression)
    if isinstance(result, list):
        raise ValueError(  # noqa: TRY004 - what is wrong is the expression, not a type
            f"metric math {expression!r} gives several series; an alarm needs one"
        )
    return None if result is None else float(result)


_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Gt: lambda a, b: float(a > b),
    ast.GtE: lambda a, b: float(a >= b),
    ast.Lt: lambda a, b: float(a < b),
    ast.LtE: lambda a, b: float(a <= b),
    ast.Eq: lambda a, b: float(a == b),
    ast.NotEq: lambda a, b: float(a != b),
}

_AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "SUM": math.fsum,
    "AVG": lambda found: math.fsum(found) / len(found),
    "MIN": min,
    "MAX": max,
}


def _value(node: ast.expr, values: Mapping[str, float | None], text: str) -> Any:  # noqa: PLR0911 - one per kind
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in values:
            return values[name]
        case ast.List(elts=elements):
            return [_value(element, values, text) for element in elements]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _value(operand, values, text)
            return None if inner is None else -inner
        case ast.BinOp(left=left, op=op, right=right):
            return _combined(_OPERATORS.get(type(op)), left, right, values, text)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _combined(_OPERATORS.get(type(op)), left, right, values, text)
        case ast.Call(func=ast.Name(id=name), args=args):
            return _called(name.upper(), [_value(arg, values, text) for arg in args], values, text)
    raise ValueError(f"metric math {text!r} is not supported by the local cloud")


def _combined(
    combine: Callable[[float, float], float] | None,
    left: ast.expr,
    right: ast.expr,
    values: Mapping[str, float | None],
    text: str,
) -> float | None:
    if combine is None:
        raise ValueError(f"metric math {text!r} is not supported by the local cloud")
    a, b = _value(left, values, text), _value(right, values, text)
    if a is None or b is None:
        return None
    try:
        return combine(a, b)
    except ZeroDivisionError:
        return None


def _called(name: str, args: list[Any], values: Mapping[str, float | None], text: str) -> Any:
    match name, args:
        case "METRICS", []:
            return list(values.values())
        case "FILL", [value, filling]:
            return filling if value is None else value
        case "IF", [condition, then, *otherwise]:
            chosen = then if condition else (otherwise[0] if otherwise else None)
            return None if condition is None else chosen
        case "ABS", [value]:
            return None if value is None else abs(value)
        case (("SUM" | "AVG" | "MIN" | "MAX"), [*_]):
            series = args[0] if args and isinstance(args[0], list) else args
            found = [value for value in series if value is not None]
            return _AGGREGATES[name](found) if found else None
    raise ValueError(f"metric math function {name} in {text!r} is not supported by the local cloud")
