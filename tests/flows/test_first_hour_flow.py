"""docs/first-hour.md as it stands: its commands in their order, in a copy of the repository, on a busy machine."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "first-hour.md"
MOST_SECONDS = 900  # of a block, on a machine that has other things to do
MOST_CPU_SECONDS = 150  # of two cores in 5 minutes, a quarter
_TOKEN = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
_HASH = re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b(?:r-[0-9a-z]+-)?[0-9a-f]{6,}\b|\b\d{4}-\d\d-\d\d \d\d:\d\d\b")


@dataclass(frozen=True)
class Block:
    """Commands of the page, and what it says they print."""

    commands: str
    prints: str

    @property
    def answers_http(self) -> bool:
        """Whether this is where one's own model answers."""
        return "\ncurl " in self.commands


def blocks() -> list[Block]:
    """The indented blocks of the page, each with the block of text right after it."""
    page = PAGE.read_text("utf-8")
    found = re.findall(r"((?:^    [^\n]*\n|^\n(?=    ))+)(?:\n```text\n([^`]*)```)?", page, re.MULTILINE)
    return [Block(re.sub(r"(?m)^    ", "", commands).strip("\n"), prints) for commands, prints in found]


def copied(folder: Path) -> None:
    """What a clone has, with the installed packages and layers of this one."""
    unseen = shutil.ignore_patterns(".?*", "node_modules", "cdk.out")
    shutil.copytree(ROOT, folder, ignore=unseen, symlinks=True)
    (folder / ".build").mkdir()
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / ".build" / "layers").symlink_to(ROOT / ".build" / "layers")


@contextmanager
def busy_machine() -> Iterator[None]:
    """Two processes that take whatever others leave."""
    burners = [subprocess.Popen(["nice", "-n", "10", sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def cpu_seconds(folder: Path) -> float:
    """Of all that was typed so far, and of the cloud with its functions (where there is /proc)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime + sum(_of_tree(_cloud(folder)))


def _cloud(folder: Path) -> int:
    try:
        return int(json.loads((folder / ".tidegate" / "local.json").read_text("utf-8"))["pid"])
    except OSError:
        return 0


def _of_tree(root: int) -> Iterator[float]:
    found: dict[int, tuple[int, float]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            found[int(stat.parent.name)] = int(fields[1]), sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    for process, (parent, seconds) in found.items():
        while process != root and parent in found:
            process, parent = parent, found[parent][0]  # noqa: PLW2901
        if process == root:
            yield seconds


def agrees(line: str, shown: str) -> bool:
    """Whether a printed line is the one of the page: the same words, hashes aside, and numbers of the same size."""
    line, shown = (_HASH.sub("#", " ".join(text.split())) for text in (line, shown))
    if shown.endswith(" ..."):
        return line.startswith(shown.removesuffix(" ..."))
    if _TOKEN.sub("0", line) != _TOKEN.sub("0", shown):
        return False
    pairs = zip(_TOKEN.findall(line), _TOKEN.findall(shown), strict=True)
    return all(_number(one) == pytest.approx(_number(other), rel=0.2) for one, other in pairs)


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def missing(printed: str, page: str) -> str | None:
    """The first line of the page that was not printed after the one before it."""
    lines = iter(printed.splitlines())
    for shown in page.splitlines():
        if shown != "..." and shown and not any(agrees(line, shown) for line in lines):
            return shown
    return None


def test_lines_agree_by_their_words_and_the_size_of_their_numbers() -> None:
    assert agrees("a  12,345 of 0.91, version 7f00aa1122", "a 12,300 of 0.90, version 0123456789")
    assert not agrees("a 12", "a 16")
    assert not agrees("accepted 12", "rejected 12")
    assert missing("one 1\ntwo 2\nthree 3\n", "one 1\n...\nthree 3\n") is None
    assert missing("two 2\none 1\n", "one 1\ntwo 2\n") == "two 2"


def test_the_page_leads_from_a_clone_to_a_model_that_is_watched_on_a_busy_machine(tmp_path: Path) -> None:
    folder = tmp_path / "tidegate"
    copied(folder)
    environment = tmp_path / "environment"
    environment.write_text("")
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TIDEGATE_L", "PYTEST"))
    }
    variables |= {"COLUMNS": "100"}
    page, began, before = blocks(), time.monotonic(), cpu_seconds(folder)
    assert sum(block.answers_http for block in page) == 1
    spent: list[str] = []
    with busy_machine():
        try:
            for block in page:
                script = f'source "{environment}"\n{block.commands}\ndeclare -px > "{environment}"\n'
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", script],
                    cwd=folder,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=MOST_SECONDS,
                    check=False,
                )
                used = cpu_seconds(folder) - before
                spent.append(f"{time.monotonic() - began:6.0f} s, {used:6.1f} CPU s: {block.commands.splitlines()[0]}")
                assert done.returncode == 0, f"{block.commands}\n{done.stdout}"
                unsaid = missing(done.stdout, block.prints)
                assert unsaid is None, f"{block.commands}\nprints no line like:\n{unsaid}\nbut:\n{done.stdout}"
                if block.answers_http:
                    assert used < MOST_CPU_SECONDS, "\n".join(spent)
        finally:
            subprocess.run(["scripts/local", "reset"], cwd=folder, env=variables, check=True, capture_output=True)
    assert _cloud(folder) == 0
