"""API Gateway v2: what the gateway of the local cloud is built from."""

from __future__ import annotations

from infra.local.resources.base import Made, New, resource


@resource("AWS::ApiGatewayV2::Api", "Name")
def api(new: New) -> Made:
    """Only HTTP APIs; its endpoint is AWS's name for it, resolved to a loopback port when everything is up."""
    if new.properties.get("ProtocolType", "HTTP") != "HTTP":
        raise new.fail("the local cloud runs only HTTP APIs")
    if "Body" in new.properties:
        raise new.fail("the local cloud does not read an OpenAPI body; declare routes")
    made = new.client("apigatewayv2").create_api(
        Name=new.properties["Name"],
        ProtocolType="HTTP",
        Tags=new.properties.get("Tags", {}),
    )
    api_id = made["ApiId"]
    new.world.apis[api_id] = new.properties
    endpoint = f"https://{api_id}.execute-api.{new.world.region}.amazonaws.com"
    return Made(api_id, ApiEndpoint=endpoint, ApiId=api_id)


@resource("AWS::ApiGatewayV2::Stage", upserts=True)
def stage(new: New) -> Made:
    """Throttling and access logs."""
    new.world.stages[new.stack, new.logical_id] = new.properties
    return Made(new.properties["StageName"])


@resource("AWS::ApiGatewayV2::Integration", upserts=True)
def integration(new: New) -> Made:
    """Only Lambda proxies with payload format 2.0."""
    if new.properties["IntegrationType"] != "AWS_PROXY":
        raise new.fail(
            f"integration {new.properties['IntegrationType']} is not supported by the local cloud; use a Lambda proxy"
        )
    if new.properties.get("PayloadFormatVersion") != "2.0":
        raise new.fail("the local cloud supports only payload format 2.0")
    new.world.integrations[new.name] = new.properties
    return Made(new.name)


@resource("AWS::ApiGatewayV2::Route", upserts=True)
def route(new: New) -> Made:
    """IAM authorisation or none."""
    authorization = new.properties.get("AuthorizationType", "NONE")
    if authorization not in ("AWS_IAM", "NONE"):
        raise new.fail(f"authorisation {authorization} is not supported by the local cloud; use AWS_IAM or NONE")
    new.world.routes[new.name] = new.properties
    return Made(new.name)
