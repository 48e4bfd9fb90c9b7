"""What other people's rules say about the templates."""

import json
import subprocess
from pathlib import Path

from cfnlint.api import lint

from infra.machines.release_machine import Step, definition
from tests.infra.synthesized import Deployment, deployed
from tests.tools import installed

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


def test_asl_validator_finds_nothing_in_the_state_machines(deployments: dict[str, Deployment], tmp_path: Path) -> None:
    program = installed.node_modules() / ".bin" / "asl-validator"
    definitions = {
        f"{machine.stack}-{machine.id}": deployed(machine.properties["DefinitionString"])
        for deployment in deployments.values()
        for machine in deployment.resources("AWS::StepFunctions::StateMachine")
    }
    assert len(definitions) == 2 * 4
    broken = json.loads(next(text for name, text in definitions.items() if "-Batch-" in name))
    del broken["States"]["Plan"]["Next"]
    command: list[str | Path] = ["node", program]
    for name, text in {**definitions, "broken": json.dumps(broken)}.items():
        (tmp_path / name).write_text(text)
        command += ["--json-path", tmp_path / name]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert all(f'"{tmp_path / name}" is valid' in said.stdout for name in definitions), said.stderr
    assert (said.returncode, f'"{tmp_path / "broken"}" is invalid' in said.stderr) == (1, True), said


def test_the_aws_solutions_rules_find_nothing_that_is_not_acknowledged_with_a_reason(deployment: Deployment) -> None:
    assert deployment.findings == {}
