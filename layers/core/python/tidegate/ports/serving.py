"""Loaded models, and what is kept of each prediction."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # numpy and pydantic stay off the import path of functions that need neither
    from tidegate.domain.serving.capture import Capture, CapturePolicy
    from tidegate.domain.serving.contract import Contract, Inputs
    from tidegate.kernel.table import Column


class CaptureLog(Protocol):
    """Every prediction, kept for those who judge models later."""

    def offer(self, capture: "Capture") -> None:
        """Take it along if there is room. Never blocks, never raises; what is dropped is counted."""
        ...


class CapturePolicies(Protocol):
    """What may be kept of each model's predictions."""

    def policy(self, model: str) -> "CapturePolicy":
        """The current spec's, with the personal columns of its dataset. Raises NotFoundError."""
        ...


class CaptureReader(Protocol):
    """Captured predictions, for people who look."""

    def walk(self, model: str, hour: str, after: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """Records (docs/captures.md) of an hour such as 2026-01-05-12, newest first, each id once. Each has a place: as
        `after`, it leads to those behind it."""
        ...


class CaptureLookup(Protocol):
    """One captured prediction, for people who ask about it."""

    def find(self, model: str, prediction_id: str, *, at: datetime, reach: timedelta) -> dict[str, Any] | None:
        """Its record among those of the model in the hours that are within `reach` of the moment `at`; None when
        there is none. Raises RequestInvalidError when there is more to look through than one search may."""
        ...


class FeedbackLog(Protocol):
    """Outcomes, kept for those who judge models."""

    def keep(self, lines: Iterable[bytes]) -> None:
        """Records as lines of JSON; returns when all are kept for good.

        Raises:
            UnavailableError: some may be kept and others not. Keeping all of them again does no harm.
        """
        ...


class Scorer(Protocol):
    """A loaded ONNX model."""

    @property
    def contract(self) -> "Contract":
        """The contract inside the artifact."""
        ...

    def score(self, inputs: "Inputs") -> "Column":
        """float32 [rows, classes] probabilities, or [rows, 1] values."""
        ...

    def stop(self) -> None:
        """End what is being scored now in another thread, as soon as it can be; nobody waits for it any more."""
        ...


class ScorerLoader(Protocol):
    """Opens ONNX bytes (onnxruntime lives behind this)."""

    def __call__(self, onnx: bytes) -> Scorer:
        """Raises ArtifactRejectedError when the bytes are no Tidegate model."""
        ...
