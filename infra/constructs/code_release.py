"""CodeRelease: new code behind an alias gets a tenth of the requests for five minutes, then all, or none.

A fix that the alarms would stop goes out at once, if the setting `code_release` says so.
"""

from collections.abc import Sequence

from aws_cdk import CfnCodeDeployLambdaAliasUpdate, CfnUpdatePolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_codedeploy as codedeploy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.permissions import acknowledge, allow
from infra.settings import DeploymentSettings

CONFIGS = {"canary": "CodeDeployDefault.LambdaCanary10Percent5Minutes", "at-once": "CodeDeployDefault.LambdaAllAtOnce"}


class CodeRelease(Construct):
    """CodeDeploy moves the alias, and moves it back when an alarm goes, when it fails, or when somebody stops it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        function: lambda_.Function,
        alias: lambda_.Alias,
        alarms: Sequence[cloudwatch.CfnAlarm],
        settings: DeploymentSettings,
    ) -> None:
        """
        Args:
            scope: the stack of function and alias.
            construct_id: e.g. `CodeRelease`.
            function: whose versions are released.
            alias: what callers call.
            alarms: at most ten; any of them ends a release.
            settings: names, and how code is released.
        """
        super().__init__(scope, construct_id)
        self.name = f"{settings.prefix}-{alias.alias_name}"
        application = codedeploy.CfnApplication(
            self, "Application", application_name=self.name, compute_platform="Lambda"
        )
        group = codedeploy.CfnDeploymentGroup(
            self,
            "Group",
            application_name=application.ref,
            deployment_group_name=self.name,
            service_role_arn=self._role(function).role_arn,
            deployment_config_name=CONFIGS[settings.code_release],
            deployment_style=codedeploy.CfnDeploymentGroup.DeploymentStyleProperty(
                deployment_type="BLUE_GREEN", deployment_option="WITH_TRAFFIC_CONTROL"
            ),
            alarm_configuration=codedeploy.CfnDeploymentGroup.AlarmConfigurationProperty(
                enabled=settings.code_release == "canary",
                alarms=[codedeploy.CfnDeploymentGroup.AlarmProperty(name=alarm.ref) for alarm in alarms],
            ),
            auto_rollback_configuration=codedeploy.CfnDeploymentGroup.AutoRollbackConfigurationProperty(
                enabled=True,
                events=["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"],
            ),
        )
        resource = alias.node.default_child
        assert isinstance(resource, lambda_.CfnAlias)  # noqa: S101  what the CDK's Alias is made of
        resource.cfn_options.update_policy = CfnUpdatePolicy(
            code_deploy_lambda_alias_update=CfnCodeDeployLambdaAliasUpdate(
                application_name=application.ref, deployment_group_name=group.ref
            )
        )

    def _role(self, function: lambda_.Function) -> iam.Role:
        """What AWS's own AWSCodeDeployRoleForLambdaLimited allows, for this function alone, without hooks and S3."""
        stack = Stack.of(self)
        alarms = stack.format_arn(service="cloudwatch", resource="alarm:*")
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("codedeploy.amazonaws.com"),
            description=f"What the releases {self.name} may do",
            inline_policies={
                "Permissions": iam.PolicyDocument(
                    statements=[
                        allow(
                            ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"],
                            [function.function_arn, f"{function.function_arn}:*"],
                        ),
                        allow(["cloudwatch:DescribeAlarms"], [alarms]),
                    ]
                )
            },
        )
        name = stack.resolve(function.function_arn)["Fn::GetAtt"][0]
        acknowledge(
            role,
            [
                f"AwsSolutions-IAM5[Resource::<{name}.Arn>:*]",
                "AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:cloudwatch:<AWS::Region>:<AWS::AccountId>:alarm:*]",
            ],
            "aliases and versions are this function's; CloudWatch checks DescribeAlarms against all alarms, never one",
        )
        return role
