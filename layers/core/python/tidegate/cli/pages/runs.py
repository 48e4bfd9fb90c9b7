"""What people read of runs: their candidates, and what came of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from tidegate.cli.pages import pieces as show
from tidegate.cli.pages.pieces import Document

if TYPE_CHECKING:
    from rich.console import Console
from tidegate.cli.pages.rollout import rollout_line
from tidegate.spec.estimators.nested import text_of


def runs(out: "Console", found: Sequence[Document], following: str | None) -> None:
    """One line for each run."""
    rows = [
        (
            each["run_id"],
            show.status(each["status"]),
            str(each["version"] or ""),
            show.duration(each["started_at"], each["ended_at"]),
            show.who(each["requested_by"]),
            each["reason"],
        )
        for each in found
    ]
    show.table(out, ("run", "status", ">version", ">took", "by", "reason"), rows, none="no runs")
    show.more(out, f"newest {len(rows)}", following)


def run(out: "Console", found: Document) -> None:
    """A run with its candidates."""
    error = found["error"]
    facts = {
        "run": f"{found['model']} {found['run_id']}",
        "status": show.status(found["status"]),
        "stage": found["stage"] if found["status"] == "running" else "",
        "error": f"{error['name']} in {error['stage']}: {error['message']}" if error else "",
        "version": str(found["version"] or ""),
        "reproduces": f"version {found['reproduces']}" if found.get("reproduces") else "",
        "requested": f"{show.moment(found['requested_at'])} by {show.who(found['requested_by'])} ({found['reason']})",
        "took": show.duration(found["started_at"], found["ended_at"]),
        "dataset": f"{found['dataset']} {found['dataset_version'] or ''}".rstrip(),
        "excluded": ", ".join(found["exclusions"]),
        "spec": found["spec_digest"][:12],
        "targets changed": "\n".join(found.get("target_changes") or ()),
        "code": found["code_version"],
        "lock": (found["lock_hash"] or "")[:12],
        "seed": str(found["seed"]),
        "token": found["token"],
    }
    show.facts(out, facts)
    if found["status"] == "requested":
        out.print("it starts by itself; one that cannot be started is closed within minutes")
    if found["candidates"]:
        out.print()
        candidates(out, found["candidates"], found["selected"])


def outcome(out: "Console", found: Document, made: Document | None, rolled: Document | None) -> None:
    """How a run ended, what goes on, and where to look further."""
    name, status = found["model"], found["status"]
    if made is None:
        error = found["error"] or {"name": "", "message": "no reason was recorded", "stage": found["stage"]}
        out.print(Text.assemble(f"{name}: run {found['run_id']} ", show.status(status), f" in {error['stage']}"))
        out.print(f"{error['name']}: {error['message']}" if error["name"] else error["message"])
        out.print(f"details: tidegate runs {name} {found['run_id']}", soft_wrap=True)
        return
    out.print(
        Text.assemble(
            f"{name} version {made['number']}: ", show.status(status), f"  {made['metric']} {show.interval(made)}"
        )
    )
    show.reasons(out, made["reasons"])
    if made["status"] == "champion":
        out.print("it serves now")
    if rolled:
        out.print(f"rollout: {rollout_line(rolled)}", soft_wrap=True)
    out.print(f"read why: tidegate report {name} {made['number']}", soft_wrap=True)
    if rolled and not rolled["ended_at"]:
        out.print(f"follow it: tidegate rollout {name} --run {found['run_id']} --follow", soft_wrap=True)
        if rolled["phase"] == "approval":
            show.reasons(out, made.get("approval_reasons") or ())
            out.print(f'an approver decides: tidegate approve {name} {made["number"]} --reason "..."', soft_wrap=True)


def candidates(out: "Console", found: Sequence[Document], selected: int | None) -> None:
    rows = [
        (
            f"{each['index'] + 1}{' *' if each['index'] == selected else ''}",
            each["estimator"].rsplit(".", 1)[-1],
            text_of(each["parameters"], between=" "),
            show.number(each["value"]),
            f"{each['fit_seconds']:.1f} s",
        )
        for each in found
    ]
    show.table(out, (">#", "candidate (* chosen)", "parameters", f">{found[0]['metric']}", ">fit"), rows)
