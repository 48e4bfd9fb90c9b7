"""Fit one candidate: to compare it on the validation rows, or, once chosen, for good on all training rows."""

import json
import time
from collections.abc import Callable

from tidegate.domain.prediction import SCORES_OUTPUT, Contract
from tidegate.domain.release import CandidateRun
from tidegate.domain.splits import training_rows
from tidegate.domain.table import ROW, Table
from tidegate.errors import TrainingFailedError
from tidegate.messages import CandidateRef, CandidateResult, Fitted, TrainTask
from tidegate.ports import Artifacts, Clock, Fitter, Models, Runs
from tidegate.spec import Candidate

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

    Raises:
        TrainingFailedError: the candidate cannot be fitted or exported; says which, with which parameters.
        DataCheckError: the validation rows do not define the metric.
        ConflictError: the run is final.
    """
    ref = task.run
    runs.note(ref.model, ref.run_id, STAGE if task.purpose == "validate" else REFIT_STAGE, clock.now())
    spec = models.spec(ref.model, runs.run(ref.model, ref.run_id).spec_digest)
    contract = Contract.from_json(json.loads(artifacts.get(ref.plan_key))["contract"])
    fit = Table.from_npz(artifacts.get(ref.fit_key))
    validation = Table.from_npz(artifacts.get(ref.validation_key))
    candidate = Candidate(
        estimator=task.candidate.estimator, parameters=task.candidate.parameters, encode=task.candidate.encode
    )
    try:
        if task.purpose == "final":
            holdout = Table.from_npz(artifacts.get(ref.holdout_key))
            training = training_rows(fit, validation)
            started = stopwatch()
            exported = fitter.export(spec, contract, candidate, training, [holdout])
            seconds = stopwatch() - started
            (scores,) = exported.reference_scores
            artifacts.put(ref.reference_scores_key, Table({SCORES_OUTPUT: scores, ROW: holdout[ROW]}).to_npz())
            return Fitted(
                artifact_sha256=artifacts.put(ref.artifact_key, exported.onnx),
                artifact_bytes=len(exported.onnx),
                fit_seconds=seconds,
                rows=len(training),
            )
        started = stopwatch()
        value = fitter.validation_value(spec, contract, candidate, fit, validation)
        seconds = stopwatch() - started
    except TrainingFailedError as error:
        problem = f"candidate {task.candidate.index}: {error.message}"
        raise TrainingFailedError(problem, next_step=error.next_step) from error
    result = CandidateResult(
        index=task.candidate.index, metric=spec.metric.value, value=value, fit_seconds=seconds, rows=len(fit)
    )
    runs.note_candidate(ref.model, ref.run_id, _record(task.candidate, result))
    return result


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
