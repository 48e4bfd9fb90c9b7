"""Announcements stack: people and systems hear of each change of registry and ledger."""

from aws_cdk import Stack
from constructs import Construct

from infra.constructs.permissions import GET, allow, read_items
from infra.constructs.platform_function import PlatformFunction
from infra.constructs.sources import Sources
from infra.constructs.table_stream import call_for_changes, reads_streams
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
                *reads_streams(data.registry, data.ledger),
                allow(["sns:Publish"], [data.releases_arn]),
                allow(["kms:Decrypt", "kms:GenerateDataKey"], [data.topic_key.key_arn]),
                allow(["events:PutEvents"], [bus]),
                allow(["sqs:SendMessage"], [failures_arn]),
            ],
            memory_mb=MEMORY_MB,
            timeout_seconds=TIMEOUT_SECONDS,
            description="Announces changes of registry and ledger to people and other systems",
        )
        for name, table, patterns in (
            ("RegistryChanges", data.registry, CHANGES),
            ("LedgerEntries", data.ledger, ENTRIES),
        ):
            call_for_changes(
                self,
                name,
                self.announce.function,
                table,
                patterns,
                failures_arn=failures_arn,
                retries=RETRIES,
                oldest_seconds=OLDEST_SECONDS,
                partial=True,
            )
