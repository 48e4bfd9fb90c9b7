"""Lambda `score`: scores one part of a batch, by the same code that serves requests."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import ScoreSettings
from tidegate.messages import ScoreTask
from tidegate.ml import batches
from tidegate.steps.batch.work import score_part
from tidegate.telemetry import ends_runs, logger


@logger("score").inject_lambda_context
@ends_runs("score")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """ScoreTask in, PartScored out; EndsRun where the input is at fault."""
    task, at = ScoreTask.parse(event), wiring.of(ScoreSettings)
    scored = score_part(task, objects=at.batch_objects, files=batches, opened=at.opened)
    logger("score").info("scored", extra={"output": task.output, "part": task.part.number, "scored": scored.to_json()})
    return scored.to_json()
