"""Builds a gateway for every HTTP API the templates declare, and resolves AWS's names of APIs to loopback addresses."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from infra.local import iam
from infra.local.front_door import FrontDoor
from infra.local.gateway import ApiConfig, Caller, Gateway, Route
from infra.local.lambda_host import LambdaHost
from infra.local.metrics import Metrics
from infra.local.resources import Provisioned, ResourceError

_ENDPOINT = re.compile(r"(?:https|wss)://([a-z0-9]+)\.execute-api\.[a-z0-9-]+\.amazonaws\.com(?:/(?=\s|\"|$))?")


class MeteredGateway(Gateway):
    """A gateway that counts its requests in the AWS/ApiGateway metrics."""

    def __init__(self, metrics: Metrics, api: ApiConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(api, *args, **kwargs)
        self._metrics = metrics

    def _write_access_log(self, exchange: Any, answer: Any, address: str) -> None:
        latency_ms = (time.monotonic() - exchange.started) * 1000
        for dimensions in ({"ApiId": self._api.api_id}, {"ApiId": self._api.api_id, "Stage": self._api.stage}):
            self._metrics.put("AWS/ApiGateway", "Count", 1, dimensions, unit="Count")
            self._metrics.put("AWS/ApiGateway", "4xx", float(400 <= answer.status < 500), dimensions, unit="Count")
            self._metrics.put("AWS/ApiGateway", "5xx", float(answer.status >= 500), dimensions, unit="Count")
            self._metrics.put("AWS/ApiGateway", "Latency", latency_ms, dimensions, unit="Milliseconds")
        super()._write_access_log(exchange, answer, address)


def build_gateways(
    world: Provisioned,
    door: FrontDoor,
    host: LambdaHost,
    metrics: Metrics,
    on_log: Callable[[str, str], None],
    *,
    there: Collection[str] = (),
    port: Callable[[str], int] = lambda _name: 0,
) -> dict[str, Gateway]:
    """One gateway for each API but those that are there already, by the API's id; not started yet. Each has the `port`
    of its name while that is free."""

    def credentials(access_key: str) -> Caller | None:
        caller = door.caller(access_key)
        if caller is None or caller.principal.kind == "root":
            return None
        who = caller.principal
        return Caller(access_key, caller.secret, caller.token, who.arn, who.account, who.user_id)

    def authorize(caller: Caller, method: str, path: str, api: ApiConfig) -> bool:
        holder = door.caller(caller.access_key)
        arn = f"arn:aws:execute-api:{world.region}:{world.account}:{api.api_id}/{api.stage}/{method}/{path.lstrip('/')}"
        needed = iam.Permission("execute-api:Invoke", (arn,))
        return holder is not None and door.authorize(holder.principal, needed) is None

    return {
        api_id: MeteredGateway(
            metrics,
            read_api(world, api_id, door),
            host,
            credentials,
            authorize,
            on_log,
            region=world.region,
            account=world.account,
            port=port(str(world.apis[api_id]["Name"])),
        )
        for api_id in world.apis
        if api_id not in there
    }


def resolve_endpoints(text: str, urls: Mapping[str, str]) -> str:
    """Replaces https://APIID.execute-api... by the gateway's address: what DNS does for the name on AWS."""
    return _ENDPOINT.sub(lambda m: urls.get(m[1], m[0]), text)


def read_api(world: Provisioned, api_id: str, door: FrontDoor) -> ApiConfig:
    """What the templates say of an API. Raises ResourceError when a gateway cannot serve it."""
    name = str(world.apis[api_id]["Name"])
    stages = [stage for stage in world.stages.values() if stage["ApiId"] == api_id]
    routes = [route for route in world.routes.values() if route["ApiId"] == api_id]
    if len(stages) != 1:
        raise ResourceError(f"API {name} has {len(stages)} stages; the local cloud serves APIs with exactly one")
    stage = stages[0]
    throttle, log = stage.get("DefaultRouteSettings", {}), stage.get("AccessLogSettings", {})
    integrations = [world.integrations[_integration_id(route)] for route in routes]
    timeouts = {float(integration.get("TimeoutInMillis", 30_000)) / 1000 for integration in integrations}
    return ApiConfig(
        api_id=api_id,
        name=name,
        routes=tuple(_route(world, api_id, route, stage["StageName"], door) for route in routes),
        stage=stage["StageName"],
        throttle_rate=_number(throttle.get("ThrottlingRateLimit")),
        throttle_burst=int(throttle["ThrottlingBurstLimit"]) if "ThrottlingBurstLimit" in throttle else None,
        integration_timeout_s=min(timeouts, default=30.0),
        access_log=log["DestinationArn"].rpartition("log-group:")[2].removesuffix(":*") if log else None,
        access_log_format=_text(log["Format"]) if log else None,
    )


def _route(world: Provisioned, api_id: str, route: Mapping[str, Any], stage: str, door: FrontDoor) -> Route:
    key = str(route["RouteKey"])
    method, _, path = ("ANY", "", key) if key == "$default" else key.partition(" ")
    uri = str(world.integrations[_integration_id(route)]["IntegrationUri"])
    function = uri.rpartition("/functions/")[2].removesuffix("/invocations")
    source = f"arn:aws:execute-api:{world.region}:{world.account}:{api_id}/{stage}/{method}{path}"
    denied = door.authorize_service("apigateway.amazonaws.com", "lambda:InvokeFunction", function, source)
    if denied:
        raise ResourceError(f"route {key} of API {api_id} may not invoke its function: {denied.message}")
    return Route(method=method, path=path, function=function, authorization=route.get("AuthorizationType", "NONE"))


def _integration_id(route: Mapping[str, Any]) -> str:
    return str(route["Target"]).removeprefix("integrations/")


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
