"""Monitoring stack: few alarms, each of them worth waking somebody for, and one dashboard."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.settings import DeploymentSettings
from infra.stacks.control import ControlStack
from infra.stacks.data import DataStack
from infra.stacks.release import ReleaseStack
from infra.stacks.serving import ServingStack

NAMESPACE = "Tidegate"
MINUTE = 60
FIVE_MINUTES = 300
CONTROL_P99_MS = 5_000
WIDTH, HEIGHT = 8, 6  # of a graph; the dashboard is 24 wide

Dimensions = Mapping[str, str]


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
    ) -> None:
        super().__init__(scope, construct_id, description=f"Tidegate {settings.stage}: alarms and dashboard")
        self._prefix = settings.prefix
        self._topic = data.alarms.topic_arn
        self._alarms: list[cloudwatch.CfnAlarm] = []
        inference, api = serving.inference.function_name, control.control.function_name
        steps = [function.function_name for function in release.functions.values()]
        queue = {"QueueName": release.failures.queue_name}
        machine = {"StateMachineArn": release.machine.ref}
        serving_api, control_api = {"ApiId": serving.api.api.ref}, {"ApiId": control.api.api.ref}
        own = {"service": "inference", "stage": settings.stage}

        self._function_alarms("inference", inference, p99_ms=settings.inference_p99_ms)
        self._function_alarms("control", api, p99_ms=CONTROL_P99_MS)
        self._class_alarm("release-errors", "Errors", steps, 3, "Steps of the release keep failing; read their logs.")
        self._class_alarm(
            "release-throttles", "Throttles", steps, 1, "The account's concurrency is used up; ask AWS for more."
        )
        self._alarm(
            "training-near-timeout",
            "AWS/Lambda",
            "Duration",
            {"FunctionName": release.functions["train"].function_name},
            "A fit took over 80 % of its time: raise training_timeout_seconds or training_memory_mb, or search less.",
            statistic="Maximum",
            threshold=800 * release.functions["train"].timeout_seconds,
        )
        for name, dimensions in (("serving", serving_api), ("control", control_api)):
            self._alarm(
                f"{name}-api-5xx",
                "AWS/ApiGateway",
                "5xx",
                dimensions,
                f"The {name} API answers with server errors; read its access log and its function's log.",
            )
        for metric, words in {
            "ExecutionsFailed": "failed",
            "ExecutionsTimedOut": "ran out of time",
            "ExecutionsAborted": "was stopped by somebody",
        }.items():
            self._alarm(
                f"release-{metric.removeprefix('Executions').lower()}",
                "AWS/States",
                metric,
                machine,
                f"A release {words}; `tidegate runs MODEL` names the run and the reason.",
            )
        self._alarm(
            "failed-events",
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            queue,
            "An event could not be handled; its message in the failures queue says which and why.",
            statistic="Maximum",
        )
        for metric, words in {
            "ArtifactRejected": "A stored model is not what was registered; it is not served. Find out who wrote it.",
            "ServerErrors": "Predictions fail, or soon will, by our own fault; read the inference function's log.",
            "ModelFailures": "A model raised, gave no number or took too long; its fallback answered. Read its log.",
            "CapturesDropped": "Predictions are answered but not captured; docs/captures.md says why that can be.",
        }.items():
            self._alarm(f"inference-{_dashes(metric)}", NAMESPACE, metric, own, words)

        stream = {"DeliveryStreamName": serving.captures.stream.ref}
        self._alarm(
            "captures-late",
            "AWS/Firehose",
            "DeliveryToS3.DataFreshness",
            stream,
            "Captured predictions do not reach S3; the delivery stream's error log says why.",
            statistic="Maximum",
            threshold=15 * MINUTE,
        )
        self._alarm(
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
        ]
        self._dashboard(graphs)

    def _function_alarms(self, name: str, function: str, *, p99_ms: int) -> None:
        dimensions = {"FunctionName": function}
        self._alarm(f"{name}-errors", "AWS/Lambda", "Errors", dimensions, f"{name} crashes or times out; read its log.")
        self._alarm(
            f"{name}-throttles",
            "AWS/Lambda",
            "Throttles",
            dimensions,
            f"{name} is refused by Lambda: the account's concurrency is used up; ask AWS for more.",
        )
        self._alarm(
            f"{name}-latency",
            "AWS/Lambda",
            "Duration",
            dimensions,
            f"One call of {name} in a hundred takes longer than {p99_ms} ms.",
            statistic="p99",
            threshold=p99_ms,
            periods=3,
        )

    def _alarm(
        self,
        name: str,
        namespace: str,
        metric: str,
        dimensions: Dimensions,
        meaning: str,
        *,
        statistic: str = "Sum",
        threshold: float = 1,
        periods: int = 1,
    ) -> None:
        percentile = statistic.startswith("p")
        self._keep(
            cloudwatch.CfnAlarm(
                self,
                name,
                **self._common(name, meaning, threshold, periods),
                namespace=namespace,
                metric_name=metric,
                dimensions=[
                    cloudwatch.CfnAlarm.DimensionProperty(name=key, value=value) for key, value in dimensions.items()
                ],
                period=FIVE_MINUTES if percentile else MINUTE,
                statistic=None if percentile else statistic,
                extended_statistic=statistic if percentile else None,
                # A percentile of a handful of calls says nothing.
                evaluate_low_sample_count_percentile="ignore" if percentile else None,
            )
        )

    def _class_alarm(self, name: str, metric: str, functions: Sequence[str], threshold: int, meaning: str) -> None:
        """One alarm over the sum of several functions, so that a class of functions wakes people once."""
        single = [
            cloudwatch.CfnAlarm.MetricDataQueryProperty(
                id=f"m{index}",
                return_data=False,
                metric_stat=cloudwatch.CfnAlarm.MetricStatProperty(
                    metric=cloudwatch.CfnAlarm.MetricProperty(
                        namespace="AWS/Lambda",
                        metric_name=metric,
                        dimensions=[cloudwatch.CfnAlarm.DimensionProperty(name="FunctionName", value=function)],
                    ),
                    period=FIVE_MINUTES,
                    stat="Sum",
                ),
            )
            for index, function in enumerate(functions)
        ]
        total = cloudwatch.CfnAlarm.MetricDataQueryProperty(
            id="total", expression="SUM(FILL(METRICS(), 0))", label=metric, return_data=True
        )
        self._keep(
            cloudwatch.CfnAlarm(self, name, **self._common(name, meaning, threshold, 1), metrics=[*single, total])
        )

    def _common(self, name: str, meaning: str, threshold: float, periods: int) -> dict[str, Any]:
        return {
            "alarm_name": f"{self._prefix}-{name}",
            "alarm_description": meaning,
            "comparison_operator": "GreaterThanOrEqualToThreshold",
            "threshold": threshold,
            "evaluation_periods": periods,
            "treat_missing_data": "notBreaching",
            "alarm_actions": [self._topic],
            "ok_actions": [self._topic],
        }

    def _keep(self, alarm: cloudwatch.CfnAlarm) -> None:
        self._alarms.append(alarm)

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

    def _dashboard(self, graphs: Sequence[dict[str, Any]]) -> None:
        in_a_row = 24 // WIDTH
        alarms = {
            "type": "alarm",
            "x": 0,
            "y": 0,
            "width": 24,
            "height": 4,
            "properties": {"title": "Alarms", "alarms": [alarm.attr_arn for alarm in self._alarms]},
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
