"""A session of the artifact that the benchmark hands over, as the bare servers here hold it."""

import os
from collections.abc import Sequence

import numpy as np
import onnxruntime


class Forest:
    """onnxruntime on one thread, which is the fastest for one row."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = os.environ["SERVED_ARTIFACT"]
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def predict_proba(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Probabilities [rows, classes]."""
        found: list[list[float]] = self._session.run(None, {"numeric": np.asarray(rows, dtype=np.float32)})[0].tolist()
        return found
