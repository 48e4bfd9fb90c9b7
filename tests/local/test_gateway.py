"""The HTTP API on loopback answers, refuses and describes requests as API Gateway does."""

from __future__ import annotations

import base64
import datetime as dt
import http.client
import json
import socket
import statistics
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.local.gateway import ApiConfig, Caller, Gateway, Route
from infra.local.http_api import BadFunctionResponseError, Router, format_access_log, read_response
from infra.local.lambda_host import FunctionConfig, LambdaHost

REGION = "eu-central-1"
CALLER = Caller("AKIAPLAIN", "plain secret", None, "arn:aws:iam::123456789012:user/anna", "123456789012", "AIDAANNA")
SESSION = Caller(
    "ASIASESSION",
    "session secret",
    "token+/=",
    "arn:aws:sts::123456789012:assumed-role/scorer/app",
    "123456789012",
    "AROASCORER:app",
)
STRANGER = replace(CALLER, access_key="AKIASTRANGER", arn="arn:aws:iam::123456789012:user/stranger")

HANDLER = """
    import json, time

    def handler(event, context):
        order = json.loads(event["body"]) if event["routeKey"] == "POST /order" else None
        match order:
            case None:
                return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(event)}
            case {"raise": message}:
                raise ValueError(message)
            case {"sleep": seconds}:
                time.sleep(seconds)
                return {"slept": seconds}
            case {"return": result}:
                return result
"""

ROUTES = (
    Route("ANY", "/open/{rest+}", "api", "NONE"),
    Route("POST", "/order", "api", "NONE"),
    Route("POST", "/narrow", "narrow", "NONE"),
    Route("GET", "/missing", "nosuch", "NONE"),
    Route("POST", "/models/{model}/predict", "api", "AWS_IAM"),
    Route("GET", "/models/{model}", "api", "AWS_IAM"),
)
API = ApiConfig(
    api_id="a1b2c3",
    name="serving",
    routes=ROUTES,
    integration_timeout_s=1.0,
    access_log="/tidegate/access",
    access_log_format='{"id":"$context.requestId","route":"$context.routeKey","status":"$context.status",'
    '"who":"$context.identity.userArn","agent":"$context.identity.userAgent","error":"$context.integrationErrorMessage"}',
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LambdaHost]:
    code_dir = tmp_path_factory.mktemp("api")
    (code_dir / "handler.py").write_text(textwrap.dedent(HANDLER))
    with LambdaHost() as made:
        for name, reserved in (("api", None), ("narrow", 0)):
            made.add(
                FunctionConfig(
                    name=name,
                    arn=f"arn:aws:lambda:{REGION}:123456789012:function:{name}",
                    handler="handler.handler",
                    code_dir=Path(code_dir),
                    layer_dirs=(),
                    environment={},
                    timeout_s=5.0,
                    memory_mb=256,
                    role_env={"AWS_REGION": REGION},
                    reserved_concurrency=reserved,
                )
            )
        yield made


@pytest.fixture(scope="module")
def log() -> list[tuple[str, str]]:
    return []


@pytest.fixture(scope="module")
def gateway(host: LambdaHost, log: list[tuple[str, str]]) -> Iterator[Gateway]:
    with open_gateway(host, API, log) as made:
        yield made


def open_gateway(host: LambdaHost, api: ApiConfig, log: list[tuple[str, str]] | None = None) -> Gateway:
    callers = {caller.access_key: caller for caller in (CALLER, SESSION, STRANGER)}
    return Gateway(
        api,
        host,
        callers.get,
        lambda caller, method, path, api: caller is not STRANGER,
        lambda group, line: log.append((group, line)) if log is not None else None,
        region=REGION,
    )


def sign(
    gateway: Gateway,
    method: str,
    target: str,
    body: bytes = b"",
    caller: Caller = CALLER,
    *,
    headers: dict[str, str] | None = None,
    service: str = "execute-api",
    region: str = REGION,
) -> dict[str, str]:
    request = AWSRequest(method, gateway.url + target, data=body, headers=headers or {})
    credentials = Credentials(caller.access_key, caller.secret, caller.session_token)
    SigV4Auth(credentials, service, region).add_auth(request)
    return dict(request.headers)


def send(
    gateway: Gateway, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    try:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def send_bytes(gateway: Gateway, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


def event_of(answer: tuple[int, dict[str, str], bytes]) -> dict[str, Any]:
    assert answer[0] == 200, answer
    event: dict[str, Any] = json.loads(answer[2])
    return event


def order(gateway: Gateway, **what: object) -> tuple[int, dict[str, str], bytes]:
    return send(gateway, "POST", "/order", json.dumps(what).encode(), {"content-type": "application/json"})


# -- signatures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", [CALLER, SESSION])
@pytest.mark.parametrize(
    "target",
    [
        "/models/late/predict",
        "/models/late%20arrivals/predict",
        "/models/a%2Fb/predict",
        "/models/caf%C3%A9~-_.!$&'()*+,;=:@/predict",
        "/models/late/predict?b=2&a=1",
        "/models/late/predict?a=1&a-b=2&a=0&empty=&flag",
        "/models/late/predict?q=caf%C3%A9%20%26%20cr%C3%A8me&plus=1%2B1",
    ],
)
def test_what_botocore_signs_is_accepted(gateway: Gateway, caller: Caller, target: str) -> None:
    body = b'{"instances": []}'
    headers = sign(
        gateway, "POST", target, body, caller, headers={"Content-Type": "application/json", "X-Spaced": "a   b "}
    )
    event = event_of(send(gateway, "POST", target, body, headers))
    assert event["requestContext"]["authorizer"] == {
        "iam": {
            "accessKey": caller.access_key,
            "accountId": "123456789012",
            "callerId": caller.user_id,
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": caller.arn,
            "userId": caller.user_id,
        }
    }


def test_a_presigned_url_is_accepted_until_it_expires(gateway: Gateway) -> None:
    def presign(seconds: int) -> str:
        request = AWSRequest("GET", gateway.url + "/models/late?x=1")
        SigV4QueryAuth(Credentials(CALLER.access_key, CALLER.secret), "execute-api", REGION, seconds).add_auth(request)
        return str(request.url).removeprefix(gateway.url)

    assert send(gateway, "GET", presign(60))[0] == 200
    short_lived = presign(1)
    time.sleep(2.1)
    assert send(gateway, "GET", short_lived)[0] == 403


TARGET, BODY = "/models/late/predict?a=1", b'{"instances": [1]}'


def forged(gateway: Gateway, how: str) -> tuple[str, str, bytes, dict[str, str]]:  # noqa: C901, PLR0912 - one for each way
    method, target, body = "POST", TARGET, BODY
    headers = sign(gateway, method, target, body, SESSION if "token" in how else CALLER, headers={"x-note": "signed"})
    match how:
        case "body":
            body = b'{"instances": [2]}'
        case "query":
            target = "/models/late/predict?a=2"
        case "path":
            target = "/models/other/predict?a=1"
        case "signed header":
            headers["x-note"] = "changed"
        case "no signature":
            headers = {}
        case "no token":
            del headers["X-Amz-Security-Token"]
        case "other token":
            headers["X-Amz-Security-Token"] = "stolen"
        case "wrong secret":
            headers = sign(gateway, method, target, body, replace(CALLER, secret="guess"))
        case "unknown key":
            headers = sign(gateway, method, target, body, replace(CALLER, access_key="AKIANOBODY"))
        case "other service":
            headers = sign(gateway, method, target, body, service="lambda")
        case "other region":
            headers = sign(gateway, method, target, body, region="us-west-2")
        case "declared hash":
            headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
        case "unsigned body":
            headers = sign(gateway, method, target, body, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
        case "nonsense" | "bare algorithm" | "short scope":
            values = {
                "nonsense": "Bearer abc",
                "bare algorithm": "AWS4-HMAC-SHA256",
                "short scope": "AWS4-HMAC-SHA256 Credential=AKIAPLAIN/x, SignedHeaders=host, Signature=00",
            }
            headers["Authorization"] = values[how]
        case "nonsense date":
            headers["X-Amz-Date"] = "yesterday"
        case "host not signed":
            headers["Authorization"] = headers["Authorization"].replace("host;", "")
    return method, target, body, headers


@pytest.mark.parametrize(
    "how",
    [
        "body",
        "query",
        "path",
        "signed header",
        "no signature",
        "no token",
        "other token",
        "wrong secret",
        "unknown key",
        "other service",
        "other region",
        "declared hash",
        "unsigned body",
        "nonsense",
        "bare algorithm",
        "short scope",
        "nonsense date",
        "host not signed",
    ],
)
def test_a_request_that_is_not_signed_as_it_stands_is_forbidden(gateway: Gateway, how: str) -> None:
    status, headers, body = send(gateway, *forged(gateway, how))
    assert (status, body) == (403, b'{"message":"Forbidden"}')
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(("minutes", "status"), [(-6, 403), (-4, 200), (4, 200), (6, 403)])
def test_a_signature_is_good_for_five_minutes_around_its_date(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, minutes: int, status: int
) -> None:
    then = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: then)
    headers = sign(gateway, "GET", "/models/late")
    assert headers["X-Amz-Date"] == then.strftime("%Y%m%dT%H%M%SZ")
    assert send(gateway, "GET", "/models/late", headers=headers)[0] == status


def test_a_caller_without_the_permission_is_forbidden(gateway: Gateway) -> None:
    headers = sign(gateway, "GET", "/models/late", caller=STRANGER)
    assert send(gateway, "GET", "/models/late", headers=headers)[::2] == (403, b'{"message":"Forbidden"}')


def test_an_authorization_the_gateway_cannot_check_is_refused_when_it_is_built(host: LambdaHost) -> None:
    with pytest.raises(
        ValueError, match=r"route GET /x of API a has authorization JWT; the local gateway supports NONE, AWS"
    ):
        Gateway(ApiConfig("i", "a", (Route("GET", "/x", "api", "JWT"),)), host, lambda _: None, lambda *_: True)


# -- the event -----------------------------------------------------------------------------------------------------


def test_the_event_is_payload_format_2(gateway: Gateway) -> None:
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "pytest/1",
        "X-Mixed-Case": "Kept As It Is",
        "Cookie": "a=1; b=2",
        "X-Amzn-Trace-Id": "Root=1-5-6",
    }
    target = "/open/late%20arrivals/x?day=1&day=2&name=J%C3%BCrgen+W"
    status, answered, body = send(gateway, "POST", target, b'{"x": "\xc3\xa9"}', headers)
    event = event_of((status, answered, body))
    context = event["requestContext"]
    assert {key: event[key] for key in event if key not in ("headers", "requestContext")} == {
        "version": "2.0",
        "routeKey": "ANY /open/{rest+}",
        "rawPath": "/open/late arrivals/x",
        "rawQueryString": "day=1&day=2&name=J%C3%BCrgen+W",
        "cookies": ["a=1", "b=2"],
        "queryStringParameters": {"day": "1,2", "name": "Jürgen W"},
        "pathParameters": {"rest": "late arrivals/x"},
        "body": '{"x": "é"}',
        "isBase64Encoded": False,
    }
    assert event["headers"]["x-mixed-case"] == "Kept As It Is"
    assert event["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert event["headers"]["x-amzn-trace-id"] == "Root=1-5-6"
    assert "cookie" not in event["headers"]
    assert context["http"] == {
        "method": "POST",
        "path": "/open/late arrivals/x",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "pytest/1",
    }
    assert (context["apiId"], context["stage"], context["accountId"]) == ("a1b2c3", "$default", "123456789012")
    assert context["routeKey"] == "ANY /open/{rest+}"
    assert context["requestId"] == answered["apigw-requestid"]
    assert abs(context["timeEpoch"] / 1000 - time.time()) < 60
    assert dt.datetime.strptime(context["time"], "%d/%b/%Y:%H:%M:%S %z")
    assert "authorizer" not in context


def test_a_plain_request_has_no_empty_parts_in_its_event(gateway: Gateway) -> None:
    event = event_of(send(gateway, "GET", "/open/x"))
    assert not {"body", "cookies", "queryStringParameters"} & set(event)
    assert event["isBase64Encoded"] is False


@pytest.mark.parametrize(
    ("headers", "body", "is_base64"),
    [
        ({"content-type": "text/csv"}, b"a,b", False),
        ({"content-type": "application/problem+json"}, b"{}", False),
        ({"content-type": "application/octet-stream"}, b"abc", True),
        ({"content-type": "application/x-www-form-urlencoded"}, b"a=b", True),
        ({"content-type": "application/json", "content-encoding": "gzip"}, b"\x1f\x8b", True),
        ({"content-type": "application/json"}, b"\xff{", True),
        ({}, b"abc", True),
    ],
)
def test_only_text_types_come_as_text(gateway: Gateway, headers: dict[str, str], body: bytes, is_base64: bool) -> None:
    event = event_of(send(gateway, "POST", "/open/x", body, headers))
    assert event["isBase64Encoded"] is is_base64
    assert (base64.b64decode(event["body"]) if is_base64 else event["body"].encode()) == body


# -- routes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_line", "key", "parameters"),
    [
        ("GET /pets/dog/1", "GET /pets/dog/1", {}),
        ("GET /pets/dog/2", "GET /pets/dog/{id}", {"id": "2"}),
        ("GET /pets/cat/2", "GET /pets/{proxy+}", {"proxy": "cat/2"}),
        ("POST /pets/cat", "ANY /{proxy+}", {"proxy": "pets/cat"}),
        ("GET /pets/dog/a%2Fb", "GET /pets/dog/{id}", {"id": "a/b"}),
        ("GET /toys", "GET /toys", {}),
        ("PUT /toys", "ANY /toys", {}),
        ("GET /toys/", "ANY /{proxy+}", {"proxy": "toys/"}),
        ("GET /", "$default", {}),
    ],
)
def test_the_most_specific_route_is_taken(request_line: str, key: str, parameters: dict[str, str]) -> None:
    keys = ["$default", "ANY /{proxy+}", "GET /pets/{proxy+}", "GET /pets/dog/{id}", "GET /pets/dog/1", "ANY /toys"]
    keys.append("GET /toys")
    routes = [Route(*(one.split(" ") if " " in one else ("ANY", one)), "f", "NONE") for one in keys]  # type: ignore[call-arg]
    found = Router(routes).find(*request_line.split(" "))
    assert found is not None
    assert (found[0].key, found[1]) == (key, parameters)


@pytest.mark.parametrize("line", ["GET /", "GET /order", "POST /order/", "POST /models//predict", "GET /open"])
def test_a_request_without_a_route_is_not_found(gateway: Gateway, line: str) -> None:
    method, target = line.split(" ")
    assert send(gateway, method, target)[::2] == (404, b'{"message":"Not Found"}')


def test_a_named_stage_is_part_of_the_path(host: LambdaHost) -> None:
    with open_gateway(host, replace(API, stage="dev")) as gateway:
        assert gateway.url.endswith("/dev")
        assert send(gateway, "GET", "/open/x")[0] == 404
        event = event_of(send(gateway, "GET", "/dev/open/x"))
        assert (event["rawPath"], event["pathParameters"]) == ("/dev/open/x", {"rest": "x"})
        target = "/models/late"
        headers = sign(gateway, "GET", target)
        assert send(gateway, "GET", "/dev" + target, headers=headers)[0] == 200


# -- responses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "status", "headers", "body"),
    [
        ({"hello": 1}, 200, {"content-type": "application/json"}, b'{"hello": 1}'),
        ("hello", 200, {"content-type": "application/json"}, b"hello"),
        ([1, 2], 200, {"content-type": "application/json"}, b"[1, 2]"),
        (None, 200, {"content-type": "application/json"}, b"null"),
        ({"statusCode": 201, "body": "made"}, 201, {"content-type": "text/plain;charset=UTF-8"}, b"made"),
        ({"statusCode": "404"}, 404, {}, b""),
        ({"statusCode": 200, "isBase64Encoded": True, "body": "aGk="}, 200, {}, b"hi"),
        ({"statusCode": 200, "headers": {"X-N": 5, "X-B": True}}, 200, {"x-n": "5", "x-b": "true"}, b""),
        ({"statusCode": 200, "cookies": ["a=1", "b=2"]}, 200, {"set-cookie": "a=1, b=2"}, b""),
        ({"statusCode": 200, "headers": {"Content-Length": "99"}, "body": "x"}, 200, {"content-length": "1"}, b"x"),
    ],
)
def test_a_result_becomes_the_response_it_stands_for(
    gateway: Gateway, result: object, status: int, headers: dict[str, str], body: bytes
) -> None:
    answered = order(gateway, **{"return": result})
    assert answered[::2] == (status, body)
    assert headers.items() <= answered[1].items() | {("set-cookie", "a=1, b=2")}
    if "cookies" in str(result):
        assert answered[1]["set-cookie"] == "b=2"


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": 99},
        {"statusCode": "ok"},
        {"statusCode": True},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "body": "?", "isBase64Encoded": True},
        {"statusCode": 200, "headers": {"x": "a\r\nset-cookie: b"}},
        {"statusCode": 200, "headers": {"x y": "a"}},
        {"statusCode": 200, "headers": {"x": ["a"]}},
        {"statusCode": 200, "headers": []} | {"headers": ["x"]},
        {"statusCode": 200, "cookies": "a=1"},
    ],
)
def test_a_result_that_is_no_response_is_an_internal_error(gateway: Gateway, result: dict[str, Any]) -> None:
    with pytest.raises(BadFunctionResponseError):
        read_response(json.dumps(result).encode())
    assert order(gateway, **{"return": result})[::2] == (500, b'{"message":"Internal Server Error"}')


def test_faults_of_the_function_look_as_on_aws(gateway: Gateway) -> None:
    assert order(gateway, **{"raise": "no"})[::2] == (500, b'{"message":"Internal Server Error"}')
    assert send(gateway, "GET", "/missing")[::2] == (500, b'{"message":"Internal Server Error"}')
    assert send(gateway, "POST", "/narrow")[::2] == (429, b'{"message":"Too Many Requests"}')
    started = time.monotonic()
    assert order(gateway, sleep=3)[::2] == (503, b'{"message":"Service Unavailable"}')
    assert time.monotonic() - started < 2.5


def test_the_stage_throttles_beyond_its_burst(host: LambdaHost) -> None:
    with open_gateway(host, replace(API, throttle_rate=0.5, throttle_burst=3)) as gateway:
        statuses = [send(gateway, "GET", "/open/x")[0] for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


def test_a_body_over_ten_megabytes_is_refused_and_one_lambda_cannot_take_too(gateway: Gateway) -> None:
    for size in (10 * 1024 * 1024 + 1, 7_000_000):
        answered = send(gateway, "POST", "/open/x", b"x" * size, {"content-type": "text/plain"})
        assert answered[::2] == (413, b'{"message":"Request Entity Too Large"}')


# -- the wire ------------------------------------------------------------------------------------------------------


def test_a_connection_is_kept_and_fast(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    seconds = []
    for _ in range(50):
        started = time.perf_counter()
        connection.request("POST", "/open/x", b"{}", {"content-type": "application/json"})
        assert connection.getresponse().read()
        seconds.append(time.perf_counter() - started)
    connection.close()
    assert statistics.median(seconds) < 0.025


def test_chunked_pipelined_and_closing_requests_are_answered_in_order(gateway: Gateway) -> None:
    chunked = b"POST /open/1 HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    last = b"GET /open/2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    received = send_bytes(gateway, chunked + last + b"GET /open/3 HTTP/1.1\r\nHost: h\r\n\r\n").decode()
    assert received.count("HTTP/1.1 200 OK") == 2
    assert received.index('"body": "abc"') < received.index('"rawPath": "/open/2"')
    assert "Connection: close" in received
    assert "/open/3" not in received


def test_malformed_http_is_a_bad_request_and_the_connection_ends(gateway: Gateway) -> None:
    for data in (
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\nA\r\n\r\n",
    ):
        received = send_bytes(gateway, data)
        assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert received.endswith(b'{"message":"Bad Request"}')


def test_a_client_that_leaves_in_the_middle_harms_nobody(gateway: Gateway) -> None:
    assert send_bytes(gateway, b"POST /open/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc") == b""
    assert send(gateway, "GET", "/open/x")[0] == 200


def test_a_head_request_gets_the_head_alone(gateway: Gateway) -> None:
    received = send_bytes(gateway, b"HEAD /open/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\n")


def test_many_clients_at_once_are_all_served(gateway: Gateway) -> None:
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda n: send(gateway, "GET", f"/open/{n}")[0], range(40)))
    assert statuses == [200] * 40


def test_closing_ends_open_connections_and_frees_the_port(host: LambdaHost) -> None:
    gateway = open_gateway(host, API)
    gateway.start()
    with socket.create_connection(("127.0.0.1", gateway.port)) as idle:
        time.sleep(0.1)
        started = time.monotonic()
        gateway.close()
        assert time.monotonic() - started < 2
        idle.settimeout(2)
        assert idle.recv(10) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", gateway.port))


def test_more_connections_than_it_may_hold_are_turned_away(host: LambdaHost) -> None:
    gateway = Gateway(API, host, lambda _: None, lambda *_: True, max_connections=1)
    with gateway, socket.create_connection(("127.0.0.1", gateway.port)):
        time.sleep(0.1)
        assert send(gateway, "GET", "/open/x")[::2] == (503, b'{"message":"Service Unavailable"}')


# -- the access log ------------------------------------------------------------------------------------------------


def test_every_request_leaves_a_line_in_the_access_log(gateway: Gateway, log: list[tuple[str, str]]) -> None:
    log.clear()
    headers = sign(gateway, "GET", "/models/late", headers={"User-Agent": 'quoted "agent"'})
    _, answered, _ = send(gateway, "GET", "/models/late", headers=headers)
    order(gateway, **{"raise": "broken"})
    send(gateway, "GET", "/nowhere")
    deadline = time.monotonic() + 5
    while len(log) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert {group for group, _ in log} == {"/tidegate/access"}
    lines = {line["status"]: line for line in (json.loads(text) for _, text in log)}
    served, failed, lost = (lines[status] for status in ("200", "500", "404"))
    assert served == {
        "id": answered["apigw-requestid"],
        "route": "GET /models/{model}",
        "status": "200",
        "who": CALLER.arn,
        "agent": 'quoted "agent"',
        "error": "-",
    }
    assert json.loads(failed["error"])["errorMessage"] == "broken"
    assert (lost["status"], lost["route"]) == ("404", "-")


def test_an_access_log_line_is_filled_in_by_name() -> None:
    line = format_access_log("$context.a.b $context.a. $context.none [$context.x]", {"a.b": 1, "a": 'q"', "x": "y"})
    assert line == '1 q\\". - [y]'
