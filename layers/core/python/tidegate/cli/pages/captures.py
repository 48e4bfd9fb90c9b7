"""What people read of captured predictions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tidegate.cli.pages import pieces as show
from tidegate.cli.pages.pieces import Document

if TYPE_CHECKING:
    from rich.console import Console

# Monitoring


def captures(out: "Console", found: Sequence[Document], rest: str | None) -> None:
    """Captured predictions, newest first."""
    rows = [
        (
            each["id"],
            show.moment(each["time"]),
            f"{each['arm']} {each['version'] or ''}".strip(),
            show.cell(each["label"]),
            show.cell(each["score"]),
            " ".join(filter(None, (each["error"], *each["violations"]))),
            " ".join(f"{name}={show.cell(value)}" for name, value in each["inputs"].items()),
        )
        for each in found
    ]
    heads = ("id", "when (UTC)", "answered by", "label", ">score", "fault", "inputs")
    show.table(out, heads, rows, none="no captures in that time")
    show.more(out, f"newest {len(rows)}", rest)
