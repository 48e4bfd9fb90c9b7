"""Lambda `batch`: finds the parts of a batch, keeps why one failed, and sees at the end that all rows are there."""

from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import BatchSettings
from tidegate.messages import FinishTask, Message, NoteTask, PlanTask
from tidegate.ml import batches
from tidegate.ml.scoring import load
from tidegate.steps.batch.work import finish, note, plan
from tidegate.telemetry import ends_runs, logger


@logger("batch").inject_lambda_context
@ends_runs("batch")
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """PlanTask in, Planned out; NoteTask in, Noted out; FinishTask in, Finished out; EndsRun where the input is at
    fault."""
    answer = _answer(event, wiring.of(BatchSettings), lambda: context.get_remaining_time_in_millis() / 1e3).to_json()
    logger("batch").info(event["step"], extra={"output": event["output"], "answer": answer})
    return answer


def _answer(event: dict[str, Any], at: wiring.Wiring[BatchSettings], remaining_seconds: Callable[[], float]) -> Message:
    match event["step"]:
        case "plan":
            return plan(
                PlanTask.parse(event),
                objects=at.batch_objects,
                files=batches,
                artifacts=at.artifacts,
                load=load,
                remaining_seconds=remaining_seconds,
            )
        case "note":
            return note(NoteTask.parse(event), objects=at.batch_objects)
        case _:
            return finish(FinishTask.parse(event), objects=at.batch_objects, ledger=at.batch_ledger, clock=at.clock)
