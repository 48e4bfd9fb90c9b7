"""What people read of a checked stage."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from tidegate.cli.doctor.verdicts import Line, Outcome
from tidegate.cli.pages import pieces as show
from tidegate.cli.pages.pieces import Document
from tidegate.kernel import english

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN = {
    Outcome.OK: ("ok", "green"),
    Outcome.WARN: ("warn", "yellow"),
    Outcome.FAIL: ("FAIL", "bold red"),
    Outcome.SKIPPED: ("skipped", "dim"),
}
_INDENT = " " * 9


def line(out: "Console", made: Line) -> None:
    """A check: how it ended, what was tried, what came, what to do."""
    word, style = _SHOWN[made.verdict.outcome]
    out.print(Text.assemble((f"{word:<9}", style), (made.name, "bold"), f": {made.tried}"), soft_wrap=True)
    out.print(f"{_INDENT}{made.verdict.came}", soft_wrap=True)
    if made.verdict.next_step:
        out.print(f"{_INDENT}next: {made.verdict.next_step}", soft_wrap=True)


def summary(out: "Console", lines: Sequence[Line]) -> None:
    """How many checks ended how, and how long they took."""
    counted = Counter(made.verdict.outcome for made in lines)
    parts = [f"{counted[outcome]} {_SHOWN[outcome][0]}" for outcome in Outcome if counted[outcome]]
    seconds = sum(made.seconds for made in lines)
    out.print(f"{english.count(len(lines), 'check')} in {seconds:.0f} s: {', '.join(parts) or 'nothing to remove'}")


def checks(out: "Console", listed: Sequence[Document]) -> None:
    """All checks there are."""
    rows = [(each["check"], each["tries"], ", ".join(each["needs"])) for each in listed]
    show.table(out, ("check", "what it does", "needs"), rows)
