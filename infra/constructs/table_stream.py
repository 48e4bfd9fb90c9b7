"""Functions that are called for changes of a table."""

import json
from collections.abc import Mapping, Sequence

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.permissions import allow


def reads_streams(*tables: dynamodb.Table) -> list[iam.PolicyStatement]:
    """What the role of such a function needs."""
    streams = [_stream(table) for table in tables]
    reading = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
    return [allow(reading, streams), allow(["dynamodb:ListStreams"], ["*"])]


def call_for_changes(
    scope: Construct,
    construct_id: str,
    function: lambda_.IFunction,
    table: dynamodb.Table,
    patterns: Sequence[Mapping[str, object]],
    *,
    failures_arn: str,
    retries: int,
    oldest_seconds: int,
    partial: bool = False,
) -> None:
    """Call the function for changes that match a pattern, in order, one at a time: what is given up in the end is the
    change that fails, not those that came with it. At most two functions may read a stream.

    Args:
        failures_arn: the queue where a change goes that is given up, after `retries` or at the age of `oldest_seconds`.
        partial: whether the function's answer names records that failed.
    """
    mapping = lambda_.CfnEventSourceMapping
    mapping(
        scope,
        construct_id,
        function_name=function.function_arn,
        event_source_arn=_stream(table),
        starting_position="TRIM_HORIZON",
        filter_criteria=mapping.FilterCriteriaProperty(
            filters=[mapping.FilterProperty(pattern=json.dumps(pattern)) for pattern in patterns]
        ),
        batch_size=1,
        function_response_types=["ReportBatchItemFailures"] if partial else None,
        maximum_retry_attempts=retries,
        maximum_record_age_in_seconds=oldest_seconds,
        destination_config=mapping.DestinationConfigProperty(
            on_failure=mapping.OnFailureProperty(destination=failures_arn)
        ),
    )


def _stream(table: dynamodb.Table) -> str:
    if table.table_stream_arn is None:
        raise ValueError(f"{table.node.id} has no stream")
    return table.table_stream_arn
