"""Lambda `retrain`: starts the trainings that monitoring wants, on datasets that have what happened since.

The retraining machine calls it: once to find them, and for each of them to gather its data and, when those are
registered, to start the run.
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import RetrainSettings
from tidegate.messages import FindWanted, LabelledDatasetTask, Message, StartTraining
from tidegate.ml.frames import ParquetWriter
from tidegate.steps.monitoring.labelled_dataset import labelled_dataset
from tidegate.steps.monitoring.retrain import find_wanted, start
from tidegate.telemetry import logger


@logger("retrain").inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """FindWanted in, WantedTrainings out; LabelledDatasetTask in, LabelledDataset out; StartTraining in,
    TrainingStarted out."""
    answer = _answer(event, wiring.of(RetrainSettings)).to_json()
    logger("retrain").info(event["step"], extra={"of": event.get("model"), "answer": answer})
    return answer


def _answer(event: dict[str, Any], at: wiring.Wiring[RetrainSettings]) -> Message:
    match event["step"]:
        case "find":
            return find_wanted(FindWanted.parse(event).of.model, models=at.registry, health_records=at.health_records)
        case "labelled_dataset":
            return labelled_dataset(
                LabelledDatasetTask.parse(event).model,
                models=at.registry,
                catalog=at.catalog,
                files=at.files,
                captures=at.hours,
                writer=ParquetWriter(),
                dispatcher=at.dispatcher,
                clock=at.clock,
            )
        case _:
            return start(
                StartTraining.parse(event),
                models=at.registry,
                catalog=at.catalog,
                runs=at.registry,
                health_records=at.health_records,
                workflow=at.workflow,
                clock=at.clock,
                chance=at.chance,
            )
