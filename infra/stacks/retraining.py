"""Retraining: what starts the trainings that monitoring wants.

Monitoring counts `RetrainingWanted` at the end of each look, which is every hour. An alarm on that count goes off, and
the change of its state, an event, starts a state machine that deals with every model whose health record wants a
training.

An alarm that stays where it is says nothing more. So it looks at single minutes, and at those without data as quiet
ones: it is back within minutes, long before the next look, and each look that leaves a training wanted sets it off
anew. Nothing is lost when a model comes to want one while the alarm is still on, or when a training could not start:
the health record stays as it is, and at the latest the next hour's event finds it.
"""

from collections.abc import Sequence

from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.alarms import FIVE_MINUTES, MODEL_IN_STATUS, NAMESPACE, Alarms, Dimensions
from infra.constructs.arns import named_arn
from infra.constructs.permissions import PUT, Objects, allow, on_partitions, read_items
from infra.constructs.platform_function import PlatformFunction
from infra.constructs.sources import Sources
from infra.constructs.state_machine import StateMachine
from infra.machines.release_machine import Step
from infra.machines.retraining_machine import definition
from infra.stacks.data import DataStack
from infra.stacks.release import DAY_SECONDS, ReleaseStack
from tidegate.kernel.partitions import Partition
from tidegate.kernel.prefixes import CAPTURES, DATASETS, FEEDBACK
from tidegate.kernel.settings import RetrainSettings

METRIC = "RetrainingWanted"
NOT_STARTED = "monitoring.md#a-training-could-not-be-started"  # section of the runbook
TIMEOUT_SECONDS = 900  # gathering captures takes up to eight minutes, then writes


class Retraining(Construct):
    """The alarm `<prefix>-retraining-wanted`, the rule on it, the state machine with its function, and their alarms."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        data: DataStack,
        release: ReleaseStack,
        sources: Sources,
        layers: Sequence[lambda_.ILayerVersion],
        alarms: Alarms,
        counted: Dimensions,
    ) -> None:
        """
        Args:
            scope: the stack.
            construct_id: e.g. `Retraining`.
            data: the buckets and the registry.
            release: whose machine trains, whose catalog reads datasets, and whose queue takes undeliverable events.
            sources: where the code lies.
            layers: core, then training, since the function writes Parquet.
            alarms: of the stack.
            counted: dimensions under which monitoring counts `RetrainingWanted` over all models.
        """
        super().__init__(scope, construct_id)
        settings = sources.settings
        self._release = release
        catalog, registry = release.functions["catalog"], data.registry.table_arn
        self.retrain = PlatformFunction(
            self,
            "retrain",
            sources=sources,
            layers=layers,
            environment=RetrainSettings(
                registry_table=data.registry.table_name,
                data_bucket=data.data_bucket.bucket_name,
                captures_bucket=data.captures_bucket.bucket_name,
                release_state_machine=release.machine.named_arn,
                catalog_function=catalog.function_name,
            ),
            permissions=[
                read_items(registry),
                on_partitions([PUT], registry, [Partition.DATASET, Partition.HEALTH, Partition.LEASE, Partition.RUN]),
                allow(["states:StartExecution"], [release.machine.named_arn]),
                allow(["lambda:InvokeFunction"], [catalog.named_arn]),
            ],
            objects=[
                Objects(data.data_bucket, DATASETS, write=True),
                Objects(data.captures_bucket, CAPTURES, read=True),
                Objects(data.captures_bucket, FEEDBACK, read=True),
            ],
            memory_mb=settings.training_memory_mb,
            timeout_seconds=TIMEOUT_SECONDS,
            description="Adds captures to datasets, and starts the trainings that monitoring wants",
        )
        function = self.retrain.function.function_arn
        self.machine = StateMachine(
            self,
            "Machine",
            name="retrain",
            definition=definition(Step(function, TIMEOUT_SECONDS)),
            functions=[function],
            settings=settings,
        )
        wanted = alarms.add(
            "retraining-wanted",
            NAMESPACE,
            METRIC,
            counted,
            "A model needs training, which is being started; `tidegate drift MODEL` shows why.",
            runbook="monitoring.md#a-training-is-due",
            whose=MODEL_IN_STATUS,
        )
        self._start_on(str(wanted.alarm_name), settings.prefix)
        self._alarm_on_faults(alarms)

    def _start_on(self, alarm: str, prefix: str) -> None:
        """The machine begins when the alarm goes off; it begins with no input, since the health records say
        everything."""
        role = iam.Role(
            self,
            "EventsRole",
            assumed_by=iam.ServicePrincipal("events.amazonaws.com"),
            description=f"Lets EventBridge start the state machine {self.machine.name}",
            inline_policies={
                "Permissions": iam.PolicyDocument(statements=[allow(["states:StartExecution"], [self.machine.arn])])
            },
        )
        failures = self._release.failures
        name = f"{prefix}-retraining-wanted"
        events.CfnRule(
            self,
            "Wanted",
            name=name,
            description="Monitoring wants a training",
            event_pattern={
                "source": ["aws.cloudwatch"],
                "detail-type": ["CloudWatch Alarm State Change"],
                "detail": {"alarmName": [alarm], "state": {"value": ["ALARM"]}},
            },
            targets=[
                events.CfnRule.TargetProperty(
                    id="retrain",
                    arn=self.machine.arn,
                    role_arn=role.role_arn,
                    input="{}",
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self._release.failures_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_event_age_in_seconds=DAY_SECONDS, maximum_retry_attempts=20
                    ),
                )
            ],
        )
        undeliverable = allow(["sqs:SendMessage"], [failures.queue_arn])
        undeliverable.add_principals(iam.ServicePrincipal("events.amazonaws.com"))
        # By its name: the rule's own ARN would make the queue's stack wait for this one.
        rule = named_arn("events", f"rule/{name}")
        undeliverable.add_condition("ArnEquals", {"aws:SourceArn": rule})
        failures.add_to_resource_policy(undeliverable)

    def _alarm_on_faults(self, alarms: Alarms) -> None:
        machine = {"StateMachineArn": self.machine.arn}
        for metric, words in {
            "ExecutionsFailed": "could not be started",
            "ExecutionsTimedOut": "was not started in time",
        }.items():
            alarms.add(
                f"retraining-{metric.removeprefix('Executions').lower()}",
                "AWS/States",
                metric,
                machine,
                f"A training that monitoring wants {words}; the latest execution of {self.machine.name} shows why.",
                runbook=NOT_STARTED,
            )
        alarms.add(
            "retrain-errors",
            "AWS/Lambda",
            "Errors",
            {"FunctionName": self.retrain.function_name},
            "retrain keeps failing; read its log.",
            runbook=NOT_STARTED,
            threshold=3,
            period=FIVE_MINUTES,
        )
