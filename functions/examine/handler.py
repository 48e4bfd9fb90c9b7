"""Lambda `examine`: looks at slices of the holdout, and at groups of people, where one number for all hides a fault."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import StepSettings
from tidegate.messages import ExamineTask
from tidegate.ml.fairness import FairlearnGroups
from tidegate.ml.slices import tree_leaves
from tidegate.steps.evaluation.slices_and_groups import examine
from tidegate.telemetry import logger


@logger("examine").inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """ExamineTask in, Examined out."""
    task = ExamineTask.parse(event)
    at = wiring.of(StepSettings)
    examined = examine(
        task,
        models=at.registry,
        runs=at.registry,
        versions=at.registry,
        artifacts=at.artifacts,
        search=tree_leaves,
        groups=FairlearnGroups(),
        clock=at.clock,
    )
    logger("examine").info("examined", extra={"run": task.run.to_json(), "examined": examined.to_json()})
    return examined.to_json()
