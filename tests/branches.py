"""Coverage of the library's lines and branches by SlipCover: `pytest -p no:slipcover -p tests.branches`.

A probe goes once it was passed, so tests take hardly longer; a tracer doubles the time of many. SlipCover's own plugin
does not know pytest's way of importing, so the library's modules are instrumented here, and workers' counts are merged.
"""

import json
import os
from typing import Any

import pytest
import slipcover

LIBRARY = "layers/core/python/tidegate"
LEFT_OUT = ["if TYPE_CHECKING:", r"\.\.\.$", "assert_never"]
MOST_FILES = 10

_is_worker = "PYTEST_XDIST_WORKER" in os.environ
_measured = slipcover.Slipcover(branch=True, source=None if _is_worker else [LIBRARY], exclude_also=LEFT_OUT)
_of_workers: list[dict[str, Any]] = []
slipcover.ImportManager(_measured, slipcover.FileMatcher(sources=[LIBRARY])).__enter__()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands over what it passed."""
    if _is_worker:
        session.config.workeroutput["coverage"] = json.dumps(_measured.get_coverage())  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Keep what a worker passed; one that crashed has said nothing."""
    if said := getattr(node, "workeroutput", {}).get("coverage"):
        _of_workers.append(json.loads(said))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was passed in all, and where most is missing."""
    found = _measured.get_coverage()
    for each in _of_workers:
        slipcover.merge_coverage(found, each)
    rows = [(file, each["summary"]) for file, each in found["files"].items()]
    rows.sort(key=lambda row: -row[1]["missing_lines"] - row[1]["missing_branches"])
    terminalreporter.section("coverage of lines and branches, and where most is missing")
    for name, said in [*rows[:MOST_FILES], ("in all", found["summary"])]:
        lines = f"{said['missing_lines']:6,} of {said['missing_lines'] + said['covered_lines']:6,} lines"
        branches = f"{said['missing_branches']:5,} of {said['missing_branches'] + said['covered_branches']:5,} branches"
        place = name.removeprefix(f"{LIBRARY}/")
        terminalreporter.write_line(f"{place:<40} {said['percent_covered']:5.1f} %   missing {lines}, {branches}")
