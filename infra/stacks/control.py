"""Control stack: the API that people, pipelines and the `tidegate` command use."""

from aws_cdk import CfnOutput, Stack
from constructs import Construct

from infra.constructs.parameters import publish
from infra.constructs.permissions import Objects, allow, write_items
from infra.constructs.platform_function import PlatformFunction
from infra.constructs.signed_api import SignedApi
from infra.constructs.sources import Sources
from infra.stacks.data import DataStack
from infra.stacks.release import DATASETS, RUNS, ReleaseStack
from tidegate.settings import ControlSettings

# Listed one by one, so that an IAM policy can allow a person `GET /models/*` and nothing else.
ROUTES = (
    "GET /datasets",
    "GET /datasets/{dataset}",
    "PUT /datasets/{dataset}",
    "POST /datasets/{dataset}/uploads",
    "GET /datasets/{dataset}/versions",
    "POST /datasets/{dataset}/versions",
    "GET /datasets/{dataset}/versions/{version}",
    "GET /datasets/{dataset}/exclusions",
    "POST /datasets/{dataset}/exclusions",
    "GET /models",
    "GET /models/{model}",
    "PUT /models/{model}",
    "GET /models/{model}/spec",
    "GET /models/{model}/runs",
    "POST /models/{model}/runs",
    "GET /models/{model}/runs/{run}",
    "GET /models/{model}/versions",
    "GET /models/{model}/versions/{version}",
    "GET /models/{model}/versions/{version}/report",
    "GET /models/{model}/ledger",
)
TIMEOUT_SECONDS = 29  # one less than the API waits, so that a slow call ends in our words


class ControlStack(Stack):
    """Control: reads and writes the registry, starts runs, hands out upload addresses."""

    def __init__(
        self, scope: Construct, construct_id: str, *, data: DataStack, release: ReleaseStack, sources: Sources
    ) -> None:
        settings = sources.settings
        super().__init__(scope, construct_id, description=f"Tidegate {settings.stage}: datasets, models, runs")
        catalog = release.functions["catalog"].function
        self.control = PlatformFunction(
            self,
            "control",
            sources=sources,
            layers=[sources.core_layer(self), sources.third_party_layer(self, "serving")],
            environment=ControlSettings(
                registry_table=data.registry.table_name,
                data_bucket=data.data_bucket.bucket_name,
                artifacts_bucket=data.artifacts_bucket.bucket_name,
                stage=settings.stage,
                release_state_machine=release.machine.ref,
                catalog_function=catalog.function_name,
            ),
            permissions=[
                write_items(data.registry.table_arn),
                allow(["states:StartExecution"], [release.machine.ref]),
                allow(["lambda:InvokeFunction"], [catalog.function_arn]),
            ],
            objects=[
                # An upload address carries the rights of whoever signed it: this function's.
                Objects(data.data_bucket, DATASETS, read=True, write=True),
                Objects(data.artifacts_bucket, RUNS, read=True),
            ],
            memory_mb=settings.control_memory_mb,
            timeout_seconds=TIMEOUT_SECONDS,
            description="The API that people and pipelines use",
        )
        self.api = SignedApi(
            self, "Api", name="control", routes=ROUTES, target=self.control.function, settings=settings
        )
        publish(self, "ControlUrl", "control-url", self.api.url, settings)
        CfnOutput(self, "ControlApi", value=self.api.url)
