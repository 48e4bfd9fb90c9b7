"""Announcements stack: the registry's stream, and the function that announces its changes to people and systems."""

import json

from aws_cdk import Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.permissions import allow, read_items
from infra.constructs.platform_function import PlatformFunction
from infra.constructs.sources import Sources
from infra.stacks.data import DataStack
from tidegate.kernel.settings import AnnounceSettings

MEMORY_MB = 512
TIMEOUT_SECONDS = 60  # longer than all attempts at both services, so that none is cut off and announced twice
# A change that cannot be announced holds up those behind it, so it is given up at some time; this bridges an hour of
# an absent service.
RETRIES = 100
OLDEST_SECONDS = 6 * 3600

# Which changes of the registry matter (its keys: tidegate/aws/registry.py). A filter sees one image at a time, so
# whether a rollout or a model's health moved, or was only looked at, is for the function to see.
CHANGES = (
    {"eventName": ["INSERT"], "dynamodb": {"Keys": {"pk": {"S": [{"prefix": "LEDGER#"}]}}}},
    {
        "eventName": ["MODIFY"],
        "dynamodb": {
            "Keys": {"pk": {"S": [{"prefix": "MODEL#"}]}, "sk": {"S": [{"prefix": "RUN#"}]}},
            "NewImage": {"status": {"S": ["accepted", "rejected", "failed"]}},
        },
    },
    {
        "eventName": ["INSERT", "MODIFY"],
        "dynamodb": {"Keys": {"pk": {"S": [{"prefix": "MODEL#"}]}, "sk": {"S": [{"prefix": "ROLLOUT#"}, "WATCH"]}}},
    },
)


class AnnouncementsStack(Stack):
    """Reads the registry's stream and publishes; whoever wrote the change may be dead by then."""

    def __init__(
        self, scope: Construct, construct_id: str, *, data: DataStack, failures_arn: str, sources: Sources
    ) -> None:
        """
        Args:
            failures_arn: the queue where a change goes that could not be announced.
        """
        settings = sources.settings
        super().__init__(scope, construct_id, description=f"Tidegate {settings.stage}: messages about releases")
        stream = data.registry.table_stream_arn
        if stream is None:
            raise ValueError("the registry has no stream")
        bus = self.format_arn(service="events", resource="event-bus", resource_name="default")
        self.announce = PlatformFunction(
            self,
            "announce",
            sources=sources,
            layers=[sources.core_layer(self), sources.third_party_layer(self, "serving")],
            environment=AnnounceSettings(
                registry_table=data.registry.table_name,
                releases_topic=data.releases_arn,
                stage=settings.stage,
            ),
            permissions=[
                read_items(data.registry.table_arn),
                allow(
                    [
                        "dynamodb:DescribeStream",
                        "dynamodb:GetRecords",
                        "dynamodb:GetShardIterator",
                        "dynamodb:ListStreams",
                    ],
                    [stream],
                ),
                allow(["sns:Publish"], [data.releases_arn]),
                allow(["kms:Decrypt", "kms:GenerateDataKey"], [data.topic_key.key_arn]),
                allow(["events:PutEvents"], [bus]),
                allow(["sqs:SendMessage"], [failures_arn]),
            ],
            memory_mb=MEMORY_MB,
            timeout_seconds=TIMEOUT_SECONDS,
            description="Announces changes in the registry to people and other systems",
        )
        lambda_.CfnEventSourceMapping(
            self,
            "RegistryChanges",
            function_name=self.announce.function.function_arn,
            event_source_arn=stream,
            starting_position="TRIM_HORIZON",
            filter_criteria=lambda_.CfnEventSourceMapping.FilterCriteriaProperty(
                filters=[
                    lambda_.CfnEventSourceMapping.FilterProperty(pattern=json.dumps(pattern)) for pattern in CHANGES
                ]
            ),
            # One at a time: what is given up in the end is the change that fails, not those that came with it.
            batch_size=1,
            function_response_types=["ReportBatchItemFailures"],
            maximum_retry_attempts=RETRIES,
            maximum_record_age_in_seconds=OLDEST_SECONDS,
            destination_config=lambda_.CfnEventSourceMapping.DestinationConfigProperty(
                on_failure=lambda_.CfnEventSourceMapping.OnFailureProperty(destination=failures_arn)
            ),
        )
