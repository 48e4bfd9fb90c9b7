"""SnapStart for the inference function: off unless asked for, and then for published versions of it alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint

from infra.app import new_app
from infra.constructs.sources import Sources
from infra.settings import DeploymentSettings
from infra.stacks.data import DataStack
from infra.stacks.serving import ServingStack
from tests.infra.synthesized import Deployment


def template(settings: DeploymentSettings, folder: Path) -> dict[str, Any]:
    """Of the serving stack."""
    app = new_app(folder, {"aws:cdk:disable-asset-staging": True})
    data = DataStack(app, "Data", settings=settings)
    ServingStack(app, "Serving", data=data, sources=Sources(settings, "local"))
    app.synth()
    read: dict[str, Any] = json.loads((folder / "Serving.template.json").read_text("utf-8"))
    return read


def functions(resources: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        body["Properties"]["FunctionName"]: body["Properties"]
        for body in resources.values()
        if body["Type"] == "AWS::Lambda::Function"
    }


@pytest.fixture
def layers_built(deployments: dict[str, Deployment]) -> None:
    """The session's deployments build them."""


@pytest.mark.usefixtures("layers_built")
@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_published_versions_of_inference_start_from_a_snapshot_when_asked(tmp_path: Path, architecture: str) -> None:
    asked = DeploymentSettings.from_context(
        {"snap_start": "true", "code_version": "test", "architecture": architecture}
    )
    found = template(asked, tmp_path)
    assert {name for name, each in functions(found["Resources"]).items() if "SnapStart" in each} == {
        "tidegate-dev-inference"
    }
    inference = functions(found["Resources"])["tidegate-dev-inference"]
    assert inference["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    # What Lambda refuses beside it.
    assert inference["Runtime"] == "python3.13"
    assert not {"FileSystemConfigs", "EphemeralStorage"} & set(inference)
    (alias,) = (body for body in found["Resources"].values() if body["Type"] == "AWS::Lambda::Alias")
    assert "ProvisionedConcurrencyConfig" not in alias["Properties"]
    (version,) = (name for name, body in found["Resources"].items() if body["Type"] == "AWS::Lambda::Version")
    assert alias["Properties"]["FunctionVersion"] == {"Fn::GetAtt": [version, "Version"]}
    assert [str(match) for match in lint(json.dumps(found), regions=["eu-west-1"])] == []


@pytest.mark.usefixtures("layers_built")
@pytest.mark.parametrize(("context", "actions"), [
    ({}, ["dynamodb:GetItem"]),
    ({"snap_start": "true"}, ["dynamodb:GetItem", "dynamodb:Query"]),
    ({"provisioned_concurrency": "2"}, ["dynamodb:GetItem", "dynamodb:Query"]),
])  # fmt: skip
def test_what_is_started_before_anybody_asks_may_list_the_models(
    tmp_path: Path, context: dict[str, str], actions: list[str]
) -> None:
    found = template(DeploymentSettings.from_context(context | {"code_version": "test"}), tmp_path)
    roles = (body for body in found["Resources"].values() if body["Type"] == "AWS::IAM::Role")
    role = next(each for each in roles if each["Properties"].get("Description", "").endswith("-inference may do"))
    statements = role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    (reading,) = (each["Action"] for each in statements if "dynamodb" in str(each["Action"]))
    assert sorted([reading] if isinstance(reading, str) else reading) == actions


def test_no_function_starts_from_a_snapshot_unless_asked(deployment: Deployment) -> None:
    assert [str(each) for each in deployment.resources("AWS::Lambda::Function") if "SnapStart" in each.properties] == []
