"""The functions register, promote, settle and inference as they are wired on AWS (moto), from event to answer."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import numpy as np
import pytest

from functions.inference import handler as inference
from functions.promote import handler as promote
from functions.register import handler as register
from functions.settle import handler as settle
from tests.adapters.conftest import BUCKET, TABLE
from tests.adapters.test_registry import AT, a_run, a_spec
from tests.tiny_onnx import linear_onnx
from tidegate import telemetry
from tidegate.aws.dispatch import LambdaDispatcher
from tidegate.aws.extension import AfterResponse
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoRegistry
from tidegate.domain.baseline import fit_rule
from tidegate.domain.fallback import Fallback
from tidegate.domain.prediction import Contract, FeatureContract
from tidegate.domain.table import Table
from tidegate.messages import RunRef

CONTEXT = SimpleNamespace(aws_request_id="0b1f7f0e-6d0c-4d5a-9c6e-000000000001")
CONTRACT = Contract("flight-delay", "binary", (FeatureContract("distance", "numeric"),), (False, True))


@pytest.fixture
def deployed(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoRegistry]:
    """Environment as the stacks set it, handlers that are not wired yet, and a model."""
    for name, value in {
        "REGISTRY_TABLE": TABLE,
        "ARTIFACTS_BUCKET": BUCKET,
        "STAGE": "test",
        "ROUTE_TTL_SECONDS": "0",
        "CAPTURE_STREAM": "captures",
        "SCORING_TIMEOUT_MS": "5000",
        "MAX_INSTANCES": "10",
        "MAX_BODY_BYTES": "100000",
    }.items():
        monkeypatch.setenv(f"TIDEGATE_{name}", value)
    monkeypatch.setattr(inference, "AFTERWARDS", AfterResponse())
    monkeypatch.setattr(inference.AFTERWARDS, "begin", lambda: None)  # what is captured stays in the queue
    _cold()
    registry = DynamoRegistry(TABLE)
    registry.apply(a_spec(), author="ann", at=AT)
    yield registry
    _cold()


def _cold() -> None:
    for function in (inference, promote, register, settle):
        function.wire.cache_clear()
    telemetry.logger.cache_clear()
    telemetry.metrics.cache_clear()


def released(registry: DynamoRegistry, run_id: str, bias: float) -> str:
    """Register and promote a version by the functions; returns its artifact's key."""
    ref = RunRef(model="flight-delay", run_id=run_id)
    registry.request(a_run(run_id))
    registry.note(ref.model, run_id, "prepare", AT, dataset_version="v1", lock_hash="l", code_version="c")
    sha256 = S3Artifacts(BUCKET).put(ref.artifact_key, linear_onnx(CONTRACT, [0.001], bias=bias))
    rule = fit_rule("constant", value=0.25, table=Table({}), target=np.zeros(0), classes=(False, True))
    fallback = S3Artifacts(BUCKET).put(ref.fallback_key, Fallback(CONTRACT, rule).to_bytes())
    registered = register.handler(
        {
            "run": ref.to_json(),
            "fitted": {"artifact_sha256": sha256, "artifact_bytes": 1, "fit_seconds": 1.0, "rows": 10},
            "evaluated": {"metric": "roc_auc", "value": 0.7, "low": 0.6, "high": 0.8, "champion_version": None}
            | {"fallback_sha256": fallback},
            "verdict": {"accepted": True, "reasons": [], "report_sha256": "b" * 64},
        },
        CONTEXT,
    )
    route = registry.route(ref.model)
    champion = route.champion.version if route and route.champion else None
    promoted = promote.handler(
        {"run": ref.to_json(), "version": registered["version"], "champion_version": champion}, CONTEXT
    )
    assert (promoted["version"], promoted["serves"]) == (registered["version"], True)
    return ref.artifact_key


def predict(body: str = '{"instances": [{"distance": 100}]}') -> tuple[int, dict[str, Any]]:
    event = {
        "rawPath": "/models/flight-delay/predict",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST"}, "stage": "$default"},
        "body": body,
        "isBase64Encoded": False,
    }
    answer = inference.handler(event, CONTEXT)
    return answer["statusCode"], json.loads(answer["body"])


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_run_becomes_a_served_version(deployed: DynamoRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    released(deployed, "r-001", 0.0)
    capsys.readouterr()
    status, body = predict()
    assert (status, body["version"], body["reason"]) == (200, 1, "champion")
    (emf,) = lines(capsys)
    (directive,) = emf["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Tidegate"
    assert sorted(map(sorted, directive["Dimensions"])) == [["model", "service", "stage"], ["service", "stage"]]
    assert (emf["service"], emf["stage"], emf["model"]) == ("inference", "test", "flight-delay")
    assert emf["Requests"] == emf["Predictions"] == [1.0]
    assert emf["LatencyMs"][0] > 0


def test_a_tampered_artifact_is_measured_and_the_previous_version_serves(
    deployed: DynamoRegistry, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    released(deployed, "r-001", 0.0)
    key = released(deployed, "r-002", 1.0)
    S3Artifacts(BUCKET).put(key, linear_onnx(CONTRACT, [0.001], bias=99.0))
    capsys.readouterr()
    status, body = predict()
    assert (status, body["version"], body["reason"]) == (200, 1, "previous_good")
    (emf,) = lines(capsys)
    assert emf["ArtifactRejected"] == [1.0]
    warning = vars(caplog.records[-1])
    assert (warning["levelname"], warning["model"], warning["version"]) == ("WARNING", "flight-delay", 2)


def test_without_any_good_artifact_the_fallback_of_the_run_answers_and_is_measured(
    deployed: DynamoRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    key = released(deployed, "r-001", 0.0)
    S3Artifacts(BUCKET).put(key, b"evil")
    capsys.readouterr()
    status, body = predict()
    assert (status, body["version"], body["reason"], body["why"]) == (200, None, "fallback", "not_loadable")
    assert body["predictions"][0]["score"] == 0.25
    total, apart = lines(capsys)
    assert total["FallbackServed"] == [1.0]
    assert (apart["FallbackServed"], apart["why"], apart["model"]) == (1, "not_loadable", "flight-delay")


def test_neither_good_nor_bad_inputs_are_logged(
    deployed: DynamoRegistry, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    released(deployed, "r-001", 0.0)
    capsys.readouterr()
    assert predict('{"instances": [{"distance": "s3cr3t"}]}')[0] == 422
    assert predict('{"instances": [{"distance": 31337}]}')[0] == 200
    out = capsys.readouterr().out + caplog.text
    assert "s3cr3t" not in out
    assert "31337" not in out


def test_a_fault_of_ours_is_logged_by_its_kind_and_trace_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    meter = telemetry.Meter("inference", stage="test")
    try:
        raise ValueError("cannot convert 's3cr3t'")
    except ValueError as error:
        meter.fault("request failed", error, request_id="1")
    logged = vars(caplog.records[-1])
    assert (logged["fault"], logged["request_id"]) == ("ValueError", "1")
    assert "test_handlers.py" in logged["trace"][0]
    assert "s3cr3t" not in caplog.text + logged["said"]


def test_a_stopped_execution_closes_its_run(deployed: DynamoRegistry) -> None:
    deployed.request(a_run("r-001"))
    deployed.note("flight-delay", "r-001", "train", AT)
    event = {
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"status": "ABORTED", "input": '{"model": "flight-delay", "run_id": "r-001"}'},
    }
    assert settle.handler(event, CONTEXT)["message"] == "step train was stopped by somebody"
    assert deployed.run("flight-delay", "r-001").error is not None


@pytest.mark.usefixtures("aws")
def test_the_catalog_function_is_called_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, Any]] = []
    client: Any = boto3.client("lambda")
    client.meta.events.register("provide-client-params.lambda.Invoke", lambda params, **_: called.append(params))
    answer = SimpleNamespace(status_code=202, headers={}, content=b"", text="")
    client.meta.events.register("before-call.lambda.Invoke", lambda **_: (answer, {"StatusCode": 202}))
    monkeypatch.setattr("tidegate.aws.dispatch.lambda_functions", lambda: client)
    LambdaDispatcher("catalog").register_dataset("flights", "abc")
    (params,) = called
    assert (params["FunctionName"], params["InvocationType"]) == ("catalog", "Event")
    assert json.loads(params["Payload"]) == {"dataset": "flights", "version": "abc"}
