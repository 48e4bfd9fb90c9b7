"""What became of the trainings that monitoring started, as their runs and rollouts say at this moment."""

from datetime import datetime

from tidegate.domain.monitoring import health
from tidegate.domain.monitoring.health import Attempt, HealthRecord, TrainingOutcome
from tidegate.domain.registry.run import RunStatus
from tidegate.domain.rollout.rollout import Phase
from tidegate.kernel.errors import NotFoundError
from tidegate.ports.registry import Runs
from tidegate.ports.rollout import RolloutReader

_ENDED = {RunStatus.FAILED: TrainingOutcome.FAILED, RunStatus.REJECTED: TrainingOutcome.TURNED_AWAY}
_ROLLED_OUT = {Phase.DONE: TrainingOutcome.PROMOTED, Phase.FAILED: TrainingOutcome.FAILED}


def with_outcomes(record: HealthRecord, runs: Runs, rollouts: RolloutReader) -> HealthRecord:
    """The health record with what became of trainings that were under way."""
    open_ = [each for each in record.attempts if each.outcome is TrainingOutcome.UNDER_WAY]
    ended = {each.run_id: _ended(record.model, each, runs, rollouts) for each in open_}
    return health.with_outcomes(record, {run_id: end for run_id, end in ended.items() if end is not None})


def _ended(
    model: str, attempt: Attempt, runs: Runs, rollouts: RolloutReader
) -> tuple[TrainingOutcome, datetime] | None:
    """What became of a training, and when; None while it is under way, which it is until its rollout is over."""
    try:
        run = runs.run(model, attempt.run_id)
    except NotFoundError:
        return TrainingOutcome.FAILED, attempt.at
    ended_at = run.ended_at or attempt.at
    if run.status in _ENDED:
        return _ENDED[run.status], ended_at
    rollout = rollouts.rollout(model, attempt.run_id)
    if rollout is None or not rollout.phase.final:
        return None
    outcome = _ROLLED_OUT.get(rollout.phase, TrainingOutcome.TURNED_AWAY)
    if rollout.unproven:
        outcome = TrainingOutcome.UNPROVEN
    promoted_at = rollout.promoted_at if outcome is TrainingOutcome.PROMOTED else None
    return outcome, promoted_at or rollout.ended_at or ended_at
