"""Runs, versions, and what is served of them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tidegate.domain.registry.ledger import Cause
from tidegate.domain.registry.route import Served
from tidegate.domain.registry.run import Run, RunStatus
from tidegate.domain.registry.version import Version, VersionStatus
from tidegate.domain.rollout.changes import (
    promote,
)

AT = datetime(2026, 1, 5, 12, 30, 15, 123456, tzinfo=UTC)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
MODEL = "flight-delay"


def a_run(run_id: str = "r-001", **changes: Any) -> Run:
    run = Run(
        model="flight-delay",
        run_id=run_id,
        status=RunStatus.REQUESTED,
        spec_digest="d" * 64,
        dataset="flights",
        requested_by="ann",
        requested_at=AT,
        seed=4_294_967_295,
    )
    return replace(run, **changes)


def a_version(
    run_id: str = "r-001", status: VersionStatus = VersionStatus.ACCEPTED, *, model: str = MODEL, **changes: Any
) -> Version:
    """A version of a run. It has no number yet, which the registry gives it, unless that is said."""
    version = Version(
        model=model,
        number=0,
        status=status,
        run_id=run_id,
        spec_digest="d" * 64,
        dataset="flights",
        dataset_version="0123456789abcdef",
        artifact_key=f"runs/{model}/{run_id}/model.onnx",
        artifact_sha256="a" * 64,
        report_key=f"runs/{model}/{run_id}/report.json",
        report_sha256="b" * 64,
        metric="roc_auc",
        value=0.7123456789012345,
        low=0.7,
        high=0.72,
        reasons=("is better", "enough"),
        created_at=AT,
        created_by="ann",
        lock_hash="l" * 64,
        code_version="1.2.3",
    )
    return replace(version, **changes)


def requested(registry: Any, run: Run, *, lease_until: datetime | None = AT) -> Run:
    """Request a run; its lease keeps nobody out unless the test says so."""
    recorded: Run = registry.request(run, lease_until=lease_until)
    return recorded


def registered(registry: Any, run_id: str, status: VersionStatus = VersionStatus.ACCEPTED, **facts: Any) -> Version:
    requested(registry, a_run(run_id))
    version: Version = registry.register(a_version(run_id, status, **facts), at=AT)
    return version


def promoted(registry: Any, version: Version) -> None:
    change = promote(registry.route(version.model), version, Cause(AT, "ann", "gate passed"))
    assert change is not None
    registry.change(change)


def numbered(number: int, status: VersionStatus = VersionStatus.ACCEPTED) -> Version:
    """A registered version whose run, artifact and hash go by its number."""
    artifact = {"artifact_key": f"k{number}", "artifact_sha256": f"a{number}"}
    return a_version(f"r-{number}", status, number=number, created_at=NOON, **artifact)


def served(number: int) -> Served:
    return Served(number, f"k{number}", f"a{number}")
