"""Types that are taken as written and change nothing that could be observed locally, and known custom resources."""

from __future__ import annotations

from infra.local.resources.base import Made, New, custom_resource, resource

# Type -> the property that names it. Nothing behind them runs: a deployment group shifts no traffic locally.
_DECLARED = {
    "AWS::CDK::Metadata": "",
    "AWS::Logs::QueryDefinition": "Name",
    "AWS::Logs::MetricFilter": "FilterName",
    "AWS::CodeDeploy::Application": "ApplicationName",
    "AWS::CodeDeploy::DeploymentConfig": "DeploymentConfigName",
    "AWS::CodeDeploy::DeploymentGroup": "DeploymentGroupName",
    "AWS::ApplicationAutoScaling::ScalableTarget": "",
    "AWS::ApplicationAutoScaling::ScalingPolicy": "PolicyName",
    "AWS::XRay::Group": "GroupName",
    "AWS::XRay::SamplingRule": "",
    "AWS::Budgets::Budget": "",
    "AWS::ResourceGroups::Group": "Name",
    "AWS::ServiceCatalogAppRegistry::Application": "Name",
}


def _declare(type_name: str, name_property: str) -> None:
    @resource(type_name, name_property, upserts=True)
    def declared(new: New) -> Made:
        if type_name != "AWS::CDK::Metadata":
            new.world.declare_only(f"{new.stack}/{new.logical_id} ({type_name})")
        return Made(new.name, Arn=f"arn:aws:local:{new.world.region}:{new.world.account}:{new.name}", Id=new.name)


for _type, _name in _DECLARED.items():
    _declare(_type, _name)


@custom_resource("Custom::S3AutoDeleteObjects")
def auto_delete_objects(new: New) -> Made:
    """Empties a bucket when its stack is deleted; a local cloud is thrown away whole."""
    return Made(new.name)


@custom_resource("Custom::LogRetention")
def log_retention(new: New) -> Made:
    """Sets the retention of a log group, creating it first."""
    group = new.properties["LogGroupName"]
    logs = new.client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        logs.create_log_group(logGroupName=group)
    if days := new.properties.get("RetentionInDays"):
        logs.put_retention_policy(logGroupName=group, retentionInDays=int(days))
    return Made(new.name, LogGroupName=group)
