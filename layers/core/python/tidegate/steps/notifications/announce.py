"""Notify people and other systems of what changed in the registry. docs/events.md is the page of what systems get."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from tidegate.domain.monitoring.health import Health, HealthRecord, Trigger
from tidegate.domain.notifications.announcement import (
    Announcement,
    Change,
    Event,
    Severity,
    announcement,
    subject,
    text,
)
from tidegate.domain.registry.ledger import Action, LedgerEntry, RollbackCause
from tidegate.domain.registry.run import Run, RunStatus
from tidegate.domain.rollout.rollout import Approval, Decision, Phase, Rollout
from tidegate.kernel.plain_text import one_line
from tidegate.messages import Message
from tidegate.ports.notifications import Events, Letters
from tidegate.ports.registry import Models, Versions


class Detail(Message):
    """What every event's detail has. New fields may come; `schema` changes when the meaning of one does."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_version: Literal[1] = Field(default=1, serialization_alias="schema", description="version of this format")
    id: str = Field(description="the same when the same event comes again")
    at: AwareDatetime = Field(description="when it happened")
    stage: str = Field(description="of the deployment")
    model: str
    owner: str = Field(description="of the model")
    business_unit: str = Field(description="of the model's owner")
    version: int | None = Field(description="the version concerned; null: the fallback, or none yet")
    run_id: str | None = Field(description="the training run that the version came from")
    severity: Severity = Field(description="what it asks of people")
    title: str = Field(description="what happened; the model's name is the subject")
    reasons: list[str] = Field(description="why, in sentences")
    commands: list[str] = Field(description="arguments for `tidegate`")


class RouteChanged(Detail):
    """What is served changed: an entry of the ledger. `version` answers `weight_bp` basis points of the requests, and
    `previous_version` the rest, if there is one; while `killed` the fallback answers all."""

    revision: int = Field(description="of the route; also the entry's number in the ledger")
    action: Action
    cause: RollbackCause | None = Field(description="why a version was rolled back; null for every other action")
    previous_version: int | None
    weight_bp: int
    killed: bool
    actor: str = Field(description="ARN of the person; for steps of a rollout, of the execution")
    approved_by: str | None = Field(description="ARN of the approver")
    ledger_hash: str = Field(description="of the entry, to compare with the ledger later")


class RolloutMoved(Detail):
    """A version on its way in entered another phase; when that changed what is served, `Tidegate Route Changed` comes
    too."""

    revision: int = Field(description="of the rollout's record; orders the events of one rollout")
    phase: Phase
    previous_phase: Phase | None = Field(description="null: the rollout began")
    final: bool = Field(description="whether the rollout is over")


class ApprovalRequested(Detail):
    """A version waits for somebody who did not make it."""

    expires_at: AwareDatetime = Field(description="the version is only released if it is approved by then")
    artifact_sha256: str = Field(description="what the approval is for")
    report_sha256: str = Field(description="what the approver reads")


class ApprovalDecided(Detail):
    """An approver decided about exactly these bytes and this report."""

    decision: Decision
    actor: str = Field(description="ARN of the approver")
    artifact_sha256: str
    report_sha256: str


class RunEnded(Detail):
    """A training run came to its end: with a version that passed the gate, with one that did not, or by a fault."""

    status: Literal[RunStatus.ACCEPTED, RunStatus.REJECTED, RunStatus.FAILED]
    actor: str = Field(description="ARN of the person who requested the run")
    dataset: str
    dataset_version: str | None
    error: str | None = Field(description="name of the error; its text is in the registry only")


class HealthChanged(Detail):
    """How a served model stands changed: it drifted, training again would not help it, somebody acknowledged that, or
    nothing is found any more. `version` is the one whose traffic was judged."""

    revision: int = Field(description="of the health record; orders the events of one model's health")
    health: Health
    previous_health: Health | None = Field(description="null: it was not judged before")
    retraining: Trigger | None = Field(description="what starts a training now; null: none is due, or it is held back")
    held_back: str = Field(description="why a training that is due does not start yet; empty if none is")
    actor: str | None = Field(description="ARN of the person who acknowledged it; null: nobody did")


DETAILS: Mapping[Event, type[Detail]] = MappingProxyType(
    {
        Event.ROUTE_CHANGED: RouteChanged,
        Event.ROLLOUT_MOVED: RolloutMoved,
        Event.APPROVAL_REQUESTED: ApprovalRequested,
        Event.APPROVAL_DECIDED: ApprovalDecided,
        Event.RUN_ENDED: RunEnded,
        Event.HEALTH_CHANGED: HealthChanged,
    }
)


def announce(
    change: Change, *, stage: str, models: Models, versions: Versions, letters: Letters, events: Events
) -> Announcement | None:
    """Announce what a change means, at least once; None when there is nothing to announce.

    People come last: what fails before is tried again, and they cannot drop what comes twice.

    Raises:
        NotFoundError: the registry does not have the model, or the version that the run made.
        UnavailableError: not all of it may have been announced; announce it again.
    """
    found = announcement(change)
    if found is None:
        return None
    header = models.model(found.model)
    notice = replace(found, owner=header.owner, business_unit=header.business_unit)
    if isinstance(change.after, Run) and change.after.status is RunStatus.REJECTED and notice.version is not None:
        notice = replace(notice, reasons=versions.version(notice.model, notice.version).reasons)
    events.put(notice.event, detail(change, notice, stage=stage).to_json(), notice.at)
    if notice.for_people:
        letters.send(subject(notice, stage=stage), text(notice, stage=stage), _attributes(notice))
    return notice


def detail(change: Change, notice: Announcement, *, stage: str) -> Detail:
    """The event's detail."""
    common = {
        "id": notice.id,
        "at": notice.at,
        "stage": stage,
        "model": notice.model,
        "owner": notice.owner,
        "business_unit": notice.business_unit,
        "version": notice.version,
        "run_id": notice.run_id,
        "severity": notice.severity,
        "title": notice.title,
        "reasons": notice.reasons,
        "commands": notice.commands,
    }
    return DETAILS[notice.event].parse(common | _particulars(change, notice))


def _particulars(change: Change, notice: Announcement) -> dict[str, Any]:
    """What only this kind of event has."""
    match change.after:
        case LedgerEntry() as entry:
            return {
                "revision": entry.seq,
                "action": entry.action,
                "cause": entry.cause,
                "previous_version": entry.previous_version,
                "weight_bp": entry.weight_bp,
                "killed": entry.killed,
                "actor": entry.actor,
                "approved_by": entry.approved_by,
                "ledger_hash": entry.hash,
            }
        case Run() as run:
            return {
                "status": run.status,
                "actor": run.requested_by,
                "dataset": run.dataset,
                "dataset_version": run.dataset_version,
                "error": run.error.name if run.error else None,
            }
        case Rollout(approval=Approval() as asked) if notice.event is Event.APPROVAL_REQUESTED:
            return {"expires_at": asked.expires_at, **_seen(asked)}
        case Rollout(approval=Approval() as asked) if notice.event is Event.APPROVAL_DECIDED:
            return {"decision": asked.decision, "actor": asked.by, **_seen(asked)}
        case Rollout() as rollout:
            before = change.before.phase if isinstance(change.before, Rollout) else None
            return {
                "revision": rollout.revision,
                "phase": rollout.phase,
                "previous_phase": before,
                "final": rollout.phase.final,
            }
        case HealthRecord() as record:
            return {
                "revision": record.revision,
                "health": record.health,
                "previous_health": change.before.health if isinstance(change.before, HealthRecord) else None,
                "retraining": record.wanted,
                "held_back": record.held_back,
                "actor": notice.actor or None,
            }


def _seen(asked: Approval) -> dict[str, str]:
    return {"artifact_sha256": asked.artifact_sha256, "report_sha256": asked.report_sha256}


def _attributes(notice: Announcement) -> dict[str, str]:
    return {
        "model": notice.model,
        "owner": one_line(notice.owner),
        "business_unit": one_line(notice.business_unit),
        "event": notice.event,
        "severity": notice.severity,
    }
