"""Release stack: from a dataset to a version that serves, or to the reasons why it does not."""

from collections.abc import Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.arns import named_arn
from infra.constructs.keeping import removal_policy
from infra.constructs.parameters import publish
from infra.constructs.permissions import (
    GET,
    PUT,
    QUERY,
    RELEASING,
    UPDATE,
    Objects,
    acknowledge,
    allow,
    append_to_ledger,
    on_partitions,
    read_items,
    write_items,
)
from infra.constructs.platform_function import PlatformFunction
from infra.constructs.sources import Sources, lock_hash
from infra.constructs.state_machine import StateMachine
from infra.constructs.table_stream import call_for_changes, reads_streams
from infra.cost import PRICES
from infra.machines.release_machine import Step, definition
from infra.stacks.data import DataStack
from tidegate.kernel.partitions import Partition
from tidegate.kernel.prefixes import CAPTURES, DATASETS, FEEDBACK, RUNS, TABLES, WRITTEN_BY
from tidegate.kernel.settings import (
    CatalogSettings,
    CloseFailedSettings,
    GateSettings,
    LedgerSettings,
    PrepareSettings,
    RegistrySettings,
    RolloutSettings,
    Settings,
    StepSettings,
)

MACHINE = "release"
DAY_SECONDS = 86_400
# A run that is recorded, or an attempt at a batch. Its start is tried for ten minutes, and then given up; an hour
# bridges a registry that does not answer.
RECORDED = (
    {
        "eventName": ["INSERT"],
        "dynamodb": {
            "Keys": {"pk": {"S": [{"prefix": Partition.RUN.of("")}]}, "sk": {"S": [{"prefix": "RUN#"}]}},
            "NewImage": {"status": {"S": ["requested"]}},
        },
    },
    {
        "eventName": ["INSERT"],
        "dynamodb": {
            "Keys": {"pk": {"S": [{"prefix": Partition.BATCHES.of("")}]}, "sk": {"S": [{"prefix": "ENTRY#"}]}},
            "NewImage": {"action": {"S": ["batch_start", "batch_resume"]}},
        },
    },
)
OLDEST_SECONDS, RETRIES = 3600, 200


class ReleaseStack(Stack):
    """The functions of catalog and release, the state machine, and what happens when they fail."""

    def __init__(self, scope: Construct, construct_id: str, *, data: DataStack, sources: Sources) -> None:
        settings = sources.settings
        super().__init__(
            scope, construct_id, description=f"Tidegate {settings.stage}: training, gate, registration, rollout"
        )
        self._sources = sources
        self._data = data
        core = sources.core_layer(self)
        self._serving = [core, sources.third_party_layer(self, "serving")]
        self._data_files = [core, sources.third_party_layer(self, "data")]
        self._training = [core, sources.third_party_layer(self, "training")]
        self._plots = [core, sources.third_party_layer(self, "plots")]
        self.failures_name = f"{settings.prefix}-failures"
        self.failures_arn = named_arn("sqs", self.failures_name)  # for other stacks
        self.failures = self._failure_queue()
        self.functions = {function.name: function for function in self._functions()}
        self.machine = self._state_machine()
        self._close_lost_runs()
        call_for_changes(
            self,
            "RecordedRuns",
            self.functions["close_failed"].function,
            data.registry,
            RECORDED,
            failures_arn=self.failures_arn,
            retries=RETRIES,
            oldest_seconds=OLDEST_SECONDS,
        )
        publish(self, "StateMachine", "release-state-machine", self.machine.arn, settings)

    def _functions(self) -> Sequence[PlatformFunction]:
        settings = self._sources.settings
        table = self._data.registry.table_name
        artifacts = self._data.artifacts_bucket.bucket_name
        data = self._data.data_bucket.bucket_name
        step = StepSettings(registry_table=table, artifacts_bucket=artifacts)
        gate = GateSettings(
            registry_table=table,
            artifacts_bucket=artifacts,
            inference_memory_mb=str(settings.inference_memory_mb),
            gb_second_usd=str(PRICES[f"lambda-{settings.architecture}"].each),
            request_usd=str(PRICES["lambda-requests"].each + PRICES["http-api"].each),
        )
        registry_only = RegistrySettings(registry_table=table)
        with_ledger = LedgerSettings(registry_table=table, ledger_table=self._data.ledger.table_name)
        registry = self._data.registry.table_arn
        run = [read_items(registry), on_partitions([UPDATE], registry, [Partition.RUN])]
        datasets = Objects(self._data.data_bucket, DATASETS, read=True)
        tables = Objects(self._data.artifacts_bucket, TABLES, read=True)
        return (
            PlatformFunction(
                self,
                "catalog",
                sources=self._sources,
                layers=self._data_files,
                environment=CatalogSettings(registry_table=table, data_bucket=data),
                permissions=[
                    read_items(registry, GET),
                    on_partitions([PUT, UPDATE], registry, [Partition.DATASET, Partition.DATASETS]),
                ],
                objects=[datasets],
                memory_mb=settings.training_memory_mb,
                timeout_seconds=settings.training_timeout_seconds,
                description="Reads uploaded files, profiles them and records a dataset version",
                failures=self.failures,
            ),
            PlatformFunction(
                self,
                "prepare",
                sources=self._sources,
                layers=self._data_files,
                environment=PrepareSettings(
                    registry_table=table,
                    data_bucket=data,
                    artifacts_bucket=artifacts,
                    code_version=self._sources.code_version,
                    lock_hash=lock_hash(),
                    allowed_licences=",".join(settings.allowed_licences),
                ),
                permissions=run,
                objects=[datasets, *self._files_of("prepare", read=False)],
                memory_mb=settings.training_memory_mb,
                timeout_seconds=settings.training_timeout_seconds,
                description="Resolves a run's dataset, checks it and writes the split tables",
            ),
            PlatformFunction(
                self,
                "train",
                sources=self._sources,
                layers=self._training,
                environment=step,
                permissions=self._writing(Partition.RUN),
                objects=[*self._files_of("train"), tables],
                memory_mb=settings.training_memory_mb,
                timeout_seconds=settings.training_timeout_seconds,
                description="Fits one candidate, and exports the final one to ONNX",
            ),
            self._step(
                "select",
                registry_only,
                [read_items(registry, QUERY), run[1]],
                "Chooses the best candidate of a run",
                seconds=60,
            ),
            self._step(
                "evaluate",
                step,
                run,
                "Scores the holdout with onnxruntime",
                seconds=900,
                objects=[*self._files_of("evaluate"), tables],
            ),
            PlatformFunction(
                self,
                "slices_and_groups",
                sources=self._sources,
                layers=self._training,
                environment=step,
                permissions=run,
                objects=[*self._files_of("slices_and_groups"), tables],
                memory_mb=settings.step_memory_mb,
                timeout_seconds=900,
                description="Evaluates slices and groups of the holdout",
            ),
            self._step(
                "reproduce",
                step,
                run,
                "Compares a reproduced version with the original",
                seconds=120,
                objects=self._files_of("reproduce"),
            ),
            self._step(
                "gate", gate, run, "Accepts or rejects, with reasons", seconds=120, objects=self._files_of("gate")
            ),
            self._step(
                "register",
                with_ledger,
                self._releasing(Partition.MODELS, Partition.RUN),
                "Registers the judged version",
                seconds=60,
            ),
            PlatformFunction(
                self,
                "report",
                sources=self._sources,
                layers=self._plots,
                environment=step,
                permissions=[read_items(registry)],
                objects=self._files_of("report"),
                memory_mb=settings.step_memory_mb,
                timeout_seconds=120,
                description="Draws the page of a version",
            ),
            self._rollout(),
            self._close_failed(),
        )

    def _files_of(self, step: str, *, read: bool = True) -> list[Objects]:
        """The files of runs that a step writes, and all that earlier ones wrote but the tables."""
        names = {prefix: tuple(each for each in WRITTEN_BY[step] if each.prefix == prefix) for prefix in (RUNS, TABLES)}
        return [
            Objects(self._data.artifacts_bucket, prefix, read=read and prefix == RUNS, write=True, names=written)
            for prefix, written in names.items()
            if written
        ]

    def _writing(self, *partitions: Partition) -> list[iam.PolicyStatement]:
        return write_items(self._data.registry.table_arn, *partitions)

    def _releasing(self, *partitions: Partition) -> list[iam.PolicyStatement]:
        ledger = append_to_ledger(self._data.ledger.table_arn)
        return [*self._writing(*RELEASING, *partitions), ledger]

    def _rollout(self) -> PlatformFunction:
        captures = self._data.captures_bucket
        machine = self._machine_arn()
        return self._step(
            "rollout",
            RolloutSettings(
                registry_table=self._data.registry.table_name,
                ledger_table=self._data.ledger.table_name,
                artifacts_bucket=self._data.artifacts_bucket.bucket_name,
                captures_bucket=captures.bucket_name,
                release_state_machine=machine,
            ),
            [*self._releasing(), allow(["states:SendTaskSuccess"], [machine])],
            "Moves the rollout of an accepted version one step on, or rolls it back",
            seconds=120,
            objects=[
                Objects(self._data.artifacts_bucket, RUNS, read=True),
                Objects(captures, CAPTURES, read=True),
                Objects(captures, FEEDBACK, read=True),
            ],
        )

    def _close_failed(self) -> PlatformFunction:
        machine, batches = self._machine_arn(), self._machine_arn("batch")
        return self._step(
            "close_failed",
            CloseFailedSettings(
                registry_table=self._data.registry.table_name,
                ledger_table=self._data.ledger.table_name,
                release_state_machine=machine,
                batch_state_machine=batches,
            ),
            [
                *self._releasing(Partition.RUN),
                *reads_streams(self._data.registry),
                allow(["states:StartExecution"], [machine, batches]),
                allow(["sqs:SendMessage"], [self.failures_arn]),
            ],
            "Closes a run that a fault ended, and starts one that is recorded and not started",
            seconds=60,
            background=True,
        )

    def _machine_arn(self, name: str = MACHINE) -> str:
        """By its name: the machine's own ARN would make function and machine wait for each other."""
        return named_arn("states", f"stateMachine:{self._sources.settings.prefix}-{name}")

    def _step(
        self,
        name: str,
        environment: Settings,
        permissions: Sequence[iam.PolicyStatement],
        description: str,
        *,
        seconds: int,
        objects: Sequence[Objects] = (),
        background: bool = False,
    ) -> PlatformFunction:
        return PlatformFunction(
            self,
            name,
            sources=self._sources,
            layers=self._serving,
            environment=environment,
            permissions=permissions,
            objects=objects,
            memory_mb=self._sources.settings.step_memory_mb,
            timeout_seconds=seconds,
            description=description,
            failures=self.failures if background else None,
        )

    def _failure_queue(self) -> sqs.Queue:
        """Where every event ends that no function could handle; an alarm says so."""
        queue = sqs.Queue(
            self,
            "Failures",
            queue_name=self.failures_name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
            removal_policy=removal_policy(self._sources.settings),
        )
        acknowledge(queue, ["AwsSolutions-SQS3"], "this is the dead-letter queue; an alarm fires on its first message")
        return queue

    def _state_machine(self) -> StateMachine:
        settings = self._sources.settings
        steps = {
            name: Step(function.function.function_arn, function.timeout_seconds)
            for name, function in self.functions.items()
            if name != "catalog"
        }
        return StateMachine(
            self,
            "Machine",
            name=MACHINE,
            definition=definition(steps, partition=self.partition, training_concurrency=settings.training_concurrency),
            functions=[step.arn for step in steps.values()],
            settings=settings,
        )

    def _close_lost_runs(self) -> None:
        """An execution that is aborted or times out runs no Catch: an event closes its run instead."""
        close_failed = self.functions["close_failed"].function
        rule = events.CfnRule(
            self,
            "LostRuns",
            name=f"{self._sources.settings.prefix}-lost-runs",
            description="Executions of the release state machine that ended by a fault",
            event_pattern={
                "source": ["aws.states"],
                "detail-type": ["Step Functions Execution Status Change"],
                "detail": {
                    "status": ["ABORTED", "FAILED", "TIMED_OUT"],
                    "stateMachineArn": [self.machine.arn],
                },
            },
            targets=[
                events.CfnRule.TargetProperty(
                    id="close_failed",
                    arn=close_failed.function_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self.failures.queue_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_event_age_in_seconds=DAY_SECONDS, maximum_retry_attempts=20
                    ),
                )
            ],
        )
        lambda_.CfnPermission(
            self,
            "LostRunsInvokeCloseFailed",
            action="lambda:InvokeFunction",
            function_name=close_failed.function_arn,
            principal="events.amazonaws.com",
            source_arn=rule.attr_arn,
        )
        undeliverable = allow(["sqs:SendMessage"], [self.failures.queue_arn])
        undeliverable.add_principals(iam.ServicePrincipal("events.amazonaws.com"))
        undeliverable.add_condition("ArnEquals", {"aws:SourceArn": rule.attr_arn})
        self.failures.add_to_resource_policy(undeliverable)
