"""The benchmark of attacks prints at least one for each thing that can be aimed at."""

import re

import pytest

from scripts.benchmarks.attacks import ON, ROOT, failed, marked


def test_something_is_tried_on_everything_that_the_page_promises() -> None:
    texts = [(ROOT / file).read_text("utf-8") for file in marked()]
    aims = {aim for text in texts for aim in re.findall(r'pytest\.mark\.attack\(\s*"([^"]+)"', text)}
    assert aims == set(ON)


def test_what_falls_and_what_is_not_tried_breaks_the_promise() -> None:
    rows = [{"attack": what, "tried": "all", "times": 1, "held": what != ON["route"]} for what in ON.values()]
    ended = {"exit_code": 1, "not_tried": list[str]()}
    assert failed({"attacks": rows} | ended) == [f"{ON['route']}: all"]
    assert failed({"attacks": rows[2:]} | ended) == [f"no attack on {ON[aim]}" for aim in ("labels", "route")]


@pytest.mark.parametrize(("code", "said"), [(0, []), (2, ["pytest ended with exit code 2"])])
def test_a_run_that_did_not_come_to_its_end_promises_nothing(code: int, said: list[str]) -> None:
    rows = [{"attack": what, "tried": "all", "times": 1, "held": True} for what in ON.values()]
    assert failed({"attacks": rows, "exit_code": code, "not_tried": []}) == said
    left = {"attacks": rows, "exit_code": code, "not_tried": ["labels: late"]}
    assert failed(left) == ["not tried: labels: late", *said]
