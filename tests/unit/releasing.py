"""A small dataset and a run of a model over it, on in-memory ports: what the tests of the first steps start from."""

import csv
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidegate.domain.data.dataset import DataFile, Dataset, DatasetStatus, DatasetVersion, content_version
from tidegate.domain.registry.run import Run, RunStatus
from tidegate.messages import Plan, RegisterDataset, RunRef
from tidegate.ml.frames import PandasReader
from tidegate.spec.model import ModelSpec
from tidegate.steps.data.catalog import catalog
from tidegate.steps.data.prepare import prepare
from tidegate.testing.data import InMemoryCatalog, InMemoryDatasetFiles
from tidegate.testing.platform import FixedClock
from tidegate.testing.registry import InMemoryArtifacts, InMemoryRegistry

ROWS = 600


def trips(rows: int = ROWS, *, seed: int = 0) -> dict[str, Any]:
    """Columns of a table of trips: 60 days from 2026-01-01, late when the weather is bad and the line is slow."""
    chance = np.random.default_rng(seed)
    day = np.sort(chance.integers(0, 60, rows))
    wind, line = chance.normal(20, 8, rows).round(2), chance.choice(["blue", "green", "red"], rows)
    signal = (wind - 20) / 8 + (line == "red") + chance.normal(size=rows) * 0.8
    return {
        "trip": [f"T{number}" for number in range(rows)],
        "at": [str(np.datetime64("2026-01-01T08:00:00") + np.timedelta64(int(offset), "D")) for offset in day],
        "line": line.tolist(),
        "driver": chance.choice([f"D{number}" for number in range(40)], rows).tolist(),
        "wind": wind.tolist(),
        "stops": chance.integers(3, 30, rows).tolist(),
        "delay": (signal * 10).round(1).tolist(),
        "late": (signal > 0.5).tolist(),
    }


def to_csv(columns: dict[str, Any]) -> bytes:
    """None becomes an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def spec(**changes: Any) -> ModelSpec:
    document: dict[str, Any] = {
        "name": "trip-delay",
        "owner": "tests@example.com",
        "business_unit": "tests",
        "task": "binary",
        "dataset": "trips",
        "target": "late",
        "time": "at",
        "features": [
            {"name": "line", "kind": "categorical"},
            {"name": "wind", "kind": "numeric", "unit": "mph", "min": -50, "max": 150},
            {"name": "stops", "kind": "integer"},
        ],
        "candidates": [
            {"estimator": "sklearn.linear_model.LogisticRegression", "grid": {"C": [1.0, 0.1]}},
            {"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": 3}},
        ],
        "metric": "roc_auc",
        "baseline": {"kind": "group_rate", "by": ["line"], "min_rows": 5},
        "gate": {"resample_by": "day"},
        "seed": 5,
    }
    return ModelSpec.parse(document | changes)


@dataclass
class House:
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


def house_with(columns: dict[str, Any], **said: Any) -> House:
    """A house whose dataset of these columns is ready."""
    house = House()
    house.describe(**said)
    ready = house.register(house.upload(to_csv(columns)))
    assert ready.status is DatasetStatus.READY, ready.problem
    return house
