"""Rollouts with their lease, and the evidence that judges them."""

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from tidegate.domain.registry.run import Lease

if TYPE_CHECKING:  # numpy and pydantic stay off the import path of functions that need neither
    from tidegate.domain.rollout.rollout import Evidence, Rollout, Step


class RolloutReader(Protocol):
    """Versions on their way in, and who holds the lease by which a model has one release at a time."""

    def rollout(self, model: str, run_id: str) -> "Rollout | None":
        """The rollout of a run's version; None when it has none yet. Strongly consistent."""
        ...

    def rollouts(self, model: str, *, after: str = "", limit: int | None = None) -> "list[Rollout]":
        """Newest first: all, or at most `limit` of those behind the run `after`."""
        ...

    def lease(self, model: str) -> Lease | None:
        """Who holds it, or held it last."""
        ...


class Rollouts(RolloutReader, Protocol):
    """`RolloutReader`, for what takes rollouts further."""

    def save(self, step: "Step", *, now: datetime) -> None:
        """Write the record's next revision, its change of the route and its note on the version, in one transaction;
        the same step again does nothing.

        A rollout that goes on takes or extends the lease with it, unless another one holds it at `now`; a final one
        frees it.

        Raises:
            ConflictError: rollout or route moved on in between, or another release holds the lease.
        """
        ...

    def free(self, model: str, run_id: str) -> None:
        """End the run's lease; nothing happens when it has none."""
        ...


class ArmsReader(Protocol):
    """What both arms of a rollout did, out of the captures."""

    def since_last_look(self, rollout: "Rollout") -> "Evidence":
        """What was served under the rollout's route revisions and is not in its `fetched` yet."""
        ...
