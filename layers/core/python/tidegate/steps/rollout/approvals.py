"""Versions on their way in, for people: where each rollout is, an approver's answer to it, and its end by hand."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from tidegate.domain.registry.ledger import Cause
from tidegate.domain.registry.route import Route
from tidegate.domain.registry.run import ENDED, Run, RunError, RunStatus
from tidegate.domain.registry.version import Version
from tidegate.domain.rollout import changes, rollout
from tidegate.domain.rollout.changes import RouteChange
from tidegate.domain.rollout.rollout import LEASE_SLACK, Approval, AtDeadline, Decision, Phase, Rollout, Step
from tidegate.kernel.errors import ConflictError, NotFoundError, UnavailableError
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import RunRef
from tidegate.ports.monitoring import HealthRecords, Verdicts
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts, Models, RouteReader, Routes, Runs, Versions, Workflow
from tidegate.ports.rollout import RolloutReader, Rollouts
from tidegate.steps.conflicts import twice
from tidegate.steps.pages import Asked, by_run, chosen, page, walked
from tidegate.steps.requests import Document, Sentence, Sha256, version_number, view
from tidegate.steps.rollout.forecasts import expected

ROLLOUTS_AT_A_TIME = 20  # one may have hundreds of kB; a model has one release at a time, so an open one is among them


class Decide(Document):
    """Body of an approver's answer. The hashes are those of what the approver looked at."""

    decision: Decision
    reason: Sentence
    artifact_sha256: Sha256
    report_sha256: Sha256


class EndRollout(Document):
    """Body of the end of a rollout by hand."""

    reason: Sentence


class Progress(StrEnum):
    """Whether a rollout is over."""

    OPEN = "open"
    ENDED = "ended"


def list_rollouts(
    model: str, asked: Asked, status: str | None, *, models: Models, rollouts: RolloutReader, routes: RouteReader
) -> dict[str, Any]:
    """A page of rollouts in short, newest first; with a status those that are open, or those that have ended.

    Raises:
        NotFoundError: no such model.
        RequestInvalidError: a parameter is wrong.
    """
    models.model(model)
    route = routes.route(model)
    wanted = chosen("status", status, Progress)

    def show(found: Rollout) -> dict[str, Any]:
        return _summary(found, route)

    keep = (lambda found: found.phase.final is (wanted is Progress.ENDED)) if wanted else None
    walk = walked(partial(rollouts.rollouts, model), by_run)
    shown, following = page(asked, walk, by_run, show=show, keep=keep, chunk=ROLLOUTS_AT_A_TIME)
    return {"rollouts": shown, "next": following}


def show_rollout(
    model: str,
    run: str,
    *,
    models: Models,
    versions: Versions,
    rollouts: RolloutReader,
    routes: RouteReader,
    health_records: HealthRecords,
    verdicts: Verdicts,
    clock: Clock,
) -> dict[str, Any]:
    """The rollout of a run's version; up to its promotion, with a `forecast` of the whole canary. Raises
    NotFoundError."""
    found = rollouts.rollout(model, run)
    if found is None:
        raise NotFoundError(
            f"run {run} of {model} has no rollout yet",
            next_step=f"look at the run: tidegate runs {model} {run}",
        )
    ahead = None
    if found.judged_against and not found.promoted_at and not found.phase.final:
        spec = models.spec(model, versions.version(model, found.version).spec_digest)
        ahead = expected(spec, health_records=health_records, verdicts=verdicts)
    return {"rollout": _whole(found, routes.route(model)) | _pace(found, clock.now()) | {"forecast": ahead}}


def under_way(model: str, route: Route | None, *, rollouts: RolloutReader, now: datetime) -> dict[str, Any]:
    """The release that the model has now: `rollout` in short and the `lease` that keeps others out; null when there is
    none."""
    lease = rollouts.lease(model)
    found = rollouts.rollout(model, lease.run_id) if lease else None
    return {
        "rollout": _summary(found, route) if found and not found.phase.final else None,
        "lease": view(lease) if lease and lease.until > now else None,
    }


def decide(
    model: str,
    number: str,
    body: Decide,
    *,
    actor: str,
    versions: Versions,
    rollouts: Rollouts,
    routes: Routes,
    artifacts: Artifacts,
    workflow: Workflow,
    clock: Clock,
) -> dict[str, Any]:
    """Record what an approver decides about a version, then wake the execution that waits for it.

    The same answer sent again changes nothing and wakes it again. A rejection asks nothing of the stored bytes: they
    may be its reason.

    Raises:
        NotFoundError: no such version.
        ForbiddenError: the approver is one of those who made the version.
        ConflictError: nobody is asked (any more), somebody else has decided, or they saw something else.
        ArtifactRejectedError: the stored artifact, report or page is not what the approver was to look at.
        UnavailableError: recorded, but the execution was not woken; the same answer again wakes it.
    """
    version = versions.version(model, version_number(model, number))
    found, changed = twice(
        lambda: _decided(version, body, actor=actor, rollouts=rollouts, artifacts=artifacts, clock=clock)
    )
    _wake(found, workflow)
    return {"changed": changed, "rollout": _whole(found, routes.route(model))}


def _decided(
    version: Version, body: Decide, *, actor: str, rollouts: Rollouts, artifacts: Artifacts, clock: Clock
) -> tuple[Rollout, bool]:
    found = rollouts.rollout(version.model, version.run_id)
    if found is None:
        raise ConflictError(
            f"{version.model} version {version.number} does not wait for approval: it is {version.status}",
            next_step=f"see `tidegate versions {version.model} {version.number}`",
        )
    now = clock.now()
    step = rollout.decide(
        found,
        body.decision,
        by=actor,
        reason=body.reason,
        artifact_sha256=body.artifact_sha256,
        report_sha256=body.report_sha256,
        now=now,
    )
    if step is None:
        return found, False
    if body.decision is Decision.APPROVE:
        artifacts.get_verified(version.artifact_key, body.artifact_sha256)
        artifacts.get_verified(version.report_key, body.report_sha256)
        if found.page_sha256:
            page = RunRef(model=found.model, run_id=found.run_id).key(RunFile.PAGE)
            artifacts.get_verified(page, found.page_sha256)
    rollouts.save(step, now=now)
    return step.rollout, True


def end(
    model: str,
    body: EndRollout,
    *,
    actor: str,
    models: Models,
    runs: Runs,
    versions: Versions,
    rollouts: Rollouts,
    routes: Routes,
    workflow: Workflow,
    clock: Clock,
) -> dict[str, Any]:
    """End by hand the release that is under way: a version on its way in leaves, a promoted one serves alone. A run
    without a version is closed, and the model's lease is free.

    Without one nothing changes. The execution finds rollout or run ended when it looks next; one that waits for an
    approval is woken.

    Raises:
        NotFoundError: no such model.
        ConflictError: rollout or route were changed by others, twice; or the run became a version just now.
        UnavailableError: recorded, but the execution was not woken; the same request again wakes it.
    """
    models.model(model)

    def ended() -> tuple[Step | None, Route | None, bool]:
        listed = rollouts.rollouts(model, limit=ROLLOUTS_AT_A_TIME)
        route = routes.route(model)
        found = next((each for each in listed if not each.phase.final), listed[0] if listed else None)
        if found is None:
            return None, route, False
        cause = Cause(clock.now(), actor, body.reason)
        step = rollout.stop(found, route=route, version=versions.version(model, found.version), cause=cause)
        if step.rollout != found:
            rollouts.save(step, now=cause.at)
        return step, step.change.route if step.change else route, step.rollout != found

    step, route, changed = twice(ended)
    closed = None if changed else _closed(model, Cause(clock.now(), actor, body.reason), runs, rollouts)
    if step:
        _wake(step.rollout, workflow)
    change: RouteChange | None = step.change if step else None
    return {
        "changed": changed or closed is not None,
        "route": view(route),
        "serves": view(changes.shares(route)) if route else [],
        "entry": view(change.entry) if change else None,
        "rollout": _summary(step.rollout, route) if step else None,
        "run": {"run_id": closed.run_id, "status": closed.status.value} if closed else None,
    }


def _closed(model: str, cause: Cause, runs: Runs, rollouts: Rollouts) -> Run | None:
    """The run that held the model's lease without a rollout: ended, and its lease free. None when there is none."""
    lease = rollouts.lease(model)
    if lease is None or lease.until <= cause.at:
        return None
    stage = runs.run(model, lease.run_id).stage
    error = RunError(ENDED, f"{cause.actor} ended it: {cause.reason}", stage)
    run = runs.fail(model, lease.run_id, error, cause.at)
    if run.status is RunStatus.ACCEPTED:
        raise ConflictError(
            f"run {run.run_id} has just become version {run.version} of {model}, whose rollout begins in a moment",
            next_step=f'end that: tidegate rollout {model} --end --reason "..."',
        )
    rollouts.free(model, run.run_id)
    return run


def _wake(found: Rollout, workflow: Workflow) -> None:
    if found.approval is None or not found.approval.token:
        return
    try:
        workflow.resume(found.approval.token)
    except UnavailableError as error:
        raise UnavailableError(
            f"the decision is recorded, but the release has not received it yet: {error.message}",
            next_step="repeat the same command: it keeps the decision and resumes the release",
        ) from error


# Views


def _summary(found: Rollout, route: Route | None) -> dict[str, Any]:
    """Where a rollout is. `share_bp` is what its version answers now, `step` (from 1) and `steps` are the canary's."""
    return {
        "model": found.model,
        "run_id": found.run_id,
        "version": found.version,
        "judged_against": found.judged_against,
        "phase": found.phase.value,
        "share_bp": _share(found.version, route),
        "step": found.step + 1 if found.deadline else None,
        "steps": len(found.plan.steps_bp),
        "outcome": found.verdict["outcome"] if found.verdict else None,
        "reason": found.reason,
        "unproven": found.unproven,
        "began_at": view(found.began_at),
        "since": view(found.since),
        "promoted_at": view(found.promoted_at),
        "ended_at": view(found.ended_at),
    }


def _whole(found: Rollout, route: Route | None) -> dict[str, Any]:
    """All that people may see: the approval's token wakes the execution, so it stays here.

    `answered` counts the requests of the phase, or of the canary's step; `until` is when either can end at the
    earliest, or an approval at the latest; `missed_share` says that no routing key falls into the share, if so.
    """
    return _summary(found, route) | {
        "path": list(_path(found)),
        "missed_share": rollout.missed_share(found),
        "answered": sum(look.candidate.requests for look in found.looks[found.looks_before_step :]),
        "until": view(_until(found)),
        "next_look_at": view(_next_look(found)),
        "deadline": view(found.deadline),
        "verdict": view(found.verdict),
        "approval": _asked(found.approval) if found.approval else None,
        "plan": view(found.plan),
        "next_step": _next_step(found),
    }


def _pace(found: Rollout, now: datetime) -> dict[str, Any]:
    """How often is looked, how many requests the version answered a minute until the last look (of its phase, or the
    canary's step), and about how many more each open metric needs."""
    every, following = rollout.look_seconds(found, now), _next_look(found)
    answered = sum(look.candidate.requests for look in found.looks[found.looks_before_step :])
    minutes = (following - found.since).total_seconds() / 60 - every / 60 if every and following else 0.0
    return {
        "look_seconds": every,
        "requests_a_minute": round(answered / minutes, 1) if minutes > 0 else None,
        "still_needed": rollout.still_needed(found) if every and found.looks else {},
    }


def _share(version: int, route: Route | None) -> int:
    return sum(share.weight_bp for share in (changes.shares(route) if route else ()) if share.version == version)


def _path(found: Rollout) -> Iterator[dict[str, Any]]:
    """The stages of the plan, each done, at work (`now`), where it `ended` before its time, or `ahead`."""
    stages = _stages(found)
    at = _at(found, [name for name, _ in stages])
    here = "ended" if found.phase.final else "now"
    for index, (name, share_bp) in enumerate(stages):
        yield {
            "stage": name,
            "share_bp": share_bp,
            "state": "done" if index < at else here if index == at else "ahead",
        }


def _stages(found: Rollout) -> list[tuple[str, int | None]]:
    plan, compared = found.plan, found.judged_against is not None
    on_probation = compared and plan.probation_seconds > 0 and plan.holdback_bp > 0
    if found.promoted_at:
        on_probation = found.phase is not Phase.DONE or found.ended_at != found.promoted_at
    stages: list[tuple[str, int | None]] = []
    stages += [("approval", None)] if plan.approval_seconds is not None else []
    stages += [("shadow", None)] if plan.shadow_seconds and compared else []
    stages += [("canary", share) for share in plan.steps_bp]
    stages += [("promoted", None)]
    return stages + ([("probation", None)] if on_probation else [])


def _at(found: Rollout, names: list[str]) -> int:
    """Index of the stage that a rollout is in, or ended in; behind the last one when it is done."""
    if found.phase is Phase.DONE:
        return len(names)
    if found.promoted_at:
        return names.index("probation")
    if found.deadline:
        return names.index("canary") + found.step
    if found.phase is Phase.SHADOW:
        return names.index("shadow")
    approved = found.approval is not None and found.approval.decision is Decision.APPROVE
    return 1 if approved and found.phase.final else 0


def _until(found: Rollout) -> datetime | None:
    plan = found.plan
    match found.phase:
        case Phase.APPROVAL:
            return found.approval.expires_at if found.approval else None
        case Phase.SHADOW:
            return found.since + timedelta(seconds=plan.shadow_seconds)
        case Phase.CANARY:
            return found.since + timedelta(seconds=plan.bake_seconds)
        case Phase.PROBATION:
            return found.since + timedelta(seconds=plan.probation_seconds)
        case _:
            return None


def _next_look(found: Rollout) -> datetime | None:
    """The lease lasts until then, and some slack."""
    return found.lease_until - LEASE_SLACK if found.phase in {Phase.SHADOW, Phase.CANARY, Phase.PROBATION} else None


def _asked(approval: Approval) -> dict[str, Any]:
    return {
        "asked_at": view(approval.asked_at),
        "expires_at": view(approval.expires_at),
        "artifact_sha256": approval.artifact_sha256,
        "report_sha256": approval.report_sha256,
        "reasons": list(approval.asked_because),
        "excluded": [{"who": arn, "why": why} for arn, why in approval.excluded.items()],
        "decision": view(approval.decision),
        "by": approval.by,
        "reason": approval.reason,
        "decided_at": view(approval.decided_at),
    }


def _next_step(found: Rollout) -> str:  # noqa: C901, PLR0911, PLR0912  one for each phase
    """What people may do about it, in a sentence."""
    model, number = found.model, found.version
    end_it = f'tidegate rollout {model} --end --reason "..."'
    again = f"tidegate train {model} --wait"
    match found.phase:
        case Phase.APPROVAL if found.approval and found.approval.decision:
            return "nothing: the decision is recorded, and the release continues in a moment"
        case Phase.APPROVAL:
            return f'an approver reads its report and decides: tidegate approve {model} {number} --reason "..."'
        case Phase.SHADOW:
            return f"nothing: it continues automatically; to end it by hand: {end_it}"
        case Phase.CANARY if found.plan.at_deadline is AtDeadline.WAIT:
            return f"nothing: it waits at its last share until there is enough evidence; to end it by hand: {end_it}"
        case Phase.CANARY:
            return f"nothing: it continues automatically; to end it by hand: {end_it}"
        case Phase.PROBATION:
            return f'nothing: it continues automatically; to roll back: tidegate rollback {model} --reason "..."'
        case Phase.DONE:
            return f"nothing: see what it serves: tidegate model show {model}"
        case Phase.ROLLED_BACK if found.unproven:
            return (
                "give the next release more time or traffic (docs/canary.md#low-traffic), or let it wait "
                f"(release.at_deadline: wait), then train again: {again}"
            )
        case Phase.ROLLED_BACK:
            return f"correct what the reason names, then train again: {again}"
        case Phase.REJECTED:
            return f"correct what the approver names, then train again: {again}"
        case Phase.EXPIRED:
            return f"train again, and have it approved in time: {again}"
        case Phase.OVERTAKEN | Phase.STOPPED:
            return f"train again if you still want it: {again}"
        case Phase.FAILED:
            return f"look at the run's execution (tidegate runs {model} {found.run_id}), then train again: {again}"
