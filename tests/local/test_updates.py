"""Updates of a running cloud: in place, by replacement, by removal; what the templates say is what is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from infra.local.change_sets import Action, UpdateRefusedError
from infra.local.cloud import LocalCloud, ProvisioningError
from tests.local.calls import call, run

Resources = dict[str, Any]
STATEMENT = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}


def edited(assembly: Path, folder: Path, **edits: Callable[[dict[str, Any]], None]) -> Path:
    """The assembly with the templates of some stacks edited."""
    shutil.copytree(assembly, folder, dirs_exist_ok=True)
    for stack, edit in edits.items():
        file = folder / f"{stack}.template.json"
        template = json.loads(file.read_text())
        edit(template)
        file.write_text(json.dumps(template))
    return folder


def one(resources: Resources, kind: str, **properties: Any) -> str:
    """The logical id of the only resource of a type with these properties."""
    (found,) = [
        name
        for name, each in resources.items()
        if each["Type"] == kind and properties.items() <= each.get("Properties", {}).items()
    ]
    return found


@pytest.fixture(scope="module")
def running(assembly: Path) -> Iterator[LocalCloud]:
    with LocalCloud.start(assembly, tick=False, event_retry_waits_s=(0.05, 0.05)) as started:
        yield started


def change_storage(template: dict[str, Any]) -> None:
    resources = template["Resources"]
    table = resources[one(resources, "AWS::DynamoDB::Table")]["Properties"]
    table["AttributeDefinitions"].append({"AttributeName": "by", "AttributeType": "S"})
    keys = [{"AttributeName": "by", "KeyType": "HASH"}]
    table["GlobalSecondaryIndexes"] = [
        {"IndexName": "by-whom", "KeySchema": keys, "Projection": {"ProjectionType": "ALL"}},
    ]
    table["DeletionProtectionEnabled"] = True
    bucket = resources[one(resources, "AWS::S3::Bucket")]["Properties"]
    bucket["LifecycleConfiguration"]["Rules"][0]["NoncurrentVersionExpiration"]["NoncurrentDays"] = 7
    policy = resources[one(resources, "AWS::S3::BucketPolicy")]["Properties"]["PolicyDocument"]
    policy["Statement"][0]["Sid"] = "edited"


def change_work(template: dict[str, Any]) -> None:
    resources = template["Resources"]

    def change(kind: str, where: dict[str, Any], **properties: Any) -> None:
        resources[one(resources, kind, **where)]["Properties"].update(properties)

    change("AWS::Lambda::Function", {"FunctionName": "work"}, Timeout=3, MemorySize=512, ReservedConcurrentExecutions=2)
    version = one(resources, "AWS::Lambda::Version")
    text = json.dumps(resources).replace(version, version[:-32] + "f" * 32).replace("/models/", "/edited/")
    resources.clear()
    resources.update(json.loads(text))
    change("AWS::Lambda::EventInvokeConfig", {}, MaximumRetryAttempts=0)
    change("AWS::Lambda::EventSourceMapping", {"BatchSize": 3}, BatchSize=4)
    change("AWS::SQS::Queue", {"QueueName": "seen"}, VisibilityTimeout=77)
    change("AWS::Logs::LogGroup", {"LogGroupName": "/sample/work"}, RetentionInDays=14)
    change("AWS::KMS::Key", {}, Description="edited", EnableKeyRotation=True)
    change("AWS::SNS::Topic", {}, DisplayName="edited")
    change("AWS::CloudWatch::Alarm", {"AlarmName": "refused"}, Threshold=9)
    change("AWS::CloudWatch::Dashboard", {}, DashboardBody='{"widgets":[]}')
    change("AWS::SSM::Parameter", {}, Value="edited")
    change("AWS::Scheduler::Schedule", {}, ScheduleExpression="cron(0 4 * * ? *)")
    done = {"StartAt": "Done", "States": {"Done": {"Type": "Pass", "Result": {"edited": True}, "End": True}}}
    change("AWS::StepFunctions::StateMachine", {"StateMachineName": "sample"}, DefinitionString=json.dumps(done))
    rules = [name for name, each in resources.items() if name.startswith("Hourly")]
    resources[rules[0]]["Properties"].update(ScheduleExpression="rate(2 hours)", Targets=[])
    delivery = resources[one(resources, "AWS::KinesisFirehose::DeliveryStream")]["Properties"]
    delivery["ExtendedS3DestinationConfiguration"]["BufferingHints"]["IntervalInSeconds"] = 90
    role = next(name for name in resources if name.startswith("DeliveryRoleDefaultPolicy"))
    resources[role]["Properties"]["PolicyDocument"]["Statement"].append(STATEMENT)
    machine = next(name for name in resources if name.startswith("NoRole"))
    resources[machine]["Properties"]["Policies"] = [
        {"PolicyName": "edited", "PolicyDocument": {"Version": "2012-10-17", "Statement": [STATEMENT]}}
    ]
    layer = one(resources, "AWS::Lambda::LayerVersion")
    resources[layer]["Properties"]["Description"] = "edited"


@pytest.fixture(scope="module")
def updated(running: LocalCloud, assembly: Path, tmp_path_factory: pytest.TempPathFactory) -> LocalCloud:
    table = running.client("dynamodb").list_tables()["TableNames"][0]
    running.client("dynamodb").put_item(TableName=table, Item={"pk": {"S": "kept"}, "sk": {"S": "1"}, "by": {"S": "a"}})
    running.client("cloudwatch").set_alarm_state(AlarmName="refused", StateValue="ALARM", StateReason="to be kept")
    folder = tmp_path_factory.mktemp("edited")
    after = edited(assembly, folder, Storage=change_storage, Work=change_work)
    planned = running.change_sets(after)
    lines: list[str] = []
    made = running.update(after, on_progress=lines.append)
    assert made == planned
    assert lines == [str(changes) for changes in made]  # nothing could not be deleted
    replaced = {change.type for each in made for change in each.of(Action.REPLACE)}
    assert replaced == {"AWS::Lambda::LayerVersion", "AWS::Lambda::Permission"}
    return running


def test_a_table_keeps_its_items_and_gets_its_index(updated: LocalCloud) -> None:
    client = updated.client("dynamodb")
    (table,) = client.list_tables()["TableNames"]
    assert client.describe_table(TableName=table)["Table"]["DeletionProtectionEnabled"]
    found = client.query(
        TableName=table,
        IndexName="by-whom",
        KeyConditionExpression="#by = :a",
        ExpressionAttributeNames={"#by": "by"},
        ExpressionAttributeValues={":a": {"S": "a"}},
    )
    assert [item["pk"]["S"] for item in found["Items"]] == ["kept"]


def test_a_function_has_its_new_configuration_layer_and_version(updated: LocalCloud) -> None:
    client = updated.client("lambda")
    now = client.get_function_configuration(FunctionName="work")
    assert (now["Timeout"], now["MemorySize"]) == (3, 512)
    (layer,) = client.list_layers()["Layers"]  # the old one is deleted
    assert layer["LatestMatchingVersion"]["Description"] == "edited"
    assert [each["Arn"] for each in now["Layers"]] == [layer["LatestMatchingVersion"]["LayerVersionArn"]]
    assert client.get_alias(FunctionName="work", Name="live")["FunctionVersion"] == "2"
    config = updated.host.config("work")
    assert (config.timeout_s, config.memory_mb, config.reserved_concurrency, config.max_event_retries) == (3, 512, 2, 0)
    assert call(updated, {"do": "echo"})[0]["StatusCode"] == 200
    sizes = {each["BatchSize"] for each in client.list_event_source_mappings()["EventSourceMappings"]}
    assert sizes == {4, 10}


def test_a_gateway_serves_the_routes_that_are_declared_now_on_the_same_port(updated: LocalCloud) -> None:
    url = updated.outputs["ApiUrl"]
    assert urllib3.request("GET", f"{url}/models/a").status == 404
    assert urllib3.request("GET", f"{url}/edited/a").status == 403  # not signed


def test_a_state_machine_runs_its_new_definition(updated: LocalCloud) -> None:
    assert json.loads(run(updated, {})["output"]) == {"edited": True}


def test_an_alarm_keeps_its_state(updated: LocalCloud) -> None:
    (alarm,) = updated.client("cloudwatch").describe_alarms(AlarmNames=["refused"])["MetricAlarms"]
    assert (alarm["Threshold"], alarm["StateValue"]) == (9, "ALARM")


def test_the_rest_is_as_the_templates_say(updated: LocalCloud) -> None:
    client = updated.client
    (bucket,) = [each["Name"] for each in client("s3").list_buckets()["Buckets"] if each["Name"].startswith("storage")]
    (rule,) = client("s3").get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rule["NoncurrentVersionExpiration"]["NoncurrentDays"] == 7
    assert json.loads(client("s3").get_bucket_policy(Bucket=bucket)["Policy"])["Statement"][0]["Sid"] == "edited"
    url = client("sqs").get_queue_url(QueueName="seen")["QueueUrl"]
    attributes = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert attributes == {"VisibilityTimeout": "77"}
    (group,) = client("logs").describe_log_groups(logGroupNamePrefix="/sample/work")["logGroups"]
    assert group["retentionInDays"] == 14
    (key,) = client("kms").list_keys()["Keys"]
    assert client("kms").describe_key(KeyId=key["KeyId"])["KeyMetadata"]["Description"] == "edited"
    assert client("kms").get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]
    (topic,) = client("sns").list_topics()["Topics"]
    assert client("sns").get_topic_attributes(**topic)["Attributes"]["DisplayName"] == "edited"
    assert client("cloudwatch").get_dashboard(DashboardName="sample")["DashboardBody"] == '{"widgets":[]}'
    assert client("ssm").get_parameter(Name="/sample/url")["Parameter"]["Value"] == "edited"
    (schedule,) = client("scheduler").list_schedules()["Schedules"]
    now = client("scheduler").get_schedule(Name=schedule["Name"])
    assert now["ScheduleExpression"] == "cron(0 4 * * ? *)"
    rules = {rule["Name"]: rule for rule in client("events").list_rules()["Rules"]}
    (hourly,) = [name for name, each in rules.items() if each.get("ScheduleExpression") == "rate(2 hours)"]
    assert client("events").list_targets_by_rule(Rule=hourly)["Targets"] == []
    roles = {role["RoleName"].split("-")[1]: role["RoleName"] for role in client("iam").list_roles()["Roles"]}
    (no_role,) = [name for short, name in roles.items() if short.startswith("NoRole")]
    assert client("iam").list_role_policies(RoleName=no_role)["PolicyNames"] == ["edited"]


def test_an_export_in_use_is_refused_before_anything_changes(
    updated: LocalCloud, assembly: Path, tmp_path: Path
) -> None:
    def rename(template: dict[str, Any]) -> None:
        table = one(template["Resources"], "AWS::DynamoDB::Table")
        template["Resources"]["Renamed"] = template["Resources"].pop(table)
        text = json.dumps(template).replace(f'"{table}"', '"Renamed"')
        template.clear()
        template.update(json.loads(text))

    before = updated.client("dynamodb").list_tables()["TableNames"]
    renamed = edited(assembly, tmp_path, Storage=rename)
    with pytest.raises(
        UpdateRefusedError, match=r"^stack Storage: Cannot update export \S+ as it is in use by Work\.$"
    ):
        updated.update(renamed)
    assert updated.client("dynamodb").list_tables()["TableNames"] == before


def test_a_resource_that_cannot_be_made_is_named(updated: LocalCloud, assembly: Path, tmp_path: Path) -> None:
    def add(template: dict[str, Any]) -> None:
        properties = {"Bucket": "nobody", "PolicyDocument": {"Statement": []}}
        template["Resources"]["Fish"] = {"Type": "AWS::S3::BucketPolicy", "Properties": properties}

    with pytest.raises(ProvisioningError, match=r"Storage/Fish \(AWS::S3::BucketPolicy\).*NoSuchBucket"):
        updated.update(edited(assembly, tmp_path, Storage=add))


def test_what_leaves_the_template_is_deleted_unless_it_says_retain(
    running: LocalCloud, assembly: Path, tmp_path: Path
) -> None:
    """Last of this file: nothing of the stack is left to be tested after this."""

    def empty(template: dict[str, Any]) -> None:
        kept = {"Kept": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "a"}}}
        template.update(Resources=kept, Outputs={})

    url = running.outputs["ApiUrl"]
    lines: list[str] = []
    changes = running.update(edited(assembly, tmp_path, Work=empty), on_progress=lines.append)
    assert [line for line in lines if "is not deleted" in line] == []
    assert len(changes[1].of(Action.REMOVE)) > 70
    client = running.client
    functions = [each["FunctionName"] for each in client("lambda").list_functions()["Functions"]]
    assert [name for name in functions if not name.startswith("Storage-")] == []
    assert client("lambda").list_event_source_mappings()["EventSourceMappings"] == []
    assert client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert client("cloudwatch").list_dashboards()["DashboardEntries"] == []
    assert client("stepfunctions").list_state_machines()["stateMachines"] == []
    assert client("events").list_rules()["Rules"] == []
    assert client("scheduler").list_schedules()["Schedules"] == []
    assert client("sns").list_topics()["Topics"] == []
    assert client("sqs").list_queues().get("QueueUrls", []) == []
    assert [role for role in client("iam").list_roles()["Roles"] if role["RoleName"].startswith("Work-")] == []
    assert client("firehose").list_delivery_streams()["DeliveryStreamNames"] == []
    assert running.gateways == {}
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", f"{url}/edited/a", retries=False)
    with pytest.raises(LookupError):
        running.host.config("work")
    kept = {group["logGroupName"] for group in client("logs").describe_log_groups()["logGroups"]}
    assert {"/sample/work", "/aws/vendedlogs/states/sample"} <= kept
