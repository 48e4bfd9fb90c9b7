"""What people read of predictions."""

from typing import TYPE_CHECKING

from tidegate.cli.pages import pieces as show
from tidegate.cli.pages.pieces import Document

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_PREDICTIONS = 20


def predictions(out: "Console", whole: Document) -> None:
    """Scores, and which version gave them."""
    version = whole.get("version")
    by, because = ("fallback", whole.get("why")) if version is None else (f"version {version}", whole.get("reason"))
    out.print(f"{whole.get('model', '')} {by}{f' ({because})' if because else ''}")
    if whole.get("detail"):
        out.print(whole["detail"], soft_wrap=True)
    found = whole["predictions"]
    shown = [name for name in ("label", "score", "lower", "upper") if any(name in each for each in found)]
    unusual = [each for each in found if each.get("unusual")]
    marked = ("unusual",) if unusual else ()
    rows = [
        (
            str(at),
            *(show.cell(each.get(name)) for name in shown),
            *("yes" if each.get(name) else "" for name in marked),
            str(each.get("prediction_id") or each.get("id", "")),
        )
        for at, each in enumerate(found[:SHOWN_PREDICTIONS], 1)
    ]
    heads = (name if name == "label" else f">{name}" for name in shown)
    show.table(out, (">#", *heads, *marked, "prediction id"), rows)
    if len(found) > SHOWN_PREDICTIONS:
        out.print(f"and {len(found) - SHOWN_PREDICTIONS:,} more: --json has them all")
    if unusual:
        by_fallback = sum(each.get("why") == "unusual" for each in unusual)
        answered = f"; the fallback answered {by_fallback:,} of them" if by_fallback else ""
        out.print(f"{len(unusual):,} unusual: unlike the training rows{answered}", soft_wrap=True)
    broken = [each["rule"] for each in found if each.get("rule")]
    if broken:
        rules = ", ".join(sorted(set(broken)))
        out.print(f"{len(broken):,} broke a rule ({rules}), so the fallback answered", soft_wrap=True)
