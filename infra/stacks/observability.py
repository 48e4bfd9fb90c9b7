"""Observability stack: few alarms, each of them worth waking somebody for, and two dashboards."""

from collections.abc import Iterable

from aws_cdk import Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra import dashboards
from infra.constructs.alarms import FIVE_MINUTES, HOUR, MINUTE, MODEL_IN_STATUS, NAMESPACE, Alarms, model_on_dashboard
from infra.constructs.platform_function import PlatformFunction
from infra.settings import DeploymentSettings
from infra.stacks.announcements import AnnouncementsStack
from infra.stacks.batch import BatchStack
from infra.stacks.control import ControlStack
from infra.stacks.data import DataStack
from infra.stacks.monitoring import MonitoringStack
from infra.stacks.release import ReleaseStack
from infra.stacks.serving import ServingStack

CONTROL_P99_MS = 5_000
# Sections of the runbook.
CONTROL, REFUSED = "operations.md#the-control-api-fails-or-is-slow", "operations.md#lambda-refuses-calls"
CAPTURES = "operations.md#captures-are-missing-or-late"


class ObservabilityStack(Stack):
    """Alarms on functions, APIs, state machine, queue and the platform's own metrics."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        data: DataStack,
        release: ReleaseStack,
        serving: ServingStack,
        batch: BatchStack,
        control: ControlStack,
        announcements: AnnouncementsStack,
        monitoring: MonitoringStack,
    ) -> None:
        super().__init__(scope, construct_id, description=f"Tidegate {settings.stage}: alarms and dashboards")
        self._alarms = Alarms(self, prefix=settings.prefix, owner=settings.owner, topic_arn=data.alarms.topic_arn)
        self._alarm_on_answering_functions(serving, control)
        self._alarm_on_background(release, announcements)
        self._alarm_on_control_api(control)
        self._alarm_on_releases(release)
        self._alarm_on_what_is_served(settings)
        self._alarm_on_captures(serving)
        self._alarm_on_targets(settings, monitoring)

        alarmed = [*serving.alarms.arns, *monitoring.alarms.arns, *batch.alarms.arns, *self._alarms.arns]
        others = [announcements.announce, serving.feedback, *monitoring.functions, monitoring.retraining.retrain]
        others += batch.functions
        parts = dashboards.Parts(
            region=self.region,
            stage=settings.stage,
            serving_api=serving.api.api.ref,
            control_api=control.api.api.ref,
            inference=serving.inference.function_name,
            control=control.control.function_name,
            announce=announcements.announce.function_name,
            steps=_by_short_name(release.functions.values()),
            functions=_by_short_name([*release.functions.values(), *others]),
            release_machine=release.machine.named_arn,
            monitoring_machine=monitoring.machine.named_arn,
            retraining_machine=monitoring.retraining.machine.named_arn,
            failures_queue=release.failures_name,
            alarms=alarmed,
        )
        self._dashboard("Dashboard", settings.prefix, dashboards.platform(parts))
        of_a_model = dashboards.model(region=self.region, stage=settings.stage)
        self._dashboard("ModelDashboard", f"{settings.prefix}-model", of_a_model)

    def _alarm_on_answering_functions(self, serving: ServingStack, control: ControlStack) -> None:
        """What ends a release of inference's code stands in its own stack."""
        inference, api = serving.inference.function_name, control.control.function_name
        self._alarms.add(
            "control-errors",
            "AWS/Lambda",
            "Errors",
            {"FunctionName": api},
            "control crashes or times out; read its log.",
            runbook=CONTROL,
        )
        self._alarms.add(
            "control-latency",
            "AWS/Lambda",
            "Duration",
            {"FunctionName": api},
            f"One call of control in a hundred takes longer than {CONTROL_P99_MS} ms.",
            runbook=CONTROL,
            statistic="p99",
            threshold=CONTROL_P99_MS,
            periods=3,
            period=FIVE_MINUTES,
        )
        for name, function in {"inference": inference, "control": api}.items():
            self._alarms.add(
                f"{name}-throttles",
                "AWS/Lambda",
                "Throttles",
                {"FunctionName": function},
                f"Lambda throttles {name}: the account's concurrency is used up; ask AWS for more.",
                runbook=REFUSED,
            )

    def _alarm_on_background(self, release: ReleaseStack, announcements: AnnouncementsStack) -> None:
        """Functions that nobody waits for."""
        announce = announcements.announce.function_name
        background = [*(function.function_name for function in release.functions.values()), announce]
        self._alarms.add_class(
            "release-errors",
            "Errors",
            background,
            3,
            "Steps of the release, or announce, keep failing; read their logs.",
            runbook="operations.md#steps-of-a-release-keep-failing",
        )
        self._alarms.add_class(
            "release-throttles",
            "Throttles",
            background,
            1,
            "Lambda throttles steps of the release: the account's concurrency is used up; ask AWS for more.",
            runbook=REFUSED,
        )
        self._alarms.add(
            "announcements-late",
            "AWS/Lambda",
            "IteratorAge",
            {"FunctionName": announce},
            "Changes of what is served are announced over five minutes late or never; read the log of announce.",
            runbook="operations.md#when-something-was-not-announced",
            statistic="Maximum",
            threshold=FIVE_MINUTES * 1_000,
        )
        self._alarms.add(
            "training-near-timeout",
            "AWS/Lambda",
            "Duration",
            {"FunctionName": release.functions["train"].function_name},
            "A fit took over 80 % of its time limit: raise training_timeout_seconds or training_memory_mb, or "
            "search less.",
            runbook="operations.md#a-fit-nearly-ran-out-of-time",
            whose="Model: see `tidegate runs MODEL`. Owner: see `tidegate status`.",
            statistic="Maximum",
            threshold=800 * release.functions["train"].timeout_seconds,
        )

    def _alarm_on_control_api(self, control: ControlStack) -> None:
        self._alarms.add(
            "control-api-5xx",
            "AWS/ApiGateway",
            "5xx",
            {"ApiId": control.api.api.ref},
            "The control API answers with server errors; read its access log and its function's log.",
            runbook=CONTROL,
        )

    def _alarm_on_releases(self, release: ReleaseStack) -> None:
        """Executions that ended badly, and events that nobody could handle."""
        for metric, words in {
            "ExecutionsFailed": "failed",
            "ExecutionsTimedOut": "ran out of time",
            "ExecutionsAborted": "was stopped by hand",
        }.items():
            self._alarms.add(
                f"release-{metric.removeprefix('Executions').lower()}",
                "AWS/States",
                metric,
                {"StateMachineArn": release.machine.named_arn},
                f"A release {words}; `tidegate runs MODEL` shows the run and the reason.",
                runbook="operations.md#a-release-did-not-end",
                whose="Model: see the input of the latest execution. Owner: see `tidegate status`.",
            )
        self._alarms.add(
            "failed-events",
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            {"QueueName": release.failures_name},
            "An event could not be handled; its message in the failures queue has the event and the reason.",
            runbook="operations.md#an-event-could-not-be-handled",
            statistic="Maximum",
        )

    def _alarm_on_what_is_served(self, settings: DeploymentSettings) -> None:
        """Inference's own words: what it refuses to serve, cannot keep, or serves on without knowing."""
        own = {"service": "inference", "stage": settings.stage}
        whose = model_on_dashboard(settings.prefix)
        self._alarms.add(
            "inference-artifact-rejected",
            NAMESPACE,
            "ArtifactRejected",
            own,
            "A stored model does not match its registration, so it is not served. Find out who wrote it.",
            runbook="operations.md#a-stored-model-is-not-what-was-registered",
            whose=whose,
        )
        # Not among those that end a release of code: what mends it is such a release.
        self._alarms.add(
            "inference-artifact-newer-than-code",
            NAMESPACE,
            "NewerArtifact",
            own,
            "Newer code wrote a route, model or fallback that this code cannot read: deploy the newer code again.",
            runbook="operations.md#what-is-served-needs-newer-code",
            whose=whose,
        )
        self._alarms.add(
            "inference-captures-dropped",
            NAMESPACE,
            "CapturesDropped",
            own,
            "Predictions are answered but not captured; docs/captures.md lists the causes.",
            runbook=CAPTURES,
        )
        self._alarms.add(
            "inference-captures-waiting",
            NAMESPACE,
            "CapturesWaiting",
            own,
            "Captures wait in the memory of functions, and are lost when those end; docs/captures.md lists the causes.",
            runbook=CAPTURES,
            period=HOUR,
        )
        self._alarms.add(
            "inference-route-stale",
            NAMESPACE,
            "RouteStale",
            own,
            "Warning: routes could not be refreshed for three minutes; the last known ones stay in use.",
            runbook="operations.md#routes-are-stale",
            periods=3,
        )

    def _alarm_on_captures(self, serving: ServingStack) -> None:
        stream = {"DeliveryStreamName": serving.captures.name}
        self._alarms.add(
            "captures-late",
            "AWS/Firehose",
            "DeliveryToS3.DataFreshness",
            stream,
            "Captured predictions do not reach S3; the delivery stream's error log says why.",
            runbook=CAPTURES,
            statistic="Maximum",
            threshold=15 * MINUTE,
        )
        self._alarms.add(
            "captures-partitions",
            "AWS/Firehose",
            "PartitionCountExceeded",
            stream,
            "More models are asked at once than Firehose has partitions for; their captures go to errors/.",
            runbook=CAPTURES,
            statistic="Maximum",
        )

    def _alarm_on_targets(self, settings: DeploymentSettings, monitoring: MonitoringStack) -> None:
        self._alarms.add(
            "targets",
            NAMESPACE,
            "TargetsMissed",
            {"service": monitoring.monitor.name, "stage": settings.stage},
            "A model's last 24 hours miss a target of its spec; `tidegate status` shows which, and by how much.",
            runbook="monitoring.md#a-target-is-missed",
            whose=MODEL_IN_STATUS,
            period=HOUR,
        )

    def _dashboard(self, construct_id: str, name: str, body: dashboards.Body) -> None:
        cloudwatch.CfnDashboard(self, construct_id, dashboard_name=name, dashboard_body=self.to_json_string(body))


def _by_short_name(functions: Iterable[PlatformFunction]) -> dict[str, str]:
    return {function.name: function.function_name for function in functions}
