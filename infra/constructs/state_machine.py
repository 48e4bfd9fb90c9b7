"""StateMachine: a standard Step Functions state machine as every one of Tidegate is."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from infra.constructs.arns import named_arn
from infra.constructs.keeping import log_group
from infra.constructs.permissions import EVERY_RESOURCE, acknowledge, allow
from infra.settings import DeploymentSettings


class StateMachine(Construct):
    """Traced; logs every step, but not its data; with a role that may call its functions, what `permissions` say, and
    nothing else."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        definition: dict[str, Any],
        functions: Sequence[str],
        settings: DeploymentSettings,
        permissions: Sequence[iam.PolicyStatement] = (),
    ) -> None:
        """
        Args:
            scope: the stack or construct it belongs to.
            construct_id: e.g. `Machine`.
            name: behind the deployment's prefix, e.g. `release`.
            definition: in Amazon States Language, with tokens in it.
            functions: ARNs of the functions it calls.
            settings: prefix and log retention.
            permissions: beyond calling its functions and writing its logs and traces.
        """
        super().__init__(scope, construct_id)
        stack, self.name = Stack.of(self), f"{settings.prefix}-{name}"
        logs = log_group(self, "Logs", f"/aws/vendedlogs/states/{self.name}", settings)
        deliveries = (
            "logs:CreateLogDelivery",
            "logs:DeleteLogDelivery",
            "logs:DescribeLogGroups",
            "logs:DescribeResourcePolicies",
            "logs:GetLogDelivery",
            "logs:ListLogDeliveries",
            "logs:PutResourcePolicy",
            "logs:UpdateLogDelivery",
        )
        traces = (
            "xray:GetSamplingRules",
            "xray:GetSamplingTargets",
            "xray:PutTelemetryRecords",
            "xray:PutTraceSegments",
        )
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("states.amazonaws.com"),
            description=f"What the state machine {self.name} may do",
            inline_policies={
                "Permissions": iam.PolicyDocument(
                    statements=[
                        allow(["lambda:InvokeFunction"], functions),
                        allow(deliveries, ["*"]),
                        allow(traces, ["*"]),
                        *permissions,
                    ]
                )
            },
        )
        self.role = role
        acknowledge(role, [EVERY_RESOURCE], "X-Ray and CloudWatch Logs deliveries have no resources to name")
        self.machine = stepfunctions.CfnStateMachine(
            self,
            "Machine",
            state_machine_name=self.name,
            state_machine_type="STANDARD",
            role_arn=role.role_arn,
            definition_string=stack.to_json_string(definition),
            # An error's cause may quote values of the data.
            logging_configuration=stepfunctions.CfnStateMachine.LoggingConfigurationProperty(
                level="ALL",
                include_execution_data=False,
                destinations=[
                    stepfunctions.CfnStateMachine.LogDestinationProperty(
                        cloud_watch_logs_log_group=stepfunctions.CfnStateMachine.CloudWatchLogsLogGroupProperty(
                            log_group_arn=logs.attr_arn
                        )
                    )
                ],
            ),
            tracing_configuration=stepfunctions.CfnStateMachine.TracingConfigurationProperty(enabled=True),
        )
        self.arn = self.machine.ref
        self.named_arn = named_arn("states", f"stateMachine:{self.name}")  # for other stacks
