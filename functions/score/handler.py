"""Lambda `score`: scores one part of a batch, by the same code that serves requests."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.batch import S3BatchObjects
from tidegate.aws.objects import S3Artifacts
from tidegate.kernel.settings import ScoreSettings
from tidegate.messages import ScoreTask
from tidegate.ml import batches
from tidegate.ml.scoring import load
from tidegate.steps.batch.work import Opened, score_part
from tidegate.telemetry import logger


@cache
def wire() -> tuple[S3BatchObjects, Opened]:
    """Adapters on AWS, made at the first invocation and kept, with the model of the last part."""
    return S3BatchObjects(), Opened(S3Artifacts(ScoreSettings.from_env().artifacts_bucket), load)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """ScoreTask in, PartScored out."""
    task, (objects, opened) = ScoreTask.parse(event), wire()
    scored = score_part(task, objects=objects, files=batches, opened=opened)
    logger("score").info("scored", extra={"output": task.output, "part": task.part.number, "scored": scored.to_json()})
    return scored.to_json()
