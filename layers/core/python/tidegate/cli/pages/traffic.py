"""What people read of the rows that were played as requests."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tidegate.kernel import english

if TYPE_CHECKING:
    from rich.console import Console


def counted(counts: Mapping[str, int]) -> str:
    """Names with their counts, the largest first."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def summary(out: "Console", document: Mapping[str, Any]) -> None:
    """What was sent, who answered it, and what was not answered."""
    out.print(
        f"{document['model']}: {english.count(document['sent'], 'request')} in {document['seconds']:g} s, "
        f"{document['answered']:,} answered; {english.count(document['outcomes'], 'outcome')} reported",
        soft_wrap=True,
    )
    for title, counts in (("by version", document["by_version"]), ("by reason", document["by_reason"])):
        if counts:
            out.print(f"  {title}: {counted(counts)}", soft_wrap=True)
    for fault, count in list(document["faults"].items())[:5]:
        out.print(f"  not answered {count:,} times: {fault}", soft_wrap=True)
    out.print(f"see what came of it: tidegate rollout {document['model']}, tidegate drift {document['model']}")
