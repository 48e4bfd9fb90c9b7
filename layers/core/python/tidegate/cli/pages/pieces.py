"""What pages for people are made of: tables as wide as the terminal (in a pipe: as they need), facts, numbers."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from tidegate.kernel import figures

if TYPE_CHECKING:
    from rich.console import Console

Document = Mapping[str, Any]
SHOWN_REASON = 300  # characters
_STYLE = {
    "reproduced": "green", "differs": "yellow",
    "accepted": "green", "champion": "bold green", "ready": "green", "rejected": "yellow", "failed": "red",
    "running": "cyan", "candidate": "cyan", "requested": "cyan", "registering": "cyan", "retired": "dim",
    "overtaken": "yellow", "rolled_back": "yellow",
}  # fmt: skip
OUTCOMES = {
    "pass": ("pass", "green"),
    "fail": ("FAIL", "bold red"),
    "insufficient_data": ("TOO LITTLE DATA", "bold yellow"),
    "not_applicable": ("info only", "dim"),
}


def moment(text: str | None) -> str:
    """`2026-01-05 12:00` of an ISO time."""
    return text[:16].replace("T", " ") if text else ""


def span(start: str | None, end: str | None) -> str:
    """Two times; days alone when both are midnights."""
    if not start or not end:
        return ""
    days = all(text[11:19] == "00:00:00" for text in (start, end))
    return f"{start[:10]} .. {end[:10]}" if days else f"{moment(start)} .. {moment(end)}"


def duration(start: str | None, end: str | None) -> str:
    """Seconds between two ISO times."""
    if not start or not end:
        return ""
    from datetime import datetime

    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def who(arn: str | None) -> str:
    """The part of an ARN that people know: `Role/session`, `user/ana`, `release RUN_ID`, `monitoring`."""
    if not arn or not arn.startswith("arn:"):
        return arn or ""
    if ":states:" in arn and ":execution:" in arn:
        *_, machine, name = arn.split(":")
        return "monitoring" if machine.endswith("-retrain") else f"release {name}"
    return arn.split(":", 5)[-1].removeprefix("assumed-role/")


def brief(text: str) -> str:
    """The beginning of a long reason; --json has the whole."""
    return shorten(text, SHOWN_REASON, placeholder=" ...")


def percent(basis_points: int) -> str:
    """`12.5 %`."""
    return f"{basis_points / 100:g} %"


def size(count: int) -> str:
    """Bytes for people."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def interval(estimate: Document) -> str:
    """`0.751 [0.740, 0.762]`; a dash where there is none."""
    ends = [estimate[part] for part in ("value", "low", "high")]
    return "-" if None in ends else figures.interval(*ends)


def number(value: object) -> str:
    return figures.number(value) if isinstance(value, int | float) else "-"


def cell(value: object) -> str:
    return number(value) if isinstance(value, float) else "" if value is None else str(value)


def status(status: str) -> Text:
    return Text(status, style=_STYLE.get(status, ""))


def reasons(out: "Console", reasons: Iterable[str]) -> None:
    for reason in reasons:
        out.print(Text(f"  - {reason}"))


def facts(out: "Console", facts: Mapping[str, str | Text | None]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            table.add_row(name, value)
    out.print(table)


def table(out: "Console", heads: Sequence[str], rows: Sequence[Sequence[str | Text]], *, none: str = "") -> None:
    """Columns whose head begins with > are right-aligned."""
    if not rows:
        out.print(none or "none")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for position, head in enumerate(heads):
        right = head.startswith(">")
        # The first column names the row: people copy it.
        named = position == 0 and len(heads) > 2
        table.add_column(head.lstrip(">"), justify="right" if right else "left", overflow="fold", no_wrap=named)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def more(out: "Console", shown: str, following: str | None) -> None:
    """Says of a list that goes on what is `shown`, and how to see the rest."""
    if following:
        out.print(f"these are the {shown}; for more: --limit N or --all")


def checks(out: "Console", checks: Iterable[Document]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        word, style = OUTCOMES.get(check["outcome"], (check["outcome"], ""))
        table.add_row(Text(word, style=style), check["name"].replace("_", " "), check["statement"])
    out.print(table)
