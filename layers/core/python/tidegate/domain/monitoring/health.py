"""What follows from the verdicts on a served model: train again, ask people, or leave it alone.

A model's health is one record. Retraining is damped: a cooldown between two trainings that nobody asked for, at most
so many within a while, none while a release is under way. And it is given up where it does not help: when candidates
are turned away in a row, when drift persists after a promotion, or when the cause is one that training would only
learn: a broken feed, new categories in masses, a target that is no longer what it was. Then people decide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

from tidegate.domain.registry.ledger import Seen
from tidegate.kernel import english
from tidegate.kernel.documents import StoredForm


class Trigger(StrEnum):
    """What asks for a training."""

    SCHEDULE = "schedule"
    DRIFT = "drift"
    QUALITY = "quality"


class Health(StrEnum):
    """How a model stands."""

    UNKNOWN = "unknown"  # too little was seen to say
    STEADY = "steady"
    DRIFTED = "drifted"  # something changed; training again may help
    NEEDS_REDESIGN = "needs_redesign"  # training again does not help: people have to look


class TrainingOutcome(StrEnum):
    """What became of a training that monitoring started."""

    UNDER_WAY = "under_way"
    PROMOTED = "promoted"
    TURNED_AWAY = "turned_away"  # by gate, approver or canary
    UNPROVEN = "unproven"  # its canary had too little evidence by the deadline: that says nothing of the version
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A training that monitoring started."""

    run_id: str
    trigger: Trigger
    at: datetime
    outcome: TrainingOutcome = TrainingOutcome.UNDER_WAY
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What the verdicts on a version's windows say, in the words of this decision. Sentences say why.

    `unfixable` names causes that training would only learn. `window_from` is the start of the shortest window, and
    `problem` says why nothing can be judged at all.
    """

    version: int | None
    judged: bool  # at least one window had enough rows
    drift: tuple[str, ...] = ()
    quality: tuple[str, ...] = ()
    unfixable: tuple[str, ...] = ()
    window_from: datetime | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """The spec's `monitoring` part, as far as it decides about training."""

    retrain_on: frozenset[Trigger]
    every: timedelta | None
    cooldown: timedelta
    at_most: int
    within: timedelta
    give_up_after: int


@dataclass(frozen=True, slots=True)
class HealthRecord:
    """A model's health record. `revision` counts its changes; every write names the one it replaces.

    `attempts` are the latest trainings that monitoring started, oldest first. `wanted` is the trigger of a training
    that is due; whoever dispatches it clears it by recording the attempt. `last_trained_at` counts every accepted
    version. `tampered` says what of the model is not what was recorded, and `ledger_seen` is the ledger's entry that
    the last look came to. `reporters` has, by caller (an IAM ARN), how many outcomes they reported.
    """

    FORM: ClassVar = StoredForm("health of a model", upgrades=(dict,))  # schema 2 may call an attempt unproven

    model: str
    revision: int
    health: Health
    since: datetime
    looked_at: datetime
    version: int | None = None
    reasons: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    wanted: Trigger | None = None
    held_back: str = ""  # why a wanted training does not start yet
    last_trained_at: datetime | None = None
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None
    acknowledged_because: str = ""
    verdicts_key: str = ""  # S3 key of the whole verdict document
    summary: Any = None  # a few numbers of it, for lists and dashboards
    tampered: str = ""
    ledger_seen: Seen | None = None
    quarantined: tuple[str, ...] = ()  # marks of the objects that cannot be read
    seen: tuple[str, ...] = ()  # those of them that somebody acknowledged
    seen_by: str = ""
    seen_because: str = ""
    reporters: Mapping[str, int] = field(default_factory=dict)

    @property
    def unseen(self) -> int:
        """Objects in quarantine that nobody has acknowledged."""
        return len(set(self.quarantined) - set(self.seen))


KEPT_ATTEMPTS = 50


def look(
    before: HealthRecord | None, findings: Findings, policy: Policy, *, model: str, under_way: bool, now: datetime
) -> HealthRecord:
    """The health record after a look at the verdicts.

    Args:
        before: the last record, its attempts' outcomes brought up to date by `with_outcomes`; None at the first look.
        under_way: a release of the model holds the lease.
    """
    known = before or HealthRecord(model, revision=0, health=Health.UNKNOWN, since=now, looked_at=now)
    seen = replace(known, revision=known.revision + 1, looked_at=now, version=findings.version)
    if known.health is Health.NEEDS_REDESIGN:  # until somebody acknowledges it
        return replace(seen, wanted=None, held_back="")
    given_up = _given_up(known, findings, policy)
    if given_up:
        return _stands(seen, known, Health.NEEDS_REDESIGN, given_up, now)
    trigger, why = _trigger(known, findings, policy, now)
    if findings.drift or findings.quality:
        health = Health.DRIFTED
    else:
        health = Health.STEADY if findings.judged else Health.UNKNOWN
    stands = _stands(seen, known, health, why or tuple(filter(None, [findings.problem])), now)
    if trigger is None:
        return stands
    held_back = _held_back(known, policy, under_way=under_way, now=now)
    return replace(stands, wanted=None if held_back else trigger, held_back=held_back)


def started(record: HealthRecord, attempt: Attempt) -> HealthRecord:
    """The health record once a wanted training has begun."""
    kept = (*record.attempts, attempt)[-KEPT_ATTEMPTS:]
    return replace(record, revision=record.revision + 1, wanted=None, held_back="", attempts=kept)


def with_outcomes(record: HealthRecord, outcomes: Mapping[str, tuple[TrainingOutcome, datetime]]) -> HealthRecord:
    """The health record with what became of its attempts, by run; `revision` stays, since `look` counts it."""
    known = tuple(
        replace(each, outcome=outcomes[each.run_id][0], ended_at=outcomes[each.run_id][1])
        if each.outcome is TrainingOutcome.UNDER_WAY and each.run_id in outcomes
        else each
        for each in record.attempts
    )
    return replace(record, attempts=known)


def acknowledge(record: HealthRecord, *, by: str, reason: str, now: datetime) -> HealthRecord:
    """The health record after somebody has seen to it: the loop may try again, and earlier failures count no more. Of a
    model that does not need redesign, only the objects in quarantine are seen to."""
    record = replace(record, seen=record.quarantined, seen_by=by, seen_because=reason) if record.unseen else record
    if record.health is not Health.NEEDS_REDESIGN:
        return replace(record, revision=record.revision + 1)
    return replace(
        record,
        revision=record.revision + 1,
        health=Health.UNKNOWN,
        since=now,
        reasons=(),
        wanted=None,
        held_back="",
        acknowledged_by=by,
        acknowledged_at=now,
        acknowledged_because=reason,
    )


def _stands(
    seen: HealthRecord, known: HealthRecord, health: Health, reasons: Sequence[str], now: datetime
) -> HealthRecord:
    since = known.since if health is known.health else now
    return replace(seen, health=health, since=since, reasons=tuple(reasons), wanted=None, held_back="")


def _given_up(known: HealthRecord, findings: Findings, policy: Policy) -> tuple[str, ...]:
    """Why training again would not help; empty when it may."""
    if findings.unfixable:
        return findings.unfixable
    counted = [each for each in known.attempts if known.acknowledged_at is None or each.at > known.acknowledged_at]
    ended = [each for each in counted if each.outcome is not TrainingOutcome.UNDER_WAY]
    latest = [each for each in ended if each.outcome is not TrainingOutcome.UNPROVEN][-policy.give_up_after :]
    if len(latest) == policy.give_up_after and all(each.outcome is not TrainingOutcome.PROMOTED for each in latest):
        runs = ", ".join(each.run_id for each in latest)
        return (
            f"the last {english.count(policy.give_up_after, 'candidate was', 'candidates were')} rejected: runs {runs}",
            *findings.drift,
        )
    last = ended[-1] if ended else None
    persists = (
        last is not None
        and last.outcome is TrainingOutcome.PROMOTED
        and last.ended_at is not None
        and findings.window_from is not None
        and findings.window_from >= last.ended_at
    )
    if persists and last is not None and (findings.drift or findings.quality):
        return (f"it still drifts, although run {last.run_id} was promoted", *findings.drift, *findings.quality)
    return ()


def _trigger(
    known: HealthRecord, findings: Findings, policy: Policy, now: datetime
) -> tuple[Trigger | None, tuple[str, ...]]:
    why = (*findings.quality, *findings.drift)
    if findings.quality and Trigger.QUALITY in policy.retrain_on:
        return Trigger.QUALITY, why
    if findings.drift and Trigger.DRIFT in policy.retrain_on:
        return Trigger.DRIFT, why
    every = policy.every if Trigger.SCHEDULE in policy.retrain_on else None
    if every is not None and known.last_trained_at is not None and now >= known.last_trained_at + every:
        return Trigger.SCHEDULE, (*why, f"it is trained every {english.count(every.total_seconds() / 86_400, 'day')}")
    return None, why


def _held_back(known: HealthRecord, policy: Policy, *, under_way: bool, now: datetime) -> str:
    """Why a training that is due does not start now; empty when it may."""
    if under_way or any(each.outcome is TrainingOutcome.UNDER_WAY for each in known.attempts):
        return "a release of the model is under way"
    recent = [each for each in known.attempts if each.at > now - policy.within]
    if recent and now < recent[-1].at + policy.cooldown:
        return f"the last training began {recent[-1].at.isoformat()}; cooldown {policy.cooldown}"
    if len(recent) >= policy.at_most:
        return f"{english.count(len(recent), 'training')} began within {policy.within}; at most {policy.at_most} may"
    return ""
