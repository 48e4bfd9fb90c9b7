"""Lambda `retrain`: starts the trainings that the watch wants, on datasets that have what happened since.

The retraining machine calls it: once to find them, and for each of them to gather its data and, when those are
registered, to start the run.
"""

import secrets
from dataclasses import dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.dispatch import LambdaDispatcher
from tidegate.aws.objects import S3DatasetFiles
from tidegate.aws.registry import DynamoCatalog, DynamoRegistry
from tidegate.aws.watch import DynamoHealthRecords, S3Hours
from tidegate.aws.workflow import StepFunctionsWorkflow
from tidegate.kernel.settings import RetrainSettings
from tidegate.messages import FindWanted, LabelledDatasetTask, Message, StartTraining
from tidegate.ml.frames import ParquetWriter
from tidegate.ports.data import Catalog, DatasetFiles
from tidegate.ports.monitoring import HealthRecords, Hours
from tidegate.ports.platform import Clock, Dispatcher
from tidegate.ports.registry import Models, Runs, Workflow
from tidegate.steps.monitoring.labelled_dataset import labelled_dataset
from tidegate.steps.monitoring.retrain import find_wanted, start
from tidegate.telemetry import logger


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as this function sees it."""

    models: Models
    runs: Runs
    catalog: Catalog
    health_records: HealthRecords
    files: DatasetFiles
    captures: Hours
    dispatcher: Dispatcher
    workflow: Workflow
    clock: Clock


@cache
def wire() -> Ports:
    """Adapters on AWS, made at the first invocation and kept."""
    settings = RetrainSettings.from_env()
    registry = DynamoRegistry(settings.registry_table)
    return Ports(
        models=registry,
        runs=registry,
        catalog=DynamoCatalog(settings.registry_table),
        health_records=DynamoHealthRecords(settings.registry_table),
        files=S3DatasetFiles(settings.data_bucket),
        captures=S3Hours(settings.captures_bucket),
        dispatcher=LambdaDispatcher(settings.catalog_function),
        workflow=StepFunctionsWorkflow(settings.release_state_machine),
        clock=SystemClock(),
    )


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """FindWanted in, WantedTrainings out; LabelledDatasetTask in, LabelledDataset out; StartTraining in,
    TrainingStarted out."""
    answer = _answer(event, wire()).to_json()
    logger("retrain").info(event["step"], extra={"of": event.get("model"), "answer": answer})
    return answer


def _answer(event: dict[str, Any], at: Ports) -> Message:
    match event["step"]:
        case "find":
            return find_wanted(FindWanted.parse(event).of.model, models=at.models, health_records=at.health_records)
        case "labelled_dataset":
            return labelled_dataset(
                LabelledDatasetTask.parse(event).model,
                models=at.models,
                catalog=at.catalog,
                files=at.files,
                captures=at.captures,
                writer=ParquetWriter(),
                dispatcher=at.dispatcher,
                clock=at.clock,
            )
        case _:
            return start(
                StartTraining.parse(event),
                models=at.models,
                catalog=at.catalog,
                runs=at.runs,
                health_records=at.health_records,
                workflow=at.workflow,
                clock=at.clock,
                chance=lambda: secrets.token_hex(6),
            )
