"""Functions on this machine behave as they do on AWS, also when they hang, crash or grow too large."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from infra.local import environment, lambda_host
from infra.local.lambda_host import FunctionConfig, Invocation, LambdaHost, UnknownFunctionError
from tests.builders.waiting import eventually, is_running

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:"
SITE_PACKAGES = Path(sysconfig.get_path("platlib"))

HANDLER = """
    import ctypes, json, os, signal, subprocess, sys, time

    STARTED = time.time()

    def handler(event, context):
        match event:
            case {"sleep": seconds}:
                time.sleep(seconds)
            case {"print": text}:
                print(text)
            case {"raise": message}:
                raise LookupError(message)
            case {"exit": status}:
                print("leaving")
                os._exit(status)
            case {"signal": number}:
                os.kill(os.getpid(), number)
                time.sleep(5)
            case {"segfault": _}:
                ctypes.string_at(0)
            case {"allocate_mb": size}:
                block = b"x" * (size * 1024 * 1024)
                time.sleep(5)
            case {"child_mb": size}:
                code = f"b = b'x' * ({size} << 20); import time; time.sleep(5)"
                subprocess.run([sys.executable, "-S", "-c", code])
            case {"child_sleeps": seconds}:
                subprocess.Popen(["sleep", str(seconds)])
            case {"large": size}:
                return "x" * size
            case {"file": path, "sleep_then_write": seconds}:
                time.sleep(seconds)
                open(path, "w").write("done")
            case {"environ": _}:
                return dict(os.environ)
            case {"import": names}:
                found = {}
                for name in names:
                    try:
                        found[name] = __import__(name).__file__
                    except ImportError:
                        found[name] = None
                return found
        return {
            "event": event, "pid": os.getpid(), "started": STARTED, "cwd": os.getcwd(),
            "request_id": context.aws_request_id, "arn": context.invoked_function_arn,
            "remaining_ms": context.get_remaining_time_in_millis(), "trace": os.environ["_X_AMZN_TRACE_ID"],
        }
"""


class Lambdas:
    """A host whose log is kept, with functions written on the spot."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.lines: list[tuple[str, str]] = []
        self.given_up: list[tuple[str, bytes, Invocation]] = []
        self.folder = folder
        self.host = LambdaHost(
            on_log=lambda group, line: self.lines.append((group, line)),
            on_async_failure=lambda config, event, last: self.given_up.append((config.name, event, last)),
            event_retry_waits_s=(0.02, 0.04),
            **options,
        )

    def add(self, name: str, code: str = HANDLER, **settings: Any) -> str:
        code_dir: Path = settings.pop("code_dir", self.folder / name)
        code_dir.mkdir()
        (code_dir / "handler.py").write_text(textwrap.dedent(code))
        given: dict[str, Any] = {
            "name": name,
            "arn": ARN + name,
            "handler": "handler.handler",
            "code_dir": code_dir,
            "layer_dirs": (),
            "environment": {},
            "timeout_s": 10.0,
            "memory_mb": 256,
            "role_env": {"AWS_REGION": "eu-central-1"},
        }
        self.host.add(FunctionConfig(**given | settings))
        return name

    def call(self, name: str, event: object = None, **options: Any) -> Invocation:
        return self.host.invoke(name, json.dumps(event).encode(), **options)

    def log_of(self, name: str) -> list[str]:
        self.host.drain()
        return [line for group, line in self.lines if group == f"/aws/lambda/{name}"]


@pytest.fixture
def lambdas(tmp_path: Path) -> Iterator[Lambdas]:
    made = Lambdas(tmp_path)
    yield made
    made.host.close()


def error_of(invocation: Invocation) -> tuple[str, str]:
    assert invocation.status == 200
    assert invocation.function_error == "Unhandled"
    payload = json.loads(invocation.payload)
    message = payload["errorMessage"].replace(invocation.request_id, "<id>")
    return payload["errorType"], message


def result_of(invocation: Invocation) -> Any:
    assert invocation.function_error is None, invocation.payload
    return json.loads(invocation.payload)


# -- the ordinary course -------------------------------------------------------------------------------------------


def test_a_warm_environment_is_used_again_and_a_recycled_one_is_not(lambdas: Lambdas) -> None:
    name = lambdas.add("echo")
    first, second = lambdas.call(name, {"n": 1}), lambdas.call(name, {"n": 2})
    assert result_of(first)["event"] == {"n": 1}
    assert (first.cold_start, second.cold_start) == (True, False)
    assert result_of(first)["pid"] == result_of(second)["pid"]
    lambdas.host.recycle(name)
    third = lambdas.call(name)
    assert third.cold_start
    assert result_of(third)["pid"] != result_of(first)["pid"]
    assert not is_running(result_of(first)["pid"])


def test_the_context_shows_request_function_deadline_and_trace(lambdas: Lambdas) -> None:
    name = lambdas.add("echo", timeout_s=7.0)
    invocation = lambdas.call(ARN + name + ":live", trace_id="Root=1-2-3;Sampled=0")
    seen = result_of(invocation)
    assert seen["request_id"] == invocation.request_id
    assert seen["arn"] == ARN + name + ":live"
    assert 5_000 < seen["remaining_ms"] <= 7_000
    assert seen["trace"] == "Root=1-2-3;Sampled=0"
    assert seen["cwd"] == str(lambdas.folder / name)


@pytest.mark.parametrize(
    "reference", ["echo", "echo:live", ARN + "echo", ARN + "echo:live", "123456789012:function:echo"]
)
def test_a_function_is_found_by_name_and_by_every_form_of_arn(lambdas: Lambdas, reference: str) -> None:
    lambdas.add("echo")
    assert lambdas.host.config(reference).name == "echo"


def test_an_unknown_function_is_named_together_with_the_known_ones(lambdas: Lambdas) -> None:
    lambdas.add("echo")
    with pytest.raises(UnknownFunctionError, match=r"there is no function 'ecko'; there are echo"):
        lambdas.call("ecko")


def test_megabytes_pass_in_both_directions_and_more_is_refused(lambdas: Lambdas) -> None:
    name = lambdas.add("echo", memory_mb=1024)
    text = "x" * 5_500_000
    assert result_of(lambdas.call(name, text))["event"] == text
    refused = lambdas.call(name, "x" * (6 * 1024 * 1024))
    assert refused.status == 413
    kind, message = error_of(lambdas.call(name, {"large": 7_000_000}))
    assert kind == "Function.ResponseSizeTooLarge"
    assert message == "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
    assert result_of(lambdas.call(name, {"n": 1}))["event"] == {"n": 1}


def test_an_invocation_takes_far_less_than_a_delayed_acknowledgement(lambdas: Lambdas) -> None:
    name = lambdas.add("echo")
    lambdas.call(name)
    seconds = []
    for _ in range(50):
        started = time.perf_counter()
        lambdas.call(name)
        seconds.append(time.perf_counter() - started)
    assert statistics.median(seconds) < 0.020


# -- what the process sees -----------------------------------------------------------------------------------------


def test_the_environment_holds_the_template_and_lambda_and_nothing_of_this_machine(
    lambdas: Lambdas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THIS_MACHINE", "leaked")
    name = lambdas.add(
        "environ",
        environment={"TIDEGATE_TABLE": "registry", "_HANDLER": "mine"},
        role_env={"AWS_ACCESS_KEY_ID": "ASIA1", "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
    )
    environ = result_of(lambdas.call(name, {"environ": True}))
    assert "SECRET_OF_THIS_MACHINE" not in environ
    assert "HOME" not in environ
    expected = {
        "TIDEGATE_TABLE": "registry",
        "_HANDLER": "handler.handler",
        "AWS_ACCESS_KEY_ID": "ASIA1",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "LAMBDA_TASK_ROOT": str(lambdas.folder / name),
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
    }
    assert {key: environ.get(key) for key in expected} == expected
    assert Path(environ["TMPDIR"]).is_dir()
    lambdas.host.recycle(name)
    assert not Path(environ["TMPDIR"]).exists()


@pytest.mark.parametrize(("memory_mb", "vcpus"), [(128, 2), (3008, 2), (3009, 3), (7076, 4), (8845, 5), (10_240, 6)])
def test_numerical_libraries_use_as_many_threads_as_lambda_has_processors(memory_mb: int, vcpus: int) -> None:
    assert environment.vcpus(memory_mb) == vcpus


def test_a_function_may_choose_its_own_number_of_threads(lambdas: Lambdas) -> None:
    name = lambdas.add("threads", environment={"OMP_NUM_THREADS": "1"})
    environ = result_of(lambdas.call(name, {"environ": True}))
    assert (environ["OMP_NUM_THREADS"], environ["OPENBLAS_NUM_THREADS"]) == ("1", "2")


def test_code_goes_before_layers_and_a_later_layer_before_an_earlier_one(lambdas: Lambdas, tmp_path: Path) -> None:
    for layer, modules in {"one": ["json5x", "shared", "mine"], "two": ["shared", "mine"]}.items():
        for module in modules:
            path = tmp_path / "layers" / layer / "python" / f"{module}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    layers = (tmp_path / "layers/one", tmp_path / "layers/two")
    name = lambdas.add("layered", layer_dirs=layers)
    (tmp_path / name / "mine.py").write_text("")
    found = result_of(lambdas.call(name, {"import": ["json5x", "shared", "mine"]}))
    assert found == {
        "json5x": str(layers[0] / "python/json5x.py"),
        "shared": str(layers[1] / "python/shared.py"),
        "mine": str(tmp_path / name / "mine.py"),
    }


def test_nothing_is_written_beside_the_code(lambdas: Lambdas, tmp_path: Path) -> None:
    name = lambdas.add("tidy")
    (tmp_path / name / "other.py").write_text("")
    result_of(lambdas.call(name, {"import": ["other"]}))
    assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["handler.py", "other.py"]


def test_bytecode_is_kept_in_the_folder_given_for_it(tmp_path: Path) -> None:
    lambdas = Lambdas(tmp_path, bytecode_dir=tmp_path / "bytecode")
    try:
        result_of(lambdas.call(lambdas.add("compiled")))
    finally:
        lambdas.host.close()
    assert list((tmp_path / "bytecode").rglob("handler.*.pyc"))
    assert [path.name for path in (tmp_path / "compiled").iterdir()] == ["handler.py"]


def test_with_a_runtime_folder_nothing_else_that_is_installed_here_can_be_imported(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for pattern in ("awslambdaric", "runtime_client*.so", "snapshot_restore_py*", "simplejson"):
        for path in SITE_PACKAGES.glob(pattern):
            (runtime / path.name).symlink_to(path)
    lambdas = Lambdas(tmp_path, runtime_dir=runtime)
    try:
        name = lambdas.add("alone")
        found = result_of(
            lambdas.call(name, {"import": ["awslambdaric", "numpy", "pytest", "tidegate", "moto", "pip"]})
        )
    finally:
        lambdas.host.close()
    assert found.pop("awslambdaric") == str(runtime / "awslambdaric/__init__.py")
    assert found == dict.fromkeys(["numpy", "pytest", "tidegate", "moto", "pip"])


def test_functions_run_under_the_python_that_the_runtime_folder_names(tmp_path: Path) -> None:
    """Here one that only says that it is another."""
    python = tmp_path / "runtime" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 3.99.1\n")
    python.chmod(0o755)
    lambdas = Lambdas(tmp_path, runtime_dir=tmp_path / "runtime")
    try:
        assert lambdas.host.python_version == "3.99.1"
        failed = lambdas.call(lambdas.add("other"))
    finally:
        lambdas.host.close()
    assert error_of(failed)[0] == "Runtime.ExitError"
    assert ("/aws/lambda/other", "3.99.1") in lambdas.lines
    assert any("Runtime Version: python:3.99.1" in line for _, line in lambdas.lines)


# -- faults --------------------------------------------------------------------------------------------------------


def test_an_exception_is_reported_with_its_trace_and_the_environment_lives_on(lambdas: Lambdas) -> None:
    name = lambdas.add("raises")
    failed = lambdas.call(name, {"raise": "no such row"})
    assert error_of(failed) == ("LookupError", "no such row")
    assert "handler.py" in json.loads(failed.payload)["stackTrace"][0]
    assert not lambdas.call(name).cold_start
    assert any(line.startswith("[ERROR] LookupError: no such row\nTraceback") for line in lambdas.log_of(name))


def test_a_function_that_takes_too_long_is_killed_and_the_caller_learns_it_as_aws_says(lambdas: Lambdas) -> None:
    name = lambdas.add("slow", timeout_s=0.5)
    pid = result_of(lambdas.call(name))["pid"]
    late = lambdas.call(name, {"sleep": 30})
    assert error_of(late) == ("Sandbox.Timedout", "RequestId: <id> Error: Task timed out after 0.50 seconds")
    assert 500 <= late.duration_ms < 1_500
    assert not is_running(pid)
    assert f"{late.request_id} Task timed out after 0.50 seconds" in late.log_tail
    assert "Duration: 500.00 ms\tBilled Duration: 500 ms" in late.log_tail
    assert late.log_tail.endswith("Status: timeout\n")
    assert lambdas.call(name).cold_start


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"exit": 1}, "Runtime exited with error: exit status 1"),
        ({"exit": 0}, "Runtime exited without providing a reason"),
        ({"signal": signal.SIGKILL}, "Runtime exited with error: signal: killed"),
        ({"segfault": True}, "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_a_crash_is_reported_by_its_exit_status_or_signal(lambdas: Lambdas, event: dict[str, Any], reason: str) -> None:
    name = lambdas.add("crash")
    assert error_of(lambdas.call(name, event)) == ("Runtime.ExitError", f"RequestId: <id> Error: {reason}")
    assert lambdas.call(name).cold_start


def test_what_a_function_printed_before_it_crashed_is_in_the_log(lambdas: Lambdas) -> None:
    name = lambdas.add("crash")
    assert "\nleaving\n" in lambdas.call(name, {"exit": 1}).log_tail


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read through /proc")
@pytest.mark.parametrize("event", [{"allocate_mb": 200}, {"child_mb": 200}])
def test_a_process_tree_that_outgrows_its_memory_is_killed(lambdas: Lambdas, event: dict[str, int]) -> None:
    name = lambdas.add("greedy", memory_mb=128)
    killed = lambdas.call(name, event)
    assert error_of(killed) == (
        "Runtime.ExitError",
        "RequestId: <id> Error: Runtime exited with error: signal: killed",
    )
    assert killed.max_memory_mb == 128
    assert killed.duration_ms < 4_000
    assert "Memory Size: 128 MB\tMax Memory Used: 128 MB" in killed.log_tail
    assert "Error Type: Runtime.OutOfMemory" in killed.log_tail


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("import nosuch", "Runtime.ImportModuleError", "Unable to import module 'handler': No module named 'nosuch'"),
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("def other(): ...", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'handler'"),
        (
            "import os; os._exit(3)",
            "Runtime.ExitError",
            "RequestId: <id> Error: Runtime exited with error: exit status 3",
        ),
    ],
)
def test_a_failing_init_is_reported_as_the_runtime_reports_it(
    lambdas: Lambdas, code: str, kind: str, message: str
) -> None:
    name = lambdas.add("broken", code)
    failed = lambdas.call(name)
    assert error_of(failed) == (kind, message)
    assert failed.cold_start
    log = lambdas.log_of(name)
    assert any(re.fullmatch(rf"INIT_REPORT .*Phase: init\tStatus: error\tError Type: {kind}", line) for line in log)


def test_an_init_that_hangs_is_tried_again_within_the_timeout_of_the_function(
    lambdas: Lambdas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambda_host, "INIT_LIMIT_S", 0.2)
    name = lambdas.add("hangs", "import time; time.sleep(30)", timeout_s=0.4)
    late = lambdas.call(name)
    assert error_of(late) == ("Sandbox.Timedout", "RequestId: <id> Error: Task timed out after 0.40 seconds")
    assert any("Phase: init\tStatus: timeout" in line for line in lambdas.log_of(name))


def test_a_slow_init_that_fits_the_second_time_serves(
    lambdas: Lambdas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambda_host, "INIT_LIMIT_S", 0.3)
    mark = tmp_path / "once"
    initialize = environment.Environment.initialize

    def once(self: environment.Environment, limit_s: float, **settings: Any) -> bytes | None:
        try:
            return initialize(self, limit_s, **settings)
        finally:
            mark.touch()  # not by the function: on a busy machine its first attempt may end before it has begun

    monkeypatch.setattr(environment.Environment, "initialize", once)
    code = f"""
        import pathlib, time
        if not pathlib.Path({str(mark)!r}).exists():
            time.sleep(30)
        def handler(event, context):
            return "served"
    """
    name = lambdas.add("slow-start", code, timeout_s=60.0)
    assert result_of(lambdas.call(name)) == "served"
    assert any("Phase: init\tStatus: timeout" in line for line in lambdas.log_of(name))


def test_a_killed_function_fails_its_caller_and_serves_the_next(lambdas: Lambdas) -> None:
    name = lambdas.add("victim")
    lambdas.call(name)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambdas.call, name, {"sleep": 30})
        time.sleep(0.2)
        assert lambdas.host.kill(name) == 1
        assert error_of(running.result(5)) == (
            "Runtime.ExitError",
            "RequestId: <id> Error: Runtime exited with error: signal: killed",
        )
    assert result_of(lambdas.call(name, {"n": 2}))["event"] == {"n": 2}


def test_an_environment_that_died_while_idle_is_replaced_unseen(lambdas: Lambdas) -> None:
    name = lambdas.add("victim")
    lambdas.call(name)
    assert lambdas.host.kill(name) == 1
    again = lambdas.call(name)
    assert again.function_error is None
    assert again.cold_start
    assert lambdas.host.kill(name) == 1


def test_children_of_a_function_do_not_outlive_its_environment(lambdas: Lambdas) -> None:
    name = lambdas.add("parent", timeout_s=0.5)
    assert lambdas.call(name, {"child_sleeps": 987.25}).function_error is None
    before = _commands().count("sleep\x00987.25\x00")
    lambdas.host.recycle(name)
    assert before == 1
    assert eventually(lambda: "sleep\x00987.25\x00" not in _commands())


def _commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text())
        except OSError:
            continue
    return found


# -- concurrency ---------------------------------------------------------------------------------------------------


def test_every_concurrent_invocation_has_a_process_of_its_own(lambdas: Lambdas) -> None:
    name = lambdas.add("parallel")
    with ThreadPoolExecutor(3) as pool:
        at_once = list(pool.map(lambda _: lambdas.call(name, {"sleep": 0.5}), range(3)))
    assert len({result_of(one)["pid"] for one in at_once}) == 3
    assert not lambdas.call(name).cold_start


def test_reserved_concurrency_throttles_with_429(lambdas: Lambdas) -> None:
    name = lambdas.add("single", reserved_concurrency=1)
    lambdas.call(name)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambdas.call, name, {"sleep": 0.6})
        time.sleep(0.2)
        throttled = lambdas.call(name)
        assert running.result().function_error is None
    assert throttled.status == 429
    assert throttled.function_error is None
    assert json.loads(throttled.payload)["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert lambdas.call(name).status == 200


def test_a_reserve_answers_while_everybody_else_is_throttled(lambdas: Lambdas) -> None:
    serving, training = lambdas.add("serving", reserved_concurrency=1), lambdas.add("training")
    before = lambdas.host._concurrency
    lambdas.host._concurrency = lambdas.host._reserved() + 1
    try:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(lambdas.call, training, {"sleep": 0.6})
            time.sleep(0.2)
            assert json.loads(lambdas.call(training).payload)["Reason"] == "ConcurrentInvocationLimitExceeded"
            assert lambdas.call(serving).status == 200
            assert running.result().function_error is None
    finally:
        lambdas.host._concurrency = before


def test_a_caller_may_lose_patience_while_the_function_goes_on(lambdas: Lambdas, tmp_path: Path) -> None:
    name = lambdas.add("patient")
    for mark in ("cold", "warm"):
        path = tmp_path / mark
        with pytest.raises(TimeoutError, match="patient has not answered yet"):
            lambdas.call(name, {"file": str(path), "sleep_then_write": 0.4}, timeout_s=0.2)
        assert not path.exists()
        assert lambdas.host.drain(5)
        assert path.read_text() == "done"
    assert not lambdas.call(name, timeout_s=5).cold_start


def test_a_function_replaced_while_it_runs_finishes_and_then_the_new_one_serves(lambdas: Lambdas) -> None:
    name = lambdas.add("changing")
    old = result_of(lambdas.call(name))["pid"]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambdas.call, name, {"sleep": 0.4})
        time.sleep(0.1)
        lambdas.add(name, "def handler(event, context): return 'new'", code_dir=lambdas.folder / "second")
        assert result_of(lambdas.call(name)) == "new"
        assert running.result().function_error is None
    assert eventually(lambda: not is_running(old))


# -- logs ----------------------------------------------------------------------------------------------------------


def test_the_log_has_the_lines_of_the_function_between_start_and_report(lambdas: Lambdas) -> None:
    name = lambdas.add("talks", log_group="/tidegate/dev/talks")
    first, second = lambdas.call(name, {"print": "one\ntwo"}), lambdas.call(name, {"print": "three"})
    lambdas.host.drain()
    log = [line for group, line in lambdas.lines if group == "/tidegate/dev/talks"]
    assert log[0].startswith("INIT_START Runtime Version: python:")
    assert log[1:5] == [
        f"START RequestId: {first.request_id} Version: $LATEST",
        "one",
        "two",
        f"END RequestId: {first.request_id}",
    ]
    assert re.fullmatch(
        rf"REPORT RequestId: {first.request_id}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 256 MB"
        r"\tMax Memory Used: \d+ MB\tInit Duration: [\d.]+ ms",
        log[5],
    )
    assert log[6:9] == [
        f"START RequestId: {second.request_id} Version: $LATEST",
        "three",
        f"END RequestId: {second.request_id}",
    ]
    assert "Init Duration" not in log[9]
    assert second.log_tail == "\n".join(log[6:10]) + "\n"


def test_the_tail_is_the_last_four_kilobytes(lambdas: Lambdas) -> None:
    name = lambdas.add("loud")
    tail = lambdas.call(name, {"print": "\n".join(f"line {n}" for n in range(2000))}).log_tail
    assert len(tail) == 4096
    assert "line 1999" in tail
    assert len(lambdas.log_of(name)) == 2004


# -- internal extensions -------------------------------------------------------------------------------------------

EXTENSION = """
    import json, os, threading, time, urllib.request

    API = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2020-01-01/extension"
    WORK_S = float(os.environ.get("WORK_S", "0"))
    STATE = {"events": [], "refused": None}

    def call(path, body=None, headers={}):
        request = urllib.request.Request(API + path, data=body, headers=headers)
        return urllib.request.urlopen(request)

    try:
        call("/register", b'{"events": ["INVOKE", "SHUTDOWN"]}', {"Lambda-Extension-Name": "greedy"})
    except urllib.error.HTTPError as refusal:
        STATE["refused"] = (refusal.code, json.load(refusal)["errorMessage"])
    ME = call("/register", b'{"events": ["INVOKE"]}', {"Lambda-Extension-Name": "capture"}).headers[
        "Lambda-Extension-Identifier"]

    def live():
        while True:
            event = json.load(call("/event/next", headers={"Lambda-Extension-Identifier": ME}))
            STATE["events"].append(event["eventType"])
            time.sleep(WORK_S)
            print("captured", event["requestId"])

    threading.Thread(target=live, daemon=True).start()

    def handler(event, context):
        return {**STATE, "pid": os.getpid()}
"""


def test_an_extension_works_on_after_the_response_and_then_the_environment_is_used_again(lambdas: Lambdas) -> None:
    name = lambdas.add("captures", EXTENSION, environment={"WORK_S": "0.4"})
    started = time.monotonic()
    first = lambdas.call(name)
    while_it_works = lambdas.call(name)
    assert lambdas.host.drain()
    afterwards = lambdas.call(name)
    assert time.monotonic() - started > 0.4
    assert first.duration_ms < 300
    assert result_of(while_it_works)["pid"] != result_of(first)["pid"]
    assert not afterwards.cold_start
    assert result_of(afterwards)["events"][:1] == ["INVOKE"]
    log = lambdas.log_of(name)
    captured = log.index(f"captured {first.request_id}")
    assert captured < log.index(f"END RequestId: {first.request_id}")


def test_an_internal_extension_may_not_ask_for_shutdown_events_as_on_aws(lambdas: Lambdas) -> None:
    name = lambdas.add("captures", EXTENSION)
    assert result_of(lambdas.call(name))["refused"] == [403, "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"]


def test_an_extension_that_never_ends_costs_the_environment_not_the_caller(lambdas: Lambdas) -> None:
    name = lambdas.add("stuck", EXTENSION, environment={"WORK_S": "30"}, timeout_s=0.6)
    first = lambdas.call(name)
    assert first.function_error is None
    assert lambdas.host.drain(5)
    assert not is_running(result_of(first)["pid"])
    assert any(line.endswith("Status: timeout") for line in lambdas.log_of(name))


# -- asynchronous invocation ---------------------------------------------------------------------------------------

COUNTING = """
    import pathlib

    def handler(event, context):
        seen = pathlib.Path(__file__).with_name("seen")
        with seen.open("a") as file:
            print(context.aws_request_id, file=file)
        attempts = len(seen.read_text().splitlines())
        if attempts <= event["failures"]:
            raise RuntimeError(f"attempt {attempts}")
"""


def attempts_of(lambdas: Lambdas, name: str) -> list[str]:
    return (lambdas.folder / name / "seen").read_text().splitlines()


def test_a_failed_event_is_tried_again_under_the_same_request_id(lambdas: Lambdas) -> None:
    name = lambdas.add("flaky", COUNTING)
    request_id = lambdas.host.invoke_async(name, b'{"failures": 2}')
    assert lambdas.host.drain()
    assert attempts_of(lambdas, name) == [request_id] * 3
    assert lambdas.given_up == []


def test_an_event_that_fails_every_time_is_handed_over_with_its_last_error(lambdas: Lambdas) -> None:
    name = lambdas.add("hopeless", COUNTING, max_event_retries=1)
    lambdas.host.invoke_async(ARN + name, b'{"failures": 9}')
    assert lambdas.host.drain()
    ((failed, event, last),) = lambdas.given_up
    assert (failed, event) == (name, b'{"failures": 9}')
    assert error_of(last) == ("RuntimeError", "attempt 2")


def test_a_throttled_event_waits_for_its_turn_without_losing_an_attempt(lambdas: Lambdas) -> None:
    name = lambdas.add("narrow", reserved_concurrency=1, max_event_retries=0)
    for _ in range(3):
        lambdas.host.invoke_async(name, b'{"sleep": 0.1}')
    assert lambdas.host.drain()
    assert sum(line.startswith("END ") for line in lambdas.log_of(name)) == 3
    assert lambdas.given_up == []


# -- the end -------------------------------------------------------------------------------------------------------


def test_closing_ends_every_process_and_thread_also_in_the_middle_of_an_invocation(tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    lambdas = Lambdas(tmp_path)
    name = lambdas.add("busy")
    idle = result_of(lambdas.call(name))["pid"]
    lambdas.host.invoke_async(name, b'{"sleep": 30}')
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambdas.call, name, {"sleep": 30})
        time.sleep(0.4)
        lambdas.host.close()
        assert error_of(running.result(5))[0] == "Runtime.ExitError"
    assert not is_running(idle)
    assert eventually(lambda: not [one for one in threading.enumerate() if one not in threads])
    lambdas.host.close()


def test_nothing_outlives_a_host_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "fn").mkdir()
    (tmp_path / "fn/handler.py").write_text(
        "import os, pathlib, time\n"
        "def handler(event, context):\n"
        "    pathlib.Path(event).write_text(str(os.getpid()))\n"
        "    while True:\n"
        "        time.sleep(1)\n"
    )
    script = f"""
        import json, pathlib
        from infra.local.lambda_host import FunctionConfig, LambdaHost
        host = LambdaHost()
        host.add(FunctionConfig("endless", "arn", "handler.handler", pathlib.Path({str(tmp_path / "fn")!r}), (), {{}},
                                60.0, 256, {{}}))
        host.invoke("endless", json.dumps({str(tmp_path / "pid")!r}).encode())
    """
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], env=environment) as parent:
        assert eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 10)
        pid = int((tmp_path / "pid").read_text())
        assert is_running(pid)
        parent.kill()
    assert eventually(lambda: not is_running(pid))
    assert eventually(lambda: not list(tmp_path.glob("tidegate-lambda-*")))
