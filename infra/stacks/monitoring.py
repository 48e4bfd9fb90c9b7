"""Monitoring stack: every hour the served models are judged by what they were asked, and what follows is begun."""

from collections.abc import Sequence

from aws_cdk import Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.constructs.alarms import HOUR, MODEL_IN_STATUS, NAMESPACE, Alarms
from infra.constructs.arns import named_arn
from infra.constructs.permissions import PUT, QUERY, Objects, allow, on_partitions, read_items
from infra.constructs.platform_function import PlatformFunction
from infra.constructs.sources import Sources
from infra.constructs.state_machine import StateMachine
from infra.cost import PRICES
from infra.machines.monitoring_machine import definition
from infra.machines.release_machine import Step
from infra.stacks.data import DataStack
from infra.stacks.release import ReleaseStack
from infra.stacks.retraining import Retraining
from tidegate.kernel.partitions import Partition
from tidegate.kernel.prefixes import CAPTURES, FEEDBACK, PROFILES, RUNS, VERDICTS
from tidegate.kernel.settings import DueSettings, MonitorSettings

SCHEDULE = "cron(10 * * * ? *)"  # ten minutes after the hour: its last captures are in S3 by then
EVENT_AGE_SECONDS = 3000  # an execution that could not be started is left to the next hour
DUE_MEMORY_MB = 512
MONITOR_MEMORY_MB = 1769
NOT_LOOKED_AT = "monitoring.md#not-every-model-could-be-looked-at"  # section of the runbook


class MonitoringStack(Stack):
    """The functions of monitoring, their state machine and its schedule, the alarms on what they find, retraining."""

    def __init__(
        self, scope: Construct, construct_id: str, *, data: DataStack, release: ReleaseStack, sources: Sources
    ) -> None:
        settings = sources.settings
        super().__init__(scope, construct_id, description=f"Tidegate {settings.stage}: drift, live quality and health")
        self._settings = settings
        self._data = data
        self._release = release
        self._sources = sources
        self._layers = [sources.core_layer(self), sources.third_party_layer(self, "serving")]
        self.due = self._due()
        self.monitor = self._monitor()
        self.functions = (self.due, self.monitor)
        self.machine = self._state_machine()
        self._every_hour()
        self.alarms = Alarms(self, prefix=settings.prefix, owner=settings.owner, topic_arn=data.alarms.topic_arn)
        self._alarm_on_faults()
        self._alarm_on_findings()

    def _due(self) -> PlatformFunction:
        captures = self._data.captures_bucket
        return PlatformFunction(
            self,
            "due",
            sources=self._sources,
            layers=self._layers,
            environment=DueSettings(
                registry_table=self._data.registry.table_name, captures_bucket=captures.bucket_name
            ),
            permissions=[
                read_items(self._data.registry.table_arn),
                allow(["s3:ListBucket"], [captures.bucket_arn]),
            ],
            memory_mb=DUE_MEMORY_MB,
            timeout_seconds=120,
            description="Lists the models that are due",
        )

    def _monitor(self) -> PlatformFunction:
        captures, artifacts = self._data.captures_bucket, self._data.artifacts_bucket
        table = self._data.registry.table_arn
        return PlatformFunction(
            self,
            "monitor",
            sources=self._sources,
            layers=self._layers,
            environment=MonitorSettings(
                registry_table=self._data.registry.table_name,
                ledger_table=self._data.ledger.table_name,
                artifacts_bucket=artifacts.bucket_name,
                captures_bucket=captures.bucket_name,
                stage=self._settings.stage,
                inference_memory_mb=str(self._settings.inference_memory_mb),
                gb_second_usd=str(PRICES[f"lambda-{self._settings.architecture}"].each),
                request_usd=str(PRICES["lambda-requests"].each + PRICES["http-api"].each),
                gb_month_usd=str(PRICES["s3-storage"].each),
            ),
            permissions=[
                read_items(table),
                read_items(self._data.ledger.table_arn, QUERY),
                on_partitions([PUT], table, [Partition.HEALTH]),
            ],
            objects=[
                Objects(artifacts, RUNS, read=True),
                Objects(captures, CAPTURES, read=True),
                Objects(captures, FEEDBACK, read=True),
                Objects(captures, PROFILES, read=True, write=True),
                Objects(captures, VERDICTS, read=True, write=True),
            ],
            memory_mb=MONITOR_MEMORY_MB,
            timeout_seconds=300,
            description="Judges the traffic of models and records their health",
        )

    def _state_machine(self) -> StateMachine:
        due, monitor = (Step(each.function.function_arn, each.timeout_seconds) for each in self.functions)
        return StateMachine(
            self,
            "Machine",
            name="monitoring",
            definition=definition(due, monitor, concurrency=self._settings.monitoring_concurrency),
            functions=[due.arn, monitor.arn],
            settings=self._settings,
        )

    def _every_hour(self) -> None:
        role = iam.Role(
            self,
            "ScheduleRole",
            assumed_by=iam.ServicePrincipal("events.amazonaws.com"),
            description=f"Starts the state machine {self._settings.prefix}-monitoring",
            inline_policies={
                "Permissions": iam.PolicyDocument(statements=[allow(["states:StartExecution"], [self.machine.arn])])
            },
        )
        name = f"{self._settings.prefix}-monitoring"
        events.CfnRule(
            self,
            "Schedule",
            name=name,
            description="Monitors every served model once an hour",
            schedule_expression=SCHEDULE,
            targets=[
                events.CfnRule.TargetProperty(
                    id="monitoring",
                    arn=self.machine.arn,
                    role_arn=role.role_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self._release.failures_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_event_age_in_seconds=EVENT_AGE_SECONDS, maximum_retry_attempts=20
                    ),
                )
            ],
        )
        # By its name: the queue's stack must not wait for this one, which waits for it.
        rule = named_arn("events", f"rule/{name}")
        undeliverable = allow(["sqs:SendMessage"], [self._release.failures.queue_arn])
        undeliverable.add_principals(iam.ServicePrincipal("events.amazonaws.com"))
        undeliverable.add_condition("ArnEquals", {"aws:SourceArn": rule})
        self._release.failures.add_to_resource_policy(undeliverable)

    def _alarm_on_faults(self) -> None:
        machine = {"StateMachineArn": self.machine.arn}
        for metric, words in {
            "ExecutionsFailed": "could not judge every model; the log of monitor names each with the reason",
            "ExecutionsTimedOut": "ran out of time: raise monitoring_concurrency",
        }.items():
            name = f"monitoring-{metric.removeprefix('Executions').lower()}"
            self.alarms.add(name, "AWS/States", metric, machine, f"Hourly monitoring {words}.", runbook=NOT_LOOKED_AT)
        names: Sequence[str] = [function.function_name for function in self.functions]
        self.alarms.add_class(
            "monitoring-errors",
            "Errors",
            names,
            3,
            "due or monitor keep failing or time out; read their logs.",
            runbook=NOT_LOOKED_AT,
        )

    def _alarm_on_findings(self) -> None:
        """Sums over models, each of which is reported once an hour."""
        own = {"service": self.monitor.name, "stage": self._settings.stage}
        self.alarms.add(
            "drifted",
            NAMESPACE,
            "Drifted",
            own,
            "A model's inputs, scores or quality have changed; `tidegate drift MODEL` shows how.",
            runbook="monitoring.md#a-model-has-drifted",
            whose=MODEL_IN_STATUS,
            period=HOUR,
        )
        self.alarms.add(
            "needs-redesign",
            NAMESPACE,
            "NeedsRedesign",
            own,
            "Training again does not help a model; its owner looks, then acknowledges.",
            runbook="monitoring.md#a-model-needs-redesign",
            whose=MODEL_IN_STATUS,
            period=HOUR,
        )
        self.alarms.add(
            "tampered",
            NAMESPACE,
            "Tampered",
            own,
            "What a model serves, its ledger or its files are not what was recorded; `tidegate status` names it.",
            runbook="operations.md#something-was-tampered-with",
            whose=MODEL_IN_STATUS,
            period=HOUR,
        )
        self.alarms.add(
            "quarantined",
            NAMESPACE,
            "Quarantined",
            own,
            "Captures or feedback of a model cannot be read and are left out; `tidegate drift MODEL` names them.",
            runbook="monitoring.md#objects-are-in-quarantine",
            whose=MODEL_IN_STATUS,
            period=HOUR,
        )
        self.alarms.add(
            "cost-spike",
            NAMESPACE,
            "CostSpike",
            own,
            "An hour of a model cost far more than usual; `tidegate cost` names it and says what grew.",
            runbook="cost.md#an-hour-costs-far-more-than-usual",
            whose=MODEL_IN_STATUS,
            period=HOUR,
        )
        self.retraining = Retraining(
            self,
            "Retraining",
            data=self._data,
            release=self._release,
            sources=self._sources,
            layers=[self._layers[0], self._sources.third_party_layer(self, "data")],
            alarms=self.alarms,
            counted=own,
        )
