import threading
import time

import pytest

from tidegate.errors import ScoringTimeoutError
from tidegate.steps.timelimit import MAX_ABANDONED, TimeLimit


def test_an_answer_in_time_comes_back_and_so_does_what_was_raised():
    limit = TimeLimit()
    assert limit.call(lambda: 7, 1.0) == 7
    with pytest.raises(KeyError):
        limit.call(lambda: {}["x"], 1.0)
    assert limit.call(lambda: 8, 1.0) == 8


def test_one_thread_does_all_calls_that_end_in_time():
    limit = TimeLimit()
    assert len({limit.call(threading.get_ident, 1.0) for _ in range(20)}) == 1


def test_a_call_that_runs_over_is_left_to_itself_and_the_next_one_is_answered():
    limit, go = TimeLimit(), threading.Event()
    started = time.perf_counter()
    with pytest.raises(ScoringTimeoutError, match="no answer after 50 ms"):
        limit.call(lambda: go.wait(10), 0.05)
    assert time.perf_counter() - started < 1.0
    assert limit.call(lambda: "next", 1.0) == "next"
    go.set()


def test_with_too_many_left_to_themselves_nothing_new_is_begun_until_one_has_ended():
    limit, go = TimeLimit(), threading.Event()
    for _ in range(MAX_ABANDONED):
        with pytest.raises(ScoringTimeoutError):
            limit.call(lambda: go.wait(10), 0.01)
    with pytest.raises(ScoringTimeoutError, match="earlier calls still run"):
        limit.call(lambda: 1, 1.0)
    go.set()
    deadline = time.monotonic() + 5
    while True:
        try:
            assert limit.call(lambda: 1, 1.0) == 1
            break
        except ScoringTimeoutError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_without_time_left_nothing_is_begun():
    with pytest.raises(ScoringTimeoutError, match="no time left"):
        TimeLimit().call(lambda: pytest.fail("was begun"), 0)
