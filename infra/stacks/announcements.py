"""Announcements stack: people and systems hear of each change of registry and ledger."""

import json
from collections.abc import Mapping, Sequence

from aws_cdk import Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.permissions import GET, allow, read_items
from infra.constructs.platform_function import PlatformFunction
from infra.constructs.sources import Sources
from infra.stacks.data import DataStack
from tidegate.kernel.partitions import Partition
from tidegate.kernel.settings import AnnounceSettings

MEMORY_MB = 512
TIMEOUT_SECONDS = 60  # longer than all attempts at both services, so that none is cut off and announced twice
# A change that cannot be announced holds up those behind it, so it is given up at some time; this bridges an hour of
# an absent service.
RETRIES = 100
OLDEST_SECONDS = 6 * 3600

# Which changes matter (keys: tidegate/kernel/partitions.py). A filter sees one image at a time, so whether a rollout or
# a model's health moved, or was only looked at, is for the function to see.
ENTRIES = ({"eventName": ["INSERT"]},)
CHANGES = (
    {
        "eventName": ["MODIFY"],
        "dynamodb": {
            "Keys": {"pk": {"S": [{"prefix": Partition.RUN.of("")}]}, "sk": {"S": [{"prefix": "RUN#"}]}},
            "NewImage": {"status": {"S": ["accepted", "rejected", "failed"]}},
        },
    },
    {
        "eventName": ["INSERT", "MODIFY"],
        "dynamodb": {
            "Keys": {
                "pk": {"S": [{"prefix": each.of("")} for each in (Partition.ROLLOUT, Partition.HEALTH)]},
            }
        },
    },
)


class AnnouncementsStack(Stack):
    """Reads both streams and publishes; whoever wrote the change may be dead by then."""

    def __init__(
        self, scope: Construct, construct_id: str, *, data: DataStack, failures_arn: str, sources: Sources
    ) -> None:
        """
        Args:
            failures_arn: the queue where a change goes that could not be announced.
        """
        settings = sources.settings
        super().__init__(scope, construct_id, description=f"Tidegate {settings.stage}: messages about releases")
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
                read_items(data.registry.table_arn, GET),
                allow(
                    ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"],
                    [_stream(data.registry), _stream(data.ledger)],
                ),
                allow(["dynamodb:ListStreams"], ["*"]),
                allow(["sns:Publish"], [data.releases_arn]),
                allow(["kms:Decrypt", "kms:GenerateDataKey"], [data.topic_key.key_arn]),
                allow(["events:PutEvents"], [bus]),
                allow(["sqs:SendMessage"], [failures_arn]),
            ],
            memory_mb=MEMORY_MB,
            timeout_seconds=TIMEOUT_SECONDS,
            description="Announces changes of registry and ledger to people and other systems",
        )
        self._called_for("RegistryChanges", data.registry, CHANGES, failures_arn)
        self._called_for("LedgerEntries", data.ledger, ENTRIES, failures_arn)

    def _called_for(
        self, construct_id: str, table: dynamodb.Table, patterns: Sequence[Mapping[str, object]], failures_arn: str
    ) -> None:
        mapping = lambda_.CfnEventSourceMapping
        mapping(
            self,
            construct_id,
            function_name=self.announce.function.function_arn,
            event_source_arn=_stream(table),
            starting_position="TRIM_HORIZON",
            filter_criteria=mapping.FilterCriteriaProperty(
                filters=[mapping.FilterProperty(pattern=json.dumps(pattern)) for pattern in patterns]
            ),
            # One at a time: what is given up in the end is the change that fails, not those that came with it.
            batch_size=1,
            function_response_types=["ReportBatchItemFailures"],
            maximum_retry_attempts=RETRIES,
            maximum_record_age_in_seconds=OLDEST_SECONDS,
            destination_config=mapping.DestinationConfigProperty(
                on_failure=mapping.OnFailureProperty(destination=failures_arn)
            ),
        )


def _stream(table: dynamodb.Table) -> str:
    if table.table_stream_arn is None:
        raise ValueError(f"{table.node.id} has no stream")
    return table.table_stream_arn
