"""Hold what a run made again against the version that it reproduces, and close the run with the answer."""

import json
from collections.abc import Sequence

from tidegate.domain.evaluation.documents import REPRODUCTION
from tidegate.domain.evaluation.evaluation import Evaluation
from tidegate.domain.evaluation.report import GateReport
from tidegate.domain.evaluation.reproduction import Compared, compared, made, made_with
from tidegate.domain.registry.run import Run
from tidegate.domain.registry.version import Version
from tidegate.kernel.errors import ConflictError
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import Reproduced, ReproduceTask
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts, Runs, Versions
from tidegate.steps.evaluation.gate import lineage
from tidegate.steps.requests import view
from tidegate.steps.run_files import RunFiles

STAGE = "compare"


def reproduce(task: ReproduceTask, *, runs: Runs, versions: Versions, artifacts: Artifacts, clock: Clock) -> Reproduced:
    """Compare artifact, fallback, metrics and data, which must be equal, and report what of the environment is not.

    A repeated call writes the same document and closes the run once.

    Raises:
        NotFoundError: the version or its report does not exist, or the run was not evaluated.
        ArtifactRejectedError: somebody changed the version's report.
        ConflictError: the run reproduces no version.
    """
    ref = task.run
    run = runs.run(ref.model, ref.run_id)
    if run.reproduces is None:
        raise ConflictError(f"run {run.run_id} of model {run.model} reproduces no version")
    if not run.status.final:
        written = {
            "model": ref.key(RunFile.ARTIFACT),
            "evaluation": ref.key(RunFile.EVALUATION),
            "reproduction": ref.key(RunFile.REPRODUCTION),
        }
        runs.note(ref.model, ref.run_id, STAGE, clock.now(), artifacts=written)
    version = versions.version(ref.model, run.reproduces)
    report = GateReport.from_json(json.loads(artifacts.get_verified(version.report_key, version.report_sha256)))
    before = report.lineage
    files = RunFiles(ref, artifacts, task.files | task.fitted.files | task.evaluated.files)
    now = lineage(run, task.fitted, files)
    then = report.evaluation
    again = Evaluation.from_json(json.loads(files.read(RunFile.EVALUATION)))
    both = set(then.metrics).intersection(again.metrics)
    recorded, found = made(then, before, both), made(again, now, both)
    if version.fallback is not None:
        recorded["fallback"], found["fallback"] = version.fallback.sha256, task.evaluated.fallback_sha256
    results = compared(recorded, found)
    known = bool(before.get("environment"))
    around = compared(made_with(before), made_with(now if known else now | {"environment": {}}))
    document = _document(run, version, results, [each for each in around if not each.equal], known=known)
    files.write(RunFile.REPRODUCTION, document, content_type="application/json")
    differences = [each.what for each in results if not each.equal]
    runs.compared(ref.model, ref.run_id, equal=not differences, at=clock.now())
    return Reproduced(equal=not differences, artifact_equal="artifact" not in differences, differences=len(differences))


def _document(
    run: Run, version: Version, results: Sequence[Compared], around: Sequence[Compared], *, known: bool
) -> bytes:
    document = {
        "format": REPRODUCTION.schema,
        "model": run.model,
        "version": version.number,
        "run_id": run.run_id,
        "recorded_run_id": version.run_id,
        "equal": all(each.equal for each in results),
        "compared": [view(each) | {"equal": each.equal} for each in results],
        "environment": {"recorded": known, "differences": view(around)},
    }
    return json.dumps(document, sort_keys=True, allow_nan=False).encode()
