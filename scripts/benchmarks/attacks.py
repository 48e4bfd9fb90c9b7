"""Attacks by people with access, and by what they send, on the local cloud: what is tried, and whether it holds.

Each attack is a test with the mark `attack`, so what this prints is what the tests do, run now.
"""

import contextlib
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SUMMARY = "what people with access, and their input, try on the local cloud, and whether it holds"
ROOT = Path(__file__).resolve().parents[2]
ON = {
    "labels": "one's own labels for one's own model",
    "route": "what is served, without an entry of the ledger",
    "files": "the files that steps decide on",
    "page": "the page that an approver reads",
    "four eyes": "the approval of one's own work",
    "input": "specs, requests and descriptions",
    "objects": "an object that blinds a model's monitoring",
    "personal data": "personal data and its retention",
    "bombs": "files that unpack to more than there is",
    "outcomes": "outcomes of other people's predictions",
    "batches": "data that the caller may not read",
    "supply chain": "what the product is built from",
}
"""What attacks aim at: the first word of each mark."""

Attack = tuple[str, str]


@dataclass
class Attacks:
    """A plugin of pytest that notes what became of each marked test."""

    held: dict[Attack, list[bool]] = field(default_factory=dict)
    found: set[Attack] = field(default_factory=set)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what is to be tried."""
        self.found |= {mark.args for item in session.items for mark in item.iter_markers("attack")}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """A test holds when each of its phases passes; one that is skipped shows nothing."""
        report = yield
        for mark in item.iter_markers("attack"):
            if report.when == "call" or report.failed:
                self.held.setdefault(mark.args, []).append(report.passed)
        return report


def marked() -> list[str]:
    """The files that have attacks."""
    return sorted(
        str(path.relative_to(ROOT))
        for path in ROOT.glob("tests/**/test_*.py")
        if "pytest.mark.attack(" in path.read_text("utf-8")
    )


def run(*, quick: bool) -> dict[str, Any]:  # noqa: ARG001  each attack is tried once, quick or not
    """Try every attack once, beside a progress report on standard error."""
    attacks = Attacks()
    arguments = ["-p", "no:schemathesis", "-W", "ignore::pytest.PytestAssertRewriteWarning", "-m", "attack", *marked()]
    with contextlib.redirect_stdout(sys.stderr):
        code = pytest.main([*arguments, f"--rootdir={ROOT}"], plugins=[attacks])
    places = list(ON)
    rows = sorted(attacks.held.items(), key=lambda each: places.index(each[0][0]))
    return {
        "attacks": [
            {"attack": ON[aim], "tried": tried, "times": len(held), "held": all(held)} for (aim, tried), held in rows
        ],
        "exit_code": int(code),
        "not_tried": sorted(f"{ON[aim]}: {tried}" for aim, tried in attacks.found - attacks.held.keys()),
    }


def failed(figures: Mapping[str, Any]) -> list[str]:
    """Attacks that did not hold or were not tried, what none was tried on, and a run that did not come to its end."""
    rows = figures["attacks"]
    tried = {row["attack"] for row in rows}
    broken = [f"{row['attack']}: {row['tried']}" for row in rows if not row["held"]]
    untried = [f"no attack on {what}" for what in ON.values() if what not in tried]
    ended = figures["exit_code"] in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    code = [] if ended else [f"pytest ended with exit code {figures['exit_code']}"]
    return broken + untried + [f"not tried: {attack}" for attack in figures["not_tried"]] + code


def tables(figures: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[Any]]]]:
    """One row an attack."""
    rows = [
        [row["attack"], row["tried"], row["times"], "held" if row["held"] else "FELL"] for row in figures["attacks"]
    ]
    return [("attacks on the local cloud", ["on", "tried", "times", ""], rows)]
