"""Lambda: functions, layers, versions, aliases, permissions, event sources, asynchronous invocation settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.local.resources.base import Made, New, extends, resource


@extends("AWS::Lambda::Function")
def function(new: New, made: Any) -> None:
    """Remembers the code's folder and the configuration: the function runs in the Lambda host, not in moto."""
    code = new.properties["Code"]
    made.tracing_config = new.properties.get("TracingConfig", made.tracing_config)  # moto's own leaves it out
    if not str(new.properties.get("Runtime", "")).startswith("python"):
        new.world.declare_only(f"{new.stack}/{new.logical_id} (a {new.properties.get('Runtime')} function)")
        return
    if "ZipFile" in code:
        folder = new.world.scratch / "inline" / made.function_name
        folder.mkdir(parents=True, exist_ok=True)
        source = new.properties["Code"]["ZipFile"]
        (folder / "index.py").write_text(source if isinstance(source, str) else source.decode())
    elif "S3Bucket" in code:
        folder = _asset_folder(new, code)
    else:
        raise new.fail("the local cloud does not run container images; use a zip asset")
    new.world.functions[made.function_name] = new.properties
    new.world.function_code[made.function_name] = folder


@extends("AWS::Lambda::LayerVersion")
def layer(new: New, made: Any) -> None:
    """Remembers the layer's folder."""
    new.world.layers[made.arn] = _asset_folder(new, new.properties["Content"])
    made.physical_resource_id = made.arn


@resource("AWS::Lambda::Version")
def version(new: New) -> Made:
    """Published in moto; the code that runs is always the function's newest."""
    published = new.client("lambda").publish_version(FunctionName=new.properties["FunctionName"])
    return Made(published["FunctionArn"], Version=published["Version"], FunctionArn=published["FunctionArn"])


@resource("AWS::Lambda::Alias")
def alias(new: New) -> Made:
    """Its ARN reaches the function; routing weights are stored, not followed (there is one version of the code)."""
    properties = new.properties
    made = new.client("lambda").create_alias(
        FunctionName=properties["FunctionName"],
        Name=properties["Name"],
        FunctionVersion=properties["FunctionVersion"],
        Description=properties.get("Description", ""),
    )
    return Made(made["AliasArn"], AliasArn=made["AliasArn"])


@resource("AWS::Lambda::Permission")
def permission(new: New) -> Made:
    """A statement of the function's resource policy."""
    properties = new.properties
    name, _, qualifier = function_name(properties["FunctionName"]).partition(":")
    given = {key: properties[key] for key in ("SourceArn", "SourceAccount", "PrincipalOrgID") if key in properties}
    new.client("lambda").add_permission(
        FunctionName=name,
        StatementId=new.name[-100:],
        Action=properties["Action"],
        Principal=properties["Principal"],
        **given,
        **({"Qualifier": qualifier} if qualifier else {}),
    )
    return Made(new.name, Id=new.name)


@resource("AWS::Lambda::EventInvokeConfig", upserts=True)
def event_invoke_config(new: New) -> Made:
    """Retries and destinations of asynchronous invocations, followed by the Lambda host."""
    name = function_name(new.properties["FunctionName"]).partition(":")[0]
    new.world.invoke_configs[name] = new.properties
    destinations = new.properties.get("DestinationConfig", {})
    new.client("lambda").put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=int(new.properties.get("MaximumRetryAttempts", 2)),
        MaximumEventAgeInSeconds=int(new.properties.get("MaximumEventAgeInSeconds", 21600)),
        DestinationConfig=destinations,
    )
    return Made(new.name)


@extends("AWS::Lambda::EventSourceMapping")
def event_source_mapping(new: New, made: Any) -> Made | None:
    """A table's stream is delivered by the local cloud itself, another source by moto."""
    if ":dynamodb:" not in made.event_source_arn:
        return None
    if new.properties.get("TumblingWindowInSeconds"):
        raise new.fail("the local cloud does not support windows of a stream")
    return Made(made.uuid, Id=made.uuid, EventSourceMappingArn=made.arn)


def function_name(name_or_arn: str) -> str:
    """NAME or NAME:QUALIFIER."""
    return name_or_arn.rpartition(":function:")[2]


def _asset_folder(new: New, location: Any) -> Path:
    asset = new.world.assembly.asset(location["S3Bucket"], location["S3Key"])
    if asset is None:
        raise new.fail(f"no asset of the assembly is s3://{location['S3Bucket']}/{location['S3Key']}")
    if not asset.source.is_dir():
        raise new.fail(f"asset {asset.source} is not a folder; the local cloud runs only folders")
    return asset.source


def as_text(value: Any) -> str:
    """JSON text of a property that may be given as text already."""
    return value if isinstance(value, str) else json.dumps(value)
