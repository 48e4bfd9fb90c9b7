"""Choose the candidate that did best on the validation rows."""

from tidegate.kernel.errors import TrainingFailedError
from tidegate.kernel.metrics.registry import find
from tidegate.messages import CandidateResult, EndsRun, Selection, SelectTask
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Runs

STAGE = "select"


def select(task: SelectTask, *, runs: Runs, clock: Clock) -> Selection | EndsRun:
    """The best by the metric's direction; of equals the one listed first. What ended the run for a candidate ends it.

    Raises:
        TrainingFailedError: no candidate has a result.
        ConflictError: the run is final.
    """
    if not task.results:
        raise TrainingFailedError(
            f"no candidate of {task.run.model} has a result", next_step="see the run's log for why each one failed"
        )
    results = [each for each in task.results if isinstance(each, CandidateResult)]
    for result in task.results:
        if isinstance(result, EndsRun):
            return result
    sign = find(results[0].metric).sign
    best = min(results, key=lambda result: (-sign * result.value, result.index))
    chosen = next(candidate for candidate in task.candidates if candidate.index == best.index)
    runs.note(task.run.model, task.run.run_id, STAGE, clock.now(), selected=best.index)
    return Selection(candidate=chosen, value=best.value)
