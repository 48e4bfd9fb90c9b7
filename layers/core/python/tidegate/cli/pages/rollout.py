"""What people read of a version on its way to its users."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from tidegate.cli.pages import pieces as show
from tidegate.cli.pages.pieces import Document
from tidegate.kernel import english

if TYPE_CHECKING:
    from rich.console import Console
from tidegate.cli.pages.routes import shares

# On the way in


def rollout_line(found: Document) -> str:
    """Where a rollout is: `canary: version 2 answers 5 %, step 2 of 4; too little evidence yet`."""
    version = f"version {found['version']}"
    match found["phase"]:
        case "approval":
            said = "waits for an approver"
        case "shadow":
            said = f"{version} scores the same requests, but its answers are not returned{_so_far(found)}"
        case "canary":
            share = show.percent(found["share_bp"])
            said = f"{version} answers {share}, step {found['step']} of {found['steps']}{_so_far(found)}"
        case "probation":
            said = f"{version} is promoted and answers {show.percent(found['share_bp'])}{_so_far(found)}"
        case _:
            said = show.brief(found["reason"])
    return f"{found['phase'].replace('_', ' ')}: {said}"


_SO_FAR = {
    "pass": "; shown to be no worse",
    "fail": "; shown to be worse",
    "insufficient_data": "; too little evidence yet",
}


def _so_far(found: Document) -> str:
    return _SO_FAR.get(found["outcome"], "")


def rollout(out: "Console", found: Document) -> None:
    """One page: the way with where it is on it, the facts, the evidence, the approval and what to do."""
    out.print(f"{found['model']} version {found['version']}, run {found['run_id']}")
    out.print(_path(found["path"]))
    out.print()
    show.facts(out, _facts(found) | _approval(found["approval"]))
    if found["verdict"] and found["verdict"]["findings"]:
        out.print()
        _findings(out, found)
    for line in _needed(found):
        out.print(line, soft_wrap=True)
    if found.get("forecast"):
        out.print()
        forecast(out, found["forecast"])
    out.print()
    out.print(f"next: {found['next_step']}", soft_wrap=True)


def forecast(out: "Console", found: Document | None) -> None:
    """How long a release is expected to take; with what to change, where it probably takes too long."""
    if not found:
        return
    style = {"likely": "", "uncertain": "yellow", "unlikely": "yellow"}[found["chance"]]
    out.print(Text(f"forecast: {found['sentence']}", style=style), soft_wrap=True)
    if found["ways"]:
        out.print("what would make it likely (docs/canary.md, low traffic):")
    for way in found["ways"]:
        out.print(f"  - {way}", soft_wrap=True)


def _path(stages: Sequence[Document]) -> Text:
    """`approval ✓ -> canary 1 % ✓ [5 %] 25 % -> promoted -> probation`."""
    line = Text()
    before = ""
    for stage in stages:
        name = stage["stage"]
        if name == "canary":
            line.append(" " if before == "canary" else " -> canary " if line else "canary ")
            line.append_text(_mark(show.percent(stage["share_bp"]), stage["state"]))
        else:
            line.append(" -> " if line else "")
            line.append_text(_mark(name, stage["state"]))
        before = name
    return line


def _mark(name: str, state: str) -> Text:
    match state:
        case "done":
            return Text(f"{name} ✓", style="green")
        case "now":
            return Text(f"[{name}]", style="bold cyan")
        case "ended":
            return Text(f"{name} ✗", style="red")
        case _:
            return Text(name, style="dim")


def _facts(found: Document) -> dict[str, str | Text | None]:
    phase, plan, ended = found["phase"], found["plan"], found["ended_at"]
    canary = phase == "canary"
    bound = {"shadow": "until", "canary": "at least until", "probation": "until"}.get(phase)
    more = f", {bound} {show.moment(found['until'])}" if bound else ""
    step = f", step {found['step']} of {found['steps']}" if canary else ""
    then = "it waits at its last share" if plan["at_deadline"] == "wait" else "it is rolled back"
    counted = f"{found['answered']:,} in this " + (f"step (at least {plan['min_requests']:,})" if canary else "phase")
    return {
        "phase": Text(phase.replace("_", " ") + step, style=_PHASE_STYLE.get(phase, "yellow")),
        "answers now": f"{show.percent(found['share_bp'])} of the requests",
        "ended" if ended else "since": show.moment(ended or found["since"]) + more + " UTC",
        "requests": counted if found["answered"] else "none yet: requests are what it is judged by" if canary else "",
        "share": found["missed_share"],
        "next look": f"{found['next_look_at'][:19].replace('T', ' ')} UTC{_raised(found)}"
        if found["next_look_at"]
        else "",
        "deadline": f"{show.moment(found['deadline'])} UTC; without enough evidence {then}" if canary else "",
        "promoted": f"{show.moment(found['promoted_at'])} UTC" if found["promoted_at"] else "",
        "reason": show.brief(found["reason"]) if phase == "probation" else found["reason"],
    }


_PHASE_STYLE = {"approval": "cyan", "shadow": "cyan", "canary": "cyan", "probation": "cyan", "done": "bold green"}


def _approval(asked: Document | None) -> dict[str, str | Text | None]:
    if asked is None:
        return {}
    if asked["decision"]:
        word = {"approve": "approved", "reject": "rejected"}[asked["decision"]]
        return {
            "approval": f"{word} by {show.who(asked['by'])}, {show.moment(asked['decided_at'])} UTC: {asked['reason']}"
        }
    makers = [f"{show.who(each['who'])} ({each['why']})" for each in asked["excluded"]]
    expires = show.moment(asked["expires_at"])
    return {
        "approval": f"requested {show.moment(asked['asked_at'])}, due by {expires} UTC",
        "because": "\n".join(asked.get("reasons") or ()),
        "not by": ", ".join(makers),
        "artifact": f"sha256 {asked['artifact_sha256']}",
        "report": f"sha256 {asked['report_sha256']}",
    }


_FINDINGS = {
    "pass": ("✓ no worse", "green"),
    "fail": ("✗ WORSE", "bold red"),
    "insufficient_data": ("· not shown yet", "dim"),
}


def _findings(out: "Console", found: Document) -> None:
    """What the arms are compared by. Numbers are percentage points, intervals hold at every look."""
    champion = "target" if found["judged_against"] is None else f"n, version {found['judged_against']}"
    rows = []
    for each in found["verdict"]["findings"]:
        word, style = _FINDINGS[each["outcome"]]
        waited = "" if each["required"] else " (not waited for)"
        rows.append(
            (
                each["metric"],
                f"{each['candidate_n']:,}",
                f"{each['champion_n']:,}" if found["judged_against"] is not None else _points(each["champion"]),
                _difference(each),
                Text(word + waited, style=style),
            )
        )
    difference = "difference [interval], points"
    show.table(out, ("metric", f">n, version {found['version']}", f">{champion}", f">{difference}", "outcome"), rows)


def _raised(found: Document) -> str:
    """That evidence is looked at less often than the spec says."""
    every, asked = found.get("look_seconds"), found["plan"]["look_seconds"]
    if not every or every <= asked:
        return ""
    return f", one every {every:.0f} s: less often than look_seconds ({asked:g}), since this phase may last long"


def _needed(found: Document) -> Iterator[str]:
    """What each open metric still needs, as an estimate."""
    needed, rate = found.get("still_needed"), found.get("requests_a_minute")
    if not needed or found["ended_at"]:
        return
    yield ""
    speed = f"version {found['version']} answers {rate:g} requests a minute" if rate else "no rate is known yet"
    yield f"still needed, estimated from what was seen so far ({speed}):"
    for metric, more in needed.items():
        unit = {"scores": "score", "loss": "label"}.get(metric, "request")
        if more is None:
            yield f"  {metric}: cannot be estimated yet, or it would not pass at these rates"
        else:
            minutes = f", {english.count(math.ceil(more / rate), 'minute')} at this rate" if rate else ""
            yield f"  {metric}: about {more:,} more {english.noun(more, unit)}{minutes}"


def _difference(finding: Document) -> str:
    if finding["candidate"] is None or finding["champion"] is None:
        return ""
    if finding["difference"] is None:
        return f"{100 * finding['candidate']:.2f} apart"
    return "{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * finding[part] for part in ("difference", "low", "high")))


def _points(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def rollout_ended(out: "Console", model: str, answer: Document) -> None:
    """What ending by hand did, and what answers now."""
    ended = answer["rollout"]
    if not answer["changed"]:
        out.print(f"{model}: nothing to end; no release is under way")
    elif answer.get("run"):
        out.print(f"{model}: run {answer['run']['run_id']} is ended; the model can be trained again", soft_wrap=True)
    else:
        out.print(f"{model}: the rollout of version {ended['version']} is ended")
    if answer["serves"]:
        out.print(f"now {shares(answer['serves'])}", soft_wrap=True)


def to_decide(out: "Console", shown: Document) -> None:
    """What an approver is about to decide about."""
    facts: dict[str, str | Text | None] = {
        "version": f"{shown['model']} {shown['number']}",
        "status": show.status(shown["status"]),
        shown["metric"]: show.interval(shown),
        "dataset": f"{shown['dataset']} {shown['dataset_version']}",
        "created": f"{show.moment(shown['created_at'])} by {show.who(shown['created_by'])}",
        "asked because": "\n".join(shown.get("approval_reasons") or ()),
        "artifact": f"sha256 {shown['artifact_sha256']}",
        "report": f"sha256 {shown['report_sha256']}",
    }
    show.facts(out, facts)
    out.print(f"read it: tidegate report {shown['model']} {shown['number']}", soft_wrap=True)


def decided(out: "Console", answer: Document) -> None:
    """What is recorded, and what comes of it."""
    found = answer["rollout"]
    asked = found["approval"]
    approved = asked["decision"] == "approve"
    again = "" if answer["changed"] else " (it was already)"
    named = f"{found['model']} version {found['version']}"
    out.print(f"{named}: {'approved' if approved else 'rejected'} by {show.who(asked['by'])}{again}", soft_wrap=True)
    if approved:
        out.print(f"follow it: tidegate rollout {found['model']} --run {found['run_id']} --follow", soft_wrap=True)
