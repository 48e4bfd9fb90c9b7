"""What other people's rules say about the templates."""

import json

from cfnlint.api import lint

from infra.machines.release_machine import Step, definition
from tests.infra.synthesized import Deployment

REGIONS = ["us-east-1", "eu-west-1", "ap-southeast-2"]
FUNCTIONS = (
    *("prepare", "train", "select", "evaluate", "reproduce", "slices_and_groups"),
    *("gate", "register", "report", "rollout", "close_failed"),
)


def test_cfn_lint_finds_nothing(deployment: Deployment) -> None:
    found = {name: lint(json.dumps(template), regions=REGIONS) for name, template in deployment.templates.items()}
    assert {name: [str(match) for match in matches] for name, matches in found.items() if matches} == {}


def test_cfn_lint_finds_nothing_in_the_state_machine() -> None:
    """In the stack's template the definition is in pieces, which cfn-lint does not read."""
    steps = {name: Step(f"arn:aws:lambda:eu-west-1:123456789012:function:tidegate-{name}", 60) for name in FUNCTIONS}
    machine = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "RoleArn": "arn:aws:iam::123456789012:role/release",
            "DefinitionString": json.dumps(definition(steps, partition="aws", training_concurrency=10)),
        },
    }
    assert [str(match) for match in lint(json.dumps({"Resources": {"Release": machine}}), regions=REGIONS)] == []


def test_the_aws_solutions_rules_find_nothing_that_is_not_acknowledged_with_a_reason(deployment: Deployment) -> None:
    assert deployment.findings == {}
