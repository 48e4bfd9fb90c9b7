"""Monitoring stack: few alarms, each of them worth waking somebody for, and one dashboard."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.constructs.alarms import FIVE_MINUTES, MINUTE, NAMESPACE, Alarms, Dimensions
from infra.settings import DeploymentSettings
from infra.stacks.announcements import AnnouncementsStack
from infra.stacks.control import ControlStack
from infra.stacks.data import DataStack
from infra.stacks.release import ReleaseStack
from infra.stacks.serving import ServingStack
from infra.stacks.watch import WatchStack

CONTROL_P99_MS = 5_000
WIDTH, HEIGHT = 8, 6  # of a graph; the dashboard is 24 wide


class MonitoringStack(Stack):
    """Watches functions, APIs, state machine, queue and the platform's own metrics."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        data: DataStack,
        release: ReleaseStack,
        serving: ServingStack,
        control: ControlStack,
        announcements: AnnouncementsStack,
        watch: WatchStack,
    ) -> None:
        super().__init__(scope, construct_id, description=f"Tidegate {settings.stage}: alarms and dashboard")
        self._prefix = settings.prefix
        alarms = Alarms(self, prefix=settings.prefix, topic_arn=data.alarms.topic_arn)
        inference, api = serving.inference.function_name, control.control.function_name
        steps = [function.function_name for function in release.functions.values()]
        announce = announcements.announce.function_name
        queue = {"QueueName": release.failures.queue_name}
        machine = {"StateMachineArn": release.machine.arn}
        serving_api, control_api = {"ApiId": serving.api.api.ref}, {"ApiId": control.api.api.ref}
        own = {"service": "inference", "stage": settings.stage}

        # What ends a release of inference's code stands in its own stack.
        alarms.watch(
            "control-errors",
            "AWS/Lambda",
            "Errors",
            {"FunctionName": api},
            "control crashes or times out; read its log.",
        )
        alarms.watch(
            "control-latency",
            "AWS/Lambda",
            "Duration",
            {"FunctionName": api},
            f"One call of control in a hundred takes longer than {CONTROL_P99_MS} ms.",
            statistic="p99",
            threshold=CONTROL_P99_MS,
            periods=3,
            period=FIVE_MINUTES,
        )
        for name, function in {"inference": inference, "control": api}.items():
            alarms.watch(
                f"{name}-throttles",
                "AWS/Lambda",
                "Throttles",
                {"FunctionName": function},
                f"{name} is refused by Lambda: the account's concurrency is used up; ask AWS for more.",
            )
        background = [*steps, announce]
        alarms.watch_class(
            "release-errors",
            "Errors",
            background,
            3,
            "Steps of the release, or announce, keep failing; read their logs.",
        )
        alarms.watch_class(
            "release-throttles", "Throttles", background, 1, "The account's concurrency is used up; ask AWS for more."
        )
        alarms.watch(
            "announcements-late",
            "AWS/Lambda",
            "IteratorAge",
            {"FunctionName": announce},
            "Changes of what is served are told over five minutes late, or not at all; read the log of announce.",
            statistic="Maximum",
            threshold=FIVE_MINUTES * 1_000,
        )
        alarms.watch(
            "training-near-timeout",
            "AWS/Lambda",
            "Duration",
            {"FunctionName": release.functions["train"].function_name},
            "A fit took over 80 % of its time: raise training_timeout_seconds or training_memory_mb, or search less.",
            statistic="Maximum",
            threshold=800 * release.functions["train"].timeout_seconds,
        )
        alarms.watch(
            "control-api-5xx",
            "AWS/ApiGateway",
            "5xx",
            control_api,
            "The control API answers with server errors; read its access log and its function's log.",
        )
        for metric, words in {
            "ExecutionsFailed": "failed",
            "ExecutionsTimedOut": "ran out of time",
            "ExecutionsAborted": "was stopped by somebody",
        }.items():
            alarms.watch(
                f"release-{metric.removeprefix('Executions').lower()}",
                "AWS/States",
                metric,
                machine,
                f"A release {words}; `tidegate runs MODEL` names the run and the reason.",
            )
        alarms.watch(
            "failed-events",
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            queue,
            "An event could not be handled; its message in the failures queue says which and why.",
            statistic="Maximum",
        )
        for metric, words in {
            "ArtifactRejected": "A stored model is not what was registered; it is not served. Find out who wrote it.",
            "CapturesDropped": "Predictions are answered but not captured; docs/captures.md says why that can be.",
        }.items():
            alarms.watch(f"inference-{_dashes(metric)}", NAMESPACE, metric, own, words)
        alarms.watch(
            "inference-route-stale",
            NAMESPACE,
            "RouteStale",
            own,
            "Warning: routes could not be refreshed for three minutes; the last known ones serve on, without changes.",
            periods=3,
        )
        stream = {"DeliveryStreamName": serving.captures.stream.ref}
        alarms.watch(
            "captures-late",
            "AWS/Firehose",
            "DeliveryToS3.DataFreshness",
            stream,
            "Captured predictions do not reach S3; the delivery stream's error log says why.",
            statistic="Maximum",
            threshold=15 * MINUTE,
        )
        alarms.watch(
            "captures-partitions",
            "AWS/Firehose",
            "PartitionCountExceeded",
            stream,
            "More models are asked at once than Firehose has partitions for; their captures go to errors/.",
            statistic="Maximum",
        )

        graphs = [
            self._graph(
                "Predictions", "Sum", [("AWS/ApiGateway", name, serving_api) for name in ("Count", "4xx", "5xx")]
            ),
            self._graph(
                "Prediction latency (ms)",
                "p99",
                [
                    ("AWS/ApiGateway", "Latency", serving_api),
                    ("AWS/Lambda", "Duration", {"FunctionName": inference}),
                ],
                also="p50",
            ),
            self._graph(
                "Inference faults",
                "Sum",
                [
                    *(("AWS/Lambda", name, {"FunctionName": inference}) for name in ("Errors", "Throttles")),
                    *(
                        (NAMESPACE, name, own)
                        for name in ("ServerErrors", "ArtifactRejected", "ArtifactUnavailable", "RouteStale")
                    ),
                ],
            ),
            self._graph(
                "Releases",
                "Sum",
                [
                    ("AWS/States", f"Executions{end}", machine)
                    for end in ("Started", "Succeeded", "Failed", "TimedOut", "Aborted")
                ],
            ),
            self._graph("Release time (ms)", "Maximum", [("AWS/States", "ExecutionTime", machine)], also="p50"),
            self._graph("Step errors", "Sum", [("AWS/Lambda", "Errors", {"FunctionName": step}) for step in steps]),
            self._graph(
                "Step time (ms)", "Maximum", [("AWS/Lambda", "Duration", {"FunctionName": step}) for step in steps]
            ),
            self._graph(
                "Control API", "Sum", [("AWS/ApiGateway", name, control_api) for name in ("Count", "4xx", "5xx")]
            ),
            self._graph(
                "Events nobody could handle",
                "Maximum",
                [("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue)],
            ),
            self._graph(
                "Models drifted, in need of people, to be trained",
                "Sum",
                [
                    (NAMESPACE, name, {"service": "observe", "stage": settings.stage})
                    for name in ("Drifted", "NeedsRedesign", "RetrainingWanted")
                ],
            ),
            self._graph(
                "Announcements behind (ms)", "Maximum", [("AWS/Lambda", "IteratorAge", {"FunctionName": announce})]
            ),
        ]
        self._dashboard(graphs, [*serving.alarms.made, *watch.alarms.made, *alarms.made])

    def _graph(
        self, title: str, statistic: str, metrics: Sequence[tuple[str, str, Dimensions]], *, also: str = ""
    ) -> dict[str, Any]:
        lines = [
            [namespace, metric, *(part for pair in dimensions.items() for part in pair), {"stat": stat}]
            for stat in filter(None, (statistic, also))
            for namespace, metric, dimensions in metrics
        ]
        return {
            "title": title,
            "view": "timeSeries",
            "region": self.region,
            "period": FIVE_MINUTES,
            "metrics": lines,
            "yAxis": {"left": {"min": 0}},
        }

    def _dashboard(self, graphs: Sequence[dict[str, Any]], watched: Sequence[cloudwatch.CfnAlarm]) -> None:
        in_a_row = 24 // WIDTH
        alarms = {
            "type": "alarm",
            "x": 0,
            "y": 0,
            "width": 24,
            "height": 4,
            "properties": {"title": "Alarms", "alarms": [alarm.attr_arn for alarm in watched]},
        }
        placed = [
            {
                "type": "metric",
                "x": index % in_a_row * WIDTH,
                "y": 4 + index // in_a_row * HEIGHT,
                "width": WIDTH,
                "height": HEIGHT,
                "properties": graph,
            }
            for index, graph in enumerate(graphs)
        ]
        cloudwatch.CfnDashboard(
            self,
            "Dashboard",
            dashboard_name=self._prefix,
            dashboard_body=self.to_json_string({"start": "-PT24H", "widgets": [alarms, *placed]}),
        )


def _dashes(words: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in words).lstrip("-")
