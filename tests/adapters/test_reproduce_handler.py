"""The function reproduce as it is wired on AWS (moto): records and objects come back as they were written."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from functions.reproduce import handler as reproduce
from tests.adapters.conftest import BUCKET, TABLE
from tests.builders.registry import AT, a_run, a_version, requested
from tests.builders.reports import report_document
from tests.builders.specs import a_spec
from tests.context import CONTEXT
from tidegate.aws.objects import S3Artifacts
from tidegate.aws.registry import DynamoRegistry
from tidegate.domain.registry.run import CandidateRun, RunStatus
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import Files, Fitted, RunRef
from tidegate.steps.evaluation.gate import lineage
from tidegate.steps.run_files import RunFiles

MODEL = "flight-delay"
ESTIMATE = {"value": 0.7512345678901234, "low": 0.74, "high": 0.1 + 0.2}
REPORT = report_document()
EVALUATION = REPORT["evaluation"] | {"metrics": {"roc_auc": ESTIMATE, "log_loss": None}}
FITTED: dict[str, Any] = {"artifact_sha256": "a" * 64, "artifact_bytes": 1, "fit_seconds": 1.5, "rows": 400}
FALLBACK = "f" * 64


@pytest.fixture
def registry(cold: Callable[..., None]) -> DynamoRegistry:
    """A model, and the function with nothing wired yet."""
    cold(REGISTRY_TABLE=TABLE, ARTIFACTS_BUCKET=BUCKET)
    registry = DynamoRegistry(TABLE)
    registry.apply(a_spec(), author="ann", at=AT)
    return registry


def trained(registry: DynamoRegistry, run_id: str, code: str, **facts: Any) -> tuple[RunRef, Files]:
    """A run that was evaluated."""
    ref = RunRef(model=MODEL, run_id=run_id)
    requested(registry, a_run(run_id, **facts), lease_until=None)
    registry.note(
        MODEL, run_id, "select", AT, dataset_version="v1", lock_hash="l", code_version=code, selected=1, seed=7
    )
    fitted = CandidateRun(1, "sklearn.tree.X", {"max_depth": 3, "alpha": 0.1}, "roc_auc", 1 / 3, 1.0, 300)
    registry.note_candidate(MODEL, run_id, fitted)
    files = RunFiles(ref, S3Artifacts(BUCKET), {})
    files.write(RunFile.PLAN, b"{}")
    files.write(RunFile.ENVIRONMENT, json.dumps({"python": "3.13.1", "packages": {"numpy": "2.3.0"}}).encode())
    files.write(RunFile.EVALUATION, json.dumps(EVALUATION).encode())
    return ref, files.written


def test_a_run_that_makes_the_same_again_is_closed_as_reproduced(registry: DynamoRegistry) -> None:
    artifacts = S3Artifacts(BUCKET)
    first, files = trained(registry, "r-001", "old", exclusions=("e2", "e1"))
    of_first = lineage(registry.run(MODEL, "r-001"), Fitted(**FITTED, files={}), RunFiles(first, artifacts, files))
    made = {"evaluation": EVALUATION, "lineage": of_first}
    report = REPORT | made
    version = replace(
        a_version(),
        report_key=first.key(RunFile.REPORT),
        report_sha256=artifacts.put(first.key(RunFile.REPORT), json.dumps(report).encode()),
    )
    registry.register(version, at=AT)
    ref, files = trained(registry, "r-002", "new", exclusions=("e1", "e2"), reproduces=1)
    evaluated = {"metric": "roc_auc", "value": 0.7, "low": 0.6, "high": 0.8, "champion_version": None}
    task = {
        "run": ref.to_json(),
        "files": files,
        "fitted": FITTED | {"files": {}},
        "evaluated": evaluated | {"fallback_sha256": FALLBACK, "files": {}},
    }
    for _ in range(2):
        answer = reproduce.handler(task, CONTEXT)
        assert answer == {"equal": True, "artifact_equal": True, "differences": 0}
    run = registry.run(MODEL, "r-002")
    assert (run.status, run.artifacts["reproduction"]) == (RunStatus.REPRODUCED, ref.key(RunFile.REPRODUCTION))
    document = json.loads(artifacts.get(ref.key(RunFile.REPRODUCTION)))
    assert document["environment"]["differences"] == [{"what": "code", "recorded": "old", "found": "new"}]
