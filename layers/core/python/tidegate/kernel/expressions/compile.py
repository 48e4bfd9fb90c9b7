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
`tidegate.domain.serving.computed` columns, in float32; `tidegate.ml.graph` writes the ONNX that does as the columns do.

A missing value (null, NaN, an infinity or an empty text) makes missing whatever is computed from it, and so does a
result that is no finite number (1 / 0, log(0)). Only `is_missing` and `group_rate`, to which what is missing is a group
of its own, look at it. Logic is Kleene's: `and` is false as soon as one side is, `or` is true as soon as one
side is, whatever the other; with neither, missing stays missing (Kleene 1952, "Introduction to Metamathematics",
section 64). So an expression never raises: it is a value or it is missing.

Standard library only, since it is on the inference path.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.kernel.expressions.check import Checker, fits, parsed
from tidegate.kernel.expressions.evaluate import Compiled, closure
from tidegate.kernel.expressions.language import MAX_LENGTH, ExpressionError, Node, Op, Problem, Type, Value


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled expression. `names` are the values it looks at."""

    text: str
    type: Type
    names: frozenset[str]
    tree: Node
    _compute: Compiled

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
    tree = parsed(text)
    compiler = Checker(text, names, groups, later)
    node = compiler.compile(tree, 1)
    if not compiler.problems and wanted is not Type.ANY and not fits(node.type, wanted):
        compiler.problems.append(Problem(f"is {node.type}, but must be {wanted}"))
    if compiler.problems:
        raise ExpressionError(text, sorted(compiler.problems, key=lambda problem: problem.position or 0))
    return Expression(text, node.type, frozenset(compiler.used), node, closure(node))


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
        raise ExpressionError(text, [Problem("uses no feature; a computed feature is computed from features")])
    return expression
