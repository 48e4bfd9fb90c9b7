"""Task tokens of Step Functions: a task that waits for one ends with SendTaskSuccess, SendTaskFailure or in time-out.

moto's own endpoints for this know neither the cloud's clock nor a stopped execution, keep one token for all attempts of
a task, and forget what became of a token. A token names its state machine, so that `permissions` can ask whether a
caller may answer it: AWS documents that the SendTask operations take no resource, but checks the state machine's ARN,
which is what CDK's grant_task_response gives (github.com/aws/aws-cdk/pull/8486).
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from dataclasses import dataclass
from typing import Any

from moto.stepfunctions.parser.asl.eval.callback.callback import (
    CallbackOutcome,
    CallbackOutcomeFailure,
    CallbackOutcomeSuccess,
    CallbackOutcomeTimedOut,
    HeartbeatTimedOut,
)

from infra.local import iam
from infra.local.calls import ApiCall, HttpAnswer
from infra.local.clock import Clock

_NEVER = float("inf")
_MAX_OUTPUT_BYTES = 256 * 1024


def new_token(machine_arn: str) -> str:
    """A token for one attempt of one task of a state machine."""
    return base64.urlsafe_b64encode(f"{machine_arn} {uuid.uuid4()}".encode()).decode()


def machine_of(token: str) -> str | None:
    """The ARN of the state machine a token is for; None when it is no token."""
    try:
        return base64.urlsafe_b64decode(token).decode().partition(" ")[0]
    except (binascii.Error, ValueError):
        return None


@dataclass(slots=True)
class _Task:
    env: Any  # of the interpreter: says whether the execution still runs
    began_at: float
    beat_at: float
    ends_at: float = _NEVER
    heartbeat_s: float = _NEVER
    outcome: CallbackOutcome | None = None
    is_over: bool = False

    def due(self) -> float:
        return min(self.ends_at, self.beat_at + self.heartbeat_s)


class TaskTokens:
    """Every token handed out since the start. Times are the cloud's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: dict[str, _Task] = {}

    def issue(self, machine_arn: str, env: Any) -> str:
        """The token of an attempt that begins now, in the interpreter's environment `env`."""
        token, now = new_token(machine_arn), self._clock.time()
        self._tasks[token] = _Task(env, now, now)
        return token

    def close(self, token: str) -> None:
        """The attempt is over."""
        self._tasks[token].is_over = True

    def wait(
        self, token: str, env: Any, timeout_s: float, heartbeat_s: float | None
    ) -> CallbackOutcome | HeartbeatTimedOut:
        """Waits for the answer, at most until the task or its heartbeat times out or `env` runs no more."""
        task = self._tasks[token]
        task.ends_at = task.began_at + timeout_s
        task.heartbeat_s = heartbeat_s or _NEVER
        while env.is_running() and task.outcome is None and self._clock.time() < task.due():
            beat_at = task.beat_at
            self._clock.wait(
                task.due() - self._clock.time(),
                lambda: env.is_running() and task.outcome is None and task.beat_at == beat_at,  # noqa: B023
            )
        if task.outcome is None:
            task.is_over = True
            beats = task.beat_at + task.heartbeat_s < task.ends_at and env.is_running()
            return HeartbeatTimedOut() if beats else CallbackOutcomeTimedOut(callback_id=token)
        return task.outcome

    # --- the operations -----------------------------------------------------------------------------------------------

    def succeeded(self, call: ApiCall, _principal: iam.Principal) -> HttpAnswer:
        """SendTaskSuccess."""
        token, output = str(call.params["taskToken"]), str(call.params["output"])
        try:
            json.loads(output)
        except ValueError:
            return call.error("InvalidOutput", "Invalid Output: 'The output is not valid JSON.'")
        if len(output.encode()) > _MAX_OUTPUT_BYTES:
            return call.error("InvalidOutput", "Invalid Output: 'The output is over 256 KiB.'")
        return self._settle(call, CallbackOutcomeSuccess(callback_id=token, output=output))

    def failed(self, call: ApiCall, _principal: iam.Principal) -> HttpAnswer:
        """SendTaskFailure."""
        error, cause = call.params.get("error"), call.params.get("cause")
        return self._settle(call, CallbackOutcomeFailure(str(call.params["taskToken"]), error, cause))

    def beat(self, call: ApiCall, _principal: iam.Principal) -> HttpAnswer:
        """SendTaskHeartbeat."""
        return self._settle(call, None)

    def _settle(self, call: ApiCall, outcome: CallbackOutcome | None) -> HttpAnswer:
        task = self._tasks.get(str(call.params["taskToken"]))
        if task is None:
            return call.error("InvalidToken", "Invalid Token: 'Invalid token'")
        now = self._clock.time()
        if task.is_over or task.outcome is not None or now >= task.due() or not task.env.is_running():
            return call.error("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
        if outcome is None:
            task.beat_at = now
        else:
            task.outcome = outcome
        self._clock.wake()
        return HttpAnswer(200, {"Content-Type": "application/x-amz-json-1.0"}, b"{}")
