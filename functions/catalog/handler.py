"""Lambda `catalog`: reads the uploaded files of a dataset version and records its schema and quality."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.objects import S3DatasetFiles
from tidegate.aws.registry import DynamoCatalog
from tidegate.kernel.settings import CatalogSettings
from tidegate.messages import RegisterDataset
from tidegate.ml.frames import PandasReader
from tidegate.steps.data.catalog import catalog
from tidegate.telemetry import logger


@cache
def wire() -> tuple[DynamoCatalog, S3DatasetFiles]:
    """Adapters on AWS, made at the first invocation and kept."""
    settings = CatalogSettings.from_env()
    return DynamoCatalog(settings.registry_table), S3DatasetFiles(settings.data_bucket)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """RegisterDataset in; dataset, version, status, rows and problem out."""
    task = RegisterDataset.parse(event)
    datasets, files = wire()
    version = catalog(task, catalog=datasets, files=files, reader=PandasReader())
    answer = {
        "dataset": version.dataset,
        "version": version.version,
        "status": version.status.value,
        "rows": version.rows,
        "problem": version.problem,
    }
    logger("catalog").info("registered", extra=answer)
    return answer
