"""What holds for every stage and for every resource that will ever be added."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Template

from infra.app import new_app
from infra.constructs.capture_stream import ERRORS
from infra.settings import DeploymentSettings
from infra.stacks import serving
from infra.stacks.data import KEPT, RETENTION, DataStack
from tests.builders.captures import capture
from tests.infra.synthesized import Deployment, Resource
from tidegate.cli.doctor import roles as doctor
from tidegate.domain.serving.capture import CapturePolicy, records
from tidegate.kernel import prefixes, roles
from tidegate.kernel.partitions import Partition
from tidegate.kernel.routes import CONTROL, SERVING

ROOT = Path(__file__).resolve().parents[2]
STATEFUL = (
    "AWS::DynamoDB::Table",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
)
UNTAGGABLE = {
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::CloudWatch::Dashboard",
    "AWS::IAM::ManagedPolicy",
    "AWS::Glue::Database",
    "AWS::Glue::Table",
    "AWS::Lambda::Alias",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::LayerVersion",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Version",
    "AWS::Logs::LogStream",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}
LAYERS = {
    "DataLayer": {"batch", "catalog", "prepare", "retrain", "score"},
    "PlotsLayer": {"report"},
    "TrainingLayer": {"slices_and_groups", "train"},
}
BACKGROUND = {"catalog", "close_failed"}


def statements(deployment: Deployment) -> Iterator[tuple[Resource, dict[str, Any]]]:
    """Every policy statement, wherever it stands."""

    def search(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            if "Effect" in value and "Action" in value:
                yield value
            for inner in value.values():
                yield from search(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from search(inner)

    for resource in deployment.resources():
        for statement in search(resource.properties):
            yield resource, statement


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def tags(resource: Resource) -> dict[str, str]:
    found = resource.properties.get("Tags", {})
    return found if isinstance(found, dict) else {tag["Key"]: tag["Value"] for tag in found}


def function_name(resource: Resource) -> str:
    return str(resource.properties["FunctionName"]).rsplit("-", 1)[1]


def policy_of(deployment: Deployment, owner: Resource, kind: str, key: str) -> list[dict[str, Any]]:
    """Statements of the resource policies attached to a bucket, queue or topic."""
    return [
        statement
        for policy in deployment.resources(kind)
        if policy.stack == owner.stack and {"Ref": owner.id} in listed(policy.properties[key])
        for statement in policy.properties["PolicyDocument"]["Statement"]
    ]


def refuses_plain_http(found: list[dict[str, Any]]) -> bool:
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    return any(entry["Effect"] == "Deny" and entry.get("Condition") == condition for entry in found)


def test_no_allowed_action_has_a_wildcard(deployment: Deployment) -> None:
    starred = [
        f"{resource}: {action}"
        for resource, statement in statements(deployment)
        for action in listed(statement["Action"])
        if statement["Effect"] == "Allow" and "*" in action
    ]
    assert starred == []


def test_only_actions_without_resources_are_allowed_on_every_resource(deployment: Deployment) -> None:
    unbound = {
        action
        for resource, statement in statements(deployment)
        for action in listed(statement["Action"])
        if statement["Effect"] == "Allow" and statement.get("Resource") == "*" and resource.type != "AWS::KMS::Key"
    }
    assert {action.split(":")[0] for action in unbound} == {"dynamodb", "logs", "xray"}
    assert {action for action in unbound if action.startswith("dynamodb:")} == {"dynamodb:ListStreams"}
    assert "logs:PutLogEvents" not in unbound


def test_what_is_allowed_is_allowed_on_arns(deployment: Deployment) -> None:
    """A table's or a bucket's name in place of its ARN allows nothing, and only a call would show it."""
    refs_that_are_arns = {"AWS::SNS::Topic", "AWS::StepFunctions::StateMachine"}
    resources = [each for template in deployment.templates.values() for each in template["Resources"].items()]
    for resource, statement in statements(deployment):
        for name in filter(None, map(referred, listed(statement.get("Resource", [])))):
            (kind,) = {each["Type"] for logical_id, each in resources if name.startswith(logical_id)}
            assert kind in refs_that_are_arns, f"{resource}: {statement}"


def referred(value: Any) -> str:
    """The logical id that a `Ref`, here or through another stack's export, begins with; empty for anything else."""
    if not isinstance(value, dict):
        return ""
    return str(value.get("Ref", "") or value.get("Fn::ImportValue", "").partition("ExportsOutputRef")[2])


def test_no_policy_of_an_account_other_than_ours_or_of_everybody(deployment: Deployment) -> None:
    for resource, statement in statements(deployment):
        if statement["Effect"] == "Allow" and "Principal" in statement:
            assert statement["Principal"] != "*", resource
            assert statement["Principal"] != {"AWS": "*"}, resource


def test_only_the_role_of_a_function_may_be_used_by_that_function(deployment: Deployment) -> None:
    roles = [resource.properties["Role"]["Fn::GetAtt"][0] for resource in deployment.resources("AWS::Lambda::Function")]
    assert len(roles) == len(set(roles))
    for role in deployment.resources("AWS::IAM::Role"):
        assert "ManagedPolicyArns" not in role.properties, role


def test_inference_writes_nothing_but_captures(deployment: Deployment) -> None:
    (role,) = [
        role
        for role in deployment.resources("AWS::IAM::Role")
        if role.stack.endswith("-Serving") and role.id.startswith("InferenceRole")
    ]
    allowed = {
        action
        for policy in role.properties["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
    }
    assert allowed - {"dynamodb:Query"} == {  # which it has where environments start ahead of requests
        "dynamodb:GetItem",
        "firehose:PutRecordBatch",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "s3:GetObject",
        "s3:ListBucket",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }


READS = {
    "dynamodb:DescribeStream",
    "dynamodb:GetItem",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
    "dynamodb:Query",
}


def test_the_ledger_takes_new_entries_and_nothing_else(deployment: Deployment) -> None:
    writers = set()
    for resource, statement in statements(deployment):
        writes = {action for action in listed(statement["Action"]) if action.startswith("dynamodb:")} - READS
        if not writes or statement["Effect"] != "Allow":
            continue
        if "Ledger" in json.dumps(statement["Resource"]):
            appends = {"dynamodb:ConditionCheckItem", "dynamodb:PutItem"}  # behind the entry that must be the newest
            assert ("Condition" in statement, writes) == (False, appends), resource
            writers.add(resource.id.split("Role")[0])
            continue
        assert statement["Condition"]["Null"] == {"dynamodb:LeadingKeys": "false"}, resource
        keys = listed(statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"])
        assert not any(fnmatchcase("LEDGER#flight-delay", key) for key in keys), resource
    assert writers == {"Control", "Register", "Rollout", "CloseFailed"}


def test_a_rollout_reads_artifacts_captures_and_feedback_and_writes_none_of_them(deployment: Deployment) -> None:
    (role,) = [role for role in deployment.resources("AWS::IAM::Role") if role.id.startswith("RolloutRole")]
    found = [entry for policy in role.properties["Policies"] for entry in policy["PolicyDocument"]["Statement"]]
    actions = {action for entry in found for action in listed(entry["Action"])}
    assert {action for action in actions if action.startswith(("s3:", "states:"))} == {
        "s3:GetObject",
        "s3:ListBucket",
        "states:SendTaskSuccess",
    }
    read = json.dumps([entry["Resource"] for entry in found if "s3:GetObject" in listed(entry["Action"])])
    assert [prefix in read for prefix in ("/runs/*", "/captures/*", "/feedback/*")] == [True] * 3


def test_each_role_may_call_the_routes_of_its_job_and_no_other() -> None:
    """IAM's `*` does not stop at a slash, so a pattern must not reach a route that belongs to others."""
    for table in (CONTROL, SERVING):
        routes = {route.key: route.roles for route in table.values()}
        for role in roles.Role:
            patterns = [re.sub(r"{[a-z]+}", "*", route) for route, allowed in routes.items() if role in allowed]
            for route, allowed in routes.items():
                reached = any(fnmatchcase(re.sub(r"{[a-z]+}", "x", route), pattern) for pattern in patterns)
                assert reached is (role in allowed), (role, route)


def test_every_role_is_a_policy_that_people_find_by_a_parameter(deployment: Deployment) -> None:
    policies = {
        policy.id.removesuffix(policy.id[-8:]): policy for policy in deployment.resources("AWS::IAM::ManagedPolicy")
    }
    assert set(policies) == {f"{role.capitalize()}Policy" for role in roles.Role}
    names = {parameter.properties["Name"] for parameter in deployment.resources("AWS::SSM::Parameter")}
    assert {f"/tidegate/{deployment.stage}/{role}-policy" for role in roles.Role} <= names
    for role in roles.Role:
        calls, finds = policies[f"{role.capitalize()}Policy"].properties["PolicyDocument"]["Statement"]
        wanted = [route for table in (CONTROL, SERVING) for route in table.values() if role in route.roles]
        assert (calls["Action"], len(listed(calls["Resource"]))) == ("execute-api:Invoke", len(wanted))
        assert (finds["Action"], len(listed(finds["Resource"]))) == ("ssm:GetParameter", 2)


def test_every_bucket_is_private_encrypted_versioned_logged_and_refuses_plain_http(deployment: Deployment) -> None:
    buckets = list(deployment.resources("AWS::S3::Bucket"))
    assert len(buckets) == 4
    for bucket in buckets:
        found = bucket.properties
        assert set(found["PublicAccessBlockConfiguration"].values()) == {True}, bucket
        assert found["BucketEncryption"], bucket
        assert found["VersioningConfiguration"] == {"Status": "Enabled"}, bucket
        assert found["LifecycleConfiguration"]["Rules"], bucket
        assert ("LoggingConfiguration" in found) is not bucket.id.startswith("AccessLogs"), bucket
        assert refuses_plain_http(policy_of(deployment, bucket, "AWS::S3::BucketPolicy", "Bucket")), bucket


def test_every_queue_is_encrypted_and_refuses_plain_http(deployment: Deployment) -> None:
    for queue in deployment.resources("AWS::SQS::Queue"):
        assert queue.properties["SqsManagedSseEnabled"] is True
        assert refuses_plain_http(policy_of(deployment, queue, "AWS::SQS::QueuePolicy", "Queues"))


def test_every_queue_has_an_alarm(deployment: Deployment) -> None:
    alarmed = {
        dimension["Value"]
        for alarm in deployment.resources("AWS::CloudWatch::Alarm")
        for dimension in alarm.properties.get("Dimensions", [])
        if dimension["Name"] == "QueueName"
    }
    for queue in deployment.resources("AWS::SQS::Queue"):
        assert queue.properties["QueueName"] in alarmed, queue


def test_every_topic_is_encrypted_under_a_rotated_key_and_refuses_plain_http(deployment: Deployment) -> None:
    for topic in deployment.resources("AWS::SNS::Topic"):
        assert topic.properties["KmsMasterKeyId"]
        assert refuses_plain_http(policy_of(deployment, topic, "AWS::SNS::TopicPolicy", "Topics"))
    for key in deployment.resources("AWS::KMS::Key"):
        assert key.properties["EnableKeyRotation"] is True


def test_cloudwatch_may_publish_alarms_and_use_the_key(deployment: Deployment) -> None:
    allowed = {
        action
        for _, statement in statements(deployment)
        for action in listed(statement["Action"])
        if "cloudwatch.amazonaws.com" in json.dumps(statement.get("Principal"))
    }
    assert allowed == {"kms:Decrypt", "kms:GenerateDataKey", "sns:Publish"}


def test_registry_and_ledger_are_encrypted_recoverable_and_cost_nothing_idle(deployment: Deployment) -> None:
    tables = list(deployment.resources("AWS::DynamoDB::Table"))
    assert len(tables) == 2
    for table in tables:
        assert table.properties["SSESpecification"] == {"SSEEnabled": True}
        assert table.properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert table.properties["BillingMode"] == "PAY_PER_REQUEST"
        assert table.properties.get("DeletionProtectionEnabled", False) is (deployment.stage == "prod")


# What each function may write in the registry: no more than its step of the lifecycle.
WRITES = {
    "Batch": {"BATCHES#*"},
    "Catalog": {"DATASET#*", "DATASETS"},
    "CloseFailed": {"LEASE#*", "ROLLOUT#*", "ROUTE#*", "RUN#*", "VERSION#*"},
    "Control": {each.pattern for each in Partition if each is not Partition.LEDGER},
    "Evaluate": {"RUN#*"},
    "Gate": {"RUN#*"},
    "Monitor": {"HEALTH#*"},
    "Prepare": {"RUN#*"},
    "Register": {"LEASE#*", "MODELS", "ROLLOUT#*", "ROUTE#*", "RUN#*", "VERSION#*"},
    "Reproduce": {"RUN#*"},
    "RetrainingRetrain": {"DATASET#*", "HEALTH#*", "LEASE#*", "RUN#*"},
    "Rollout": {"LEASE#*", "ROLLOUT#*", "ROUTE#*", "VERSION#*"},
    "Select": {"RUN#*"},
    "SlicesAndGroups": {"RUN#*"},
    "Train": {"RUN#*"},
}


def test_each_function_writes_its_own_kinds_of_records_only(deployment: Deployment) -> None:
    """In one statement each: whether AWS compares a transaction's keys one by one or together is then the same."""
    found: dict[str, list[set[str]]] = {}
    for resource, statement in statements(deployment):
        keys = statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys")
        if keys:
            found.setdefault(resource.id.split("Role")[0], []).append(set(listed(keys)))
    assert {name: set().union(*kinds) for name, kinds in found.items()} == WRITES
    assert {name for name, kinds in found.items() if len(kinds) > 1} == {"Control"}  # batches beside what it changes


def test_the_doctor_expects_of_each_role_what_it_may_write() -> None:
    kinds = {
        name.title().replace("_", ""): {kind.pattern for kind in kinds}
        for name, kinds in doctor.WRITES.items()
        if kinds
    }
    kinds["RetrainingRetrain"] = kinds.pop("Retrain")
    assert kinds == WRITES
    assert doctor.WRITES.keys() == {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}


def test_the_functions_folder_and_the_deployed_functions_are_the_same_set(deployment: Deployment) -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}
    assert {function_name(function) for function in deployment.resources("AWS::Lambda::Function")} == folders


def test_every_function_logs_to_its_own_group_is_traced_and_has_two_layers(deployment: Deployment) -> None:
    groups = {(group.stack, group.id): group.properties for group in deployment.resources("AWS::Logs::LogGroup")}
    for function in deployment.resources("AWS::Lambda::Function"):
        group = groups[function.stack, function.properties["LoggingConfig"]["LogGroup"]["Ref"]]
        assert group["LogGroupName"] == f"/aws/lambda/{function.properties['FunctionName']}"
        assert group["RetentionInDays"] > 0
        assert function.properties["TracingConfig"] == {"Mode": "Active"}
        name = function_name(function)
        third_party = next((layer for layer, names in LAYERS.items() if name in names), "ServingLayer")
        layers = [layer["Ref"] for layer in function.properties["Layers"]]
        core, other = sorted(layers, key=lambda layer: not layer.startswith("CoreLayer"))
        assert core.startswith("CoreLayer")
        assert other.startswith(third_party), function


def test_every_function_invoked_in_the_background_has_a_failure_destination(deployment: Deployment) -> None:
    functions = {resource.id: function_name(resource) for resource in deployment.resources("AWS::Lambda::Function")}
    configured = {
        functions[config.properties["FunctionName"]["Ref"]]
        for config in deployment.resources("AWS::Lambda::EventInvokeConfig")
        if config.properties["DestinationConfig"]["OnFailure"]["Destination"]
    }
    assert configured == BACKGROUND


def test_every_event_rule_has_a_dead_letter_queue_and_a_retry_policy(deployment: Deployment) -> None:
    for rule in deployment.resources("AWS::Events::Rule"):
        for target in rule.properties["Targets"]:
            assert target["DeadLetterConfig"]["Arn"]
            assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0


def test_every_route_wants_a_signature_and_every_stage_throttles_and_logs(deployment: Deployment) -> None:
    for route in deployment.resources("AWS::ApiGatewayV2::Route"):
        assert route.properties["AuthorizationType"] == "AWS_IAM", route
    stages = list(deployment.resources("AWS::ApiGatewayV2::Stage"))
    assert len(stages) == 2
    for stage in stages:
        assert stage.properties["AccessLogSettings"]["DestinationArn"]
        assert stage.properties["DefaultRouteSettings"]["ThrottlingRateLimit"] > 0


def test_inference_answers_every_route_that_leads_to_it() -> None:
    from functions.inference.handler import ALONE, ROUTES

    assert set(serving.INFERENCE_ROUTES) == ROUTES.keys() | ALONE.keys()


def test_captures_are_encrypted_partitioned_as_the_table_projects_and_expire(deployment: Deployment) -> None:
    streams = deployment.resources("AWS::KinesisFirehose::DeliveryStream")
    stream = next(one for one in streams if one.properties["DeliveryStreamName"].endswith("-captures"))
    assert stream.properties["DeliveryStreamEncryptionConfigurationInput"] == {"KeyType": "AWS_OWNED_CMK"}
    destination = stream.properties["ExtendedS3DestinationConfiguration"]
    found = captures_table(deployment)
    template = json.dumps(found["Parameters"]["storage.location.template"])
    for key in found["PartitionKeys"]:
        name = key["Name"]
        assert f"{name}=${{{name}}}/" in template
        assert f"{name}=!{{partitionKeyFromQuery:{name}}}/" in destination["Prefix"]
        assert f"projection.{name}.type" in found["Parameters"]


def test_every_prefix_has_a_setting_for_how_long_it_is_kept_or_a_reason_to_keep_it(
    tmp_path: Path,
) -> None:
    known = {value for value in vars(prefixes).values() if isinstance(value, str) and value.endswith("/")} | {ERRORS}
    ruled = {prefix for places in RETENTION.values() for prefix in places if prefix}
    assert ruled | KEPT.keys() == known
    assert not ruled & KEPT.keys()
    assert all(len(reason.split()) > 5 for reason in KEPT.values())
    settings = {name for places in RETENTION.values() for name in places.values()}
    described = (ROOT / "docs" / "deploy.md").read_text()
    assert all(f"| `{name}` |" in described for name in settings)
    asked = DeploymentSettings.from_context(dict.fromkeys(settings, 99))
    stack = DataStack(new_app(tmp_path, {}), "Data", settings=asked)
    found = Template.from_stack(stack).find_resources("AWS::S3::Bucket").values()
    rules = [rule for bucket in found for rule in bucket["Properties"]["LifecycleConfiguration"]["Rules"]]
    expiring = [rule for rule in rules if rule["Id"].startswith("expiry")]
    assert {rule.get("Prefix", "") for rule in expiring} == ruled | {""}
    assert {rule["ExpirationInDays"] for rule in expiring} == {99}


def test_what_holds_rows_of_people_expires_by_a_setting_of_its_own(deployment: Deployment) -> None:
    kept = {
        rule["Prefix"]: rule["ExpirationInDays"]
        for bucket in deployment.resources("AWS::S3::Bucket")
        for rule in bucket.properties["LifecycleConfiguration"]["Rules"]
        if "Prefix" in rule
    }
    assert kept == dict.fromkeys(("captures/", "errors/", "feedback/", "profiles/", "verdicts/", "tables/"), 365)


def captures_table(deployment: Deployment) -> dict[str, Any]:
    tables = (table.properties["TableInput"] for table in deployment.resources("AWS::Glue::Table"))
    return next(table for table in tables if table["Name"] == "captures")


def test_the_table_has_the_columns_of_a_capture(deployment: Deployment) -> None:
    (record,) = records(capture(), CapturePolicy())
    found = captures_table(deployment)
    columns = {column["Name"] for column in found["StorageDescriptor"]["Columns"] + found["PartitionKeys"]}
    assert columns == set(record)


def test_every_state_machine_is_logged_and_traced_but_its_data_is_not_logged(deployment: Deployment) -> None:
    for machine in deployment.resources("AWS::StepFunctions::StateMachine"):
        assert machine.properties["TracingConfiguration"] == {"Enabled": True}
        assert machine.properties["LoggingConfiguration"]["Level"] == "ALL"
        assert machine.properties["LoggingConfiguration"]["IncludeExecutionData"] is False


def test_prod_keeps_what_is_stateful_and_dev_destroys_it(deployment: Deployment) -> None:
    for resource in deployment.resources(*STATEFUL):
        kept = resource.body["DeletionPolicy"], resource.body["UpdateReplacePolicy"]
        expected = ("RetainExceptOnCreate", "Retain") if deployment.stage == "prod" else ("Delete", "Delete")
        assert kept == expected, resource


def test_every_alarm_notifies_somebody(deployment: Deployment) -> None:
    alarms = list(deployment.resources("AWS::CloudWatch::Alarm"))
    assert alarms
    for alarm in alarms:
        assert alarm.properties["AlarmActions"], alarm
        assert alarm.properties["OKActions"], alarm
        assert alarm.properties["TreatMissingData"] == "notBreaching", alarm


@pytest.mark.parametrize(
    "metric",
    [
        "5xx",
        "ArtifactRejected",
        "CapturesDropped",
        "CapturesWaiting",
        "DeliveryToS3.DataFreshness",
        "Duration",
        "Errors",
        "ExecutionsFailed",
        "ServerErrors",
        "Throttles",
    ],
)
def test_there_is_an_alarm_on(metric: str, deployment: Deployment) -> None:
    alarmed = set()
    for alarm in deployment.resources("AWS::CloudWatch::Alarm"):
        alarmed.add(alarm.properties.get("MetricName"))
        alarmed |= {
            query["MetricStat"]["Metric"]["MetricName"]
            for query in alarm.properties.get("Metrics", [])
            if "MetricStat" in query
        }
    assert metric in alarmed


def test_the_errors_of_every_function_have_an_alarm(deployment: Deployment) -> None:
    alarmed = json.dumps([alarm.properties for alarm in deployment.resources("AWS::CloudWatch::Alarm")])
    for function in deployment.resources("AWS::Lambda::Function"):
        name = function.properties.get("FunctionName", function.id)
        assert function.id in alarmed or name in alarmed, f"no alarm on the errors of {name}: see Alarms.add_class"


def test_every_resource_that_can_be_tagged_is(deployment: Deployment) -> None:
    wanted = {"project", "stage", "owner", "business-unit"}
    untagged = [
        str(resource)
        for resource in deployment.resources()
        if resource.type not in UNTAGGABLE and not wanted <= set(tags(resource))
    ]
    assert untagged == []


def test_the_command_line_finds_what_it_needs_in_parameters(deployment: Deployment) -> None:
    names = {parameter.properties["Name"] for parameter in deployment.resources("AWS::SSM::Parameter")}
    wanted = {"serving-url", "control-url", "data-bucket", "artifacts-bucket", "registry-table", "ledger-table"}
    assert {f"/tidegate/{deployment.stage}/{name}" for name in wanted} <= names


def test_no_stack_depends_on_one_that_depends_on_it(deployment: Deployment) -> None:
    manifest = json.loads((deployment.folder / "manifest.json").read_text("utf-8"))["artifacts"]
    needs = {
        name: set(manifest[name].get("dependencies", [])) & set(deployment.templates) for name in deployment.templates
    }
    order: list[str] = []
    while len(order) < len(needs):
        ready = [name for name in needs if name not in order and needs[name] <= set(order)]
        assert ready, f"a cycle among {set(needs) - set(order)}"
        order += ready
    assert order[0].endswith("-Data")


def test_provisioned_concurrency_is_bought_only_when_asked_for(deployment: Deployment) -> None:
    (alias,) = deployment.resources("AWS::Lambda::Alias")
    bought = alias.properties.get("ProvisionedConcurrencyConfig")
    assert bought == ({"ProvisionedConcurrentExecutions": 2} if deployment.stage == "prod" else None)
