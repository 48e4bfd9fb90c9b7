"""A registered version and its lifecycle. A version number is a small integer per model, counted from 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from tidegate.domain.registry.route import CandidateRole, FallbackRef, Route, Served
from tidegate.kernel.documents import Document, StoredForm

SHOWN_AS_STATUS = frozenset({CandidateRole.HOLDBACK, CandidateRole.SPLIT})  # has a share, and is not on its way in


class VersionStatus(StrEnum):
    """The lifecycle of a registered version."""

    REJECTED = "rejected"  # kept with its report, never served
    ACCEPTED = "accepted"  # passed the gate, not served yet
    CANDIDATE = "candidate"  # gets a share of the requests, beside the champion
    CHAMPION = "champion"  # serves the model's requests
    RETIRED = "retired"  # served once, replaced since
    OVERTAKEN = "overtaken"  # passed against a champion that was replaced before it could serve; never served
    ROLLED_BACK = "rolled_back"  # passed the gate, but not its rollout; not served again

    @property
    def closed(self) -> bool:
        """A closed version never serves, and its status never changes."""
        return self in {VersionStatus.REJECTED, VersionStatus.OVERTAKEN, VersionStatus.ROLLED_BACK}


def _rolled_back(document: Document) -> Document:
    """Schema 2 of schema 1, in which such a version was withdrawn."""
    return {**document, "status": "rolled_back"} if document["status"] == "withdrawn" else document


@dataclass(frozen=True, slots=True)
class Version:
    """A trained model that went through the gate, with all that is needed to serve it and to answer for it."""

    FORM: ClassVar = StoredForm("version", upgrades=(_rolled_back,))

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
    fallback: FallbackRef | None = None
    needs_approval: bool = False  # a second pair of eyes has to see it before it serves
    approval_reasons: tuple[str, ...] = ()  # why, in sentences
    approved_by: str | None = None  # the IAM ARN of whoever approved it
    features: tuple[str, ...] = ()  # the fields it is asked with
    classes: tuple[str, ...] = ()  # as `probabilities` spell them; none of a regression, or where they are not recorded

    @property
    def served(self) -> Served:
        """What the inference function needs of it."""
        return Served(self.number, self.artifact_key, self.artifact_sha256)

    @property
    def may_serve(self) -> bool:
        """Whether nobody has to be asked any more."""
        return not self.needs_approval or self.approved_by is not None


def approval_reasons(
    *, asked_for: bool, target_changes: Sequence[str], questions: Sequence[str] = ()
) -> tuple[str, ...]:
    """Why somebody who did not make a version has to agree before it serves; empty when nobody has to.

    Targets say what is good enough, so whoever makes versions must not move them alone.

    Args:
        asked_for: the spec's `release.approval` is `required`.
        target_changes: how the spec's targets differ from those of the champion's spec; none for a first version.
        questions: what the gate asks people about a version that learned from captures.
    """
    asked = ("the model's spec requires an approval",) if asked_for else ()
    return (*asked, *(f"a target was changed: {change}" for change in target_changes), *questions)


def status_now(version: Version, route: Route | None) -> str:
    """What a version is now, in a word: its status; of a candidate that is not on its way in, why it has a share."""
    if version.status is VersionStatus.CANDIDATE and route and route.candidate:
        role = route.candidate_role
        if route.candidate.version == version.number and role in SHOWN_AS_STATUS:
            return role.value
    return version.status.value
