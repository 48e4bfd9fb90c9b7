"""How new code reaches the alias that answers: by CodeDeploy, a tenth first, and back when an alarm goes."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.app import new_app
from infra.constructs.sources import Sources
from infra.settings import DeploymentSettings
from infra.stacks.data import DataStack
from infra.stacks.serving import ServingStack
from tests.infra.synthesized import Deployment, Resource


def only(deployment: Deployment, kind: str) -> Resource:
    (found,) = deployment.resources(kind)
    return found


def release_alarms(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """The alarms that end a release, by name."""
    group = only(deployment, "AWS::CodeDeploy::DeploymentGroup")
    configured = group.properties["AlarmConfiguration"]
    assert configured["Enabled"] is True
    assert not configured.get("IgnorePollAlarmFailure")
    ids = {alarm["Name"]["Ref"] for alarm in configured["Alarms"]}
    return {
        alarm.properties["AlarmName"].removeprefix(f"tidegate-{deployment.stage}-"): alarm.properties
        for alarm in deployment.resources("AWS::CloudWatch::Alarm")
        if alarm.stack == group.stack and alarm.id in ids
    }


def test_the_alias_moves_by_codedeploy(deployment: Deployment) -> None:
    alias = only(deployment, "AWS::Lambda::Alias")
    group, application = (only(deployment, f"AWS::CodeDeploy::{kind}") for kind in ("DeploymentGroup", "Application"))
    assert alias.body["UpdatePolicy"] == {
        "CodeDeployLambdaAliasUpdate": {
            "ApplicationName": {"Ref": application.id},
            "DeploymentGroupName": {"Ref": group.id},
        }
    }
    assert application.properties["ComputePlatform"] == "Lambda"
    assert group.properties["ApplicationName"] == {"Ref": application.id}
    assert alias.properties["Name"] == "live"


def test_a_tenth_of_the_requests_goes_first_for_five_minutes(deployment: Deployment) -> None:
    found = only(deployment, "AWS::CodeDeploy::DeploymentGroup").properties
    assert found["DeploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
    assert found["DeploymentStyle"] == {"DeploymentOption": "WITH_TRAFFIC_CONTROL", "DeploymentType": "BLUE_GREEN"}


@pytest.mark.usefixtures("deployments")  # they build the layers
def test_a_fix_that_its_alarms_would_stop_goes_out_at_once_if_asked(tmp_path: Path) -> None:
    asked = DeploymentSettings.from_context({"code_release": "at-once", "code_version": "test"})
    app = new_app(tmp_path, {"aws:cdk:disable-asset-staging": True})
    ServingStack(app, "Serving", data=DataStack(app, "Data", settings=asked), sources=Sources(asked, "local"))
    app.synth()
    resources = json.loads((tmp_path / "Serving.template.json").read_text("utf-8"))["Resources"]
    ((group_id, group),) = (
        (name, each) for name, each in resources.items() if each["Type"] == "AWS::CodeDeploy::DeploymentGroup"
    )
    assert group["Properties"]["DeploymentConfigName"] == "CodeDeployDefault.LambdaAllAtOnce"
    assert group["Properties"]["AlarmConfiguration"]["Enabled"] is False
    (alias,) = (each for each in resources.values() if each["Type"] == "AWS::Lambda::Alias")
    # So that CloudFormation changes the group before it moves the alias.
    assert alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"] == {"Ref": group_id}


def test_it_goes_back_by_itself(deployment: Deployment) -> None:
    found = only(deployment, "AWS::CodeDeploy::DeploymentGroup").properties["AutoRollbackConfiguration"]
    assert found["Enabled"] is True
    assert set(found["Events"]) == {"DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"}


def test_its_alarms_see_every_way_in_which_answers_go_wrong(deployment: Deployment) -> None:
    alarmed = {name: (alarm["Namespace"], alarm["MetricName"]) for name, alarm in release_alarms(deployment).items()}
    assert alarmed == {
        "inference-errors": ("AWS/Lambda", "Errors"),
        "inference-latency": ("AWS/Lambda", "Duration"),
        "inference-model-failures": ("Tidegate", "ModelFailures"),
        "inference-server-errors": ("Tidegate", "ServerErrors"),
        "serving-api-5xx": ("AWS/ApiGateway", "5xx"),
    }


def test_its_alarms_can_go_within_the_five_minutes(deployment: Deployment) -> None:
    for name, alarm in release_alarms(deployment).items():
        assert alarm["Period"] * alarm["EvaluationPeriods"] <= 180, name


def test_crashes_are_counted_where_callers_come_in(deployment: Deployment) -> None:
    function = f"tidegate-{deployment.stage}-inference"
    assert release_alarms(deployment)["inference-errors"]["Dimensions"] == [
        {"Name": "FunctionName", "Value": function},
        {"Name": "Resource", "Value": f"{function}:live"},
    ]


def test_codedeploy_may_move_this_alias_and_look_at_alarms(deployment: Deployment) -> None:
    group = only(deployment, "AWS::CodeDeploy::DeploymentGroup")
    role_id = group.properties["ServiceRoleArn"]["Fn::GetAtt"][0]
    (role,) = [role for role in deployment.resources("AWS::IAM::Role") if role.id == role_id]
    trusted = role.properties["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
    assert trusted == {"Service": "codedeploy.amazonaws.com"}
    moving, looking = role.properties["Policies"][0]["PolicyDocument"]["Statement"]
    assert set(moving["Action"]) == {"lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"}
    assert "InferenceFunction" in json.dumps(moving["Resource"])
    assert looking["Action"] == "cloudwatch:DescribeAlarms"


def test_no_alarm_is_made_twice(deployment: Deployment) -> None:
    names = [alarm.properties["AlarmName"] for alarm in deployment.resources("AWS::CloudWatch::Alarm")]
    assert len(names) == len(set(names))


def test_stale_routes_have_an_alarm_and_errors_of_a_canary_have_none(deployment: Deployment) -> None:
    alarmed = [alarm.properties.get("MetricName") for alarm in deployment.resources("AWS::CloudWatch::Alarm")]
    assert {"RouteStale", "ArtifactRejected", "NewerArtifact"} <= set(alarmed)
    assert "CandidateErrors" not in alarmed  # the canary's judge decides about those
