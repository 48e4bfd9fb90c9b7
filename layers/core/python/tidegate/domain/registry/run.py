"""A training run, from the request on, and the lease that it holds on its model.

Plain frozen dataclasses: adapters store them, steps move them. Times are aware UTC datetimes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

from tidegate.kernel.documents import StoredForm
from tidegate.kernel.errors import ConflictError
from tidegate.kernel.roles import caller


class RunStatus(StrEnum):
    """Where a training run is. Those from ACCEPTED on are final."""

    REQUESTED = "requested"  # recorded, its execution not yet seen to start
    RUNNING = "running"  # a step is at work; `stage` says which
    ACCEPTED = "accepted"  # registered as a version that passed the gate
    REJECTED = "rejected"  # registered as a version that the gate turned away
    FAILED = "failed"  # ended by a fault; no version exists
    REPRODUCED = "reproduced"  # made a version again: the same artifact, the same numbers
    DIFFERS = "differs"  # made a version again, and not all is equal

    @property
    def final(self) -> bool:
        """A final run never changes again."""
        return self not in {RunStatus.REQUESTED, RunStatus.RUNNING}


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed: the error's class name and a sentence for people."""

    name: str
    message: str
    stage: str


@dataclass(frozen=True, slots=True)
class CandidateRun:
    """One fitted candidate: what was tried and how it scored on the validation rows."""

    FORM: ClassVar = StoredForm("candidate of a run")

    index: int
    estimator: str
    parameters: Mapping[str, Any]
    metric: str
    value: float
    fit_seconds: float
    rows: int


START_WITHIN = timedelta(minutes=10)  # of a run or a batch that is recorded; then its start is given up
APPLIED = "applied its spec"
ENDED = "Ended"  # name of the error of a run that somebody ended


@dataclass(frozen=True, slots=True)
class Maker:
    """Somebody (an IAM ARN) who had a hand in what a run trains on, and what they did: "applied its spec"."""

    who: str
    did: str


@dataclass(frozen=True, slots=True)
class Run:
    """One pass through the release state machine, recorded from the request on, also when it fails.

    `makers` are those whose hands no other record shows later; who asked for it, and whose spec and data it is, is read
    where that stands.
    """

    FORM: ClassVar = StoredForm("run")

    model: str
    run_id: str
    status: RunStatus
    spec_digest: str
    dataset: str
    requested_by: str
    requested_at: datetime
    seed: int
    stage: str = "requested"
    reason: str = "manual"
    token: str | None = None
    execution: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    dataset_version: str | None = None
    exclusions: tuple[str, ...] = ()
    code_version: str | None = None
    lock_hash: str | None = None
    candidates: tuple[CandidateRun, ...] = ()
    selected: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    version: int | None = None
    error: RunError | None = None
    target_changes: tuple[str, ...] = ()  # its spec's targets against those of the champion's spec, in sentences
    questions: tuple[str, ...] = ()  # why somebody must agree, since it learned from captures
    reproduces: int | None = None  # the version that this run makes again; it registers none itself
    makers: tuple[Maker, ...] = ()


# What a step may note of a running run besides its stage; everything else of it has its own way to change.
RUN_FACTS = frozenset(
    {
        "artifacts",
        "code_version",
        "dataset_version",
        "exclusions",
        "execution",
        "lock_hash",
        "metrics",
        "seed",
        "selected",
        "questions",
        "target_changes",
    }
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to change by a release what a model serves. One whose `until` is past keeps nobody out."""

    FORM: ClassVar = StoredForm("lease")

    model: str
    run_id: str
    holder: str
    since: datetime
    until: datetime


def held(lease: Lease) -> ConflictError:
    """The lease is another run's."""
    since, until = (f"{moment:%Y-%m-%d %H:%M} UTC" for moment in (lease.since, lease.until))
    holder = caller(lease.holder) if lease.holder.startswith("arn:") else lease.holder
    return ConflictError(
        f"run {lease.run_id} of {holder} has held the release of {lease.model} since {since}; its lease lasts "
        f"until {until} and may be extended",
        next_step=f"wait until it is over: tidegate runs {lease.model} {lease.run_id}; or have an operator end it: "
        f'tidegate rollout {lease.model} --end --reason "..."',
    )
