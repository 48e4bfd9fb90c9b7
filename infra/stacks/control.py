"""Control stack: the API that people, pipelines and the `tidegate` command use."""

from collections.abc import Mapping, Sequence

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.constructs.parameters import publish
from infra.constructs.permissions import QUERY, Objects, acknowledge, allow, append_to_ledger, read_items, write_items
from infra.constructs.platform_function import PlatformFunction
from infra.constructs.signed_api import SignedApi
from infra.constructs.sources import Sources
from infra.settings import DeploymentSettings
from infra.stacks.batch import BatchStack
from infra.stacks.data import DataStack
from infra.stacks.release import ReleaseStack
from infra.stacks.serving import ServingStack
from tidegate.kernel import routes
from tidegate.kernel.partitions import Partition
from tidegate.kernel.prefixes import CAPTURES, DATASETS, FEEDBACK, RUNS, VERDICTS
from tidegate.kernel.roles import Role
from tidegate.kernel.routes import Route
from tidegate.kernel.settings import ControlSettings

# Listed one by one, so that each role's policy can name exactly those of its job.
ROUTES = tuple(route.key for route in routes.CONTROL.values())
_APPEND_ONLY = (Partition.BATCHES, Partition.LEDGER)
TIMEOUT_SECONDS = 29  # one less than the API waits, so that a slow call ends in our words


class ControlStack(Stack):
    """Control: reads and writes the registry, starts runs, hands out upload addresses; and who may call what."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        data: DataStack,
        release: ReleaseStack,
        serving: ServingStack,
        batch: BatchStack,
        sources: Sources,
    ) -> None:
        settings = sources.settings
        super().__init__(scope, construct_id, description=f"Tidegate {settings.stage}: datasets, models, runs")
        catalog = release.functions["catalog"]
        self.control = PlatformFunction(
            self,
            "control",
            sources=sources,
            layers=[sources.core_layer(self), sources.third_party_layer(self, "serving")],
            environment=ControlSettings(
                registry_table=data.registry.table_name,
                ledger_table=data.ledger.table_name,
                data_bucket=data.data_bucket.bucket_name,
                artifacts_bucket=data.artifacts_bucket.bucket_name,
                captures_bucket=data.captures_bucket.bucket_name,
                stage=settings.stage,
                release_state_machine=release.machine.named_arn,
                catalog_function=catalog.function_name,
                batch_state_machine=batch.machine.named_arn,
                batch_places=batch.places,
            ),
            permissions=[
                *write_items(data.registry.table_arn, *(each for each in Partition if each not in _APPEND_ONLY)),
                append_to_ledger(data.ledger.table_arn),
                read_items(data.ledger.table_arn, QUERY),
                allow(["states:SendTaskSuccess", "states:StartExecution"], [release.machine.named_arn]),
                allow(["lambda:InvokeFunction"], [catalog.named_arn]),
                *batch.asking,
            ],
            objects=[
                # An upload address carries the rights of whoever signed it: this function's.
                Objects(data.data_bucket, DATASETS, read=True, write=True),
                Objects(data.artifacts_bucket, RUNS, read=True),
                Objects(data.captures_bucket, CAPTURES, read=True),
                Objects(data.captures_bucket, FEEDBACK, read=True),
                Objects(data.captures_bucket, VERDICTS, read=True),
            ],
            memory_mb=settings.control_memory_mb,
            timeout_seconds=TIMEOUT_SECONDS,
            description="The API that people and pipelines use",
        )
        acknowledge(
            self.control.role, batch.asking_findings, "a batch's own documents, in all places where batches may write"
        )
        self.api = SignedApi(
            self, "Api", name="control", routes=ROUTES, target=self.control.function, settings=settings
        )
        publish(self, "ControlUrl", "control-url", self.api.url, settings)
        CfnOutput(self, "ControlApi", value=self.api.url)
        for role in Role:
            self._policy(role, ((self.api, routes.CONTROL), (serving.api, routes.SERVING)), settings)

    def _policy(
        self,
        role: Role,
        apis: Sequence[tuple[SignedApi, Mapping[str, Route]]],
        settings: DeploymentSettings,
    ) -> None:
        """What a role may call, route by route, and the two parameters that say where; to attach to people's roles.

        Its name is fixed, so that permission sets can refer to it. It has no description: another one would replace the
        policy, which fails while people's roles have it.
        """
        called = [(api, route.key) for api, table in apis for route in table.values() if role in route.roles]
        parameters = [
            self.format_arn(service="ssm", resource="parameter", resource_name=f"tidegate/{settings.stage}/{name}")
            for name in ("control-url", "serving-url")
        ]
        policy = iam.ManagedPolicy(
            self,
            f"{role.capitalize()}Policy",
            # IAM is global, and a stage may stand in two regions of an account.
            managed_policy_name=f"{settings.prefix}-{role}-{self.region}",
            document=iam.PolicyDocument(
                statements=[
                    allow(["execute-api:Invoke"], [api.arn(route) for api, route in called]),
                    allow(["ssm:GetParameter"], parameters),
                ]
            ),
        )
        acknowledge(
            policy,
            sorted({api.finding(route) for api, route in called if "{" in route}),
            "the names of datasets, models, runs and versions are people's to give; method and route are named",
        )
        publish(self, f"{role.capitalize()}Policy", f"{role}-policy", policy.managed_policy_arn, settings)
        CfnOutput(self, f"{role.capitalize()}PolicyArn", value=policy.managed_policy_arn)
