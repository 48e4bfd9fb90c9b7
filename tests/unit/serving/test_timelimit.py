import threading
import time

import pytest

from tidegate.kernel.errors import ScoringTimeoutError
from tidegate.steps.serving.timelimit import KNOWN_CALLS, MARGIN, MAX_ABANDONED, Pace, TimeLimit

NOTHING: dict[str, int] = {}


def test_an_answer_in_time_comes_back_and_so_does_what_was_raised():
    limit = TimeLimit()
    assert limit.call(lambda: 7, 1.0) == 7
    with pytest.raises(KeyError):
        limit.call(lambda: NOTHING["x"], 1.0)
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


# Calls by the caller itself

HERE = threading.get_ident()


def known(limit, pace, rows=10):
    """As many calls as it takes to know how long they are."""
    return [limit.call(threading.get_ident, 10.0, pace, rows) for _ in range(KNOWN_CALLS)]


def test_calls_that_are_known_to_be_short_are_made_by_their_caller():
    limit, pace = TimeLimit(), Pace()
    assert HERE not in known(limit, pace)
    assert [limit.call(threading.get_ident, 10.0, pace, rows) for rows in (10, 1)] == [HERE, HERE]


def test_what_is_known_of_one_kind_of_call_says_nothing_of_another():
    limit = TimeLimit()
    known(limit, Pace())
    assert limit.call(threading.get_ident, 10.0, Pace(), 10) != HERE
    assert limit.call(threading.get_ident, 10.0) != HERE


def test_a_call_of_more_rows_than_any_before_is_made_beside():
    limit, pace = TimeLimit(), Pace()
    known(limit, pace)
    assert limit.call(threading.get_ident, 10.0, pace, 11) != HERE
    assert limit.call(threading.get_ident, 10.0, pace, 11) == HERE


def test_a_call_that_has_too_little_time_for_its_margin_is_made_beside():
    pace = Pace()
    for _ in range(KNOWN_CALLS):
        pace.note(10, 0.01)
    assert pace.is_short(10, 0.0101 * MARGIN)
    assert not pace.is_short(10, 0.0099 * MARGIN)
    pace.note(10, 0.1)  # one slow one is enough, for a while
    assert not pace.is_short(10, 0.0101 * MARGIN)
    for _ in range(500):
        pace.note(10, 0.01)
    assert pace.is_short(10, 0.0101 * MARGIN)


def test_after_a_call_that_took_too_long_calls_are_made_beside_and_end_again():
    limit, pace, go = TimeLimit(), Pace(), threading.Event()
    for _ in range(KNOWN_CALLS):
        pace.note(1, 1e-6)
    assert limit.call(lambda: time.sleep(0.03) or threading.get_ident(), 0.01, pace) == HERE  # late, but an answer
    with pytest.raises(ScoringTimeoutError, match="no answer after 10 ms"):
        limit.call(lambda: go.wait(10), 0.01, pace)
    go.set()
    assert limit.call(threading.get_ident, 10.0, pace) != HERE


def test_what_a_call_by_its_caller_raises_comes_out_and_is_not_counted_as_an_answer():
    limit, pace = TimeLimit(), Pace()
    known(limit, pace)
    with pytest.raises(KeyError):
        limit.call(lambda: NOTHING["x"], 10.0, pace, 1)
    assert limit.call(threading.get_ident, 10.0, pace, 1) == HERE
