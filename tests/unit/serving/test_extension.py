"""Work after the response, against an Extensions API of its own."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any

import pytest

from tests.builders.captures import capture
from tests.builders.firehose import Policies, Stream
from tidegate.aws.capture_log import FirehoseCaptures
from tidegate.aws.extension import SPARE_SECONDS, WORK_SECONDS, AfterResponse
from tidegate.testing.platform import RecordedSignals


class Api:
    """The Extensions API of one environment: hands out an event for each `invoke`."""

    def __init__(self) -> None:
        self.registered: list[dict[str, Any]] = []
        self.accepts = True
        self.asked = threading.Semaphore(0)
        self._events: SimpleQueue[bytes | None] = SimpleQueue()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                api.registered.append({"name": self.headers["Lambda-Extension-Name"], **body})
                self._say(200 if api.accepts else 403, b"{}")

            def do_GET(self) -> None:
                assert self.headers["Lambda-Extension-Identifier"] == "extension-1"
                api.asked.release()
                event = api._events.get()
                if event is None:
                    self.close_connection = True
                else:
                    self._say(200, event)

            def _say(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Lambda-Extension-Identifier", "extension-1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def invoke(self, seconds: float = 10.0) -> None:
        self._events.put(json.dumps({"eventType": "INVOKE", "deadlineMs": (time.time() + seconds) * 1000}).encode())

    def hang_up(self) -> None:
        self._events.put(None)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    made = Api()
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", made.address)
    yield made
    made.server.shutdown()
    made.server.server_close()


def asked(api: Api) -> bool:
    return api.asked.acquire(timeout=5)


def test_it_registers_for_invoke_only_and_asks_for_the_first_event_at_once(api: Api) -> None:
    assert AfterResponse.start("captures").is_registered
    assert asked(api)
    assert api.registered == [{"name": "captures", "events": ["INVOKE"]}]


def test_the_work_begins_when_the_handler_is_done_and_the_next_event_is_asked_for_after_it(api: Api) -> None:
    steps: SimpleQueue[str] = SimpleQueue()
    finish = threading.Event()

    def work(seconds: float, _handled_ms: float) -> None:
        assert 0 < seconds <= WORK_SECONDS
        steps.put("worked")
        finish.wait(5)

    afterwards = AfterResponse.start("captures")
    afterwards.do(work)
    assert asked(api)
    api.invoke()
    time.sleep(0.05)
    assert steps.empty()
    afterwards.begin()
    assert steps.get(timeout=5) == "worked"
    assert not api.asked.acquire(timeout=0.05)
    finish.set()
    assert asked(api)


def test_work_that_fails_is_named_in_the_log_without_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API", raising=False)

    def broken(_seconds: float, _handled_ms: float) -> None:
        raise ValueError("an input")

    afterwards = AfterResponse.start("captures")
    afterwards.do(broken)
    afterwards.begin()
    said = capsys.readouterr().err
    assert said.startswith("work after a response failed: ValueError in broken, line ")
    assert "an input" not in said


def test_work_that_fails_and_invocations_without_any_do_not_stop_it(api: Api) -> None:
    afterwards = AfterResponse.start("captures")
    assert asked(api)
    api.invoke()
    afterwards.begin()
    assert asked(api)

    def broken(_seconds: float, _handled_ms: float) -> None:
        raise ValueError("no")

    afterwards.do(broken)
    api.invoke()
    afterwards.begin()
    assert asked(api)


def test_a_handler_that_is_done_before_the_event_was_read_counts_all_the_same(api: Api) -> None:
    done = threading.Event()
    afterwards = AfterResponse.start("captures")
    afterwards.do(lambda *_: done.set())
    assert asked(api)
    afterwards.begin()
    api.invoke()
    assert done.wait(5)


def test_it_gets_no_time_beyond_the_deadline(api: Api) -> None:
    given: SimpleQueue[float] = SimpleQueue()
    afterwards = AfterResponse.start("captures")
    afterwards.do(lambda seconds, _: given.put(seconds))
    assert asked(api)
    api.invoke(SPARE_SECONDS + 0.3)
    afterwards.begin()
    assert given.get(timeout=5) <= 0.3


def test_a_lost_connection_is_made_again(api: Api) -> None:
    AfterResponse.start("captures")
    assert asked(api)
    api.hang_up()
    assert asked(api)


def test_without_the_api_the_work_is_done_before_begin_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API", raising=False)
    given: list[tuple[float, float]] = []
    afterwards = AfterResponse.start("captures")
    afterwards.do(lambda *shown: given.append(shown))
    afterwards.begin()
    assert not afterwards.is_registered
    assert given == [(pytest.approx(WORK_SECONDS, abs=0.1), 0.0)]


def test_work_is_done_in_turn_and_what_comes_later_has_less_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API", raising=False)
    given: list[float] = []
    afterwards = AfterResponse.start("captures")
    afterwards.do(lambda *_: time.sleep(0.05))
    afterwards.do(lambda seconds, _: given.append(seconds))
    afterwards.begin()
    assert given[0] <= WORK_SECONDS - 0.05


def test_the_records_of_an_environment_show_the_time_that_its_invocations_took(api: Api) -> None:
    stream, sends = Stream(), 0.03
    stream.answers = [lambda _: time.sleep(sends) or set()] * 3
    log = FirehoseCaptures(stream, policies=Policies(), signals=RecordedSignals())
    afterwards = AfterResponse.start("captures")
    afterwards.do(log.deliver)
    assert asked(api)
    took = []
    for handler_seconds in (0.05, 0.02, 0.01):
        started = time.monotonic()
        api.invoke()
        time.sleep(handler_seconds)
        log.offer(capture(1))
        afterwards.begin()
        assert asked(api)  # the environment is free for the next one
        took.append(1e3 * (time.monotonic() - started))
    billed = [record["billed_ms"] for record in stream.records]
    assert billed[0] >= 45
    assert billed[1] >= 1e3 * (0.02 + sends) - 5
    assert sum(billed) == pytest.approx(sum(took) - 1e3 * sends, rel=0.25)


def test_an_api_that_refuses_or_is_not_there_is_no_reason_to_fail(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.accepts = False
    assert not AfterResponse.start("captures").is_registered
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")
    assert not AfterResponse.start("captures").is_registered
