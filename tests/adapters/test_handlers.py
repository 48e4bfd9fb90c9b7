"""The functions register, rollout, close_failed and inference as they are wired on AWS (moto), from event to answer."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from functions.close_failed import handler as close_failed
from functions.inference import handler as inference
from functions.register import handler as register
from functions.rollout import handler as rollout
from tests.adapters.conftest import BUCKET, LEDGER, TABLE, client_of
from tests.builders.captures import asked as captured
from tests.builders.captures import lines as recorded
from tests.builders.data import DATASET, READY
from tests.builders.registry import AT, a_run, promoted, requested
from tests.builders.specs import a_spec
from tests.context import CONTEXT
from tidegate import telemetry
from tidegate.aws import serving
from tidegate.aws.dispatch import LambdaDispatcher
from tidegate.aws.extension import AfterResponse
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoCatalog, DynamoRoutes
from tidegate.aws.rollouts import DynamoRollouts
from tidegate.domain.registry.version import VersionStatus
from tidegate.domain.rollout.rollout import Decision, decide
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.capture import hour_of
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.domain.serving.fallback import Fallback
from tidegate.kernel.prefixes import CAPTURES, RunFile
from tidegate.messages import RunRef
from tidegate.testing.models import linear_onnx

MODEL = "flight-delay"
ROOT = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:9"
MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:release"
EVE = "arn:aws:iam::123456789012:user/eve"
CONTRACT = Contract("flight-delay", "binary", (FeatureContract("distance", "numeric"),), (False, True))


@pytest.fixture
def deployed(over_http: None, cold: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoRoutes]:
    """Environment as the stacks set it, handlers that are not wired yet, and a model."""
    cold(
        REGISTRY_TABLE=TABLE,
        LEDGER_TABLE=LEDGER,
        ARTIFACTS_BUCKET=BUCKET,
        STAGE="test",
        ROUTE_TTL_SECONDS="0",
        CAPTURE_STREAM="captures",
        CAPTURES_BUCKET=BUCKET,
        RELEASE_STATE_MACHINE=MACHINE,
        BATCH_STATE_MACHINE=MACHINE,
        SCORING_TIMEOUT_MS="5000",
        MAX_INSTANCES="10",
        MAX_BODY_BYTES="100000",
    )
    monkeypatch.setattr(inference, "AFTERWARDS", AfterResponse())
    monkeypatch.setattr(inference.AFTERWARDS, "begin", lambda: None)  # what is captured stays in the queue
    inference.wire.cache_clear()
    registry = DynamoRoutes(TABLE, LEDGER)
    registry.apply(a_spec(), author="ann", at=AT)
    DynamoCatalog(TABLE).put_dataset(DATASET)
    DynamoCatalog(TABLE).add_version(replace(READY, version="v1"))
    yield registry
    inference.wire.cache_clear()


def registered(registry: DynamoRoutes, run_id: str, bias: float, **release: Any) -> tuple[RunRef, int]:
    """A version that the function has registered for an accepted run, ready for its rollout."""
    ref, spec = RunRef(model=MODEL, run_id=run_id), a_spec(release=release)
    registry.apply(spec, author="ann", at=AT)
    requested(registry, a_run(run_id, spec_digest=spec.digest))
    registry.note(ref.model, run_id, "prepare", AT, dataset_version="v1", lock_hash="l", code_version="c")
    artifacts = S3Artifacts(BUCKET)
    sha256 = artifacts.put(ref.key(RunFile.ARTIFACT), linear_onnx(CONTRACT, [0.001], bias=bias))
    rule = FittedRule("constant", (0.75, 0.25))
    fallback = artifacts.put(ref.key(RunFile.FALLBACK), Fallback(CONTRACT, rule).to_bytes())
    report = artifacts.put(ref.key(RunFile.REPORT), b'{"evaluation": {"sections": {}}}')
    answer = register.handler(
        {
            "run": ref.to_json(),
            "fitted": {"artifact_sha256": sha256, "artifact_bytes": 1, "fit_seconds": 1.0, "rows": 10, "files": {}},
            "evaluated": {"metric": "roc_auc", "value": 0.7, "low": 0.6, "high": 0.8, "champion_version": None}
            | {"fallback_sha256": fallback, "files": {}},
            "verdict": {"accepted": True, "reasons": [], "report_sha256": report},
        },
        CONTEXT,
    )
    return ref, answer["version"]


def released(registry: DynamoRoutes, run_id: str, bias: float) -> str:
    """A version that serves at once; returns its artifact's key."""
    ref, number = registered(registry, run_id, bias)
    promoted(registry, registry.version(ref.model, number))
    return ref.key(RunFile.ARTIFACT)


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


def test_a_run_becomes_a_served_version(deployed: DynamoRoutes, capsys: pytest.CaptureFixture[str]) -> None:
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
    deployed: DynamoRoutes, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    released(deployed, "r-001", 0.0)
    key = released(deployed, "r-002", 1.0)
    S3Artifacts(BUCKET).put(key, linear_onnx(CONTRACT, [0.001], bias=99.0))
    capsys.readouterr()
    status, body = predict()
    assert (status, body["version"], body["reason"]) == (200, 1, "previous_good")
    *_, emf = lines(capsys)
    assert emf["ArtifactRejected"] == [1.0]
    (warning,) = (vars(each) for each in caplog.records if each.levelname == "WARNING")
    assert (warning["model"], warning["version"]) == ("flight-delay", 2)


def test_without_any_good_artifact_the_fallback_of_the_run_answers_and_is_measured(
    deployed: DynamoRoutes, capsys: pytest.CaptureFixture[str]
) -> None:
    key = released(deployed, "r-001", 0.0)
    S3Artifacts(BUCKET).put(key, b"evil")
    capsys.readouterr()
    status, body = predict()
    assert (status, body["version"], body["reason"], body["why"]) == (200, None, "fallback", "not_loadable")
    assert body["predictions"][0]["score"] == 0.25
    *_, total, apart = lines(capsys)
    assert total["FallbackServed"] == [1.0]
    assert (apart["FallbackServed"], apart["why"], apart["model"]) == (1, "not_loadable", "flight-delay")


def test_neither_good_nor_bad_inputs_are_logged(
    deployed: DynamoRoutes, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
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


def test_a_version_gets_its_share_and_leaves_for_what_captures_show_of_it(
    deployed: DynamoRoutes, caplog: pytest.LogCaptureFixture
) -> None:
    released(deployed, "r-001", 0.0)
    ref, number = registered(deployed, "r-002", 1.0, steps=[50])
    now = datetime.now(UTC)  # the function reads the hours about its own clock
    task = {"run": ref.to_json(), "version": number, "champion_version": 1}
    moved = rollout.handler(task | {"now": now.isoformat()}, CONTEXT)
    assert (moved["next"], moved["phase"], moved["serves"]) == ("wait", "canary", False)
    assert 0 < moved["wait_seconds"] <= 600
    route = deployed.route(MODEL)
    assert route is not None
    assert (route.candidate and route.candidate.version, route.candidate_bp) == (2, 5_000)
    assert route.fields == deployed.version(MODEL, number).features == ("distance",)

    failed = [captured(reason="champion:scoring_failed", route=route.revision, at=now, error="E") for _ in range(200)]
    fine = [captured(arm="champion", reason="champion", route=route.revision, at=now) for _ in range(200)]
    body = gzip.compress("\n".join(json.dumps(record) for record in recorded([*failed, *fine])).encode())
    key = f"{CAPTURES}model={MODEL}/hour={hour_of(now)}/captures-1.gz"
    client_of("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
    later = task | {"now": (now + timedelta(seconds=60)).isoformat()}
    moved = rollout.handler(later, CONTEXT)
    assert (moved["next"], moved["phase"], moved["serves"], moved["wait_seconds"]) == ("done", "rolled_back", False, 0)
    assert "error rate 100.00 % of 200 requests" in moved["reason"]
    assert deployed.version(MODEL, number).status is VersionStatus.ROLLED_BACK
    route = deployed.route(MODEL)
    assert route is not None
    assert (route.candidate, route.champion and route.champion.version) == (None, 1)
    assert vars(caplog.records[-1])["moved"] == moved
    assert moved["ledger_head"] == route.ledger_head
    assert rollout.handler(later, CONTEXT) == moved


def test_an_approval_is_asked_for_and_the_execution_woken_when_it_was_given_before(
    deployed: DynamoRoutes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, sent = listened(boto3.client("stepfunctions"), "states", "SendTaskSuccess", {})
    monkeypatch.setattr("tidegate.aws.workflow.step_functions", lambda: client)
    ref, number = registered(deployed, "r-001", 0.0, approval="required", steps=[])
    task = {"run": ref.to_json(), "version": number, "champion_version": None, "now": AT.isoformat()}
    moved = rollout.handler(task, CONTEXT)
    assert (moved["next"], moved["wait_seconds"]) == ("approval", 72 * 3600)
    assert rollout.handler({"run": ref.to_json(), "token": "t-1"}, CONTEXT) == {}
    rollouts = DynamoRollouts(TABLE, LEDGER)
    waiting = rollouts.rollout(MODEL, ref.run_id)
    assert waiting is not None
    assert waiting.approval is not None
    assert (waiting.approval.token, sent) == ("t-1", [])

    version = deployed.version(MODEL, number)
    seen = {"artifact_sha256": version.artifact_sha256, "report_sha256": version.report_sha256}
    step = decide(waiting, Decision.APPROVE, by=EVE, reason="looks right", now=AT, **seen)
    assert step is not None
    rollouts.save(step, now=AT)
    assert rollout.handler({"run": ref.to_json(), "token": "t-2"}, CONTEXT) == {}
    assert [params["taskToken"] for params in sent] == ["t-2"]
    moved = rollout.handler(task, CONTEXT)
    assert (moved["phase"], moved["serves"]) == ("done", True)
    assert deployed.ledger(MODEL)[-1].approved_by == EVE


def test_a_stopped_execution_closes_its_run(deployed: DynamoRoutes) -> None:
    requested(deployed, a_run("r-001"))
    deployed.note("flight-delay", "r-001", "train", AT)
    event = {
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"status": "ABORTED", "input": '{"model": "flight-delay", "run_id": "r-001"}'},
    }
    assert close_failed.handler(event, CONTEXT)["message"] == "step train was stopped by hand"
    assert deployed.run("flight-delay", "r-001").error is not None


@pytest.mark.usefixtures("aws")
def test_the_catalog_function_is_called_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    client, called = listened(boto3.client("lambda"), "lambda", "Invoke", {"StatusCode": 202})
    monkeypatch.setattr("tidegate.aws.dispatch.lambda_functions", lambda: client)
    LambdaDispatcher("catalog").register_dataset("flights", "abc")
    (params,) = called
    assert (params["FunctionName"], params["InvocationType"]) == ("catalog", "Event")
    assert json.loads(params["Payload"]) == {"dataset": "flights", "version": "abc"}


def listened(client: Any, service: str, operation: str, answer: dict[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
    """A client whose calls of an operation get this answer, and what they asked for."""
    asked: list[dict[str, Any]] = []
    done = SimpleNamespace(status_code=200, headers={}, content=b"", text="")
    client.meta.events.register(
        f"provide-client-params.{service}.{operation}", lambda params, **_: asked.append(params)
    )
    client.meta.events.register(f"before-call.{service}.{operation}", lambda **_: (done, answer))
    return client, asked


@pytest.mark.parametrize("ahead", [True, False], ids=["started ahead", "cold"])
def test_a_start_while_the_registry_refuses_answers_what_it_knew_before_or_503(
    deployed: DynamoRoutes, monkeypatch: pytest.MonkeyPatch, *, ahead: bool
) -> None:
    released(deployed, "r-001", 2.0)
    if ahead:
        inference.know_ahead()
    for service in (serving._dynamodb, serving._s3):
        assert not service()._idle
        service.cache_clear()
    for name in ("DYNAMODB", "S3"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name}", NOWHERE)
    event = {
        "rawPath": f"/models/{MODEL}/predict",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST"}, "stage": "$default"},
        "body": '{"instances": [{"distance": 100}]}',
    }
    answer = inference.handler(event, CONTEXT)
    said = json.loads(answer["body"])
    if ahead:
        assert (answer["statusCode"], said["reason"], said["predictions"][0]["score"]) == (200, "fallback", 0.25)
    else:
        assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "5")


def test_an_environment_that_is_started_ahead_is_loaded_although_nothing_answers(deployed: DynamoRoutes) -> None:
    environment = {
        "PYTHONPATH": f"{ROOT / 'layers/core/python'}:{ROOT}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
    }
    code = "import functions.inference.handler as it; print(it.wire.cache_info().currsize)"
    known = {name: os.environ[name] for name in os.environ if name.startswith(("TIDEGATE_", "AWS_"))}
    for more, wired in (({}, "0"), (known | dict.fromkeys(("AWS_ENDPOINT_URL_DYNAMODB",), NOWHERE), "1")):
        run = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment | more
        )
        assert (run.stdout.strip().splitlines()[-1:], run.returncode) == ([wired], 0), run.stderr


def test_all_models_are_listed_over_pages(deployed: DynamoRoutes) -> None:
    for number in range(3):
        deployed.apply(a_spec(name=f"m-{number}", description="x" * 200), author="ann", at=AT)
    assert [*serving.ServingRegistry(serving.ServingTable(TABLE)).names()] == [MODEL, "m-0", "m-1", "m-2"]
