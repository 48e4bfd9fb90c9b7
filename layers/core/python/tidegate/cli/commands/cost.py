"""The command about what models cost and what their answers were worth."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.tool import Command, Tool, pass_tool

if TYPE_CHECKING:
    from tidegate.domain.monitoring.costs import Bill, Spent

Document = Mapping[str, Any]
_PARTS = {"model": ("model",), "version": ("model", "version"), "unit": ("business_unit",)}
KEPT_DAYS = 31


@click.command(cls=Command, short_help="Show what models cost and what their answers were worth.")
@click.argument("model", required=False)
@click.option("--days", type=click.IntRange(1, KEPT_DAYS), default=7, show_default=True, help="Number of days.")
@click.option(
    "--by",
    type=click.Choice(list(_PARTS)),
    help="What each line covers. Default: a version if MODEL is given, else a model.",
)
@pass_tool
def cost(tool: Tool, model: str | None, days: int, by: str | None) -> None:
    """Show what MODEL, or every model, cost in the last days, and what its answers were worth.

    The worth of an answer is declared under `value` in the spec. The net value covers the predictions whose outcome is
    known. The line of the fallback shows what its rules earned. docs/cost.md explains what is counted.

    \b
    Example:
      tidegate cost flight-delay --days 30
    """
    from tidegate.cli.pages import cost as cost_page

    names = [model] if model else [each["model"] for each in tool.client.models_health()]
    answer = _costs([tool.client.model_health(name) for name in names], days, by or ("version" if model else "model"))
    tool.answer(answer, lambda out: cost_page.costs(out, answer))


def _costs(found: Sequence[Document], days: int, by: str) -> dict[str, Any]:
    """Lines and totals of a window that ends with the latest look at any of the models."""
    from tidegate.domain.monitoring.costs import Bill, days_before

    bills: dict[str, Bill] = {}
    parts: list[tuple[dict[str, str], Bill, Spent]] = []
    for each in found:
        if each["verdicts"] and "cost" in each["verdicts"]:
            bills[each["model"]["model"]] = Bill.from_json(each["verdicts"]["cost"])
    last = max((bill.until for bill in bills.values()), default="")
    first = days_before(last, days) if last else ""
    for each in found:
        name = each["model"]["model"]
        if name in bills:
            of = {"model": name, "business_unit": each["model"]["business_unit"]}
            for version, spent in bills[name].since(first).parts.items():
                parts.append((of | {"version": version}, bills[name], spent))
    return {
        "days": days,
        "first": first,
        "last": last,
        "by": by,
        "lines": _lines(parts, _PARTS[by]),
        "units": _lines(parts, _PARTS["unit"]),
        "spikes": {name: bill.spike.sentence for name, bill in bills.items() if bill.spike},
        "undeclared": [name for name, bill in bills.items() if bill.declared is None],
        "unknown": [each["model"]["model"] for each in found if each["model"]["model"] not in bills],
    }


def _lines(parts: Sequence[tuple[Mapping[str, str], "Bill", "Spent"]], names: Sequence[str]) -> list[dict[str, Any]]:
    """One for each combination of these names, the dearest first."""
    groups: dict[tuple[str, ...], list[tuple[str, Bill, Spent]]] = {}
    for of, bill, spent in parts:
        groups.setdefault(tuple(of[name] for name in names), []).append((of["model"], bill, spent))
    lines = [dict(zip(names, key, strict=True)) | _line(group) for key, group in groups.items()]
    return sorted(lines, key=lambda line: (-line["usd"], *(line[name] for name in names)))


def _line(group: Sequence[tuple[str, "Bill", "Spent"]]) -> dict[str, Any]:
    """Sums. Value, where all models declare it in one currency; net, by their shares of the decisions, where it is
    known of each that decided anything."""
    from tidegate.domain.monitoring.costs import net_per_1000, summed, value

    whole = summed([spent for *_, spent in group])
    total = whole.total
    by_model = {name: (bill, summed([spent for of, _, spent in group if of == name])) for name, bill, _ in group}
    declared = [bill.declared for bill, _ in by_model.values()]
    currencies = {each.currency if each else None for each in declared}
    nets = [
        (spent.total.predictions, net_per_1000(spent, bill.prices, bill.declared))
        for bill, spent in by_model.values()
        if spent.total.predictions
    ]
    known = [(weight, net) for weight, net in nets if net is not None]
    single = len(currencies) == 1 and None not in currencies
    return {
        "requests": total.requests,
        "predictions": total.predictions,
        "billed_ms": total.billed_ms,
        "stored_bytes": whole.stored_bytes,
        "usd": sum(spent.usd(bill.prices) for bill, spent in by_model.values()),
        "right": total.right,
        "wrong": total.wrong,
        "value": sum(value(spent.total, bill.declared) for bill, spent in by_model.values() if bill.declared)
        if single
        else None,
        "currency": next(iter(currencies)) if single else None,
        "net_usd_per_1000": sum(weight * net for weight, net in known) / sum(weight for weight, _ in known)
        if known and len(known) == len(nets)
        else None,
    }
