"""What people read of models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tidegate.cli.pages import pieces as show
from tidegate.cli.pages.pieces import Document

if TYPE_CHECKING:
    from rich.console import Console
from tidegate.cli.pages.rollout import rollout_line
from tidegate.cli.pages.routes import shares


def models(out: "Console", found: Sequence[Document], following: str | None) -> None:
    """One line for each model."""
    rows = [
        (each["name"], each["task"], each["owner"], each["business_unit"], str(each["latest_version"] or "-"))
        for each in found
    ]
    heads = ("model", "task", "owner", "business unit", ">versions")
    show.table(out, heads, rows, none="no models yet: tidegate model apply --help")
    show.more(out, f"first {len(rows)}", following)


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
        "judged by": _named(spec["metric"]),
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


def _allowed(feature: Document) -> str:
    if feature["categories"]:
        listed = ", ".join(feature["categories"][:6])
        return listed + (", ..." if len(feature["categories"]) > 6 else "")
    low, high = feature["min"], feature["max"]
    if low is None and high is None:
        return ""
    return f"{'' if low is None else f'{low:g}'} .. {'' if high is None else f'{high:g}'}"


def _named(metric: str | Document) -> str:
    """A metric, with its parameters where it has some."""
    if isinstance(metric, str):
        return metric
    return f"{metric['name']}({', '.join(f'{name}={value:g}' for name, value in metric.items() if name != 'name')})"
