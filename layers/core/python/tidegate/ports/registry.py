"""Models, runs, versions, what is served, and the files of each."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from tidegate.domain.registry.ledger import LedgerEntry
from tidegate.domain.registry.route import Route
from tidegate.domain.registry.run import CandidateRun, Run, RunError
from tidegate.domain.registry.version import Version
from tidegate.domain.rollout.changes import RouteChange
from tidegate.kernel.documents import MODEL

if TYPE_CHECKING:  # numpy and pydantic stay off the import path of functions that need neither
    from tidegate.spec.model import ModelSpec


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """What the registry says of a model without opening its spec."""

    FORM: ClassVar = MODEL

    name: str
    owner: str
    business_unit: str
    task: str
    spec_digest: str
    applied_by: str
    applied_at: datetime
    latest_version: int = 0


class ModelNames(Protocol):
    """Which models there are: what answering needs of `Models`."""

    def model(self, name: str) -> ModelHeader:
        """Raises NotFoundError."""
        ...


class Models(ModelNames, Protocol):
    """Models and every spec they ever had."""

    def apply(self, spec: "ModelSpec", *, author: str, at: datetime) -> bool:
        """Store the spec by digest and make it current; False when it already was."""
        ...

    def models(self, *, after: str = "", limit: int | None = None) -> list[ModelHeader]:
        """By name: all, or at most `limit` of those behind the name `after`."""
        ...

    def spec(self, model: str, digest: str | None = None) -> "ModelSpec":
        """The named or the current one. Raises NotFoundError."""
        ...

    def author(self, model: str, digest: str) -> str:
        """The IAM ARN of whoever applied a spec first. Raises NotFoundError."""
        ...


class Runs(Protocol):
    """Training runs. A final run never changes again."""

    def request(self, run: Run, *, lease_until: datetime | None) -> Run:
        """Record a run and take the model's lease for it, in one transaction; None for one that needs no lease. With a
        token seen before, the run recorded then comes back instead.

        Raises:
            ConflictError: another release of the model holds the lease; the message says which, whose and until when.
        """
        ...

    def run(self, model: str, run_id: str) -> Run:
        """Raises NotFoundError."""
        ...

    def runs(self, model: str, *, after: str = "", limit: int | None = None) -> list[Run]:
        """Newest first: all, or at most `limit` of those behind the run `after`."""
        ...

    def note(self, model: str, run_id: str, stage: str, at: datetime, **facts: Any) -> None:
        """Set stage, status RUNNING and fields of `Run` by name; the first call sets `started_at`.

        Raises:
            ConflictError: the run is final.
        """
        ...

    def note_candidate(self, model: str, run_id: str, candidate: CandidateRun) -> None:
        """Record one candidate; calls race with each other and may repeat."""
        ...

    def fail(self, model: str, run_id: str, error: RunError, at: datetime) -> Run:
        """Close the run as FAILED unless it is final already; returns it as it now is."""
        ...

    def compared(self, model: str, run_id: str, *, equal: bool, at: datetime) -> Run:
        """Close a run that made a version again as REPRODUCED or DIFFERS unless it is final already; returns it as it
        now is."""
        ...


class Versions(Protocol):
    """Registered versions."""

    def register(self, version: Version, *, at: datetime) -> Version:
        """Store with the next free number (`version.number` is ignored) and close its run, in one transaction.

        The same run registers once: a repeated call returns the version it got the first time.
        """
        ...

    def version(self, model: str, number: int) -> Version:
        """Raises NotFoundError."""
        ...

    def versions(self, model: str, *, after: int = 0, limit: int | None = None) -> list[Version]:
        """Newest first: all, or at most `limit` of those behind number `after`."""
        ...


class VersionHashes(Protocol):
    """What versions were registered with: what answering needs of `Versions`."""

    def registered_sha256(self, model: str, number: int) -> str:
        """Of the version's artifact. Raises NotFoundError."""
        ...


class RouteReader(Protocol):
    """What is served: what answering needs of `Routes`."""

    def route(self, model: str) -> Route | None:
        """None when nothing was ever promoted. Strongly consistent."""
        ...


class Routes(RouteReader, Protocol):
    """What is served, and the ledger of every change of it."""

    def change(self, change: RouteChange) -> None:
        """Write route, ledger entry and version states in one transaction; the same change again does nothing.

        Raises:
            ConflictError: the route's revision moved on in between, or the status of a version is a closed one.
        """
        ...

    def ledger(
        self, model: str, *, after: int = 0, limit: int | None = None, newest_first: bool = False
    ) -> list[LedgerEntry]:
        """In order, oldest first: all, or at most `limit` of those behind entry `after`. Strongly consistent.

        Raises:
            LedgerBrokenError: an entry cannot even be read.
        """
        ...


class VerifiedArtifacts(Protocol):
    """What answering needs of `Artifacts`."""

    def get_verified(self, key: str, sha256: str) -> bytes:
        """Raises NotFoundError, and ArtifactRejectedError when the bytes have another hash."""
        ...


class Artifacts(VerifiedArtifacts, Protocol):
    """Objects of runs and versions."""

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> str:
        """Store; returns the SHA-256 (hex). Writing the same bytes again changes nothing."""
        ...

    def get(self, key: str) -> bytes:
        """Raises NotFoundError."""
        ...


class Workflow(Protocol):
    """The release state machine."""

    def execution(self, run_id: str) -> str:
        """The id of the run's execution, known before it starts."""
        ...

    def start(self, model: str, run_id: str) -> None:
        """Start the run's execution; starting it again changes nothing."""
        ...

    def resume(self, token: str) -> None:
        """Wake the execution that waits with this token; one that waits no more is left alone."""
        ...
