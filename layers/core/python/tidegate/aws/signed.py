"""Signed calls to AWS with the standard library alone, for the function whose cold start people wait for.

    tables = Service("dynamodb", connect=1, read=1.5)
    item = tables.ask("DynamoDB_20120810.GetItem", {"TableName": ..., "Key": ...})
    data = Service("s3", connect=1, read=10).fetch(bucket, key)

boto3 loads a model of each service before its first call, which takes longer than loading an ONNX session. What the
inference function asks for is three calls, so it signs them itself (Signature Version 4). Everything else in Tidegate
uses boto3 (`tidegate.aws.clients`), whose rules hold here too: explicit time-outs, three attempts with a growing,
random pause, and calls that bear being sent twice.

docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

from tidegate.kernel.errors import NotFoundError, UnavailableError

ATTEMPTS = 3
PAUSE_SECONDS = 0.05  # before the second attempt at most; twice as long before the next
LEASE_SECONDS = 1.0  # for the endpoint inside the environment to connect, and to answer
RENEW_SECONDS = 300.0  # before leased credentials end
_PASSING = ("Throttl", "Unavailable", "Internal", "SlowDown", "RequestTimeout", "Exceeded", "TooManyRequests")
_MISSING = frozenset({403, 404})  # S3 hides a missing key from those who may not list


class CallRefusedError(Exception):
    """The service refused a call, and would again: `code` is its name for why."""

    def __init__(self, service: str, status: int, code: str) -> None:
        super().__init__(f"{service} refused a call ({status} {code})")
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of one moment: those of a role end after hours."""

    access_key: str
    secret_key: str
    token: str = ""


def credentials() -> Credentials:
    """Those that Lambda puts into the environment variables; with SnapStart, those that its endpoint inside the
    environment hands out; on a host that is no Lambda, those that botocore finds.

    Raises:
        UnavailableError: there are none.
    """
    access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if access and secret:
        return Credentials(access, secret, os.environ.get("AWS_SESSION_TOKEN", ""))
    url, token = (os.environ.get(f"AWS_CONTAINER_{name}") for name in ("CREDENTIALS_FULL_URI", "AUTHORIZATION_TOKEN"))
    if url and token:
        return _LEASE.now(url, token)
    found = _found_by_botocore()
    if found is None:
        raise UnavailableError("there are no AWS credentials", next_step="give the function its role")
    frozen = found.get_frozen_credentials()
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")


class Lease:
    """Credentials from an endpoint inside the environment, which a snapshot of it must not hold: asked for at the first
    call, and again five minutes before they end. While the endpoint does not answer, those serve that have not ended.
    Safe to use from several threads.

    docs.aws.amazon.com/lambda/latest/dg/snapstart-activate.html#snapstart-credentials
    docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._held: Credentials | None = None
        self._ends = 0.0

    def now(self, url: str, token: str) -> Credentials:
        """Credentials that have not ended.

        Raises:
            UnavailableError: the endpoint hands out none.
        """
        with self._lock:
            left = self._ends - self._clock()
            if self._held is None or left < RENEW_SECONDS:
                renewed = self._asked(url, token, attempts=1 if self._held and left > 0 else ATTEMPTS)
                if renewed is not None:
                    self._held, self._ends = renewed
                elif left <= 0:
                    self._held = None
            if self._held is None:
                raise UnavailableError("the environment provides no credentials", next_step="try again")
            return self._held

    def forget(self) -> None:
        """Hold none."""
        with self._lock:
            self._held, self._ends = None, 0.0

    def _asked(self, url: str, token: str, attempts: int) -> tuple[Credentials, float] | None:
        for attempt in range(attempts):
            if attempt:
                self._sleep(PAUSE_SECONDS)
            try:
                found = json.loads(_got(url, {"authorization": token}))
                granted = Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["Token"])
                return granted, datetime.fromisoformat(found["Expiration"]).timestamp()
            except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
                continue
        return None


_LEASE = Lease()


def forget_credentials() -> None:
    """Leased credentials, and the keys that were made of any."""
    _LEASE.forget()
    _key.cache_clear()


def _got(url: str, headers: Mapping[str, str]) -> bytes:
    parts = urlsplit(url)
    connection = _new_connection(parts.scheme, parts.netloc)
    connection.timeout = LEASE_SECONDS
    try:
        connection.request("GET", parts.path, headers=dict(headers))
        answer = connection.getresponse()
        if answer.status != 200:
            raise http.client.HTTPException(f"the endpoint answered {answer.status}")
        return answer.read()
    finally:
        connection.close()


@cache
def _found_by_botocore() -> Any:
    """They renew themselves."""
    import botocore.session

    return botocore.session.get_session().get_credentials()


def signed(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    service: str,
    region: str,
    by: Credentials,
    at: float,
) -> dict[str, str]:
    """The headers of a request with Signature Version 4 among them.

    Args:
        url: its path percent-encoded as it will be sent, and no query.
        headers: signed all of them; without `host`, which is the URL's.
        at: seconds since the epoch.
    """
    parts, now = urlsplit(url), time.gmtime(at)
    stamp, day = time.strftime("%Y%m%dT%H%M%SZ", now), time.strftime("%Y%m%d", now)
    digest = hashlib.sha256(body).hexdigest()
    sent = {name.lower(): value for name, value in headers.items()} | {"host": parts.netloc, "x-amz-date": stamp}
    if by.token:
        sent["x-amz-security-token"] = by.token
    if service == "s3":
        sent["x-amz-content-sha256"] = digest
    names = sorted(sent)
    listed, scope = ";".join(names), f"{day}/{region}/{service}/aws4_request"
    lines = "".join(f"{name}:{sent[name].strip()}\n" for name in names)
    canonical = f"{method}\n{parts.path or '/'}\n\n{lines}\n{listed}\n{digest}"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(_key(by.secret_key, day, region, service), to_sign.encode(), hashlib.sha256).hexdigest()
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={by.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
    )
    return sent


@cache
def _key(secret: str, *scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (*scope, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


class Service:
    """One AWS service of the function's own region; safe to use from several threads.

    Connections are kept open between calls. `AWS_ENDPOINT_URL`, or `AWS_ENDPOINT_URL_<SERVICE>`, names another address.
    """

    def __init__(
        self,
        name: str,
        *,
        connect: float,
        read: float,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Seconds to connect, and to wait for an answer."""
        self._name = name
        self._region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
        given = os.environ.get(f"AWS_ENDPOINT_URL_{name.upper()}") or os.environ.get("AWS_ENDPOINT_URL", "")
        self._given = given.rstrip("/")
        self._connect, self._read = connect, read
        self._attempts = attempts
        self._sleep = sleep
        self._lock = threading.Lock()
        self._idle: dict[str, list[http.client.HTTPConnection]] = {}

    def ask(self, target: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """One call of a service that speaks JSON: DynamoDB, Firehose.

        Raises:
            UnavailableError: no answer, a throttle or a fault of the service, after all attempts.
            CallRefusedError: the service does not do what it is asked.
        """
        version = "1.0" if self._name == "dynamodb" else "1.1"
        headers = {"content-type": f"application/x-amz-json-{version}", "x-amz-target": target}
        url = (self._given or f"https://{self._name}.{self._region}.amazonaws.com") + "/"
        answer: dict[str, Any] = json.loads(self._answered("POST", url, headers, json.dumps(document).encode()))
        return answer

    def fetch(self, bucket: str, key: str) -> bytes:
        """An object of S3.

        Raises:
            NotFoundError: there is none, or none that may be read.
            UnavailableError: no answer, a throttle or a fault of the service, after all attempts.
        """
        path = quote(key, safe="/-_.~")
        url = (
            f"{self._given}/{bucket}/{path}"
            if self._given
            else f"https://{bucket}.s3.{self._region}.amazonaws.com/{path}"
        )
        try:
            return self._answered("GET", url, {}, b"")
        except CallRefusedError as error:
            if error.status in _MISSING:
                raise NotFoundError(f"s3://{bucket}/{key} does not exist or cannot be read") from None
            raise

    def close(self) -> None:
        """Close the connections that nobody uses now."""
        with self._lock:
            for connection in (each for idle in self._idle.values() for each in idle):
                connection.close()
            self._idle.clear()

    def _answered(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> bytes:
        said = ""
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(PAUSE_SECONDS * 2 ** (attempt - 1) * os.urandom(1)[0] / 255)  # spreads attempts
            try:
                status, answer = self._sent(method, url, headers, body)
            except (OSError, http.client.HTTPException) as error:
                said = f"did not answer: {type(error).__name__}"
                continue
            if status < 300:
                return answer
            code = _code(answer)
            if status < 500 and not any(word in code for word in _PASSING):
                raise CallRefusedError(self._name, status, code)
            said = f"is busy: {code or status}"
        raise UnavailableError(f"{self._name} {said}", next_step="try again")

    def _sent(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(url)
        all_headers = signed(
            method, url, headers, body, service=self._name, region=self._region, by=credentials(), at=time.time()
        )
        connection, kept = self._connection(parts.scheme, parts.netloc)
        try:
            try:
                return self._exchanged(connection, method, parts.path, body, all_headers)
            except (ConnectionError, http.client.BadStatusLine):
                if not kept:
                    raise
                connection.close()  # the other side had closed it meanwhile
                return self._exchanged(connection, method, parts.path, body, all_headers)
        except BaseException:
            connection.close()
            raise
        finally:
            with self._lock:
                self._idle.setdefault(parts.netloc, []).append(connection)

    def _exchanged(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        if connection.sock is None:
            connection.timeout = self._connect
            connection.connect()
            connected: Any = connection.sock
            connected.settimeout(self._read)
        connection.request(method, path, body or None, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()

    def _connection(self, scheme: str, host: str) -> tuple[http.client.HTTPConnection, bool]:
        """An idle connection, or a new one; and whether it was used before."""
        with self._lock:
            idle = self._idle.get(host)
            if idle:
                found = idle.pop()
                return found, found.sock is not None
        return _new_connection(scheme, host), False


def _new_connection(scheme: str, host: str) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    return kind(host)


def _code(answer: bytes) -> str:
    """The service's name for a fault: `__type` of JSON, `<Code>` of S3's XML."""
    text = answer.decode(errors="replace")
    if text.startswith("{"):
        try:
            document = json.loads(text)
        except ValueError:
            return ""
        return str(document.get("__type") or document.get("code") or "").rpartition("#")[2]
    return text.partition("<Code>")[2].partition("</Code>")[0]
