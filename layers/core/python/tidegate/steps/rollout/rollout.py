"""The second half of a release: read where a rollout is, decide its next step, write it in one transaction.

Nothing is kept between two calls but the record, so that a call may come twice, late, or from another process.
"""

from dataclasses import replace
from datetime import datetime
from typing import Literal

from tidegate.domain.evaluation.documents import read_report
from tidegate.domain.evaluation.report import sections_of
from tidegate.domain.evaluation.sections import Scores
from tidegate.domain.registry.route import Route
from tidegate.domain.registry.run import APPLIED, Run
from tidegate.domain.registry.version import Version, VersionStatus
from tidegate.domain.rollout import rollout
from tidegate.domain.rollout.rollout import Evidence, Phase, Rollout, Step
from tidegate.domain.serving.reporters import large
from tidegate.domain.training.contracts import rollout_plan
from tidegate.kernel import english
from tidegate.kernel.errors import ArtifactRejectedError, NotFoundError
from tidegate.messages import AskApproval, Moved, RolloutTask
from tidegate.ports.data import Catalog
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts, Models, Routes, Runs, Versions, Workflow
from tidegate.ports.rollout import ArmsReader, Rollouts
from tidegate.steps.conflicts import twice
from tidegate.steps.trust import reporter_share

REPORTED = "reported many of the outcomes that it learned from"


def advance(
    task: RolloutTask,
    *,
    models: Models,
    runs: Runs,
    versions: Versions,
    routes: Routes,
    rollouts: Rollouts,
    catalog: Catalog,
    artifacts: Artifacts,
    arms: ArmsReader,
) -> Moved:
    """Take the version one step further, which may be to stay; a rollout that is over is left as it is.

    Until the version is promoted, each call checks that the stored artifact and report are those that were registered,
    and approved. A version that finds another release of its model holding the lease is overtaken. Who loses a race
    reads what the winner left and decides once more.

    Raises:
        NotFoundError: there is no such version or run.
        ConflictError: another version is on trial, or the race was lost twice.
        SpecInvalidError: the spec's demands on a canary contradict themselves.
    """
    model, run_id, now = task.run.model, task.run.run_id, task.now

    def first(route: Route | None, version: Version, held: str, problem: str) -> Step:
        run, spec = runs.run(model, run_id), models.spec(model, version.spec_digest)
        actor, judged_against = _actor(run), task.champion_version
        if held or problem:
            phase = Phase.OVERTAKEN if held else Phase.ROLLED_BACK
            plan, why = rollout_plan(spec), held or problem
            return rollout.decline(version, plan, phase, why, judged_against=judged_against, actor=actor, now=now)
        scores = _expected_scores(version, artifacts)
        plan = rollout_plan(
            spec, score_distance=(scores and scores.distance) or 0.0, needs_approval=version.needs_approval
        )
        return rollout.begin(
            version,
            plan,
            route=route,
            judged_against=judged_against,
            excluded={} if plan.approval_seconds is None else makers(run, route, version),
            score_edges=scores.edges if scores else (),
            actor=actor,
            now=now,
        )

    def makers(run: Run, route: Route | None, version: Version) -> dict[str, str]:
        most = reporter_share(model, version.spec_digest, route, models=models, versions=versions)
        return _makers(run, version, most, models, catalog)

    def once() -> Moved:
        known = rollouts.rollout(model, run_id)  # before the route: a step of ours that the route shows is known then
        route = routes.route(model)
        if known is not None and known.phase.final:
            return _moved(known, route, now)
        version = versions.version(model, task.version)
        held = _held_by_another(model, run_id, now, rollouts)
        promoted = known is not None and known.phase is Phase.PROBATION
        problem = "" if held or promoted else _problem(version, known, artifacts)
        if known is None:
            step = first(route, version, held, problem)
            step = replace(step, rollout=replace(step.rollout, page_sha256=task.page_sha256))
        elif held:
            step = rollout.abandon(known, route=route, version=version, fault=held, now=now)
        else:
            evidence = Evidence() if known.phase is Phase.APPROVAL else arms.since_last_look(known)
            step = rollout.advance(known, route=route, version=version, evidence=evidence, now=now, problem=problem)
        rollouts.save(step, now=now)
        return _moved(step.rollout, step.change.route if step.change else route, now)

    return twice(once)


def ask(task: AskApproval, *, rollouts: Rollouts, workflow: Workflow, clock: Clock) -> None:
    """Keep the token that resumes the execution once an approver has decided; resume it at once when one has already.

    Raises:
        NotFoundError: the run has no rollout.
        ConflictError: the race was lost twice.
    """
    model, run_id = task.run.model, task.run.run_id

    def once() -> None:
        known = rollouts.rollout(model, run_id)
        if known is None:
            raise NotFoundError(
                f"run {run_id} of model {model} has no rollout", next_step=f"see `tidegate runs {model}`"
            )
        asked = known.approval
        if known.phase is not Phase.APPROVAL or asked is None or asked.decision is not None:
            workflow.resume(task.token)
        elif asked.token != task.token:
            waiting = replace(known, revision=known.revision + 1, approval=replace(asked, token=task.token))
            rollouts.save(Step(waiting), now=clock.now())

    twice(once)


def abandon(
    model: str,
    run_id: str,
    fault: str,
    now: datetime,
    *,
    models: Models,
    runs: Runs,
    versions: Versions,
    routes: Routes,
    rollouts: Rollouts,
) -> None:
    """End what a fault of the release has ended: the champion serves alone, a version on its way in is rolled back.

    Also an accepted version that had no rollout yet: nobody would ever take it further. A rollout that is over stays as
    it is, and a run without an accepted version has nothing to end.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: the race was lost twice.
    """

    def once() -> None:
        known = rollouts.rollout(model, run_id)
        route = routes.route(model)
        run = runs.run(model, run_id)
        if run.version is None or (known is not None and known.phase.final):
            return
        version = versions.version(model, run.version)
        if known is not None:
            step = rollout.abandon(known, route=route, version=version, fault=fault, now=now)
        elif version.status is VersionStatus.ACCEPTED:
            plan = rollout_plan(models.spec(model, version.spec_digest))
            step = rollout.decline(version, plan, Phase.FAILED, fault, judged_against=None, actor=_actor(run), now=now)
        else:
            return
        rollouts.save(step, now=now)

    twice(once)


def _moved(known: Rollout, route: Route | None, now: datetime) -> Moved:
    waiting: Literal["approval", "wait"] = "approval" if known.phase is Phase.APPROVAL else "wait"
    champion = route.champion if route else None
    return Moved(
        next="done" if known.phase.final else waiting,
        phase=known.phase.value,
        wait_seconds=rollout.wait_seconds(known, now),
        serves=champion is not None and champion.version == known.version,
        reason=known.reason,
        ledger_head=route.ledger_head if route else "",
    )


def _held_by_another(model: str, run_id: str, now: datetime, rollouts: Rollouts) -> str:
    """Why the release must not go on: its lease ended, and another one took it. Empty when nothing is in the way."""
    lease = rollouts.lease(model)
    if lease is None or lease.run_id == run_id or lease.until <= now:
        return ""
    until = lease.until.isoformat(timespec="seconds")
    return f"it came too late: run {lease.run_id} of {lease.holder} has the lease of {model} until {until}; train again"


def _problem(version: Version, known: Rollout | None, artifacts: Artifacts) -> str:
    """Why the version's bytes must not serve; empty when artifact and report are those that were registered, and that
    the approver was asked about."""
    stored = {
        "artifact": (version.artifact_key, version.artifact_sha256),
        "report": (version.report_key, version.report_sha256),
    }
    asked = known.approval if known else None
    if asked and (asked.artifact_sha256, asked.report_sha256) != (version.artifact_sha256, version.report_sha256):
        return "its record was changed after approval was requested: it names another artifact or report"
    for what, (key, sha256) in stored.items():
        try:
            artifacts.get_verified(key, sha256)
        except (ArtifactRejectedError, NotFoundError) as error:
            return f"its {what} is not the one that was registered: {error.message}"
    return ""


def _expected_scores(version: Version, artifacts: Artifacts) -> Scores | None:
    """How the holdout's scores lie (section `scores` of the report's evaluation): how far the candidate's are from the
    champion's, and the edges of the bins that they are counted in. None when the evaluation did not look."""
    return sections_of(read_report(artifacts.get_verified(version.report_key, version.report_sha256))).scores


def _makers(run: Run, version: Version, most: float, models: Models, catalog: Catalog) -> dict[str, str]:
    """Who must not approve the version, and why: whoever had a hand in making it, or reported more than a share `most`
    of the outcomes in its data. Raises NotFoundError."""
    header, author = models.model(version.model), models.author(version.model, version.spec_digest)
    data = catalog.version(version.dataset, version.dataset_version)
    hands = [
        (run.requested_by, "requested the training"),
        (version.created_by, "requested the training"),
        (author, "wrote its spec"),
        (data.added_by, "added its data"),
        *((maker.who, maker.did) for maker in run.makers),
    ]
    if header.spec_digest == version.spec_digest:
        hands.append((header.applied_by, APPLIED))
    if data.base:
        hands.append((catalog.version(version.dataset, data.base).added_by, "added its data"))
    if data.captured:
        hands += [(arn, REPORTED) for arn in large(data.captured.reporters, most)]
    left_out = [each for each in catalog.exclusions(version.dataset) if each.exclusion_id in run.exclusions]
    hands += [(each.author, "excluded a period of its data") for each in left_out]
    made: dict[str, dict[str, None]] = {}
    for arn, did in hands:
        if (arn, did) != (author, APPLIED):
            made.setdefault(arn, {})[did] = None
    return {arn: english.listed(did) for arn, did in made.items()}


def _actor(run: Run) -> str:
    """Whom the ledger names: the execution, or who asked for one that has no name."""
    return run.execution or run.requested_by
