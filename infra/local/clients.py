"""boto3 clients for the local cloud, as root, role or user; nothing of this machine's AWS settings is read.

The cloud's own clients sign as everybody's do and are judged alike, but their requests go to the front door by a call
and not through a socket: half a request's cost, and no thread to wait for beside other load.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

import boto3
import botocore.session
import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.loaders import Loader

from infra.local.calls import HttpAnswer
from infra.local.http_wire import Request

AssumeRole = Callable[[str, str], Mapping[str, str]]
"""(role ARN, session name) -> credentials as environment variables"""

Answer = Callable[[Request], HttpAnswer]
"""What the front door does with a request."""

_NO_FILES: dict[str, Any] = {
    "profile": (None, [], None, None),
    "config_file": (None, [], os.devnull, None),
    "credentials_file": (None, [], os.devnull, None),
}
_PATIENT = Config(
    connect_timeout=10,
    read_timeout=16 * 60,
    retries={"max_attempts": 0},
    max_pool_connections=64,
)


class _Models(Loader):
    """botocore's descriptions of the services, read once by a process: reading them is most of what a client costs."""

    _read: ClassVar[dict[Any, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._cache = self._read


class LocalSession(boto3.Session):
    """A boto3 session whose clients go to the local cloud."""

    def __init__(self, endpoint_url: str, region: str, credentials: Mapping[str, str]) -> None:
        bare = botocore.session.Session(session_vars=_NO_FILES)
        bare.register_component("data_loader", _Models())
        super().__init__(botocore_session=bare, region_name=region, **credentials)
        self._endpoint_url = endpoint_url

    def client(self, *args: Any, **kwargs: Any) -> Any:
        """As boto3's."""
        kwargs.setdefault("endpoint_url", self._endpoint_url)
        return super().client(*args, **kwargs)

    def resource(self, *args: Any, **kwargs: Any) -> Any:
        """As boto3's."""
        kwargs.setdefault("endpoint_url", self._endpoint_url)
        return super().resource(*args, **kwargs)


class Clients:
    """Clients that are made once and then shared: they may be used from any thread."""

    def __init__(
        self, endpoint_url: str, region: str, root: Mapping[str, str], assume_role: AssumeRole, answer: Answer
    ) -> None:
        self._session = LocalSession(endpoint_url, region, root)
        self._answer = answer
        self._assume_role = assume_role
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def root(self, service: str) -> Any:
        """May do everything; for the cloud's own work only."""
        return self._client(service, "", {})

    def role(self, service: str, role_arn: str, session_name: str = "local-cloud") -> Any:
        """May do what the role may."""
        with self._lock:
            known = self._clients.get((service, role_arn))
        if known is not None:
            return known
        given = self._assume_role(role_arn, session_name)
        keys = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
        return self._client(service, role_arn, {name.lower(): given[name] for name in keys})

    def close(self) -> None:
        """Closes their connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def _client(self, service: str, who: str, credentials: Mapping[str, str]) -> Any:
        with self._lock:
            if (service, who) not in self._clients:
                client = self._session.client(service, config=_PATIENT, **credentials)
                client.meta.events.register("before-send", self._sent)
                self._clients[service, who] = client
            return self._clients[service, who]

    def _sent(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """In place of botocore's sending."""
        url = urlsplit(request.url)
        body = request.body or b""
        if not isinstance(body, (str, bytes, bytearray)):
            body = body.read()
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        answer = self._answer(
            Request(
                method=request.method,
                target=f"{url.path or '/'}?{url.query}" if url.query else url.path or "/",
                version="HTTP/1.1",
                headers=tuple(({"host": url.netloc} | headers).items()),
                body=body.encode() if isinstance(body, str) else bytes(body),
            )
        )
        raw = urllib3.HTTPResponse(io.BytesIO(answer.body), answer.headers, answer.status, preload_content=False)
        return AWSResponse(request.url, answer.status, dict(answer.headers), raw)  # type: ignore[arg-type]


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
