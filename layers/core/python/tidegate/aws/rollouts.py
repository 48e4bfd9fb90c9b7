"""Rollouts and the lease in the registry's table, beside the ledger's. `tidegate.aws.registry` shows the keys."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from tidegate.aws.items import attribute, decode
from tidegate.aws.registry import (
    LEASE,
    lease_write,
    revised,
    route_refused,
    route_writes,
    stored,
    version_write,
)
from tidegate.aws.table import RefusedError, Table, Write, update
from tidegate.domain.registry.run import Lease, held
from tidegate.domain.registry.version import Version
from tidegate.domain.rollout.rollout import Rollout, Step, VersionNote
from tidegate.kernel.errors import ConflictError
from tidegate.kernel.partitions import Partition, version_key

_FREED = datetime.fromtimestamp(0, UTC)  # nobody may delete, so a lease that is given back ended long ago


class DynamoRolloutReader:
    """ports.RolloutReader."""

    def __init__(self, table_name: str) -> None:
        self._table = Table(table_name)

    def rollout(self, model: str, run_id: str) -> Rollout | None:
        """See ports.RolloutReader."""
        return stored(self._table, Rollout, Partition.ROLLOUT.of(model), f"ROLLOUT#{run_id}")

    def rollouts(self, model: str, *, after: str = "", limit: int | None = None) -> list[Rollout]:
        """See ports.RolloutReader."""
        items = self._table.query(
            Partition.ROLLOUT.of(model),
            "ROLLOUT#",
            after=after and f"ROLLOUT#{after}",
            newest_first=True,
            at_a_time=limit,
        )
        return [decode(Rollout, item) for item in islice(items, limit)]

    def lease(self, model: str) -> Lease | None:
        """See ports.RolloutReader."""
        return stored(self._table, Lease, Partition.LEASE.of(model), LEASE)


class DynamoRollouts(DynamoRolloutReader):
    """ports.Rollouts."""

    def __init__(self, table_name: str, ledger_name: str) -> None:
        super().__init__(table_name)
        self._ledger = Table(ledger_name)

    def save(self, step: Step, *, now: datetime) -> None:
        """See ports.Rollouts. A transaction that is refused because of itself finds its own record and is done."""
        rollout, change = step.rollout, step.change
        lease = self._lease_writes(rollout, now)
        route = route_writes(change, self._ledger) if change else []
        versions = self._version_writes(step)
        record = revised(Partition.ROLLOUT.of(rollout.model), f"ROLLOUT#{rollout.run_id}", rollout)
        try:
            self._table.write(record, *lease, *route, *versions.values())
        except RefusedError as error:
            if self.rollout(rollout.model, rollout.run_id) == rollout:
                return
            refused = error.refused
            if refused[0]:
                raise _moved(rollout) from None
            if any(refused[1 : 1 + len(lease)]):
                raise self._held(rollout) from None
            of_route = refused[1 + len(lease) :][: len(route)]
            if change and any(of_route):
                raise route_refused(change, of_route) from None
            closed = [number for number, no in zip(reversed(versions), reversed(refused), strict=False) if no]
            raise _unchangeable(rollout, closed) from None

    def free(self, model: str, run_id: str) -> None:
        """See ports.Rollouts."""
        with suppress(RefusedError):  # another run's, or none
            self._table.write(_freed(model, run_id))

    def _lease_writes(self, rollout: Rollout, now: datetime) -> list[Write]:
        known = self.lease(rollout.model)
        ours = known if known and known.run_id == rollout.run_id else None
        if rollout.phase.final:
            return [_freed(rollout.model, rollout.run_id)] if ours else []
        lease = Lease(
            model=rollout.model,
            run_id=rollout.run_id,
            holder=ours.holder if ours else rollout.actor,
            since=ours.since if ours else now,
            until=rollout.lease_until,
        )
        return [lease_write(lease, now)]

    def _version_writes(self, step: Step) -> dict[int, Write]:
        """One write for each version, by number. A note that ends a version that people have closed is left out."""
        rollout, note = step.rollout, step.note
        facts: dict[int, dict[str, Any]] = {}
        if step.change:
            facts = {number: {"status": status} for number, status in step.change.statuses.items()}
        noted = _facts(note) if note else {}
        if noted and not ("status" in noted and rollout.version not in facts and self._closed(rollout)):
            facts[rollout.version] = facts.get(rollout.version, {}) | noted
        return {number: version_write(rollout.model, number, **values) for number, values in facts.items()}

    def _closed(self, rollout: Rollout) -> bool:
        version = stored(self._table, Version, Partition.VERSION.of(rollout.model), version_key(rollout.version))
        return version is not None and version.status.closed

    def _held(self, rollout: Rollout) -> ConflictError:
        lease = self.lease(rollout.model)
        return held(lease) if lease and lease.run_id != rollout.run_id else _moved(rollout)


def _facts(note: VersionNote) -> dict[str, Any]:
    facts = {
        "status": note.status,
        "reasons": (note.reason,) if note.reason else None,
        "approved_by": note.approved_by,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _freed(model: str, run_id: str) -> Write:
    return update(
        Partition.LEASE.of(model),
        LEASE,
        {"until": attribute(Lease, "until", _FREED)},
        when="#run_id = :run",
        run=attribute(Lease, "run_id", run_id),
    )


def _moved(rollout: Rollout) -> ConflictError:
    return ConflictError(
        f"the rollout of {rollout.model} version {rollout.version} was changed by somebody else "
        f"(revision {rollout.revision} exists)",
        next_step=f"see `tidegate rollout {rollout.model}` and decide again",
    )


def _unchangeable(rollout: Rollout, versions: Iterable[int]) -> ConflictError:
    named = ", ".join(map(str, versions))
    return ConflictError(
        f"{rollout.model} version {named} is closed or does not exist, so its status cannot change",
        next_step=f"see `tidegate versions {rollout.model}` and decide again",
    )
