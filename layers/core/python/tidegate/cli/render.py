"""What people read, from the API's JSON: tables as wide as the terminal (in a pipe: as they need) and reports."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from tidegate.cli.distributions import Distribution, bar, distribution
from tidegate.cli.distributions import picture as drawn

if TYPE_CHECKING:
    from rich.console import Console

Document = Mapping[str, Any]
SHOWN_PREDICTIONS = 20
SHOWN_REASON = 300  # characters
BAR_WIDTH = 20  # characters
_STYLE = {
    "reproduced": "green", "differs": "yellow",
    "accepted": "green", "champion": "bold green", "ready": "green", "rejected": "yellow", "failed": "red",
    "running": "cyan", "candidate": "cyan", "requested": "cyan", "registering": "cyan", "retired": "dim",
    "overtaken": "yellow", "withdrawn": "yellow",
}  # fmt: skip


def datasets(out: "Console", found: Sequence[Document]) -> None:
    """One line for each dataset."""
    rows = [(each["name"], each["latest"] or "none ready", each["owner"], each["licence"]) for each in found]
    _table(
        out, ("dataset", "latest version", "owner", "licence"), rows, none="no datasets yet: tidegate data add --help"
    )


def dataset(out: "Console", whole: Document) -> None:
    """What is said of a dataset, its versions and its excluded periods."""
    said = whole["dataset"]
    facts = {
        "dataset": said["name"],
        "description": said["description"],
        "origin": said["origin"],
        "licence": said["licence"],
        "owner": said["owner"],
        "time column": said["time"],
        "outcome": ", ".join(said["outcome"]),
        "personal data": ", ".join(said["pii"]),
        "registered": f"{moment(said['registered_at'])} by {who(said['registered_by'])}",
    }
    _facts(out, facts)
    out.print()
    rows = [
        (
            each["version"] + (" *" if each["version"] == said["latest"] else ""),
            _status(each["status"]),
            f"{each['rows']:,}" if each["rows"] else "",
            span(each["time_from"], each["time_to"]),
            moment(each["added_at"]),
        )
        for each in whole["versions"]
    ]
    _table(out, ("version", "status", ">rows", "rows from .. to", "added"), rows, none="no versions")
    for each in whole["versions"]:
        if each["problem"]:
            out.print(f"{each['version']} failed: {each['problem']}")
    if whole["exclusions"]:
        out.print()
        lines = [
            (span(each["start"], each["end"]), each["reason"], who(each["author"])) for each in whole["exclusions"]
        ]
        _table(out, ("excluded", "reason", "by"), lines)


def dataset_version(out: "Console", found: Document) -> None:
    """A version with the profile of each column."""
    facts = {
        "dataset": f"{found['dataset']} {found['version']}",
        "status": _status(found["status"]),
        "problem": found["problem"],
        "rows": f"{found['rows']:,} ({found['duplicate_rows']:,} duplicates)",
        "time": span(found["time_from"], found["time_to"]),
        "files": ", ".join(f"{file['name']} ({size(file['size'])})" for file in found["files"]),
        "added": f"{moment(found['added_at'])} by {who(found['added_by'])}",
        "base": found["base"],
        "lineage": found["lineage"],
    }
    _facts(out, facts)
    if found["columns"]:
        out.print()
        rows = [
            (each["name"], each["type"], f"{each['missing']:.1%}", f"{each['distinct']:,}", _range(each))
            for each in found["columns"]
        ]
        _table(out, ("column", "type", ">missing", ">distinct", "range or commonest"), rows)


def models(out: "Console", found: Sequence[Document]) -> None:
    """One line for each model."""
    rows = [
        (each["name"], each["task"], each["owner"], each["business_unit"], str(each["latest_version"] or "-"))
        for each in found
    ]
    heads = ("model", "task", "owner", "business unit", ">versions")
    _table(out, heads, rows, none="no models yet: tidegate model apply --help")


def model(out: "Console", whole: Document) -> None:
    """A model: facts, what serves, features."""
    header, route, spec = whole["model"], whole["route"], whole["spec"]
    previous = (route or {}).get("previous")
    served = shares(whole["serves"]) if route else "nothing yet"
    if previous:
        served += f" (before: version {previous['version']})"
    facts = {
        "model": header["name"],
        "description": spec["description"],
        "task": f"{spec['task']} on {spec['dataset']}: {spec['target']}",
        "judged by": spec["metric"],
        "owner": header["owner"],
        "business unit": header["business_unit"],
        "serves": served,
        "under way": _under_way(whole["under_way"]),
        "versions": str(header["latest_version"]),
        "spec": f"{header['spec_digest'][:12]}, {moment(header['applied_at'])} by {who(header['applied_by'])}",
    }
    _facts(out, facts)
    if whole["under_way"]["rollout"]:
        out.print(f"where it is: tidegate rollout {header['name']}", soft_wrap=True)
    out.print()
    rows = [
        (each["name"], each["kind"], each["unit"] or "", _allowed(each), each["missing"]) for each in spec["features"]
    ]
    _table(out, ("feature", "kind", "unit", "allowed", "missing"), rows)


def _under_way(found: Document) -> str:
    """What the model's release does, or who has the right to one."""
    if found["rollout"]:
        return rollout_line(found["rollout"])
    if found["lease"]:
        lease = found["lease"]
        return f"run {lease['run_id']} of {who(lease['holder'])}; no other release before {moment(lease['until'])} UTC"
    return ""


def runs(out: "Console", found: Sequence[Document]) -> None:
    """One line for each run."""
    rows = [
        (
            each["run_id"],
            _status(each["status"]),
            str(each["version"] or ""),
            duration(each["started_at"], each["ended_at"]),
            who(each["requested_by"]),
            each["reason"],
        )
        for each in found
    ]
    _table(out, ("run", "status", ">version", ">took", "by", "reason"), rows, none="no runs yet")


def run(out: "Console", found: Document) -> None:
    """A run with its candidates."""
    error = found["error"]
    facts = {
        "run": f"{found['model']} {found['run_id']}",
        "status": _status(found["status"]),
        "stage": found["stage"] if found["status"] == "running" else "",
        "error": f"{error['name']} in {error['stage']}: {error['message']}" if error else "",
        "version": str(found["version"] or ""),
        "reproduces": f"version {found['reproduces']}" if found.get("reproduces") else "",
        "requested": f"{moment(found['requested_at'])} by {who(found['requested_by'])} ({found['reason']})",
        "took": duration(found["started_at"], found["ended_at"]),
        "dataset": f"{found['dataset']} {found['dataset_version'] or ''}".rstrip(),
        "excluded": ", ".join(found["exclusions"]),
        "spec": found["spec_digest"][:12],
        "code": found["code_version"],
        "lock": (found["lock_hash"] or "")[:12],
        "seed": str(found["seed"]),
        "token": found["token"],
    }
    _facts(out, facts)
    if found["candidates"]:
        out.print()
        _candidates(out, found["candidates"], found["selected"])


def versions(out: "Console", found: Sequence[Document]) -> None:
    """One line for each version."""
    rows = [
        (
            str(each["number"]),
            _status(each["status"]),
            f"{each['metric']} {interval(each, decimals=3)}",
            each["dataset_version"],
            each["created_at"][:10],
        )
        for each in found
    ]
    none = "no versions yet: tidegate train MODEL --wait"
    _table(out, (">version", "status", "metric [interval]", "dataset", "created"), rows, none=none)


def version(out: "Console", found: Document) -> None:
    """One version with what it was made of."""
    facts = {
        "version": f"{found['model']} {found['number']}",
        "status": _status(found["status"]),
        found["metric"]: interval(found),
        "run": found["run_id"],
        "dataset": f"{found['dataset']} {found['dataset_version']}",
        "spec": found["spec_digest"][:12],
        "artifact": f"{found['artifact_key']}  sha256 {found['artifact_sha256'][:12]}",
        "code": found["code_version"],
        "lock": found["lock_hash"][:12],
        "created": f"{moment(found['created_at'])} by {who(found['created_by'])}",
    }
    _facts(out, facts)
    _reasons(out, found["reasons"])
    out.print(f"read why: tidegate report {found['model']} {found['number']}", soft_wrap=True)


def outcome(out: "Console", found: Document, made: Document | None, rolled: Document | None) -> None:
    """How a run ended, what goes on, and where to look further."""
    name, status = found["model"], found["status"]
    if made is None:
        error = found["error"] or {"name": "", "message": "no reason was recorded", "stage": found["stage"]}
        out.print(Text.assemble(f"{name}: run {found['run_id']} ", _status(status), f" in {error['stage']}"))
        out.print(f"{error['name']}: {error['message']}" if error["name"] else error["message"])
        out.print(f"look at it: tidegate runs {name} {found['run_id']}", soft_wrap=True)
        return
    out.print(
        Text.assemble(f"{name} version {made['number']}: ", _status(status), f"  {made['metric']} {interval(made)}")
    )
    _reasons(out, made["reasons"])
    if made["status"] == "champion":
        out.print("it serves now")
    if rolled:
        out.print(f"rollout: {rollout_line(rolled)}", soft_wrap=True)
    out.print(f"read why: tidegate report {name} {made['number']}", soft_wrap=True)
    if rolled and not rolled["ended_at"]:
        out.print(f"follow it: tidegate rollout {name} --run {found['run_id']} --follow", soft_wrap=True)
        if rolled["phase"] == "approval":
            out.print(f'an approver decides: tidegate approve {name} {made["number"]} --reason "..."', soft_wrap=True)


# On the way in


def rollout_line(found: Document) -> str:
    """Where a rollout is: `canary: version 2 answers 5 %, step 2 of 4; too little evidence yet`."""
    version = f"version {found['version']}"
    match found["phase"]:
        case "approval":
            said = "waits for an approver"
        case "shadow":
            said = f"{version} scores along, its answers go nowhere{_so_far(found)}"
        case "canary":
            share = percent(found["share_bp"])
            said = f"{version} answers {share}, step {found['step']} of {found['steps']}{_so_far(found)}"
        case "watch":
            said = f"{version} is promoted and answers {percent(found['share_bp'])}{_so_far(found)}"
        case _:
            said = _brief(found["reason"])
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
    _facts(out, _standing(found) | _approval(found["approval"]))
    if found["verdict"] and found["verdict"]["findings"]:
        out.print()
        _findings(out, found)
    out.print()
    out.print(f"next: {found['next_step']}", soft_wrap=True)


def _path(stages: Sequence[Document]) -> Text:
    """`approval ✓ -> canary 1 % ✓ [5 %] 25 % -> promoted -> watch`."""
    line = Text()
    before = ""
    for stage in stages:
        name = stage["stage"]
        if name == "canary":
            line.append(" " if before == "canary" else " -> canary " if line else "canary ")
            line.append_text(_mark(percent(stage["share_bp"]), stage["state"]))
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


def _standing(found: Document) -> dict[str, str | Text | None]:
    phase, plan, ended = found["phase"], found["plan"], found["ended_at"]
    canary = phase == "canary"
    bound = {"shadow": "until", "canary": "at least until", "watch": "until"}.get(phase)
    more = f", {bound} {moment(found['until'])}" if bound else ""
    step = f", step {found['step']} of {found['steps']}" if canary else ""
    then = "it waits at its last share" if plan["at_deadline"] == "wait" else "it is rolled back"
    counted = f"{found['answered']:,} in this " + (f"step (at least {plan['min_requests']:,})" if canary else "phase")
    return {
        "phase": Text(phase.replace("_", " ") + step, style=_PHASE_STYLE.get(phase, "yellow")),
        "answers now": f"{percent(found['share_bp'])} of the requests",
        "ended" if ended else "since": moment(ended or found["since"]) + more + " UTC",
        "requests": counted if found["answered"] else "",
        "next look": f"{found['next_look_at'][:19].replace('T', ' ')} UTC" if found["next_look_at"] else "",
        "deadline": f"{moment(found['deadline'])} UTC; without evidence {then}" if canary else "",
        "promoted": f"{moment(found['promoted_at'])} UTC" if found["promoted_at"] else "",
        "reason": _brief(found["reason"]) if phase == "watch" else found["reason"],
    }


_PHASE_STYLE = {"approval": "cyan", "shadow": "cyan", "canary": "cyan", "watch": "cyan", "done": "bold green"}


def _approval(asked: Document | None) -> dict[str, str | Text | None]:
    if asked is None:
        return {}
    if asked["decision"]:
        word = {"approve": "approved", "reject": "rejected"}[asked["decision"]]
        return {"approval": f"{word} by {who(asked['by'])}, {moment(asked['decided_at'])} UTC: {asked['reason']}"}
    makers = [f"{who(each['who'])} ({each['why']})" for each in asked["excluded"]]
    return {
        "approval": f"asked for {moment(asked['asked_at'])}, to be given until {moment(asked['expires_at'])} UTC",
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
    _table(out, ("metric", f">n, version {found['version']}", f">{champion}", f">{difference}", "outcome"), rows)


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
        out.print(f"{model}: nothing to end; no rollout is under way")
    else:
        out.print(f"{model}: the rollout of version {ended['version']} is ended")
    if answer["serves"]:
        out.print(f"now {shares(answer['serves'])}", soft_wrap=True)


def to_decide(out: "Console", shown: Document) -> None:
    """What an approver is about to decide about."""
    facts: dict[str, str | Text | None] = {
        "version": f"{shown['model']} {shown['number']}",
        "status": _status(shown["status"]),
        shown["metric"]: interval(shown),
        "dataset": f"{shown['dataset']} {shown['dataset_version']}",
        "created": f"{moment(shown['created_at'])} by {who(shown['created_by'])}",
        "artifact": f"sha256 {shown['artifact_sha256']}",
        "report": f"sha256 {shown['report_sha256']}",
    }
    _facts(out, facts)
    out.print(f"read it: tidegate report {shown['model']} {shown['number']}", soft_wrap=True)


def decided(out: "Console", answer: Document) -> None:
    """What is recorded, and what comes of it."""
    found = answer["rollout"]
    asked = found["approval"]
    approved = asked["decision"] == "approve"
    again = "" if answer["changed"] else " (it was already)"
    named = f"{found['model']} version {found['version']}"
    out.print(f"{named}: {'approved' if approved else 'rejected'} by {who(asked['by'])}{again}", soft_wrap=True)
    if approved:
        out.print(f"follow it: tidegate rollout {found['model']} --run {found['run_id']} --follow", soft_wrap=True)


# What is served


def route_change(out: "Console", model: str, answer: Document) -> None:
    """What an action did and what answers now."""
    done = answer["entry"]["action"].replace("_", " ") if answer["changed"] else "nothing to change"
    out.print(f"{model}: {done}; now {shares(answer['serves'])}", soft_wrap=True)
    route = answer["route"]
    if route["killed"] and route["champion"]:
        waiting = f"version {route['champion']['version']} waits"
        out.print(f'{waiting}: tidegate resume {model} --reason "..."', soft_wrap=True)


def shares(found: Sequence[Document]) -> str:
    """`version 1 with 80 %, version 2 with 20 %`; a sole one gets all."""
    named = [f"version {each['version']}" if each["version"] else "the fallback" for each in found]
    if len(found) == 1:
        return f"{named[0]} answers all requests"
    parts = zip(named, found, strict=True)
    return ", ".join(f"{name} with {percent(each['weight_bp'])}" for name, each in parts)


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
            percent(each["weight_bp"]),
            moment(each["by"]["at"]),
            each["by"]["action"].replace("_", " "),
            who(each["by"]["actor"]),
            each["by"]["reason"] + (f" (approved by {who(each['approved_by'])})" if each["approved_by"] else ""),
        )
        for each in found["served"]
    ]
    _table(out, ("version", ">weight", "since (UTC)", "by action", "of", "why"), rows)
    entry = found["entry"]
    done = entry["action"].replace("_", " ")
    out.print()
    out.print(f"the entry in force: {entry['seq']}, {done} by {who(entry['actor'])}: {entry['reason']}", soft_wrap=True)


def verification(out: "Console", model: str, found: Document) -> None:
    """Whether the chain holds, and where it breaks."""
    if found["intact"]:
        out.print(f"{model}: the ledger is intact, {found['entries']:,} entries, head {found['head'] or 'none'}")
        return
    out.print(Text(f"{model}: the ledger is BROKEN at entry {found['break']['seq']}", style="bold red"))
    out.print(found["break"]["problem"])
    out.print("what to do: docs/operations.md, `When the chain is broken`")


def ledger(out: "Console", entries: Sequence[Document]) -> None:
    """Every change of what is served, oldest first."""
    rows = [
        (
            moment(each["at"]),
            each["action"].replace("_", " "),
            _answering(each),
            who(each["actor"]),
            _brief(each["reason"]) + (f" (approved by {who(each['approved_by'])})" if each["approved_by"] else ""),
        )
        for each in entries
    ]
    _table(out, ("when (UTC)", "action", "answers", "by", "why"), rows, none="nothing was ever served")


def _answering(entry: Document) -> str:
    """`2: 5 %, 1: 95 %`: which versions answer from an entry on, and how much of the requests."""
    if entry["killed"]:
        return "fallback: 100 %"
    weight = entry["weight_bp"]
    parts = [(entry["version"], weight), (entry["previous_version"], 10_000 - weight)]
    return ", ".join(f"{version or 'fallback'}: {percent(part)}" for version, part in parts if part)


# The watch

_HEALTH = {  # the worst first
    "needs_redesign": ("✗ NEEDS REDESIGN", "bold red"),
    "drifted": ("✗ drifted", "yellow"),
    "unknown": ("· not known", "dim"),
    "steady": ("✓ steady", "green"),
}


def worst_first(line: Document) -> tuple[int, str]:
    """The order of models on the page of all."""
    return list(_HEALTH).index(line["health"]), line["model"]


def status(out: "Console", found: Sequence[Document]) -> None:
    """All models, one line each; then what is wrong with those that something is wrong with."""
    rows = [
        (
            each["model"],
            _health(each["health"]),
            _serving(each),
            _live(each["summary"]),
            _rows(each["summary"]),
            moment(each["since"]),
            moment(each["looked_at"]) or "never",
            _at_work(each),
            each["owner"],
        )
        for each in found
    ]
    heads = ("model", "health", "serves", "live", ">rows", "since (UTC)", "last look", "under way", "owner")
    _table(out, heads, rows, none="no models yet: tidegate model apply --help")
    for each in found:
        if each["health"] in {"needs_redesign", "drifted"}:
            out.print()
            out.print(Text.assemble(f"{each['model']}: ", _health(each["health"])))
            _reasons(out, each["reasons"])
            out.print(f"  look at it: tidegate drift {each['model']}", soft_wrap=True)
    for each in found:
        spike = ((each["summary"] or {}).get("cost") or {}).get("spike")
        if spike:
            out.print()
            _spike(out, each["model"], spike)
            out.print(f"  look at it: tidegate cost {each['model']}", soft_wrap=True)


def _spike(out: "Console", model: str, sentence: str) -> None:
    out.print(Text.assemble(f"{model}: ", Text("✗ cost has risen", style="yellow")))
    _reasons(out, [sentence])


def costs(out: "Console", found: Document) -> None:
    """The window, a line for each part, totals of business units, and what is missing to tell more."""
    if found["last"]:
        out.print(f"{found['days']} days to {found['last']} UTC, as of the last look; cost in USD, bytes for a month;")
        out.print("value of the decisions whose outcome is known")
        out.print()
        _costs(out, found["lines"], [name for name in ("model", "version", "business_unit") if name in _first(found)])
        if found["by"] != "unit" and found["lines"]:
            out.print()
            _costs(out, found["units"], ["business_unit"])
    for name, sentence in found["spikes"].items():
        out.print()
        _spike(out, name, sentence)
    if found["undeclared"] or found["unknown"]:
        out.print()
    for name in found["undeclared"]:
        out.print(f"{name} has no value: declare `value` in the spec (docs/model-spec.md)", soft_wrap=True)
    if found["unknown"]:
        out.print(f"not looked at yet: {', '.join(found['unknown'])}", soft_wrap=True)


def _first(found: Document) -> Document:
    return next(iter(found["lines"]), {})


def _costs(out: "Console", lines: Sequence[Document], names: Sequence[str]) -> None:
    rows = [
        (
            *(each[name] for name in names),
            f"{each['requests']:,.0f}",
            f"{each['billed_ms'] / 1e3:,.1f} s",
            size(round(each["stored_bytes"])),
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
    _table(out, (*named, *heads), rows, none="nothing was asked in that time")


def _health(health: str) -> Text:
    word, style = _HEALTH[health]
    return Text(word, style=style)


def _serving(line: Document) -> str:
    if line["killed"]:
        return "fallback (killed)"
    return f"version {line['version']}" if line["version"] else "nothing"


def _live(summary: Document | None) -> str:
    """The metric of the shortest window that has it; `expected` where it is told without labels."""
    told = next((each for each in _summaries(summary) if each["live"]), None)
    if told is None:
        return ""
    return f"{told['metric']} {interval(told['live'], decimals=3)}{'' if told['labels'] else ' expected'}"


def _rows(summary: Document | None) -> str:
    shortest = next(iter(_summaries(summary)), None)
    return f"{shortest['rows']:,} in {shortest['hours']} h" if shortest else ""


def _summaries(summary: Document | None) -> Sequence[Document]:
    """A few numbers of each window, the shortest first."""
    return sorted((summary or {}).get("windows", ()), key=lambda each: each["hours"])


def _at_work(line: Document) -> str:
    rollout = line["rollout"]
    if rollout:
        return f"{rollout['phase']} of version {rollout['version']}"
    if line["held_back"]:
        return "training held back"
    return f"training soon ({line['retraining']})" if line["retraining"] else ""


def spans(verdicts: Document | None) -> dict[int, Document]:
    """What was found, by the window's hours, the shortest first."""
    return {each["hours"]: each for each in sorted((verdicts or {}).get("windows", ()), key=lambda each: each["hours"])}


def _shown(verdicts: Document | None, hours: int | None) -> Document | None:
    """The window of so many hours; else the shortest one in which features could be judged, else the shortest."""
    windows = spans(verdicts)
    if hours is not None:
        return windows[hours]
    judged = (each for each in windows.values() if each["drift"]["features"]["outcome"] != "insufficient_data")
    return next(judged, next(iter(windows.values()), None))


def drift(out: "Console", found: Document, hours: int | None) -> None:
    """One page of one model: how it stands, a window's verdicts, the features to blame, trainings, what follows."""
    line, standing = found["model"], found["standing"]
    since = f" since {moment(line['since'])} UTC" if line["since"] else ""
    out.print(Text.assemble(f"{line['model']}, {_serving(line)}: ", _health(line["health"]), since))
    _reasons(out, line["reasons"])
    if standing:
        _facts(out, _watched(found, hours))
    window = _shown(found["verdicts"], hours)
    if window:
        out.print()
        _verdicts(out, window)
        for each in _distributions(window):
            out.print()
            _bars(out, each)
    if standing and standing["attempts"]:
        out.print()
        _attempts(out, standing["attempts"])
    out.print()
    out.print(f"next: {found['next_step']}", soft_wrap=True)


def _watched(found: Document, hours: int | None) -> dict[str, str | Text | None]:
    standing, window = found["standing"], _shown(found["verdicts"], hours)
    others = [f"{each} h" for each in spans(found["verdicts"]) if window and each != window["hours"]]
    seen = standing["acknowledged_at"]
    return {
        "last look": f"{moment(standing['looked_at'])} UTC",
        "window": f"{window['hours']} hours to {window['last']}, {window['rows']:,} predictions of the version"
        if window
        else "none is kept",
        "also judged": f"{', '.join(others)} (--window HOURS)" if others else "",
        "training": standing["held_back"] and f"held back: {standing['held_back']}",
        "seen to": f"{moment(seen)} UTC by {who(standing['acknowledged_by'])}: {standing['acknowledged_because']}"
        if seen
        else "",
    }


_FOUND = {
    "none": ("✓ none", "green"),
    "within": ("✓ within", "green"),
    "drifted": ("✗ DRIFTED", "bold red"),
    "beyond": ("✗ BEYOND", "bold red"),
    "insufficient_data": ("· too little data", "dim"),
}


def _verdicts(out: "Console", window: Document) -> None:
    report = window["drift"]
    lines = {
        "features": report["features"],
        "predictions": report["predictions"],
        "data quality": report["quality"],
        "volume": report["volume"],
        "labels": report["target"],
        "live quality": window["live"],
        "estimated quality": window["expected"],
        **{f"bias by {each['column']}": each for each in window["parity"]},
    }
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, verdict in lines.items():
        if verdict:
            word, style = _FOUND.get(verdict["outcome"], (verdict["outcome"], ""))
            table.add_row(Text(word, style=style), name, verdict["statement"])
    out.print(table)


def _distributions(window: Document) -> list[Distribution]:
    """Of the features that weigh most in the verdict, or of those that moved most, as far as counts are kept."""
    counts = window.get("counts") or {}
    verdict = window["drift"]["features"]
    told = {each["name"]: each["statement"] for each in verdict["findings"]}
    found = [
        distribution(name, told[name], **counts[name])
        for name in verdict["responsible"] or tuple(counts)
        if name in counts and name in told
    ]
    return [each for each in found if each]


def _bars(out: "Console", found: Distribution) -> None:
    widest = max(max(each.reference, each.now) for each in found.bars)
    rows = [
        (
            each.cell,
            *(
                f"{bar(share, widest, BAR_WIDTH):<{BAR_WIDTH}} {100 * share:5.1f} %"
                for share in (each.reference, each.now)
            ),
        )
        for each in found.bars
    ]
    _table(out, (found.name, "reference", "now"), rows)


def picture(found: Document, hours: int | None) -> str | None:
    """The same features as a picture (SVG); None when no counts of them are kept."""
    window = _shown(found["verdicts"], hours)
    distributions = _distributions(window) if window else []
    if not window or not distributions:
        return None
    line = found["model"]
    title = f"{line['model']}, {_serving(line)}: {window['hours']} hours to {window['last']}"
    return drawn(title, distributions)


def _attempts(out: "Console", attempts: Sequence[Document]) -> None:
    rows = [
        (
            each["run_id"],
            each["trigger"],
            moment(each["at"]),
            Text(each["outcome"].replace("_", " "), style=_ENDED.get(each["outcome"], "")),
            moment(each["ended_at"]),
        )
        for each in reversed(attempts)
    ]
    _table(out, ("run that the watch began", "because of", "began (UTC)", "outcome", "ended"), rows)


_ENDED = {"under_way": "cyan", "promoted": "green", "turned_away": "yellow", "failed": "red"}


def acknowledged(out: "Console", model: str, answer: Document) -> None:
    """What is recorded, and what follows."""
    if not answer["changed"]:
        standing = answer["standing"]
        health = _HEALTH[standing["health"]][0].split(" ", 1)[1] if standing else "not looked at yet"
        out.print(f"{model}: nothing to acknowledge; it is {health}")
        return
    out.print(f"{model}: acknowledged; it is judged anew, by what it is asked from the next hour on", soft_wrap=True)


def captures(out: "Console", found: Sequence[Document]) -> None:
    """Captured predictions, newest first."""
    rows = [
        (
            each["id"],
            moment(each["time"]),
            f"{each['arm']} {each['version'] or ''}".strip(),
            _cell(each["label"]),
            _cell(each["score"]),
            " ".join(filter(None, (each["error"], *each["violations"]))),
            " ".join(f"{name}={_cell(value)}" for name, value in each["inputs"].items()),
        )
        for each in found
    ]
    heads = ("id", "when (UTC)", "answered by", "label", ">score", "fault", "inputs")
    _table(out, heads, rows, none="nothing was captured in that time")


def predictions(out: "Console", whole: Document) -> None:
    """Scores, and which version gave them."""
    version = whole.get("version")
    by, because = ("fallback", whole.get("why")) if version is None else (f"version {version}", whole.get("reason"))
    out.print(f"{whole.get('model', '')} {by}{f' ({because})' if because else ''}")
    if whole.get("detail"):
        out.print(whole["detail"], soft_wrap=True)
    found = whole["predictions"]
    rows = [
        (
            str(at),
            _cell(each.get("label")),
            _cell(each.get("score")),
            str(each.get("prediction_id") or each.get("id", "")),
        )
        for at, each in enumerate(found[:SHOWN_PREDICTIONS], 1)
    ]
    _table(out, (">#", "label", ">score", "prediction id"), rows)
    if len(found) > SHOWN_PREDICTIONS:
        out.print(f"and {len(found) - SHOWN_PREDICTIONS:,} more: --json has them all")
    broken = [each["rule"] for each in found if each.get("rule")]
    if broken:
        rules = ", ".join(sorted(set(broken)))
        out.print(f"{len(broken):,} broke a rule ({rules}) and are the fallback's", soft_wrap=True)


# Pieces


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
    """The part of an ARN that people know: `Role/session`, `user/ana`, `release RUN_ID`, `the watch`."""
    if not arn or not arn.startswith("arn:"):
        return arn or ""
    if ":states:" in arn and ":execution:" in arn:
        *_, machine, name = arn.split(":")
        return "the watch" if machine.endswith("-retrain") else f"release {name}"
    return arn.split(":", 5)[-1].removeprefix("assumed-role/")


def _brief(text: str) -> str:
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


def interval(estimate: Document, *, decimals: int = 4) -> str:
    """`0.7512 [0.7401, 0.7618]`."""
    value, low, high = (_number(estimate[part], decimals) for part in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _number(value: object, decimals: int = 4) -> str:
    return f"{value:.{decimals}f}" if isinstance(value, int | float) else "-"


def _cell(value: object) -> str:
    return _number(value) if isinstance(value, float) else "" if value is None else str(value)


def _range(column: Document) -> str:
    if column["low"] is not None and column["high"] is not None:
        return f"{column['low']:g} .. {column['high']:g}"
    return ", ".join(f"{value} ({count:,})" for value, count in column["top"][:3])


def _allowed(feature: Document) -> str:
    if feature["categories"]:
        listed = ", ".join(feature["categories"][:6])
        return listed + (", ..." if len(feature["categories"]) > 6 else "")
    low, high = feature["min"], feature["max"]
    if low is None and high is None:
        return ""
    return f"{'' if low is None else f'{low:g}'} .. {'' if high is None else f'{high:g}'}"


def _status(status: str) -> Text:
    return Text(status, style=_STYLE.get(status, ""))


def _reasons(out: "Console", reasons: Iterable[str]) -> None:
    for reason in reasons:
        out.print(Text(f"  - {reason}"))


def _candidates(out: "Console", found: Sequence[Document], selected: int | None) -> None:
    rows = [
        (
            f"{each['index'] + 1}{' *' if each['index'] == selected else ''}",
            each["estimator"].rsplit(".", 1)[-1],
            " ".join(f"{key}={value}" for key, value in each["parameters"].items()),
            f"{each['value']:.4f}",
            f"{each['fit_seconds']:.1f} s",
        )
        for each in found
    ]
    _table(out, (">#", "candidate (* chosen)", "parameters", f">{found[0]['metric']}", ">fit"), rows)


def _facts(out: "Console", facts: Mapping[str, str | Text | None]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            table.add_row(name, value)
    out.print(table)


def _table(out: "Console", heads: Sequence[str], rows: Sequence[Sequence[str | Text]], *, none: str = "") -> None:
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


# The report


def report(out: "Console", found: Document, header: Document) -> None:
    """The gate's report: verdict line by line, then the evidence, then what the version was made of."""
    verdict, evaluation = found["verdict"], found["evaluation"]
    said = Text.assemble(f"{header['model']} version {header['number']}: ", _status(_of(verdict)))
    if header["status"] not in {"accepted", "rejected"}:
        said.append_text(Text.assemble(", now ", _status(header["status"])))
    out.print(said)
    out.print()
    out.print(Text("Verdict", style="bold"))
    _verdict(out, verdict["checks"])
    out.print()
    out.print(Text("Evidence", style="bold"))
    _evidence(out, evaluation)
    out.print()
    out.print(Text("Lineage", style="bold"))
    lineage = found["lineage"]
    _facts(out, dict(_flat({name: value for name, value in lineage.items() if name not in {"notes", "environment"}})))
    if lineage["candidates"]:
        out.print()
        _candidates(out, lineage["candidates"], lineage["selected"])
    if lineage.get("notes"):
        out.print()
        out.print(Text("Notes on the data", style="bold"))
        for note in lineage["notes"]:
            out.print(Text(note))


def _of(verdict: Document) -> str:
    return "accepted" if verdict["accepted"] else "rejected"


_OUTCOMES = {
    "pass": ("pass", "green"),
    "fail": ("FAIL", "bold red"),
    "insufficient_data": ("TOO LITTLE DATA", "bold yellow"),
    "not_applicable": ("not asked", "dim"),
}


def _verdict(out: "Console", checks: Iterable[Document]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        word, style = _OUTCOMES.get(check["outcome"], (check["outcome"], ""))
        table.add_row(Text(word, style=style), check["name"].replace("_", " "), check["statement"])
    out.print(table)


def _evidence(out: "Console", found: Document) -> None:
    metric, gains = found["metric"], found["differences"]
    rows: list[tuple[str, str]] = [("this version", interval(found["candidate"]))]
    rows.append((f"baseline: {found['baseline']['rule']}", interval(found["baseline"])))
    champion = found["champion"]
    if champion:
        rows.append((f"champion: version {champion['version']}", interval(champion)))
    for name in ("baseline", "champion"):
        if gains.get(name):
            gain = gains[name]
            rows.append((f"gain over {name}", interval({**gain, "value": gain["estimate"]})))
    rows += [
        (name, interval(each) if each else "not defined here")
        for name, each in found["metrics"].items()
        if name != metric
    ]
    _table(out, (metric, f">value [{found['confidence']:.0%} interval]"), rows)
    out.print()
    parity, latency = found["parity"], found["latency_ms"]
    by = "" if found["resample_by"] == "row" else f" in {found['clusters']:,} {found['resample_by']}s"
    _facts(
        out,
        {
            "holdout": f"{found['rows']:,} rows{by}, {found['resamples']:,} resamples by {found['resample_by']}",
            "parity": f"scores differ by at most {parity['max_difference']:.1e} (tolerance {parity['tolerance']:g}), "
            f"{parity['flips']:,} of {parity['rows']:,} labels flip",
            "latency": f"{latency['p50']:.3g} ms p50, {latency['p99']:.3g} ms p99 for one row",
            "load": f"{found['load_ms']:.3g} ms, artifact {size(found['artifact_bytes'])}, "
            f"peak memory {found['peak_memory_mib']:.0f} MiB",
        },
    )


def _short(text: str) -> str:
    """A SHA-256 by its beginning; --json has the whole."""
    return f"{text[:16]}..." if len(text) == 64 and set(text) <= set("0123456789abcdef") else who(text)


def _flat(document: Document, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Names and values of nested JSON: a group of plain values on one line, lists of records left to their tables."""
    for key, value in document.items():
        name = prefix + key.replace("_", " ")
        if isinstance(value, Mapping):
            if any(isinstance(item, Mapping | list) for item in value.values()):
                yield from _flat(value, "" if name == "plan" else f"{name} ")
            else:
                yield name, ", ".join(f"{part.replace('_', ' ')} {_cell(item)}" for part, item in value.items())
        elif isinstance(value, list):
            if not any(isinstance(item, Mapping) for item in value):
                yield name, ", ".join(str(item) for item in value)
        elif name != "selected":
            yield name, "" if value is None else _short(str(value))
