"""The registry's nouns: runs, versions, routes and the ledger, and which change of each is allowed.

Plain frozen dataclasses: adapters store them, steps move them, nothing here touches a clock or a service. Times are
aware UTC datetimes. A version number is a small integer per model, counted from 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from tidegate.errors import ConflictError


class RunStatus(StrEnum):
    """Where a training run is. The last three are final."""

    REQUESTED = "requested"  # recorded, its execution not yet seen to start
    RUNNING = "running"  # a step is at work; `stage` says which
    ACCEPTED = "accepted"  # registered as a version that passed the gate
    REJECTED = "rejected"  # registered as a version that the gate turned away
    FAILED = "failed"  # ended by a fault; no version exists

    @property
    def final(self) -> bool:
        """A final run never changes again."""
        return self in {RunStatus.ACCEPTED, RunStatus.REJECTED, RunStatus.FAILED}


class VersionStatus(StrEnum):
    """The lifecycle of a registered version."""

    REJECTED = "rejected"  # kept with its report, never served
    ACCEPTED = "accepted"  # passed the gate, not served yet
    CHAMPION = "champion"  # serves the model's requests
    RETIRED = "retired"  # served once, replaced since
    OVERTAKEN = "overtaken"  # passed against a champion that was replaced before it could serve; never served


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed: the error's class name and a sentence for people."""

    name: str
    message: str
    stage: str


@dataclass(frozen=True, slots=True)
class CandidateRun:
    """One fitted candidate: what was tried and how it scored on the validation rows."""

    index: int
    estimator: str
    parameters: Mapping[str, Any]
    metric: str
    value: float
    fit_seconds: float
    rows: int


@dataclass(frozen=True, slots=True)
class Run:
    """One pass through the release state machine, recorded from the request on, also when it fails."""

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
    }
)


@dataclass(frozen=True, slots=True)
class Version:
    """A trained model that went through the gate, with all that is needed to serve it and to answer for it."""

    model: str
    number: int
    status: VersionStatus
    run_id: str
    spec_digest: str
    dataset: str
    dataset_version: str
    artifact_key: str
    artifact_sha256: str
    report_key: str
    report_sha256: str
    metric: str
    value: float
    low: float
    high: float
    reasons: tuple[str, ...]
    created_at: datetime
    created_by: str
    lock_hash: str
    code_version: str


@dataclass(frozen=True, slots=True)
class Served:
    """A version as the inference function needs it: which bytes, and the hash they must have."""

    version: int
    artifact_key: str
    artifact_sha256: str

    @classmethod
    def of(cls, version: Version) -> "Served":
        """The serving part of a registered version."""
        return cls(version.number, version.artifact_key, version.artifact_sha256)


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a model's requests. `revision` counts its changes; every write names the one it replaces."""

    model: str
    revision: int
    champion: Served | None = None
    previous: Served | None = None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One change of what is served: who, when, which version, at what weight, why, approved by whom."""

    model: str
    seq: int
    at: datetime
    actor: str
    action: str
    version: int | None
    previous_version: int | None
    weight_bp: int
    reason: str
    run_id: str | None = None
    approved_by: str | None = None


@dataclass(frozen=True, slots=True)
class Promotion:
    """A route change with everything that must be written together with it."""

    route: Route
    entry: LedgerEntry
    champion: Version
    retired: int | None


def overtaken(route: Route | None, version: Version, *, judged_against: int | None) -> str:
    """Why an accepted version must not serve after all; empty when nothing speaks against it.

    `judged_against` is the champion that the gate compared it with. When another one serves by now, nobody knows
    whether the version is better than that one.
    """
    champion = route.champion.version if route and route.champion else None
    if version.status is not VersionStatus.ACCEPTED or champion in {judged_against, version.number}:
        return ""
    before = "nothing served" if judged_against is None else f"version {judged_against} served"
    now = "nothing serves" if champion is None else f"version {champion} serves"
    return f"it was judged when {before}, and {now} now: train again"


def promote(route: Route | None, version: Version, *, at: datetime, actor: str, reason: str) -> Promotion | None:
    """Decide how `version` becomes the champion; None when it already is (the request came twice).

    Raises:
        ConflictError: the version was rejected by the gate or has already been replaced.
    """
    current = route or Route(version.model, revision=0)
    if current.champion and current.champion.version == version.number:
        return None
    if version.status is not VersionStatus.ACCEPTED:
        raise ConflictError(
            f"{version.model} version {version.number} is {version.status}; only an accepted version can be promoted",
            next_step=f"see `tidegate versions {version.model}`",
        )
    previous = current.champion
    changed = replace(current, revision=current.revision + 1, champion=Served.of(version), previous=previous)
    entry = LedgerEntry(
        model=version.model,
        seq=changed.revision,
        at=at,
        actor=actor,
        action="promote",
        version=version.number,
        previous_version=previous.version if previous else None,
        weight_bp=10_000,
        reason=reason,
        run_id=version.run_id,
    )
    champion = replace(version, status=VersionStatus.CHAMPION)
    return Promotion(changed, entry, champion, previous.version if previous else None)
