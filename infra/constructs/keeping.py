"""What outlives a stack, and for how long logs are kept."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.settings import DeploymentSettings


def removal_policy(settings: DeploymentSettings) -> RemovalPolicy:
    """What happens to buckets, tables, keys and logs with their stack.

    Retained ones still go away when their very first deployment fails, or its retry would find their names taken.
    """
    return RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if settings.keeps_data else RemovalPolicy.DESTROY


def log_group(scope: Construct, construct_id: str, name: str, settings: DeploymentSettings) -> logs.CfnLogGroup:
    """A log group with the stage's retention."""
    group = logs.CfnLogGroup(scope, construct_id, log_group_name=name, retention_in_days=settings.log_retention_days)
    group.apply_removal_policy(removal_policy(settings))
    return group
