"""An HTTP request to the cloud, understood: which service, which operation, which parameters.

Uses moto's own router and parsers (generic readers of botocore's service models), so that what is authorised is read
exactly as moto reads it.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from botocore.exceptions import UnknownServiceError
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from werkzeug.exceptions import HTTPException

from infra.local.sigv4 import SignedRequest

# From the name in a signature's scope to botocore's name for the service.
_SERVICES = {
    "monitoring": "cloudwatch",
    "states": "stepfunctions",
    "tagging": "resourcegroupstaggingapi",
    "aoss": "opensearchserverless",
    "email": "ses",
    "servicequotas": "service-quotas",
}
# From botocore's name to the prefix of its IAM actions, where it is not the signing name.
_ACTION_PREFIXES = {"monitoring": "cloudwatch", "tagging": "tag", "email": "ses"}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What goes back over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One operation of one service with its parameters as botocore's model names them."""

    service: str
    action_prefix: str
    operation: str
    params: Mapping[str, Any]
    region: str
    protocol: str
    http: SignedRequest

    def error(self, code: str, message: str, status: int = 400) -> HttpAnswer:
        """An error in the wire format of this service's protocol."""
        return error_answer(self.protocol, self.service, code, message, status)

    def denied(self, message: str) -> HttpAnswer:
        """AWS's refusal, under the name each protocol has for it."""
        if self.protocol in ("query", "rest-xml"):
            return self.error("AccessDenied", message, 403)
        return self.error("AccessDeniedException", message, 403 if self.protocol == "rest-json" else 400)


def environ_of(request: SignedRequest, host: str) -> dict[str, Any]:
    """The WSGI environment of a request."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(request.path, "latin-1"),
        "RAW_URI": request.path + (f"?{request.query}" if request.query else ""),
        "REQUEST_URI": request.path + (f"?{request.query}" if request.query else ""),
        "QUERY_STRING": request.query,
        "SERVER_NAME": host.partition(":")[0],
        "SERVER_PORT": host.partition(":")[2] or "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(request.body)),
    }
    for name, value in request.headers.items():
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        elif name not in ("content-length", "transfer-encoding"):
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ


def read_call(request: SignedRequest, signing_name: str, region: str, host: str) -> ApiCall | None:
    """The call a signed request makes; None when the service's model has no such operation."""
    service = _SERVICES.get(signing_name, signing_name)
    if service == "dynamodb" and request.headers.get("x-amz-target", "").startswith("DynamoDBStreams"):
        service = "dynamodbstreams"
    if service == "apigateway" and request.path.startswith("/v2/"):
        service = "apigatewayv2"
    try:
        model = get_service_model(service)
    except UnknownServiceError:
        return None
    wsgi_request = Request(environ_of(request, host))
    try:
        operation, uri_params = get_service_router(service).match(wsgi_request)
    except (HTTPException, NotImplementedError):
        return None
    protocol = determine_request_protocol(model, wsgi_request.content_type)
    parser = PROTOCOL_PARSERS[protocol](operation, map_type=dict)
    parsed = parser.parse(
        {
            "method": wsgi_request.method,
            "values": wsgi_request.values,
            "headers": wsgi_request.headers,
            "body": wsgi_request.data,
            "url_path": wsgi_request.path,
            "url_params": uri_params,
        }
    )
    prefix = _ACTION_PREFIXES.get(signing_name, "dynamodb" if service == "dynamodbstreams" else signing_name)
    return ApiCall(service, prefix, str(operation.name), {**uri_params, **parsed}, region, protocol, request)


def error_answer(protocol: str, service: str, code: str, message: str, status: int) -> HttpAnswer:
    """An error as the SDKs expect it of a service that speaks `protocol`."""
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id, "Content-Type": "application/x-amz-json-1.1"}
    if protocol in ("query", "ec2", "rest-xml"):
        error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        by_id = f"<RequestId>{request_id}</RequestId>"
        if service == "s3":
            text = f"<Error>{error}{by_id}</Error>"
        else:
            text = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error>{by_id}</ErrorResponse>"
        headers["Content-Type"] = "text/xml"
        return HttpAnswer(status, headers, ('<?xml version="1.0" encoding="UTF-8"?>' + text).encode())
    if protocol == "rest-json":
        headers |= {"x-amzn-ErrorType": code, "Content-Type": "application/json"}
    return HttpAnswer(status, headers, json.dumps({"__type": code, "message": message, "Message": message}).encode())
