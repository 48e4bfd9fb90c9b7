"""The health of served models, its verdicts, and the hourly counts behind them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tidegate.domain.serving.feedback import Outcomes

if TYPE_CHECKING:  # numpy and pydantic stay off the import path of functions that need neither
    from tidegate.domain.monitoring.health import HealthRecord


class HealthRecords(Protocol):
    """How served models stand."""

    def record(self, model: str) -> "HealthRecord | None":
        """None before the first look. Strongly consistent."""
        ...

    def save(self, record: "HealthRecord") -> None:
        """Write the next revision; the same one again does nothing.

        Raises:
            ConflictError: the health record moved on in between.
        """
        ...


class Verdicts(Protocol):
    """What each look at a model found, in full."""

    def write(self, model: str, hour: str, document: Mapping[str, Any]) -> str:
        """Store under the hour of the look, in place of what was found in it before; returns the key."""
        ...

    def read(self, key: str) -> dict[str, Any]:
        """Raises NotFoundError."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Keys of the objects that hold an hour's captures, and those of the feedback on its predictions. Objects are only
    ever added: equal sources hold the same. `stored_bytes` is what all of them take."""

    captures: tuple[str, ...] = ()
    feedback: tuple[str, ...] = ()
    stored_bytes: int = 0


class Hours(Protocol):
    """Hours of traffic (named as 2026-01-05-12): their captures and feedback, and what was counted of them."""

    def asked(self, model: str, since: str) -> bool:
        """Whether there are captures of this hour or a later one. One read."""
        ...

    def sources(self, model: str, first: str, last: str) -> Mapping[str, Sources]:
        """Hours with captures or feedback, by name and in order; both ends included."""
        ...

    def outcomes(self, sources: Sources) -> tuple[Outcomes, dict[str, str]]:
        """The outcomes of the hour's predictions, as `feedback.outcomes_that_count` has them, and the objects of
        feedback that cannot be read, with the reason."""
        ...

    def lines(self, sources: Sources) -> Iterable[Iterable[bytes]]:
        """Capture records as lines of JSON, object by object; any number of whole lines together. An object that cannot
        be read raises while its lines are taken, and the next one follows."""
        ...

    def counted(self, model: str, version: int, hours: Collection[str]) -> Mapping[str, dict[str, Any]]:
        """Documents of these hours, as far as there are any."""
        ...

    def keep(self, model: str, version: int, hour: str, document: Mapping[str, Any]) -> None:
        """Store an hour's document in place of the one before."""
        ...
