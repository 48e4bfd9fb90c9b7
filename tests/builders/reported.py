"""The least of a gate's report that leads to a run's files."""

import json
from typing import Any

from tidegate.kernel.prefixes import RunFile
from tidegate.messages import RunRef
from tidegate.ports.registry import Artifacts
from tidegate.steps.run_files import RunFiles


def reported(run: RunRef, artifacts: Artifacts, files: dict[RunFile, bytes]) -> dict[str, Any]:
    """Store these files of a run and a report that names them; what its version records of the report."""
    written = RunFiles(run, artifacts, {})
    for file, data in files.items():
        written.write(file, data)
    report = {"format": 1, "evaluation": {"sections": {}}, "lineage": {"files": dict(written.written)}}
    sha256 = written.write(RunFile.REPORT, json.dumps(report).encode())
    return {"report_key": run.key(RunFile.REPORT), "report_sha256": sha256}
