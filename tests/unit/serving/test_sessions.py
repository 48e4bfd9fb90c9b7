"""What is kept open within a number of bytes, and opened once however many ask for it."""

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.steps.serving.sessions import Opened, _Load

SECONDS = 10  # more than any of this takes: a test that waits so long has failed


class Thing:
    """What a key opens."""


def opening(size: int, log: list[str], name: str) -> Callable[[], tuple[str, int]]:
    def open_() -> tuple[str, int]:
        log.append(name)
        return name, size

    return open_


def test_what_is_kept_is_not_opened_again():
    opened, log = Opened[str](100), list[str]()
    assert [opened.get("a", opening(1, log, "a")) for _ in range(3)] == ["a", "a", "a"]
    assert log == ["a"]


def test_the_longest_unused_goes_first():
    gone: list[int] = []
    opened, log = Opened[str](20, evicted=gone.append), list[str]()
    for name in ("a", "b", "a", "c", "a", "b"):
        opened.get(name, opening(10, log, name))
    assert log == ["a", "b", "c", "b"]
    assert gone == [1, 1]
    assert (len(opened), opened.kept_bytes) == (2, 20)


def test_one_large_thing_may_push_out_several():
    gone: list[int] = []
    opened, log = Opened[str](30, evicted=gone.append), list[str]()
    for name, size in (("a", 10), ("b", 10), ("c", 10), ("large", 15), ("c", 10)):
        opened.get(name, opening(size, log, name))
    assert log == ["a", "b", "c", "large"]
    assert gone == [2]


def test_what_is_larger_than_the_budget_is_kept_alone_until_the_next():
    opened, log = Opened[str](10), list[str]()
    for name, size in (("a", 5), ("huge", 50), ("huge", 50), ("a", 5), ("huge", 50)):
        opened.get(name, opening(size, log, name))
    assert log == ["a", "huge", "a", "huge"]
    assert (len(opened), opened.kept_bytes) == (1, 50)


@given(
    budget=st.integers(0, 60),
    sizes=st.dictionaries(st.integers(0, 9), st.integers(0, 30), min_size=1),
    data=st.data(),
)
def test_the_budget_holds_and_the_order_is_that_of_use(budget, sizes, data):
    """Against a list that is counted anew each time."""
    opened, log = Opened[int](budget), list[int]()
    used: list[int] = []

    def once(key: int) -> tuple[int, int]:
        log.append(key)
        return key, sizes[key]

    for key in data.draw(st.lists(st.sampled_from(sorted(sizes)), max_size=50)):
        missed = key not in used
        used = [*(each for each in used if each != key), key]
        while sum(sizes[each] for each in used) > budget and len(used) > 1:
            used.pop(0)
        asked = len(log)
        assert opened.get(key, partial(once, key)) == key
        assert len(log) - asked == missed
        assert (len(opened), opened.kept_bytes) == (len(used), sum(sizes[each] for each in used))


def test_a_thing_that_went_lives_on_for_those_who_use_it():
    opened = Opened[Thing](1)
    using = opened.get("a", lambda: (Thing(), 1))
    left = weakref.ref(using)
    opened.get("b", lambda: (Thing(), 1))
    gc.collect()
    assert left() is using
    del using
    gc.collect()
    assert left() is None


class Gate:
    """An opening that takes as long as a test wants."""

    def __init__(self, ends: Callable[[], tuple[Thing, int]] = lambda: (Thing(), 1)) -> None:
        self.calls = 0
        self.begun, self.may_end = threading.Event(), threading.Event()
        self._ends = ends

    def __call__(self) -> tuple[Thing, int]:
        self.calls += 1
        self.begun.set()
        assert self.may_end.wait(SECONDS)
        return self._ends()


def broken() -> tuple[Thing, int]:
    raise OSError("S3 did not answer")


def test_those_who_ask_at_once_get_the_one_thing_that_is_opened():
    opened, gate, start = Opened[Thing](10), Gate(), threading.Barrier(16)

    def ask() -> Thing:
        start.wait(SECONDS)
        return opened.get("a", gate)

    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(ask) for _ in range(16)]
        assert gate.begun.wait(SECONDS)
        assert not any(each.done() for each in asked)
        gate.may_end.set()
        assert len({id(each.result(SECONDS)) for each in asked}) == 1
    assert gate.calls == 1


def test_an_error_is_given_to_all_who_wait_and_the_next_one_opens_again(monkeypatch):
    waiting, result = threading.Semaphore(0), _Load.result
    monkeypatch.setattr(_Load, "result", lambda load: waiting.release() or result(load))
    opened, gate = Opened[Thing](10), Gate(broken)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(opened.get, "a", gate)
        assert gate.begun.wait(SECONDS)
        others = [pool.submit(opened.get, "a", Gate()) for _ in range(7)]
        assert all(waiting.acquire(timeout=SECONDS) for _ in others)
        gate.may_end.set()
        assert {str(each.exception(SECONDS)) for each in (first, *others)} == {"S3 did not answer"}
    assert (len(opened), opened.kept_bytes) == (0, 0)
    assert isinstance(opened.get("a", lambda: (Thing(), 1)), Thing)


def test_an_opening_that_is_broken_off_leaves_nobody_waiting():
    opened = Opened[Thing](10)

    def stopped() -> tuple[Thing, int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened.get("a", stopped)
    assert isinstance(opened.get("a", lambda: (Thing(), 1)), Thing)


def test_other_keys_do_not_wait_for_an_opening():
    opened, slow = Opened[Thing](10), Gate()
    kept = opened.get("kept", lambda: (Thing(), 1))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(opened.get, "slow", slow)
        assert slow.begun.wait(SECONDS)
        assert opened.get("kept", broken) is kept
        assert isinstance(opened.get("new", lambda: (Thing(), 1)), Thing)
        assert not asked.done()
        slow.may_end.set()
        asked.result(SECONDS)
    assert len(opened) == 3


def test_many_threads_leave_the_sum_of_what_is_kept():
    opened, start = Opened[tuple[int, int]](200), threading.Barrier(8)

    def opened_as(key: int) -> tuple[tuple[int, int], int]:
        return (key, key), key + 1

    def ask(seed: int) -> None:
        start.wait(SECONDS)
        for turn in range(2_000):
            key = (turn * (2 * seed + 1)) % 37
            assert opened.get(key, partial(opened_as, key)) == (key, key)

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(ask, seed) for seed in range(8)]:
            each.result(SECONDS)
    assert opened.kept_bytes == sum(size for _, size in opened._kept.values()) <= 200
