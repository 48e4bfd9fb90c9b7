"""Models, runs, versions, what is served, and the files of each."""

import hashlib
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tidegate.domain.registry.ledger import LedgerEntry
from tidegate.domain.registry.route import Route
from tidegate.domain.registry.run import RUN_FACTS, CandidateRun, Lease, Run, RunError, RunStatus, held
from tidegate.domain.registry.version import Version, VersionStatus
from tidegate.domain.rollout.changes import RouteChange
from tidegate.domain.rollout.rollout import Rollout, Step, VersionNote
from tidegate.kernel.errors import ArtifactRejectedError, ConflictError, RunEndedError
from tidegate.ports.registry import ModelHeader
from tidegate.spec.model import ModelSpec
from tidegate.testing.found import behind, found


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
        return found(self._headers.get(name), f"model {name}")

    def models(self, *, after: str = "", limit: int | None = None) -> list[ModelHeader]:
        return [self._headers[name] for name in sorted(self._headers) if name > after][:limit]

    def spec(self, model: str, digest: str | None = None) -> ModelSpec:
        wanted = digest or self.model(model).spec_digest
        return found(self._specs.get((model, wanted)), f"spec {wanted} of model {model}")

    def author(self, model: str, digest: str) -> str:
        return found(self._authors.get((model, digest)), f"spec {digest} of model {model}")

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
        run = found(self._runs.get((model, run_id)), f"run {run_id} of model {model}")
        candidates = self._candidates.get((model, run_id), {})
        return replace(run, candidates=tuple(candidates[index] for index in sorted(candidates)))

    def runs(self, model: str, *, after: str = "", limit: int | None = None) -> list[Run]:
        ids = sorted((run_id for name, run_id in self._runs if name == model), reverse=True)
        return [self.run(model, run_id) for run_id in ids if not after or run_id < after][:limit]

    def note(self, model: str, run_id: str, stage: str, at: datetime, **facts: Any) -> None:
        unknown = sorted(set(facts) - RUN_FACTS)
        if unknown:
            raise TypeError(f"note() cannot set {', '.join(unknown)} of a run")
        with self._lock:
            run = self.run(model, run_id)
            if run.status.final:
                raise RunEndedError(f"run {run_id} of model {model} is {run.status}")
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
                raise RunEndedError(f"run {run.run_id} of model {run.model} is {run.status}")
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
        return found(self._versions.get((model, number)), f"version {number} of model {model}")

    def registered_sha256(self, model: str, number: int) -> str:
        return self.version(model, number).artifact_sha256

    def versions(self, model: str, *, after: int = 0, limit: int | None = None) -> list[Version]:
        numbers = sorted((number for name, number in self._versions if name == model), reverse=True)
        return [self._versions[model, number] for number in numbers if not after or number < after][:limit]

    # Routes

    def route(self, model: str) -> Route | None:
        return self._routes.get(model)

    def change(self, change: RouteChange) -> None:
        with self._lock:
            if change.entry in self._ledger.get(change.route.model, ()):
                return
            self._write(change, self._with_statuses(change))

    def ledger(
        self, model: str, *, after: int = 0, limit: int | None = None, newest_first: bool = False
    ) -> list[LedgerEntry]:
        return behind(self._ledger.get(model, ()), after, limit, newest_first=newest_first)

    def _with_statuses(self, change: RouteChange) -> dict[int, Version]:
        """The versions as they are after the change; raises ConflictError when it must not be."""
        model, route = change.route.model, self._routes.get(change.route.model)
        if (route.revision if route else 0) != change.replaces:
            raise ConflictError(f"the route of {model} was changed by somebody else")
        self._demand_recorded(change.entry)
        return {number: replace(self._open(model, number), status=status) for number, status in change.statuses.items()}

    def _demand_recorded(self, entry: LedgerEntry) -> None:
        newest = next(reversed(self._ledger.get(entry.model, [])), None)
        known, follows = (newest.seq, newest.hash) if newest else (0, ""), (entry.seq - 1, entry.previous_hash)
        before = newest.route_sha256 if newest and entry.builds_on_the_last else None
        if known != follows or before not in {None, entry.route_before_sha256}:
            raise ConflictError(f"the route of {entry.model} is not the one that entry {entry.seq - 1} recorded")

    def _open(self, model: str, number: int) -> Version:
        version = self._versions.get((model, number))
        if version is None or version.status.closed:
            raise ConflictError(f"{model} version {number} is closed or does not exist, so its status cannot change")
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

    def rollouts(self, model: str, *, after: str = "", limit: int | None = None) -> list[Rollout]:
        run_ids = sorted((run_id for name, run_id in self._rollouts if name == model), reverse=True)
        return [self._rollouts[model, run_id] for run_id in run_ids if not after or run_id < after][:limit]

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
            raise held(lease)

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
        return found(self.objects.get(key), f"object {key}")

    def get_verified(self, key: str, sha256: str) -> bytes:
        data = self.get(key)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ArtifactRejectedError(f"{key} does not have the SHA-256 the registry recorded")
        return data


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
