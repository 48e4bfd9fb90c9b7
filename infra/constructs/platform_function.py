"""PlatformFunction: a Lambda function as every function of Tidegate is."""

from collections.abc import Sequence
from typing import cast

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.arns import named_arn
from infra.constructs.keeping import log_group
from infra.constructs.permissions import EVERY_RESOURCE, RUNTIME_AGE, Objects, acknowledge, allow
from infra.constructs.sources import Sources, architecture, runtime
from tidegate.kernel.settings import Settings


class PlatformFunction(Construct):
    """Code from functions/<name>, the core layer and one third-party layer; settings as typed environment variables;
    traced; its own log group; its own role, which may do what `permissions` say and nothing else."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        sources: Sources,
        layers: Sequence[lambda_.ILayerVersion],
        environment: Settings,
        permissions: Sequence[iam.PolicyStatement],
        objects: Sequence[Objects] = (),
        memory_mb: int,
        timeout_seconds: int,
        description: str,
        failures: sqs.IQueue | None = None,
        snap_start: bool = False,
        reserve: int = 0,
    ) -> None:
        """
        Args:
            scope: the stack.
            name: the folder under functions/; the construct id is its capitalised form.
            sources: where the code lies.
            layers: core, then one third-party layer.
            environment: the function's settings, with tokens in them.
            permissions: beyond writing its own logs and traces.
            objects: which objects in S3 it may read or write.
            memory_mb: memory, and with it processor share (1,769 MB are one vCPU).
            timeout_seconds: at most 900.
            description: one sentence for the console.
            failures: for a function that is invoked asynchronously, where events go that it could not handle.
            snap_start: new environments of its published versions resume a snapshot of one that has started.
            reserve: of the account's concurrency, for it alone; 0: it shares with all others.
        """
        super().__init__(scope, name.title().replace("_", ""))
        settings = sources.settings
        self.name = name
        self.function_name = f"{settings.prefix}-{name}"
        self.named_arn = named_arn("lambda", f"function:{self.function_name}")  # for other stacks
        self.timeout_seconds = timeout_seconds
        self.log_group = log_group(self, "Logs", f"/aws/lambda/{self.function_name}", settings)
        statements = [
            allow(["logs:CreateLogStream", "logs:PutLogEvents"], [self.log_group.attr_arn]),
            allow(["xray:PutTelemetryRecords", "xray:PutTraceSegments"], ["*"]),
            *permissions,
            *(statement for access in objects for statement in access.statements),
        ]
        if failures is not None:
            statements.append(allow(["sqs:SendMessage"], [failures.queue_arn]))
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"What the function {self.function_name} may do",
            inline_policies={"Permissions": iam.PolicyDocument(statements=statements)},
        )
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=self.function_name,
            description=description,
            code=sources.function(name),
            handler="handler.handler",
            runtime=runtime(settings),
            architecture=architecture(settings),
            layers=list(layers),
            memory_size=memory_mb,
            timeout=Duration.seconds(timeout_seconds),
            # The role is complete as it stands; the CDK would add statements of its own.
            role=self.role.without_policy_updates(),
            tracing=lambda_.Tracing.ACTIVE,
            environment=environment.to_env(),
            reserved_concurrent_executions=reserve or None,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if snap_start else None,
        )
        resource = cast("lambda_.CfnFunction", self.function.node.default_child)
        resource.logging_config = lambda_.CfnFunction.LoggingConfigProperty(log_group=self.log_group.ref)
        # Its role is complete in itself and referred to; the CDK's dependency on it says that twice.
        resource.add_deletion_override("DependsOn")
        acknowledge(self.role, [EVERY_RESOURCE], "X-Ray's writes and ListStreams know no resource but '*'")
        acknowledge(
            self.role,
            sorted({finding for access in objects for finding in access.findings}),
            "object keys are made at run time; bucket and prefix are named",
        )
        acknowledge(
            self.function,
            [RUNTIME_AGE],
            f"the locked packages are built and tested for Python {settings.python}, which AWS supports until 2029-06",
        )
        if failures is not None:
            lambda_.CfnEventInvokeConfig(
                self,
                "Asynchronous",
                function_name=self.function.function_name,
                qualifier="$LATEST",
                maximum_event_age_in_seconds=3600,
                maximum_retry_attempts=2,
                destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                    on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=failures.queue_arn)
                ),
            )
