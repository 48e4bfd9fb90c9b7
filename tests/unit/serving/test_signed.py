import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

import botocore.auth
import botocore.credentials
import pytest
from botocore.awsrequest import AWSRequest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.aws import signed as module
from tidegate.aws.signed import RENEW_SECONDS, CallRefusedError, Credentials, Lease, Service, signed
from tidegate.kernel.errors import NotFoundError, UnavailableError

AT = 1_790_000_000.0
BY = Credentials("AKIAEXAMPLE", "a secret", "a token")
Answer = tuple[int, str]


def botocores(url: str, headers: dict[str, str], body: bytes, service: str, by: Credentials) -> str:
    """The authorization header as botocore computes it at the same moment."""
    kind = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
    method = "GET" if service == "s3" else "POST"
    request = AWSRequest(method, url, headers=dict(headers), data=body)
    if service == "s3":
        request.context["payload_signing_enabled"] = True
    given_credentials = botocore.credentials.Credentials(by.access_key, by.secret_key, by.token or None)
    moment = dt.datetime.fromtimestamp(AT, dt.UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda **_: moment.replace(tzinfo=None))
        kind(given_credentials, service, "eu-west-1").add_auth(request)
    return str(request.headers["Authorization"])


@given(
    key=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20),
    body=st.binary(max_size=50),
    token=st.sampled_from(["", "a token"]),
)
def test_requests_are_signed_as_botocore_signs_them(key: str, body: bytes, token: str) -> None:
    by = Credentials(BY.access_key, BY.secret_key, token)
    asked = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.GetItem"}
    for service, url, headers, sent in (
        ("dynamodb", "https://dynamodb.eu-west-1.amazonaws.com/", asked, body),
        ("s3", f"https://bucket.s3.eu-west-1.amazonaws.com/models/{quote(key, safe='/-_.~')}", {}, b""),
    ):
        method = "GET" if service == "s3" else "POST"
        ours = signed(method, url, headers, sent, service=service, region="eu-west-1", by=by, at=AT)
        assert ours["authorization"] == botocores(url, headers, sent, service, by)


@contextmanager
def answering(answers: Callable[[int], Answer | None]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A service that gives its answers in turn; None closes the connection without a word."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            asked.append(
                {
                    "path": self.path,
                    "from": self.client_address,
                    "headers": {name.lower(): value for name, value in self.headers.items()},
                    "body": self.rfile.read(length),
                }
            )
            said = answers(len(asked) - 1)
            self.close_connection = said is None
            if said is not None:
                self.send_response(said[0])
                self.send_header("content-length", str(len(said[1].encode())))
                self.end_headers()
                self.wfile.write(said[1].encode())

        do_GET = do_POST  # noqa: N815  the server's own word

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def at(url: str) -> None:
        values = {
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "A",
            "AWS_SECRET_ACCESS_KEY": "S",
        }
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return at


@contextmanager
def service(name: str = "dynamodb", read: float = 5) -> Iterator[Service]:
    made = Service(name, connect=1, read=read, sleep=lambda _: None)
    try:
        yield made
    finally:
        made.close()


def test_a_connection_is_used_again(environment: Callable[[str], None]) -> None:
    with answering(lambda _: (200, '{"Item": {}}')) as (url, asked):
        environment(url)
        with service() as tables:
            assert [tables.ask("DynamoDB_20120810.GetItem", {"n": n}) for n in range(3)] == [{"Item": {}}] * 3
    assert len({each["from"] for each in asked}) == 1
    assert [json.loads(each["body"]) for each in asked] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_connection_that_was_closed_meanwhile_is_made_anew(environment: Callable[[str], None]) -> None:
    with answering(lambda number: None if number == 1 else (200, "{}")) as (url, asked):
        environment(url)
        with service() as tables:
            tables.ask("t", {})
            assert tables.ask("t", {}) == {}
    assert len(asked) == 3


@pytest.mark.parametrize(
    "passing",
    [
        (500, ""),
        (503, "<Error><Code>SlowDown</Code></Error>"),
        (400, '{"__type": "com.amazonaws#ThrottlingException"}'),
    ],
)
def test_what_passes_is_asked_again_and_then_is_unavailable(
    environment: Callable[[str], None], passing: Answer
) -> None:
    with answering(lambda number: passing if number < 2 else (200, "{}")) as (url, asked):
        environment(url)
        with service() as tables:
            assert tables.ask("t", {}) == {}
        assert len(asked) == 3
    with answering(lambda _: passing) as (url, asked):
        environment(url)
        with service() as tables, pytest.raises(UnavailableError, match="dynamodb is busy"):
            tables.ask("t", {})
        assert len(asked) == 3


def test_a_refusal_is_reported_at_once_by_its_code(environment: Callable[[str], None]) -> None:
    said = '{"__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"}'
    with answering(lambda _: (400, said)) as (url, asked):
        environment(url)
        with service() as tables, pytest.raises(CallRefusedError) as caught:
            tables.ask("t", {})
    assert (caught.value.code, len(asked)) == ("ResourceNotFoundException", 1)


@pytest.mark.parametrize("status", [403, 404])
def test_an_object_that_is_not_there_is_named(environment: Callable[[str], None], status: int) -> None:
    with answering(lambda _: (status, "<Error><Code>NoSuchKey</Code></Error>")) as (url, asked):
        environment(url)
        with service("s3") as objects, pytest.raises(NotFoundError, match="s3://bucket/models/a b"):
            objects.fetch("bucket", "models/a b")
    assert [each["path"] for each in asked] == ["/bucket/models/a%20b"]


def test_a_service_that_says_nothing_is_unavailable_within_its_time(environment: Callable[[str], None]) -> None:
    given_up = threading.Event()

    def silent(_: int) -> None:
        given_up.wait(5)  # an answer would go to nobody, and the server would say so in a later test

    with answering(silent) as (url, _):
        environment(url)
        started = time.monotonic()
        with service(read=0.05) as tables, pytest.raises(UnavailableError, match="did not answer: TimeoutError"):
            tables.ask("t", {})
        given_up.set()
        assert time.monotonic() - started < 1


def test_without_credentials_in_the_environment_botocore_is_asked(
    environment: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    with answering(lambda _: (200, "{}")) as (url, asked):
        environment(url)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        (tmp_path / "credentials").write_text("[default]\naws_access_key_id = FILED\naws_secret_access_key = s\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        module._found_by_botocore.cache_clear()
        assert module.credentials().access_key == "FILED"
        with service() as tables:
            assert tables.ask("t", {}) == {}
    module._found_by_botocore.cache_clear()
    assert len(asked) == 1


def granted(number: int, ends: float = AT + 3_600) -> Answer:
    """What the endpoint of an environment says, as AWS writes it."""
    expiration = dt.datetime.fromtimestamp(ends, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"AccessKeyId": f"key-{number}", "SecretAccessKey": "s", "Token": "t", "Expiration": expiration}
    return 200, json.dumps(said)


class Clock:
    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lease(clock: Clock) -> Lease:
    return Lease(clock=clock, sleep=lambda _: None)


def test_under_snapstart_the_endpoint_of_the_environment_is_asked(
    environment: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = time.time() + 3_600
    with answering(lambda number: granted(number, ends) if number == 0 else (200, "{}")) as (url, asked):
        environment(url)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/2021-04-23/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a secret of the environment")
        monkeypatch.setattr(module, "_LEASE", Lease())
        with service() as tables:
            tables.ask("t", {})
            tables.ask("t", {})
    lent, *calls = asked
    assert (lent["path"], lent["headers"]["authorization"]) == (
        "/2021-04-23/credentials",
        "a secret of the environment",
    )
    assert [each["headers"]["x-amz-security-token"] for each in calls] == ["t", "t"]
    assert all("Credential=key-0/" in each["headers"]["authorization"] for each in calls)


def test_keys_in_the_environment_variables_win_over_its_endpoint(
    environment: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment("http://127.0.0.1:1")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "x")
    assert module.credentials().access_key == "A"


def test_leased_credentials_are_renewed_before_they_end(clock: Clock) -> None:
    with answering(lambda number: granted(number, AT + 3_600 * (1 + number))) as (url, asked):
        leased = lease(clock)
        assert [leased.now(url, "x").access_key for _ in range(3)] == ["key-0"] * 3
        clock.now = AT + 3_600 - RENEW_SECONDS
        assert leased.now(url, "x").access_key == "key-0"
        clock.now += 1
        assert [leased.now(url, "x").access_key for _ in range(3)] == ["key-1"] * 3
    assert len(asked) == 2


def test_credentials_of_a_snapshot_that_have_ended_are_never_used(clock: Clock) -> None:
    with answering(lambda number: granted(number, clock.now + 3_600)) as (url, _):
        leased = lease(clock)
        leased.now(url, "x")
        clock.now += 7 * 86_400
        assert leased.now(url, "x").access_key == "key-1"


def test_while_the_endpoint_says_nothing_the_last_ones_serve_until_their_end(clock: Clock) -> None:
    with answering(lambda number: granted(number) if number == 0 else (500, "")) as (url, asked):
        leased = lease(clock)
        leased.now(url, "x")
        clock.now = AT + 3_599
        assert leased.now(url, "x").access_key == "key-0"
        assert len(asked) == 2
        clock.now = AT + 3_600
        with pytest.raises(UnavailableError, match="provides no credentials"):
            leased.now(url, "x")


@pytest.mark.parametrize("said", [(200, "no JSON"), (200, '{"AccessKeyId": "k"}'), (200, "[]"), (403, "{}"), None])
def test_an_endpoint_that_stumbles_is_asked_again(clock: Clock, said: Answer | None) -> None:
    with answering(lambda number: said if number < 2 else granted(number)) as (url, asked):
        assert lease(clock).now(url, "x").access_key == "key-2"
    assert len(asked) == 3


def test_threads_that_need_credentials_at_once_ask_once(clock: Clock) -> None:
    with answering(granted) as (url, asked):
        leased = lease(clock)
        threads = [threading.Thread(target=leased.now, args=(url, "x")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(asked) == 1
