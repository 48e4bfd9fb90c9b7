"""The registry and the data catalog in one DynamoDB table, and the ledger in another: keys pk and sk, no index.

    pk               sk                      what
    MODELS           {model}                 header: current spec, latest version number
    SPEC#{model}     SPEC#{digest}           every spec the model ever had
    RUN#{model}      RUN#{run}               a run; RUN#{run}#CANDIDATE#003 is one fitted candidate of it
    RUN#{model}      TOKEN#{hash of token}   which run a caller's token started
    VERSION#{model}  VERSION#000001          a registered version
    ROUTE#{model}    ROUTE                   what is served
    ROLLOUT#{model}  ROLLOUT#{run}           how the run's version gets in (tidegate.aws.rollouts)
    LEASE#{model}    LEASE                   which run may change by its release what is served, and until when
    HEALTH#{model}   HEALTH                  how the model stands (tidegate.aws.monitoring)
    BATCHES#{model}  ENTRY#0000000001        one act about a batch; never rewritten (tidegate.aws.batch_ledger)
    DATASETS         {dataset}               what people say of a dataset, and its latest version
    DATASET#{name}   VERSION#{version}       one content of it
    DATASET#{name}   EXCLUSION#{id}          a period not to be used

    The ledger's table:
    LEDGER#{model}   0000000001              one change of the route; never rewritten

Why the partitions are these: tidegate.kernel.partitions, docs/adr/0016.

Races are settled by conditions in the table, not by reading first. AWS delivers at least once, so every write may come
twice: an append that finds its own record is done, a transaction that finds its own outcome returns it.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from tidegate.aws.items import Item, attribute, chained, decode, encode
from tidegate.aws.table import ABSENT, RefusedError, Table, Write, check, put, update
from tidegate.domain.data.dataset import Dataset, DatasetStatus, DatasetVersion, Exclusion, version_position
from tidegate.domain.registry.ledger import LedgerEntry
from tidegate.domain.registry.route import Route
from tidegate.domain.registry.run import RUN_FACTS, CandidateRun, Lease, Run, RunError, RunStatus, held
from tidegate.domain.registry.version import Version, VersionStatus
from tidegate.domain.rollout.changes import RouteChange, unacknowledged
from tidegate.kernel.documents import SPEC, StoredForm
from tidegate.kernel.errors import ConflictError, NotFoundError, RunEndedError, UnavailableError
from tidegate.kernel.partitions import Partition, version_key
from tidegate.ports.registry import ModelHeader

if TYPE_CHECKING:  # the inference function's path stays short, and without pydantic
    from tidegate.domain.monitoring.health import HealthRecord
    from tidegate.domain.rollout.rollout import Rollout
    from tidegate.spec.model import ModelSpec

T = TypeVar("T")
LEASE = "LEASE"
_PRESENT = "attribute_exists(#sk)"
_OPEN = "#status IN (:requested, :running)"
_OPEN_VALUES = {"requested": {"S": RunStatus.REQUESTED.value}, "running": {"S": RunStatus.RUNNING.value}}
_REGISTER_ATTEMPTS = 8
_ITEMS_OF_A_RUN = 8  # about: itself and its candidates


@dataclass(frozen=True, slots=True)
class _StoredSpec:
    FORM: ClassVar = SPEC

    digest: str
    document: str
    author: str
    at: datetime


@dataclass(frozen=True, slots=True)
class _Token:
    FORM: ClassVar = StoredForm("token of a run")

    run_id: str


class DynamoRegistry:
    """ports.Models, Runs, Versions and RouteReader."""

    def __init__(self, table_name: str) -> None:
        self._table = Table(table_name)

    # Models

    def apply(self, spec: "ModelSpec", *, author: str, at: datetime) -> bool:
        """See ports.Models. The spec is written first, so a header never names a spec that is not there."""
        record = _StoredSpec(spec.digest, spec.canonical_json(), author, at)
        _append(self._table, Partition.SPEC.of(spec.name), f"SPEC#{spec.digest}", record)
        header = encode(
            ModelHeader(
                name=spec.name,
                owner=spec.owner,
                business_unit=spec.business_unit,
                task=spec.task.value,
                spec_digest=spec.digest,
                applied_by=author,
                applied_at=at,
            )
        )
        first = {"latest_version": header.pop("latest_version")}
        changed = "attribute_not_exists(#spec_digest) OR #spec_digest <> :digest"
        try:
            self._table.write(
                update(Partition.MODELS, spec.name, header, first=first, when=changed, digest={"S": spec.digest})
            )
        except RefusedError:
            return False
        return True

    def model(self, name: str) -> ModelHeader:
        """See ports.Models."""
        header = stored(self._table, ModelHeader, Partition.MODELS, name)
        return _found(header, f"no model {name!r}", "see `tidegate model list`")

    def models(self, *, after: str = "", limit: int | None = None) -> list[ModelHeader]:
        """See ports.Models."""
        items = self._table.query(Partition.MODELS, after=after, at_a_time=limit)
        return [decode(ModelHeader, item) for item in islice(items, limit)]

    def spec(self, model: str, digest: str | None = None) -> "ModelSpec":
        """See ports.Models."""
        from tidegate.spec.model import ModelSpec

        wanted = digest or self.model(model).spec_digest
        return ModelSpec.parse(json.loads(self._stored_spec(model, wanted).document), stored=True)

    def author(self, model: str, digest: str) -> str:
        """See ports.Models."""
        return self._stored_spec(model, digest).author

    def _stored_spec(self, model: str, digest: str) -> _StoredSpec:
        found = stored(self._table, _StoredSpec, Partition.SPEC.of(model), f"SPEC#{digest}")
        return _found(found, f"model {model!r} has no spec {digest}")

    # Runs

    def request(self, run: Run, *, lease_until: datetime | None) -> Run:
        """See ports.Runs. Token, run and lease are written together; whoever comes second reads what came first."""
        pk, lease_pk = Partition.RUN.of(run.model), Partition.LEASE.of(run.model)
        item = {name: value for name, value in encode(run).items() if name != "candidates"}
        writes = [put(pk, f"RUN#{run.run_id}", item, when=ABSENT)]
        if lease_until is not None:
            lease = Lease(run.model, run.run_id, holder=run.requested_by, since=run.requested_at, until=lease_until)
            writes.append(lease_write(lease, run.requested_at))
        token = f"TOKEN#{hashlib.sha256(run.token.encode()).hexdigest()}" if run.token is not None else ""
        if token:
            writes.append(put(pk, token, encode(_Token(run.run_id)), when=ABSENT))
        try:
            self._table.write(*writes)
        except RefusedError:
            other = stored(self._table, Lease, lease_pk, LEASE)  # first: one taken with our token is then known by it
            known = stored(self._table, _Token, pk, token) if token else None
            with suppress(NotFoundError):
                return self.run(run.model, known.run_id if known else run.run_id)
            if lease_until is not None and other is not None and other.until > run.requested_at:
                raise held(other) from None
            raise UnavailableError(
                f"another run of model {run.model} is being recorded at this moment", next_step="try again"
            ) from None
        return replace(run, candidates=())

    def run(self, model: str, run_id: str) -> Run:
        """See ports.Runs."""
        items = self._table.query(Partition.RUN.of(model), f"RUN#{run_id}")
        run = next((run for run in _runs(items) if run.run_id == run_id), None)
        return _found(run, f"model {model!r} has no run {run_id!r}", f"see `tidegate runs {model}`")

    def runs(self, model: str, *, after: str = "", limit: int | None = None) -> list[Run]:
        """See ports.Runs."""
        items = self._table.query(
            Partition.RUN.of(model),
            "RUN#",
            after=after and f"RUN#{after}",
            newest_first=True,
            at_a_time=limit and _ITEMS_OF_A_RUN * (limit + 1),
        )
        return list(islice(_runs(items), limit))

    def note(self, model: str, run_id: str, stage: str, at: datetime, **facts: Any) -> None:
        """See ports.Runs. Writing the same again changes nothing."""
        unknown = sorted(set(facts) - RUN_FACTS)
        if unknown:
            raise TypeError(f"note() cannot set {', '.join(unknown)} of a run")
        values = {"stage": stage, "status": RunStatus.RUNNING, **facts}
        sets = {name: attribute(Run, name, value) for name, value in values.items()}
        first = {"started_at": attribute(Run, "started_at", at)}
        try:
            self._table.write(
                update(Partition.RUN.of(model), f"RUN#{run_id}", sets, first=first, when=_OPEN, **_OPEN_VALUES)
            )
        except RefusedError:
            raise _closed(self.run(model, run_id)) from None

    def note_candidate(self, model: str, run_id: str, candidate: CandidateRun) -> None:
        """See ports.Runs. Each candidate is an item of its own, so racing calls cannot lose one."""
        self._table.write(
            put(Partition.RUN.of(model), f"RUN#{run_id}#CANDIDATE#{candidate.index:03d}", encode(candidate))
        )

    def fail(self, model: str, run_id: str, error: RunError, at: datetime) -> Run:
        """See ports.Runs."""
        return self._close(model, run_id, status=RunStatus.FAILED, error=error, ended_at=at)

    def compared(self, model: str, run_id: str, *, equal: bool, at: datetime) -> Run:
        """See ports.Runs."""
        status = RunStatus.REPRODUCED if equal else RunStatus.DIFFERS
        return self._close(model, run_id, status=status, ended_at=at)

    def _close(self, model: str, run_id: str, **values: Any) -> Run:
        sets = {name: attribute(Run, name, value) for name, value in values.items()}
        with suppress(RefusedError):  # final already, perhaps by this very call; or no such run, which run() says
            self._table.write(update(Partition.RUN.of(model), f"RUN#{run_id}", sets, when=_OPEN, **_OPEN_VALUES))
        return self.run(model, run_id)

    # Versions

    def register(self, version: Version, *, at: datetime) -> Version:
        """See ports.Versions. One transaction: the version under a free number, the header's count, the run's end.

        Raises:
            ConflictError: the run failed in the meantime.
            UnavailableError: too many registrations of the model at once; that passes.
        """
        for _ in range(_REGISTER_ATTEMPTS):
            run = self.run(version.model, version.run_id)
            if run.version is not None:
                return self.version(version.model, run.version)
            if run.status.final:
                raise _closed(run)
            taken = self.model(version.model).latest_version
            numbered = replace(version, number=taken + 1)
            accepted = version.status is not VersionStatus.REJECTED
            end = {
                "status": RunStatus.ACCEPTED if accepted else RunStatus.REJECTED,
                "version": numbered.number,
                "ended_at": at,
            }
            try:
                self._table.write(
                    put(
                        Partition.VERSION.of(version.model),
                        version_key(numbered.number),
                        encode(numbered),
                        when=ABSENT,
                    ),
                    update(
                        Partition.MODELS,
                        version.model,
                        {"latest_version": attribute(ModelHeader, "latest_version", numbered.number)},
                        when="#latest_version = :taken",
                        taken={"N": str(taken)},
                    ),
                    update(
                        Partition.RUN.of(version.model),
                        f"RUN#{version.run_id}",
                        {name: attribute(Run, name, value) for name, value in end.items()},
                        when=_OPEN,
                        **_OPEN_VALUES,
                    ),
                )
            except (RefusedError, UnavailableError):
                continue  # somebody was faster, or the answer was lost: what the table holds now decides
            return numbered
        raise UnavailableError(
            f"{version.model}: run {version.run_id} found no free version number in {_REGISTER_ATTEMPTS} attempts",
            next_step="try again: others are registering versions of this model",
        )

    def version(self, model: str, number: int) -> Version:
        """See ports.Versions."""
        version = stored(self._table, Version, Partition.VERSION.of(model), version_key(number))
        return _found(version, f"model {model!r} has no version {number}", f"see `tidegate versions {model}`")

    def versions(self, model: str, *, after: int = 0, limit: int | None = None) -> list[Version]:
        """See ports.Versions."""
        items = self._table.query(
            Partition.VERSION.of(model),
            "VERSION#",
            after=version_key(after) if after else "",
            newest_first=True,
            at_a_time=limit,
        )
        return [decode(Version, item) for item in islice(items, limit)]

    # Routes

    def route(self, model: str) -> Route | None:
        """See ports.Routes."""
        return stored(self._table, Route, Partition.ROUTE.of(model), "ROUTE")


class DynamoRoutes(DynamoRegistry):
    """ports.Routes beside what the registry is: for functions that change what is served, or show how it changed."""

    def __init__(self, table_name: str, ledger_name: str) -> None:
        super().__init__(table_name)
        self._ledger = Table(ledger_name)

    def change(self, change: RouteChange) -> None:
        """See ports.Routes."""
        route, entry = change.route, change.entry
        writes = route_writes(change, self._ledger)
        writes += [version_write(route.model, number, status=status) for number, status in change.statuses.items()]
        try:
            self._table.write(*writes)
        except RefusedError as error:
            if stored(self._ledger, LedgerEntry, Partition.LEDGER.of(route.model), f"{entry.seq:010d}") == entry:
                return
            if not any(error.refused[: len(writes) - len(change.statuses)]):
                raise ConflictError(
                    f"{route.model}: a version of this change may not serve or does not exist"
                ) from None
            raise route_refused(change, error.refused) from None

    def ledger(
        self, model: str, *, after: int = 0, limit: int | None = None, newest_first: bool = False
    ) -> list[LedgerEntry]:
        """See ports.Routes."""
        items = self._ledger.query(
            Partition.LEDGER.of(model),
            after=f"{after:010d}" if after else "",
            newest_first=newest_first,
            at_a_time=limit,
        )
        return [chained(LedgerEntry, "ledger", model, item) for item in islice(items, limit)]


class DynamoCatalog:
    """ports.Catalog."""

    def __init__(self, table_name: str) -> None:
        self._table = Table(table_name)

    def put_dataset(self, dataset: Dataset, *, replaces: Dataset | None = None) -> None:
        """See ports.Catalog."""
        names = ("registered_at", "registered_by")
        values = {name: attribute(Dataset, name, getattr(replaces, name)) for name in names} if replaces else {}
        when = " AND ".join(f"#{name} = :{name}" for name in values) or ABSENT
        sets = {
            each.name: attribute(Dataset, each.name, getattr(dataset, each.name))
            for each in fields(Dataset)
            if each.name != "latest"
        }
        try:
            self._table.write(update(Partition.DATASETS, dataset.name, sets, when=when, **values))
        except RefusedError:
            there = stored(self._table, Dataset, Partition.DATASETS, dataset.name)
            if there is None or replace(there, latest=dataset.latest) != dataset:
                raise ConflictError(f"dataset {dataset.name} was described by somebody else at the same time") from None

    def dataset(self, name: str) -> Dataset:
        """See ports.Catalog."""
        dataset = stored(self._table, Dataset, Partition.DATASETS, name)
        return _found(dataset, f"no dataset {name!r}", "see `tidegate data list`")

    def datasets(self, *, after: str = "", limit: int | None = None) -> list[Dataset]:
        """See ports.Catalog."""
        items = self._table.query(Partition.DATASETS, after=after, at_a_time=limit)
        return [decode(Dataset, item) for item in islice(items, limit)]

    def add_version(self, version: DatasetVersion) -> bool:
        """See ports.Catalog."""
        try:
            self._table.write(self._put_unless_ready(version))
        except RefusedError:
            return False
        return True

    def finish_version(self, version: DatasetVersion) -> None:
        """See ports.Catalog. Once READY nothing changes any more, so a late repetition cannot turn `latest` back."""
        writes = [self._put_unless_ready(version)]
        if version.status is DatasetStatus.READY and not version.base:
            latest = attribute(Dataset, "latest", version.version)
            writes.append(update(Partition.DATASETS, version.dataset, {"latest": latest}, when=_PRESENT))
        try:
            self._table.write(*writes)
        except RefusedError:
            self.dataset(version.dataset)
            if self.version(version.dataset, version.version).status is not DatasetStatus.READY:
                raise UnavailableError(f"dataset {version.dataset} is being changed by somebody else") from None

    def version(self, dataset: str, version: str | None = None) -> DatasetVersion:
        """See ports.Catalog."""
        hint = f"see `tidegate data show {dataset}`"
        wanted = version or _found(self.dataset(dataset).latest, f"dataset {dataset!r} has no ready version", hint)
        found = stored(self._table, DatasetVersion, Partition.DATASET.of(dataset), f"VERSION#{wanted}")
        return _found(found, f"dataset {dataset!r} has no version {wanted!r}", hint)

    def versions(self, dataset: str, *, after: str = "", limit: int | None = None) -> list[DatasetVersion]:
        """See ports.Catalog. Keys are hashes, so the times of all versions are read, and then those wanted."""
        keys = self._table.query(Partition.DATASET.of(dataset), "VERSION#", only=("sk", "added_at"))
        listed = {_added(key): key["sk"]["S"].removeprefix("VERSION#") for key in keys}
        behind = sorted((position for position in listed if not after or position < after), reverse=True)
        return [self.version(dataset, listed[position]) for position in behind[:limit]]

    def exclude(self, exclusion: Exclusion) -> None:
        """See ports.Catalog. Repeating the same exclusion changes nothing; another one under its id is a conflict."""
        self.dataset(exclusion.dataset)
        sk = f"EXCLUSION#{exclusion.exclusion_id}"
        if _append(self._table, Partition.DATASET.of(exclusion.dataset), sk, exclusion) != exclusion:
            raise ConflictError(f"exclusion {exclusion.exclusion_id} of {exclusion.dataset} already exists")

    def exclusions(self, dataset: str) -> list[Exclusion]:
        """See ports.Catalog."""
        found = [decode(Exclusion, item) for item in self._table.query(Partition.DATASET.of(dataset), "EXCLUSION#")]
        return sorted(found, key=lambda exclusion: exclusion.position)

    @staticmethod
    def _put_unless_ready(version: DatasetVersion) -> dict[str, dict[str, Any]]:
        return put(
            Partition.DATASET.of(version.dataset),
            f"VERSION#{version.version}",
            encode(version),
            when=f"{ABSENT} OR #status <> :ready",
            ready=attribute(DatasetVersion, "status", DatasetStatus.READY),
        )


def _added(key: Item) -> str:
    version = key["sk"]["S"].removeprefix("VERSION#")
    return version_position(datetime.fromisoformat(key["added_at"]["S"]), version)


def stored(table: Table, cls: type[T], pk: str, sk: str) -> T | None:
    """The record under a key."""
    item = table.get(pk, sk)
    return decode(cls, item) if item else None


def revised(pk: str, sk: str, record: "Route | Rollout | HealthRecord", replaces: int | None = None) -> Write:
    """A record whose `revision` counts its changes: refused unless the one that it replaces (the one before it, unless
    another is named) is stored, or none when that is 0."""
    replaced = record.revision - 1 if replaces is None else replaces
    if replaced == 0:
        return put(pk, sk, encode(record), when=ABSENT)
    return put(pk, sk, encode(record), when="#revision = :replaced", replaced={"N": str(replaced)})


def route_writes(change: RouteChange, ledger: Table) -> list[Write]:
    """The changed route and its ledger entry, which goes into a table of its own. Refused unless the entry before it
    recorded the route that is changed (`LedgerEntry.builds_on_the_last`)."""
    route, entry = change.route, change.entry
    pk, before = Partition.LEDGER.of(route.model), f"{entry.seq - 1:010d}"
    writes = [
        revised(Partition.ROUTE.of(route.model), "ROUTE", route, change.replaces),
        ledger.its(put(pk, f"{entry.seq:010d}", encode(entry), when=ABSENT)),
    ]
    if entry.seq > 1:
        recorded, values = "#hash = :head", {"head": attribute(LedgerEntry, "hash", entry.previous_hash)}
        if entry.builds_on_the_last:
            recorded += " AND (attribute_not_exists(#route_sha256) OR #route_sha256 = :route)"
            values["route"] = attribute(LedgerEntry, "route_sha256", entry.route_before_sha256)
        writes.append(ledger.its(check(pk, before, when=recorded, **values)))
    return writes


def route_refused(change: RouteChange, refused: Sequence[bool]) -> ConflictError:
    """Why the writes of a change were refused."""
    return unrecorded_route(change.route) if not any(refused[:2]) else route_moved(change.route)


def version_write(model: str, number: int, **facts: Any) -> Write:
    """Fields of a registered version; refused when its status is a closed one."""
    sets = {name: attribute(Version, name, value) for name, value in facts.items()}
    closed = {status.name: attribute(Version, "status", status) for status in VersionStatus if status.closed}
    when = f"{_PRESENT} AND NOT #status IN ({', '.join(f':{name}' for name in closed)})"
    return update(Partition.VERSION.of(model), version_key(number), sets, when=when, **closed)


def lease_write(lease: Lease, now: datetime) -> Write:
    """Take or extend a lease; refused while another run holds it."""
    return put(
        Partition.LEASE.of(lease.model),
        LEASE,
        encode(lease),
        when=f"{ABSENT} OR #run_id = :run OR #until <= :now",
        run=attribute(Lease, "run_id", lease.run_id),
        now=attribute(Lease, "until", now),
    )


def unrecorded_route(route: Route) -> ConflictError:
    """The change was decided on a route that the ledger does not lead to."""
    return unacknowledged(
        route.model,
        f"the route of {route.model} is not the one that entry {route.revision - 1} of its ledger recorded: one of "
        "them was changed without Tidegate",
    )


def route_moved(route: Route) -> ConflictError:
    """The change was decided on a route that is not the current one."""
    return ConflictError(
        f"the route of {route.model} was changed by somebody else (revision {route.revision} exists)",
        next_step=f"see `tidegate ledger {route.model}` and decide again",
    )


def _append(table: Table, pk: str, sk: str, record: T) -> T:
    """Store a record that never changes; returns the one that is stored."""
    try:
        table.write(put(pk, sk, encode(record), when=ABSENT))
    except RefusedError:
        return stored(table, type(record), pk, sk) or record
    return record


def _runs(items: Iterator[dict[str, Any]]) -> Iterator[Run]:
    """Runs with their candidates, out of items in order of their keys, whichever way that runs."""
    for _, group in groupby(items, key=lambda item: item["sk"]["S"].split("#")[1]):
        parts = sorted(group, key=lambda item: str(item["sk"]["S"]))  # a run's key comes before its candidates'
        if parts[0]["sk"]["S"].count("#") == 1:
            candidates = tuple(decode(CandidateRun, part) for part in parts[1:])
            yield replace(decode(Run, parts[0]), candidates=candidates)


def _closed(run: Run) -> RunEndedError:
    return RunEndedError(f"run {run.run_id} of model {run.model} is already {run.status}; a finished run never changes")


def _found(value: T | None, problem: str, next_step: str = "") -> T:
    if value is None:
        raise NotFoundError(problem, next_step=next_step)
    return value
