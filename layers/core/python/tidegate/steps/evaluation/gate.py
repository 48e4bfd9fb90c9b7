"""Decide on the evaluation, and keep everything that led to the verdict in one report.

The report is made of stored facts only (no clock, no chance), so gating a run again gives the same bytes.
"""

import json
from dataclasses import replace
from typing import Any

from tidegate.domain.evaluation import targets
from tidegate.domain.evaluation.documents import ENVIRONMENT, PLAN
from tidegate.domain.evaluation.evaluation import ChampionValue, Evaluation
from tidegate.domain.evaluation.gate import CaptureLimits, Policy, decide, questions
from tidegate.domain.evaluation.report import GateReport
from tidegate.domain.evaluation.sections import Cost, HoldoutParts
from tidegate.domain.monitoring import costs
from tidegate.domain.monitoring.costs import Prices
from tidegate.domain.registry.run import CandidateRun, Run
from tidegate.domain.training.contracts import stated_targets
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import Fitted, GateDecided, GateTask
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts, Models, Runs, Versions
from tidegate.spec.model import ModelSpec
from tidegate.steps.run_files import RunFiles

STAGE = "gate"


def gate(
    task: GateTask,
    *,
    models: Models,
    runs: Runs,
    versions: Versions,
    artifacts: Artifacts,
    clock: Clock,
    prices: Prices,
) -> GateDecided:
    """Hold the evaluation against the spec's demands; a rejection is an answer, not an error.

    Where the spec's targets are not those of the champion's spec, report and run say which changed from what to what:
    a second person has to agree to that.

    Raises:
        NotFoundError: the run was not evaluated, or its slices and groups were not measured.
        ConflictError: the run is final.
    """
    ref = task.run
    runs.note(ref.model, ref.run_id, STAGE, clock.now())
    run = runs.run(ref.model, ref.run_id)
    spec = models.spec(ref.model, run.spec_digest)
    known = task.files | task.fitted.files | task.evaluated.files | task.slices_and_groups.files
    files = RunFiles(ref, artifacts, known)
    evaluation = Evaluation.from_json(json.loads(files.read(RunFile.EVALUATION)))
    parts = HoldoutParts.from_json(json.loads(files.read(RunFile.SLICES_AND_GROUPS)))
    cost = Cost(costs.per_1000(evaluation.latency_ms.p99, prices), prices.memory_mb)
    evaluation = replace(evaluation, sections=replace(parts.among(evaluation.sections), cost=cost))
    policy = policy_of(spec)
    verdict = decide(evaluation, policy)
    changed = _changed(spec, evaluation.champion, models=models, versions=versions)
    runs.note(
        ref.model, ref.run_id, STAGE, clock.now(), target_changes=changed, questions=questions(evaluation, policy)
    )
    report = GateReport(
        model=ref.model,
        run_id=ref.run_id,
        task=spec.task.value,
        verdict=verdict,
        evaluation=evaluation,
        target_changes=changed,
        lineage=lineage(run, task.fitted, files),
    )
    data = json.dumps(report.to_json(), sort_keys=True, allow_nan=False).encode()
    sha256 = files.write(RunFile.REPORT, data, content_type="application/json")
    return GateDecided(accepted=verdict.accepted, reasons=list(verdict.reasons), report_sha256=sha256)


def policy_of(spec: ModelSpec) -> Policy:
    """The demands of a spec, in the gate's words."""
    stated = stated_targets(spec)
    limits = targets.limits(stated)
    return Policy(
        margin=limits["margin"],
        min_rows=spec.gate.min_rows,
        latency_p99_ms=limits["latency_p99_ms"],
        load_ms=limits["load_ms"],
        artifact_mib=limits["artifact_mib"],
        metric_target=next((each.limit for each in stated if each.kind.check == "metric_target"), None),
        group_differences={each.name: each.limit for each in stated if each.kind.check == "fairness"},
        calibration_error=limits.get("calibration_error_at_most"),
        robustness_loss=limits.get("robustness_loss_at_most"),
        flips=limits.get("flips_at_most"),
        cost_per_1000_usd=limits.get("cost_per_1000_usd_at_most"),
        captures=CaptureLimits(
            holdout_share=limits["captures_at_most"],
            reporter_share=limits["reporter_at_most"],
            guard_margin=limits["guard_margin"],
        ),
    )


def _changed(spec: ModelSpec, champion: ChampionValue | None, *, models: Models, versions: Versions) -> tuple[str, ...]:
    """Targets that differ from those of the champion that the version was compared with."""
    if champion is None:
        return ()
    before = models.spec(spec.name, versions.version(spec.name, champion.version).spec_digest)
    return tuple(each.sentence for each in targets.changes(stated_targets(before), stated_targets(spec)))


def lineage(run: Run, fitted: Fitted, files: RunFiles) -> dict[str, Any]:
    """What a run's artifact was made of and with, and who asked for it.

    Of the data it reports what `prepare` wrote down (rows and periods of each part, what was left out); the contract is
    not repeated, since the artifact carries it. `files` names every file of the run by its hash.

    Raises:
        NotFoundError, ArtifactRejectedError: what the steps wrote down is not there, or was replaced.
    """
    plan: dict[str, Any] = PLAN.read(files.read(RunFile.PLAN))
    return {name: value for name, value in plan.items() if name != "contract"} | {
        "environment": ENVIRONMENT.read(files.read(RunFile.ENVIRONMENT)),
        "files": dict(files.known),
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
        "artifact_key": files.run.key(RunFile.ARTIFACT),
        "training_rows": fitted.rows,
        "requested_by": run.requested_by,
        "requested_at": run.requested_at.isoformat(),
    }


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
