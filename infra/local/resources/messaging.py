"""SNS, SQS, EventBridge and its Scheduler, Firehose, Step Functions."""

from __future__ import annotations

import json
from typing import Any

from infra.local.firehose import read_stream
from infra.local.resources.base import Made, New, extends, resource
from infra.local.resources.functions import as_text


@extends("AWS::SNS::Topic")
def topic(new: New, made: Any) -> Made:
    """Ref and TopicArn are the ARN; encryption is kept as an attribute."""
    if key := new.properties.get("KmsMasterKeyId"):
        new.client("sns").set_topic_attributes(TopicArn=made.arn, AttributeName="KmsMasterKeyId", AttributeValue=key)
    return Made(made.arn, TopicArn=made.arn, TopicName=made.arn.rsplit(":", 1)[-1])


@resource("AWS::SNS::TopicPolicy", upserts=True)
def topic_policy(new: New) -> Made:
    """Who may publish and subscribe."""
    for arn in new.properties["Topics"]:
        new.client("sns").set_topic_attributes(
            TopicArn=arn, AttributeName="Policy", AttributeValue=as_text(new.properties["PolicyDocument"])
        )
    return Made(new.name, Id=new.name)


@resource("AWS::SNS::Subscription")
def subscription(new: New) -> Made:
    """Queues and functions get what is published; e-mail addresses are kept, nothing is sent to them."""
    attributes = {
        key: as_text(new.properties[key])
        for key in ("FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy")
        if key in new.properties
    }
    made = new.client("sns").subscribe(
        TopicArn=new.properties["TopicArn"],
        Protocol=new.properties["Protocol"],
        Endpoint=new.properties.get("Endpoint", ""),
        Attributes=attributes,
        ReturnSubscriptionArn=True,
    )
    return Made(made["SubscriptionArn"])


@resource("AWS::SQS::QueuePolicy", upserts=True)
def queue_policy(new: New) -> Made:
    """Who may send and receive."""
    for url in new.properties["Queues"]:
        new.client("sqs").set_queue_attributes(
            QueueUrl=url, Attributes={"Policy": as_text(new.properties["PolicyDocument"])}
        )
    return Made(new.name, Id=new.name)


@resource("AWS::Events::EventBusPolicy", "StatementId")
def event_bus_policy(new: New) -> Made:
    """Declared; events cross no account locally."""
    new.world.declare_only(f"{new.stack}/{new.logical_id}")
    return Made(new.name)


@resource("AWS::Scheduler::ScheduleGroup", "Name")
def schedule_group(new: New) -> Made:
    """A folder of schedules."""
    made = new.client("scheduler").create_schedule_group(Name=new.name)
    return Made(new.name, Arn=made["ScheduleGroupArn"])


@resource("AWS::Scheduler::Schedule", "Name")
def schedule(new: New) -> Made:
    """Fires by the clock of the local cloud."""
    made = new.client("scheduler").create_schedule(Name=new.name, **schedule_settings(new))
    return Made(new.name, Arn=made["ScheduleArn"])


def schedule_settings(new: New) -> dict[str, Any]:
    """A schedule as the API wants it."""
    keys = (
        "ActionAfterCompletion",
        "Description",
        "EndDate",
        "FlexibleTimeWindow",
        "GroupName",
        "ScheduleExpression",
        "ScheduleExpressionTimezone",
        "StartDate",
        "State",
        "Target",
    )
    return {key: new.properties[key] for key in keys if key in new.properties}


@resource("AWS::KinesisFirehose::DeliveryStream", "DeliveryStreamName")
def delivery_stream(new: New) -> Made:
    """Delivered by the local cloud's own Firehose; moto keeps what it was made of."""
    try:
        new.world.delivery_streams[new.name] = read_stream(new.name, new.properties)
    except ValueError as error:
        raise new.fail(str(error)) from None
    destination = new.properties["ExtendedS3DestinationConfiguration"]
    made = new.client("firehose").create_delivery_stream(
        DeliveryStreamName=new.name,
        DeliveryStreamType=new.properties.get("DeliveryStreamType", "DirectPut"),
        ExtendedS3DestinationConfiguration={key: destination[key] for key in ("RoleARN", "BucketARN", "Prefix")},
    )
    return Made(new.name, Arn=made["DeliveryStreamARN"])


@resource("AWS::StepFunctions::StateMachine", "StateMachineName")
def state_machine(new: New) -> Made:
    """In moto's executing backend; its own CloudFormation type uses the one that does not execute."""
    properties = new.properties
    made = new.world.state_machines.create_state_machine(
        name=new.name,
        definition=definition_of(new),
        roleArn=properties["RoleArn"],
        tags=[{"key": tag["Key"], "value": tag["Value"]} for tag in properties.get("Tags", [])],
        loggingConfiguration=lower_keys(properties.get("LoggingConfiguration")),
        tracingConfiguration=lower_keys(properties.get("TracingConfiguration")),
        sm_type=properties.get("StateMachineType", "STANDARD"),
    )
    return Made(made.arn, Arn=made.arn, Name=new.name, StateMachineRevisionId="INITIAL")


def definition_of(new: New) -> str:
    """A state machine's definition, with what is substituted in it."""
    properties = new.properties
    if "DefinitionString" in properties:
        definition = as_text(properties["DefinitionString"])
    elif "Definition" in properties:
        definition = json.dumps(properties["Definition"])
    else:
        location = properties["DefinitionS3Location"]
        asset = new.world.assembly.asset(location["Bucket"], location["Key"])
        if asset is None:
            raise new.fail("the definition's asset is not in the assembly")
        definition = asset.source.read_text()
    for name, value in properties.get("DefinitionSubstitutions", {}).items():
        definition = definition.replace("${" + name + "}", str(value))
    return definition


def lower_keys(value: Any) -> Any:
    """CloudFormation spells LogLevel what the API spells logLevel."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: lower_keys(inner) for key, inner in value.items()}
    return [lower_keys(inner) for inner in value] if isinstance(value, list) else value
