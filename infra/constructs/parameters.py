"""SSM parameters: how the `tidegate` command finds a deployment by its stage."""

from aws_cdk import aws_ssm as ssm
from constructs import Construct

from infra.settings import DeploymentSettings


def publish(scope: Construct, construct_id: str, name: str, value: str, settings: DeploymentSettings) -> None:
    """Write `value` to `/tidegate/<stage>/<name>`."""
    ssm.CfnParameter(
        scope,
        f"{construct_id}Parameter",
        name=f"/tidegate/{settings.stage}/{name}",
        type="String",
        value=value,
        description=f"Tidegate {settings.stage}: {name.replace('-', ' ')}",
    )
