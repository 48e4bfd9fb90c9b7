"""The part of an artifact that computes features, on its own."""

from collections.abc import Mapping
from functools import lru_cache

import onnx
import onnxruntime

from tests.builders.present import present
from tidegate.domain.serving.contract import Contract
from tidegate.kernel.table import Column
from tidegate.ml.graph import front_of


def computed_by_onnxruntime(contract: Contract, feed: Mapping[str, Column]) -> Column:
    """[rows, computed features]."""
    return _session(contract).run(None, feed)[0]


@lru_cache(maxsize=1)  # a property may ask for the same one hundreds of times
def _session(contract: Contract) -> onnxruntime.InferenceSession:
    front = front_of(contract)
    output = onnx.helper.make_tensor_value_info(
        present(front.numeric), onnx.TensorProto.FLOAT, [None, len(contract.computed)]
    )
    model = onnx.helper.make_model(onnx.helper.make_graph([], "front", [], [output]), ir_version=8)
    front.put_before(model)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options)
