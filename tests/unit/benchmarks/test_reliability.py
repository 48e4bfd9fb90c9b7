"""What an answer under load is held to: a wrong one is found, whatever is wrong with it."""

import time
from typing import Any

import numpy as np
import pytest

from scripts.benchmarks.reliability_checks import (
    CRASHED,
    Allowed,
    Failure,
    Memory,
    Truth,
    faults,
    timetable,
    unexplained,
)
from scripts.benchmarks.reliability_load import Stage

TENTH = float(str(np.float32(0.1)))
TRUTH = Truth(
    versions={1: np.array([0.1, 0.2], np.float32), 2: np.array([0.3, 0.4], np.float32)}, fallback=np.array([0.5, 0.6])
)
ANY = Allowed(None, frozenset())


def answer(version: int | None, *scores: float, reason: str = "champion", **said: Any) -> dict[str, Any]:
    mark = {"fallback": True} if version is None else {}
    return {"version": version, "reason": reason, "predictions": [{"score": each} | mark for each in scores]} | said


def killed(*scores: float) -> dict[str, Any]:
    return answer(None, *scores, reason="fallback", why="killed")


def test_the_right_scores_of_each_instance_are_right() -> None:
    assert faults(answer(1, 0.2, TENTH), [1, 0], TRUTH, ANY) == []
    assert faults(killed(0.6), [1], TRUTH, Allowed(None, frozenset({"killed"}))) == []


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (answer(1, 0.3), "instead of"),
        (answer(1, float(np.nextafter(np.float32(0.1), np.float32(1)))), "instead of"),
        (answer(1, 0.1, 0.2), "2 predictions for 1"),
        (answer(3, 0.1), "not known"),
        (answer(1, 0.1) | {"predictions": [{"score": 0.1, "fallback": True}]}, "marked as the fallback's"),
        (answer(None, 0.5, reason="fallback", why="killed"), "without a fault"),
        (answer(1, 0.1, reason="previous_good", why="not_loadable"), "without a fault"),
        (answer(1, 0.1, reason="previous_good"), "without a fault"),
    ],
)
def test_whatever_is_wrong_is_found(wrong: dict[str, Any], word: str) -> None:
    (found,) = faults(wrong, [0], TRUTH, ANY)
    assert word in found


def test_an_excuse_holds_for_its_own_reason_and_never_for_a_score() -> None:
    excused = Allowed(frozenset({1}), frozenset({"not_loadable"}))
    assert faults(answer(2, 0.3, reason="previous_good", why="not_loadable"), [0], TRUTH, excused) == []
    assert faults(answer(2, 0.1, reason="previous_good", why="not_loadable"), [0], TRUTH, excused)
    assert faults(killed(0.5), [0], TRUTH, excused)


def test_a_version_that_does_not_serve_any_more_is_found() -> None:
    assert faults(answer(2, 0.3), [0], TRUTH, Allowed(frozenset({1, 2}), frozenset())) == []
    (found,) = faults(answer(2, 0.3), [0], TRUTH, Allowed(frozenset({1}), frozenset()))
    assert "['1'] serve" in found


def failure(began: float, ended: float, said: str = CRASHED) -> Failure:
    return Failure(500, began, ended, said, "quiet")


def test_a_killed_process_explains_one_request_that_was_under_way() -> None:
    under_way, also, later = failure(1, 3), failure(1, 4), failure(5, 6)
    assert unexplained([under_way], [2]) == []
    assert unexplained([under_way, also, later], [2]) == [also, later]
    assert unexplained([under_way, also, later], [2, 2, 7]) == [later]


def test_what_the_function_says_itself_is_explained_by_no_kill() -> None:
    own_words = failure(1, 3, '{"title":"Service Unavailable"}')
    assert unexplained([own_words], [2]) == [own_words]


def test_memory_grows_by_the_line_through_the_second_half() -> None:
    samples = [(float(second), 50.0 + min(second, 25) + 0.1 * max(second - 25, 0)) for second in range(101)]
    assert Memory.of(samples, 0, 100) == Memory(75.0, 77.5, 82.5, 5.0)


def test_a_process_that_did_not_live_long_enough_is_not_judged() -> None:
    samples = [(float(second), 50.0) for second in range(101)]
    assert Memory.of(samples[30:], 0, 100) is None
    assert Memory.of(samples[:90], 0, 100) is None


def test_a_timetable_shares_the_time_out() -> None:
    assert timetable({"quiet": 1, "killed": 3}, 80) == {"quiet": 20, "killed": 60}


def test_a_request_that_a_change_overtook_may_be_answered_by_any_version(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stage = Stage()
    stage.serves(frozenset({1}))
    assert stage.allowed(stage.look()) == ANY  # not every process knows it yet
    now[0] += 60
    began = stage.look()
    assert stage.allowed(began).versions == {1}
    stage.changes()
    stage.serves(frozenset({2}))
    now[0] += 60
    assert stage.allowed(began) == ANY
    assert stage.allowed(stage.look()).versions == {2}


def test_a_fault_excuses_until_some_time_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stage = Stage()
    with stage.excused("killed", 5):
        began = stage.look()
        assert stage.allowed(began).why == {"killed"}
    now[0] += 4
    assert stage.allowed(stage.look()).why == {"killed"}
    now[0] += 2
    assert stage.allowed(began).why == {"killed"}
    assert stage.allowed(stage.look()).why == frozenset()
