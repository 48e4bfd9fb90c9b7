"""One execution environment of a function: an OS process under the real runtime interface client, and its Runtime API.

Whoever invokes drives the environment in its own thread: writes the event to the socket the runtime waits on, then
follows sockets, output, the process's end, its memory and the deadline until something decides. No thread is handed
anything on the way, which is what keeps an invocation at a few hundred microseconds.
"""

from __future__ import annotations

import contextlib
import enum
import json
import math
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from infra.local.functions import FunctionConfig
from infra.local.process_memory import Sessions, peak_kb
from infra.local.reaper import Reaper
from infra.local.runtime_api import Call, RuntimeApi
from infra.local.skewed_clock import OFFSET, write_offset, write_shim

INIT_LIMIT_S = 10.0
LOG_TAIL_BYTES = 4096
_LOOK_S = 0.025  # between two looks at memory, and at a process that cannot be waited for by file descriptor
_TREE_LOOK_S = 0.25
_TERMINATION_S = 0.3  # what AWS leaves a runtime with internal extensions between SIGTERM and SIGKILL
_LINE_LIMIT = 256 * 1024
_RESERVED = ("_HANDLER", "_X_AMZN_TRACE_ID", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "PYTHONPATH", "TMPDIR")


# What OpenBLAS and OpenMP would count by themselves in Lambda, which shows a function no more processors than these.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_VCPUS_UP_TO_MB = ((3008, 2), (5307, 3), (7076, 4), (8845, 5))


def vcpus(memory_mb: int) -> int:
    """The processors that a function of this memory sees, as people measured them; AWS documents only the six."""
    return next((count for most, count in _VCPUS_UP_TO_MB if memory_mb <= most), 6)


@dataclass(frozen=True, slots=True)
class Machine:
    """What every environment of a host shares: the interpreter, the runtime's packages and a folder to live in.

    `bytecode_dir` None means what AWS does: code and layers are read-only, bytecode that ships with them is used and
    none is written. Given a folder, bytecode is kept there instead (and what ships is not looked at). `ahead_s` says by
    how many seconds the cloud's clock is ahead of real time.
    """

    python: Path
    python_version: str
    runtime_dir: Path | None
    state_dir: Path
    reaper: Reaper
    bytecode_dir: Path | None = None
    ahead_s: Callable[[], float] = lambda: 0.0
    sessions: Sessions = field(default_factory=lambda: Sessions(_TREE_LOOK_S))

    @property
    def python_minor(self) -> str:
        """Such as 3.13."""
        return self.python_version.rpartition(".")[0]


class Verdict(enum.Enum):
    """Why following an environment ended."""

    DONE = "what was waited for happened"
    EXITED = "the process ended"
    LATE = "the deadline passed"
    OUT_OF_MEMORY = "the process tree outgrew its memory"
    EXTENSION_FAILED = "an extension reported that it cannot go on"


class EnvironmentGoneError(Exception):
    """The environment ended while nobody used it; take another one."""


class StillRunningError(Exception):
    """The caller's patience ended before the invocation did; `resume` follows it to its end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended. `usable` says whether the environment can take another one."""

    payload: bytes
    is_error: bool
    usable: bool
    duration_ms: float


class Environment:
    """Created, then `initialize`, then `invoke` and `settle` in turns by one thread at a time, at last `close`.

    Only `kill` may be called by another thread meanwhile.
    """

    def __init__(self, config: FunctionConfig, machine: Machine, log: Callable[[str, Sequence[str]], None]) -> None:
        self.config = config
        self._machine = machine
        self._log = log
        self._lock = threading.Lock()
        self._tail: list[str] | None = None
        self._unwritten: list[str] = []
        self._partial_line = b""
        self._peak_kb = 0
        self._next_look = self._next_tree_look = 0.0
        self._init_ms: float | None = None
        self._billed_init = False
        self._request_id = ""
        self._deadline = 0.0
        self._cold_start = True
        self._status = ""
        self._duration_ms = 0.0
        self._selector = selectors.DefaultSelector()
        self._api = RuntimeApi(self._selector, function_name=config.name, handler=config.handler)
        self._tmp = Path(tempfile.mkdtemp(prefix=f"{config.name}-", dir=machine.state_dir))
        self._ahead_s = self._clock_now()
        self._has_own_clock = self._ahead_s != 0  # else it is spared one
        if self._has_own_clock:
            write_offset(self._clock_file, self._ahead_s)
        self._started = time.monotonic()
        try:
            self._process = self._start_process()
        except BaseException:
            self._api.close()
            self._selector.close()
            shutil.rmtree(self._tmp, ignore_errors=True)
            raise
        machine.reaper.watch(self._process.pid)
        self._watch_process()

    # -- what the host does with it --------------------------------------------------------------------------------

    @property
    def has_extensions(self) -> bool:
        """Whether work may go on after the response."""
        return self._api.has_extensions

    @property
    def is_waiting(self) -> bool:
        """Whether runtime and extensions have asked for the next event."""
        return self._api.is_waiting

    @property
    def peak_mb(self) -> int:
        """The most memory seen so far, in MiB, at most the function's own."""
        return min(math.ceil(self._peak_kb / 1024), self.config.memory_mb)

    def initialize(self, limit_s: float, *, request_id: str, during_invoke: bool = False) -> bytes | None:
        """Waits for the first `next` of the runtime and its extensions; the error payload when that fails.

        `during_invoke` is AWS's second attempt, which runs inside the invocation and its timeout.
        """
        self._emit(f"INIT_START Runtime Version: python:{self._machine.python_version}\tRuntime Version ARN: local")
        verdict = self._follow(lambda: self._api.is_waiting or self._api.init_error is not None, limit_s)
        elapsed_ms = (time.monotonic() - self._started) * 1000
        if verdict is Verdict.DONE and self._api.init_error is None:
            self._init_ms, self._billed_init = elapsed_ms, not during_invoke
            return None
        if self._api.init_error is not None:
            self._follow(lambda: False, 0.5)  # the runtime ends by itself after it has said why
        payload = self._init_failure(verdict, request_id, limit_s)
        self._end()
        if not during_invoke:
            status = "timeout" if verdict is Verdict.LATE else "error"
            kind = "" if verdict is Verdict.LATE else f"\tError Type: {json.loads(payload).get('errorType')}"
            self._emit(f"INIT_REPORT Init Duration: {elapsed_ms:.2f} ms\tPhase: init\tStatus: {status}{kind}")
        return payload

    def invoke(
        self, request_id: str, function_arn: str, payload: bytes, trace_id: str, patience_s: float = math.inf
    ) -> Outcome:
        """Runs one invocation to its response, error, timeout or death.

        The function's clock stands still relative to real time until the invocation ends.

        Raises:
            EnvironmentGoneError: the process had ended before the invocation could be delivered, or it has no clock
                that can be set to the cloud's.
            StillRunningError: it takes longer than `patience_s`.
        """
        self._set_clock()
        self._select(0)
        if not self._api.is_waiting and self._follow(lambda: self._api.is_waiting, 1.0) is not Verdict.DONE:
            raise EnvironmentGoneError(self.config.name)
        if self._has_exited():
            raise EnvironmentGoneError(self.config.name)
        self._begin(request_id)
        timeout_s = self.config.timeout_s
        started = time.monotonic()
        self._deadline = started + timeout_s
        self._next_look, self._next_tree_look = started + _LOOK_S, started + _TREE_LOOK_S
        # On AWS the deadline is given by the clock of the machine the function runs on.
        deadline_ms = int((time.time() + self._ahead_s + timeout_s) * 1000)
        self._api.deliver(Call(request_id, function_arn, payload, deadline_ms, trace_id))
        return self.resume(patience_s)

    def resume(self, patience_s: float = math.inf) -> Outcome:
        """Follows the invocation that `invoke` began. Raises as `invoke` does."""
        remaining_s = self._deadline - time.monotonic()
        verdict = self._follow(lambda: self._api.answer is not None, min(remaining_s, patience_s))
        if verdict is Verdict.LATE and patience_s < remaining_s:
            raise StillRunningError
        request_id = self._request_id
        self._duration_ms = (time.monotonic() - self._deadline + self.config.timeout_s) * 1000
        answer = self._api.answer
        if answer is None or verdict is not Verdict.DONE:
            return self._abort(verdict, request_id)
        self._read_output()
        self._peak_kb = max(self._peak_kb, peak_kb(self._process.pid))
        if self._peak_kb > self.config.memory_mb * 1024:
            return self._abort(Verdict.OUT_OF_MEMORY, request_id)
        return Outcome(answer.payload, is_error=answer.is_error, usable=True, duration_ms=self._duration_ms)

    def fail_to_start(self, request_id: str, payload: bytes, *, duration_ms: float) -> Outcome:
        """Reports an invocation that never reached the handler because the environment could not be initialised."""
        self._begin(request_id)
        self._duration_ms = duration_ms
        kind = json.loads(payload)["errorType"]
        self._status = "timeout" if kind == "Sandbox.Timedout" else f"error\tError Type: {kind}"
        return Outcome(payload, is_error=True, usable=False, duration_ms=duration_ms)

    def fail_after_exit(self, request_id: str) -> Outcome:
        """Reports an invocation whose environment ended between its init and its first event."""
        self._begin(request_id)
        return self._abort(Verdict.EXITED, request_id)

    def settle(self) -> bool:
        """Waits, within the invocation's timeout, until runtime and extensions are done; False when they never were."""
        verdict = self._follow(lambda: self._api.is_waiting, max(self._deadline - time.monotonic(), 0.0))
        if verdict is Verdict.DONE:
            return True
        self._abort(verdict, self._request_id)
        return False

    def finish(self) -> tuple[str, int]:
        """Writes END and REPORT; returns the invocation's last 4 KB of log and its billed milliseconds."""
        self._read_output()
        billed = self._duration_ms + (self._init_ms or 0.0 if self._cold_start and self._billed_init else 0.0)
        billed_ms = max(math.ceil(billed), 1)
        report = [
            f"REPORT RequestId: {self._request_id}",
            f"Duration: {self._duration_ms:.2f} ms",
            f"Billed Duration: {billed_ms} ms",
            f"Memory Size: {self.config.memory_mb} MB",
            f"Max Memory Used: {self.peak_mb} MB",
        ]
        if self._cold_start and self._init_ms is not None and self._billed_init:
            report.append(f"Init Duration: {self._init_ms:.2f} ms")
        if self._status:
            report.append(f"Status: {self._status}")
        self._emit(f"END RequestId: {self._request_id}")
        self._emit("\t".join(report))
        tail = "\n".join(self._tail or ()) + "\n"
        self._tail = None
        self._cold_start = False
        self._write_log()
        return tail.encode()[-LOG_TAIL_BYTES:].decode(errors="ignore"), billed_ms

    def kill(self) -> bool:
        """SIGKILL to the whole process group; False when the process had ended already. Any thread may call it."""
        return self._signal(signal.SIGKILL)

    def close(self, *, gently: bool = False) -> None:
        """Ends the process and gives everything back; `gently` is with SIGTERM first when there are extensions."""
        if gently and self._api.has_extensions and self._signal(signal.SIGTERM):
            self._follow(lambda: False, _TERMINATION_S)
        self._end()
        self._machine.reaper.release(self._process.pid)
        if self._pidfd is not None:
            os.close(self._pidfd)
        if self._has_output:
            self._end_output()
        self._write_log()
        self._api.close()
        self._selector.close()
        shutil.rmtree(self._tmp, ignore_errors=True)

    # -- the process -----------------------------------------------------------------------------------------------

    def _start_process(self) -> subprocess.Popen[bytes]:
        self._output, write_end = os.pipe()
        self._has_output = True
        try:
            process = subprocess.Popen(  # noqa: S603 - the function's own handler is what is to be run
                [str(self._machine.python), "-m", "awslambdaric", self.config.handler],
                cwd=self.config.code_dir,
                env=self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._output)
            raise
        finally:
            os.close(write_end)
        os.set_blocking(self._output, False)
        return process

    def _variables(self) -> dict[str, str]:
        config, machine = self.config, self._machine
        now = datetime.now(UTC)
        region = config.role_env.get("AWS_REGION", "us-east-1")
        variables = {key: value for key, value in config.environment.items() if key not in _RESERVED}
        variables = dict.fromkeys(_THREADS, str(vcpus(config.memory_mb))) | variables
        variables |= {
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            **config.role_env,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{machine.python_minor}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": config.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": config.log_group_name,
            "AWS_LAMBDA_LOG_STREAM_NAME": f"{now:%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}",
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
            "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
            "LAMBDA_TASK_ROOT": str(config.code_dir),
            "LANG": "en_US.UTF-8",
            "PATH": variables.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
            "PYTHONPATH": os.pathsep.join(map(str, self._import_path())),
            "TMPDIR": str(self._tmp),
            "TZ": variables.get("TZ", ":UTC"),
            "_HANDLER": config.handler,
        }
        if self._has_own_clock:
            variables[OFFSET] = str(self._clock_file)
        if machine.runtime_dir is not None:
            variables["LAMBDA_RUNTIME_DIR"] = str(machine.runtime_dir)
        if machine.bytecode_dir is None:
            variables["PYTHONDONTWRITEBYTECODE"] = "1"
        else:
            variables["PYTHONPYCACHEPREFIX"] = str(machine.bytecode_dir)
        return variables

    def _import_path(self) -> list[Path]:
        """The shim of the clock if there is one, the function's own code, the layers, the runtime's packages.

        On AWS the layers are unpacked over each other into /opt, so that a later one wins: here it comes first.
        """
        versioned = f"lib/python{self._machine.python_minor}/site-packages"
        layers = [
            folder
            for layer in reversed(self.config.layer_dirs)
            for folder in (layer / "python" / versioned, layer / "python")
            if folder.is_dir()
        ]
        runtime = [self._machine.runtime_dir] if self._machine.runtime_dir is not None else []
        shim = [write_shim(self._machine.state_dir / "clock")] if self._has_own_clock else []
        return [*shim, self.config.code_dir, *layers, *runtime]

    @property
    def _clock_file(self) -> Path:
        return self._tmp / ".clock"

    def _clock_now(self) -> float:
        """How far the function's clock has to be ahead of real time, in seconds."""
        return self._machine.ahead_s() + self.config.clock_skew_s

    def _set_clock(self) -> None:
        """Between two invocations; one that has only just started keeps what it started with."""
        ahead_s = self._clock_now()
        if ahead_s == self._ahead_s:
            return
        if self._has_own_clock:
            write_offset(self._clock_file, ahead_s)
            self._ahead_s = ahead_s
        elif not self._cold_start:
            raise EnvironmentGoneError(self.config.name)

    def _watch_process(self) -> None:
        self._selector.register(self._output, selectors.EVENT_READ, lambda _events: self._read_output(once=True))
        self._pidfd: int | None = None
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(self._process.pid)
        if self._pidfd is not None:
            self._selector.register(self._pidfd, selectors.EVENT_READ, lambda _events: None)

    def _has_exited(self) -> bool:
        with self._lock:
            return self._process.poll() is not None

    def _signal(self, number: signal.Signals) -> bool:
        with self._lock:
            if self._process.poll() is not None:
                return False
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            return True

    # -- following it ----------------------------------------------------------------------------------------------

    def _select(self, timeout_s: float) -> bool:
        ready = self._selector.select(timeout_s)
        for key, events in ready:
            key.data(events)
        return bool(ready)

    def _follow(self, is_done: Callable[[], bool], limit_s: float) -> Verdict:
        deadline = time.monotonic() + limit_s
        while True:
            if is_done():
                return Verdict.DONE
            if self._has_exited():
                self._end()  # what it said before it went counts: an answer, an init error
                return Verdict.DONE if is_done() else Verdict.EXITED
            if self._api.extension_error is not None:
                return Verdict.EXTENSION_FAILED
            now = time.monotonic()
            if now >= self._next_look and self._exceeds_memory(now):
                return Verdict.OUT_OF_MEMORY
            if now >= deadline:
                return Verdict.LATE
            if not self._select(min(deadline - now, _LOOK_S)):
                self._write_log()

    def _exceeds_memory(self, now: float) -> bool:
        self._next_look = now + _LOOK_S
        self._peak_kb = max(self._peak_kb, peak_kb(self._process.pid))
        if now >= self._next_tree_look:
            self._next_tree_look = now + _TREE_LOOK_S
            self._peak_kb = max(self._peak_kb, self._machine.sessions.kb(self._process.pid))
        return self._peak_kb > self.config.memory_mb * 1024

    def _abort(self, verdict: Verdict, request_id: str) -> Outcome:
        payload = self._failure(verdict, request_id, self.config.timeout_s)
        self._end()
        kind = json.loads(payload)["errorType"]
        if verdict is Verdict.LATE:
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self._emit(f"{now} {request_id} Task timed out after {self.config.timeout_s:.2f} seconds")
            self._duration_ms, self._status = self.config.timeout_s * 1000, "timeout"
        else:
            out_of_memory = verdict is Verdict.OUT_OF_MEMORY
            self._status = f"error\tError Type: {'Runtime.OutOfMemory' if out_of_memory else kind}"
            self._emit(json.loads(payload)["errorMessage"])
        return Outcome(payload, is_error=True, usable=False, duration_ms=self._duration_ms)

    def _init_failure(self, verdict: Verdict, request_id: str, limit_s: float) -> bytes:
        if self._api.init_error is None:
            return self._failure(verdict, request_id, limit_s)
        try:
            said = json.loads(self._api.init_error)
            return json.dumps({**said, "requestId": said.get("requestId") or request_id}).encode()
        except (ValueError, TypeError, AttributeError):
            return self._failure(Verdict.EXITED, request_id, limit_s)

    def _failure(self, verdict: Verdict, request_id: str, limit_s: float) -> bytes:
        """The payload with which AWS informs a caller that an environment did not answer."""
        match verdict:
            case Verdict.LATE:
                kind, reason = "Sandbox.Timedout", f"Task timed out after {limit_s:.2f} seconds"
            case Verdict.OUT_OF_MEMORY:
                kind, reason = "Runtime.ExitError", "Runtime exited with error: signal: killed"
            case Verdict.EXTENSION_FAILED:
                kind, reason = "Extension.Crash", f"extension failed: {self._api.extension_error}"
            case Verdict.EXITED | Verdict.DONE:
                kind, reason = "Runtime.ExitError", _describe_exit(self._process.wait())
        return json.dumps({"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {reason}"}).encode()

    def _end(self) -> None:
        """Makes sure that the whole process group is gone, then takes in what it left in its sockets and output."""
        with self._lock:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._pidfd is not None:
            self._unregister(self._pidfd)
        for _ in range(100):
            if not self._select(0):
                break
        self._read_output()

    def _unregister(self, descriptor: int) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(descriptor)

    # -- its output ------------------------------------------------------------------------------------------------

    def _begin(self, request_id: str) -> None:
        self._read_output()
        self._tail = []
        self._request_id = request_id
        self._status = ""
        self._emit(f"START RequestId: {request_id} Version: $LATEST")

    def _read_output(self, *, once: bool = False) -> None:
        """Reads what the process has written so far, at most a few megabytes of it, and passes on whole lines."""
        for _ in range(1 if once else 64):
            if not self._has_output:
                return
            try:
                data = os.read(self._output, 64 * 1024)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._end_output()
                return
            *lines, self._partial_line = (self._partial_line + data).split(b"\n")
            for line in lines:
                self._emit_output(line)
            if len(self._partial_line) > _LINE_LIMIT:
                self._emit_output(self._partial_line)
                self._partial_line = b""

    def _end_output(self) -> None:
        self._has_output = False
        self._unregister(self._output)
        os.close(self._output)
        if self._partial_line:
            self._emit_output(self._partial_line)
            self._partial_line = b""

    def _emit_output(self, line: bytes) -> None:
        # The runtime joins the lines of one error with carriage returns, so that they stay one log event.
        self._emit(line.decode(errors="replace").rstrip("\r").replace("\r", "\n"))

    def _emit(self, line: str) -> None:
        if self._tail is not None:
            self._tail.append(line)
        self._unwritten.append(line)

    def _write_log(self) -> None:
        if self._unwritten:
            lines, self._unwritten = self._unwritten, []
            self._log(self.config.log_group_name, lines)


def isolated_interpreter(python: Path, folder: Path) -> Path:
    """Makes an interpreter in `folder` that finds the standard library and nothing installed beside it.

    It is a virtual environment with no packages: unlike -S it still runs `site`, unlike -I it still heeds PYTHONPATH.
    """
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text(f"home = {python.parent}\ninclude-system-site-packages = false\n")
    interpreter = folder / "bin" / "python3"
    interpreter.symlink_to(python)
    return interpreter


def _describe_exit(status: int) -> str:
    """Words the end of a process as Lambda does."""
    if status == 0:
        return "Runtime exited without providing a reason"
    if status > 0:
        return f"Runtime exited with error: exit status {status}"
    name = (signal.strsignal(-status) or f"signal {-status}").lower()
    return f"Runtime exited with error: signal: {name}"
