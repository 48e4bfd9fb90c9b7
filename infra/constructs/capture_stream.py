"""RecordStream: captured predictions, or what became of them, from Firehose into S3, by model and hour, and as a table
in Athena."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.constructs.arns import named_arn
from infra.constructs.keeping import log_group, removal_policy
from infra.constructs.permissions import acknowledge, allow
from infra.settings import DeploymentSettings
from tidegate.kernel.prefixes import CAPTURES, FEEDBACK

ERRORS = "errors/"
BUFFER_SECONDS = 60  # the least with dynamic partitioning
BUFFER_MIB = 64  # the least with dynamic partitioning
FIRST_HOUR = "2025-01-01-00"  # where the projection of partitions begins; nothing is older than the deployment
_LOG_STREAM = "S3Delivery"
_SCORES = "label:string,score:double,probabilities:map<string,double>"
PARTITIONS = {"model": "string", "hour": "string"}


@dataclass(frozen=True, slots=True)
class Records:
    """What one stream carries: into which folder of the bucket, and with which columns."""

    folder: str
    about: str
    columns: Mapping[str, str]

    @property
    def name(self) -> str:
        """Last part of the stream's name, and the table's."""
        return self.folder.removesuffix("/")


# docs/captures.md says what the columns mean. `inputs` differ from model to model, so they are a map of texts.
CAPTURE_COLUMNS = {
    "schema": "int",
    "id": "string",
    "time": "string",
    "version": "int",
    "arm": "string",
    "reason": "string",
    "route": "int",
    "request_id": "string",
    "rows": "int",
    "latency_ms": "double",
    "billed_ms": "double",
    "cold": "boolean",
    "inputs": "map<string,string>",
    "label": "string",
    "score": "double",
    "probabilities": "map<string,double>",
    "violations": "array<string>",
    "unusual": "boolean",
    "fallback": "boolean",
    "error": "string",
    "shadow": f"struct<version:int,latency_ms:double,error:string,cold:boolean,{_SCORES}>",
    "sample": "double",
}
# docs/feedback.md says what they mean. An outcome is a boolean, a number or a text; Athena gets its text.
FEEDBACK_COLUMNS = {
    "schema": "int",
    "id": "string",
    "time": "string",
    "reported": "string",
    "outcome": "string",
    "reporter": "string",
    "correction": "boolean",
}
CAPTURED = Records(CAPTURES, "One row for each captured prediction; select a model and hours", CAPTURE_COLUMNS)
REPORTED = Records(FEEDBACK, "One row for each reported outcome; select a model and hours", FEEDBACK_COLUMNS)


class RecordStream(Construct):
    """One stream for all models: Firehose takes the partition of each line from the line itself."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        records: Records,
        bucket: s3.Bucket,
        settings: DeploymentSettings,
        database: str = "",
    ) -> None:
        """
        Args:
            scope: the stack.
            construct_id: e.g. `Captures`.
            records: what it carries.
            bucket: where that goes.
            settings: names and log retention.
            database: of another stream, for the table; empty: one of its own.
        """
        super().__init__(scope, construct_id)
        self._records = records
        self.name = f"{settings.prefix}-{records.name}"
        self.log_group = log_group(self, "Logs", f"/aws/kinesisfirehose/{self.name}", settings)
        errors = logs.CfnLogStream(self, "ErrorLog", log_group_name=self.log_group.ref, log_stream_name=_LOG_STREAM)
        errors.apply_removal_policy(removal_policy(settings))
        role = self._role(bucket)
        self.stream = firehose.CfnDeliveryStream(
            self,
            "Stream",
            delivery_stream_name=self.name,
            delivery_stream_type="DirectPut",
            delivery_stream_encryption_configuration_input=(
                firehose.CfnDeliveryStream.DeliveryStreamEncryptionConfigurationInputProperty(key_type="AWS_OWNED_CMK")
            ),
            extended_s3_destination_configuration=_destination(
                records.folder, bucket, role, self.log_group.ref, errors.ref
            ),
        )
        self.database = database or self._database(settings)
        self._table(bucket)

    @property
    def arn(self) -> str:
        """Of the delivery stream."""
        return self.stream.attr_arn

    def _role(self, bucket: s3.Bucket) -> iam.Role:
        """Writes records, and what could not be partitioned, into the bucket; nothing else."""
        prefixes = (self._records.folder, ERRORS)
        # By its name: the group's own ARN ends in ":*", and what is appended to that matches nothing.
        error_log = named_arn("logs", f"log-group:{self.log_group.log_group_name}:log-stream:{_LOG_STREAM}")
        objects = [f"{bucket.bucket_arn}/{prefix}*" for prefix in prefixes]
        statements = [
            allow(["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"], [bucket.bucket_arn]),
            allow(["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"], objects),
            allow(["logs:PutLogEvents"], [error_log]),
        ]
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.PrincipalWithConditions(
                iam.ServicePrincipal("firehose.amazonaws.com"),
                {"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            ),
            description=f"What the delivery stream {self.name} may do",
            inline_policies={"Permissions": iam.PolicyDocument(statements=statements)},
        )
        name = Stack.of(bucket).resolve(bucket.bucket_arn)["Fn::GetAtt"][0]
        acknowledge(
            role,
            [f"AwsSolutions-IAM5[Resource::<{name}.Arn>/{prefix}*]" for prefix in prefixes],
            "object keys are made at run time; bucket and prefixes are named",
        )
        return role

    def _database(self, settings: DeploymentSettings) -> str:
        return glue.CfnDatabase(
            self,
            "Database",
            catalog_id=Stack.of(self).account,
            database_input=glue.CfnDatabase.DatabaseInputProperty(
                name=settings.prefix.replace("-", "_"),  # Athena wants no dashes
                description=f"Tidegate {settings.stage}: captured predictions and reported outcomes",
            ),
        ).ref

    def _table(self, bucket: s3.Bucket) -> None:
        """Partitions are computed from the query, never registered: each query names its model, the hours are a range.

        docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html
        """
        location = f"s3://{bucket.bucket_name}/{self._records.folder}"
        glue.CfnTable(
            self,
            "Table",
            catalog_id=Stack.of(self).account,
            database_name=self.database,
            table_input=glue.CfnTable.TableInputProperty(
                name=self._records.name,
                description=self._records.about,
                table_type="EXTERNAL_TABLE",
                parameters={
                    "EXTERNAL": "TRUE",
                    "classification": "json",
                    "compressionType": "gzip",
                    "projection.enabled": "true",
                    "projection.model.type": "injected",
                    "projection.hour.type": "date",
                    "projection.hour.format": "yyyy-MM-dd-HH",
                    "projection.hour.range": f"{FIRST_HOUR},NOW",
                    "projection.hour.interval": "1",
                    "projection.hour.interval.unit": "HOURS",
                    "storage.location.template": f"{location}model=${{model}}/hour=${{hour}}/",
                },
                partition_keys=_columns(PARTITIONS),
                storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
                    columns=_columns(self._records.columns),
                    location=location,
                    input_format="org.apache.hadoop.mapred.TextInputFormat",
                    output_format="org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
                    serde_info=glue.CfnTable.SerdeInfoProperty(
                        serialization_library="org.openx.data.jsonserde.JsonSerDe",
                        parameters={"serialization.format": "1", "case.insensitive": "FALSE"},
                    ),
                ),
            ),
        )


def _destination(folder: str, bucket: s3.Bucket, role: iam.Role, group: str, stream: str) -> Any:
    """Take records apart into lines, read model and hour from each, put them under that prefix.

    docs.aws.amazon.com/firehose/latest/dev/dynamic-partitioning.html
    """
    stage = firehose.CfnDeliveryStream
    return stage.ExtendedS3DestinationConfigurationProperty(
        bucket_arn=bucket.bucket_arn,
        role_arn=role.role_arn,
        compression_format="GZIP",
        file_extension=".jsonl.gz",
        buffering_hints=stage.BufferingHintsProperty(interval_in_seconds=BUFFER_SECONDS, size_in_m_bs=BUFFER_MIB),
        dynamic_partitioning_configuration=stage.DynamicPartitioningConfigurationProperty(
            enabled=True, retry_options=stage.RetryOptionsProperty(duration_in_seconds=3600)
        ),
        prefix=f"{folder}model=!{{partitionKeyFromQuery:model}}/hour=!{{partitionKeyFromQuery:hour}}/",
        error_output_prefix=f"{ERRORS}!{{firehose:error-output-type}}/!{{timestamp:yyyy-MM-dd-HH}}/",
        processing_configuration=stage.ProcessingConfigurationProperty(
            enabled=True,
            processors=[
                _processor("RecordDeAggregation", SubRecordType="JSON"),
                _processor(
                    "MetadataExtraction",
                    MetadataExtractionQuery="{model:.model,hour:.hour}",
                    JsonParsingEngine="JQ-1.6",
                ),
                _processor("AppendDelimiterToRecord"),
            ],
        ),
        cloud_watch_logging_options=stage.CloudWatchLoggingOptionsProperty(
            enabled=True, log_group_name=group, log_stream_name=stream
        ),
    )


def _processor(kind: str, **parameters: str) -> firehose.CfnDeliveryStream.ProcessorProperty:
    return firehose.CfnDeliveryStream.ProcessorProperty(
        type=kind,
        parameters=[
            firehose.CfnDeliveryStream.ProcessorParameterProperty(parameter_name=name, parameter_value=value)
            for name, value in parameters.items()
        ],
    )


def _columns(types: Mapping[str, str]) -> list[glue.CfnTable.ColumnProperty]:
    return [glue.CfnTable.ColumnProperty(name=name, type=kind) for name, kind in types.items()]
