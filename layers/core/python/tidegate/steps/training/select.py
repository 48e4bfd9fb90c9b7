"""Choose the candidate that did best on the validation rows."""

from tidegate.kernel.errors import TrainingFailedError
from tidegate.kernel.metrics.registry import find
from tidegate.messages import Selection, SelectTask
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Runs

STAGE = "select"


def select(task: SelectTask, *, runs: Runs, clock: Clock) -> Selection:
    """The best by the metric's direction; of equals the one listed first.

    Raises:
        TrainingFailedError: no candidate has a result.
        ConflictError: the run is final.
    """
    if not task.results:
        raise TrainingFailedError(
            f"no candidate of {task.run.model} has a result", next_step="see the run's log for why each one failed"
        )
    sign = find(task.results[0].metric).sign
    best = min(task.results, key=lambda result: (-sign * result.value, result.index))
    chosen = next(candidate for candidate in task.candidates if candidate.index == best.index)
    runs.note(task.run.model, task.run.run_id, STAGE, clock.now(), selected=best.index)
    return Selection(candidate=chosen, value=best.value)
