"""The files of a run, read by the hashes that came with the task or with the version: nobody can replace one unseen
between the step that wrote it and the step that decides on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tidegate.domain.evaluation.documents import read_report
from tidegate.domain.evaluation.report import sections_of
from tidegate.domain.registry.version import Version
from tidegate.kernel.errors import NotFoundError
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import Files, RunRef
from tidegate.ports.registry import Artifacts


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What a step may read of its run, and what it has written itself."""

    run: RunRef
    artifacts: Artifacts
    known: Mapping[RunFile, str]
    written: Files = field(default_factory=dict)

    @classmethod
    def of_version(cls, version: Version, artifacts: Artifacts) -> Self:
        """Those that a version's report names by hash. Older reports name the reference at most.

        Raises:
            NotFoundError, ArtifactRejectedError, NewerDocumentError: of the report.
        """
        report = read_report(artifacts.get_verified(version.report_key, version.report_sha256))
        return cls(RunRef(model=version.model, run_id=version.run_id), artifacts, named_in(report))

    def read(self, file: RunFile) -> bytes:
        """Raises NotFoundError, and ArtifactRejectedError when the stored bytes are not those that were written."""
        if file not in self.known:
            raise NotFoundError(f"no step of run {self.run.run_id} of {self.run.model} is known to have written {file}")
        return self.artifacts.get_verified(self.run.key(file), self.known[file])

    def write(self, file: RunFile, data: bytes, *, content_type: str = "application/octet-stream") -> str:
        """Store a file; its SHA-256 (hex)."""
        self.written[file] = self.artifacts.put(self.run.key(file), data, content_type=content_type)
        return self.written[file]


def named_in(report: Mapping[str, Any]) -> Files:
    """The files that a gate's report names by hash."""
    pinned = sections_of(report).reference
    known: Files = {RunFile.REFERENCE: pinned.sha256} if pinned else {}
    return known | {RunFile(name): sha256 for name, sha256 in report["lineage"].get("files", {}).items()}
