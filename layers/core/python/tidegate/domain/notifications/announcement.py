"""What people and other systems learn of a change in the registry.

Every transition becomes one announcement, which systems get as an event. People get one message of each thing that
happened: where a rollout's move and a ledger entry are written together, the entry announces them. A shadow, whose
entry does not name it, and what ends before it touched the route are announced by the rollout.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import assert_never

from tidegate.domain.monitoring.health import Health, HealthRecord
from tidegate.domain.registry.ledger import ALL_BP, Action, LedgerEntry
from tidegate.domain.registry.run import Run, RunStatus
from tidegate.domain.rollout.rollout import Approval, Decision, Phase, Rollout
from tidegate.kernel.plain_text import one_line, shown

MAX_SUBJECT = 100  # ASCII characters; docs.aws.amazon.com/sns/latest/api/API_Publish.html


class Event(StrEnum):
    """What happened; as EventBridge calls it, its detail type."""

    ROUTE_CHANGED = "Tidegate Route Changed"
    ROLLOUT_MOVED = "Tidegate Rollout Moved"
    APPROVAL_REQUESTED = "Tidegate Approval Requested"
    APPROVAL_DECIDED = "Tidegate Approval Decided"
    RUN_ENDED = "Tidegate Run Ended"
    HEALTH_CHANGED = "Tidegate Health Changed"


class Severity(StrEnum):
    """What it asks of whoever reads it."""

    INFO = "info"  # nothing
    ACTION_NEEDED = "action_needed"  # a decision that somebody waits for
    WARNING = "warning"  # a look: something ended otherwise than hoped


@dataclass(frozen=True, slots=True)
class Change:
    """One record of the registry, before (None: it is new) and after."""

    before: LedgerEntry | Run | Rollout | HealthRecord | None
    after: LedgerEntry | Run | Rollout | HealthRecord


@dataclass(frozen=True, slots=True)
class Announcement:
    """What happened to a model. The same change always gives the same `id`, so that repetitions can be dropped.

    `title` goes on where the model's name stops, `facts` are sentences, `commands` are what to type behind `tidegate`.
    """

    id: str
    event: Event
    at: datetime
    model: str
    version: int | None
    run_id: str | None
    severity: Severity
    title: str
    facts: str
    advice: str
    commands: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    actor: str = ""  # the ARN of whoever did it
    approved_by: str | None = None  # the ARN of whoever had to agree
    for_people: bool = True
    owner: str = ""
    business_unit: str = ""


def announcement(change: Change) -> Announcement | None:
    """What a change means; None when it is no transition. Owner and business unit are for others to fill in."""
    before = change.before
    match change.after:
        case LedgerEntry() as entry:
            return _of_entry(entry) if before is None else None
        case Run() as run:
            was_final = isinstance(before, Run) and before.status.final
            return _of_run(run) if _ends_a_release(run) and not was_final else None
        case Rollout() as rollout:
            return _of_rollout(before if isinstance(before, Rollout) else None, rollout)
        case HealthRecord() as record:
            return _of_health(before if isinstance(before, HealthRecord) else None, record)
        case never:
            assert_never(never)


def _ends_a_release(run: Run) -> bool:
    """A run that only makes a version again is reported to whoever asked for it, and to nobody else."""
    return run.reproduces is None and run.status in {RunStatus.ACCEPTED, RunStatus.REJECTED, RunStatus.FAILED}


def subject(notice: Announcement, *, stage: str) -> str:
    """One line for an e-mail's subject."""
    return one_line(f"[{stage}] {notice.model}: {notice.title}")[:MAX_SUBJECT]


def text(notice: Announcement, *, stage: str) -> str:
    """The message for people: what, why, who, when, and what to do."""
    reasons = [one_line(reason) for reason in notice.reasons if reason.strip()]
    why = [f"Why: {reasons[0]}"] if len(reasons) == 1 else ["Why:", *(f"- {reason}" for reason in reasons)]
    owner, unit = one_line(notice.owner), one_line(notice.business_unit)
    lines = [
        f"{notice.model}: {notice.title}",
        "",
        notice.facts,
        *(why if reasons else ()),
        *((f"Who: {one_line(notice.actor)}",) if notice.actor else ()),
        *((f"Approved by: {one_line(notice.approved_by)}",) if notice.approved_by else ()),
        f"When: {notice.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "",
        f"What to do: {notice.advice}",
        *(f"    tidegate --stage {stage} {command}" for command in notice.commands),
        "",
        "All changes of what is served:",
        f"    tidegate --stage {stage} ledger {notice.model}",
        "",
        f"Model of {owner} ({unit}). Stage {stage}, {notice.severity}, {notice.id}",
    ]
    return shown("\n".join(lines))


def _of_entry(entry: LedgerEntry) -> Announcement:
    severity, title, facts = _words(entry)
    advice, commands = "nothing, if this was expected", (f"model show {entry.model}",)
    match Action(entry.action):
        case Action.CANARY | Action.PROMOTE | Action.END_PROBATION:
            advice, commands = "nothing; to see how it goes:", (f"rollout {entry.model}",)
        case Action.ROLLBACK:
            advice, commands = "find out what was wrong with the version that left", (f"rollout {entry.model}",)
        case Action.KILL:
            advice, commands = "resume the model when the cause is gone", (f'resume {entry.model} --reason "..."',)
        case Action.ACKNOWLEDGE:
            advice, commands = "make sure that you agree", (f"ledger verify {entry.model}",)
        case Action.SPLIT:
            advice, commands = "end the split when you know enough", (f'split {entry.model} --end --reason "..."',)
        case _:
            pass
    if entry.killed and Action(entry.action) is not Action.KILL:
        facts += " The model is killed: the fallback answers everything until somebody resumes it."
    return Announcement(
        id=f"{entry.model}/ledger/{entry.seq}",
        event=Event.ROUTE_CHANGED,
        at=entry.at,
        model=entry.model,
        version=entry.version,
        run_id=entry.run_id,
        severity=severity,
        title=title,
        facts=facts,
        advice=advice,
        commands=commands,
        reasons=(entry.reason,),
        actor=entry.actor,
        approved_by=entry.approved_by,
        for_people=Action(entry.action) is not Action.SHADOW,
    )


def _words(entry: LedgerEntry) -> tuple[Severity, str, str]:  # noqa: C901, PLR0911, PLR0912  one for each action
    """Severity, title and facts of an entry."""
    serves, before = _named(entry.version), _named(entry.previous_version)
    share = f"{entry.weight_bp / 100:g} %"
    match Action(entry.action):
        case Action.FALLBACK:
            return Severity.INFO, "the fallback answers", f"Run {entry.run_id} made it; no version serves yet."
        case Action.SHADOW:
            return Severity.INFO, "a version is in shadow mode", f"Run {entry.run_id} made it; {serves} serves."
        case Action.CANARY:
            return Severity.INFO, f"{serves} answers {share} of the requests", f"The rest goes to {before}."
        case Action.PROMOTE if entry.weight_bp < ALL_BP and not entry.killed:
            rest = f"The rest goes to {before} while it is on probation."
            return Severity.INFO, f"{serves} is promoted", f"It answers {share} of the requests. {rest}"
        case Action.PROMOTE:
            return Severity.INFO, f"{serves} is promoted", f"It takes the place of {before}."
        case Action.END_PROBATION:
            return Severity.INFO, f"{serves} answers all requests", f"Its probation is over: {before} no longer serves."
        case Action.ROLLBACK:
            left = f"{before} was rolled back" if entry.previous_version else f"rolled back to {serves}"
            return Severity.WARNING, left, f"All requests go to {serves}."
        case Action.KILL:
            return Severity.WARNING, "killed", "The fallback answers everything."
        case Action.RESUME:
            return Severity.INFO, "resumed", f"Requests go to {serves} again."
        case Action.SPLIT:
            return Severity.INFO, f"{serves} answers {share} of the requests", f"A split: the rest goes to {before}."
        case Action.END_SPLIT:
            return Severity.INFO, "the split is over", f"All requests go to {serves}; {before} no longer serves."
        case Action.ACKNOWLEDGE:
            what = "; ".join(f"entry {each.seq}: {each.problem}" for each in entry.acknowledged)
            return Severity.WARNING, "a break of its ledger was acknowledged", f"What was found: {what}."
        case never:
            assert_never(never)


def _of_run(run: Run) -> Announcement:
    notice = Announcement(
        id=f"{run.model}/run/{run.run_id}",
        event=Event.RUN_ENDED,
        at=run.ended_at or run.requested_at,
        model=run.model,
        version=run.version,
        run_id=run.run_id,
        severity=Severity.WARNING,
        title=f"the gate rejected {_named(run.version)}",
        facts="What is served does not change.",
        advice="read the reasons, fix the cause and train again",
        commands=(f"report {run.model} {run.version}",),
        actor=run.requested_by,
    )
    if run.status is RunStatus.ACCEPTED:
        title = f"{_named(run.version)} passed the gate"
        return replace(
            notice, severity=Severity.INFO, title=title, facts="Its rollout begins.", advice="nothing; its report:"
        )
    if run.status is RunStatus.FAILED:
        # Its message may quote values of the dataset: the command shows it to those who may see it.
        fault = (f"{run.error.name} in step {run.error.stage}",) if run.error else ()
        return replace(
            notice,
            title="training failed",
            reasons=fault,
            advice="read the error, fix the cause and train again",
            commands=(f"runs {run.model} {run.run_id}",),
        )
    return notice


def _of_rollout(before: Rollout | None, after: Rollout) -> Announcement | None:
    asked = after.approval
    if asked and asked.decision and not (before and before.approval and before.approval.decision):
        return _decided(after, asked, asked.decision)
    if before is not None and before.phase is after.phase:
        return None
    if asked and after.phase is Phase.APPROVAL:
        return _asked(after, asked)
    return _moved(after)


def _asked(rollout: Rollout, asked: Approval) -> Announcement:
    until = f"{asked.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    named = f"{rollout.model} {rollout.version}"
    return replace(
        _about(rollout, Event.APPROVAL_REQUESTED, asked.asked_at),
        severity=Severity.ACTION_NEEDED,
        title=f"{_named(rollout.version)} waits for approval",
        facts=f"It passed the gate. Without an approval until {until} it will not serve.",
        reasons=asked.asked_because or ("the model's spec requires an approval",),
        advice="read its report, then decide, unless you made this version",
        commands=(f"report {named}", f'approve {named} --reason "..."', f'reject {named} --reason "..."'),
    )


def _decided(rollout: Rollout, asked: Approval, decision: Decision) -> Announcement:
    notice = replace(
        _about(rollout, Event.APPROVAL_DECIDED, asked.decided_at or rollout.since),
        title=f"{_named(rollout.version)} was approved",
        facts="Its rollout continues.",
        reasons=(asked.reason,),
        actor=asked.by,
    )
    if decision is Decision.APPROVE:
        return notice
    title = f"{_named(rollout.version)} was rejected by its approver"
    return replace(
        notice,
        severity=Severity.WARNING,
        title=title,
        facts="It will not serve.",
        advice="fix what the approver found and train again",
        commands=(f"train {rollout.model}",),
    )


def _moved(rollout: Rollout) -> Announcement:
    severity, title, facts = _phase_words(rollout)
    notice = replace(
        _about(rollout, Event.ROLLOUT_MOVED, rollout.ended_at or rollout.since),
        severity=severity,
        title=title,
        facts=facts,
        reasons=(rollout.reason,) if rollout.reason else (),
    )
    match rollout.phase:
        case Phase.SHADOW:
            return notice
        case Phase.ROLLED_BACK | Phase.EXPIRED | Phase.OVERTAKEN | Phase.STOPPED | Phase.FAILED:
            return replace(
                notice,
                advice="train again, if it is still wanted",
                commands=(f"train {rollout.model}",),
                for_people=not rollout.route_revisions,
            )
        case _:
            return replace(notice, for_people=False)


def _phase_words(rollout: Rollout) -> tuple[Severity, str, str]:  # noqa: PLR0911  one for each phase
    """Severity, title and facts of a rollout's phase."""
    named = _named(rollout.version)
    ended = "It does not serve."
    match rollout.phase:
        case Phase.APPROVAL:
            return Severity.ACTION_NEEDED, f"{named} waits for approval", ended
        case Phase.SHADOW:
            facts = "It scores the same requests as the version that serves; its answers are not returned."
            return Severity.INFO, f"{named} is in shadow mode", facts
        case Phase.CANARY:
            return Severity.INFO, f"{named} is in its canary", "It answers a share of the requests."
        case Phase.PROBATION:
            return (
                Severity.INFO,
                f"{named} is on probation",
                "It is promoted; the version before it keeps a small share.",
            )
        case Phase.DONE:
            return Severity.INFO, f"the rollout of {named} is done", "It is promoted."
        case Phase.ROLLED_BACK:
            return Severity.WARNING, f"{named} was rolled back", ended
        case Phase.REJECTED:
            return Severity.WARNING, f"{named} was rejected by its approver", ended
        case Phase.EXPIRED:
            return Severity.WARNING, f"nobody approved {named} in time", ended
        case Phase.OVERTAKEN:
            return Severity.WARNING, f"{named} was overtaken", ended
        case Phase.STOPPED:
            return Severity.INFO, f"the rollout of {named} was ended by hand", "What is served is in the ledger."
        case Phase.FAILED:
            return Severity.WARNING, f"the rollout of {named} failed", "What is served is in the ledger."
        case never:
            assert_never(never)


def _of_health(before: HealthRecord | None, after: HealthRecord) -> Announcement | None:
    if after.acknowledged_at and after.acknowledged_at != (before.acknowledged_at if before else None):
        return _acknowledged(after, after.acknowledged_at)
    known = before.health if before else Health.UNKNOWN
    return _stands(before, after) if after.health is not known else _of_targets(before, after)


def _missed(record: HealthRecord | None) -> Mapping[str, str]:
    """Sentences of the targets that traffic misses, by name."""
    missed: Mapping[str, str] = ((record.summary if record else None) or {}).get("missed") or {}
    return missed


def _of_targets(before: HealthRecord | None, after: HealthRecord) -> Announcement | None:
    """A target that is missed since this look, or all that are met again."""
    was, now = _missed(before), _missed(after)
    notice = _of_record(after, after.looked_at)
    if set(now) - set(was):
        return replace(
            notice,
            severity=Severity.WARNING,
            title=f"misses {', '.join(sorted(now))}",
            facts=f"The last 24 hours of traffic miss targets of its spec. {_sentence(after.version)} keeps serving: "
            "Tidegate changes nothing.",
            reasons=tuple(now.values()),
            advice="find out whether to change the version, its traffic or the target "
            "(docs/monitoring.md#a-target-is-missed)",
        )
    if was and not now:
        return replace(notice, title="meets its targets again", facts="No target is shown to be missed any longer.")
    return None


def _acknowledged(record: HealthRecord, at: datetime) -> Announcement:
    return replace(
        _of_record(record, at),
        title="was acknowledged",
        facts="It is judged afresh from now on, and may be trained automatically again.",
        reasons=(record.acknowledged_because,),
        actor=record.acknowledged_by,
    )


def _stands(before: HealthRecord | None, after: HealthRecord) -> Announcement:
    """A health other than before. People hear nothing of traffic that came or went, only what they were waiting for."""
    notice = replace(_of_record(after, after.looked_at), reasons=(*after.reasons, *_missed(after).values()))
    match after.health:
        case Health.NEEDS_REDESIGN:
            acknowledge = f'acknowledge {after.model} --reason "..."'
            return replace(
                notice,
                severity=Severity.ACTION_NEEDED,
                title="needs redesign",
                facts="Training again does not help, so it is not trained automatically until somebody acknowledges "
                "this. "
                "What is served does not change.",
                advice="find the cause and fix it (docs/monitoring.md), then acknowledge it",
                commands=(*notice.commands, acknowledge),
            )
        case Health.DRIFTED:
            trained = " A training starts automatically." if after.wanted else ""
            follows = f" It is not trained yet: {after.held_back}." if after.held_back else trained
            facts = f"{_sentence(after.version)} gets traffic unlike that of its training, or its answers are worse."
            return replace(notice, title="has drifted", facts=f"{facts}{follows}")
        case Health.STEADY:
            drifted = before is not None and before.health is Health.DRIFTED
            waited_for = drifted or (before is not None and before.since == before.acknowledged_at)
            title = "is steady again" if waited_for else "is steady"
            return replace(notice, title=title, facts="Nothing was found.", for_people=waited_for)
        case Health.UNKNOWN:
            return replace(notice, title="cannot be judged", facts="There is too little traffic.", for_people=False)
        case never:
            assert_never(never)


def _of_record(record: HealthRecord, at: datetime) -> Announcement:
    return Announcement(
        id=f"{record.model}/health/{record.revision}",
        event=Event.HEALTH_CHANGED,
        at=at,
        model=record.model,
        version=record.version,
        run_id=None,
        severity=Severity.INFO,
        title="",
        facts="",
        advice="nothing; to see what was found:",
        commands=(f"drift {record.model}",),
    )


def _about(rollout: Rollout, event: Event, at: datetime) -> Announcement:
    return Announcement(
        id=f"{rollout.model}/rollout/{rollout.run_id}/{rollout.revision}",
        event=event,
        at=at,
        model=rollout.model,
        version=rollout.version,
        run_id=rollout.run_id,
        severity=Severity.INFO,
        title="",
        facts="",
        advice="nothing; to see how it goes:",
        commands=(f"rollout {rollout.model}",),
    )


def _named(version: int | None) -> str:
    return "the fallback" if version is None else f"version {version}"


def _sentence(version: int | None) -> str:
    """The name as a sentence begins with it."""
    named = _named(version)
    return f"{named[0].upper()}{named[1:]}"
