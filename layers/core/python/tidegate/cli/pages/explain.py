"""What people read about one prediction, from the API's JSON."""

from typing import TYPE_CHECKING, Any

from rich.text import Text

from tidegate.cli.pages.distributions import bar
from tidegate.cli.pages.pieces import Document, checks, facts, interval, moment, span, table, who
from tidegate.kernel import english, figures

if TYPE_CHECKING:
    from rich.console import Console

BAR_WIDTH = 24  # characters


def page(out: "Console", found: Document) -> None:
    """All that led to one prediction, the answer first."""
    facts(out, _answer(found))
    _heading(out, "Inputs and their contributions" if found["contributions"] else "Inputs")
    _inputs(out, found)
    if found["why_not"]:
        out.print(f"no contributions: {found['why_not']}", soft_wrap=True)
    if found["version"] is None:
        return
    _heading(out, f"Version {found['version']['number']}")
    facts(out, _origin(found))
    _heading(out, "Gate")
    if found["gate"]:
        checks(out, found["gate"]["checks"])
    else:
        out.print("its report is missing or does not match the registry")


def _heading(out: "Console", text: str) -> None:
    out.print()
    out.print(Text(text, style="bold"))


def _answer(found: Document) -> dict[str, str]:
    model, answer, record = found["model"], found["answer"], found["capture"]
    row = "" if record["rows"] == 1 else f", one of its {record['rows']:,} rows"
    cold = ", including loading an artifact" if record["cold"] else ""
    return {
        "prediction": found["id"],
        "model": f"{model['name']} ({model['task']}), owner {model['owner']}, {model['business_unit']}",
        "when": f"{moment(record['time'])} UTC",
        "answered by": _by(answer, record),
        "because": answer["because"],
        "answer": _given(answer, found["threshold"]),
        "outcome": "" if found["outcome"] is None else f"{_value(found['outcome'])}, as reported",
        "computed again": _again(found["again"], own=answer["by"] != "version" and record["version"] is not None),
        "rules broken": ", ".join(answer["violations"]),
        "fault": answer["error"] or "",
        "request": f"{record['request_id']}{row}, {record['latency_ms']:.3g} ms{cold}",
        "route": f"revision {record['route']}, {record['arm']}; see tidegate ledger {model['name']}"
        if record["route"] is not None
        else "",
    }


def _by(answer: Document, record: Document) -> str:
    match answer["by"]:
        case "version":
            return f"version {record['version']}"
        case "fallback":
            return f"the fallback, {answer['rule'] or 'whose rule is no longer known'}"
        case _:
            return "nobody"


def _given(answer: Document, threshold: float | None) -> str:
    if answer["score"] is None:
        return "none"
    if answer["label"] is None:
        return _value(answer["score"])
    limit = "" if threshold is None else f", the positive class from {threshold:g} on"
    return f"{_value(answer['label'])} (score {_value(answer['score'])}{limit})"


def _again(again: Document | None, *, own: bool) -> str:
    if again is None:
        return "no"
    if again["same"] is None:
        return f"the version's own answer is {_value(again['score'])}" if own else _value(again["score"])
    if again["same"]:
        return f"yes, with the same score (difference {again['difference']:.1e})"
    return f"NO: the score is {_value(again['score'])} (difference {again['difference']:+.4g})"


def _inputs(out: "Console", found: Document) -> None:
    inputs = {each["name"]: each for each in found["inputs"]}
    parts = found["contributions"]
    if parts is None:
        rows = [
            (each["name"], _cell(each), "" if each["used"] else "not an input of the model") for each in inputs.values()
        ]
        table(out, ("input", "value", ""), rows, none="none were stored")
        return
    widest = max(abs(each["value"]) for each in parts["features"]) or 1.0
    drawn: list[tuple[str | Text, ...]] = []
    for each in parts["features"]:
        colour = "red" if each["value"] < 0 else "green"
        shown = Text(bar(abs(each["value"]), widest, BAR_WIDTH), style=colour)
        said = f"{each['value']:+.4f}" if each["value"] else "0"
        drawn.append((each["name"], _cell(inputs[each["name"]]), said, f"± {_half_width(each):.4f}", shown))
    table(out, ("input", "value", ">contribution", ">95 %", ""), drawn)
    unused = [f"{name}={_cell(each)}" for name, each in inputs.items() if not each["used"]]
    if unused:
        out.print(f"also sent, but not inputs of this version: {', '.join(unused)}", soft_wrap=True)
    of = f"the {parts['of']}" + ("" if parts["class"] is None else f" of {_value(parts['class'])}")
    total = sum(each["value"] for each in parts["features"])
    out.print(
        f"{of}: {figures.number(parts['base'])} on average over {parts['background_rows']} training rows, "
        f"{total:+.4f} from these inputs = {figures.number(parts['score'])} "
        f"(rest {parts['rest']:.0e}; {parts['orders']:,} orders of inputs)",
        soft_wrap=True,
    )


def _half_width(each: Document) -> float:
    return float(each["high"] - each["low"]) / 2


def _cell(each: Document) -> str:
    if each["hidden"]:
        return "hidden"
    if each["value"] is None:
        return "missing"
    return f"{_value(each['value'])} {each['unit'] or ''}".rstrip()


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return figures.number(value) if isinstance(value, float) else str(value)


def _origin(found: Document) -> dict[str, str]:
    version, training, people = found["version"], found["training"], found["people"]
    period = span(*training["period"]) if training["period"] else ""
    asked = f"asked for {span(*training['asked'])}" if training["asked"] else ""
    rows = f"{english.count(training['rows'], 'row')}" if training["rows"] is not None else ""
    left_out = ", ".join(
        f"{name.replace('_', ' ')} {count:,}" for name, count in (training["left_out"] or {}).items() if count
    )
    excluded = [
        f"{span(each['start'], each['end'])} by {who(each['author'])}: {each['reason']}"
        for each in training["exclusions"]
    ]
    requested = f"{who(people['requested_by'])}: {people['requested_because']}"
    approved = "not yet" if people["needs_approval"] else "not required"
    if people["approved_by"]:
        approved = f"{moment(people['approved_at'])} UTC by {who(people['approved_by'])}: {people['approved_because']}"
    return {
        "status now": version["status"],
        version["metric"]: f"{interval(version)} on its holdout",
        "dataset": f"{training['dataset']} {training['dataset_version']}",
        "trained on": ", ".join(filter(None, (period, rows, asked))),
        "rows left out": left_out,
        "excluded": "\n".join(excluded) or "no period",
        "spec": f"{version['spec_digest'][:12]} by {who(people['spec_by'])}",
        "requested": f"{moment(people['requested_at'])} UTC by {requested}",
        "approved": approved,
        "promoted": f"{moment(people['promoted_at'])} UTC" if people["promoted_at"] else "",
        "artifact": f"sha256 {version['artifact_sha256'][:12]}, code {version['code_version']}",
        "run": version["run_id"],
        "its report": f"tidegate report {version['model']} {version['number']}",
    }
