"""Lambda `prepare`: resolves a run's dataset, checks it and writes the tables that the later steps work on."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.clock import SystemClock
from tidegate.aws.objects import S3Artifacts, S3DatasetFiles
from tidegate.aws.registry import DynamoCatalog, DynamoRegistry
from tidegate.kernel.settings import PrepareSettings
from tidegate.messages import RunRef
from tidegate.ml.frames import PandasReader
from tidegate.steps.data.prepare import prepare
from tidegate.telemetry import logger


@cache
def wire() -> tuple[PrepareSettings, DynamoRegistry, DynamoCatalog, S3DatasetFiles, S3Artifacts]:
    """Settings and adapters on AWS, made at the first invocation and kept."""
    settings = PrepareSettings.from_env()
    return (
        settings,
        DynamoRegistry(settings.registry_table),
        DynamoCatalog(settings.registry_table),
        S3DatasetFiles(settings.data_bucket),
        S3Artifacts(settings.artifacts_bucket),
    )


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """RunRef in, Plan out."""
    run = RunRef.parse(event)
    settings, registry, datasets, files, artifacts = wire()
    plan = prepare(
        run,
        models=registry,
        runs=registry,
        versions=registry,
        routes=registry,
        catalog=datasets,
        files=files,
        reader=PandasReader(),
        artifacts=artifacts,
        clock=SystemClock(),
        code_version=settings.code_version,
        lock_hash=settings.lock_hash,
        allowed_licences=settings.licences,
    )
    answer = plan.to_json()
    logger("prepare").info("prepared", extra={"run": run.to_json(), "plan": answer})
    return answer
