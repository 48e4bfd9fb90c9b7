"""The gate's report, for people, from the API's JSON."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from tidegate.cli.pages import pieces as show
from tidegate.cli.pages.pieces import Document
from tidegate.cli.pages.rollout import forecast
from tidegate.cli.pages.runs import candidates
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.evaluation import Evaluation, Parity
from tidegate.kernel import english, figures
from tidegate.kernel.typed import to_json

if TYPE_CHECKING:
    from rich.console import Console


def report(out: "Console", found: Document, header: Document) -> None:
    """The gate's report: verdict line by line, then the evidence, then what the version was made of."""
    verdict, evaluation = found["verdict"], Evaluation.from_json(found["evaluation"])
    said = Text.assemble(f"{header['model']} version {header['number']}: ", show.status(_of(verdict)))
    if header["status"] not in {"accepted", "rejected"}:
        said.append_text(Text.assemble(", now ", show.status(header["status"])))
    out.print(said)
    forecast(out, header.get("forecast"))
    out.print()
    out.print(Text("Verdict", style="bold"))
    show.checks(out, verdict["checks"])
    out.print()
    out.print(Text("Evidence", style="bold"))
    _evidence(out, evaluation)
    out.print()
    out.print(Text("Lineage", style="bold"))
    lineage = found["lineage"]
    plain = {name: value for name, value in lineage.items() if name not in _SHOWN_APART}
    show.facts(out, dict(_flat(plain)) | _by_name(lineage))
    if lineage.get("computed"):
        out.print()
        rows = [(each["name"], each["expression"], each["unit"] or "", _learned(each)) for each in lineage["computed"]]
        columns = 4 if any(learned for *_, learned in rows) else 3
        heads = ("computed feature", "expression", "unit", "learned")
        show.table(out, heads[:columns], [row[:columns] for row in rows])
    if lineage["candidates"]:
        out.print()
        candidates(out, lineage["candidates"], lineage["selected"])
    if lineage.get("notes"):
        out.print()
        out.print(Text("Notes on the data", style="bold"))
        for note in lineage["notes"]:
            out.print(Text(note))


_STRONGEST = 12
_SHOWN_APART = frozenset({"computed", "environment", "files", "notes", "periods", "split", "strength_alone", "target"})


def _by_name(lineage: Document) -> dict[str, str]:
    """What is shown of the periods, of the target in each part, and of each feature: their names stay as they are."""
    shown = {
        f"{what}, {part}": " to ".join(map(english.moment, ends))
        for what in ("split", "periods")
        for part, ends in (lineage.get(what) or {}).items()
        if ends
    }
    shown |= {f"target, {part}": _target(found) for part, found in lineage.get("target", {}).items()}
    strengths = sorted(lineage.get("strength_alone", {}).items(), key=lambda each: -each[1])
    named = [f"{name} {show.cell(value)}" for name, value in strengths[:_STRONGEST]]
    more = [f"{english.count(len(strengths) - _STRONGEST, 'weaker one')}"] if len(strengths) > _STRONGEST else []
    files = f"{english.count(len(lineage.get('files', ())), 'file')}, each with its SHA-256 in --json"
    return shown | {"strength alone": ", ".join([*named, *more]), "files": files if lineage.get("files") else ""}


def _target(found: Document) -> str:
    if "classes" not in found:
        return "mean {}, {} to {}".format(*(figures.number(found[part]) for part in ("mean", "low", "high")))
    return ", ".join(f"{label} {rows:,}" for label, rows in zip(found["classes"], found["rows"], strict=True))


def _learned(computed: Document) -> str:
    return ", ".join(
        f"{english.count(each['groups'], 'rate')} by {', '.join(each['by'])}" for each in computed["learned"]
    )


def _of(verdict: Document) -> str:
    return "accepted" if verdict["accepted"] else "rejected"


def _evidence(out: "Console", found: Evaluation) -> None:
    metric, champion = found.metric, found.champion
    rows: list[tuple[str, str]] = [
        ("this version", _interval(found.candidate)),
        (f"baseline: {found.baseline.rule}", _interval(found.baseline.estimate)),
    ]
    if champion:
        rows.append((f"champion: version {champion.version}", _interval(champion.estimate)))
    gains = {"baseline": found.gain_over_baseline, "champion": found.gain_over_champion}
    rows += [(f"gain over {name}", _interval(gain)) for name, gain in gains.items() if gain]
    rows += [
        (name, _interval(each) if each else "not defined here")
        for name, each in found.metrics.items()
        if name != metric
    ]
    show.table(out, (metric, f">value [{found.confidence:.0%} interval]"), rows)
    out.print()
    latency = found.latency_ms
    by = "" if found.resample_by == "row" else f" in {english.count(found.clusters, found.resample_by)}"
    show.facts(
        out,
        {
            "holdout": f"{found.rows:,} rows{by}, {found.resamples:,} resamples by {found.resample_by}",
            "parity": _parity(found.parity),
            "latency": f"{latency.p50:.3g} ms p50, {latency.p99:.3g} ms p99 for one row",
            "load": f"{found.load_ms:.3g} ms, artifact {show.size(found.artifact_bytes)}, "
            f"peak memory {found.peak_memory_mib:.0f} MiB",
        },
    )


def _interval(found: Estimate | None) -> str:
    return show.interval(to_json(found) or dict.fromkeys(("value", "low", "high")))


def _parity(found: Parity) -> str:
    """A regression has no labels that could flip: its values are compared."""
    differ = f"differ by at most {found.judged:.2g}{found.unit} (gate.parity_tolerance allows {found.tolerance:g})"
    if found.flips is None:
        return f"values {differ} on {found.rows:,} rows"
    return f"scores {differ}, {found.flips:,} of {found.rows:,} labels flip"


def _short(text: str) -> str:
    """A SHA-256 by its beginning; --json has the whole."""
    return f"{text[:16]}..." if len(text) == 64 and set(text) <= set("0123456789abcdef") else show.who(text)


def _flat(document: Document, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Names and values of nested JSON: a group of plain values on one line, lists of records left to their tables, and
    nothing of what there is not."""
    for key, value in document.items():
        name = prefix + key.replace("_", " ")
        if isinstance(value, Mapping):
            known = {part: item for part, item in value.items() if item is not None}
            if any(isinstance(item, Mapping | list) for item in known.values()):
                yield from _flat(known, "" if name == "plan" else f"{name} ")
            else:
                yield name, ", ".join(f"{part.replace('_', ' ')} {show.cell(item)}" for part, item in known.items())
        elif isinstance(value, list):
            if not any(isinstance(item, Mapping) for item in value):
                yield name, ", ".join(str(item) for item in value)
        elif name != "selected":
            yield name, "" if value is None else _short(str(value))
