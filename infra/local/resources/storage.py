"""S3, DynamoDB, SSM, Glue, KMS: what moto's own types leave out."""

from __future__ import annotations

from typing import Any

from infra.local.resources.base import Made, New, extends, resource
from infra.local.resources.functions import as_text


@extends("AWS::S3::Bucket", upserts=True)
def bucket(new: New, made: Any) -> None:
    """Versioning, public access block, lifecycle, notifications and ownership, as the template says."""
    s3, properties = new.client("s3"), new.properties
    if versioning := properties.get("VersioningConfiguration"):
        s3.put_bucket_versioning(Bucket=made.name, VersioningConfiguration={"Status": versioning["Status"]})
    if block := properties.get("PublicAccessBlockConfiguration"):
        settings = {key: _true(value) for key, value in block.items()}
        s3.put_public_access_block(Bucket=made.name, PublicAccessBlockConfiguration=settings)
    if ownership := properties.get("OwnershipControls"):
        s3.put_bucket_ownership_controls(Bucket=made.name, OwnershipControls=ownership)
    if lifecycle := properties.get("LifecycleConfiguration"):
        rules = [_lifecycle_rule(rule, index) for index, rule in enumerate(lifecycle["Rules"])]
        s3.put_bucket_lifecycle_configuration(Bucket=made.name, LifecycleConfiguration={"Rules": rules})
    if "EventBridgeConfiguration" in properties.get("NotificationConfiguration", {}):
        raise new.fail("the local cloud sends no S3 events to EventBridge")


@resource("AWS::S3::BucketPolicy", upserts=True)
def bucket_policy(new: New) -> Made:
    """Evaluated on every request, with its conditions."""
    new.client("s3").put_bucket_policy(
        Bucket=new.properties["Bucket"], Policy=as_text(new.properties["PolicyDocument"])
    )
    return Made(new.name)


@extends("AWS::DynamoDB::Table")
def table(new: New, made: Any) -> None:
    """Point-in-time recovery and time to live."""
    dynamodb = new.client("dynamodb")
    recovery = new.properties.get("PointInTimeRecoverySpecification", {})
    if _true(recovery.get("PointInTimeRecoveryEnabled", False)):
        dynamodb.update_continuous_backups(
            TableName=made.name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
    if ttl := new.properties.get("TimeToLiveSpecification"):
        dynamodb.update_time_to_live(
            TableName=made.name,
            TimeToLiveSpecification={"Enabled": _true(ttl["Enabled"]), "AttributeName": ttl["AttributeName"]},
        )


@resource("AWS::SSM::Parameter", "Name")
def parameter(new: New) -> Made:
    """Ref is the name, as on AWS."""
    value = str(new.properties["Value"])
    given = {"Description": new.properties["Description"]} if "Description" in new.properties else {}
    new.client("ssm").put_parameter(Name=new.name, Value=value, Type=new.properties.get("Type", "String"), **given)
    return Made(new.name, Value=value, Type=new.properties.get("Type", "String"))


@resource("AWS::Glue::Database")
def glue_database(new: New) -> Made:
    """A database of the data catalog."""
    database = new.properties["DatabaseInput"]
    new.client("glue").create_database(DatabaseInput=database)
    return Made(str(database["Name"]))


@resource("AWS::Glue::Table")
def glue_table(new: New) -> Made:
    """A table of the data catalog: kept as it is written; nothing queries it locally."""
    table = new.properties["TableInput"]
    new.client("glue").create_table(DatabaseName=new.properties["DatabaseName"], TableInput=table)
    return Made(str(table["Name"]))


@resource("AWS::KMS::Key")
def key(new: New) -> Made:
    """moto's own type takes tags only in the spelling of the API."""
    kms, properties = new.client("kms"), new.properties
    made = kms.create_key(
        Policy=as_text(properties["KeyPolicy"]),
        Description=properties.get("Description", ""),
        Tags=key_tags(properties),
    )["KeyMetadata"]
    if _true(properties.get("EnableKeyRotation", False)):
        kms.enable_key_rotation(KeyId=made["KeyId"])
    return Made(made["KeyId"], Arn=made["Arn"], KeyId=made["KeyId"])


def key_tags(properties: Any) -> list[dict[str, str]]:
    """A key's tags in the spelling of the API."""
    return [{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in properties.get("Tags", [])]


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


def _lifecycle_filter(rule: Any) -> dict[str, Any]:
    prefix, tags = rule.get("Prefix"), rule.get("TagFilters", [])
    if len(tags) + (prefix is not None) > 1:
        return {"And": {**({"Prefix": prefix} if prefix is not None else {}), "Tags": tags}}
    return {"Tag": tags[0]} if tags else {"Prefix": prefix or ""}


def _lifecycle_rule(rule: Any, index: int) -> dict[str, Any]:
    """CloudFormation flattens what the API nests."""
    made: dict[str, Any] = {
        "ID": rule.get("Id", f"rule-{index}"),
        "Status": rule["Status"],
        "Filter": _lifecycle_filter(rule),
    }
    if "ExpirationInDays" in rule:
        made["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if expiration := rule.get("NoncurrentVersionExpiration"):
        made["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(expiration["NoncurrentDays"])}
    if abort := rule.get("AbortIncompleteMultipartUpload"):
        made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": int(abort["DaysAfterInitiation"])}
    if transitions := rule.get("Transitions"):
        made["Transitions"] = [
            {"Days": int(t["TransitionInDays"]), "StorageClass": t["StorageClass"]} for t in transitions
        ]
    if not made.keys() & {"Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload", "Transitions"}:
        made["Expiration"] = {"ExpiredObjectDeleteMarker": True}
    return made
