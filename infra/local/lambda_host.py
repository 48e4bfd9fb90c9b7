"""Runs Lambda functions here as AWS does: a process per concurrent invocation, kept warm, held to its limits.

The code is the synthesized asset, the interface to it is awslambdaric's own, and the caller sees what AWS would show:
time-outs, crashes and memory overruns included. Memory does not buy CPU here, and idle environments are not frozen.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

from infra.local.async_events import Event, EventQueue
from infra.local.environment import (
    INIT_LIMIT_S,
    Environment,
    EnvironmentGoneError,
    Machine,
    Outcome,
    StillRunningError,
    isolated_interpreter,
)
from infra.local.functions import FunctionConfig, Invocation
from infra.local.reaper import Reaper
from infra.local.workers import Crew, LogWriter

__all__ = ["FunctionConfig", "Invocation", "LambdaHost", "UnknownFunctionError"]

MAX_REQUEST_BYTES = 6 * 1024 * 1024
MAX_ASYNC_REQUEST_BYTES = 1024 * 1024
_CLOSE_S = 10.0
_BASE_PYTHON = Path(getattr(sys, "_base_executable", None) or sys.executable)
_OWN_VERSION = ".".join(map(str, sys.version_info[:3]))


class UnknownFunctionError(LookupError):
    """No function of this name was added to the host: the template and the wiring disagree."""


@dataclass(frozen=True, slots=True)
class _Call:
    """One invocation on its way to an environment. `function` is as the caller named it: an ARN may name an alias."""

    function: str
    payload: bytes
    request_id: str
    trace_id: str

    def for_function(self, config: FunctionConfig) -> tuple[str, str, bytes, str]:
        arn = self.function if self.function.startswith("arn:") else config.arn
        return self.request_id, arn, self.payload, self.trace_id

    def impatience(self) -> TimeoutError:
        return TimeoutError(f"{self.function} has not answered yet (request {self.request_id}) and is still running")


def _interpreter(runtime_dir: Path | None) -> tuple[Path, str]:
    """Under which functions run, and its version."""
    named = runtime_dir / "bin" / "python3" if runtime_dir else None
    if named is None or not named.exists() or named.resolve() == _BASE_PYTHON.resolve():
        return _BASE_PYTHON, _OWN_VERSION
    command = [str(named), "-I", "-c", "import platform; print(platform.python_version())"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return named.resolve(), done.stdout.strip()


class _Pool:
    """The warm environments of one function. Guarded by the host's lock."""

    def __init__(self, config: FunctionConfig) -> None:
        self.config = config
        self.idle: list[Environment] = []
        self.in_flight = 0
        self.is_retired = False


class LambdaHost:
    """Starts, reuses and ends environments; safe to call from any thread.

    Args:
        runtime_dir: a folder with awslambdaric and boto3 as pip --target makes it. Functions then see their own code,
            their layers and this, nothing else. They run under its bin/python3 where it has one, else under this
            interpreter. None runs them in this interpreter's environment with all it has.
        on_log: gets (log group, line) of every line, in a thread of its own.
        on_async_failure: gets (function, event, last invocation) of an asynchronous invocation that failed for good.
        concurrency: the account's limit; beyond it every function without a reserve of its own is throttled.
        event_retry_waits_s: before the first and second retry of an asynchronous invocation (AWS: 60 and 120).
        bytecode_dir, ahead_s: see Machine.
    """

    def __init__(
        self,
        *,
        runtime_dir: Path | None = None,
        on_log: Callable[[str, str], None] = lambda _group, _line: None,
        on_async_failure: Callable[[FunctionConfig, bytes, Invocation], None] = lambda *_: None,
        concurrency: int = 100,
        event_retry_waits_s: Sequence[float] = (1.0, 2.0),
        bytecode_dir: Path | None = None,
        ahead_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        state_dir = Path(tempfile.mkdtemp(prefix="tidegate-lambda-"))
        python, self.python_version = _interpreter(runtime_dir)
        self._machine = Machine(
            python=isolated_interpreter(python, state_dir / "python") if runtime_dir else Path(sys.executable),
            python_version=self.python_version,
            runtime_dir=runtime_dir.resolve() if runtime_dir else None,
            state_dir=state_dir,
            reaper=Reaper(_BASE_PYTHON, state_dir),
            bytecode_dir=bytecode_dir,
            ahead_s=ahead_s,
        )
        self._concurrency = concurrency
        self._on_async_failure = on_async_failure
        self._pools: dict[str, _Pool] = {}
        self._busy: set[Environment] = set()
        self._stale: set[Environment] = set()
        self._in_flight = 0
        self._closed = False
        self._changed = threading.Condition()
        self._log = LogWriter(on_log)
        self._crew = Crew("lambda-invocation", concurrency)
        self._events = EventQueue(
            self._attempt,
            give_up=self._give_up,
            retry_waits_s=event_retry_waits_s,
            at_once=min(concurrency, 16),
        )
        atexit.register(self.close)

    def add(self, config: FunctionConfig) -> None:
        """Makes a function known; one of the same name is replaced, and its environments end after their invocation."""
        with self._changed:
            replaced = self._pools.get(config.name)
            self._pools[config.name] = _Pool(config)
            idle: list[Environment] = []
            if replaced is not None:
                idle, replaced.idle, replaced.is_retired = replaced.idle, [], True
        for environment in idle:
            environment.close(gently=True)

    def forget(self, name: str) -> None:
        """Removes a function; what it is doing, it ends."""
        with self._changed:
            removed = self._pools.pop(name)
            idle, removed.idle, removed.is_retired = removed.idle, [], True
        for environment in idle:
            environment.close(gently=True)

    def config(self, name_or_arn: str) -> FunctionConfig:
        """The function of this name or ARN, qualified or not.

        Raises:
            UnknownFunctionError: there is none.
        """
        return self._pool(name_or_arn).config

    def invoke(
        self, name_or_arn: str, payload: bytes, *, timeout_s: float | None = None, trace_id: str | None = None
    ) -> Invocation:
        """Runs the function and waits for it, at most `timeout_s` (the caller's patience, not the function's limit).

        Raises:
            UnknownFunctionError: no such function.
            TimeoutError: the caller's patience ended; the function goes on, as on AWS.
        """
        call = _Call(name_or_arn, payload, str(uuid.uuid4()), trace_id or _new_trace_id())
        return self._invoke(call, None if timeout_s is None else time.monotonic() + timeout_s)

    def invoke_async(self, name_or_arn: str, payload: bytes) -> str:
        """Queues an event and returns its request id; it is retried and then given up as its function says.

        Raises:
            UnknownFunctionError: no such function.
            ValueError: the event is larger than Lambda takes.
        """
        if len(payload) > MAX_ASYNC_REQUEST_BYTES:
            raise ValueError(
                f"{len(payload)} byte payload is too large for the Event invocation type "
                f"(limit {MAX_ASYNC_REQUEST_BYTES} bytes)"
            )
        request_id = str(uuid.uuid4())
        self._events.put(Event(self.config(name_or_arn), name_or_arn, payload, request_id, time.monotonic()))
        return request_id

    def kill(self, name: str) -> int:
        """SIGKILLs every environment of the function, busy or idle; returns how many were alive."""
        pool = self._pool(name)
        with self._changed:
            busy = [environment for environment in self._busy if environment.config.name == pool.config.name]
            self._stale.update(busy)  # one that is done by now would be given back before the signal has ended it
            idle, pool.idle = pool.idle, []
        killed = sum(environment.kill() for environment in [*busy, *idle])
        for environment in idle:
            environment.close()
        return killed

    def recycle(self, name: str) -> None:
        """Forgets the function's environments, so that its next invocation is a cold start. Busy ones end when done."""
        pool = self._pool(name)
        with self._changed:
            idle, pool.idle = pool.idle, []
            self._stale |= {one for one in self._busy if one.config.name == pool.config.name}
        for environment in idle:
            environment.close(gently=True)

    def drain(self, timeout_s: float = 60.0, *, requests: bool = True) -> bool:
        """Waits until no event is queued, no environment is busy and every log line is written; False when too late.
        Without `requests`, environments may be busy with what somebody waits for."""
        deadline = time.monotonic() + timeout_s
        while True:
            if not self._events.drain(max(deadline - time.monotonic(), 0.0)):
                return False
            with self._changed:
                done = partial(self._changed.wait_for, lambda: self._in_flight == 0)
                if requests and not done(max(deadline - time.monotonic(), 0.0)):
                    return False
            if not self._log.flush(max(deadline - time.monotonic(), 0.0)):
                return False
            if self._events.drain(0.0):  # a reader of the log may have queued an event
                return True

    def close(self) -> None:
        """Ends every environment, also those at work, and every thread. Nothing of the host is left."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            busy = list(self._busy)
            idle = [environment for pool in self._pools.values() for environment in pool.idle]
            for pool in self._pools.values():
                pool.idle = []
        self._events.close(0.0)
        for environment in busy:
            environment.kill()
        for environment in idle:
            environment.close(gently=True)
        with self._changed:
            self._changed.wait_for(lambda: self._in_flight == 0, _CLOSE_S)
        self._events.close(_CLOSE_S)
        self._crew.close(_CLOSE_S)
        self._log.close(_CLOSE_S)
        self._machine.reaper.close()
        shutil.rmtree(self._machine.state_dir, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self) -> LambdaHost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- one invocation --------------------------------------------------------------------------------------------

    def _invoke(self, call: _Call, patient_until: float | None = None) -> Invocation:
        if len(call.payload) > MAX_REQUEST_BYTES:
            return _refused_as_too_large(call.request_id, len(call.payload))
        pool = self._pool(call.function)
        environment, throttle = self._take(pool)
        if throttle is not None:
            return _throttled(call.request_id, throttle)
        while environment is not None:
            patience_s = math.inf if patient_until is None else patient_until - time.monotonic()
            try:
                outcome = environment.invoke(*call.for_function(pool.config), patience_s)
            except EnvironmentGoneError:
                environment = self._replace(pool, environment)
                continue
            except StillRunningError:
                self._crew.submit(partial(self._see_through, pool, environment, call))
                raise call.impatience() from None
            except BaseException:  # an interrupt: leave nothing half done
                self._give_back(pool, environment, usable=False)
                raise
            return self._conclude(pool, environment, outcome, call, is_cold=False)
        if patient_until is None:
            return self._invoke_cold(pool, call)
        return self._invoke_cold_elsewhere(pool, call, patient_until)

    def _invoke_cold(self, pool: _Pool, call: _Call) -> Invocation:
        environment = None
        try:
            environment, outcome = self._start(pool, call.request_id)
            if outcome is None:
                try:
                    outcome = environment.invoke(*call.for_function(pool.config))
                except EnvironmentGoneError:
                    outcome = environment.fail_after_exit(call.request_id)
        except BaseException:  # an interrupt, or a machine that cannot start a process: leave nothing half done
            self._give_back(pool, environment, usable=False)
            raise
        return self._conclude(pool, environment, outcome, call, is_cold=True)

    def _invoke_cold_elsewhere(self, pool: _Pool, call: _Call, patient_until: float) -> Invocation:
        """A cold start for a caller who may leave before it is over, so it runs in the crew."""
        answer: Future[Invocation] = Future()

        def run() -> None:
            try:
                answer.set_result(self._invoke_cold(pool, call))
            except Exception as fault:  # noqa: BLE001 - it belongs to the caller
                answer.set_exception(fault)

        self._crew.submit(run)
        try:
            return answer.result(max(patient_until - time.monotonic(), 0.0))
        except TimeoutError:
            raise call.impatience() from None

    def _see_through(self, pool: _Pool, environment: Environment, call: _Call) -> None:
        self._conclude(pool, environment, environment.resume(), call, is_cold=False)

    def _take(self, pool: _Pool) -> tuple[Environment | None, str | None]:
        """A warm environment, or None for a cold start; or the reason why the invocation is throttled."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the lambda host is closed")
            reserved = pool.config.reserved_concurrency
            if reserved is not None and pool.in_flight >= reserved:
                return None, "ReservedFunctionConcurrentInvocationLimitExceeded"
            if reserved is None and self._unreserved_in_flight() >= self._concurrency - self._reserved():
                return None, "ConcurrentInvocationLimitExceeded"
            pool.in_flight += 1
            self._in_flight += 1
            if not pool.idle:
                return None, None
            environment = pool.idle.pop()
            self._busy.add(environment)
            return environment, None

    def _reserved(self) -> int:
        return sum(pool.config.reserved_concurrency or 0 for pool in self._pools.values())

    def _unreserved_in_flight(self) -> int:
        reserved = (pool.in_flight for pool in self._pools.values() if pool.config.reserved_concurrency is not None)
        return self._in_flight - sum(reserved)

    def _start(self, pool: _Pool, request_id: str) -> tuple[Environment, Outcome | None]:
        """A cold start; as on AWS an init that fails or takes ten seconds is tried again within the function's timeout.

        The outcome is None when the environment is ready.
        """
        environment = self._new_environment(pool)
        try:
            if environment.initialize(INIT_LIMIT_S, request_id=request_id) is None:
                return environment, None
        except BaseException:
            self._drop(environment)
            raise
        self._drop(environment)
        environment = self._new_environment(pool)
        started = time.monotonic()
        try:
            fault = environment.initialize(pool.config.timeout_s, request_id=request_id, during_invoke=True)
        except BaseException:
            self._drop(environment)
            raise
        if fault is None:
            return environment, None
        duration_ms = (time.monotonic() - started) * 1000
        return environment, environment.fail_to_start(request_id, fault, duration_ms=duration_ms)

    def _new_environment(self, pool: _Pool) -> Environment:
        environment = Environment(pool.config, self._machine, self._log.put)
        with self._changed:
            self._busy.add(environment)
            if not self._closed:
                return environment
        self._drop(environment)
        raise RuntimeError("the lambda host was closed during a cold start")

    def _replace(self, pool: _Pool, environment: Environment) -> Environment | None:
        """Drops an environment that ended while it was idle; another warm one, or None."""
        self._drop(environment)
        with self._changed:
            if not pool.idle:
                return None
            other = pool.idle.pop()
            self._busy.add(other)
            return other

    def _conclude(
        self, pool: _Pool, environment: Environment, outcome: Outcome, call: _Call, *, is_cold: bool
    ) -> Invocation:
        """Answers the caller now; the environment is free when its extensions have asked for the next event."""
        log_tail, billed_ms = "", max(round(outcome.duration_ms), 1)
        if outcome.usable and environment.has_extensions and not environment.is_waiting:
            self._crew.submit(partial(self._settle, pool, environment))
        else:
            log_tail, billed_ms = environment.finish()
            self._give_back(pool, environment, usable=outcome.usable)
        return Invocation(
            status=HTTPStatus.OK,
            payload=outcome.payload,
            function_error="Unhandled" if outcome.is_error else None,
            log_tail=log_tail,
            request_id=call.request_id,
            duration_ms=outcome.duration_ms,
            billed_ms=billed_ms,
            cold_start=is_cold,
            max_memory_mb=environment.peak_mb,
        )

    def _settle(self, pool: _Pool, environment: Environment) -> None:
        usable = False
        try:
            usable = environment.settle()
            environment.finish()
        finally:
            self._give_back(pool, environment, usable=usable)

    def _give_back(self, pool: _Pool, environment: Environment | None, *, usable: bool) -> None:
        keep = False
        if environment is not None:
            with self._changed:
                keep = usable and not (self._closed or pool.is_retired or environment in self._stale)
                if keep:
                    self._busy.discard(environment)
                    pool.idle.append(environment)
            if not keep:
                self._drop(environment, gently=usable)
        with self._changed:
            pool.in_flight -= 1
            self._in_flight -= 1
            self._changed.notify_all()

    def _drop(self, environment: Environment, *, gently: bool = False) -> None:
        environment.close(gently=gently)
        with self._changed:
            self._busy.discard(environment)
            self._stale.discard(environment)

    def _attempt(self, event: Event) -> Invocation:
        return self._invoke(_Call(event.arn, event.payload, event.request_id, _new_trace_id()))

    def _give_up(self, event: Event, invocation: Invocation) -> None:
        self._on_async_failure(event.function, event.payload, invocation)

    def _pool(self, name_or_arn: str) -> _Pool:
        name = _function_name(name_or_arn)
        with contextlib.suppress(KeyError):
            return self._pools[name]
        known = ", ".join(sorted(self._pools)) or "none"
        raise UnknownFunctionError(f"there is no function {name!r}; there are {known}")


def _function_name(name_or_arn: str) -> str:
    """The bare name in `name`, `name:alias`, `account:function:name` and both forms of ARN."""
    parts = name_or_arn.split(":")
    if "function" in parts[:-1]:
        return parts[parts.index("function") + 1]
    return parts[0]


def _new_trace_id() -> str:
    root = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    return f"Root={root};Parent={secrets.token_hex(8)};Sampled=0"


def _throttled(request_id: str, reason: str) -> Invocation:
    return _refusal(
        request_id, HTTPStatus.TOO_MANY_REQUESTS, {"Reason": reason, "Type": "User", "message": "Rate Exceeded."}
    )


def _refused_as_too_large(request_id: str, size: int) -> Invocation:
    message = (
        f"{size} byte payload is too large for the RequestResponse invocation type (limit {MAX_REQUEST_BYTES} bytes)"
    )
    return _refusal(request_id, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"Type": "User", "message": message})


def _refusal(request_id: str, status: HTTPStatus, body: dict[str, str]) -> Invocation:
    return Invocation(
        status=status,
        payload=json.dumps(body).encode(),
        function_error=None,
        log_tail="",
        request_id=request_id,
        duration_ms=0.0,
        billed_ms=0,
        cold_start=False,
        max_memory_mb=0,
    )
