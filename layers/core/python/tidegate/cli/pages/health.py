"""What people read of the health of served models: all on one page, one with its verdicts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from tidegate.cli.pages import pieces as show
from tidegate.cli.pages.cost import warn_of_spike
from tidegate.cli.pages.distributions import Distribution, bar, distribution
from tidegate.cli.pages.distributions import picture as drawn
from tidegate.cli.pages.pieces import Document
from tidegate.kernel import english, figures

if TYPE_CHECKING:
    from rich.console import Console

BAR_WIDTH = 20  # characters
SHOWN_REPORTERS = 5  # those with the most outcomes; --json has more
SHOWN_APART = 10  # objects in quarantine, the latest; --json has more
_HEALTH = {  # the worst first
    "needs_redesign": ("✗ NEEDS REDESIGN", "bold red"),
    "drifted": ("✗ drifted", "yellow"),
    "unknown": ("· not known", "dim"),
    "steady": ("✓ steady", "green"),
}


def worst_first(line: Document) -> tuple[int, str]:
    """The order of models on the page of all."""
    return list(_HEALTH).index(line["health"]), line["model"]


def status(out: "Console", found: Sequence[Document], filters: Document) -> None:
    """All models, one line each; then what is wrong with those that something is wrong with."""
    rows = [
        (
            each["model"],
            _health(each["health"]),
            _serving(each),
            _live(each["summary"]),
            _rows(each["summary"]),
            show.moment(each["since"]),
            show.moment(each["looked_at"]) or "never",
            _at_work(each),
            each["owner"],
        )
        for each in found
    ]
    heads = ("model", "health", "serves", "live", ">rows", "since (UTC)", "last look", "under way", "owner")
    those = " and ".join(f"{name} {value}" for name, value in filters.items())
    none = f"no models with {those}" if those else "no models yet: tidegate model apply --help"
    show.table(out, heads, rows, none=none)
    for each in found:
        if each["health"] in {"needs_redesign", "drifted"}:
            _said(out, each["model"], _health(each["health"]), each["reasons"])
    for each in found:
        missed = (each["summary"] or {}).get("missed")
        if missed:
            _said(out, each["model"], Text("✗ misses its targets", style="yellow"), list(missed.values()))
    for each in found:
        if each["tampered"]:
            _said(out, each["model"], _TAMPERED, [each["tampered"]], details="ledger verify")
    _status_of_data(out, found)
    for each in found:
        spike = ((each["summary"] or {}).get("cost") or {}).get("spike")
        if spike:
            out.print()
            warn_of_spike(out, each["model"], spike)
            out.print(f"  details: tidegate cost {each['model']}", soft_wrap=True)


def _status_of_data(out: "Console", found: Sequence[Document]) -> None:
    """Objects that cannot be read, and outcomes that do not count."""
    for each in found:
        if each["quarantined"]:
            count = english.count(each["quarantined"], "object")
            _said(out, each["model"], Text(f"✗ {count} in quarantine", style="yellow"), [])
    for each in found:
        doubted = _doubted((each["summary"] or {}).get("outcomes"))
        if doubted:
            _said(out, each["model"], Text("outcomes that do not count", style="yellow"), doubted)


def _said(out: "Console", model: str, what: Text, reasons: Sequence[str], *, details: str = "drift") -> None:
    """A paragraph below the table: what there is of a model, why, and the command that shows more."""
    out.print()
    out.print(Text.assemble(f"{model}: ", what))
    show.reasons(out, reasons)
    out.print(f"  details: tidegate {details} {model}", soft_wrap=True)


def _health(health: str) -> Text:
    word, style = _HEALTH[health]
    return Text(word, style=style)


def _serving(line: Document) -> str:
    if line["killed"]:
        return "fallback (killed)"
    return f"version {line['version']}" if line["version"] else "nothing"


def _live(summary: Document | None) -> str:
    """The metric of the shortest window that has it; `expected` where it is shown without labels."""
    shown = next((each for each in _summaries(summary) if each["live"]), None)
    if shown is None:
        return ""
    return f"{shown['metric']} {show.interval(shown['live'])}{'' if shown['labels'] else ' expected'}"


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
    line, record = found["model"], found["health"]
    since = f" since {show.moment(line['since'])} UTC" if line["since"] else ""
    out.print(Text.assemble(f"{line['model']}, {_serving(line)}: ", _health(line["health"]), since))
    show.reasons(out, line["reasons"])
    if line["tampered"]:
        out.print(_TAMPERED)
        show.reasons(out, [line["tampered"]])
    if record:
        show.facts(out, _looked(found, hours))
    window = _shown(found["verdicts"], hours)
    if window:
        out.print()
        _verdicts(out, window)
        for each in _distributions(window):
            out.print()
            _bars(out, each)
    if (found["verdicts"] or {}).get("targets"):
        out.print()
        _targets(out, found["verdicts"]["targets"])
    _quarantine(out, line, found["verdicts"])
    _outcomes(out, (found["verdicts"] or {}).get("outcomes"))
    if record and record["attempts"]:
        out.print()
        _attempts(out, record["attempts"])
    out.print()
    out.print(f"next: {found['next_step']}", soft_wrap=True)


def _outcomes(out: "Console", reports: Document | None) -> None:
    """Who reported outcomes, and which of them do not count."""
    if not reports or not (reports["by"] or _doubted(reports)):
        return
    total = sum(reports["by"].values())
    out.print()
    out.print(f"outcomes: {total:,} of the version's predictions in the longest window")
    by = [
        f"{count / total:.0%} reported by {show.who(arn) or 'an unknown reporter'}"
        for arn, count in reports["by"].items()
    ]
    show.reasons(out, [*by[:SHOWN_REPORTERS], *_doubted(reports)])


def _doubted(reports: Document | None) -> list[str]:
    """Outcomes that do not count, in sentences."""
    if not reports:
        return []
    uncaptured, ignored = reports["uncaptured"], reports["ignored"]
    return [
        *([f"{english.count(uncaptured, 'outcome')} without a captured prediction of the model"] if uncaptured else []),
        *([f"{english.count(ignored, 'outcome')} ignored: somebody else reported first"] if ignored else []),
    ]


def _quarantine(out: "Console", line: Document, verdicts: Document | None) -> None:
    """Objects that could not be read, and how many of them nobody has acknowledged."""
    apart = (verdicts or {}).get("quarantined", ())
    if not apart:
        return
    out.print()
    unseen = f", {line['quarantined']:,} not acknowledged" if line["quarantined"] else ", all acknowledged"
    out.print(f"quarantine: {english.count(len(apart), 'object')} left out{unseen}")
    show.reasons(out, [f"{each['key']} {each['reason']}" for each in apart[-SHOWN_APART:]])


def _looked(found: Document, hours: int | None) -> dict[str, str | Text | None]:
    record, window = found["health"], _shown(found["verdicts"], hours)
    others = [f"{each} h" for each in spans(found["verdicts"]) if window and each != window["hours"]]
    seen, acknowledged_by = record["acknowledged_at"], show.who(record["acknowledged_by"])
    return {
        "last look": f"{show.moment(record['looked_at'])} UTC",
        "window": f"{english.count(window['hours'], 'hour')} to {window['last']}, "
        f"{english.count(window['rows'], 'captured prediction')} of the version"
        if window
        else "none is stored",
        "also judged": f"{', '.join(others)} (--window HOURS)" if others else "",
        "training": record["held_back"] and f"held back: {record['held_back']}",
        "acknowledged": f"{show.moment(seen)} UTC by {acknowledged_by}: {record['acknowledged_because']}"
        if seen
        else "",
    }


_TAMPERED = Text("✗ not what was recorded", style="bold red")
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


_HELD = {
    "met": ("✓ met", "green"),
    "missed": ("✗ MISSED", "bold red"),
    "insufficient_data": ("· too little data", "dim"),
}


def _targets(out: "Console", held: Sequence[Document]) -> None:
    """The last 24 hours against each target that live traffic shows."""
    rows = [
        (
            each["name"],
            each["dimension"],
            Text(*_HELD[each["outcome"]]),
            f"{each['direction'].replace('_', ' ')} {each['limit']:g}{f' ({of})' if (of := each['of']) else ''}",
            _measured(each),
        )
        for each in held
    ]
    show.table(out, ("target", "about", "last 24 h", "limit", "measured"), rows)


def _measured(held: Document) -> str:
    if held["measured"] is None:
        return ""
    if held["low"] == held["high"]:
        return show.number(held["measured"])
    return figures.interval(held["measured"], held["low"], held["high"])


def _distributions(window: Document) -> list[Distribution]:
    """Of the features that weigh most in the verdict, or of those that moved most, as far as counts are kept."""
    counts = window.get("counts") or {}
    verdict = window["drift"]["features"]
    shown = {each["name"]: each["statement"] for each in verdict["findings"]}
    found = [
        distribution(name, shown[name], **counts[name])
        for name in verdict["responsible"] or tuple(counts)
        if name in counts and name in shown
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
    show.table(out, (found.name, "reference", "now"), rows)


def picture(found: Document, hours: int | None) -> str | None:
    """The same features as a picture (SVG); None when no counts of them are kept."""
    window = _shown(found["verdicts"], hours)
    distributions = _distributions(window) if window else []
    if not window or not distributions:
        return None
    line = found["model"]
    title = f"{line['model']}, {_serving(line)}: {english.count(window['hours'], 'hour')} to {window['last']}"
    return drawn(title, distributions)


def _attempts(out: "Console", attempts: Sequence[Document]) -> None:
    rows = [
        (
            each["run_id"],
            each["trigger"],
            show.moment(each["at"]),
            Text(*_ENDED.get(each["outcome"], (each["outcome"],))),
            show.moment(each["ended_at"]),
        )
        for each in reversed(attempts)
    ]
    show.table(out, ("run started by monitoring", "trigger", "began (UTC)", "outcome", "ended"), rows)


_ENDED = {
    "under_way": ("under way", "cyan"),
    "promoted": ("promoted", "green"),
    "turned_away": ("rejected", "yellow"),
    "unproven": ("too little evidence", "yellow"),
    "failed": ("failed", "red"),
}


def acknowledged(out: "Console", model: str, answer: Document) -> None:
    """What is recorded, and what follows."""
    if not answer["changed"]:
        record = answer["health"]
        health = _HEALTH[record["health"]][0].split(" ", 1)[1] if record else "not judged yet"
        out.print(f"{model}: nothing to acknowledge; it is {health}")
        return
    follows = "it is judged afresh on requests from the next hour on"
    if not answer["judged_afresh"]:
        follows = "the objects in quarantine are left out, and no longer reported"
    out.print(f"{model}: acknowledged; {follows}", soft_wrap=True)
