"""Fit one candidate: to compare it on the validation rows, or, once chosen, for good on all training rows."""

import json
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from tidegate.domain.data.splits import training_rows
from tidegate.domain.evaluation.documents import PLAN
from tidegate.domain.registry.run import CandidateRun
from tidegate.domain.serving import guard
from tidegate.domain.serving.contract import SCORES_OUTPUT, Contract, PredictionInterval
from tidegate.domain.serving.fallback import Fallback
from tidegate.domain.training.conformal import half_width, least_rows
from tidegate.domain.training.contracts import worth
from tidegate.domain.training.thresholds import best_threshold
from tidegate.kernel import english
from tidegate.kernel.errors import TrainingFailedError
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import ROW, TARGET, Table
from tidegate.messages import CandidateRef, CandidateResult, Fitted, TrainTask
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts, Models, Runs
from tidegate.ports.training import Fitter
from tidegate.spec.model import ModelSpec
from tidegate.spec.serving import GuardRules
from tidegate.spec.training import Candidate
from tidegate.steps.run_files import RunFiles

STAGE = "train"
REFIT_STAGE = "refit"


def train(
    task: TrainTask,
    *,
    models: Models,
    runs: Runs,
    artifacts: Artifacts,
    fitter: Fitter,
    clock: Clock,
    stopwatch: Callable[[], float] = time.perf_counter,
) -> CandidateResult | Fitted:
    """For `validate` the spec's metric on the validation rows; for `final` the artifact and its reference scores.

    What the spec leaves to the validation rows, a threshold chosen by value or the width of an interval, is measured
    before the export, by the candidate fitted on the fit rows alone, and goes into the artifact's contract. So does the
    input guard, which is learned from all training rows.

    Raises:
        TrainingFailedError: the candidate cannot be fitted or exported; says which, with which parameters.
        DataCheckError: the validation rows do not define the metric.
        ConflictError: the run is final.
    """
    ref = task.run
    runs.note(ref.model, ref.run_id, STAGE if task.purpose == "validate" else REFIT_STAGE, clock.now())
    spec = models.spec(ref.model, runs.run(ref.model, ref.run_id).spec_digest)
    files = RunFiles(ref, artifacts, task.files)
    plan = PLAN.read(files.read(RunFile.PLAN))
    contract = Contract.from_json(plan["contract"])
    fit = Table.from_npz(files.read(RunFile.FIT))
    validation = Table.from_npz(files.read(RunFile.VALIDATION))
    candidate = Candidate(
        estimator=task.candidate.estimator, parameters=task.candidate.parameters, encode=task.candidate.encode
    )
    try:
        if task.purpose == "final":
            contract = _decided(spec, contract, candidate, fit=fit, validation=validation, fitter=fitter)
            _decide_alike(contract, files)
            holdout = Table.from_npz(files.read(RunFile.HOLDOUT))
            training = training_rows(fit, validation)
            contract = _guarded(spec, contract, training, plan.get("leaving", ()))
            started = stopwatch()
            exported = fitter.export(spec, contract, candidate, training, [holdout])
            seconds = stopwatch() - started
            (scores,) = exported.reference_scores
            environment = json.dumps(fitter.environment(), sort_keys=True).encode()
            files.write(RunFile.ENVIRONMENT, environment, content_type="application/json")
            files.write(RunFile.REFERENCE_SCORES, Table({SCORES_OUTPUT: scores, ROW: holdout[ROW]}).to_npz())
            return Fitted(
                artifact_sha256=files.write(RunFile.ARTIFACT, exported.onnx),
                artifact_bytes=len(exported.onnx),
                fit_seconds=seconds,
                rows=len(training),
                files=files.written,
            )
        started = stopwatch()
        scores = fitter.validation_scores(spec, contract, candidate, fit, validation)
        value = spec.metric.value(
            validation[TARGET],
            scores,
            positive=contract.positive,
            threshold=contract.threshold,
        )
        seconds = stopwatch() - started
    except TrainingFailedError as error:
        problem = f"candidate {task.candidate.index}: {error.message}"
        raise TrainingFailedError(problem, next_step=error.next_step) from error
    result = CandidateResult(
        index=task.candidate.index, metric=spec.metric.text, value=value, fit_seconds=seconds, rows=len(fit)
    )
    runs.note_candidate(ref.model, ref.run_id, _record(task.candidate, result))
    return result


def _decided(
    spec: ModelSpec, contract: Contract, candidate: Candidate, *, fit: Table, validation: Table, fitter: Fitter
) -> Contract:
    """The contract with its measured parts."""
    declared = worth(spec) if spec.decision.threshold == "value" else None
    if declared is None and spec.interval is None:
        return contract
    scores = fitter.validation_scores(spec, contract, candidate, fit, validation)
    target = validation[TARGET]
    if spec.interval is not None:
        needed = least_rows(spec.interval)
        if len(target) < needed:
            raise TrainingFailedError(
                f"a {100 * spec.interval:g} % interval needs {english.count(needed, 'validation row')}, not "
                f"{len(target):,}",
                next_step="set a lower interval or a larger split.validation_fraction",
            )
        width = half_width(target, scores[:, 0], spec.interval)
        contract = replace(contract, interval=PredictionInterval(spec.interval, width))
    if declared is not None:
        threshold = best_threshold(declared, target == contract.positive, scores[:, contract.positive])
        contract = replace(contract, threshold=threshold)
    return contract


def _guarded(spec: ModelSpec, contract: Contract, training: Table, leaving: Collection[str]) -> Contract:
    """The contract with its input guard. The fallback's has none: only a version's answer can be unusual."""
    rules = spec.guard
    if not isinstance(rules, GuardRules):
        return contract
    learned = guard.fit(contract, contract.inputs(training), share=rules.share, answer=rules.answer, left_out=leaving)
    return replace(contract, guard=learned)


def _decide_alike(contract: Contract, files: RunFiles) -> None:
    """Give the fallback the threshold of the model whose place it takes."""
    fallback = Fallback.from_bytes(files.read(RunFile.STAND_IN))
    fallback = replace(fallback, contract=replace(fallback.contract, threshold=contract.threshold))
    files.write(RunFile.FALLBACK, fallback.to_bytes(), content_type="application/json")


def _record(candidate: CandidateRef, result: CandidateResult) -> CandidateRun:
    return CandidateRun(
        index=result.index,
        estimator=candidate.estimator,
        parameters=candidate.parameters,
        metric=result.metric,
        value=result.value,
        fit_seconds=result.fit_seconds,
        rows=result.rows,
    )
