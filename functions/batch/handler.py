"""Lambda `batch`: finds the parts of a batch, keeps why one failed, and sees at the end that all rows are there."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.batch import S3BatchObjects
from tidegate.aws.batch_ledger import DynamoBatchLedger
from tidegate.aws.clock import SystemClock
from tidegate.aws.objects import S3Artifacts
from tidegate.kernel.settings import BatchSettings
from tidegate.messages import FinishTask, Message, NoteTask, PlanTask
from tidegate.ml import batches
from tidegate.ml.scoring import load
from tidegate.steps.batch.work import finish, note, plan
from tidegate.telemetry import logger


@dataclass(frozen=True, slots=True)
class Wired:
    """The function's parts."""

    artifacts: S3Artifacts
    objects: S3BatchObjects
    ledger: DynamoBatchLedger


@cache
def wire() -> Wired:
    """Adapters on AWS, made at the first invocation and kept."""
    settings = BatchSettings.from_env()
    return Wired(S3Artifacts(settings.artifacts_bucket), S3BatchObjects(), DynamoBatchLedger(settings.registry_table))


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """PlanTask in, Planned out; NoteTask in, Noted out; FinishTask in, Finished out."""
    answer = _answer(event, wire(), lambda: context.get_remaining_time_in_millis() / 1e3).to_json()
    logger("batch").info(event["step"], extra={"output": event["output"], "answer": answer})
    return answer


def _answer(event: dict[str, Any], at: Wired, remaining_seconds: Callable[[], float]) -> Message:
    match event["step"]:
        case "plan":
            return plan(
                PlanTask.parse(event),
                objects=at.objects,
                files=batches,
                artifacts=at.artifacts,
                load=load,
                remaining_seconds=remaining_seconds,
            )
        case "note":
            return note(NoteTask.parse(event), objects=at.objects)
        case _:
            return finish(FinishTask.parse(event), objects=at.objects, ledger=at.ledger, clock=SystemClock())
