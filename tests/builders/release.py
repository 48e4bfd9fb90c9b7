"""A release from its dataset to its registered version."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.builders.registry import a_run
from tests.builders.specs import a_spec
from tests.builders.tables import to_csv
from tidegate.domain.data.dataset import DataFile, Dataset, DatasetStatus, DatasetVersion, content_version
from tidegate.domain.registry.run import Run, RunStatus
from tidegate.messages import Evaluated, Fitted, Plan, RegisterDataset, Registered, RegisterTask, RunRef, Verdict
from tidegate.ml.frames import PandasReader
from tidegate.spec.model import ModelSpec
from tidegate.steps.data.catalog import catalog
from tidegate.steps.data.prepare import prepare
from tidegate.steps.evaluation.register import register
from tidegate.testing.data import InMemoryCatalog, InMemoryDatasetFiles
from tidegate.testing.platform import FixedClock
from tidegate.testing.registry import InMemoryArtifacts, InMemoryRegistry


@dataclass
class ReleaseHouse:
    """Ports in memory, and the calls that a release begins with."""

    registry: InMemoryRegistry = field(default_factory=InMemoryRegistry)
    catalog: InMemoryCatalog = field(default_factory=InMemoryCatalog)
    files: InMemoryDatasetFiles = field(default_factory=InMemoryDatasetFiles)
    artifacts: InMemoryArtifacts = field(default_factory=InMemoryArtifacts)
    clock: FixedClock = field(default_factory=FixedClock)
    allowed_licences: tuple[str, ...] = ()

    def describe(self, **said: Any) -> Dataset:
        about: dict[str, Any] = {"origin": "made up", "licence": "CC0-1.0", "pii": (), "outcome": (), "time": "at"}
        dataset = Dataset(
            name="trips",
            owner="tests",
            registered_by="ana",
            registered_at=self.clock.now(),
            **about | said,
        )
        self.catalog.put_dataset(dataset)
        return dataset

    def upload(self, *contents: bytes) -> DatasetVersion:
        """A version that waits to be registered."""
        hashes = [self.files.upload("trips", content) for content in contents]
        version = DatasetVersion(
            dataset="trips",
            version=content_version(hashes),
            status=DatasetStatus.REGISTERING,
            files=tuple(
                DataFile(f"part{number}.csv", sha256, len(content), self.files.key("trips", sha256))
                for number, (sha256, content) in enumerate(zip(hashes, contents, strict=True))
            ),
            added_by="ana",
            added_at=self.clock.now(),
        )
        self.catalog.add_version(version)
        return version

    def register(self, version: DatasetVersion) -> DatasetVersion:
        task = RegisterDataset(dataset=version.dataset, version=version.version)
        return catalog(task, catalog=self.catalog, files=self.files, reader=PandasReader())

    def request(self, wanted: ModelSpec, run_id: str = "run-1") -> RunRef:
        self.registry.apply(wanted, author="ana", at=self.clock.now())
        self.registry.request(
            Run(
                model=wanted.name,
                run_id=run_id,
                status=RunStatus.REQUESTED,
                spec_digest=wanted.digest,
                dataset=wanted.dataset,
                requested_by="ana",
                requested_at=self.clock.now(),
                seed=wanted.seed,
            ),
            lease_until=self.clock.now(),
        )
        return RunRef(model=wanted.name, run_id=run_id)

    def prepare(self, ref: RunRef) -> Plan:
        return prepare(
            ref,
            models=self.registry,
            runs=self.registry,
            versions=self.registry,
            routes=self.registry,
            catalog=self.catalog,
            files=self.files,
            reader=PandasReader(),
            artifacts=self.artifacts,
            clock=self.clock,
            code_version="c0ffee",
            lock_hash="10cc",
            allowed_licences=self.allowed_licences,
        )


def house_with(columns: dict[str, Any], **said: Any) -> ReleaseHouse:
    """A house whose dataset of these columns is ready."""
    house = ReleaseHouse()
    house.describe(**said)
    ready = house.register(house.upload(to_csv(columns)))
    assert ready.status is DatasetStatus.READY, ready.problem
    return house


AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
REF = RunRef(model="flight-delay", run_id="r-001")
SPEC = a_spec()


def a_task(*, accepted: bool = True, ref: RunRef = REF) -> RegisterTask:
    return RegisterTask(
        run=ref,
        fitted=Fitted(artifact_sha256="a" * 64, artifact_bytes=1000, fit_seconds=2.5, rows=900),
        evaluated=Evaluated(
            metric="roc_auc", value=0.71, low=0.7, high=0.72, champion_version=None, fallback_sha256="f" * 64
        ),
        verdict=Verdict(accepted=accepted, reasons=[] if accepted else ["worse than the rule"], report_sha256="b" * 64),
    )


def a_registry(run_id: str = "r-001") -> InMemoryRegistry:
    registry = InMemoryRegistry()
    registry.apply(SPEC, author="ann", at=AT)
    request(registry, run_id)
    return registry


def request(
    registry: InMemoryRegistry,
    run_id: str,
    spec: ModelSpec = SPEC,
    *,
    by: str = "ann",
    at: datetime = AT,
    lease_until: datetime = AT,
) -> None:
    """A run that says what it is made of; it has no lease unless asked for."""
    run = a_run(run_id, spec_digest=spec.digest, requested_by=by, requested_at=at, seed=7)
    registry.request(run, lease_until=lease_until)
    made = {"dataset_version": "v1", "lock_hash": "l", "code_version": "c", "artifacts": {"x": "y"}}
    registry.note("flight-delay", run_id, "prepare", AT, **made)


def do(registry: InMemoryRegistry, task: RegisterTask) -> Registered:
    return register(
        task,
        models=registry,
        runs=registry,
        versions=registry,
        routes=registry,
        rollouts=registry,
        clock=FixedClock(),
    )
