"""CloudWatch and Logs."""

from __future__ import annotations

from typing import Any

from infra.local.alarm_rules import check_supported
from infra.local.resources.base import Made, New, extends, resource

_METRIC_ALARM = (
    "ActionsEnabled",
    "AlarmActions",
    "AlarmDescription",
    "ComparisonOperator",
    "Dimensions",
    "EvaluateLowSampleCountPercentile",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "ExtendedStatistic",
    "InsufficientDataActions",
    "MetricName",
    "Metrics",
    "Namespace",
    "OKActions",
    "Period",
    "Statistic",
    "Threshold",
    "ThresholdMetricId",
    "TreatMissingData",
    "Unit",
)


@resource("AWS::CloudWatch::Alarm", "AlarmName")
def alarm(new: New) -> Made:
    """A metric or metric-math alarm, evaluated by the local cloud."""
    given = {key: value for key, value in new.properties.items() if key in _METRIC_ALARM}
    reason = check_supported(given)
    if reason:
        raise new.fail(reason)
    cloudwatch = new.client("cloudwatch")
    cloudwatch.put_metric_alarm(AlarmName=new.name, **_typed(given))
    # An alarm on AWS knows nothing until it has been evaluated; moto starts it as OK.
    cloudwatch.set_alarm_state(
        AlarmName=new.name, StateValue="INSUFFICIENT_DATA", StateReason="Unchecked: Initial alarm creation"
    )
    return Made(new.name, Arn=new.arn("cloudwatch", f"alarm:{new.name}"))


@resource("AWS::CloudWatch::CompositeAlarm", "AlarmName", upserts=True)
def composite_alarm(new: New) -> Made:
    """An alarm over the states of other alarms."""
    given = {
        key: value
        for key, value in new.properties.items()
        if key in ("ActionsEnabled", "AlarmActions", "AlarmDescription", "AlarmRule", "OKActions")
    }
    new.client("cloudwatch").put_composite_alarm(AlarmName=new.name, **given)
    return Made(new.name, Arn=new.arn("cloudwatch", f"alarm:{new.name}"))


@extends("AWS::Logs::LogGroup", upserts=True)
def log_group(new: New, _made: Any) -> None:
    """moto keeps the retention only when it is set through the API."""
    logs, days = new.client("logs"), new.properties.get("RetentionInDays")
    if days:
        logs.put_retention_policy(logGroupName=new.name, retentionInDays=int(days))
    else:
        logs.delete_retention_policy(logGroupName=new.name)


@resource("AWS::Logs::LogStream", "LogStreamName")
def log_stream(new: New) -> Made:
    """A stream of a group."""
    new.client("logs").create_log_stream(logGroupName=new.properties["LogGroupName"], logStreamName=new.name)
    return Made(new.name)


@resource("AWS::Logs::SubscriptionFilter", "FilterName", upserts=True)
def subscription_filter(new: New) -> Made:
    """Log lines to a function or a delivery stream; moto does not apply the pattern and sends every line."""
    if new.properties.get("FilterPattern"):
        raise new.fail("the local cloud has no filter patterns; subscribe to everything and filter in the function")
    given = {"roleArn": new.properties["RoleArn"]} if "RoleArn" in new.properties else {}
    new.client("logs").put_subscription_filter(
        logGroupName=new.properties["LogGroupName"],
        filterName=new.name,
        filterPattern="",
        destinationArn=new.properties["DestinationArn"],
        **given,
    )
    return Made(new.name)


def _typed(properties: dict[str, Any]) -> dict[str, Any]:
    """Templates may spell numbers as text; the API wants numbers."""
    numbers = {"EvaluationPeriods": int, "DatapointsToAlarm": int, "Period": int, "Threshold": float}
    return {key: numbers[key](value) if key in numbers else value for key, value in properties.items()}
