"""How resources that exist are changed in place and deleted, where making them again over the old would not do it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from infra.local.firehose import read_stream
from infra.local.resources.base import REMOVALS, Made, New, updates
from infra.local.resources.functions import as_text, function, function_name
from infra.local.resources.messaging import definition_of, lower_keys, schedule_settings
from infra.local.resources.observability import alarm
from infra.local.resources.storage import key_tags, table

# --- changes in place -------------------------------------------------------------------------------------------------


@updates("AWS::ApiGatewayV2::Api")
def api(new: New, made: Any) -> None:
    """Its gateway is set up again afterwards."""
    new.world.apis[made.physical_resource_id] = new.properties


@updates("AWS::Lambda::Function")
def changed_function(new: New, made: Any) -> None:
    """Configuration and code; the Lambda host starts new environments afterwards."""
    client, properties = new.client("lambda"), new.properties
    if "S3Bucket" in properties["Code"]:
        client.update_function_code(
            FunctionName=new.name, S3Bucket=properties["Code"]["S3Bucket"], S3Key=properties["Code"]["S3Key"]
        )
    client.update_function_configuration(
        FunctionName=new.name,
        Role=properties["Role"],
        Handler=properties["Handler"],
        Description=properties.get("Description", ""),
        Timeout=int(properties.get("Timeout", 3)),
        MemorySize=int(properties.get("MemorySize", 128)),
        Environment={
            "Variables": {k: str(v) for k, v in properties.get("Environment", {}).get("Variables", {}).items()}
        },
        Layers=properties.get("Layers", []),
    )
    made.tracing_config = properties.get("TracingConfig", made.tracing_config)
    if "ReservedConcurrentExecutions" in properties:
        reserved = int(properties["ReservedConcurrentExecutions"])
        client.put_function_concurrency(FunctionName=new.name, ReservedConcurrentExecutions=reserved)
    else:
        client.delete_function_concurrency(FunctionName=new.name)
    function(new, made)


@updates("AWS::Lambda::Alias")
def alias(new: New, _made: Any) -> None:
    """CodeDeploy would shift it step by step; here it moves at once."""
    new.client("lambda").update_alias(
        FunctionName=new.properties["FunctionName"],
        Name=new.properties["Name"],
        FunctionVersion=new.properties["FunctionVersion"],
        Description=new.properties.get("Description", ""),
    )


@updates("AWS::Lambda::EventSourceMapping")
def event_source_mapping(new: New, made: Any) -> None:
    """Goes on where it was in its stream."""
    fixed = {"EventSourceArn", "StartingPosition", "StartingPositionTimestamp", "SelfManagedEventSource", "Tags"}
    changed = {name: value for name, value in new.properties.items() if name not in fixed}
    new.client("lambda").update_event_source_mapping(UUID=made.physical_resource_id, **changed)


@updates("AWS::IAM::Role")
def role(new: New, _made: Any) -> None:
    """Its inline policies, and who may assume it."""
    client, properties, name = new.client("iam"), new.properties, new.name
    client.update_assume_role_policy(RoleName=name, PolicyDocument=as_text(properties["AssumeRolePolicyDocument"]))
    inline = {policy["PolicyName"]: policy["PolicyDocument"] for policy in properties.get("Policies", [])}
    for policy, document in inline.items():
        client.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=as_text(document))
    if "Policies" in properties:  # others were put there by resources of their own
        for policy in set(client.list_role_policies(RoleName=name)["PolicyNames"]) - set(inline):
            client.delete_role_policy(RoleName=name, PolicyName=policy)


@updates("AWS::IAM::ManagedPolicy")
def managed_policy(new: New, made: Any) -> None:
    """A new default version; whoever has the policy has it at once. IAM keeps five versions."""
    client, arn = new.client("iam"), made.physical_resource_id
    old = [each for each in client.list_policy_versions(PolicyArn=arn)["Versions"] if not each["IsDefaultVersion"]]
    for version in old:
        client.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
    client.create_policy_version(
        PolicyArn=arn, PolicyDocument=as_text(new.properties["PolicyDocument"]), SetAsDefault=True
    )


@updates("AWS::IAM::Policy")
def inline_policy(new: New, _made: Any) -> None:
    """An inline policy of roles."""
    for name in new.properties.get("Roles", []):
        new.client("iam").put_role_policy(
            RoleName=name,
            PolicyName=new.properties["PolicyName"],
            PolicyDocument=as_text(new.properties["PolicyDocument"]),
        )


@updates("AWS::DynamoDB::Table")
def changed_table(new: New, made: Any) -> None:
    """Everything but its key. What is in it stays."""
    client, properties = new.client("dynamodb"), new.properties
    definitions = properties["AttributeDefinitions"]
    wanted = {index["IndexName"]: index for index in properties.get("GlobalSecondaryIndexes", [])}
    now = client.describe_table(TableName=made.name)["Table"]
    there = {index["IndexName"] for index in now.get("GlobalSecondaryIndexes", [])}
    indexes: list[dict[str, Any]] = [{"Delete": {"IndexName": name}} for name in there - set(wanted)]
    indexes += [{"Create": index} for name, index in wanted.items() if name not in there]
    client.update_table(
        TableName=made.name,
        AttributeDefinitions=definitions,
        BillingMode=properties.get("BillingMode", "PROVISIONED"),
        DeletionProtectionEnabled=str(properties.get("DeletionProtectionEnabled", False)).lower() == "true",
        **({"GlobalSecondaryIndexUpdates": indexes} if indexes else {}),
    )
    view = properties.get("StreamSpecification", {}).get("StreamViewType")
    if view != now.get("StreamSpecification", {}).get("StreamViewType"):
        for given in [{"StreamEnabled": False}, *([{"StreamEnabled": True, "StreamViewType": view}] if view else [])]:
            client.update_table(TableName=made.name, StreamSpecification=given)
    table(new, made)


@updates("AWS::KMS::Key")
def key(new: New, made: Any) -> None:
    """Policy, description, rotation and tags."""
    client, properties, key_id = new.client("kms"), new.properties, made.physical_resource_id
    client.put_key_policy(KeyId=key_id, PolicyName="default", Policy=as_text(properties["KeyPolicy"]))
    client.update_key_description(KeyId=key_id, Description=properties.get("Description", ""))
    rotates = str(properties.get("EnableKeyRotation", False)).lower() == "true"
    (client.enable_key_rotation if rotates else client.disable_key_rotation)(KeyId=key_id)
    client.tag_resource(KeyId=key_id, Tags=key_tags(properties))


@updates("AWS::SNS::Topic")
def topic(new: New, made: Any) -> None:
    """Name for people, and encryption."""
    for name in ("DisplayName", "KmsMasterKeyId"):
        new.client("sns").set_topic_attributes(
            TopicArn=made.physical_resource_id, AttributeName=name, AttributeValue=new.properties.get(name, "")
        )


@updates("AWS::SNS::Subscription")
def subscription(new: New, made: Any) -> None:
    """What reaches it and how."""
    for name in ("FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy"):
        if name in new.properties:
            new.client("sns").set_subscription_attributes(
                SubscriptionArn=made.physical_resource_id,
                AttributeName=name,
                AttributeValue=as_text(new.properties[name]),
            )


@updates("AWS::SQS::Queue")
def queue(new: New, made: Any) -> None:
    """Every attribute that the template gives; what waits in it stays."""
    given = {
        name: as_text(value) if isinstance(value, Mapping) else str(value)
        for name, value in new.properties.items()
        if name not in {"QueueName", "FifoQueue", "Tags", "RedriveAllowPolicy", "SqsManagedSseEnabled"}
    }
    new.client("sqs").set_queue_attributes(QueueUrl=made.physical_resource_id, Attributes=given)


@updates("AWS::Events::Rule")
def rule(new: New, made: Any) -> None:
    """What it matches or when it fires, and its targets."""
    client, properties = new.client("events"), new.properties
    keys = ("ScheduleExpression", "State", "Description", "RoleArn")
    pattern = {"EventPattern": as_text(properties["EventPattern"])} if "EventPattern" in properties else {}
    given = {name: properties[name] for name in keys if name in properties}
    targets = properties.get("Targets", [])
    bus = str(properties.get("EventBusName", "default"))
    client.put_rule(Name=made.name, EventBusName=bus, **given, **pattern)
    there = {each["Id"] for each in client.list_targets_by_rule(Rule=made.name, EventBusName=bus)["Targets"]}
    if gone := there - {each["Id"] for each in targets}:
        client.remove_targets(Rule=made.name, EventBusName=bus, Ids=sorted(gone))
    if targets:
        client.put_targets(Rule=made.name, EventBusName=bus, Targets=targets)


@updates("AWS::Scheduler::Schedule")
def schedule(new: New, _made: Any) -> None:
    """When it fires and what."""
    new.client("scheduler").update_schedule(Name=new.name, **schedule_settings(new))


@updates("AWS::KinesisFirehose::DeliveryStream")
def delivery_stream(new: New, _made: Any) -> None:
    """Records that arrive from now on are delivered by the new settings."""
    try:
        new.world.delivery_streams[new.name] = read_stream(new.name, new.properties)
    except ValueError as error:
        raise new.fail(str(error)) from None


@updates("AWS::StepFunctions::StateMachine")
def state_machine(new: New, made: Any) -> None:
    """New executions run the new definition; those under way keep theirs."""
    new.world.state_machines.update_state_machine(
        arn=made.physical_resource_id,
        definition=definition_of(new),
        role_arn=new.properties["RoleArn"],
        logging_configuration=lower_keys(new.properties.get("LoggingConfiguration")),
        tracing_configuration=lower_keys(new.properties.get("TracingConfiguration")),
    )


@updates("AWS::CloudWatch::Alarm")
def changed_alarm(new: New, _made: Any) -> None:
    """Its state stays until it is evaluated again."""
    client = new.client("cloudwatch")
    before = client.describe_alarms(AlarmNames=[new.name])["MetricAlarms"][0]
    alarm(new)
    client.set_alarm_state(
        AlarmName=new.name, StateValue=before["StateValue"], StateReason=before.get("StateReason", "Updated")
    )


@updates("AWS::CloudWatch::Dashboard")
def dashboard(new: New, _made: Any) -> None:
    """Its widgets."""
    body = as_text(new.properties["DashboardBody"])
    new.client("cloudwatch").put_dashboard(DashboardName=new.name, DashboardBody=body)


@updates("AWS::SSM::Parameter")
def parameter(new: New, _made: Any) -> Made:
    """Its value and description."""
    value = str(new.properties["Value"])
    given = {"Description": new.properties["Description"]} if "Description" in new.properties else {}
    new.client("ssm").put_parameter(Name=new.name, Value=value, Overwrite=True, **given)
    return Made(new.name, Value=value, Type=new.properties.get("Type", "String"))


@updates("AWS::Glue::Database")
def glue_database(new: New, made: Any) -> None:
    """Its description and parameters."""
    given = new.properties["DatabaseInput"]
    new.client("glue").update_database(Name=made.physical_resource_id, DatabaseInput=given)


@updates("AWS::Glue::Table")
def glue_table(new: New, _made: Any) -> None:
    """Its columns, partitions and where its data lies."""
    given = new.properties["TableInput"]
    new.client("glue").update_table(DatabaseName=new.properties["DatabaseName"], TableInput=given)


# --- removals ---------------------------------------------------------------------------------------------------------


def _removes(type_name: str) -> Callable[[Callable[[New, str], Any]], Callable[[New, str], Any]]:
    """The function gets the resource as it was declared, and its physical id."""

    def register(remove: Callable[[New, str], Any]) -> Callable[[New, str], Any]:
        REMOVALS[type_name] = lambda old, made: remove(old, made.physical_resource_id)
        return remove

    return register


# What one call removes: service, operation, and the arguments by the property that they come from; "" is the id.
_CALLS: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "AWS::CloudWatch::Alarm": ("cloudwatch", "delete_alarms", {"AlarmNames[]": ""}),
    "AWS::CloudWatch::CompositeAlarm": ("cloudwatch", "delete_alarms", {"AlarmNames[]": ""}),
    "AWS::CloudWatch::Dashboard": ("cloudwatch", "delete_dashboards", {"DashboardNames[]": ""}),
    "AWS::DynamoDB::Table": ("dynamodb", "delete_table", {"TableName": ""}),
    "AWS::Glue::Database": ("glue", "delete_database", {"Name": ""}),
    "AWS::Glue::Table": ("glue", "delete_table", {"Name": "", "DatabaseName": "DatabaseName"}),
    "AWS::KMS::Key": ("kms", "schedule_key_deletion", {"KeyId": ""}),
    "AWS::Lambda::EventSourceMapping": ("lambda", "delete_event_source_mapping", {"UUID": ""}),
    "AWS::Logs::LogGroup": ("logs", "delete_log_group", {"logGroupName": ""}),
    "AWS::Logs::LogStream": ("logs", "delete_log_stream", {"logStreamName": "", "logGroupName": "LogGroupName"}),
    "AWS::Logs::SubscriptionFilter": (
        "logs",
        "delete_subscription_filter",
        {"filterName": "", "logGroupName": "LogGroupName"},
    ),
    "AWS::S3::Bucket": ("s3", "delete_bucket", {"Bucket": ""}),
    "AWS::S3::BucketPolicy": ("s3", "delete_bucket_policy", {"Bucket": "Bucket"}),
    "AWS::SNS::Subscription": ("sns", "unsubscribe", {"SubscriptionArn": ""}),
    "AWS::SNS::Topic": ("sns", "delete_topic", {"TopicArn": ""}),
    "AWS::SQS::Queue": ("sqs", "delete_queue", {"QueueUrl": ""}),
    "AWS::SSM::Parameter": ("ssm", "delete_parameter", {"Name": ""}),
    "AWS::Scheduler::Schedule": ("scheduler", "delete_schedule", {"Name": ""}),
    "AWS::Scheduler::ScheduleGroup": ("scheduler", "delete_schedule_group", {"Name": ""}),
    "AWS::StepFunctions::StateMachine": ("stepfunctions", "delete_state_machine", {"stateMachineArn": ""}),
}


def _remove_by_call(old: New, physical_id: str) -> None:
    service, operation, arguments = _CALLS[old.type]
    given: dict[str, Any] = {}
    for name, source in arguments.items():
        value = old.properties[source] if source else physical_id
        given[name.removesuffix("[]")] = [value] if name.endswith("[]") else value
    getattr(old.client(service), operation)(**given)


for _type in _CALLS:
    _removes(_type)(_remove_by_call)


@_removes("AWS::ApiGatewayV2::Api")
def remove_api(old: New, physical_id: str) -> None:
    """Its gateway is closed afterwards."""
    old.client("apigatewayv2").delete_api(ApiId=physical_id)
    del old.world.apis[physical_id]


@_removes("AWS::ApiGatewayV2::Stage")
def remove_stage(old: New, _physical_id: str) -> None:
    """The API is not reachable any more."""
    old.world.stages.pop((old.stack, old.logical_id))


@_removes("AWS::ApiGatewayV2::Integration")
def remove_integration(old: New, physical_id: str) -> None:
    """After the routes that use it."""
    del old.world.integrations[physical_id]


@_removes("AWS::ApiGatewayV2::Route")
def remove_route(old: New, physical_id: str) -> None:
    """The gateway answers 404."""
    del old.world.routes[physical_id]


@_removes("AWS::Lambda::Function")
def remove_function(old: New, _physical_id: str) -> None:
    """The Lambda host forgets it afterwards."""
    old.client("lambda").delete_function(FunctionName=old.name)
    old.world.functions.pop(old.name, None)


@_removes("AWS::Lambda::Alias")
def remove_alias(old: New, _physical_id: str) -> None:
    """Versions stay: moto numbers new ones by how many there are."""
    old.client("lambda").delete_alias(FunctionName=old.properties["FunctionName"], Name=old.properties["Name"])


@_removes("AWS::Lambda::LayerVersion")
def remove_layer(old: New, physical_id: str) -> None:
    """Functions that have it keep it."""
    arn, _, version = physical_id.rpartition(":")
    old.client("lambda").delete_layer_version(LayerName=arn, VersionNumber=int(version))


@_removes("AWS::Lambda::Permission")
def remove_permission(old: New, physical_id: str) -> None:
    """A statement of a function that may be gone already."""
    name, client = function_name(old.properties["FunctionName"]).partition(":")[0], old.client("lambda")
    with contextlib.suppress(client.exceptions.ResourceNotFoundException):
        client.remove_permission(FunctionName=name, StatementId=physical_id[-100:])


@_removes("AWS::Lambda::EventInvokeConfig")
def remove_event_invoke_config(old: New, _physical_id: str) -> None:
    """Lambda's own retries hold again."""
    name = function_name(old.properties["FunctionName"]).partition(":")[0]
    old.client("lambda").delete_function_event_invoke_config(FunctionName=name)
    old.world.invoke_configs.pop(name, None)


@_removes("AWS::KinesisFirehose::DeliveryStream")
def remove_delivery_stream(old: New, physical_id: str) -> None:
    """Nothing is taken any more."""
    old.client("firehose").delete_delivery_stream(DeliveryStreamName=physical_id)
    old.world.delivery_streams.pop(physical_id, None)


@_removes("AWS::Events::Rule")
def remove_rule(old: New, _physical_id: str) -> None:
    """With its targets."""
    client, bus = old.client("events"), str(old.properties.get("EventBusName", "default"))
    targets = client.list_targets_by_rule(Rule=old.name, EventBusName=bus)["Targets"]
    if targets:
        client.remove_targets(Rule=old.name, EventBusName=bus, Ids=[each["Id"] for each in targets])
    client.delete_rule(Name=old.name, EventBusName=bus)


@_removes("AWS::IAM::Role")
def remove_role(old: New, physical_id: str) -> None:
    """With its policies."""
    client = old.client("iam")
    for name in client.list_role_policies(RoleName=physical_id)["PolicyNames"]:
        client.delete_role_policy(RoleName=physical_id, PolicyName=name)
    for policy in client.list_attached_role_policies(RoleName=physical_id)["AttachedPolicies"]:
        client.detach_role_policy(RoleName=physical_id, PolicyArn=policy["PolicyArn"])
    client.delete_role(RoleName=physical_id)


@_removes("AWS::IAM::ManagedPolicy")
def remove_managed_policy(old: New, physical_id: str) -> None:
    """From everyone who has it, and then itself."""
    client = old.client("iam")
    holders = client.list_entities_for_policy(PolicyArn=physical_id)
    for user in holders["PolicyUsers"]:
        client.detach_user_policy(UserName=user["UserName"], PolicyArn=physical_id)
    for role_ in holders["PolicyRoles"]:
        client.detach_role_policy(RoleName=role_["RoleName"], PolicyArn=physical_id)
    client.delete_policy(PolicyArn=physical_id)


@_removes("AWS::IAM::Policy")
def remove_inline_policy(old: New, _physical_id: str) -> None:
    """From its roles, as far as they are there."""
    client = old.client("iam")
    for name in old.properties.get("Roles", []):
        with contextlib.suppress(client.exceptions.NoSuchEntityException):
            client.delete_role_policy(RoleName=name, PolicyName=old.properties["PolicyName"])
