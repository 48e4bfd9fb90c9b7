"""Artifacts load only when they are what they say, score in float32, and keep stderr clean."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import helper

from tidegate.domain.serving.contract import CONTRACT_KEY, Contract, FeatureContract
from tidegate.kernel.errors import ArtifactRejectedError
from tidegate.kernel.table import Table
from tidegate.ml.scoring import load
from tidegate.testing.models import linear_onnx

DISTANCE = FeatureContract("distance", "numeric")
CARRIER = FeatureContract("carrier", "categorical")
BINARY = Contract("delay", "binary", (CARRIER, DISTANCE), classes=(False, True))
REGRESSION = Contract("minutes", "regression", (DISTANCE,))


def with_contract_text(text):
    model = onnx.load_from_string(linear_onnx(None, [1.0]))
    helper.set_model_props(model, {CONTRACT_KEY: text})
    return model.SerializeToString()


def test_scores_are_float32_probabilities_in_the_order_of_the_classes():
    scorer = load(linear_onnx(BINARY, [0.5], effects={"UA": 1.0}, bias=-1.0))
    assert scorer.contract == BINARY
    table = Table({"carrier": np.array(["UA", "AA", ""]), "distance": np.array([0.0, 2.0, 4.0])})
    scores = scorer.score(scorer.contract.inputs(table))
    expected = 1 / (1 + np.exp(-np.array([0.0, 0.0, 1.0])))
    assert scores.dtype == np.float32
    assert scores == pytest.approx(np.column_stack([1 - expected, expected]), abs=1e-6)


def test_a_regression_scores_one_column():
    scorer = load(linear_onnx(REGRESSION, [2.0], bias=1.0))
    scores = scorer.score(scorer.contract.inputs(Table({"distance": np.array([1.0, 3.0])})))
    assert scores.tolist() == [[3.0], [7.0]]


@pytest.mark.parametrize("data", [b"", b"no model", linear_onnx(BINARY, [1.0], effects={"UA": 1.0})[:-40]])
def test_bytes_that_are_no_model_are_rejected(data):
    with pytest.raises(ArtifactRejectedError, match="not an ONNX model that can be loaded"):
        load(data)


def test_a_model_without_a_contract_is_rejected():
    with pytest.raises(ArtifactRejectedError, match=f"has no serving contract .metadata key {CONTRACT_KEY}."):
        load(linear_onnx(None, [1.0]))


@pytest.mark.parametrize("text", ["{", "[]", "{}", json.dumps(BINARY.to_json() | {"from_the_future": 1})])
def test_a_contract_that_cannot_be_read_is_rejected(text):
    with pytest.raises(ArtifactRejectedError, match="serving contract cannot be read"):
        load(with_contract_text(text))


@pytest.mark.parametrize(
    ("artifact", "problem"),
    [
        (linear_onnx(BINARY, [1.0]), "takes numeric, its contract feeds categorical and numeric"),
        (linear_onnx(REGRESSION, [1.0, 2.0]), "input numeric has shape .*, its contract lists 1 features"),
        (with_contract_text(json.dumps(REGRESSION.to_json())), "output scores has shape"),
    ],
)
def test_a_model_that_does_not_fit_its_contract_is_rejected_before_it_scores(artifact, problem):
    with pytest.raises(ArtifactRejectedError, match=problem):
        load(artifact)


def test_loading_and_refusing_say_nothing_on_stderr_and_import_nothing_beyond_the_serving_layer(tmp_path):
    (tmp_path / "model.onnx").write_bytes(linear_onnx(REGRESSION, [2.0]))
    code = (
        "import sys, pathlib; from tidegate.ml.scoring import load\n"
        "load(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "try: load(b'no model')\n"
        "except Exception as error: print(type(error).__name__)\n"
        "print(sorted({'pandas', 'sklearn', 'scipy', 'onnx', 'pydantic', 'boto3'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "model.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.split("\n")[:2] == ["ArtifactRejectedError", "[]"]
