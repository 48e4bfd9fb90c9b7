"""What people read of what is served, and of the ledger."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from tidegate.cli.pages import pieces as show
from tidegate.cli.pages.pieces import Document
from tidegate.kernel import english

if TYPE_CHECKING:
    from rich.console import Console

# What is served


def route_change(out: "Console", model: str, answer: Document) -> None:
    """What an action did and what answers now."""
    done = answer["entry"]["action"].replace("_", " ") if answer["changed"] else "nothing to change"
    out.print(f"{model}: {done}; now {shares(answer['serves'])}", soft_wrap=True)
    for each in answer["entry"]["acknowledged"] if answer["changed"] else ():
        out.print(f"entry {each['seq']}: {each['problem']}", soft_wrap=True)
    route = answer["route"]
    if route["killed"] and route["champion"]:
        waiting = f"version {route['champion']['version']} waits"
        out.print(f'{waiting}: tidegate resume {model} --reason "..."', soft_wrap=True)


def readout(out: "Console", model: str, found: Document) -> None:
    """Both versions of a split, by metric and by value."""
    share = show.percent(found["share_bp"])
    out.print(
        f"{model}: version {found['version']} with {share} beside version {found['champion']}, since "
        f"{show.moment(found['since'])} UTC",
        soft_wrap=True,
    )
    labelled = f"{found['split_rows']:,} and {found['rows']:,} labelled answers"
    out.print(f"{labelled}, compared in {english.count(found['windows'], 'window')}")
    if found["until"]:
        out.print(f"there is more than one readout may read: it ends with the hour {found['until']}")
    rows = [
        (
            each["name"],
            *("" if each[arm] is None else f"{each[arm]:.4f}" for arm in ("split", "champion")),
            "" if each["gain"] is None else f"{each['gain']:+.4f} [{each['low']:+.4f}, {each['high']:+.4f}]",
            each["unit"],
            f"version {each['better']}" if each["better"] else "not shown yet",
        )
        for each in found["findings"]
    ]
    heads = ("by", f">version {found['version']}", f">version {found['champion']}", ">gain [interval]", "in", "better")
    show.table(out, heads, rows)
    out.print(found["sentence"], soft_wrap=True)


def shares(found: Sequence[Document]) -> str:
    """`version 1 with 80 %, version 2 with 20 %`; a sole one gets all."""
    named = [f"version {each['version']}" if each["version"] else "the fallback" for each in found]
    if len(found) == 1:
        return f"{named[0]} answers all requests"
    parts = zip(named, found, strict=True)
    return ", ".join(f"{name} with {show.percent(each['weight_bp'])}" for name, each in parts)


def served_at(out: "Console", model: str, found: Document) -> None:
    """What served at a moment, and who saw to it."""
    at = f"{found['at'][:19].replace('T', ' ')} UTC"
    if not found["served"]:
        out.print(f"{model} at {at}: nothing was served yet")
        return
    out.print(f"{model} at {at}: {shares(found['served'])}", soft_wrap=True)
    out.print()
    rows = [
        (
            str(each["version"] or "fallback"),
            show.percent(each["weight_bp"]),
            show.moment(each["by"]["at"]),
            each["by"]["action"].replace("_", " "),
            show.who(each["by"]["actor"]),
            each["by"]["reason"] + (f" (approved by {show.who(each['approved_by'])})" if each["approved_by"] else ""),
        )
        for each in found["served"]
    ]
    show.table(out, ("version", ">weight", "since (UTC)", "by action", "of", "why"), rows)
    entry = found["entry"]
    done = entry["action"].replace("_", " ")
    out.print()
    out.print(
        f"the entry in force: {entry['seq']}, {done} by {show.who(entry['actor'])}: {entry['reason']}", soft_wrap=True
    )


def verification(out: "Console", model: str, found: Document) -> None:
    """Whether the chains hold, and where they break."""
    for name, chain in (("ledger", found), ("ledger of batches", found["batches"])):
        if chain["intact"] and (chain["entries"] or chain is found):
            out.print(
                f"{model}: the {name} is intact, {english.count(chain['entries'], 'entry', 'entries')}, "
                f"head {chain['head'] or 'none'}"
            )
        elif not chain["intact"]:
            out.print(Text(f"{model}: the {name} is BROKEN at entry {chain['break']['seq']}", style="bold red"))
            out.print(chain["break"]["problem"])
            out.print("what to do: docs/operations.md, `When the chain is broken`")
    for each in found["acknowledged"]:
        who = f"entry {each['entry']} of {show.who(each['by'])} ({show.moment(each['at'])})"
        out.print(f"a break at entry {each['seq']} was acknowledged by {who}: {each['reason']}", soft_wrap=True)
        out.print(f"  {each['problem']}", soft_wrap=True)


def ledger(out: "Console", acts: Document) -> None:
    """Changes of what is served, and batches, oldest first."""
    rows = [
        (
            show.moment(each["at"]),
            each["action"].replace("_", " "),
            _scored(each) if "batch_id" in each else _answering(each),
            show.who(each["actor"]),
            _batch(each) if "batch_id" in each else _why(each),
        )
        for each in sorted([*acts["entries"], *acts["batches"]], key=lambda each: datetime.fromisoformat(each["at"]))
    ]
    show.table(out, ("when (UTC)", "action", "answers", "by", "why"), rows, none="no entries")
    show.more(out, f"newest {len(rows)}", acts["next"])


def _why(entry: Document) -> str:
    approved = f" (approved by {show.who(entry['approved_by'])})" if entry["approved_by"] else ""
    return show.brief(entry["reason"]) + approved


def _scored(entry: Document) -> str:
    """`2: 1,000 rows`: which version answers a batch, and how much of it."""
    many, what = (entry["objects"], "object") if entry["rows"] is None else (entry["rows"], "row")
    return f"{entry['version']}: {english.count(many, what)}"


def _batch(entry: Document) -> str:
    if entry["rows"] is None:
        return f"{entry['input']} to {entry['output']}"
    return f"{entry['output']}, {entry['faulty']:,} with faults"


def _answering(entry: Document) -> str:
    """`2: 5 %, 1: 95 %`: which versions answer from an entry on, and how much of the requests."""
    if entry["killed"]:
        return "fallback: 100 %"
    weight = entry["weight_bp"]
    parts = [(entry["version"], weight), (entry["previous_version"], 10_000 - weight)]
    return ", ".join(f"{version or 'fallback'}: {show.percent(part)}" for version, part in parts if part)
