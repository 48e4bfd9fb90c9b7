"""Computed features as ONNX: the part of a version's graph in front of its estimator.

    front = front_of(contract)
    front.numeric, front.categorical    # what the estimator's part of the graph starts from
    front.put_before(model)

Operation by operation what `domain/serving/computed.py` does by column; a property test compares the two on random
expressions. A value is a tensor [rows, 1]: float32 with NaN for missing, text with "" for missing, or int64 seconds
with `NO_TIME` for missing.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tidegate.domain.serving.computed import CALENDAR, expressions
from tidegate.domain.serving.contract import (
    CATEGORICAL_INPUT,
    NO_TIME,
    NUMERIC_INPUT,
    TIMES_INPUT,
    Contract,
    GroupRates,
    KeyPart,
)
from tidegate.kernel.expressions.language import Node, Op, Type
from tidegate.kernel.expressions.times import DAY

# The newest that the pinned skl2onnx writes and onnxruntime reads; raised together with them.
OPSETS = {"": 21, "ai.onnx.ml": 3}
_ML = "ai.onnx.ml"
_ARITHMETIC = {Op.ADD: "Add", Op.SUBTRACT: "Sub", Op.MULTIPLY: "Mul", Op.DIVIDE: "Div"}
_COMPARISONS = {
    Op.EQUAL: "Equal",
    Op.LESS: "Less",
    Op.LESS_OR_EQUAL: "LessOrEqual",
    Op.GREATER: "Greater",
    Op.GREATER_OR_EQUAL: "GreaterOrEqual",
}


@dataclass(frozen=True, slots=True)
class Front:
    """Nodes and constants, the names of the two tensors that the estimator's part of the graph starts from, and the
    model's inputs.

    A tensor of which the estimator has no column is None. With nothing to compute and nothing to leave out, there are
    no nodes and the tensors are the model's inputs.
    """

    nodes: tuple[onnx.NodeProto, ...]
    initializers: tuple[onnx.TensorProto, ...]
    numeric: str | None
    categorical: str | None
    inputs: tuple[onnx.ValueInfoProto, ...]

    def put_before(self, model: onnx.ModelProto) -> None:
        """Make the model's inputs those of the front; `numeric` and `categorical` have been its inputs until now."""
        graph = model.graph
        rest = list(graph.node)
        del graph.node[:], graph.input[:]
        graph.input.extend(self.inputs)
        graph.node.extend([*self.nodes, *rest])
        graph.initializer.extend(self.initializers)
        if self.nodes:  # a converter asks for no newer operators than it has used itself
            del model.opset_import[:]
            model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in OPSETS.items())
            model.ir_version = max(model.ir_version, helper.find_min_ir_version_for(model.opset_import))


def front_of(contract: Contract) -> Front:
    """The front of a version's graph; the contract holds what its group_rates have learned."""
    return _Builder(contract).front()


class _Builder:
    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[Any, ...], onnx.TensorProto] = {}
        self._known: dict[str, str] = {}

    def front(self) -> Front:
        contract = self._contract
        made = []
        for each, expression in zip(contract.computed, expressions(contract), strict=True):
            column = self._value(expression.tree, iter(each.rates))
            self._known[each.name] = column
            made.append(column)
        numeric = [feature.estimator for feature in contract.numeric]
        texts = [feature.estimator for feature in contract.categorical]
        given = self._chosen(NUMERIC_INPUT, numeric)
        if made:
            given = self._node("Concat", *([given] if given else []), *made, axis=1)
        categorical = self._chosen(CATEGORICAL_INPUT, texts)
        inputs = (
            (NUMERIC_INPUT, TensorProto.FLOAT, len(numeric)),
            (CATEGORICAL_INPUT, TensorProto.STRING, len(texts)),
            (TIMES_INPUT, TensorProto.INT64, len(contract.times)),
        )
        taken = tuple(helper.make_tensor_value_info(name, kind, [None, width]) for name, kind, width in inputs if width)
        return Front(tuple(self._nodes), tuple(self._constants.values()), given, categorical, taken)

    def _chosen(self, tensor: str, wanted: Sequence[bool]) -> str | None:
        """The columns of an input that the estimator is given."""
        if not any(wanted):
            return None
        return tensor if all(wanted) else self._columns(tensor, np.flatnonzero(wanted))

    def _columns(self, tensor: str, places: Any) -> str:
        return self._node("Gather", tensor, self._constant(np.asarray(places, dtype=np.int64)), axis=1)

    def _name(self, name: str) -> str:
        """The column of a feature or of a computed feature."""
        if name not in self._known:
            texts = [feature.name for feature in self._contract.categorical]
            times = [feature.name for feature in self._contract.times]
            if name in texts:
                self._known[name] = self._columns(CATEGORICAL_INPUT, [texts.index(name)])
            elif name in times:
                self._known[name] = self._columns(TIMES_INPUT, [times.index(name)])
            else:
                numbers = [feature.name for feature in self._contract.numeric]
                self._known[name] = self._finite(self._columns(NUMERIC_INPUT, [numbers.index(name)]))
        return self._known[name]

    def _value(self, node: Node, rates: Iterator[GroupRates]) -> str:  # noqa: C901, PLR0911, PLR0912  one for each kind
        if node.op is Op.GROUP_RATE:
            return self._group_rate(node, next(rates))
        parts = [self._value(part, rates) for part in node.parts]
        match node.op:
            case Op.NAME:
                return self._name(str(node.value))
            case Op.CONSTANT if node.type is Type.TEXT:
                return self._constant(np.array([[node.value or ""]], dtype=object))
            case Op.CONSTANT:
                return self._number(float(node.value or 0))
            case Op.NEGATIVE:
                return self._node("Neg", *parts)
            case Op.ABS:
                return self._node("Abs", *parts)
            case Op.ADD | Op.SUBTRACT | Op.MULTIPLY | Op.DIVIDE:
                return self._finite(self._node(_ARITHMETIC[node.op], *parts))
            case Op.LOG | Op.EXP:
                exact = self._node("Cast", *parts, to=TensorProto.DOUBLE)
                found = self._node("Log" if node.op is Op.LOG else "Exp", exact)
                return self._finite(self._node("Cast", found, to=TensorProto.FLOAT))
            case Op.MIN:
                return self._node("Min", *parts)
            case Op.MAX:
                return self._node("Max", *parts)
            case Op.BUCKET:
                edges = self._constant(np.array([node.edges], dtype=np.float32))
                reached = self._float(self._node("GreaterOrEqual", *parts, edges))
                axes = self._constant(np.array([1], dtype=np.int64))
                counted = self._node("ReduceSum", reached, axes, keepdims=1)
                return self._unless(self._missing(node.parts[0], parts[0]), counted)
            case Op.HOUR | Op.WEEKDAY | Op.MONTH | Op.DAY_OF_YEAR | Op.SECONDS_BETWEEN | Op.DAYS_BETWEEN:
                return self._of_times(node, parts)
            case Op.IS_MISSING:
                return self._float(self._missing(node.parts[0], parts[0]))
            case Op.NOT:
                return self._node("Sub", self._number(1), *parts)
            case Op.AND:
                return functools.reduce(self._and, parts)
            case Op.OR:
                return functools.reduce(self._or, parts)
            case _:
                return self._comparison(node, parts)

    def _of_times(self, node: Node, parts: Sequence[str]) -> str:
        missing = [self._missing(part, value) for part, value in zip(node.parts, parts, strict=True)]
        if node.op in CALENDAR:
            known = self._float(CALENDAR[node.op](_Whole(self, parts[0])).value)
        else:
            exact = self._node("Cast", self._node("Sub", *parts), to=TensorProto.DOUBLE)
            if node.op is Op.DAYS_BETWEEN:
                exact = self._node("Div", exact, self._constant(np.array([[DAY]], dtype=np.float64)))
            known = self._float(exact)
        return self._unless(functools.reduce(functools.partial(self._node, "Or"), missing), known)

    def _comparison(self, node: Node, parts: Sequence[str]) -> str:
        if node.op is Op.NOT_EQUAL:
            found = self._node("Not", self._node("Equal", *parts))
        else:
            found = self._node(_COMPARISONS[node.op], *parts)
        missing = [
            self._missing(part, value)
            for part, value in zip(node.parts, parts, strict=True)
            if part.op is not Op.CONSTANT or part.value is None
        ]
        if not missing:
            return self._float(found)
        return self._unless(functools.reduce(functools.partial(self._node, "Or"), missing), self._float(found))

    def _and(self, left: str, right: str) -> str:
        """0 when one side is 0, whatever the other; else the product, which is missing when one side is."""
        zero = self._number(0)
        decided = self._node("Or", self._node("Equal", left, zero), self._node("Equal", right, zero))
        return self._node("Where", decided, zero, self._node("Mul", left, right))

    def _or(self, left: str, right: str) -> str:
        zero = self._number(0)
        decided = self._node("Or", self._node("Greater", left, zero), self._node("Greater", right, zero))
        return self._node("Where", decided, self._number(1), self._node("Add", left, right))

    def _group_rate(self, node: Node, rates: GroupRates) -> str:
        columns = [self._name(str(part.value)) for part in node.parts]
        texts = [part.type is Type.TEXT for part in node.parts]
        columns = [
            column if text else self._node("Where", self._node("IsNaN", column), self._number(np.inf), column)
            for column, text in zip(columns, texts, strict=True)
        ]
        overall = float(rates.overall)
        if not rates.groups:
            return self._node("Expand", self._number(overall), self._node("Shape", columns[0]))
        values = [rate for _, rate in rates.groups]
        if len(columns) == 1:
            return self._look_up(columns[0], [key[0] for key, _ in rates.groups], values, overall, text=texts[0])
        codes: list[int] = [0] * len(rates.groups)
        joined = ""
        for place, (column, text) in enumerate(zip(columns, texts, strict=True)):
            distinct = list(dict.fromkeys(key[place] for key, _ in rates.groups))
            code = {part: index for index, part in enumerate(distinct, 1)}
            codes = [
                above * (len(distinct) + 1) + code[key[place]]
                for above, (key, _) in zip(codes, rates.groups, strict=True)
            ]
            own = self._look_up(column, distinct, list(range(1, len(distinct) + 1)), 0, text=text)
            if joined:
                size = self._constant(np.array([[len(distinct) + 1]], dtype=np.int64))
                own = self._node("Add", self._node("Mul", joined, size), own)
            joined = own
        return self._node(
            "LabelEncoder", joined, domain=_ML, keys_int64s=codes, values_floats=values, default_float=overall
        )

    def _look_up(
        self, column: str, keys: Sequence[KeyPart], values: Sequence[float], default: float, *, text: bool
    ) -> str:
        """Values of keys: whole numbers (int64) or, with a `default` that is a float, float32."""
        known: dict[str, Any] = (
            {"keys_strings": keys} if text else {"keys_floats": [np.inf if key is None else key for key in keys]}
        )
        kind = "int64" if isinstance(default, int) else "float"
        answers: dict[str, Any] = {f"values_{kind}s": values, f"default_{kind}": default}
        return self._node("LabelEncoder", column, domain=_ML, **known, **answers)

    def _missing(self, node: Node, value: str) -> str:
        if node.type is Type.TEXT:
            return self._node("Equal", value, self._constant(np.array([[""]], dtype=object)))
        if node.type is Type.TIME:
            return self._node("Equal", value, self._constant(np.array([[NO_TIME]], dtype=np.int64)))
        return self._node("IsNaN", value)

    def _finite(self, value: str) -> str:
        return self._node("Where", self._node("IsInf", value), self._number(np.nan), value)

    def _unless(self, missing: str, value: str) -> str:
        return self._node("Where", missing, self._number(np.nan), value)

    def _float(self, value: str) -> str:
        return self._node("Cast", value, to=TensorProto.FLOAT)

    def _number(self, value: float) -> str:
        return self._constant(np.array([[value]], dtype=np.float32))

    def _constant(self, array: Any) -> str:
        key = (array.dtype.str, array.shape, str(array.tolist()))
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, name=f"front_constant{len(self._constants)}")
        return self._constants[key].name

    def whole(self, op: str, left: str, right: str | int) -> str:
        """Of whole numbers."""
        if isinstance(right, int):
            right = self._constant(np.array([[right]], dtype=np.int64))
        return self._node(op, left, right)

    def _node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        output = f"front_value{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [output], domain=domain, **attributes))
        return output


@dataclass(frozen=True, slots=True)
class _Whole:
    """Whole numbers of a graph, int64 [rows, 1], with the arithmetic of the calendar in `kernel/expressions`.

    ONNX's Mod takes the sign of the divisor, as Python's % does; its Div rounds towards 0, // rounds down."""

    builder: _Builder
    value: str

    def __add__(self, other: "_Whole | int") -> "_Whole":
        return self._with("Add", other)

    def __sub__(self, other: "_Whole | int") -> "_Whole":
        return self._with("Sub", other)

    def __mul__(self, other: int) -> "_Whole":
        return self._with("Mul", other)

    def __mod__(self, other: int) -> "_Whole":
        return self._with("Mod", other)

    def __floordiv__(self, other: int) -> "_Whole":
        return (self - self % other)._with("Div", other)

    def _with(self, op: str, other: "_Whole | int") -> "_Whole":
        operand = other.value if isinstance(other, _Whole) else other
        return _Whole(self.builder, self.builder.whole(op, self.value, operand))
