"""Serving stack: the inference function behind its HTTP API."""

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.capture_stream import CaptureStream
from infra.constructs.parameters import publish
from infra.constructs.permissions import Objects, allow, read_items
from infra.constructs.platform_function import PlatformFunction
from infra.constructs.signed_api import SignedApi
from infra.constructs.sources import Sources
from infra.stacks.data import DataStack
from infra.stacks.release import RUNS
from tidegate.settings import InferenceSettings

ROUTES = (
    "POST /models/{model}/predict",
    "GET /models/{model}",
    "GET /health",
)


class ServingStack(Stack):
    """Inference: reads routes and artifacts, writes neither; what it predicts goes into the capture stream."""

    def __init__(self, scope: Construct, construct_id: str, *, data: DataStack, sources: Sources) -> None:
        settings = sources.settings
        super().__init__(scope, construct_id, description=f"Tidegate {settings.stage}: predictions over HTTPS")
        self.captures = CaptureStream(self, "Captures", bucket=data.captures_bucket, settings=settings)
        self.inference = PlatformFunction(
            self,
            "inference",
            sources=sources,
            layers=[sources.core_layer(self), sources.third_party_layer(self, "serving")],
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
                read_items(data.registry.table_arn),
                allow(["firehose:PutRecordBatch"], [self.captures.arn]),
            ],
            objects=[Objects(data.artifacts_bucket, RUNS, read=True)],
            memory_mb=settings.inference_memory_mb,
            timeout_seconds=settings.inference_timeout_seconds,
            description="Routes, validates and scores prediction requests",
        )
        self.live = lambda_.Alias(
            self,
            "Live",
            alias_name="live",
            version=self.inference.function.current_version,
            description="The code that answers; what is released by weight is this alias",
            provisioned_concurrent_executions=settings.provisioned_concurrency or None,
        )
        self.api = SignedApi(self, "Api", name="serving", routes=ROUTES, target=self.live, settings=settings)
        publish(self, "ServingUrl", "serving-url", self.api.url, settings)
        CfnOutput(self, "ServingApi", value=self.api.url)
