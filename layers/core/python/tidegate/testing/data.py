"""Datasets and their files."""

import hashlib
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime

from tidegate.domain.data.dataset import Dataset, DatasetStatus, DatasetVersion, Exclusion
from tidegate.kernel.errors import ConflictError
from tidegate.testing.found import found


class InMemoryCatalog:
    """ports.Catalog."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._datasets: dict[str, Dataset] = {}
        self._versions: dict[tuple[str, str], DatasetVersion] = {}
        self._exclusions: dict[tuple[str, str], Exclusion] = {}

    def put_dataset(self, dataset: Dataset, *, replaces: Dataset | None = None) -> None:
        with self._lock:
            known = self._datasets.get(dataset.name)
            dataset = replace(dataset, latest=known.latest if known else None)
            if _revision(known) != _revision(replaces) and known != dataset:
                raise ConflictError(f"dataset {dataset.name} was described by somebody else at the same time")
            self._datasets[dataset.name] = dataset

    def dataset(self, name: str) -> Dataset:
        return found(self._datasets.get(name), f"dataset {name}")

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
        wanted = version or found(self.dataset(dataset).latest, f"a ready version of dataset {dataset}")
        return found(self._versions.get((dataset, wanted)), f"version {wanted} of dataset {dataset}")

    def versions(self, dataset: str, *, after: str = "", limit: int | None = None) -> list[DatasetVersion]:
        mine = [version for (name, _), version in self._versions.items() if name == dataset]
        listed = sorted(mine, key=lambda version: version.position, reverse=True)
        return [version for version in listed if not after or version.position < after][:limit]

    def exclude(self, exclusion: Exclusion) -> None:
        with self._lock:
            self.dataset(exclusion.dataset)
            known = self._exclusions.setdefault((exclusion.dataset, exclusion.exclusion_id), exclusion)
            if known != exclusion:
                raise ConflictError(f"exclusion {exclusion.exclusion_id} of {exclusion.dataset} already exists")

    def exclusions(self, dataset: str) -> list[Exclusion]:
        mine = [exclusion for (name, _), exclusion in self._exclusions.items() if name == dataset]
        return sorted(mine, key=lambda exclusion: exclusion.position)


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
        return found(self.objects.get(key), f"object {key}")

    def put(self, dataset: str, data: bytes) -> str:
        return self.upload(dataset, data)

    def upload(self, dataset: str, data: bytes) -> str:
        """What a caller does with the presigned URL; returns the SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.objects[self.key(dataset, sha256)] = data
        return sha256


def _revision(dataset: Dataset | None) -> tuple[datetime, str] | None:
    return None if dataset is None else (dataset.registered_at, dataset.registered_by)
