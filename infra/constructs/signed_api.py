"""SignedApi: an HTTP API in front of functions, where every route wants a SigV4 signature."""

import json
import re
from collections.abc import Sequence

from aws_cdk import Stack
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.keeping import log_group
from infra.settings import DeploymentSettings

INTEGRATION_TIMEOUT_MS = 30_000  # the longest an HTTP API waits

# One JSON line for each request; no body, no header, no query string.
_ACCESS_LOG = {
    "time": "$context.requestTime",
    "request_id": "$context.requestId",
    "route": "$context.routeKey",
    "path": "$context.path",
    "status": "$context.status",
    "latency_ms": "$context.responseLatency",
    "integration_latency_ms": "$context.integrationLatency",
    "integration_status": "$context.integration.status",
    "integration_error": "$context.integrationErrorMessage",
    "error": "$context.error.message",
    "caller": "$context.identity.userArn",
    "source_ip": "$context.identity.sourceIp",
    "user_agent": "$context.identity.userAgent",
    "bytes": "$context.responseLength",
}


class SignedApi(Construct):
    """Routes, their Lambda integrations (payload 2.0), IAM authorisation, throttling, access logs."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        routes: Sequence[str],
        target: lambda_.IFunction,
        settings: DeploymentSettings,
    ) -> None:
        """
        Args:
            scope: the stack.
            construct_id: e.g. `Api`.
            name: `serving` or `control`; part of the API's and its log group's name.
            routes: route keys, e.g. `GET /models/{model}`.
            target: function or alias that answers; `answer` lets others answer more routes.
            settings: throttling and log retention.
        """
        super().__init__(scope, construct_id)
        self.api = apigateway.CfnApi(
            self,
            "Api",
            name=f"{settings.prefix}-{name}",
            protocol_type="HTTP",
            description=f"Tidegate {name} API ({settings.stage}); requests are signed with SigV4",
        )
        self.answer(routes, target)
        logs = log_group(self, "AccessLogs", f"/aws/vendedlogs/apis/{settings.prefix}-{name}", settings)
        apigateway.CfnStage(
            self,
            "Stage",
            api_id=self.api.ref,
            stage_name="$default",
            auto_deploy=True,
            access_log_settings=apigateway.CfnStage.AccessLogSettingsProperty(
                destination_arn=logs.attr_arn, format=json.dumps(_ACCESS_LOG)
            ),
            default_route_settings=apigateway.CfnStage.RouteSettingsProperty(
                # By route they are over a hundred metrics at 0.30 USD a month each; the access log says the same.
                detailed_metrics_enabled=False,
                throttling_rate_limit=settings.throttle_rate,
                throttling_burst_limit=settings.throttle_burst,
            ),
        )
        self.url = self.api.attr_api_endpoint

    def answer(self, routes: Sequence[str], target: lambda_.IFunction, name: str = "") -> None:
        """Let a function or alias answer these routes; `name` distinguishes it from the others of this API."""
        integration = apigateway.CfnIntegration(
            self,
            f"{name}Integration",
            api_id=self.api.ref,
            integration_type="AWS_PROXY",
            integration_uri=target.function_arn,
            payload_format_version="2.0",
            timeout_in_millis=INTEGRATION_TIMEOUT_MS,
        )
        for route in routes:
            apigateway.CfnRoute(
                self,
                f"Route {route}",
                api_id=self.api.ref,
                route_key=route,
                authorization_type="AWS_IAM",
                target=f"integrations/{integration.ref}",
            )
        lambda_.CfnPermission(
            self,
            f"{name}Invoke",
            action="lambda:InvokeFunction",
            function_name=target.function_arn,
            principal="apigateway.amazonaws.com",
            source_arn=Stack.of(self).format_arn(service="execute-api", resource=self.api.ref, resource_name="*/*"),
        )

    def arn(self, route: str) -> str:
        """What `execute-api:Invoke` acts on for a route, whatever names stand in its path."""
        name = _resource_name(route)
        return Stack.of(self).format_arn(service="execute-api", resource=self.api.ref, resource_name=name)

    def finding(self, route: str) -> str:
        """What cdk-nag calls a route with names in its path."""
        api = Stack.of(self).resolve(self.api.ref)["Ref"]
        where = "arn:<AWS::Partition>:execute-api:<AWS::Region>:<AWS::AccountId>"
        return f"AwsSolutions-IAM5[Resource::{where}:<{api}>/{_resource_name(route)}]"


def _resource_name(route: str) -> str:
    method, path = route.split(" ")
    return f"$default/{method}{re.sub(r'{[a-z]+}', '*', path)}"
