"""Permissions, written out. The CDK's own `grant_*` methods allow `s3:GetObject*` and the like; nothing here does."""

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import IConstruct

_READ = ("dynamodb:GetItem", "dynamodb:Query")
_WRITE = ("dynamodb:PutItem", "dynamodb:UpdateItem")  # transactions are made of these
CHANGING_KEYS = ("MODELS", "MODEL#*", "DATASETS", "DATASET#*")
LEDGER_KEYS = ("LEDGER#*",)
BATCH_LEDGER_KEYS = ("BATCHES#*",)
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


def read_items(table_arn: str) -> iam.PolicyStatement:
    """Read items of a table, by key."""
    return allow(_READ, [table_arn])


def write_items(table_arn: str) -> list[iam.PolicyStatement]:
    """Read all items of the registry and write those that may change: everything but the ledger."""
    return [read_items(table_arn), _on_keys(_WRITE, table_arn, CHANGING_KEYS)]


def append_to_ledger(table_arn: str) -> iam.PolicyStatement:
    """Put entries into the ledger; nobody may update or delete one."""
    return _on_keys(["dynamodb:PutItem"], table_arn, LEDGER_KEYS)


def append_to_batches(table_arn: str) -> iam.PolicyStatement:
    """Put entries into the ledger of batches, and look at its newest; nobody may update or delete one."""
    return _on_keys(["dynamodb:GetItem", "dynamodb:PutItem"], table_arn, BATCH_LEDGER_KEYS)


def _on_keys(actions: Sequence[str], table_arn: str, keys: Sequence[str]) -> iam.PolicyStatement:
    statement = allow(actions, [table_arn])
    statement.add_condition("ForAllValues:StringLike", {"dynamodb:LeadingKeys": list(keys)})
    # Of no keys at all the first condition would hold.
    statement.add_condition("Null", {"dynamodb:LeadingKeys": "false"})
    return statement


@dataclass(frozen=True, slots=True)
class Objects:
    """Access to the objects of a bucket under a prefix, for one function."""

    bucket: s3.Bucket
    prefix: str
    read: bool = False
    write: bool = False

    @property
    def statements(self) -> list[iam.PolicyStatement]:
        """Reading includes listing: without it S3 answers 403 for a missing object, not 404."""
        arn = f"{self.bucket.bucket_arn}/{self.prefix}*"
        reading = [allow(["s3:GetObject"], [arn]), allow(["s3:ListBucket"], [self.bucket.bucket_arn])]
        return (reading if self.read else []) + ([allow(["s3:PutObject"], [arn])] if self.write else [])

    @property
    def finding(self) -> str:
        """What cdk-nag calls the prefix."""
        bucket = Stack.of(self.bucket).resolve(self.bucket.bucket_arn)["Fn::GetAtt"][0]
        return f"AwsSolutions-IAM5[Resource::<{bucket}.Arn>/{self.prefix}*]"


def acknowledge(scope: IConstruct, findings: Sequence[str], reason: str) -> None:
    """State to cdk-nag that a finding is meant, on this construct and those below it, and why."""
    Validations.of(scope).acknowledge(*(Acknowledgment(id=finding, reason=reason) for finding in findings))
