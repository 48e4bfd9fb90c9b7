"""Lambda `slices_and_groups`: looks at slices of the holdout, and at groups of people, where one number for all hides a
fault."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.kernel.settings import StepSettings
from tidegate.messages import SlicesAndGroupsTask
from tidegate.ml.fairness import FairlearnGroups
from tidegate.ml.slices import tree_leaves
from tidegate.steps.evaluation.slices_and_groups import slices_and_groups
from tidegate.telemetry import ends_runs, logger


@logger("slices_and_groups").inject_lambda_context
@ends_runs("slices_and_groups")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """SlicesAndGroupsTask in, SlicesAndGroups out; EndsRun where people are at fault."""
    task = SlicesAndGroupsTask.parse(event)
    at = wiring.of(StepSettings)
    measured = slices_and_groups(
        task,
        models=at.registry,
        runs=at.registry,
        versions=at.registry,
        artifacts=at.artifacts,
        search=tree_leaves,
        groups=FairlearnGroups(),
        clock=at.clock,
    )
    logger("slices_and_groups").info(
        "measured", extra={"run": task.run.to_json(), "slices_and_groups": measured.to_json()}
    )
    return measured.to_json()
