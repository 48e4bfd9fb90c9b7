"""Turn a finished run into a registered version, accepted or rejected, and close the run with it."""

from dataclasses import replace

from tidegate.domain.registry.ledger import Cause
from tidegate.domain.registry.route import FallbackRef, Route
from tidegate.domain.registry.run import Run
from tidegate.domain.registry.version import Version, VersionStatus, approval_reasons
from tidegate.domain.rollout import changes
from tidegate.domain.rollout.changes import RouteChange
from tidegate.kernel.errors import ConflictError
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import Registered, RegisterTask
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Models, Routes, Runs, Versions
from tidegate.ports.rollout import Rollouts
from tidegate.steps.rollout.routes import decided

STAGE = "register"
REASON = "no version serves yet"


def register(
    task: RegisterTask,
    *,
    models: Models,
    runs: Runs,
    versions: Versions,
    routes: Routes,
    rollouts: Rollouts,
    clock: Clock,
) -> Registered:
    """Register once: a repeated call answers with the version the run got the first time.

    The run's fallback goes with the version. While the model has no champion it answers at once, also that of a
    rejected run: a rule that was measured is better than no answer. A rejected run is the end of its release, so it
    gives the model's lease back.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: the run has failed, or what a version must record of it is not known.
    """
    ref = task.run
    run = runs.run(ref.model, ref.run_id)
    if run.version is None:
        artifacts = {
            "model": ref.key(RunFile.ARTIFACT),
            "fallback": ref.key(RunFile.FALLBACK),
            "evaluation": ref.key(RunFile.EVALUATION),
            "report": ref.key(RunFile.REPORT),
        }
        runs.note(ref.model, ref.run_id, STAGE, clock.now(), artifacts={**run.artifacts, **artifacts})
    spec = models.spec(ref.model, run.spec_digest)
    reasons = approval_reasons(
        asked_for=spec.release.approval == "required", target_changes=run.target_changes, questions=run.questions
    )
    wanted = replace(
        _version(task, run, clock),
        needs_approval=bool(reasons),
        approval_reasons=reasons,
        features=spec.feature_names,
    )
    version = versions.register(wanted, at=clock.now())

    def decision(route: Route | None) -> RouteChange | None:
        return changes.stand_in(route, version, Cause(clock.now(), run.requested_by, REASON))

    decided(ref.model, decision, routes=routes)
    accepted = version.status is not VersionStatus.REJECTED
    if not accepted:
        rollouts.free(ref.model, ref.run_id)
    return Registered(version=version.number, accepted=accepted)


def _version(task: RegisterTask, run: Run, clock: Clock) -> Version:
    dataset_version, lock_hash, code_version = run.dataset_version, run.lock_hash, run.code_version
    if dataset_version is None or lock_hash is None or code_version is None:
        raise ConflictError(
            f"run {run.run_id} of model {run.model} does not say its dataset version, lock and code",
            next_step="the step `prepare` records them; start the run again",
        )
    return Version(
        model=run.model,
        number=0,
        status=VersionStatus.ACCEPTED if task.verdict.accepted else VersionStatus.REJECTED,
        run_id=run.run_id,
        spec_digest=run.spec_digest,
        dataset=run.dataset,
        dataset_version=dataset_version,
        artifact_key=task.run.key(RunFile.ARTIFACT),
        artifact_sha256=task.fitted.artifact_sha256,
        report_key=task.run.key(RunFile.REPORT),
        report_sha256=task.verdict.report_sha256,
        metric=task.evaluated.metric,
        value=task.evaluated.value,
        low=task.evaluated.low,
        high=task.evaluated.high,
        reasons=tuple(task.verdict.reasons),
        created_at=clock.now(),
        created_by=run.requested_by,
        lock_hash=lock_hash,
        code_version=code_version,
        classes=tuple(task.evaluated.classes),
        fallback=FallbackRef(task.run.key(RunFile.FALLBACK), task.evaluated.fallback_sha256, run.run_id),
    )
