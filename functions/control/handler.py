"""The control API: datasets, models, runs, versions, rollouts and what is served, for people and pipelines.

An HTTP API (payload 2.0) behind IAM. Its routes are those of `tidegate.kernel.routes`; `tidegate.control` has a module
for each resource that answers them.

Every answer is JSON; every refusal is `application/problem+json` with all faults in `errors` and a `next_step`. Each
call may be repeated: the same request sent twice is carried out once, so a lost answer costs nothing.
"""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate import wiring
from tidegate.control.call import Call, resource
from tidegate.control.problems import problem, refusal, with_near_names
from tidegate.kernel.errors import NotFoundError
from tidegate.kernel.routes import CONTROL, Route
from tidegate.kernel.settings import ControlSettings
from tidegate.telemetry import logger

app = APIGatewayHttpResolver()


def _answer(route: Route) -> Callable[..., Response[str]]:
    def answered(**path: str) -> Response[str]:
        at = wiring.of(ControlSettings)
        try:
            status, body = resource(route)(Call.of(route, app.current_event, path), at)
        except NotFoundError as error:
            raise with_near_names(error, path, at) from error
        text = body.decode() if isinstance(body, bytes) else json.dumps(body, allow_nan=False, separators=(",", ":"))
        return Response(status.value, "application/json", text)

    return answered


for _route in CONTROL.values():
    app.route(_route.path.replace("{", "<").replace("}", ">"), method=_route.method)(_answer(_route))


@app.not_found
def _no_such_route(_: Exception) -> Response[str]:
    next_step = "deploy the stack again; it may be older than this command"
    return problem(
        app.lambda_context.aws_request_id, HTTPStatus.NOT_FOUND, "there is no such route", next_step=next_step
    )


def _refused(error: Exception) -> Response[str]:
    refused = refusal(error, app.lambda_context.aws_request_id)
    if refused.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        meter = wiring.of(ControlSettings).meter
        meter.count("ServerErrors")
        meter.flush()
    return refused


app.exception_handler(Exception)(_refused)


@logger("control").inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Parse, route, one step, serialise."""
    return app.resolve(event, context)
