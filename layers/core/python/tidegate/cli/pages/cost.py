"""What people read of costs, and of what answers were worth."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from tidegate.cli.pages import pieces as show
from tidegate.cli.pages.pieces import Document
from tidegate.kernel import english

if TYPE_CHECKING:
    from rich.console import Console


def warn_of_spike(out: "Console", model: str, sentence: str) -> None:
    out.print(Text.assemble(f"{model}: ", Text("✗ cost has risen", style="yellow")))
    show.reasons(out, [sentence])


def costs(out: "Console", found: Document) -> None:
    """The window, a line for each part, totals of business units, and what is missing to show more."""
    if found["last"]:
        out.print(
            f"{english.count(found['days'], 'day')} to {found['last']} UTC, as of the last look; cost in USD, "
            "with a month of storage;"
        )
        out.print("value of the decisions with known outcome")
        out.print()
        _costs(out, found["lines"], [name for name in ("model", "version", "business_unit") if name in _first(found)])
        if found["by"] != "unit" and found["lines"]:
            out.print()
            _costs(out, found["units"], ["business_unit"])
    for name, sentence in found["spikes"].items():
        out.print()
        warn_of_spike(out, name, sentence)
    if found["undeclared"] or found["unknown"]:
        out.print()
    for name in found["undeclared"]:
        out.print(f"{name} has no value: declare `value` in the spec (docs/model-spec.md)", soft_wrap=True)
    if found["unknown"]:
        out.print(f"not judged yet: {', '.join(found['unknown'])}", soft_wrap=True)


def _first(found: Document) -> Document:
    return next(iter(found["lines"]), {})


def _costs(out: "Console", lines: Sequence[Document], names: Sequence[str]) -> None:
    rows = [
        (
            *(each[name] for name in names),
            f"{each['requests']:,.0f}",
            f"{each['billed_ms'] / 1e3:,.1f} s",
            show.size(round(each["stored_bytes"])),
            f"{each['usd']:,.4f}",
            f"{each['right']:,}",
            f"{each['wrong']:,}",
            "" if each["value"] is None else f"{each['value']:,.2f} {each['currency']}",
            "" if each["net_usd_per_1000"] is None else f"{each['net_usd_per_1000']:,.2f} USD",
        )
        for each in lines
    ]
    heads = (">requests", ">billed", ">stored", ">cost", ">right", ">wrong", ">value", ">net of 1,000 decisions")
    named = [name.replace("_", " ") for name in names]
    show.table(out, (*named, *heads), rows, none="no requests in that time")
