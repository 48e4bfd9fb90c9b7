"""In-memory ports. They pass the same contract suite (tests/adapters) as the adapters on AWS, so tests may trust them.

registry, catalog = InMemoryRegistry(), InMemoryCatalog()
artifacts, clock = InMemoryArtifacts(), FixedClock()
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from tidegate.domain.capture import Capture, CapturePolicy, records
from tidegate.domain.dataset import Dataset, DatasetStatus, DatasetVersion, Exclusion
from tidegate.domain.ledger import LedgerEntry
from tidegate.domain.release import (
    RUN_FACTS,
    CandidateRun,
    Route,
    RouteChange,
    Run,
    RunError,
    RunStatus,
    Version,
    VersionStatus,
)
from tidegate.errors import ArtifactRejectedError, ConflictError, NotFoundError
from tidegate.ports import ModelHeader
from tidegate.spec import ModelSpec

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
    """ports.Models, Runs, Versions and Routes."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._headers: dict[str, ModelHeader] = {}
        self._specs: dict[tuple[str, str], ModelSpec] = {}
        self._runs: dict[tuple[str, str], Run] = {}
        self._candidates: dict[tuple[str, str], dict[int, CandidateRun]] = {}
        self._tokens: dict[tuple[str, str], str] = {}
        self._versions: dict[tuple[str, int], Version] = {}
        self._routes: dict[str, Route] = {}
        self._ledger: dict[str, list[LedgerEntry]] = {}

    # Models

    def apply(self, spec: ModelSpec, *, author: str, at: datetime) -> bool:
        with self._lock:
            known = self._headers.get(spec.name)
            self._specs.setdefault((spec.name, spec.digest), spec)
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

    # Runs

    def request(self, run: Run) -> Run:
        with self._lock:
            if run.token is not None:
                known = self._tokens.get((run.model, run.token))
                if known is not None:
                    return self.run(run.model, known)
            if (run.model, run.run_id) in self._runs:
                return self.run(run.model, run.run_id)
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
        with self._lock:
            run = self.run(model, run_id)
            if not run.status.final:
                self._runs[model, run_id] = replace(run, status=RunStatus.FAILED, error=error, ended_at=at)
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

    def overtake(self, model: str, number: int, reason: str) -> Version:
        with self._lock:
            version = self.version(model, number)
            if version.status is VersionStatus.ACCEPTED:
                version = replace(version, status=VersionStatus.OVERTAKEN, reasons=(reason,))
                self._versions[model, number] = version
            return version

    # Routes

    def route(self, model: str) -> Route | None:
        return self._routes.get(model)

    def change(self, change: RouteChange) -> None:
        route = change.route
        with self._lock:
            entries = self._ledger.setdefault(route.model, [])
            if change.entry in entries:
                return
            current = self._routes.get(route.model)
            if (current.revision if current else 0) != route.revision - 1:
                raise ConflictError(f"the route of {route.model} was changed by somebody else")
            known = [self._versions.get((route.model, number)) for number in change.statuses]
            barred = {VersionStatus.REJECTED, VersionStatus.OVERTAKEN}
            if any(version is None or version.status in barred for version in known):
                raise ConflictError(f"{route.model}: a version of this change may not serve, or is not there")
            self._routes[route.model] = route
            entries.append(change.entry)
            for number, status in change.statuses.items():
                self._versions[route.model, number] = replace(self._versions[route.model, number], status=status)

    def ledger(self, model: str) -> list[LedgerEntry]:
        return list(self._ledger.get(model, ()))


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
            if version.status is DatasetStatus.READY:
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

    def upload(self, dataset: str, data: bytes) -> str:
        """What a caller does with the presigned URL; returns the SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.objects[self.key(dataset, sha256)] = data
        return sha256


@dataclass
class InMemoryWorkflow:
    """ports.Workflow; `started` holds each execution once."""

    started: list[tuple[str, str]] = field(default_factory=list)

    def execution(self, run_id: str) -> str:
        return f"arn:aws:states:eu-west-1:123456789012:execution:release:{run_id}"

    def start(self, model: str, run_id: str) -> None:
        if (model, run_id) not in self.started:
            self.started.append((model, run_id))


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
    """ports.CaptureLog and CaptureReader: what was offered, and what becomes of it under a policy."""

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
