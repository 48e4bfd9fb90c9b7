"""What answers a model's requests, as the inference function reads it: the one part of the registry on its path."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from tidegate.kernel.documents import StoredForm


@dataclass(frozen=True, slots=True)
class Served:
    """A version as the inference function needs it: which bytes, and the hash they must have."""

    version: int
    artifact_key: str
    artifact_sha256: str


@dataclass(frozen=True, slots=True)
class FallbackRef:
    """The non-ML rule of a run, as the inference function needs it: it answers when no version can."""

    key: str
    sha256: str
    run_id: str


class CandidateRole(StrEnum):
    """Why a second version gets a share of the requests."""

    CANARY = "canary"  # on its way in, judged at each step
    HOLDBACK = "holdback"  # the champion of before, kept warm while the new one is on probation
    SPLIT = "split"  # a fixed A/B split, ended by people


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a model's requests. `revision` counts its changes; every write names the one it replaces.

    `candidate_bp` is the candidate's share in basis points (10,000 is all), and without a champion the fallback answers
    the rest; `shadow` scores the same requests, its answers go nowhere but into the capture; with `killed` the fallback
    answers everything. `ledger_head` is the hash of the newest ledger entry, so that a change can chain the next one to
    it.
    """

    FORM: ClassVar = StoredForm("route")

    model: str
    revision: int
    champion: Served | None = None
    previous: Served | None = None
    candidate: Served | None = None
    candidate_bp: int = 0
    candidate_role: CandidateRole | None = None
    shadow: Served | None = None
    fallback: FallbackRef | None = None
    killed: bool = False
    ledger_head: str = ""
    fields: tuple[str, ...] = ()  # that versions of this route were asked with; see `known_fields`
    salt: int | None = None  # of the buckets of keys: the version on trial; None where code before 0.2.0 began it
