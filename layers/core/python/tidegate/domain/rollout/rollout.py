"""The second half of a release, as decisions: approval, shadow, canary, promotion, probation.

    approval -> shadow -> canary 1 %, 5 %, 25 %, 50 % -> promotion -> probation -> done
    (if asked)  (if asked)      each step baked and judged              judged the other way round

A rollout is one record. `advance` is asked again and again, with the time, the route and what both arms did since it
was asked last; it answers with the next record and the change of the route that belongs to it, which are written
together or not at all. So whoever dies in the middle of a step has done nothing, and is asked again.

Durations follow one clock, that of the state machine; what functions believe the time is does not matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

from tidegate.domain.registry.ledger import ALL_BP, Cause, RollbackCause
from tidegate.domain.registry.route import CandidateRole, Route
from tidegate.domain.registry.version import Version, VersionStatus
from tidegate.domain.rollout import canary, changes
from tidegate.domain.rollout.canary import CanaryOutcome, Look, Metric
from tidegate.domain.rollout.changes import RouteChange
from tidegate.kernel import english
from tidegate.kernel.documents import Document, StoredForm
from tidegate.kernel.errors import ConflictError, ForbiddenError
from tidegate.kernel.roles import same_person

MOST_LOOKS = 500  # of one phase: a longer phase is looked at less often
LATE = 10  # so much rarer are the looks at a canary that waits beyond its deadline, and rarer still with time
LEASE_SLACK = timedelta(hours=1)  # beyond the next look; who holds a lease that is older has died
_SOONEST_SECONDS = 1
_BY_CHANCE = 1e-6  # no request came into a share: rarer than this, it is not for lack of requests
_BY_HAND = "what is served was changed by hand"


class Phase(StrEnum):
    """Where a rollout is; those from `DONE` on are final."""

    APPROVAL = "approval"  # waits for a second pair of eyes
    SHADOW = "shadow"  # scores the same requests, its answers go nowhere
    CANARY = "canary"  # answers a share of the requests
    PROBATION = "probation"  # promoted; the version before it keeps a small share
    DONE = "done"  # promoted, and its probation is over
    ROLLED_BACK = "rolled_back"  # evidence spoke against it, or none came in time
    REJECTED = "rejected"  # an approver said no
    EXPIRED = "expired"  # no approver said anything in time
    OVERTAKEN = "overtaken"  # another champion serves than the one it was judged against
    STOPPED = "stopped"  # people changed by hand what is served
    FAILED = "failed"  # a fault of the release itself

    @property
    def final(self) -> bool:
        """A final rollout never changes again."""
        return self not in {Phase.APPROVAL, Phase.SHADOW, Phase.CANARY, Phase.PROBATION}


class AtDeadline(StrEnum):
    """What becomes of a canary that has proved nothing in time."""

    ROLL_BACK = "roll_back"
    WAIT = "wait"  # go on at the last share until there is evidence, or somebody ends it


class Decision(StrEnum):
    """An approver's answer."""

    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a version gets in. Shares are in basis points; `slow_ms` is the latency target of a request."""

    approval_seconds: float | None  # None: nobody is asked
    shadow_seconds: float
    steps_bp: tuple[int, ...]  # none: promoted at once
    bake_seconds: float  # each step lasts at least this long
    min_requests: int  # and until the candidate has answered so many
    look_seconds: float
    deadline_seconds: float  # of the whole canary
    at_deadline: AtDeadline
    probation_seconds: float
    holdback_bp: int
    slow_ms: float
    demands: canary.Policy


@dataclass(frozen=True, slots=True)
class Approval:
    """What an approver is asked, and the answer. It holds for exactly these bytes and this report.

    `token` resumes the execution that waits; whoever has it can do so, so it is shown to nobody.
    """

    asked_at: datetime
    expires_at: datetime
    artifact_sha256: str
    report_sha256: str
    excluded: Mapping[str, str]  # ARN of those who may not decide -> why
    asked_because: tuple[str, ...] = ()
    token: str = ""
    decision: Decision | None = None
    by: str = ""
    reason: str = ""
    decided_at: datetime | None = None


def _with_probation(document: Document) -> Document:
    """Schema 2 of schema 1, which called probation the watch."""
    plan = dict(document["plan"])
    phase = document["phase"]
    return {
        **document,
        "phase": Phase.PROBATION.value if phase == "watch" else phase,
        "plan": plan | {"probation_seconds": plan.pop("watch_seconds")},
    }


def _as_counted_before(document: Document) -> Document:
    """Schema 3 of schema 2: looks may also count pairs of a shadow, how losses lie, and what is labelled. What an older
    look did not count stays unknown, and is judged as it was."""
    return dict(document)


@dataclass(frozen=True, slots=True)
class Rollout:
    """One version on its way in. `revision` counts its changes; every write names the one it replaces.

    `judged_against` is the champion that the gate compared the version with, `route_revisions` are the route's
    revisions under which the present phase served: captures name theirs, so evidence is theirs alone. `fetched` names
    what of the captures was counted already. `actor` is the execution's ARN. `page_sha256` is the page that people see.
    """

    FORM: ClassVar = StoredForm("rollout", upgrades=(_with_probation, _as_counted_before))

    model: str
    run_id: str
    version: int
    revision: int
    phase: Phase
    plan: Plan
    actor: str
    judged_against: int | None
    began_at: datetime
    since: datetime  # of the phase, or of the canary's step
    lease_until: datetime
    score_edges: tuple[float, ...] = ()
    step: int = 0  # of the canary, from 0
    deadline: datetime | None = None  # of the canary
    route_revisions: tuple[int, ...] = ()
    looks: tuple[Look, ...] = ()
    looks_before_step: int = 0
    fetched: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    verdict: Any = None  # CanaryVerdict as JSON, of the last look
    approval: Approval | None = None
    page_sha256: str | None = None
    promoted_at: datetime | None = None
    reason: str = ""
    ended_at: datetime | None = None
    unproven: bool = False  # it was rolled back at its deadline, for lack of evidence


@dataclass(frozen=True, slots=True)
class Evidence:
    """What both arms did since the last look, one entry for each route revision, and what was counted for it."""

    looks: tuple[Look, ...] = ()
    fetched: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VersionNote:
    """What a step writes on the rollout's version: a status that ends it, with the reason, or who approved it."""

    status: VersionStatus | None = None
    reason: str = ""
    approved_by: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What is written in one transaction."""

    rollout: Rollout
    change: RouteChange | None = None
    note: VersionNote | None = None


def begin(
    version: Version,
    plan: Plan,
    *,
    route: Route | None,
    judged_against: int | None,
    excluded: Mapping[str, str],
    score_edges: Sequence[float],
    actor: str,
    now: datetime,
) -> Step:
    """The first step: ask for approval, or go on to what follows it.

    Args:
        judged_against: the champion that the gate compared the version with; None when nothing served.
        excluded: ARNs of those who must not approve, each with the reason.
        score_edges: between bins of scores, see `canary.score_counts`; with none, scores are not compared.
        actor: whom the ledger names.
    """
    edges = tuple(score_edges)
    rollout = replace(_new(version, plan if edges else _scoreless(plan), judged_against, actor, now), score_edges=edges)
    if plan.approval_seconds is None or changes.overtaken(route, version, judged_against=judged_against):
        return _numbered(_enter(rollout, route, version, now), now)
    asked = Approval(
        asked_at=now,
        expires_at=now + timedelta(seconds=plan.approval_seconds),
        artifact_sha256=version.artifact_sha256,
        report_sha256=version.report_sha256,
        excluded=excluded,
        asked_because=version.approval_reasons,
    )
    return _numbered(Step(replace(rollout, approval=asked)), now)


def decline(
    version: Version, plan: Plan, phase: Phase, reason: str, *, judged_against: int | None, actor: str, now: datetime
) -> Step:
    """The first and last step of a version that does not even get to the first phase: it never serves.

    Args:
        phase: the final one that says why: OVERTAKEN, or anything else for a version that is rolled back.
        judged_against: as in `begin`; None too when it is not known.
    """
    return _numbered(_ended(_new(version, plan, judged_against, actor, now), phase, reason, version, now), now)


def advance(
    rollout: Rollout, *, route: Route | None, version: Version, evidence: Evidence, now: datetime, problem: str = ""
) -> Step:
    """The next step of a rollout that is not final; it may be to stay.

    Args:
        evidence: what was served since the last look, under `rollout.route_revisions`.
        problem: why the version's artifact must not serve (it is not what was approved, say); empty when it may.
    """
    looked = replace(rollout, looks=rollout.looks + evidence.looks, fetched=evidence.fetched or rollout.fetched)
    match rollout.phase:
        case Phase.APPROVAL:
            step = _asked(looked, route, version, now, problem)
        case Phase.SHADOW | Phase.CANARY:
            step = _tried(looked, route, version, now, problem)
        case Phase.PROBATION:
            step = _on_probation(looked, route, version, now, problem)
        case _:
            raise ConflictError(f"the rollout of {rollout.model} version {rollout.version} is over: {rollout.phase}")
    return _numbered(step, now)


def decide(
    rollout: Rollout,
    decision: Decision,
    *,
    by: str,
    reason: str,
    artifact_sha256: str,
    report_sha256: str,
    now: datetime,
) -> Step | None:
    """Record what an approver decides about exactly these bytes and this report; None when just that is recorded.

    Raises:
        ForbiddenError: the approver is one of those who made the version.
        ConflictError: nobody is asked (any more), somebody else has decided, or they saw something else.
    """
    named = f"{rollout.model} version {rollout.version}"
    asked = rollout.approval
    if asked is None:
        raise ConflictError(
            f"{named} needs no approval: its spec does not require one and changes no target",
            next_step=f"see where it is: tidegate rollout {rollout.model}",
        )
    for arn, why in asked.excluded.items():
        if same_person(arn, by):
            raise ForbiddenError(f"you cannot decide about {named} because you {why}", next_step="ask another approver")
    if (artifact_sha256, report_sha256) != (asked.artifact_sha256, asked.report_sha256):
        raise ConflictError(
            f"{named} changed since you looked at it: its artifact or report has a different SHA-256",
            next_step=f"read its report: tidegate report {rollout.model} {rollout.version}",
        )
    if asked.decision is not None:
        if asked.decision is decision and asked.by == by:
            return None
        raise ConflictError(
            f"{named} is already decided: {asked.decision} by {asked.by}, {asked.reason}",
            next_step=f"see where it is: tidegate rollout {rollout.model}",
        )
    if rollout.phase is not Phase.APPROVAL or now >= asked.expires_at:
        raise ConflictError(
            f"{named} no longer waits for approval: "
            + (rollout.reason or f"the deadline was {asked.expires_at.isoformat()}"),
            next_step=f"train it again: tidegate train {rollout.model}",
        )
    answered = replace(asked, decision=decision, by=by, reason=reason, decided_at=now)
    written = replace(rollout, approval=answered, revision=rollout.revision + 1)
    return Step(written, note=VersionNote(approved_by=by) if decision is Decision.APPROVE else None)


def stop(rollout: Rollout, *, route: Route | None, version: Version, cause: Cause) -> Step:
    """End a rollout by hand: on its way in the version leaves, a promoted one serves alone. Of a final one, itself."""
    if rollout.phase.final:
        return Step(rollout)
    return _numbered(_left(rollout, Phase.STOPPED, route, version, cause), cause.at)


def abandon(rollout: Rollout, *, route: Route | None, version: Version, fault: str, now: datetime) -> Step:
    """End a rollout that a fault of the release has ended: the champion serves alone. Of a final one, itself."""
    if rollout.phase.final:
        return Step(rollout)
    cause = replace(_cause(rollout, now, fault), rollback=RollbackCause.FAULT)
    return _numbered(_left(rollout, Phase.FAILED, route, version, cause), now)


def look_seconds(rollout: Rollout, now: datetime) -> float | None:
    """How often the evidence of the phase is looked at: `plan.look_seconds`, or less often in a phase that would take
    more than `MOST_LOOKS` looks. None in a phase without looks."""
    plan = rollout.plan
    match rollout.phase:
        case Phase.SHADOW:
            at_most = plan.shadow_seconds
        case Phase.CANARY:
            at_most = plan.deadline_seconds
            if rollout.deadline and now > rollout.deadline:
                at_most = LATE * (at_most + (now - rollout.deadline).total_seconds())
        case Phase.PROBATION:
            at_most = plan.probation_seconds
        case _:
            return None
    return max(plan.look_seconds, at_most / MOST_LOOKS)


def wait_seconds(rollout: Rollout, now: datetime) -> int:
    """How long until the rollout wants to be advanced again; 0 when it is final."""
    plan = rollout.plan
    if rollout.phase is Phase.APPROVAL:
        until = rollout.approval.expires_at if rollout.approval else now
        return max(_SOONEST_SECONDS, _whole((until - now).total_seconds()))
    interval = look_seconds(rollout, now)
    if interval is None:
        return 0
    lasts = {
        Phase.SHADOW: plan.shadow_seconds,
        Phase.CANARY: plan.bake_seconds,
        Phase.PROBATION: plan.probation_seconds,
    }[rollout.phase]
    left = (rollout.since + timedelta(seconds=lasts) - now).total_seconds()
    return max(_SOONEST_SECONDS, _whole(min(interval, left) if left > 0 else interval))


def still_needed(rollout: Rollout) -> dict[str, int | None]:
    """By metric that promotion waits for and that has not passed: about how many more requests, scores or labels of the
    version it needs, if it goes on as so far; None where nothing can be said, or where it would not pass."""
    _, verdict = _judged(rollout)
    demands = {demand.metric: demand for demand in rollout.plan.demands.demands}
    open_ = [each for each in verdict.findings if each.required and each.outcome is not canary.CanaryOutcome.PASS]
    return {
        each.metric.value: canary.still_needed(rollout.looks, each, demands[each.metric], rollout.plan.demands)
        for each in open_
    }


def missed_share(rollout: Rollout) -> str:
    """That the traffic has so few routing keys that none of them falls into the share; empty when that is not so.

    A request without a key falls into the share by its own chance, so many requests of which none did have keys.
    """
    match rollout.phase:
        case Phase.CANARY:
            share_bp = rollout.plan.steps_bp[rollout.step]
        case Phase.PROBATION:
            share_bp = rollout.plan.holdback_bp
        case _:
            return ""
    looks = rollout.looks[rollout.looks_before_step :]
    sides = [sum(look.candidate.requests for look in looks), sum(look.champion.requests for look in looks)]
    inside, outside = sides if rollout.phase is Phase.CANARY else reversed(sides)
    if inside or (1 - share_bp / ALL_BP) ** outside > _BY_CHANCE:
        return ""
    return (
        f"no routing key falls into this share of {share_bp / 100:g} %: none of {outside:,} requests did, so they have "
        "few keys"
    )


def _new(version: Version, plan: Plan, judged_against: int | None, actor: str, now: datetime) -> Rollout:
    return Rollout(
        model=version.model,
        run_id=version.run_id,
        version=version.number,
        revision=0,
        phase=Phase.APPROVAL,
        plan=plan,
        actor=actor,
        judged_against=judged_against,
        began_at=now,
        since=now,
        lease_until=now,
    )


def _scoreless(plan: Plan) -> Plan:
    demands = tuple(demand for demand in plan.demands.demands if demand.metric is not Metric.SCORES)
    return replace(plan, demands=replace(plan.demands, demands=demands))


def _asked(rollout: Rollout, route: Route | None, version: Version, now: datetime, problem: str) -> Step:
    asked = rollout.approval
    assert asked is not None  # `begin` makes no other rollout of this phase  # noqa: S101
    if problem:
        return _ended(rollout, Phase.ROLLED_BACK, problem, version, now)
    if asked.decision is Decision.APPROVE:
        return _enter(rollout, route, version, now)
    if asked.decision is Decision.REJECT:
        return _ended(rollout, Phase.REJECTED, f"rejected by {asked.by}: {asked.reason}", version, now)
    if now >= asked.expires_at:
        hours = (asked.expires_at - asked.asked_at).total_seconds() / 3600
        return _ended(rollout, Phase.EXPIRED, f"nobody approved it within {english.count(hours, 'hour')}", version, now)
    return Step(rollout)


def _tried(rollout: Rollout, route: Route | None, version: Version, now: datetime, problem: str) -> Step:
    """Shadow and canary: on its way in."""
    if not _on_trial(rollout, route):
        return Step(_final(rollout, Phase.STOPPED, _BY_HAND, now))
    judged, verdict = _judged(_following(rollout, route))
    if problem or verdict.outcome is CanaryOutcome.FAIL:
        why = problem or "; ".join(verdict.reasons)
        return _left(judged, Phase.ROLLED_BACK, route, version, _blamed(judged, now, why, problem))
    if rollout.phase is Phase.SHADOW:
        baked = now >= rollout.since + timedelta(seconds=rollout.plan.shadow_seconds)
        return _canary(judged, 0, route, version, now) if baked else Step(judged)
    return _next_share(judged, verdict, route, version, now)


def _next_share(
    rollout: Rollout, verdict: canary.CanaryVerdict, route: Route | None, version: Version, now: datetime
) -> Step:
    plan, last = rollout.plan, rollout.step + 1 >= len(rollout.plan.steps_bp)
    answered = sum(look.candidate.requests for look in rollout.looks[rollout.looks_before_step :])
    enough = answered >= plan.min_requests or (not last and missed_share(rollout))
    baked = now >= rollout.since + timedelta(seconds=plan.bake_seconds) and enough
    if baked and last and verdict.outcome is CanaryOutcome.PASS:
        return _promoted(rollout, route, version, now, f"passed its canary: {'; '.join(verdict.reasons)}")
    if rollout.deadline and now >= rollout.deadline and plan.at_deadline is AtDeadline.ROLL_BACK:
        lacking = "too few requests" if verdict.outcome is CanaryOutcome.PASS else "no evidence"
        found = "; ".join(filter(None, (missed_share(rollout), *verdict.reasons)))
        why = f"{lacking} within {english.count(plan.deadline_seconds / 3600, 'hour')}: {found}"
        cause = replace(_cause(rollout, now, why), rollback=RollbackCause.DEADLINE)
        return _left(rollout, Phase.ROLLED_BACK, route, version, cause)
    if baked and not last:
        return _canary(rollout, rollout.step + 1, route, version, now)
    return Step(rollout)


def _on_probation(rollout: Rollout, route: Route | None, version: Version, now: datetime, problem: str) -> Step:
    if route is None or not changes.on_probation(route, rollout.version):
        return Step(_final(rollout, Phase.STOPPED, _BY_HAND, now))
    judged, verdict = _judged(rollout)
    if problem or verdict.outcome is CanaryOutcome.FAIL:
        why = problem or "; ".join(verdict.reasons)
        return _returned(judged, route, _blamed(judged, now, why, problem))
    if now < rollout.since + timedelta(seconds=rollout.plan.probation_seconds):
        return Step(judged)
    hours = english.count(rollout.plan.probation_seconds / 3600, "hour")
    cause = _cause(judged, now, f"nothing was found against it in {hours} on probation", version)
    return Step(_final(judged, Phase.DONE, cause.reason, now), changes.end_probation(route, version, cause))


def _enter(rollout: Rollout, route: Route | None, version: Version, now: datetime) -> Step:
    """What follows approval: shadow, canary or promotion."""
    late = changes.overtaken(route, version, judged_against=rollout.judged_against)
    if late:
        return _ended(rollout, Phase.OVERTAKEN, late, version, now)
    if version.status is not VersionStatus.ACCEPTED:
        return Step(_final(rollout, Phase.STOPPED, _BY_HAND, now))
    if rollout.plan.shadow_seconds and route is not None and route.champion:
        why = f"version {version.number} scores the same requests first"
        change = changes.shadow(route, version, _cause(rollout, now, why))
        begun = replace(rollout, phase=Phase.SHADOW, since=now, route_revisions=(_revision(route, change),))
        return Step(begun, change)
    return _canary(rollout, 0, route, version, now)


def _canary(rollout: Rollout, step: int, route: Route | None, version: Version, now: datetime) -> Step:
    """The canary's step, or promotion where the plan has none."""
    plan = rollout.plan
    if not plan.steps_bp:
        return _promoted(rollout, route, version, now, "accepted by the gate")
    share = plan.steps_bp[step]
    seen = sum(look.candidate.requests for look in rollout.looks)
    found = f"nothing against it in {english.count(seen, 'request')}" if seen else "accepted by the gate"
    cause = _cause(rollout, now, f"canary step {step + 1} of {len(plan.steps_bp)}, {share / 100:g} %: {found}", version)
    change = changes.canary(route, version, share, cause)
    first = rollout.phase is not Phase.CANARY
    begun = replace(
        rollout,
        phase=Phase.CANARY,
        step=step,
        since=now,
        deadline=now + timedelta(seconds=plan.deadline_seconds) if first else rollout.deadline,
        looks=() if first else rollout.looks,
        looks_before_step=0 if first else len(rollout.looks),
        verdict=None if first else rollout.verdict,
        route_revisions=(*(() if first else rollout.route_revisions), _revision(route, change)),
    )
    return Step(begun, change)


def _promoted(rollout: Rollout, route: Route | None, version: Version, now: datetime, why: str) -> Step:
    """Promotion, and probation when there is a version to hold back."""
    probation = rollout.plan.probation_seconds > 0 and rollout.plan.holdback_bp > 0
    cause = _cause(rollout, now, why, version)
    change = changes.promote(route, version, cause, holdback_bp=rollout.plan.holdback_bp if probation else 0)
    after = change.route if change else route
    if after is None or not changes.on_probation(after, version.number):
        return Step(replace(_final(rollout, Phase.DONE, why, now), promoted_at=now), change)
    begun = replace(
        rollout,
        phase=Phase.PROBATION,
        since=now,
        promoted_at=now,
        reason=why,
        looks=(),
        looks_before_step=0,
        verdict=None,
        route_revisions=(after.revision,),
    )
    return Step(begun, change)


def _returned(rollout: Rollout, route: Route, cause: Cause) -> Step:
    """Back to the version that was held back."""
    change = changes.roll_back_promotion(route, rollout.version, cause)
    return Step(_final(rollout, Phase.ROLLED_BACK, cause.reason, cause.at), change)


def _left(rollout: Rollout, phase: Phase, route: Route | None, version: Version, cause: Cause) -> Step:
    """The version leaves; one that is promoted already serves alone."""
    if rollout.phase is Phase.PROBATION:
        change = changes.end_probation(route, version, replace(cause, approved_by=version.approved_by))
        return Step(_final(rollout, phase, cause.reason, cause.at), change)
    change = changes.roll_back_trial(route, version, cause)
    if change is None:
        return _ended(rollout, phase, cause.reason, version, cause.at)
    closed = VersionNote(VersionStatus.ROLLED_BACK, cause.reason)
    left = replace(_final(rollout, phase, cause.reason, cause.at), unproven=cause.rollback is RollbackCause.DEADLINE)
    return Step(left, change, closed)


def _ended(rollout: Rollout, phase: Phase, reason: str, version: Version, now: datetime) -> Step:
    """Over, and not on trial. The version is closed unless it is already, or people have put it to use by hand."""
    status = VersionStatus.OVERTAKEN if phase is Phase.OVERTAKEN else VersionStatus.ROLLED_BACK
    note = VersionNote(status, reason) if version.status is VersionStatus.ACCEPTED else None
    return Step(_final(rollout, phase, reason, now), note=note)


def _final(rollout: Rollout, phase: Phase, reason: str, now: datetime) -> Rollout:
    return replace(rollout, phase=phase, reason=reason, ended_at=now, fetched={})


def _judged(rollout: Rollout) -> tuple[Rollout, canary.CanaryVerdict]:
    """The verdict on all looks of the phase; alone where there is no version to compare with."""
    alone = rollout.judged_against is None
    verdict = (canary.judge_alone if alone else canary.judge)(rollout.looks, rollout.plan.demands)
    return replace(rollout, verdict=verdict.to_json()), verdict


def _on_trial(rollout: Rollout, route: Route | None) -> bool:
    if route is None:
        return False
    if rollout.phase is Phase.SHADOW:
        return route.shadow is not None and route.shadow.version == rollout.version
    ours = route.candidate is not None and route.candidate.version == rollout.version
    return ours and route.candidate_role is CandidateRole.CANARY


def _following(rollout: Rollout, route: Route | None) -> Rollout:
    """People may change what does not touch the trial (resume the model, say): it goes on under a new revision."""
    revision = _revision(route, None)
    if revision in rollout.route_revisions:
        return rollout
    return replace(rollout, route_revisions=(*rollout.route_revisions, revision))


def _cause(rollout: Rollout, now: datetime, reason: str, version: Version | None = None) -> Cause:
    return Cause(now, rollout.actor, reason, version.approved_by if version else None)


def _blamed(rollout: Rollout, now: datetime, why: str, problem: str) -> Cause:
    """The cause of a rollback that the version itself is to blame for: its artifact (`problem`), or the evidence."""
    blamed = RollbackCause.ARTIFACT if problem else RollbackCause.EVIDENCE
    return replace(_cause(rollout, now, why), rollback=blamed)


def _revision(route: Route | None, change: RouteChange | None) -> int:
    if change is not None:
        return change.route.revision
    return route.revision if route else 0


def _numbered(step: Step, now: datetime) -> Step:
    """The step as it is written: the record's next revision, with the lease that keeps other releases out."""
    wait = timedelta(seconds=wait_seconds(step.rollout, now))
    numbered = replace(step.rollout, revision=step.rollout.revision + 1, lease_until=now + wait + LEASE_SLACK)
    return replace(step, rollout=numbered)


def _whole(seconds: float) -> int:
    return int(-(-seconds // 1))
