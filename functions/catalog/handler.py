"""Lambda `catalog`: reads the uploaded files of a dataset version and records its schema and quality."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import CatalogSettings
from tidegate.messages import RegisterDataset
from tidegate.ml.frames import PandasReader
from tidegate.steps.data.catalog import catalog
from tidegate.telemetry import logger


@logger("catalog").inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """RegisterDataset in; dataset, version, status, rows and problem out."""
    task = RegisterDataset.parse(event)
    at = wiring.of(CatalogSettings)
    version = catalog(task, catalog=at.catalog, files=at.files, reader=PandasReader(int(context.memory_limit_in_mb)))
    answer = {
        "dataset": version.dataset,
        "version": version.version,
        "status": version.status.value,
        "rows": version.rows,
        "problem": version.problem,
    }
    logger("catalog").info("registered", extra=answer)
    return answer
