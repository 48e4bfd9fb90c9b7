"""What becomes of reported outcomes once they are accepted: a stream, a table and alarms, as for captures."""

import json
from typing import Any

from tests.builders.feedback import item, kept
from tests.infra.synthesized import Deployment, Resource
from tidegate.kernel.roles import Role
from tidegate.kernel.routes import SERVING
from tidegate.kernel.settings import FeedbackSettings


def stream(deployment: Deployment) -> Resource:
    (found,) = (
        one
        for one in deployment.resources("AWS::KinesisFirehose::DeliveryStream")
        if one.properties["DeliveryStreamName"] == f"tidegate-{deployment.stage}-feedback"
    )
    return found


def tables(deployment: Deployment) -> dict[str, dict[str, Any]]:
    found = deployment.resources("AWS::Glue::Table")
    return {table.properties["TableInput"]["Name"]: table.properties for table in found}


def test_outcomes_are_encrypted_and_partitioned_as_their_table_projects(deployment: Deployment) -> None:
    found = stream(deployment).properties
    assert found["DeliveryStreamEncryptionConfigurationInput"] == {"KeyType": "AWS_OWNED_CMK"}
    destination = found["ExtendedS3DestinationConfiguration"]
    table = tables(deployment)["feedback"]["TableInput"]
    template = json.dumps(table["Parameters"]["storage.location.template"])
    assert destination["Prefix"].startswith("feedback/model=")
    assert "/feedback/model=" in template
    for key in table["PartitionKeys"]:
        name = key["Name"]
        assert f"{name}=${{{name}}}/" in template
        assert f"{name}=!{{partitionKeyFromQuery:{name}}}/" in destination["Prefix"]
        assert f"projection.{name}.type" in table["Parameters"]


def test_the_table_has_the_columns_of_an_outcome(deployment: Deployment) -> None:
    (record,) = kept(item())
    found = tables(deployment)["feedback"]["TableInput"]
    columns = {column["Name"] for column in found["StorageDescriptor"]["Columns"] + found["PartitionKeys"]}
    assert columns == set(record)


def test_both_tables_are_in_one_database(deployment: Deployment) -> None:
    assert len(list(deployment.resources("AWS::Glue::Database"))) == 1
    found = tables(deployment)
    assert set(found) == {"captures", "feedback"}
    assert found["captures"]["DatabaseName"] == found["feedback"]["DatabaseName"]


def test_each_stream_writes_into_its_own_folder_alone(deployment: Deployment) -> None:
    writers = {
        role.id: json.dumps(role.properties["Policies"])
        for role in deployment.resources("AWS::IAM::Role")
        if "firehose.amazonaws.com" in json.dumps(role.properties["AssumeRolePolicyDocument"])
    }
    folders = {
        name: sorted(folder for folder in ("captures", "errors", "feedback", "runs") if f"/{folder}/*" in policy)
        for name, policy in writers.items()
    }
    assert sorted(folders.values()) == [["captures", "errors"], ["errors", "feedback"]]


def test_the_function_reads_the_registry_and_writes_into_its_stream_alone(deployment: Deployment) -> None:
    (role,) = (one for one in deployment.resources("AWS::IAM::Role") if one.id.startswith("FeedbackRole"))
    allowed = {
        action: json.dumps(statement["Resource"])
        for policy in role.properties["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert set(allowed) == {
        "dynamodb:GetItem",
        "firehose:PutRecordBatch",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }
    assert stream(deployment).id in allowed["firehose:PutRecordBatch"]


def test_the_route_belongs_to_people_who_work_with_predictions_and_is_answered_by_the_function(
    deployment: Deployment,
) -> None:
    assert SERVING["feedback"].roles == {Role.SCIENTIST, Role.OPERATOR}
    assert SERVING["corrections"].roles == {Role.OPERATOR}
    integrations = {one.id: one.properties for one in deployment.resources("AWS::ApiGatewayV2::Integration")}
    routes = {one.properties["RouteKey"]: one.properties for one in deployment.resources("AWS::ApiGatewayV2::Route")}
    target, other = (json.dumps(routes[SERVING[name].key]["Target"]) for name in ("feedback", "corrections"))
    assert target == other
    (integration,) = (properties for name, properties in integrations.items() if f'"{name}"' in target)
    (function,) = (
        one
        for one in deployment.resources("AWS::Lambda::Function")
        if one.properties["FunctionName"] == f"tidegate-{deployment.stage}-feedback"
    )
    assert function.id in json.dumps(integration["IntegrationUri"])
    invoked = [one.properties["FunctionName"] for one in deployment.resources("AWS::Lambda::Permission")]
    assert any(function.id in json.dumps(name) for name in invoked)


def test_the_function_finds_all_its_settings(deployment: Deployment) -> None:
    (function,) = (
        one
        for one in deployment.resources("AWS::Lambda::Function")
        if one.properties["FunctionName"] == f"tidegate-{deployment.stage}-feedback"
    )
    settings = FeedbackSettings.from_env(function.properties["Environment"]["Variables"])
    assert (settings.stage, settings.max_body_bytes) == (deployment.stage, "1000000")


def test_late_outcomes_too_many_partitions_and_a_failing_function_wake_people(deployment: Deployment) -> None:
    alarms = {
        alarm.properties["AlarmName"].removeprefix(f"tidegate-{deployment.stage}-"): alarm
        for alarm in deployment.resources("AWS::CloudWatch::Alarm")
    }
    late, partitions = alarms["feedback-late"].properties, alarms["feedback-partitions"].properties
    assert (late["MetricName"], late["Threshold"]) == ("DeliveryToS3.DataFreshness", 900)
    assert partitions["MetricName"] == "PartitionCountExceeded"
    for alarm in (late, partitions):
        assert stream(deployment).id in json.dumps(alarm["Dimensions"])
    errors = alarms["feedback-errors"].properties
    assert errors["Dimensions"] == [{"Name": "FunctionName", "Value": f"tidegate-{deployment.stage}-feedback"}]
    groups = json.dumps([one.properties for one in deployment.resources("AWS::CodeDeploy::DeploymentGroup")])
    assert not [name for name, alarm in alarms.items() if name.startswith("feedback-") and alarm.id in groups]
