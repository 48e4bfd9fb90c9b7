"""Data stack: what must outlive every deployment: buckets, the tables of registry and ledger, and topics."""

from collections.abc import Mapping

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.constructs.arns import named_arn
from infra.constructs.capture_stream import ERRORS
from infra.constructs.keeping import removal_policy
from infra.constructs.parameters import publish
from infra.constructs.permissions import acknowledge, allow
from infra.settings import DeploymentSettings
from tidegate.kernel.prefixes import BATCHES, CAPTURES, DATASETS, FEEDBACK, PROFILES, RUNS, TABLES, VERDICTS

# All that the account's administrators may do with the key, written out: what they use by IAM policies, they get here.
_KEY_ADMINISTRATION = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListAliases",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
)
_CLOUDWATCH = "cloudwatch.amazonaws.com"

_SELDOM_READ = s3.LifecycleRule(
    id="tiering",
    transitions=[s3.Transition(storage_class=s3.StorageClass.INTELLIGENT_TIERING, transition_after=Duration.days(30))],
)


# By bucket and prefix, the setting that says after how many days objects expire. A setting of 0 keeps them.
RETENTION: Mapping[str, Mapping[str, str]] = {
    "AccessLogs": {"": "access_log_retention_days"},
    "Data": {DATASETS: "dataset_retention_days", BATCHES: "batch_retention_days"},
    "Artifacts": {TABLES: "table_retention_days"},
    "Captures": {
        CAPTURES: "capture_retention_days",
        ERRORS: "capture_retention_days",
        FEEDBACK: "feedback_retention_days",
        PROFILES: "profile_retention_days",
        VERDICTS: "profile_retention_days",
    },
}
# What has no setting, and why.
KEPT: Mapping[str, str] = {
    RUNS: "artifacts and reports of versions, which serve, are rolled back to and explained; the rows kept for "
    "explanations have no feature that captures hide",
}


def _expiry(bucket: str, settings: DeploymentSettings) -> list[s3.LifecycleRule]:
    """What lies under each prefix of a bucket goes in its time."""
    days = {prefix: getattr(settings, name) for prefix, name in RETENTION[bucket].items()}
    return [
        s3.LifecycleRule(
            id=f"expiry-{prefix.strip('/')}" if prefix else "expiry",
            prefix=prefix or None,
            expiration=Duration.days(limit),
        )
        for prefix, limit in days.items()
        if limit
    ]


class DataStack(Stack):
    """Buckets, the tables with their streams, and the topics for alarms and for releases."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: DeploymentSettings) -> None:
        super().__init__(scope, construct_id, description=f"Tidegate {settings.stage}: datasets, artifacts, registry")
        self._settings = settings
        self._policy = removal_policy(settings)
        access_logs = self._bucket("AccessLogs")
        acknowledge(
            access_logs, ["AwsSolutions-S1"], "this is the bucket that access logs go to; its own would feed themselves"
        )
        self.data_bucket = self._bucket("Data", _SELDOM_READ, access_logs=access_logs)
        self.artifacts_bucket = self._bucket("Artifacts", _SELDOM_READ, access_logs=access_logs)
        self.captures_bucket = self._bucket("Captures", access_logs=access_logs)
        self.registry = self._table("Registry")
        self.ledger = self._table("Ledger")
        self.topic_key = self._topic_key()
        self.alarms = self._alarm_topic()
        releases = f"{settings.prefix}-releases"
        self.releases = self._topic("Releases", "releases", topic_name=releases)
        self.releases_arn = named_arn("sns", releases)  # for other stacks
        publish(self, "DataBucketName", "data-bucket", self.data_bucket.bucket_name, settings)
        publish(self, "ArtifactsBucketName", "artifacts-bucket", self.artifacts_bucket.bucket_name, settings)
        publish(self, "CapturesBucketName", "captures-bucket", self.captures_bucket.bucket_name, settings)
        publish(self, "RegistryTableName", "registry-table", self.registry.table_name, settings)
        publish(self, "LedgerTableName", "ledger-table", self.ledger.table_name, settings)
        CfnOutput(self, "AlarmTopic", value=self.alarms.topic_arn, description="Subscribe the people on call")
        CfnOutput(self, "ReleasesTopic", value=self.releases.topic_arn, description="Subscribe the owners of models")

    def _bucket(self, construct_id: str, *rules: s3.LifecycleRule, access_logs: s3.IBucket | None = None) -> s3.Bucket:
        housekeeping = s3.LifecycleRule(
            id="housekeeping",
            abort_incomplete_multipart_upload_after=Duration.days(7),
            noncurrent_version_expiration=Duration.days(90),
        )
        return s3.Bucket(
            self,
            construct_id,
            versioned=True,
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            lifecycle_rules=[*rules, *_expiry(construct_id, self._settings), housekeeping],
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix=f"{construct_id.lower()}/" if access_logs else None,
            removal_policy=self._policy,
        )

    def _table(self, construct_id: str) -> dynamodb.Table:
        return dynamodb.Table(
            self,
            construct_id,
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
            deletion_protection=self._settings.stage == "prod",
            removal_policy=self._policy,
        )

    def _topic_key(self) -> kms.Key:
        """A key of our own, since CloudWatch cannot publish to a topic under the AWS-managed one.

        Only CloudWatch, for alarms of this account, is let in by service name. What else publishes has a role: the key
        leaves that to IAM, and a role of ours cannot be borrowed by other accounts.
        """
        administration = allow(_KEY_ADMINISTRATION, ["*"])
        administration.add_principals(iam.AccountRootPrincipal())
        publishing = allow(["kms:Decrypt", "kms:GenerateDataKey"], ["*"])
        publishing.add_principals(iam.ServicePrincipal(_CLOUDWATCH))
        publishing.add_condition("StringEquals", {"aws:SourceAccount": self.account})
        return kms.Key(
            self,
            "AlarmKey",
            description=f"Encrypts messages of Tidegate {self._settings.stage} to people",
            enable_key_rotation=True,
            policy=iam.PolicyDocument(statements=[administration, publishing]),
            removal_policy=self._policy,
        )

    def _alarm_topic(self) -> sns.Topic:
        topic = self._topic("Alarms", "alarms")
        sending = allow(["sns:Publish"], [topic.topic_arn])
        sending.add_principals(iam.ServicePrincipal(_CLOUDWATCH))
        sending.add_condition("StringEquals", {"aws:SourceAccount": self.account})
        topic.add_to_resource_policy(sending)
        return topic

    def _topic(self, construct_id: str, what: str, *, topic_name: str | None = None) -> sns.Topic:
        topic = sns.Topic(
            self,
            construct_id,
            topic_name=topic_name,
            display_name=f"Tidegate {self._settings.stage} {what}",
            master_key=self.topic_key,
            enforce_ssl=True,
        )
        for address in self._settings.alarm_emails:
            topic.add_subscription(subscriptions.EmailSubscription(address))
        return topic
