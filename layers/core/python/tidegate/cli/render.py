"""What people read of datasets, models, runs, versions and releases, from the API's JSON."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tidegate.cli import pieces as show

if TYPE_CHECKING:
    from rich.console import Console

Document = Mapping[str, Any]
SHOWN_PREDICTIONS = 20


def datasets(out: "Console", found: Sequence[Document]) -> None:
    """One line for each dataset."""
    rows = [(each["name"], each["latest"] or "none ready", each["owner"], each["licence"]) for each in found]
    show.table(
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
        "registered": f"{show.moment(said['registered_at'])} by {show.who(said['registered_by'])}",
    }
    show.facts(out, facts)
    out.print()
    rows = [
        (
            each["version"] + (" *" if each["version"] == said["latest"] else ""),
            show.status(each["status"]),
            f"{each['rows']:,}" if each["rows"] else "",
            show.span(each["time_from"], each["time_to"]),
            show.moment(each["added_at"]),
        )
        for each in whole["versions"]
    ]
    show.table(out, ("version", "status", ">rows", "rows from .. to", "added"), rows, none="no versions")
    for each in whole["versions"]:
        if each["problem"]:
            out.print(f"{each['version']} failed: {each['problem']}")
    if whole["exclusions"]:
        out.print()
        lines = [
            (show.span(each["start"], each["end"]), each["reason"], show.who(each["author"]))
            for each in whole["exclusions"]
        ]
        show.table(out, ("excluded", "reason", "by"), lines)


def dataset_version(out: "Console", found: Document) -> None:
    """A version with the profile of each column."""
    facts = {
        "dataset": f"{found['dataset']} {found['version']}",
        "status": show.status(found["status"]),
        "problem": found["problem"],
        "rows": f"{found['rows']:,} ({found['duplicate_rows']:,} duplicates)",
        "time": show.span(found["time_from"], found["time_to"]),
        "files": ", ".join(f"{file['name']} ({show.size(file['size'])})" for file in found["files"]),
        "added": f"{show.moment(found['added_at'])} by {show.who(found['added_by'])}",
        "base": found["base"],
        "lineage": found["lineage"],
    }
    show.facts(out, facts)
    if found["columns"]:
        out.print()
        rows = [
            (each["name"], each["type"], f"{each['missing']:.1%}", f"{each['distinct']:,}", _range(each))
            for each in found["columns"]
        ]
        show.table(out, ("column", "type", ">missing", ">distinct", "range or commonest"), rows)


def models(out: "Console", found: Sequence[Document]) -> None:
    """One line for each model."""
    rows = [
        (each["name"], each["task"], each["owner"], each["business_unit"], str(each["latest_version"] or "-"))
        for each in found
    ]
    heads = ("model", "task", "owner", "business unit", ">versions")
    show.table(out, heads, rows, none="no models yet: tidegate model apply --help")


def model(out: "Console", whole: Document) -> None:
    """A model: facts, what serves, features."""
    header, route, spec = whole["model"], whole["route"], whole["spec"]
    previous = (route or {}).get("previous")
    served = shares(whole["serves"]) if route else "nothing yet"
    if previous:
        served += f" (before: version {previous['version']})"
    applied = show.moment(header["applied_at"])
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
        "spec": f"{header['spec_digest'][:12]}, {applied} by {show.who(header['applied_by'])}",
    }
    show.facts(out, facts)
    if whole["under_way"]["rollout"]:
        out.print(f"where it is: tidegate rollout {header['name']}", soft_wrap=True)
    out.print()
    rows = [
        (each["name"], each["kind"], each["unit"] or "", _allowed(each), each["missing"]) for each in spec["features"]
    ]
    show.table(out, ("feature", "kind", "unit", "allowed", "missing"), rows)
    if spec.get("computed"):
        out.print()
        computed = [(each["name"], each["expression"], each["unit"] or "") for each in spec["computed"]]
        show.table(out, ("computed feature", "expression", "unit"), computed)


def _under_way(found: Document) -> str:
    """What the model's release does, or who has the right to one."""
    if found["rollout"]:
        return rollout_line(found["rollout"])
    if found["lease"]:
        lease = found["lease"]
        until = show.moment(lease["until"])
        return f"run {lease['run_id']} of {show.who(lease['holder'])}; no other release before {until} UTC"
    return ""


def runs(out: "Console", found: Sequence[Document]) -> None:
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
    show.table(out, ("run", "status", ">version", ">took", "by", "reason"), rows, none="no runs yet")


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
    if found["candidates"]:
        out.print()
        candidates(out, found["candidates"], found["selected"])


def versions(out: "Console", found: Sequence[Document]) -> None:
    """One line for each version."""
    rows = [
        (
            str(each["number"]),
            show.status(each["status"]),
            f"{each['metric']} {show.interval(each, decimals=3)}",
            each["dataset_version"],
            each["created_at"][:10],
        )
        for each in found
    ]
    none = "no versions yet: tidegate train MODEL --wait"
    show.table(out, (">version", "status", "metric [interval]", "dataset", "created"), rows, none=none)


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


def outcome(out: "Console", found: Document, made: Document | None, rolled: Document | None) -> None:
    """How a run ended, what goes on, and where to look further."""
    name, status = found["model"], found["status"]
    if made is None:
        error = found["error"] or {"name": "", "message": "no reason was recorded", "stage": found["stage"]}
        out.print(Text.assemble(f"{name}: run {found['run_id']} ", show.status(status), f" in {error['stage']}"))
        out.print(f"{error['name']}: {error['message']}" if error["name"] else error["message"])
        out.print(f"look at it: tidegate runs {name} {found['run_id']}", soft_wrap=True)
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
            share = show.percent(found["share_bp"])
            said = f"{version} answers {share}, step {found['step']} of {found['steps']}{_so_far(found)}"
        case "watch":
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
    show.facts(out, _standing(found) | _approval(found["approval"]))
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


def _standing(found: Document) -> dict[str, str | Text | None]:
    phase, plan, ended = found["phase"], found["plan"], found["ended_at"]
    canary = phase == "canary"
    bound = {"shadow": "until", "canary": "at least until", "watch": "until"}.get(phase)
    more = f", {bound} {show.moment(found['until'])}" if bound else ""
    step = f", step {found['step']} of {found['steps']}" if canary else ""
    then = "it waits at its last share" if plan["at_deadline"] == "wait" else "it is rolled back"
    counted = f"{found['answered']:,} in this " + (f"step (at least {plan['min_requests']:,})" if canary else "phase")
    return {
        "phase": Text(phase.replace("_", " ") + step, style=_PHASE_STYLE.get(phase, "yellow")),
        "answers now": f"{show.percent(found['share_bp'])} of the requests",
        "ended" if ended else "since": show.moment(ended or found["since"]) + more + " UTC",
        "requests": counted if found["answered"] else "",
        "next look": f"{found['next_look_at'][:19].replace('T', ' ')} UTC" if found["next_look_at"] else "",
        "deadline": f"{show.moment(found['deadline'])} UTC; without evidence {then}" if canary else "",
        "promoted": f"{show.moment(found['promoted_at'])} UTC" if found["promoted_at"] else "",
        "reason": show.brief(found["reason"]) if phase == "watch" else found["reason"],
    }


_PHASE_STYLE = {"approval": "cyan", "shadow": "cyan", "canary": "cyan", "watch": "cyan", "done": "bold green"}


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
        "approval": f"asked for {show.moment(asked['asked_at'])}, to be given until {expires} UTC",
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
            out.print(f"{model}: the {name} is intact, {chain['entries']:,} entries, head {chain['head'] or 'none'}")
        elif not chain["intact"]:
            out.print(Text(f"{model}: the {name} is BROKEN at entry {chain['break']['seq']}", style="bold red"))
            out.print(chain["break"]["problem"])
            out.print("what to do: docs/operations.md, `When the chain is broken`")


def ledger(out: "Console", acts: Document) -> None:
    """Every change of what is served, and every batch, oldest first."""
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
    show.table(out, ("when (UTC)", "action", "answers", "by", "why"), rows, none="nothing was ever served")


def _why(entry: Document) -> str:
    approved = f" (approved by {show.who(entry['approved_by'])})" if entry["approved_by"] else ""
    return show.brief(entry["reason"]) + approved


def _scored(entry: Document) -> str:
    """`2: 1,000 rows`: which version answers a batch, and how much of it."""
    many, what = (entry["objects"], "object") if entry["rows"] is None else (entry["rows"], "row")
    return f"{entry['version']}: {many:,} {what}{'' if many == 1 else 's'}"


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


# The watch


def captures(out: "Console", found: Sequence[Document]) -> None:
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
    show.table(out, heads, rows, none="nothing was captured in that time")


def predictions(out: "Console", whole: Document) -> None:
    """Scores, and which version gave them."""
    version = whole.get("version")
    by, because = ("fallback", whole.get("why")) if version is None else (f"version {version}", whole.get("reason"))
    out.print(f"{whole.get('model', '')} {by}{f' ({because})' if because else ''}")
    if whole.get("detail"):
        out.print(whole["detail"], soft_wrap=True)
    found = whole["predictions"]
    told = [name for name in ("label", "score", "lower", "upper") if any(name in each for each in found)]
    unusual = [each for each in found if each.get("unusual")]
    marked = ("unusual",) if unusual else ()
    rows = [
        (
            str(at),
            *(show.cell(each.get(name)) for name in told),
            *("yes" if each.get(name) else "" for name in marked),
            str(each.get("prediction_id") or each.get("id", "")),
        )
        for at, each in enumerate(found[:SHOWN_PREDICTIONS], 1)
    ]
    heads = (name if name == "label" else f">{name}" for name in told)
    show.table(out, (">#", *heads, *marked, "prediction id"), rows)
    if len(found) > SHOWN_PREDICTIONS:
        out.print(f"and {len(found) - SHOWN_PREDICTIONS:,} more: --json has them all")
    if unusual:
        by_fallback = sum(each.get("why") == "unusual" for each in unusual)
        answered = f"; {by_fallback:,} of them are the fallback's" if by_fallback else ""
        out.print(f"{len(unusual):,} unusual: far from the rows of training{answered}", soft_wrap=True)
    broken = [each["rule"] for each in found if each.get("rule")]
    if broken:
        rules = ", ".join(sorted(set(broken)))
        out.print(f"{len(broken):,} broke a rule ({rules}) and are the fallback's", soft_wrap=True)


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


def candidates(out: "Console", found: Sequence[Document], selected: int | None) -> None:
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
    show.table(out, (">#", "candidate (* chosen)", "parameters", f">{found[0]['metric']}", ">fit"), rows)
