"""Faults on demand, for tests: a service that throttles its callers."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection
from types import TracebackType

from infra.local import iam
from infra.local.calls import ApiCall, HttpAnswer

_SLOW_DOWN = "Rate exceeded"
_EXCEEDED = (
    "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning "
    "level with the UpdateTable API."
)
# Service -> error code, message and HTTP status of its throttling, where it is not the protocol's usual one.
_ERRORS = {
    "dynamodb": ("ProvisionedThroughputExceededException", _EXCEEDED, 400),
    "dynamodbstreams": ("LimitExceededException", _SLOW_DOWN, 400),
    "firehose": ("ServiceUnavailableException", "Slow down.", 500),
    "lambda": ("TooManyRequestsException", "Rate Exceeded.", 429),
    "s3": ("SlowDown", "Please reduce your request rate.", 503),
    "sqs": ("RequestThrottled", _SLOW_DOWN, 400),
}
_PROTOCOLS = {"query": "Throttling", "ec2": "RequestLimitExceeded"}


class Throttle:
    """Refuses calls until it is stopped; a context manager that stops at its end.

    Attributes:
        refused: how many calls were refused so far.
    """

    def __init__(self, service: str, operations: Collection[str], role: str | None, times: int | None) -> None:
        self.refused = 0
        self._service = service
        self._operations = frozenset(operations)
        self._role = role
        self._times = times
        self._lock = threading.Lock()

    def refuses(self, call: ApiCall, principal: iam.Principal) -> bool:
        """Whether this call is one to be refused; if so it is counted. Calls of the cloud itself never are."""
        if principal.kind == "root" or call.service != self._service or call.operation not in self._operations:
            return False
        if self._role is not None and self._role not in (principal.role_arn or "").rpartition("/")[2]:
            return False
        with self._lock:
            if self._times is not None and self.refused >= self._times:
                return False
            self.refused += 1
            return True

    def stop(self) -> None:
        """Lets every call through from now on."""
        with self._lock:
            self._times = 0

    def __enter__(self) -> Throttle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def throttled(call: ApiCall) -> HttpAnswer:
    """The service's throttling error, one that the SDKs retry."""
    usual = (_PROTOCOLS.get(call.protocol, "ThrottlingException"), _SLOW_DOWN, 400)
    code, message, status = _ERRORS.get(call.service, usual)
    answer = call.error(code, message, status)
    if call.service != "lambda":
        return answer
    body = {**json.loads(answer.body), "Reason": "CallerRateLimitExceeded", "Type": "User"}
    return HttpAnswer(status, answer.headers, json.dumps(body).encode())
