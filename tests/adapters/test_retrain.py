"""From a health record that wants a training to a started run, as it is wired on AWS: the state machine is interpreted
by moto, and its tasks are the real handlers of `retrain` and `catalog` on moto's table and buckets."""

import gzip
import hashlib
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import moto.core.config
import pytest
from moto.awslambda_simple.models import LambdaSimpleBackend

from functions.catalog import handler as catalog_handler
from functions.retrain import handler as retrain
from infra.machines import retraining_machine
from infra.machines.release_machine import Step
from tests.adapters.conftest import BUCKET, TABLE, client_of
from tests.builders.data import DATASET, READY
from tests.builders.health import health_record
from tests.builders.labels import record
from tests.builders.monitoring import outcome_of
from tests.builders.specs import spec
from tests.builders.tables import to_csv, trips
from tests.context import CONTEXT
from tidegate.aws.monitoring import DynamoHealthRecords
from tidegate.aws.objects import S3DatasetFiles
from tidegate.aws.registry import DynamoCatalog, DynamoRegistry
from tidegate.domain.data.dataset import (
    DECLARED,
    DataFile,
    Dataset,
    DatasetStatus,
    DatasetVersion,
    content_version,
)
from tidegate.domain.monitoring.health import HealthRecord, TrainingOutcome, Trigger
from tidegate.domain.serving.capture import line
from tidegate.messages import RegisterDataset
from tidegate.ml.frames import PandasReader
from tidegate.steps.data.catalog import catalog as register

NOW = datetime.now(UTC).replace(microsecond=0)
ACCOUNT = "123456789012"
ROWS = {"trip-delay": 40, "trip-other": 50}  # labelled captures of each model


@dataclass
class Deployed:
    """The registry, two models of one dataset, and the machine that starts their trainings."""

    registry: DynamoRegistry
    catalog: DynamoCatalog
    health_records: DynamoHealthRecords
    machine: str
    base: DatasetVersion
    lost: list[str]  # models whose dataset the catalog never reads

    def run(self, **given: str) -> dict[str, Any]:
        """An execution to its end."""
        client = client_of("stepfunctions")
        name = f"e-{time.monotonic_ns()}"
        arn = client.start_execution(stateMachineArn=self.machine, name=name, input=json.dumps(given))["executionArn"]
        while (found := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
            time.sleep(0.1)
        return dict(found)

    def record(self, model: str) -> HealthRecord:
        found = self.health_records.record(model)
        assert found is not None
        return found


def _put(key: str, lines: list[bytes]) -> None:
    client_of("s3").put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(b"\n".join(lines) + b"\n"))


def serve(model: str, count: int) -> None:
    """Captures and feedback as Firehose leaves them."""
    at = NOW - timedelta(hours=2)
    records = [record(at, number, model=model) for number in range(count)]
    where = f"model={model}/hour={records[0]['hour']}/part.gz"
    _put(f"captures/{where}", [line(each) for each in records])
    labels = [outcome_of(each["id"], index % 2 == 0, at=NOW) for index, each in enumerate(records)]
    _put(f"feedback/{where}", [json.dumps(label).encode() for label in labels])


@pytest.fixture
def deployed(cold: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Deployed:
    monkeypatch.setitem(moto.core.config.default_user_config, "stepfunctions", {"execute_state_machine": True})
    monkeypatch.setitem(moto.core.config.default_user_config, "lambda", {"use_docker": False})
    monkeypatch.setattr(retraining_machine, "POLL_SECONDS", 1)
    release = _machine("release", {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
    cold(
        REGISTRY_TABLE=TABLE,
        DATA_BUCKET=BUCKET,
        CAPTURES_BUCKET=BUCKET,
        RELEASE_STATE_MACHINE=release,
        CATALOG_FUNCTION="catalog",
    )
    arns = {name: _function(name) for name in ("catalog", "retrain")}
    machine = _machine("retrain", retraining_machine.definition(Step(arns["retrain"], 900)))
    made = _house(machine)
    monkeypatch.setattr(LambdaSimpleBackend, "invoke", _invoke(made))
    return made


def _machine(name: str, definition: dict[str, Any]) -> str:
    made = client_of("stepfunctions").create_state_machine(
        name=name, definition=json.dumps(definition), roleArn=f"arn:aws:iam::{ACCOUNT}:role/machine"
    )
    return str(made["stateMachineArn"])


def _function(name: str) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("handler.py", "")
    iam = client_of("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    made = client_of("lambda").create_function(
        FunctionName=name,
        Role=role,
        Runtime="python3.13",
        Handler="handler.handler",
        Code={"ZipFile": packed.getvalue()},
    )
    return str(made["FunctionArn"])


def _house(machine: str) -> Deployed:
    registry, datasets, files = DynamoRegistry(TABLE), DynamoCatalog(TABLE), S3DatasetFiles(BUCKET)
    said: dict[str, Any] = {"origin": "made up", "licence": "CC0-1.0", "owner": "tests", "pii": (), "outcome": ()}
    datasets.put_dataset(Dataset(name="trips", time="at", registered_by="ana", registered_at=NOW, **said))
    data = to_csv(trips())
    sha256 = files.put("trips", data)
    file = DataFile("trips.csv", sha256, len(data), files.key("trips", sha256))
    version = content_version([sha256], DECLARED)
    datasets.add_version(
        DatasetVersion("trips", version, DatasetStatus.REGISTERING, (file,), "ana", NOW, reading=DECLARED)
    )
    task = RegisterDataset(dataset="trips", version=version)
    base = register(task, catalog=datasets, files=files, reader=PandasReader())
    health_records = DynamoHealthRecords(TABLE)
    for name, rows in ROWS.items():
        registry.apply(spec(name=name), author="ana", at=NOW)
        health_records.save(health_record(at=NOW, model=name))
        serve(name, rows)
    return Deployed(registry, datasets, health_records, machine, base, [])


def _invoke(made: Deployed) -> Any:
    """Functions run in this process; what is handed to `catalog` runs beside the caller, as an event does."""

    def invoke(backend: Any, function_name: str, qualifier: Any, *call: Any) -> bytes:
        body, _, answered = call
        event, name = json.loads(body), function_name.rpartition(":")[2]
        if name == "catalog":
            lineage = made.catalog.version(event["dataset"], event["version"]).lineage
            if not any(model in lineage for model in made.lost):
                threading.Timer(0.3, catalog_handler.handler, (event, CONTEXT)).start()
            return b"null"
        try:
            return json.dumps(retrain.handler(event, CONTEXT)).encode()
        except Exception as error:  # noqa: BLE001  as the runtime does
            answered["x-amz-function-error"] = "Unhandled"
            return json.dumps({"errorType": type(error).__name__, "errorMessage": str(error)}).encode()

    return invoke


def test_each_wanted_training_is_started_on_the_dataset_and_what_was_captured_since(deployed: Deployed) -> None:
    execution = deployed.run()
    assert execution["status"] == "SUCCEEDED", execution
    for model, rows in ROWS.items():
        (run,) = deployed.registry.runs(model)
        assert run.requested_by == execution["executionArn"]
        assert run.reason.startswith("quality: roc_auc fell from 0.8 to 0.6; wind drifted; data: version ")
        assert run.dataset_version is not None
        version = deployed.catalog.version("trips", run.dataset_version)
        assert (version.status, version.rows) == (DatasetStatus.READY, deployed.base.rows + rows)
        assert f"{rows} labelled predictions of {model}" in version.lineage
        after = deployed.record(model)
        assert after.wanted is None
        (attempt,) = after.attempts
        assert (attempt.run_id, attempt.trigger, attempt.outcome) == (
            run.run_id,
            Trigger.QUALITY,
            TrainingOutcome.UNDER_WAY,
        )
        assert run.execution is not None
        client_of("stepfunctions").describe_execution(executionArn=run.execution)
    assert deployed.catalog.dataset("trips").latest == deployed.base.version


def test_a_second_event_starts_nothing(deployed: Deployed) -> None:
    deployed.run()
    assert deployed.run()["status"] == "SUCCEEDED"
    assert len(deployed.registry.runs("trip-delay")) == 1


def test_one_model_may_be_named(deployed: Deployed) -> None:
    assert deployed.run(model="trip-other")["status"] == "SUCCEEDED"
    assert len(deployed.registry.runs("trip-other")) == 1
    assert deployed.registry.runs("trip-delay") == []
    assert deployed.run(model="nobody")["status"] == "FAILED"


def test_a_model_whose_training_cannot_start_stops_no_other_and_fails_the_execution(deployed: Deployed) -> None:
    deployed.registry.apply(spec(name="trip-delay", dataset="gone"), author="ana", at=NOW)
    execution = deployed.run()
    assert (execution["status"], execution["error"]) == ("FAILED", "TrainingNotStarted")
    assert deployed.registry.runs("trip-delay") == []
    assert deployed.record("trip-delay").wanted is Trigger.QUALITY
    assert len(deployed.registry.runs("trip-other")) == 1


def test_a_dataset_that_is_never_read_holds_its_training_back_and_no_other(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.steps.monitoring.labelled_dataset.REGISTERING", timedelta(seconds=2))
    deployed.lost.append("trip-delay")
    assert deployed.run()["status"] == "SUCCEEDED"
    assert "is still registering" in deployed.record("trip-delay").held_back
    assert len(deployed.registry.runs("trip-other")) == 1


# What the ports promise besides, in memory and on AWS


def test_a_version_with_labelled_captures_is_stored_whole_and_does_not_become_the_latest(catalog: Any) -> None:
    catalog.put_dataset(DATASET)
    catalog.finish_version(READY)
    labelled = replace(READY, version="fedcba9876543210", base=READY.version, lineage="40 labelled predictions")
    assert catalog.add_version(labelled) is True
    catalog.finish_version(labelled)
    catalog.finish_version(labelled)
    assert catalog.version("flights", labelled.version) == labelled
    assert catalog.version("flights") == READY


def test_a_stored_dataset_file_lies_under_its_hash(files: Any) -> None:
    sha256 = files.put("flights", b"rows")
    assert sha256 == hashlib.sha256(b"rows").hexdigest() == files.put("flights", b"rows")
    assert files.read(files.key("flights", sha256)) == b"rows"
