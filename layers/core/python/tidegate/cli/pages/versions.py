"""What people read of versions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tidegate.cli.pages import pieces as show
from tidegate.cli.pages.pieces import Document

if TYPE_CHECKING:
    from rich.console import Console


def versions(out: "Console", found: Sequence[Document], following: str | None) -> None:
    """One line for each version."""
    rows = [
        (
            str(each["number"]),
            show.status(each["status"]),
            f"{each['metric']} {show.interval(each)}",
            each["dataset_version"],
            each["created_at"][:10],
        )
        for each in found
    ]
    none = "no versions yet: tidegate train MODEL --wait"
    show.table(out, (">version", "status", "metric [interval]", "dataset", "created"), rows, none=none)
    show.more(out, f"newest {len(rows)}", following)


def version(out: "Console", found: Document) -> None:
    """One version with what it was made of."""
    facts = {
        "version": f"{found['model']} {found['number']}",
        "status": show.status(found["status"]),
        found["metric"]: show.interval(found),
        "run": found["run_id"],
        "dataset": f"{found['dataset']} {found['dataset_version']}",
        "spec": found["spec_digest"][:12],
        "artifact": f"{found['artifact_key']}  sha256 {found['artifact_sha256'][:12]}",
        "code": found["code_version"],
        "lock": found["lock_hash"][:12],
        "created": f"{show.moment(found['created_at'])} by {show.who(found['created_by'])}",
        "needs approval": "\n".join(found.get("approval_reasons") or ()),
    }
    show.facts(out, facts)
    show.reasons(out, found["reasons"])
    out.print(f"read why: tidegate report {found['model']} {found['number']}", soft_wrap=True)
