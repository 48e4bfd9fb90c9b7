"""Two versions side by side, from the API's JSON: what differs in numbers, demands, data and declarations."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tidegate.cli.pages.pieces import OUTCOMES, Document, facts, interval, status, table
from tidegate.domain.evaluation.evaluation import Evaluation
from tidegate.kernel import english
from tidegate.kernel.typed import to_json

if TYPE_CHECKING:
    from rich.console import Console

_ABSENT = "–"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)?")
_NAMED = ("features", "computed", "rules")  # lists of the spec whose entries have names


@dataclass(frozen=True, slots=True)
class Side:
    """A version with its gate report and the spec it was trained from."""

    version: Document
    report: Document
    spec: Document

    @property
    def evaluation(self) -> Evaluation:
        """What the gate decided on."""
        return Evaluation.from_json(self.report["evaluation"])

    @property
    def holdout(self) -> tuple[object, ...]:
        """What the version was judged on; equal for versions that were judged on the same rows. Of versions from before
        the rows had a hash it is whatever chose them."""
        lineage, evaluation = self.report["lineage"], self.evaluation
        judged = self.spec["target"], self.spec["task"], lineage.get("holdout_sha256")
        if judged[-1]:
            return judged
        made = [lineage.get(name) for name in ("dataset", "dataset_version", "exclusions", "seed", "periods")]
        asked = [self.spec.get(name) for name in ("split", "target", "time", "group", "task")]
        return (evaluation.rows, *made, *asked)


def compared(first: Side, second: Side) -> dict[str, Any]:
    """The comparison as one JSON document. A list has an entry for whatever either version has; the side that lacks it
    has null."""
    sides = (first, second)
    return {
        "model": first.version["model"],
        "versions": [{name: side.version[name] for name in ("number", "status", "created_at")} for side in sides],
        "metric": [side.evaluation.metric for side in sides],
        "same_holdout": first.holdout == second.holdout,
        "gain": _gain(first, second),
        "metrics": _paired([to_json(side.evaluation.metrics) for side in sides]),
        "gate": _paired([{check["name"]: check for check in side.report["verdict"]["checks"]} for side in sides]),
        "slices": _paired([_slices(side) for side in sides]),
        "data": [_data(side) for side in sides],
        "features": _features(first, second),
        "spec": list(_differences(first.spec, second.spec)),
    }


def _paired(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By name, in the order of the second and then of the first."""
    first, second = found
    return [{"name": name, "first": first.get(name), "second": second.get(name)} for name in {**second, **first}]


def _gain(first: Side, second: Side) -> dict[str, Any] | None:
    """What one gained over the other at its gate, on the same rows: known when one was the other's champion."""
    for side, other in ((second, first), (first, second)):
        champion, gain = side.evaluation.champion, side.evaluation.gain_over_champion
        if champion and gain and champion.version == other.version["number"]:
            pair = {"of": side.version["number"], "over": other.version["number"]}
            return {**pair, **to_json(gain)}
    return None


def _slices(side: Side) -> dict[str, Any]:
    declared = side.evaluation.sections.slices or ()
    return {f"{each.column} {each.value}": to_json(each.metric) for each in declared}


def _data(side: Side) -> dict[str, Any]:
    lineage = side.report["lineage"]
    names = ("dataset", "dataset_version", "exclusions", "rows", "periods")
    return {name: lineage.get(name) for name in names}


def _features(first: Side, second: Side) -> dict[str, list[str]]:
    before, after = ([each["name"] for each in side.spec["features"]] for side in (first, second))
    return {
        "added": [name for name in after if name not in before],
        "removed": [name for name in before if name not in after],
    }


def _differences(first: object, second: object, path: str = "") -> Iterator[dict[str, Any]]:
    """Where two specs differ, leaf by leaf; features and other named entries by their names."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for name in {**first, **second}:
            inner = f"{path}.{name}" if path else str(name)
            yield from _differences(_by_name(name, first.get(name)), _by_name(name, second.get(name)), inner)
    elif first != second:
        yield {"path": path, "first": first, "second": second}


def _by_name(field: str, value: object) -> object:
    if field in _NAMED and isinstance(value, list):
        return {entry["name"]: entry for entry in value}
    return value


def render(out: "Console", found: Document) -> None:
    """What people read: numbers first, then the gate, slices, data and declarations."""
    numbers = [f"version {each['number']}" for each in found["versions"]]
    title = Text(f"{found['model']}: ")
    for name, each, joint in zip(numbers, found["versions"], (" and ", ""), strict=True):
        title.append_text(Text.assemble(f"{name} (", status(each["status"]), f"){joint}"))
    out.print(title)
    out.print(_comparable(found), soft_wrap=True)
    _heading(out, "Metrics")
    heads = tuple(f">{name}" for name in numbers)
    table(out, ("metric", *heads), _rows(found["metrics"]))
    _heading(out, "Gate")
    gate = [
        (each["name"].replace("_", " "), _outcome(each["first"]), _outcome(each["second"])) for each in found["gate"]
    ]
    table(out, ("check", *numbers), gate)
    if found["slices"]:
        _heading(out, f"Slices by {' and '.join(dict.fromkeys(found['metric']))}")
        table(out, ("slice", *heads), _rows(found["slices"]))
    _heading(out, "Data")
    first, second = (_shown(each) for each in found["data"])
    known = [name for name in first if {first[name], second[name]} != {_ABSENT}]
    table(out, ("", *numbers), [(name, first[name], second[name]) for name in known])
    _heading(out, "Spec")
    if any(found["features"].values()):
        facts(out, {f"features {what}": ", ".join(names) for what, names in found["features"].items()})
        out.print()
    shown = {f"features.{name}" for names in found["features"].values() for name in names}
    changed = [each for each in found["spec"] if each["path"] not in shown]
    rows = [(each["path"], _short(each["first"]), _short(each["second"])) for each in changed]
    table(out, ("field", *numbers), rows, none="nothing else differs" if found["spec"] else "the specs are the same")


def _comparable(found: Document) -> str:
    gain = found["gain"]
    if gain:
        shown = interval(gain)
        return f"at its gate version {gain['of']} gained {shown} over version {gain['over']}, on the same rows"
    if found["same_holdout"]:
        return "both were judged on the same rows, but not against each other"
    return "they were judged on different rows, which explains part of the difference"


def _rows(found: Sequence[Document]) -> list[tuple[str, str, str]]:
    return [(each["name"], _estimate(each["first"]), _estimate(each["second"])) for each in found]


def _estimate(found: Document | None) -> str:
    return interval(found) if found else _ABSENT


def _outcome(check: Document | None) -> Text:
    word, style = OUTCOMES.get(check["outcome"], (check["outcome"], "")) if check else (_ABSENT, "dim")
    return Text(word, style=style)


def _shown(data: Document) -> dict[str, str]:
    rows, periods = data["rows"] or {}, data["periods"] or {}
    return {
        "dataset": f"{data['dataset']} {data['dataset_version']}",
        "exclusions": ", ".join(data["exclusions"] or ()) or "none",
        **{f"{part} rows": f"{rows[part]:,}" if part in rows else _ABSENT for part in ("fit", "validation", "holdout")},
        **{f"{part} period": _period(periods.get(part)) for part in ("fit", "holdout")},
    }


def _period(ends: Sequence[str] | None) -> str:
    return " .. ".join(map(english.moment, ends)) if ends else _ABSENT


def _short(value: object) -> str:
    text = _said(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _said(value: object) -> str:
    """A value of a spec; times and periods as people write them."""
    match value:
        case None:
            return _ABSENT
        case str() if _MOMENT.fullmatch(value):
            return english.moment(value)
        case {"from": start, "to": end}:
            return f"{_said(start)} to {_said(end)}"
        case _:
            return str(value)


def _heading(out: "Console", text: str) -> None:
    out.print()
    out.print(Text(text, style="bold"))
