"""The same forest behind other model servers, each started as its documentation has it for production: one worker.

Every peer runs in an environment of its own (`scripts/benchmarks/peers`) on a loopback port, and must answer with the
probabilities that scikit-learn or onnxruntime gives here for the same row. Milliseconds are those of one-row requests
on one kept-alive connection. Memory is that of all its processes after the requests, as proportional set size: a page
that several share is counted once.
"""

import json
import os
import re
import selectors
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import onnxruntime
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from scripts.benchmarks import peers
from scripts.benchmarks.peers.serving_forest import fitted
from scripts.benchmarks.svg import bars

PLOT = Path(__file__).parents[2] / "docs" / "serving.svg"
OURS = "Tidegate behind the local cloud's gateway"
GATEWAY = "that gateway's share: GET /health"
_PEERS = Path(peers.__file__).parent
_START_SECONDS, _ANSWER_SECONDS, _END_SECONDS = 90.0, 10.0, 10.0
_WARM_UP = 0.1  # of the seconds
_TOLERANCE = 1e-5  # onnxruntime adds in single precision
_OK = 200
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_QUIET = {"DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true"}


class PeerError(Exception):
    """A peer cannot be installed, does not start, or does not answer as it should."""


@dataclass(frozen=True, slots=True)
class _Peer:
    """`command` runs a program of the environment `serving_<environment>`, {port}, {folder} and {here} filled in."""

    name: str
    environment: str
    package: str
    command: str
    path: str
    asks: Callable[[Sequence[str], list[float]], dict[str, Any]]
    finds: Callable[[Any], list[float]]
    is_onnx: bool = False


def _uvicorn(name: str, package: str, module: str) -> _Peer:
    return _Peer(
        name,
        "asgi",
        package,
        f"uvicorn {module}:app --app-dir {{here}} --host 127.0.0.1 --port {{port}} --no-access-log --lifespan off",
        "/predict",
        lambda _, row: {"rows": [row]},
        lambda answer: answer["probabilities"][0],
        is_onnx=True,
    )


_SERVERS = (
    _Peer(
        "MLflow models serve",
        "mlflow",
        "mlflow",
        "mlflow models serve -m {folder}/forest --env-manager local --host 127.0.0.1 --port {port} --workers 1",
        "/invocations",
        lambda names, row: {"dataframe_split": {"columns": names, "data": [row]}},
        lambda answer: answer["predictions"][0],
    ),
    _Peer(
        "BentoML",
        "bentoml",
        "bentoml",
        "bentoml serve serving_bentoml:Forest --working-dir {here} --host 127.0.0.1 --port {port}",
        "/predict",
        lambda _, row: {"rows": [row]},
        lambda answer: answer[0],
    ),
    _Peer(
        "MLServer",
        "mlserver",
        "mlserver",
        "mlserver start {folder}",
        "/v2/models/forest/infer",
        lambda _, row: {
            "inputs": [{"name": "predict", "shape": [1, len(row)], "datatype": "FP64", "data": row}],
            "outputs": [{"name": "predict_proba"}],
        },
        lambda answer: answer["outputs"][0]["data"],
    ),
    _uvicorn("FastAPI + onnxruntime", "fastapi", "serving_fastapi"),
    _uvicorn("bare ASGI function + onnxruntime", "uvicorn", "serving_asgi"),
)


def measured(artifact: Path, *, quick: bool) -> list[dict[str, Any]]:
    """A row for each peer: {"peer", "version", "p50_ms", "p99_ms", "p50_ms_8", "p99_ms_8", "per_second_8",
    "cold_seconds", "memory_mib"}, or {"peer", "error"}; then the models alone in this process, which have no more than
    a version and milliseconds. `artifact` is an ONNX file with the input `numeric`, float32 [rows, 30]."""
    forest, features, names = fitted()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(artifact), options, providers=["CPUExecutionProvider"])
    first = features[:1]
    row: list[float] = first[0].tolist()
    feed = {"numeric": first.astype(np.float32)}
    expected = {False: forest.predict_proba(first)[0], True: session.run(None, feed)[0][0]}
    rows: list[dict[str, Any]] = []
    for peer in _SERVERS:
        body = json.dumps(peer.asks(names, row)).encode()
        try:
            found = _served(peer, artifact, body, expected[peer.is_onnx], quick=quick)
        except (OSError, PeerError, subprocess.SubprocessError) as fault:
            found = {"error": str(fault)}
        rows.append({"peer": peer.name, **found})
    calls = 100 if quick else 1_000
    alone = (
        ("scikit-learn", "predict_proba", partial(forest.predict_proba, first), calls),
        ("onnxruntime", "run", partial(session.run, None, feed), 100 * calls),
    )
    for package, method, work, number in alone:
        rows.append({"peer": f"{package} {method} alone", "version": version(package), **_alone(work, number)})
    return rows


def through_gateway(
    endpoint: str, credentials: Credentials, region: str, asks: tuple[str, str, bytes], *, quick: bool
) -> dict[str, float]:
    """The same client's figures of an HTTP API, taken in a process of its own: this one may be the API. `asks` is
    method, path and JSON body. What scales out does so before."""
    method, path, body = asks
    signed = AWSRequest(method, endpoint + path, headers={"content-type": "application/json"}, data=body)
    SigV4Auth(credentials, "execute-api", region).add_auth(signed)
    where, seconds = urlsplit(endpoint), 2.0 if quick else 10.0
    request = _wired(method, path, {"Host": where.netloc, **signed.headers}, body)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as client:
        client.submit(_load, where.port or 80, request, 8, seconds / 2).result()
        return client.submit(_loaded, where.port or 80, request, seconds).result()


def table(rows: Sequence[dict[str, Any]]) -> tuple[str, list[str], list[list[str]]]:
    """Title, headings and cells of rows as `measured` gives them."""
    return (
        "one row of the same forest, compared with peers: over 1 connection, over 8, time to the first answer, memory",
        ["peer", "version", "p50 ms", "p99 ms", "8: p50 ms", "8: p99 ms", "8: a second", "start s", "MiB"],
        [
            [row["peer"], "not measured", row["error"], *["-"] * (len(_SHOWN) - 1)]
            if "error" in row
            else [row["peer"], row.get("version", "-"), *(_cell(row, key, form) for key, form in _SHOWN)]
            for row in rows
        ],
    )


_SHOWN = (
    ("p50_ms", ".3f"),
    ("p99_ms", ".3f"),
    ("p50_ms_8", ".3f"),
    ("p99_ms_8", ".3f"),
    ("per_second_8", ",.0f"),
    ("cold_seconds", ".2f"),
    ("memory_mib", ".0f"),
)


def _cell(row: dict[str, Any], key: str, form: str) -> str:
    return format(row[key], form) if key in row else "-"


def plot(rows: Sequence[dict[str, Any]]) -> str:
    """Milliseconds of those that were measured, slowest first, as SVG."""
    found = sorted((row for row in rows if "error" not in row), key=lambda row: -row["p50_ms"])
    shown = ", ".join(f"{row['peer']} {row['p50_ms']:.3g} and {row['p99_ms']:.3g}" for row in found)
    return bars(
        "Milliseconds of a one-row request: a forest of 100 trees on 30 features",
        f"Horizontal bars on a logarithmic scale. Median and 99th percentile in milliseconds: {shown}.",
        "milliseconds, logarithmic: the bar to the median, the line to the 99th percentile",
        {row["peer"]: (row["p50_ms"], row["p99_ms"]) for row in found},
        OURS,
    )


def _alone(work: Callable[[], Any], calls: int) -> dict[str, float]:
    took = []
    for _ in range(calls):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return _spread(took)


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile in milliseconds."""
    p50, p99 = (1e3 * np.percentile(seconds, (50, 99))).tolist()
    return {"p50_ms": round(p50, 4), "p99_ms": round(p99, 4)}


def _served(
    peer: _Peer, artifact: Path, body: bytes, expected: Sequence[float], *, quick: bool
) -> dict[str, str | float]:
    """Starts the server some times, and measures the last one."""
    name = f"serving_{peer.environment}"
    if missing := peers.installed(name):
        raise PeerError(missing)
    starts, seconds = (1, 2.0) if quick else (5, 10.0)
    cold = []
    with tempfile.TemporaryDirectory(prefix="tidegate-peer-") as folder:
        environment = _environment(name, artifact, folder)
        if not peer.is_onnx:
            _prepare(name, environment, folder)
        for start in range(starts + 1):
            with _running(peer, environment, folder) as server:
                request = _post(server.port, peer.path, body)
                took, answer = _first_answer(server, request)
                _check(peer, answer, expected)
                if start:  # the first one reads from disk what the others find in memory
                    cold.append(took)
                if start == starts:
                    loaded = _loaded(server.port, request, seconds)
                    memory = _memory_mib(server.process.pid)
    return {
        "version": _locked(name, peer.package),
        **loaded,
        "cold_seconds": round(median(cold), 3),
        "memory_mib": round(memory, 1),
    }


def _check(peer: _Peer, answer: bytes, expected: Sequence[float]) -> None:
    try:
        found = peer.finds(json.loads(answer))
    except (ValueError, LookupError, TypeError) as fault:
        raise PeerError(f"its answer has a different form: {answer[:200]!r}") from fault
    if len(found) != len(expected) or not np.allclose(found, expected, rtol=0, atol=_TOLERANCE):
        raise PeerError(f"it answered the probabilities {found} instead of {list(expected)}")


def _locked(name: str, package: str) -> str:
    lines = (_PEERS / f"{name}.txt").read_text(encoding="ascii").splitlines()
    return next(line.split("==")[1].split()[0] for line in lines if line.startswith(f"{package}=="))


def _bin(name: str) -> Path:
    return peers._BUILD / name / "bin"  # noqa: SLF001


def _environment(name: str, artifact: Path, folder: str) -> dict[str, str]:
    """Without what leads Python to our packages; the peer's own programs come first."""
    ours = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    path = f"{_bin(name)}{os.pathsep}{ours.get('PATH', os.defpath)}"
    return ours | _QUIET | {"PATH": path, "BENTOML_HOME": folder, "SERVED_ARTIFACT": str(artifact)}


def _prepare(name: str, environment: Mapping[str, str], folder: str) -> None:
    """Fits the forest in the peer's environment and saves it as the peer wants it."""
    done = subprocess.run(
        [str(_bin(name) / "python"), str(_PEERS / f"{name}.py"), folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=_START_SECONDS,
        env=environment,
        cwd=folder,
    )
    if done.returncode:
        raise PeerError(f"the forest cannot be saved: {_last_line(done.stderr)}")


@dataclass(frozen=True, slots=True)
class _Server:
    """`began` is what time.perf_counter() said when the process was started."""

    process: "subprocess.Popen[bytes]"
    port: int
    began: float
    log: Path


@contextmanager
def _running(peer: _Peer, environment: Mapping[str, str], folder: str) -> Iterator[_Server]:
    """Starts the server; ends it with all its children, whatever happens."""
    port, grpc, metrics = _free_ports(3)
    program, *rest = peer.command.format(port=port, folder=folder, here=_PEERS).split()
    if peer.environment == "mlserver":
        settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": grpc, "metrics_port": metrics}
        settings["parallel_workers"] = 0  # answers in its one process: a pool of one costs 140 MiB more
        (Path(folder) / "settings.json").write_text(json.dumps(settings))
    log = Path(folder) / "server.log"
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(_bin(f"serving_{peer.environment}") / program), *rest],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    try:
        yield _Server(process, port, began, log)
    finally:
        _end(process)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Asks the server to end, then kills what is left of its group and of the groups its children have made."""
    groups = {process.pid}
    for pid in _tree(process.pid):
        with suppress(ProcessLookupError):
            groups.add(os.getpgid(pid))
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    process.wait(_END_SECONDS)


def _tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = [root]
    for pid in found:  # grows on the way
        found += children.get(pid, [])
    return found


def _memory_mib(root: int) -> float:
    kib = 0
    for pid in _tree(root):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
            kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def _first_answer(server: _Server, request: bytes) -> tuple[float, bytes]:
    """Seconds from the start of the process to the first answer 200, and its body."""
    said = "it did not listen"
    while time.perf_counter() - server.began < _START_SECONDS:
        if server.process.poll() is not None:
            raise PeerError(f"it ended while starting: {_last_line(server.log.read_text(errors='replace'))}")
        try:
            with socket.create_connection(("127.0.0.1", server.port), _ANSWER_SECONDS) as connection:
                status, body = _exchanged(connection, request)
        except OSError as fault:
            said = str(fault)
        else:
            if status == _OK:
                return time.perf_counter() - server.began, body
            said = f"it answered {status}: {body[:200]!r}"
        time.sleep(0.005)
    raise PeerError(f"no prediction after {_START_SECONDS:g} s: {said}")


def _exchanged(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    connection.sendall(request)
    received = b""
    while (found := answered(received)) is None:
        received += _received(connection)
    return found


def _post(port: int, path: str, body: bytes) -> bytes:
    return _wired("POST", path, {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json"}, body)


def _wired(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A request as it goes over the wire."""
    shown = {**headers, "Content-Length": str(len(body))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in shown.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answered(received: bytes) -> tuple[int, bytes] | None:
    """Status and body, once all of an answer is there. Raises ConnectionError when its head does not say how long it
    is."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    length = _LENGTH.search(head)
    if length is None:
        raise ConnectionError(f"an answer without Content-Length: {head[:200]!r}")
    return (int(head.split(maxsplit=2)[1]), body) if len(body) >= int(length[1]) else None


def _received(connection: socket.socket) -> bytes:
    part = connection.recv(65_536)
    if not part:
        raise ConnectionError("it closed the connection before its answer was whole")
    return part


@dataclass(slots=True)
class _Connection:
    """What one connection waits for."""

    socket: socket.socket
    began: float = 0.0
    received: bytes = b""

    def ask(self, request: bytes) -> None:
        """Send it again."""
        self.received, self.began = b"", time.perf_counter()
        self.socket.sendall(request)


def _loaded(port: int, request: bytes, seconds: float) -> dict[str, float]:
    """Figures of one connection, then of eight."""
    one, eight = (_load(port, request, connections, seconds) for connections in (1, 8))
    of_eight = {f"{name}_8": value for name, value in _spread(eight).items()}
    return {**_spread(one), **of_eight, "per_second_8": round(_rate(eight, seconds), 1)}


def _load(port: int, request: bytes, connections: int, seconds: float) -> list[float]:
    """Seconds of each request after the first tenth of the time. Each connection asks again as soon as it is answered;
    one thread of this process serves them all. Raises PeerError for any answer but 200."""
    took: list[float] = []
    began = time.perf_counter()
    with ExitStack() as stack:
        chosen = stack.enter_context(selectors.DefaultSelector())
        for _ in range(connections):
            each = stack.enter_context(socket.create_connection(("127.0.0.1", port), _ANSWER_SECONDS))
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(each)
            chosen.register(each, selectors.EVENT_READ, connection)
            connection.ask(request)
        while chosen.get_map():
            ready = chosen.select(_ANSWER_SECONDS)
            if not ready:
                raise PeerError(f"no answer within {_ANSWER_SECONDS:g} s")
            for key, _ in ready:
                connection = key.data
                connection.received += _received(connection.socket)
                found = answered(connection.received)
                if found is None:
                    continue
                now = time.perf_counter()
                if found[0] != _OK:
                    raise PeerError(f"it answered {found[0]}: {found[1][:200]!r}")
                if connection.began - began >= _WARM_UP * seconds:
                    took.append(now - connection.began)
                if now - began < seconds:
                    connection.ask(request)
                else:
                    chosen.unregister(connection.socket)
    return took


def _rate(took: Sequence[float], seconds: float) -> float:
    """Requests a second of a load of so many seconds."""
    return len(took) / (1 - _WARM_UP) / seconds


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "it ended without output"
