"""A Lambda function as its template describes it, and what its invocation comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FunctionConfig:
    """A function as its template describes it. `layer_dirs` in the template's order, each with python/ inside.

    `clock_skew_s` is how far the clock of its environments is off, in seconds.
    """

    name: str
    arn: str
    handler: str
    code_dir: Path
    layer_dirs: tuple[Path, ...]
    environment: Mapping[str, str]
    timeout_s: float
    memory_mb: int
    role_env: Mapping[str, str]
    reserved_concurrency: int | None = None
    max_event_retries: int = 2
    on_failure_arn: str | None = None
    dead_letter_arn: str | None = None
    log_group: str | None = None
    max_event_age_s: float = 6 * 3600.0
    clock_skew_s: float = 0.0

    @property
    def log_group_name(self) -> str:
        """Where its lines go: the group the template names, else the one Lambda makes."""
        return self.log_group or f"/aws/lambda/{self.name}"


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a caller sees, as Lambda's Invoke API answers.

    `status` is 200 also for an error of the function, which `function_error` then names ("Unhandled") and `payload`
    describes: {"errorType", "errorMessage", ...}. Any other status means that the function did not run: 429 throttled,
    413 payload too large. `log_tail` is the last 4 KB of this invocation's log.
    """

    status: int
    payload: bytes
    function_error: str | None
    log_tail: str
    request_id: str
    duration_ms: float
    billed_ms: int
    cold_start: bool
    max_memory_mb: int

    @property
    def is_throttled(self) -> bool:
        """Whether it was refused for concurrency."""
        return self.status == HTTPStatus.TOO_MANY_REQUESTS

    @property
    def is_ok(self) -> bool:
        """Whether the function ran and returned."""
        return self.status == HTTPStatus.OK and self.function_error is None
