"""Batch stack: files of any size, scored part by part."""

from collections.abc import Sequence

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.constructs.alarms import Alarms
from infra.constructs.arns import named_arn
from infra.constructs.permissions import Objects, acknowledge, allow, append_to_batches
from infra.constructs.platform_function import PlatformFunction
from infra.constructs.sources import Sources
from infra.constructs.state_machine import StateMachine
from infra.machines.batch_machine import definition
from infra.machines.release_machine import Step
from infra.stacks.data import DataStack
from tidegate.kernel.prefixes import BATCH_PARTS, BATCH_RECORD, BATCH_SUCCESS, RUNS
from tidegate.kernel.settings import BatchSettings, ScoreSettings, Settings

MACHINE = "batch"
TIMEOUT_SECONDS = 900
FAILED = "batch.md#a-batch-failed"  # section of the runbook
_S3 = "s3://"
_KEYS = "object keys are people's to give; buckets and prefixes are named"


class BatchStack(Stack):
    """The functions that plan and score, their state machine and its alarms. What a batch reads and writes lies under
    batch/ in the data bucket, or where else the setting `batch_places` names."""

    def __init__(self, scope: Construct, construct_id: str, *, data: DataStack, sources: Sources) -> None:
        settings = sources.settings
        super().__init__(scope, construct_id, description=f"Tidegate {settings.stage}: predictions of whole files")
        self._settings = settings
        self._data = data
        self._sources = sources
        self._layers = [sources.core_layer(self), sources.third_party_layer(self, "data")]
        artifacts, table = data.artifacts_bucket.bucket_name, data.registry
        self.batch = self._function(
            "batch",
            "Finds the parts of a batch, and checks that all rows are scored",
            BatchSettings(registry_table=table.table_name, artifacts_bucket=artifacts),
            [append_to_batches(table.table_arn)],
        )
        self.score = self._function("score", "Scores one part of a batch", ScoreSettings(artifacts_bucket=artifacts))
        self.functions = (self.batch, self.score)
        self.machine = self._state_machine()
        self.alarms = Alarms(self, prefix=settings.prefix, owner=settings.owner, topic_arn=data.alarms.topic_arn)
        self._alarms()

    @property
    def places(self) -> str:
        """Whose batches may read and write where, as `ControlSettings` has it."""
        data = f"{self._data.data_bucket.bucket_name}/"
        pairs = (each.partition("=") for each in self._settings.batch_places)
        full = ((who, place.removeprefix(_S3) if _S3 in place else data + place) for who, _, place in pairs)
        return ",".join(map("=".join, full))

    @property
    def asking(self) -> Sequence[iam.PolicyStatement]:
        """What the control API needs: to list inputs, to read and write a batch's own documents, to start and to look
        at executions, and to record what was asked for. It reads no rows."""
        return [
            append_to_batches(self._data.registry.table_arn),
            allow(["s3:GetObject"], [*self._objects(f"*{BATCH_RECORD}"), *self._objects(f"*{BATCH_PARTS}")]),
            allow(["s3:GetObject"], self._objects(f"*{BATCH_SUCCESS}")),
            allow(["s3:PutObject"], self._objects(f"*{BATCH_RECORD}")),
            allow(["s3:ListBucket"], self._buckets()),
            allow(["states:StartExecution"], [self.machine.named_arn]),
            allow(["states:DescribeExecution"], [self._executions(":*")]),
        ]

    @property
    def asking_findings(self) -> list[str]:
        """What cdk-nag calls those objects and executions."""
        return self._findings([f"*{BATCH_RECORD}", f"*{BATCH_PARTS}", f"*{BATCH_SUCCESS}"], [":*"])

    def _function(
        self, name: str, description: str, environment: Settings, permissions: Sequence[iam.PolicyStatement] = ()
    ) -> PlatformFunction:
        function = PlatformFunction(
            self,
            name,
            sources=self._sources,
            layers=self._layers,
            environment=environment,
            permissions=[
                allow(["s3:GetObject", "s3:PutObject"], self._objects("*")),
                allow(["s3:ListBucket"], self._buckets()),
                *permissions,
            ],
            objects=[Objects(self._data.artifacts_bucket, RUNS, read=True)],
            memory_mb=self._settings.training_memory_mb,
            timeout_seconds=TIMEOUT_SECONDS,
            description=description,
        )
        acknowledge(function.role, self._findings(["*"]), _KEYS)
        return function

    def _state_machine(self) -> StateMachine:
        batch, score = (Step(each.function.function_arn, each.timeout_seconds) for each in self.functions)
        # By its name: the machine's own ARN would make machine and role wait for each other.
        itself = named_arn("states", f"stateMachine:{self._settings.prefix}-{MACHINE}")
        machine = StateMachine(
            self,
            "Machine",
            name=MACHINE,
            definition=definition(batch, score, partition=self.partition, concurrency=self._settings.batch_concurrency),
            functions=[batch.arn, score.arn],
            settings=self._settings,
            permissions=[
                allow(["s3:GetObject"], self._objects(f"*{BATCH_PARTS}")),
                # Each part of a distributed map is an execution of its own.
                allow(["states:StartExecution"], [itself]),
                allow(["states:DescribeExecution", "states:StopExecution"], [self._executions("/*")]),
            ],
        )
        acknowledge(machine.role, self._findings([f"*{BATCH_PARTS}"], ["/*"]), _KEYS)
        return machine

    def _folders(self) -> list[tuple[str, str]]:
        """Each bucket that batches use (none: the data bucket) and folder in it."""
        places = dict.fromkeys(each.partition("=")[2] for each in self._settings.batch_places)
        return [("", each) if _S3 not in each else _split(each) for each in places]

    def _objects(self, pattern: str) -> list[str]:
        return [f"{self._bucket(bucket)}/{folder}{pattern}" for bucket, folder in self._folders()]

    def _buckets(self) -> list[str]:
        return [self._bucket(bucket) for bucket in dict.fromkeys(bucket for bucket, _ in self._folders())]

    def _bucket(self, name: str) -> str:
        return f"arn:{self.partition}:s3:::{name}" if name else self._data.data_bucket.bucket_arn

    def _executions(self, behind: str) -> str:
        return named_arn("states", f"execution:{self._settings.prefix}-{MACHINE}{behind}")

    def _findings(self, patterns: Sequence[str], executions: Sequence[str] = ()) -> list[str]:
        bucket = Stack.of(self._data.data_bucket).resolve(self._data.data_bucket.bucket_arn)["Fn::GetAtt"][0]
        objects = [
            f"{f'arn:<AWS::Partition>:s3:::{name}' if name else f'<{bucket}.Arn>'}/{folder}{pattern}"
            for name, folder in self._folders()
            for pattern in patterns
        ]
        where = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution"
        ran = [f"{where}:{self._settings.prefix}-{MACHINE}{behind}" for behind in executions]
        return [f"AwsSolutions-IAM5[Resource::{each}]" for each in sorted([*objects, *ran])]

    def _alarms(self) -> None:
        machine = {"StateMachineArn": self.machine.arn}
        for metric, words in {
            "ExecutionsFailed": "failed; run its command again to see why and to resume it",
            "ExecutionsTimedOut": "took over seven days; run its command again, with a higher batch_concurrency",
        }.items():
            name = f"batch-{metric.removeprefix('Executions').lower()}"
            self.alarms.add(name, "AWS/States", metric, machine, f"A batch of predictions {words}.", runbook=FAILED)
        names = [function.function_name for function in self.functions]
        for metric, threshold, words in (
            ("Errors", 10, "batch or score keep failing or time out; read their logs."),
            ("Throttles", 1, "Lambda throttles score: lower batch_concurrency, or ask AWS for more concurrency."),
        ):
            self.alarms.add_class(f"batch-{metric.lower()}", metric, names, threshold, words, runbook=FAILED)


def _split(place: str) -> tuple[str, str]:
    bucket, _, folder = place.removeprefix(_S3).partition("/")
    return bucket, folder
