"""Scores by onnxruntime: the one thing that serves a model, and therefore the thing that evaluates it.

    scorer = load(artifact)
    scorer.score(scorer.contract.inputs(table))

On the inference path: numpy and onnxruntime only.
"""

import json
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from tidegate.domain.serving.contract import (
    CATEGORICAL_INPUT,
    CONTRACT_KEY,
    NUMERIC_INPUT,
    SCORES_OUTPUT,
    TIMES_INPUT,
    Contract,
    Inputs,
)
from tidegate.kernel.errors import ArtifactRejectedError
from tidegate.kernel.table import Column

_FATAL = 4  # every fault of the runtime is also raised, so its log would only say it twice
_UNREADABLE = (
    runtime.EPFail,
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NotImplemented,
    runtime.RuntimeException,
    RuntimeError,
    ValueError,
)

onnxruntime.set_default_logger_severity(_FATAL)
onnxruntime.disable_telemetry_events()


class OnnxScorer:
    """ports.Scorer on one inference session; safe to use from several threads."""

    def __init__(self, session: onnxruntime.InferenceSession, contract: Contract) -> None:
        self._session = session
        self._contract = contract
        self._running = onnxruntime.RunOptions()

    @property
    def contract(self) -> Contract:
        """The contract inside the artifact."""
        return self._contract

    def score(self, inputs: Inputs) -> Column:
        """float32 [rows, classes] probabilities, or [rows, 1] values."""
        options = self._running = onnxruntime.RunOptions()
        scores: Column = self._session.run([SCORES_OUTPUT], inputs.feed(), options)[0]
        return scores

    def stop(self) -> None:
        """See ports.Scorer. The runtime looks at the flag between two operators."""
        self._running.terminate = True


def load(onnx: bytes) -> OnnxScorer:
    """ports.ScorerLoader: open an artifact.

    Raises:
        ArtifactRejectedError: the bytes are no ONNX model, carry no contract, or do not fit the contract they carry.
    """
    try:
        session = onnxruntime.InferenceSession(onnx, _options(), providers=["CPUExecutionProvider"])
    except _UNREADABLE as error:
        raise _rejected(f"the bytes are not an ONNX model that can be loaded ({_first_line(error)})") from None
    text = session.get_modelmeta().custom_metadata_map.get(CONTRACT_KEY)
    if text is None:
        raise _rejected(f"the model has no serving contract (metadata key {CONTRACT_KEY})")
    try:
        contract = Contract.from_json(json.loads(text))
    except ValueError as error:
        raise _rejected(f"the model's serving contract cannot be read ({error})") from None
    _check_fit(session, contract)
    return OnnxScorer(session, contract)


def _options() -> onnxruntime.SessionOptions:
    """One thread, no spinning, no arena: for models that score a row in microseconds.

    Handing such a model's operators to a pool costs more than running them, a Lambda below 1,769 MB has less than one
    core anyway, and spinning threads would be billed. Without arena and memory pattern a large batch does not keep its
    memory for the life of the session.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _check_fit(session: onnxruntime.InferenceSession, contract: Contract) -> None:
    inputs = {each.name: each for each in session.get_inputs()}
    widths = {
        NUMERIC_INPUT: len(contract.numeric),
        CATEGORICAL_INPUT: len(contract.categorical),
        TIMES_INPUT: len(contract.times),
    }
    expected = {name: width for name, width in widths.items() if width}
    if set(inputs) != set(expected):
        raise _rejected(f"the model takes {_listed(inputs)}, its contract feeds {_listed(expected)}")
    for name, width in expected.items():
        if not _may_be(inputs[name].shape, width):
            raise _rejected(f"input {name} has shape {inputs[name].shape}, its contract lists {width} features")
    output = next((each for each in session.get_outputs() if each.name == SCORES_OUTPUT), None)
    if output is None or output.type != "tensor(float)":
        raise _rejected(f"the model has no float32 output called {SCORES_OUTPUT}")
    if not _may_be(output.shape, len(contract.classes) or 1):
        raise _rejected(f"output {SCORES_OUTPUT} has shape {output.shape}, its contract has {contract.classes}")


def _may_be(shape: list[Any], width: int) -> bool:
    """A width that the model leaves open (a name or None instead of a number) fits."""
    return len(shape) == 2 and (not isinstance(shape[1], int) or shape[1] == width)


def _listed(names: Any) -> str:
    return " and ".join(sorted(names)) or "nothing"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def _rejected(problem: str) -> ArtifactRejectedError:
    return ArtifactRejectedError(
        problem, next_step="train the model again; only its own training step writes artifacts"
    )
