"""Real ONNX artifacts small enough to write out by hand, for tests that must not wait for a training run."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tidegate.domain.serving.contract import CATEGORICAL_INPUT, CONTRACT_KEY, NUMERIC_INPUT, SCORES_OUTPUT, Contract


def linear_onnx(
    contract: Contract | None,
    weights: Sequence[float],
    *,
    effects: Mapping[str, float] | None = None,
    bias: float = 0.0,
    numeric: int | None = None,
    outputs: int | None = None,
) -> bytes:
    """sigmoid (binary) or identity (regression) of numeric @ weights + the effect of each category + bias.

    `effects` adds the categorical input. `numeric` and `outputs` write other widths than the contract has; without a
    contract the artifact carries none and is binary.
    """
    regression = contract is not None and not contract.classes
    width = len(weights) if numeric is None else numeric
    constants = [
        numpy_helper.from_array(np.array(weights, dtype=np.float32)[:, None], "weights"),
        numpy_helper.from_array(np.array([bias], dtype=np.float32), "bias"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"),
    ]
    nodes = [
        helper.make_node("MatMul", [NUMERIC_INPUT, "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
    ]
    inputs = [helper.make_tensor_value_info(NUMERIC_INPUT, TensorProto.FLOAT, [None, width])]
    total = "sum"
    if effects:
        inputs.append(helper.make_tensor_value_info(CATEGORICAL_INPUT, TensorProto.STRING, [None, None]))
        encode = helper.make_node("LabelEncoder", [CATEGORICAL_INPUT], ["coded"], domain="ai.onnx.ml")
        encode.attribute.append(helper.make_attribute("keys_strings", list(effects)))
        encode.attribute.append(helper.make_attribute("values_floats", [float(value) for value in effects.values()]))
        encode.attribute.append(helper.make_attribute("default_float", 0.0))
        nodes += [
            encode,
            helper.make_node("ReduceSum", ["coded", "axis"], ["effect"]),
            helper.make_node("Add", ["sum", "effect"], ["total"]),
        ]
        total = "total"
    if regression:
        nodes.append(helper.make_node("Identity", [total], [SCORES_OUTPUT]))
    else:
        nodes += [
            helper.make_node("Sigmoid", [total], ["positive"]),
            helper.make_node("Neg", [total], ["opposite"]),
            helper.make_node("Sigmoid", ["opposite"], ["negative"]),
            helper.make_node("Concat", ["negative", "positive"], [SCORES_OUTPUT], axis=1),
        ]
    columns = outputs or (1 if regression else 2)
    output = helper.make_tensor_value_info(SCORES_OUTPUT, TensorProto.FLOAT, [None, columns])
    graph = helper.make_graph(nodes, "tiny", inputs, [output], constants)
    imports = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 2)]
    model: ModelProto = helper.make_model(graph, opset_imports=imports, ir_version=8)
    if contract is not None:
        helper.set_model_props(model, {CONTRACT_KEY: json.dumps(contract.to_json())})
    return bytes(model.SerializeToString())
