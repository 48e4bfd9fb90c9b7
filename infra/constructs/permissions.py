"""Permissions, written out. The CDK's own `grant_*` methods allow `s3:GetObject*` and the like; nothing here does."""

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import IConstruct

from tidegate.kernel.partitions import Partition

GET, QUERY, PUT, UPDATE, CHECK = (
    f"dynamodb:{name}" for name in ("GetItem", "Query", "PutItem", "UpdateItem", "ConditionCheckItem")
)
# What is written together when a version enters, leaves or changes what is served.
RELEASING = (Partition.LEASE, Partition.ROLLOUT, Partition.ROUTE, Partition.VERSION)
EVERY_RESOURCE = "AwsSolutions-IAM5[Resource::*]"
RUNTIME_AGE = "AwsSolutions-L1"


def allow(actions: Sequence[str], resources: Sequence[str]) -> iam.PolicyStatement:
    """Let exactly these actions act on exactly these resources.

    Raises:
        ValueError: an action has a wildcard.
    """
    starred = [action for action in actions if "*" in action]
    if starred:
        raise ValueError(f"name every action, without '*': {', '.join(starred)}")
    return iam.PolicyStatement(actions=list(actions), resources=list(resources))


def read_items(table_arn: str, *actions: str) -> iam.PolicyStatement:
    """Read items of a table: by key and by partition, or only by what `actions` name."""
    return allow(actions or (GET, QUERY), [table_arn])


def write_items(table_arn: str, *partitions: Partition) -> list[iam.PolicyStatement]:
    """Read all items of the registry and write those of these kinds.

    All kinds, and both ways to write, are in one statement. AWS does not say whether it compares the keys of a
    transaction one by one or together: in one statement both give the same.
    """
    return [read_items(table_arn), on_partitions([PUT, UPDATE], table_arn, partitions)]


def append_to_ledger(ledger_arn: str) -> iam.PolicyStatement:
    """Put entries into the ledger behind the one that must be the newest, and see whether one is there whose answer was
    lost; nobody may update or delete one."""
    return allow([GET, PUT, CHECK], [ledger_arn])


def append_to_batches(table_arn: str) -> iam.PolicyStatement:
    """Put entries into the ledger of batches, and look at its newest; nobody may update or delete one."""
    return on_partitions([GET, PUT], table_arn, [Partition.BATCHES])


def on_partitions(actions: Sequence[str], table_arn: str, partitions: Sequence[Partition]) -> iam.PolicyStatement:
    """Let these actions act on items of these kinds in the registry's table."""
    statement = allow(actions, [table_arn])
    keys = [each.pattern for each in partitions]
    statement.add_condition("ForAllValues:StringLike", {"dynamodb:LeadingKeys": keys})
    # Of no keys at all the first condition would hold.
    statement.add_condition("Null", {"dynamodb:LeadingKeys": "false"})
    return statement


@dataclass(frozen=True, slots=True)
class Objects:
    """Access to the objects of a bucket under a prefix, for one function; what it may write can be bounded to files of
    these names."""

    bucket: s3.Bucket
    prefix: str
    read: bool = False
    write: bool = False
    names: tuple[str, ...] = ()

    @property
    def statements(self) -> list[iam.PolicyStatement]:
        """Reading includes listing: without it S3 answers 403 for a missing object, not 404."""
        bucket = self.bucket.bucket_arn
        reading = [allow(["s3:GetObject"], [f"{bucket}/{self.prefix}*"]), allow(["s3:ListBucket"], [bucket])]
        writing = [allow(["s3:PutObject"], [f"{bucket}/{each}" for each in self._written])]
        return (reading if self.read else []) + (writing if self.write else [])

    @property
    def findings(self) -> list[str]:
        """What cdk-nag calls the patterns of keys."""
        bucket = Stack.of(self.bucket).resolve(self.bucket.bucket_arn)["Fn::GetAtt"][0]
        patterns = ([f"{self.prefix}*"] if self.read else []) + (self._written if self.write else [])
        return [f"AwsSolutions-IAM5[Resource::<{bucket}.Arn>/{each}]" for each in patterns]

    @property
    def _written(self) -> list[str]:
        return [f"{self.prefix}*/{name}" for name in self.names] or [f"{self.prefix}*"]


def acknowledge(scope: IConstruct, findings: Sequence[str], reason: str) -> None:
    """State to cdk-nag that a finding is meant, on this construct and those below it, and why."""
    Validations.of(scope).acknowledge(*(Acknowledgment(id=finding, reason=reason) for finding in findings))
