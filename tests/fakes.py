"""In-memory ports. They pass the same contract suite (tests/adapters) as the adapters on AWS, so tests may trust them.

registry, catalog = InMemoryRegistry(), InMemoryCatalog()
artifacts, clock = InMemoryArtifacts(), FixedClock()
"""

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from tidegate.domain.data.dataset import Dataset, DatasetStatus, DatasetVersion, Exclusion
from tidegate.domain.monitoring.health import HealthRecord
from tidegate.domain.registry.ledger import LedgerEntry
from tidegate.domain.registry.route import Route
from tidegate.domain.registry.run import RUN_FACTS, CandidateRun, Lease, Run, RunError, RunStatus
from tidegate.domain.registry.version import Version, VersionStatus
from tidegate.domain.rollout.canary import Look
from tidegate.domain.rollout.changes import RouteChange
from tidegate.domain.rollout.rollout import Evidence, Rollout, Step, VersionNote
from tidegate.domain.serving.capture import Capture, CapturePolicy, hour_of, line, records
from tidegate.kernel.errors import ArtifactRejectedError, ConflictError, NotFoundError
from tidegate.ports.monitoring import Sources
from tidegate.ports.registry import ModelHeader
from tidegate.spec.model import ModelSpec

T = TypeVar("T")


@dataclass
class FixedClock:
    """A clock that stands still until it is moved."""

    at: datetime = datetime(2026, 1, 5, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def move(self, **delta: float) -> None:
        """`clock.move(seconds=5)`."""
        self.at += timedelta(**delta)


class InMemoryRegistry:
    """ports.Models, Runs, Versions, Routes and Rollouts."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._headers: dict[str, ModelHeader] = {}
        self._specs: dict[tuple[str, str], ModelSpec] = {}
        self._authors: dict[tuple[str, str], str] = {}
        self._runs: dict[tuple[str, str], Run] = {}
        self._candidates: dict[tuple[str, str], dict[int, CandidateRun]] = {}
        self._tokens: dict[tuple[str, str], str] = {}
        self._versions: dict[tuple[str, int], Version] = {}
        self._routes: dict[str, Route] = {}
        self._ledger: dict[str, list[LedgerEntry]] = {}
        self._rollouts: dict[tuple[str, str], Rollout] = {}
        self._leases: dict[str, Lease] = {}

    # Models

    def apply(self, spec: ModelSpec, *, author: str, at: datetime) -> bool:
        with self._lock:
            known = self._headers.get(spec.name)
            self._specs.setdefault((spec.name, spec.digest), spec)
            self._authors.setdefault((spec.name, spec.digest), author)
            if known and known.spec_digest == spec.digest:
                return False
            self._headers[spec.name] = ModelHeader(
                name=spec.name,
                owner=spec.owner,
                business_unit=spec.business_unit,
                task=spec.task.value,
                spec_digest=spec.digest,
                applied_by=author,
                applied_at=at,
                latest_version=known.latest_version if known else 0,
            )
            return True

    def model(self, name: str) -> ModelHeader:
        return _found(self._headers.get(name), f"model {name}")

    def models(self, *, after: str = "", limit: int | None = None) -> list[ModelHeader]:
        return [self._headers[name] for name in sorted(self._headers) if name > after][:limit]

    def spec(self, model: str, digest: str | None = None) -> ModelSpec:
        wanted = digest or self.model(model).spec_digest
        return _found(self._specs.get((model, wanted)), f"spec {wanted} of model {model}")

    def author(self, model: str, digest: str) -> str:
        return _found(self._authors.get((model, digest)), f"spec {digest} of model {model}")

    # Runs

    def request(self, run: Run, *, lease_until: datetime | None) -> Run:
        with self._lock:
            if run.token is not None:
                known = self._tokens.get((run.model, run.token))
                if known is not None:
                    return self.run(run.model, known)
            if (run.model, run.run_id) in self._runs:
                return self.run(run.model, run.run_id)
            if lease_until is not None:
                self._demand_lease(run.model, run.run_id, run.requested_at)
                lease = Lease(run.model, run.run_id, run.requested_by, since=run.requested_at, until=lease_until)
                self._leases[run.model] = lease
            if run.token is not None:
                self._tokens[run.model, run.token] = run.run_id
            self._runs[run.model, run.run_id] = replace(run, candidates=())
            return self.run(run.model, run.run_id)

    def run(self, model: str, run_id: str) -> Run:
        run = _found(self._runs.get((model, run_id)), f"run {run_id} of model {model}")
        candidates = self._candidates.get((model, run_id), {})
        return replace(run, candidates=tuple(candidates[index] for index in sorted(candidates)))

    def runs(self, model: str, limit: int = 50) -> list[Run]:
        ids = sorted((run_id for name, run_id in self._runs if name == model), reverse=True)
        return [self.run(model, run_id) for run_id in ids[:limit]]

    def note(self, model: str, run_id: str, stage: str, at: datetime, **facts: Any) -> None:
        unknown = sorted(set(facts) - RUN_FACTS)
        if unknown:
            raise TypeError(f"note() cannot set {', '.join(unknown)} of a run")
        with self._lock:
            run = self.run(model, run_id)
            if run.status.final:
                raise ConflictError(f"run {run_id} of model {model} is {run.status}")
            self._runs[model, run_id] = replace(
                run, status=RunStatus.RUNNING, stage=stage, started_at=run.started_at or at, **facts
            )

    def note_candidate(self, model: str, run_id: str, candidate: CandidateRun) -> None:
        with self._lock:
            self._candidates.setdefault((model, run_id), {})[candidate.index] = candidate

    def fail(self, model: str, run_id: str, error: RunError, at: datetime) -> Run:
        return self._close(model, run_id, status=RunStatus.FAILED, error=error, ended_at=at)

    def compared(self, model: str, run_id: str, *, equal: bool, at: datetime) -> Run:
        status = RunStatus.REPRODUCED if equal else RunStatus.DIFFERS
        return self._close(model, run_id, status=status, ended_at=at)

    def _close(self, model: str, run_id: str, **facts: Any) -> Run:
        with self._lock:
            run = self.run(model, run_id)
            if not run.status.final:
                self._runs[model, run_id] = replace(run, **facts)
            return self.run(model, run_id)

    # Versions

    def register(self, version: Version, *, at: datetime) -> Version:
        with self._lock:
            run = self.run(version.model, version.run_id)
            if run.version is not None:
                return self.version(version.model, run.version)
            if run.status.final:
                raise ConflictError(f"run {run.run_id} of model {run.model} is {run.status}")
            header = self.model(version.model)
            numbered = replace(version, number=header.latest_version + 1)
            self._headers[version.model] = replace(header, latest_version=numbered.number)
            self._versions[version.model, numbered.number] = numbered
            accepted = version.status is not VersionStatus.REJECTED
            self._runs[version.model, version.run_id] = replace(
                run,
                status=RunStatus.ACCEPTED if accepted else RunStatus.REJECTED,
                version=numbered.number,
                ended_at=at,
            )
            return numbered

    def version(self, model: str, number: int) -> Version:
        return _found(self._versions.get((model, number)), f"version {number} of model {model}")

    def versions(self, model: str) -> list[Version]:
        numbers = sorted((number for name, number in self._versions if name == model), reverse=True)
        return [self._versions[model, number] for number in numbers]

    # Routes

    def route(self, model: str) -> Route | None:
        return self._routes.get(model)

    def change(self, change: RouteChange) -> None:
        with self._lock:
            if change.entry in self._ledger.get(change.route.model, ()):
                return
            self._write(change, self._with_statuses(change))

    def ledger(self, model: str) -> list[LedgerEntry]:
        return list(self._ledger.get(model, ()))

    def _with_statuses(self, change: RouteChange) -> dict[int, Version]:
        """The versions as they are after the change; raises ConflictError when it must not be."""
        model, route = change.route.model, self._routes.get(change.route.model)
        if (route.revision if route else 0) != change.route.revision - 1:
            raise ConflictError(f"the route of {model} was changed by somebody else")
        return {number: replace(self._open(model, number), status=status) for number, status in change.statuses.items()}

    def _open(self, model: str, number: int) -> Version:
        version = self._versions.get((model, number))
        if version is None or version.status.closed:
            raise ConflictError(f"{model} version {number} is closed or not there, so its status cannot change")
        return version

    def _write(self, change: RouteChange | None, versions: dict[int, Version]) -> None:
        if change is not None:
            self._routes[change.route.model] = change.route
            self._ledger.setdefault(change.route.model, []).append(change.entry)
        for number, version in versions.items():
            self._versions[version.model, number] = version

    # Rollouts

    def rollout(self, model: str, run_id: str) -> Rollout | None:
        return self._rollouts.get((model, run_id))

    def rollouts(self, model: str) -> list[Rollout]:
        run_ids = sorted((run_id for name, run_id in self._rollouts if name == model), reverse=True)
        return [self._rollouts[model, run_id] for run_id in run_ids]

    def save(self, step: Step, *, now: datetime) -> None:
        rollout, change = step.rollout, step.change
        model, run_id = rollout.model, rollout.run_id
        with self._lock:
            stored = self._rollouts.get((model, run_id))
            if stored == rollout:
                return
            if (stored.revision if stored else 0) != rollout.revision - 1:
                raise ConflictError(f"the rollout of {model} version {rollout.version} was changed by somebody else")
            if not rollout.phase.final:
                self._demand_lease(model, run_id, now)
            versions = self._with_statuses(change) if change else {}
            if step.note:
                versions |= self._noted(rollout, step.note, versions)
            self._write(change, versions)
            self._rollouts[model, run_id] = rollout
            lease = self._leases.get(model)
            if rollout.phase.final:
                self.free(model, run_id)
            elif lease and lease.run_id == run_id:
                self._leases[model] = replace(lease, until=rollout.lease_until)
            else:
                self._leases[model] = Lease(model, run_id, rollout.actor, since=now, until=rollout.lease_until)

    def lease(self, model: str) -> Lease | None:
        return self._leases.get(model)

    def free(self, model: str, run_id: str) -> None:
        with self._lock:
            lease = self._leases.get(model)
            if lease and lease.run_id == run_id:
                self._leases[model] = replace(lease, until=datetime.fromtimestamp(0, UTC))

    def _demand_lease(self, model: str, run_id: str, now: datetime) -> None:
        lease = self._leases.get(model)
        if lease and lease.run_id != run_id and lease.until > now:
            raise ConflictError(
                f"run {lease.run_id} of {lease.holder} has the release of {model} since {lease.since.isoformat()}, and "
                f"its lease until {lease.until.isoformat()}",
                next_step=f"wait until it is over, or end its rollout: tidegate rollout {model}",
            )

    def _noted(self, rollout: Rollout, note: VersionNote, changed: dict[int, Version]) -> dict[int, Version]:
        facts: dict[str, Any] = {"status": note.status} if note.status else {}
        facts |= {"reasons": (note.reason,)} if note.reason else {}
        facts |= {"approved_by": note.approved_by} if note.approved_by else {}
        number = rollout.version
        known = changed.get(number) or self._versions.get((rollout.model, number))
        ended_before = known is not None and known.status.closed and number not in changed
        if not facts or (ended_before and note.status):
            return {}
        return {number: replace(changed.get(number) or self._open(rollout.model, number), **facts)}


class InMemoryCatalog:
    """ports.Catalog."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._datasets: dict[str, Dataset] = {}
        self._versions: dict[tuple[str, str], DatasetVersion] = {}
        self._exclusions: dict[tuple[str, str], Exclusion] = {}

    def put_dataset(self, dataset: Dataset) -> None:
        with self._lock:
            known = self._datasets.get(dataset.name)
            self._datasets[dataset.name] = replace(dataset, latest=known.latest if known else None)

    def dataset(self, name: str) -> Dataset:
        return _found(self._datasets.get(name), f"dataset {name}")

    def datasets(self, *, after: str = "", limit: int | None = None) -> list[Dataset]:
        return [self._datasets[name] for name in sorted(self._datasets) if name > after][:limit]

    def add_version(self, version: DatasetVersion) -> bool:
        with self._lock:
            known = self._versions.get((version.dataset, version.version))
            if known and known.status is DatasetStatus.READY:
                return False
            self._versions[version.dataset, version.version] = version
            return True

    def finish_version(self, version: DatasetVersion) -> None:
        with self._lock:
            dataset = self.dataset(version.dataset)
            known = self._versions.get((version.dataset, version.version))
            if known and known.status is DatasetStatus.READY:
                return
            self._versions[version.dataset, version.version] = version
            if version.status is DatasetStatus.READY and not version.base:
                self._datasets[dataset.name] = replace(dataset, latest=version.version)

    def version(self, dataset: str, version: str | None = None) -> DatasetVersion:
        wanted = version or _found(self.dataset(dataset).latest, f"a ready version of dataset {dataset}")
        return _found(self._versions.get((dataset, wanted)), f"version {wanted} of dataset {dataset}")

    def versions(self, dataset: str) -> list[DatasetVersion]:
        mine = [version for (name, _), version in self._versions.items() if name == dataset]
        return sorted(mine, key=lambda version: (version.added_at, version.version), reverse=True)

    def exclude(self, exclusion: Exclusion) -> None:
        with self._lock:
            self.dataset(exclusion.dataset)
            known = self._exclusions.setdefault((exclusion.dataset, exclusion.exclusion_id), exclusion)
            if known != exclusion:
                raise ConflictError(f"exclusion {exclusion.exclusion_id} of {exclusion.dataset} exists already")

    def exclusions(self, dataset: str) -> list[Exclusion]:
        mine = [exclusion for (name, _), exclusion in self._exclusions.items() if name == dataset]
        return sorted(mine, key=lambda exclusion: (exclusion.start, exclusion.exclusion_id))


@dataclass
class InMemoryArtifacts:
    """ports.Artifacts; `objects` is open for tests that tamper with one."""

    objects: dict[str, bytes] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> str:
        self.objects[key] = bytes(data)
        return hashlib.sha256(data).hexdigest()

    def get(self, key: str) -> bytes:
        self.reads.append(key)
        return _found(self.objects.get(key), f"object {key}")

    def get_verified(self, key: str, sha256: str) -> bytes:
        data = self.get(key)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ArtifactRejectedError(f"{key} does not have the SHA-256 the registry recorded")
        return data


@dataclass
class InMemoryDatasetFiles:
    """ports.DatasetFiles; `objects` by key."""

    objects: dict[str, bytes] = field(default_factory=dict)

    def upload_url(self, dataset: str, sha256: str, size: int) -> str:
        return f"memory://{self.key(dataset, sha256)}?size={size}"

    def key(self, dataset: str, sha256: str) -> str:
        return f"datasets/{dataset}/{sha256}"

    def exists(self, key: str) -> bool:
        return key in self.objects

    def read(self, key: str) -> bytes:
        return _found(self.objects.get(key), f"object {key}")

    def put(self, dataset: str, data: bytes) -> str:
        return self.upload(dataset, data)

    def upload(self, dataset: str, data: bytes) -> str:
        """What a caller does with the presigned URL; returns the SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.objects[self.key(dataset, sha256)] = data
        return sha256


@dataclass
class InMemoryWorkflow:
    """ports.Workflow; `started` holds each execution once, `resumed` every token."""

    started: list[tuple[str, str]] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)

    def execution(self, run_id: str) -> str:
        return f"arn:aws:states:eu-west-1:123456789012:execution:release:{run_id}"

    def start(self, model: str, run_id: str) -> None:
        if (model, run_id) not in self.started:
            self.started.append((model, run_id))

    def resume(self, token: str) -> None:
        self.resumed.append(token)


@dataclass
class InMemoryArms:
    """ports.ArmsReader; `served` holds captures as tests feed them: under which revision of the route, and what both
    arms did."""

    served: list[tuple[int, Look]] = field(default_factory=list)

    def feed(self, revision: int, look: Look) -> None:
        self.served.append((revision, look))

    def since_last_look(self, rollout: Rollout) -> Evidence:
        known = len(rollout.fetched.get("served", ()))
        looks: dict[int, Look] = {}
        for revision, look in self.served[known:]:
            if revision in rollout.route_revisions:
                looks[revision] = looks[revision] + look if revision in looks else look
        return Evidence(tuple(looks.values()), {"served": tuple(map(str, range(len(self.served))))})


@dataclass
class InMemoryDispatcher:
    """ports.Dispatcher; `on_register` lets a test do the work at once."""

    dispatched: list[tuple[str, str]] = field(default_factory=list)
    on_register: Callable[[str, str], None] | None = None

    def register_dataset(self, dataset: str, version: str) -> None:
        self.dispatched.append((dataset, version))
        if self.on_register:
            self.on_register(dataset, version)


def _found(value: T | None, what: str) -> T:
    if value is None:
        raise NotFoundError(f"no {what}")
    return value


class InMemoryCaptures:
    """ports.CaptureLog, CaptureReader and CaptureLookup: what was offered, and what becomes of it under a policy."""

    def __init__(self, policy: CapturePolicy | None = None) -> None:
        self.offered: list[Capture] = []
        self._policy = policy or CapturePolicy()

    def offer(self, capture: Capture) -> None:
        self.offered.append(capture)

    def read(self, model: str, hour: str, limit: int) -> list[dict[str, Any]]:
        found = {
            record["id"]: record
            for capture in self.offered
            if capture.model == model
            for record in records(capture, self._policy)
            if record["hour"] == hour
        }
        return [found[each] for each in sorted(found, reverse=True)][:limit]

    def find(
        self, models: Sequence[str], prediction_id: str, *, at: datetime, reach: timedelta
    ) -> dict[str, Any] | None:
        first, last = hour_of(at - reach), hour_of(at + reach)
        found = (
            record
            for capture in self.offered
            if capture.model in models
            for record in records(capture, self._policy)
            if record["id"] == prediction_id and first <= record["hour"] <= last
        )
        return next(found, None)


@dataclass
class InMemoryHealthRecords:
    """ports.HealthRecords; `saved` has every revision."""

    saved: list[HealthRecord] = field(default_factory=list)

    def record(self, model: str) -> HealthRecord | None:
        return next((each for each in reversed(self.saved) if each.model == model), None)

    def save(self, record: HealthRecord) -> None:
        known = self.record(record.model)
        if known == record:
            return
        if (known.revision if known else 0) != record.revision - 1:
            raise ConflictError(f"the health of {record.model} was changed by somebody else")
        self.saved.append(record)


@dataclass
class InMemoryVerdicts:
    """ports.Verdicts; documents by key, as JSON keeps them."""

    documents: dict[str, str] = field(default_factory=dict)

    def write(self, model: str, hour: str, document: Mapping[str, Any]) -> str:
        key = f"verdicts/model={model}/{hour}.json"
        self.documents[key] = json.dumps(document, allow_nan=False)
        return key

    def read(self, key: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(_found(self.documents.get(key), f"object {key}"))
        return document


@dataclass
class InMemoryHours:
    """ports.Hours; what was captured and reported, by (model, hour) and object, and what was counted of it."""

    captures: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    feedback: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    documents: dict[tuple[str, int, str], str] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)

    def capture(self, records: Iterable[Mapping[str, Any]], *, key: str = "") -> None:
        """An object of captures for each hour; `key` names it."""
        self._add(self.captures, [dict(record) for record in records], key or f"captures-{len(self.captures)}")

    def report(self, model: str, hour: str, records: Iterable[Mapping[str, Any]], *, key: str = "") -> None:
        """An object of feedback on predictions of an hour."""
        added = [dict(record) | {"model": model, "hour": hour} for record in records]
        self._add(self.feedback, added, key or f"feedback-{sum(map(len, self.feedback.values()))}")

    def asked(self, model: str, since: str) -> bool:
        return any(name == model and hour >= since for name, hour in self.captures)

    def sources(self, model: str, first: str, last: str) -> dict[str, Sources]:
        hours = sorted(hour for name, hour in self.captures if name == model and first <= hour <= last)
        return {
            hour: Sources(
                tuple(sorted(self.captures[model, hour])), tuple(sorted(self.feedback.get((model, hour), {})))
            )
            for hour in hours
        }

    def outcomes(self, sources: Sources) -> dict[str, Any]:
        reported = self._objects(self.feedback)
        records = [record for key in sources.feedback for record in reported[key]]
        by_time = sorted(records, key=lambda record: datetime.fromisoformat(record["time"]))
        return {record["id"]: record["outcome"] for record in by_time}

    def lines(self, sources: Sources) -> Iterator[Iterable[bytes]]:
        captured = self._objects(self.captures)
        for key in sources.captures:
            self.read.append(key)
            yield [line(record) for record in captured[key]]

    def counted(self, model: str, version: int, hours: Collection[str]) -> dict[str, dict[str, Any]]:
        keys = {hour: (model, version, hour) for hour in hours}
        return {hour: json.loads(self.documents[key]) for hour, key in keys.items() if key in self.documents}

    def keep(self, model: str, version: int, hour: str, document: Mapping[str, Any]) -> None:
        self.documents[model, version, hour] = json.dumps(document, allow_nan=False)

    @staticmethod
    def _add(
        objects: dict[tuple[str, str], dict[str, list[dict[str, Any]]]], records: list[dict[str, Any]], key: str
    ) -> None:
        for record in records:
            place = objects.setdefault((record["model"], record["hour"]), {})
            place.setdefault(f"{record['model']}/{record['hour']}/{key}", []).append(record)

    @staticmethod
    def _objects(
        objects: dict[tuple[str, str], dict[str, list[dict[str, Any]]]],
    ) -> dict[str, list[dict[str, Any]]]:
        return {key: records for named in objects.values() for key, records in named.items()}
