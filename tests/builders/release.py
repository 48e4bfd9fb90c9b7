"""A release from its dataset to its registered version."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.builders.registry import a_run
from tests.builders.specs import a_spec
from tests.builders.tables import to_csv
from tidegate.domain.data.dataset import Dataset, DatasetStatus, DatasetVersion
from tidegate.messages import Evaluated, Fitted, GateDecided, Registered, RegisterTask, RunRef
from tidegate.spec.model import ModelSpec
from tidegate.steps.evaluation.register import register
from tidegate.testing.deployment import InMemoryDeployment
from tidegate.testing.parts import InMemoryParts
from tidegate.testing.registry import InMemoryRegistry


@dataclass
class ReleaseHouse(InMemoryDeployment):
    """A deployment whose one dataset is trips."""

    actor: str = "ana"

    def describe(self, **said: Any) -> Dataset:
        return self.describe_dataset("trips", **{"origin": "made up", "time": "at"} | said)

    def upload(self, *contents: bytes) -> DatasetVersion:
        """A version that waits to be registered."""
        return self.upload_dataset("trips", *contents)

    def register(self, version: DatasetVersion) -> DatasetVersion:
        return self.register_dataset(version)

    def filled(self, columns: dict[str, Any], **said: Any) -> None:
        """The dataset of these columns is ready."""
        self.describe(**said)
        ready = self.register(self.upload(to_csv(columns)))
        assert ready.status is DatasetStatus.READY, ready.problem


def house_with(columns: dict[str, Any], **said: Any) -> ReleaseHouse:
    """A house whose dataset of these columns is ready."""
    house = ReleaseHouse()
    house.filled(columns, **said)
    return house


AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
REF = RunRef(model="flight-delay", run_id="r-001")
SPEC = a_spec()


def a_task(*, accepted: bool = True, ref: RunRef = REF) -> RegisterTask:
    return RegisterTask(
        run=ref,
        fitted=Fitted(artifact_sha256="a" * 64, artifact_bytes=1000, fit_seconds=2.5, rows=900, files={}),
        evaluated=Evaluated(
            metric="roc_auc",
            value=0.71,
            low=0.7,
            high=0.72,
            champion_version=None,
            fallback_sha256="f" * 64,
            files={},
        ),
        verdict=GateDecided(
            accepted=accepted, reasons=[] if accepted else ["worse than the rule"], report_sha256="b" * 64
        ),
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
    return InMemoryParts(registry=registry).step(register, task)
