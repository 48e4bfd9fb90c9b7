"""What measures the peers of the serving benchmark: its client, and that no server outlives it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from scripts.benchmarks import serving_peers
from tests.builders.waiting import eventually, is_running

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n[1]\n"
CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


@contextmanager
def served(status: int, seconds: float) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(seconds)
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("length", range(len(ANSWER)))
def test_an_answer_is_not_taken_before_its_last_byte(length: int) -> None:
    assert serving_peers.answered(ANSWER[:length]) is None


def test_a_whole_answer_has_a_status_and_a_body() -> None:
    assert serving_peers.answered(ANSWER) == (200, b"[1]\n")


def test_an_answer_of_unknown_length_is_refused() -> None:
    with pytest.raises(ConnectionError, match="Content-Length"):
        serving_peers.answered(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")


@pytest.mark.parametrize("connections", [1, 4])
def test_connections_ask_at_the_same_time_and_each_waits_for_its_answer(connections: int) -> None:
    with served(200, 0.02) as port:
        took = serving_peers._load(port, serving_peers._post(port, "/", b"{}"), connections, 0.4)
    assert min(took) >= 0.02
    assert len(took) > connections
    assert len(took) <= connections * (0.4 / 0.02 + 1)


def test_a_load_that_is_answered_with_an_error_is_no_measurement() -> None:
    with served(503, 0) as port, pytest.raises(serving_peers.PeerError, match="503"):
        serving_peers._load(port, serving_peers._post(port, "/", b"{}"), 1, 0.2)


def test_a_child_in_a_session_of_its_own_that_ignores_the_request_to_end_is_ended_too() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
    assert is_running(child)
    serving_peers._end(parent)
    assert eventually(lambda: not is_running(child), 5)
    assert parent.poll() is not None


def test_a_peer_that_could_not_be_measured_keeps_its_row_with_its_error() -> None:
    rows: list[dict[str, Any]] = [
        {"peer": "one", "version": "1.0", "p50_ms": 1.0, "p99_ms": 1.0},
        {"peer": "other", "error": "it ended while starting"},
    ]
    _, headings, cells = serving_peers.table(rows)
    assert cells[1][:3] == ["other", "not measured", "it ended while starting"]
    assert {len(each) for each in cells} == {len(headings)}
    assert "other" not in serving_peers.plot(rows)
