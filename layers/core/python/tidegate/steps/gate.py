"""Decide on the evaluation, and keep everything that led to the verdict in one report.

The report is made of stored facts only (no clock, no chance), so gating a run again gives the same bytes.
"""

import json
from dataclasses import replace
from typing import Any

from tidegate.domain.evaluation import Evaluation
from tidegate.domain.gate import Policy, decide
from tidegate.domain.release import CandidateRun, Run
from tidegate.errors import NotFoundError
from tidegate.messages import Fitted, GateTask, RunRef, Verdict
from tidegate.ports import Artifacts, Clock, Models, Runs
from tidegate.spec import ModelSpec

STAGE = "gate"
REPORT_FORMAT = 1


def gate(task: GateTask, *, models: Models, runs: Runs, artifacts: Artifacts, clock: Clock) -> Verdict:
    """Hold the evaluation against the spec's demands; a rejection is an answer, not an error.

    Raises:
        NotFoundError: the run was not evaluated, or not examined.
        ConflictError: the run is final.
    """
    ref = task.run
    runs.note(ref.model, ref.run_id, STAGE, clock.now())
    run = runs.run(ref.model, ref.run_id)
    spec = models.spec(ref.model, run.spec_digest)
    evaluation = Evaluation.from_json(json.loads(artifacts.get(ref.evaluation_key)))
    examination = json.loads(artifacts.get(ref.examination_key))
    evaluation = replace(evaluation, sections={**evaluation.sections, **examination})
    verdict = decide(evaluation, policy_of(spec))
    report = {
        "format": REPORT_FORMAT,
        "model": ref.model,
        "run_id": ref.run_id,
        "task": spec.task.value,
        "metric": evaluation.metric,
        "higher_is_better": evaluation.higher_is_better,
        "verdict": verdict.to_json(),
        "evaluation": evaluation.to_json(),
        "lineage": lineage(run, task.fitted, artifacts),
    }
    data = json.dumps(report, sort_keys=True, allow_nan=False).encode()
    sha256 = artifacts.put(ref.report_key, data, content_type="application/json")
    return Verdict(accepted=verdict.accepted, reasons=list(verdict.reasons), report_sha256=sha256)


def policy_of(spec: ModelSpec) -> Policy:
    """The demands of a spec, in the gate's words."""
    targets = spec.targets
    return Policy(
        margin=spec.gate.margin,
        min_rows=spec.gate.min_rows,
        latency_p99_ms=targets.latency_p99_ms,
        load_ms=targets.load_ms,
        artifact_mib=targets.artifact_mib,
        metric_target=targets.metric_at_least if spec.metric.higher_is_better else targets.metric_at_most,
        group_differences=targets.governance.model_dump(exclude={"flips_at_most"}, exclude_none=True),
        calibration_error=targets.calibration_error_at_most,
        robustness_loss=targets.robustness_loss_at_most,
        flips=targets.governance.flips_at_most,
    )


def lineage(run: Run, fitted: Fitted, artifacts: Artifacts) -> dict[str, Any]:
    """What a run's artifact was made of and with, and who asked for it.

    Of the data it tells what `prepare` wrote down (rows and periods of each part, what was left out); the contract is
    not repeated, since the artifact carries it.
    """
    ref = RunRef(model=run.model, run_id=run.run_id)
    data = {name: value for name, value in _noted(artifacts, ref.plan_key).items() if name != "contract"}
    return data | {
        "environment": _noted(artifacts, ref.environment_key),
        "spec_digest": run.spec_digest,
        "dataset": run.dataset,
        "dataset_version": run.dataset_version,
        "exclusions": list(run.exclusions),
        "seed": run.seed,
        "code_version": run.code_version,
        "lock_hash": run.lock_hash,
        "candidates": [_candidate(candidate) for candidate in run.candidates],
        "selected": run.selected,
        "artifact_sha256": fitted.artifact_sha256,
        "artifact_key": ref.artifact_key,
        "training_rows": fitted.rows,
        "requested_by": run.requested_by,
        "requested_at": run.requested_at.isoformat(),
    }


def _noted(artifacts: Artifacts, key: str) -> dict[str, Any]:
    """What a step wrote down; nothing if it did not."""
    try:
        found: dict[str, Any] = json.loads(artifacts.get(key))
    except NotFoundError:
        return {}
    return found


def _candidate(candidate: CandidateRun) -> dict[str, Any]:
    return {
        "index": candidate.index,
        "estimator": candidate.estimator,
        "parameters": dict(candidate.parameters),
        "metric": candidate.metric,
        "value": candidate.value,
        "fit_seconds": candidate.fit_seconds,
        "rows": candidate.rows,
    }
