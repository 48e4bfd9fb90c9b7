"""Computed features by column, in float32 step by step, exactly as the ONNX graph of a version computes them.

    contract, fitted_on = learned(contract, training, seed=7)   # group rates, and the columns of these rows themselves
    columns(contract, contract.inputs(holdout))                 # of other rows
    replay(contract, table)                                     # by name, from a recorded contract alone

Numbers are float32 with NaN for missing, truth values 0 and 1. Every operation rounds to float32, a result that is not
finite becomes NaN, and logarithms and exponentials are taken in float64 and rounded once, so that numpy and onnxruntime
agree on them (their float32 versions differ in the last bits). Times are int64 seconds since 1970, `NO_TIME` for
missing; what is computed of them is so in whole numbers and becomes float32 in the end.

What a group_rate learns uses the target, so a row must not be fitted on a rate that its own target is part of. Each
training row gets the rate of its group over the other folds of `FOLDS` (cross-fitting, as scikit-learn's TargetEncoder;
the rate itself goes back to Micci-Barreca 2001, "A preprocessing scheme for high-cardinality categorical attributes",
SIGKDD Explorations 3:27-32). Leaving out the row alone would give its target away: within a group, rows with a hit
would get the lower rate. Every other row gets the rate over all training rows. docs/model-spec.md has numbers.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.domain.serving.baseline import group_codes
from tidegate.domain.serving.contract import NO_TIME, ComputedContract, Contract, GroupRates, Inputs
from tidegate.kernel import english
from tidegate.kernel.errors import DataCheckError, Fault
from tidegate.kernel.expressions.compile import Expression, compile_computed
from tidegate.kernel.expressions.language import TYPE_OF_KIND, Node, Op, Type
from tidegate.kernel.expressions.times import DAY, day_of_year, hour, month, weekday
from tidegate.kernel.table import TARGET, Column, Table

FOLDS = 5
MAX_GROUPS = 10_000  # of one group_rate; they travel inside the artifact

Matrix = npt.NDArray[np.float32]
_NAN = np.float32(np.nan)


def expressions(contract: Contract) -> tuple[Expression, ...]:
    """The contract's computed features, compiled; a node's name is a feature or an earlier computed feature.

    Raises:
        ExpressionError: (a ValueError) one cannot be read.
    """
    names = {feature.name: TYPE_OF_KIND[feature.kind] for feature in contract.features}
    groups = set(names)
    found = []
    for each in contract.computed:
        expression = compile_computed(each.expression, names, groups)
        names[each.name] = expression.type
        if not expression.group_rates:
            groups.add(each.name)
        found.append(expression)
    return tuple(found)


def columns(contract: Contract, inputs: Inputs) -> Matrix:
    """float32 [rows, computed features]; the contract's group rates are looked up."""
    known = _inputs(contract, inputs)
    for each, expression in zip(contract.computed, expressions(contract), strict=True):
        looked_up = [_look_up(rates, [known[name] for name in rates.by]) for rates in each.rates]
        known[each.name] = _column(expression, known, looked_up, len(inputs.numeric))
    return _matrix(contract, known, len(inputs.numeric))


def replay(contract: Contract, table: Table) -> Table:
    """The computed features of a table's rows, by name, as the version with this contract computes them."""
    matrix = columns(contract, contract.inputs(table))
    return Table({each.name: matrix[:, place] for place, each in enumerate(contract.computed)})


def learned(contract: Contract, training: Table, *, seed: int) -> tuple[Contract, Matrix]:
    """The contract with the group rates of these rows, and the rows' own computed features [rows, computed features],
    for which the rates are cross-fitted. `seed` draws the folds.

    Raises:
        DataCheckError: more groups than `MAX_GROUPS`, or a rate that float32 cannot hold.
    """
    inputs = contract.inputs(training)
    known = _inputs(contract, inputs)
    rows = len(training)
    target = training[TARGET]
    hits = (target == contract.positive if contract.classes else target).astype(np.float64)
    folds = np.random.default_rng(seed).permutation(rows) % FOLDS
    computed: list[ComputedContract] = []
    for each, expression in zip(contract.computed, expressions(contract), strict=True):
        found = [_learn(each.name, node, known, hits, folds) for node in expression.group_rates]
        known[each.name] = _column(expression, known, [crossed for _, crossed in found], rows)
        computed.append(replace(each, rates=tuple(rates for rates, _ in found)))
    return replace(contract, computed=tuple(computed)), _matrix(contract, known, rows)


def described(contract: Contract) -> list[dict[str, Any]]:
    """The computed features for a report: how each is computed, and how much its group rates have learned."""
    return [
        {
            "name": each.name,
            "expression": each.expression,
            "unit": each.unit,
            "description": each.description,
            "learned": [
                {
                    "by": list(rates.by),
                    "min_rows": rates.min_rows,
                    "groups": len(rates.groups),
                    "overall": rates.overall,
                }
                for rates in each.rates
            ],
        }
        for each in contract.computed
    ]


def _inputs(contract: Contract, inputs: Inputs) -> dict[str, Column]:
    finite = np.where(np.isinf(inputs.numeric), _NAN, inputs.numeric)
    numbers = {feature.name: finite[:, place] for place, feature in enumerate(contract.numeric)}
    texts = {
        feature.name: inputs.categorical[:, place].astype(np.str_) for place, feature in enumerate(contract.categorical)
    }
    times = {feature.name: inputs.times[:, place] for place, feature in enumerate(contract.times)}
    return numbers | texts | times


def _matrix(contract: Contract, known: Mapping[str, Column], rows: int) -> Matrix:
    made = [known[each.name] for each in contract.computed]
    return np.stack(made, axis=1) if made else np.empty((rows, 0), dtype=np.float32)


def _look_up(rates: GroupRates, parts: Sequence[Column]) -> Column:
    code, keys = group_codes(parts, [part.dtype.kind == "U" for part in parts])
    known = dict(rates.groups)
    return np.array([known.get(key, rates.overall) for key in keys], dtype=np.float32)[code]


def _learn(
    name: str, node: Node, known: Mapping[str, Column], hits: Column, folds: Column
) -> tuple[GroupRates, Column]:
    """What a group_rate learns of these rows, and the cross-fitted rate of each of them."""
    by = tuple(str(part.value) for part in node.parts)
    parts = [known[column] for column in by]
    least = int(node.value or 1)
    code, keys = group_codes(parts, [part.dtype.kind == "U" for part in parts])
    rows, sums = np.bincount(code, minlength=len(keys)), np.bincount(code, weights=hits, minlength=len(keys))
    enough = rows >= least
    if enough.sum() > MAX_GROUPS:
        problem = (
            f"{enough.sum():,} groups of {', '.join(by)} have {english.count(least, 'row')} or more; at most "
            f"{MAX_GROUPS:,} groups are allowed"
        )
        raise _unfit(name, problem, "raise min_rows, or group by fewer columns")
    overall = hits.mean()
    with np.errstate(over="ignore"):
        rates = np.append(sums / rows, overall).astype(np.float32)
    if not np.isfinite(rates).all():
        raise _unfit(name, "a rate exceeds the range of float32 (3e38)", "rescale the target")
    cell = folds * len(keys) + code
    other_rows = rows - np.bincount(cell, minlength=FOLDS * len(keys)).reshape(FOLDS, -1)
    other_sums = sums - np.bincount(cell, weights=hits, minlength=FOLDS * len(keys)).reshape(FOLDS, -1)
    crossed = np.where(enough & (other_rows > 0), other_sums / np.maximum(other_rows, 1), overall)
    groups = tuple((key, float(rate)) for key, rate, kept in zip(keys, rates, enough, strict=False) if kept)
    return GroupRates(by, least, float(rates[-1]), groups), crossed.astype(np.float32)[folds, code]


def _unfit(name: str, problem: str, next_step: str) -> DataCheckError:
    return DataCheckError(
        "a computed feature does not fit the data", [Fault(f"computed.{name}", problem)], next_step=next_step
    )


def _column(expression: Expression, known: Mapping[str, Column], rates: Sequence[Column], rows: int) -> Column:
    with np.errstate(all="ignore"):
        column = _value(expression.tree, known, iter(rates))
    return np.broadcast_to(column, rows)


def _value(node: Node, known: Mapping[str, Column], rates: Iterator[Column]) -> Column:  # noqa: C901, PLR0911, PLR0912  one for each kind
    """float32 (of a text str, of a time int64) [rows], or [1] of a constant. `rates` are those of the group_rates still
    to come."""
    if node.op is Op.GROUP_RATE:
        return next(rates)
    parts = [_value(part, known, rates) for part in node.parts]
    match node.op:
        case Op.NAME:
            return known[str(node.value)]
        case Op.CONSTANT if node.type is Type.TEXT:
            return np.array([node.value or ""])
        case Op.CONSTANT:
            return np.array([node.value], dtype=np.float32)
        case Op.NEGATIVE:
            return -parts[0]
        case Op.ABS:
            return np.abs(parts[0])
        case Op.ADD | Op.SUBTRACT | Op.MULTIPLY | Op.DIVIDE:
            return _finite(_ARITHMETIC[node.op](parts[0], parts[1]))
        case Op.LOG | Op.EXP:
            function = np.log if node.op is Op.LOG else np.exp
            return _finite(function(parts[0].astype(np.float64)).astype(np.float32))
        case Op.MIN:
            return _joined(np.minimum, parts)
        case Op.MAX:
            return _joined(np.maximum, parts)
        case Op.BUCKET:
            reached = (parts[0][:, None] >= np.array(node.edges, dtype=np.float32)).sum(axis=1)
            return _unless(_missing(parts[0]), reached)
        case Op.HOUR | Op.WEEKDAY | Op.MONTH | Op.DAY_OF_YEAR:
            return _unless(_missing(parts[0]), CALENDAR[node.op](parts[0]))
        case Op.SECONDS_BETWEEN | Op.DAYS_BETWEEN:
            later, earlier = parts
            between = (later - earlier).astype(np.float64)  # exact
            return _unless(_missing(later) | _missing(earlier), between / (1 if node.op is Op.SECONDS_BETWEEN else DAY))
        case Op.IS_MISSING:
            return _missing(parts[0]).astype(np.float32)
        case Op.NOT:
            return 1 - parts[0]
        case Op.AND:
            return _joined(lambda a, b: np.where((a == 0) | (b == 0), np.float32(0), a * b), parts)
        case Op.OR:
            return _joined(lambda a, b: np.where((a > 0) | (b > 0), np.float32(1), a + b), parts)
        case _:
            missing = _missing(parts[0]) | _missing(parts[1])
            return _unless(missing, _COMPARISONS[node.op](parts[0], parts[1]))


CALENDAR: Mapping[Op, Callable[[Any], Any]] = {
    Op.HOUR: hour,
    Op.WEEKDAY: weekday,
    Op.MONTH: month,
    Op.DAY_OF_YEAR: day_of_year,
}
_ARITHMETIC = {Op.ADD: np.add, Op.SUBTRACT: np.subtract, Op.MULTIPLY: np.multiply, Op.DIVIDE: np.divide}
_COMPARISONS = {
    Op.EQUAL: np.equal,
    Op.NOT_EQUAL: np.not_equal,
    Op.LESS: np.less,
    Op.LESS_OR_EQUAL: np.less_equal,
    Op.GREATER: np.greater,
    Op.GREATER_OR_EQUAL: np.greater_equal,
}


def _joined(function: Callable[[Column, Column], Column], parts: Sequence[Column]) -> Column:
    return functools.reduce(function, parts)


def _finite(column: Column) -> Column:
    return np.where(np.isinf(column), _NAN, column)


def _missing(column: Column) -> Column:
    match column.dtype.kind:
        case "U":
            missing: Column = column == ""
        case "i":
            missing = column == NO_TIME
        case _:
            missing = np.isnan(column)
    return missing


def _unless(missing: Column, known: Column) -> Column:
    return np.where(missing, _NAN, known.astype(np.float32))
