"""Serving stack: the inference function behind its HTTP API, the alarms that end a release of its code, and the
function that takes in what became of predictions."""

from collections.abc import Sequence

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.alarms import MINUTE, NAMESPACE, Alarms, model_on_dashboard
from infra.constructs.capture_stream import CAPTURED, REPORTED, RecordStream
from infra.constructs.code_release import CodeRelease
from infra.constructs.parameters import publish
from infra.constructs.permissions import GET, QUERY, Objects, allow, read_items
from infra.constructs.platform_function import PlatformFunction
from infra.constructs.signed_api import SignedApi
from infra.constructs.sources import Sources
from infra.settings import DeploymentSettings
from infra.stacks.data import DataStack
from tidegate.kernel import routes
from tidegate.kernel.prefixes import RUNS
from tidegate.kernel.settings import FeedbackSettings, InferenceSettings

FEEDBACK_ROUTES = tuple(routes.SERVING[name].key for name in ("feedback", "corrections"))
INFERENCE_ROUTES = tuple(route.key for route in routes.SERVING.values() if route.key not in FEEDBACK_ROUTES)
FAILING, OUTCOMES = "operations.md#predictions-fail", "operations.md#outcomes-are-late"  # sections of the runbook
FEEDBACK_MEMORY_MB = 512
FEEDBACK_TIMEOUT_SECONDS = 25  # all attempts at Firehose take 15, and the API waits 30


class ServingStack(Stack):
    """Inference: reads routes and artifacts, writes neither; what it predicts goes into the capture stream. What became
    of that goes into the feedback stream."""

    def __init__(self, scope: Construct, construct_id: str, *, data: DataStack, sources: Sources) -> None:
        settings = sources.settings
        super().__init__(scope, construct_id, description=f"Tidegate {settings.stage}: predictions over HTTPS")
        self.captures = RecordStream(self, "Captures", records=CAPTURED, bucket=data.captures_bucket, settings=settings)
        self.outcomes = RecordStream(
            self,
            "Outcomes",
            records=REPORTED,
            bucket=data.captures_bucket,
            settings=settings,
            database=self.captures.database,
        )
        self._layers = [sources.core_layer(self), sources.third_party_layer(self, "serving")]
        started_ahead = settings.snap_start or settings.provisioned_concurrency > 0
        self.inference = PlatformFunction(
            self,
            "inference",
            sources=sources,
            layers=self._layers,
            environment=InferenceSettings(
                registry_table=data.registry.table_name,
                artifacts_bucket=data.artifacts_bucket.bucket_name,
                capture_stream=self.captures.stream.ref,
                stage=settings.stage,
                route_ttl_seconds=str(settings.route_ttl_seconds),
                scoring_timeout_ms=str(settings.scoring_timeout_ms),
                max_instances=str(settings.max_instances),
                max_body_bytes=str(settings.max_body_bytes),
            ),
            permissions=[
                read_items(data.registry.table_arn, GET, *([QUERY] if started_ahead else [])),  # to list all models
                allow(["firehose:PutRecordBatch"], [self.captures.arn]),
            ],
            objects=[Objects(data.artifacts_bucket, RUNS, read=True)],
            memory_mb=settings.inference_memory_mb,
            timeout_seconds=settings.inference_timeout_seconds,
            description="Routes, validates and scores prediction requests",
            snap_start=settings.snap_start,
            reserve=settings.inference_reserve,
        )
        self.live = lambda_.Alias(
            self,
            "Live",
            alias_name="live",
            version=self.inference.function.current_version,
            description="The code that answers; CodeDeploy moves this alias to new code",
            provisioned_concurrent_executions=settings.provisioned_concurrency or None,
        )
        self.api = SignedApi(self, "Api", name="serving", routes=INFERENCE_ROUTES, target=self.live, settings=settings)
        self.alarms = Alarms(self, prefix=settings.prefix, owner=settings.owner, topic_arn=data.alarms.topic_arn)
        CodeRelease(
            self,
            "CodeRelease",
            function=self.inference.function,
            alias=self.live,
            alarms=self._release_alarms(settings),
            settings=settings,
        )
        self.feedback = self._feedback(data, sources)
        self._feedback_alarms()
        publish(self, "ServingUrl", "serving-url", self.api.url, settings)
        CfnOutput(self, "ServingApi", value=self.api.url)

    def _feedback(self, data: DataStack, sources: Sources) -> PlatformFunction:
        settings = sources.settings
        function = PlatformFunction(
            self,
            "feedback",
            sources=sources,
            layers=self._layers,
            environment=FeedbackSettings(
                registry_table=data.registry.table_name,
                feedback_stream=self.outcomes.stream.ref,
                stage=settings.stage,
                max_body_bytes=str(settings.max_body_bytes),
            ),
            permissions=[
                read_items(data.registry.table_arn, GET),
                allow(["firehose:PutRecordBatch"], [self.outcomes.arn]),
            ],
            memory_mb=FEEDBACK_MEMORY_MB,
            timeout_seconds=FEEDBACK_TIMEOUT_SECONDS,
            description="Accepts the outcomes of predictions",
        )
        self.api.answer(FEEDBACK_ROUTES, function.function, "Feedback")
        return function

    def _feedback_alarms(self) -> None:
        """None of them ends a release of inference's code."""
        self.alarms.add(
            "feedback-errors",
            "AWS/Lambda",
            "Errors",
            {"FunctionName": self.feedback.function_name},
            "feedback crashes or times out; read its log.",
            runbook=OUTCOMES,
        )
        stream = {"DeliveryStreamName": self.outcomes.stream.ref}
        self.alarms.add(
            "feedback-late",
            "AWS/Firehose",
            "DeliveryToS3.DataFreshness",
            stream,
            "Reported outcomes do not reach S3; the delivery stream's error log says why.",
            runbook=OUTCOMES,
            statistic="Maximum",
            threshold=15 * MINUTE,
        )
        self.alarms.add(
            "feedback-partitions",
            "AWS/Firehose",
            "PartitionCountExceeded",
            stream,
            "Outcomes for too many hours came at once and are in errors/; report them again more slowly.",
            runbook=OUTCOMES,
            statistic="Maximum",
        )

    def _release_alarms(self, settings: DeploymentSettings) -> Sequence[cloudwatch.CfnAlarm]:
        """All ways in which answers can go wrong: no answer, an error, the fallback's answer, a slow one.

        A failing model is no error to Lambda, since the function answers with a 5xx or lets the fallback answer: its
        own metrics say so. Periods are minutes, so that five of them are enough to know.
        """
        function = self.inference.function_name
        own = {"service": "inference", "stage": settings.stage}
        whose = model_on_dashboard(settings.prefix)
        return (
            self.alarms.add(
                "inference-errors",
                "AWS/Lambda",
                "Errors",
                {"FunctionName": function, "Resource": f"{function}:{self.live.alias_name}"},
                "inference crashes or times out; read its log.",
                runbook=FAILING,
            ),
            self.alarms.add(
                "inference-latency",
                "AWS/Lambda",
                "Duration",
                {"FunctionName": function},
                f"One call of inference in a hundred takes longer than {settings.inference_p99_ms} ms.",
                runbook="operations.md#predictions-are-slow",
                whose=whose,
                statistic="p99",
                threshold=settings.inference_p99_ms,
                periods=3,
            ),
            self.alarms.add(
                "serving-api-5xx",
                "AWS/ApiGateway",
                "5xx",
                {"ApiId": self.api.api.ref},
                "The serving API answers with server errors; read its access log and its function's log.",
                runbook=FAILING,
            ),
            self.alarms.add(
                "inference-server-errors",
                NAMESPACE,
                "ServerErrors",
                own,
                "Predictions fail, or soon will, because of an internal error; read the log of inference.",
                runbook=FAILING,
                whose=whose,
            ),
            self.alarms.add(
                "inference-model-failures",
                NAMESPACE,
                "ModelFailures",
                own,
                "A model raised an error, gave no number or took too long; its fallback answered. Read the log of "
                "inference.",
                runbook="operations.md#models-fail-behind-their-fallback",
                whose=whose,
            ),
        )
