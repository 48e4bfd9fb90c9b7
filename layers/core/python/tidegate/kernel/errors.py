"""Every fault Tidegate raises, as one tree.

    TidegateError
    ├── InvalidInputError            the caller's fault; carries every fault found, each with its place
    │   ├── SpecInvalidError         a model spec that cannot be accepted
    │   ├── DatasetInvalidError      files that cannot be read as one table, or metadata that does not fit them
    │   ├── DataCheckError           data a model must not be trained on (leakage, ranges, missing columns ...)
    │   └── RequestInvalidError      a prediction or control request that breaks its contract
    ├── NotFoundError                the named thing does not exist
    ├── ConflictError                somebody else changed it first; read again and decide again
    │   ├── RunEndedError            the run is final, so nothing may be added to it
    │   └── InputChangedError        an object that a batch reads was changed or removed since it was asked for
    ├── ForbiddenError               the caller may make such calls, but not this one: four eyes
    ├── TrainingFailedError          a candidate could not be fitted, exported or selected
    ├── ModelFailedError             a loaded model gave no usable score
    │   └── ScoringTimeoutError      it took longer than it may
    ├── ArtifactRejectedError        stored bytes do not have the SHA-256 the registry recorded
    ├── NewerDocumentError           a stored document has a form that only newer code can read
    ├── LedgerBrokenError            an entry of the ledger is not one that was ever written
    └── UnavailableError             a service did not answer in time; the only fault worth retrying

The class names are an interface: Step Functions retries and catches by exact name.
Expected outcomes (a rejected candidate, too little data) are values, never exceptions.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where it is, what is wrong with it and, when it is a choice, what is allowed. `given` is
    the value as people are shown it, where one is shown; the problem completes a sentence that begins with it."""

    path: str
    problem: str
    allowed: tuple[str, ...] = ()
    given: str = ""

    def __str__(self) -> str:
        allowed = f" (allowed: {', '.join(self.allowed)})" if self.allowed else ""
        return f"{self.path}: {self._said}{allowed}" if self.path else f"{self._said}{allowed}"

    @property
    def _said(self) -> str:
        return f"{self.given} {self.problem}" if self.given else self.problem

    def to_json(self) -> dict[str, object]:
        """The fault as an entry of a problem document's `errors` list."""
        body: dict[str, object] = {"path": self.path, "problem": self._said}
        if self.allowed:
            body["allowed"] = list(self.allowed)
        return body


class TidegateError(Exception):
    """The root of the tree. `next_step` says what to do about it."""

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class InvalidInputError(TidegateError):
    """Something given to Tidegate is wrong; `faults` names every fault at once, not only the first."""

    def __init__(self, message: str, faults: Sequence[Fault] = (), *, next_step: str = "") -> None:
        listed = "; ".join(str(fault) for fault in faults)
        super().__init__(f"{message}: {listed}" if listed else message, next_step=next_step)
        self.summary = message
        self.faults = tuple(faults)


class SpecInvalidError(InvalidInputError):
    """A model spec that cannot be accepted."""


class DatasetInvalidError(InvalidInputError):
    """Dataset files that cannot be read as one table, or metadata that does not fit them."""


class DataCheckError(InvalidInputError):
    """Data that a model must not be trained on; training stops before the first fit."""


class RequestInvalidError(InvalidInputError):
    """A request that breaks its contract. `status` is the HTTP status (4xx) the caller gets."""

    def __init__(self, message: str, faults: Sequence[Fault] = (), *, status: int = 422, next_step: str = "") -> None:
        super().__init__(message, faults, next_step=next_step)
        self.status = status


class NotFoundError(TidegateError):
    """The named dataset, model, version or run does not exist."""


class ConflictError(TidegateError):
    """Somebody else changed it first; read again and decide again."""


class RunEndedError(ConflictError):
    """The run is final: somebody ended it, or the call comes late. A finished run never changes."""


class InputChangedError(ConflictError):
    """An object that a batch reads was changed or removed since the batch was asked for."""


class ForbiddenError(TidegateError):
    """The caller may make such calls, but must not make this one, since they made what it is about."""


class TrainingFailedError(TidegateError):
    """A candidate could not be fitted, exported to ONNX or selected."""


class ModelFailedError(TidegateError):
    """A loaded model gave no usable score for a request that keeps its contract."""


class ScoringTimeoutError(ModelFailedError):
    """A loaded model took longer to score a request than it may."""


class ArtifactRejectedError(TidegateError):
    """Stored bytes do not have the SHA-256 that the registry recorded for them."""


class NewerDocumentError(TidegateError):
    """A stored document has a form that only newer code can read, as after a rollback of code."""


class LedgerBrokenError(TidegateError):
    """An entry of the ledger cannot be read: it was not Tidegate that wrote it so."""

    def __init__(self, message: str, *, seq: int, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.seq = seq


class UnavailableError(TidegateError):
    """A service did not answer in time or throttled; trying again may help."""


FAULTS_OF_PEOPLE = (InvalidInputError, TrainingFailedError, RunEndedError, InputChangedError)
"""What a step of a release or of a batch finds wrong with the data, its files or the spec, or that somebody ended the
run. It ends the run with its reason, and is no fault of the platform: it raises no alarm."""
