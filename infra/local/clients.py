"""boto3 clients for the local cloud, as root, role or user; nothing of this machine's AWS settings is read."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import boto3
import botocore.session
from botocore.config import Config
from botocore.loaders import Loader

AssumeRole = Callable[[str, str], Mapping[str, str]]
"""(role ARN, session name) -> credentials as environment variables"""

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

    def __init__(self, endpoint_url: str, region: str, root: Mapping[str, str], assume_role: AssumeRole) -> None:
        self._session = LocalSession(endpoint_url, region, root)
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
                self._clients[service, who] = self._session.client(service, config=_PATIENT, **credentials)
            return self._clients[service, who]
