"""The commands about what is served: rollback, kill, resume, split and the ledger."""

from typing import Any

import click

from tidegate.cli import exits
from tidegate.cli.tool import Command, Group, Part, Tool, listing, pass_tool
from tidegate.kernel import english
from tidegate.kernel.errors import ConflictError, InvalidInputError

_reason = click.option(
    "--reason", metavar="TEXT", required=True, help="The reason. Recorded in the ledger with your name."
)


@click.command(cls=Command, short_help="Roll back to a version that has served before.")
@click.argument("model")
@click.option("--to", metavar="N", type=click.IntRange(1), help="The version. Default: the previous one.")
@_reason
@pass_tool
def rollback(tool: Tool, model: str, to: int | None, reason: str) -> None:
    """Let an earlier version of MODEL answer all requests again. Running functions follow within seconds.

    Without --to, a rollback ends the canary or split that is under way; if there is none, it goes to the version before
    the champion. A killed model stays killed until you resume it.

    \b
    Example:
      tidegate rollback flight-delay --to 3 --reason "late flights scored as early"
    """
    if to is None:
        to = tool.client.model(model)["rollback_to"]
        if to is None:
            raise ConflictError(
                f"{model} has no version to roll back to",
                next_step=f"give --to with a version that has served (tidegate ledger {model}), or kill the model",
            )
    _show(tool, model, tool.client.rollback(model, to, reason))


@click.command(cls=Command, short_help="Switch MODEL off: the fallback answers all requests.")
@click.argument("model")
@_reason
@pass_tool
def kill(tool: Tool, model: str, reason: str) -> None:
    """Switch MODEL off: its fallback, a rule without ML, answers until somebody resumes it. Canaries and splits end.

    \b
    Example:
      tidegate kill flight-delay --reason "weather feed is down"
    """
    _show(tool, model, tool.client.kill(model, reason))


@click.command(cls=Command, short_help="Switch a killed MODEL on again: its champion answers.")
@click.argument("model")
@_reason
@pass_tool
def resume(tool: Tool, model: str, reason: str) -> None:
    """Switch a killed MODEL on again. Its champion answers all requests.

    \b
    Example:
      tidegate resume flight-delay --reason "weather feed is back"
    """
    _show(tool, model, tool.client.resume(model, reason))


@click.command(cls=Command, short_help="Give a second version a fixed share of the requests.")
@click.argument("model")
@click.option("--to", metavar="N", type=click.IntRange(1), help="The version that receives the share.")
@click.option(
    "--percent",
    metavar="P",
    type=click.FloatRange(0.01, 99.99),
    help="Its share of the requests, 0.01 to 99.99, in steps of 0.01.",
)
@click.option("--end", is_flag=True, help="End the split. The champion then answers all requests.")
@click.option("--readout", is_flag=True, help="Show which version is better, by the spec's metric and by value.")
@click.option("--reason", metavar="TEXT", help="The reason. Recorded in the ledger with your name.")
@pass_tool
def split(
    tool: Tool,
    model: str,
    *,
    to: int | None,
    percent: float | None,
    end: bool,
    readout: bool,
    reason: str | None,
) -> None:
    """Compare two versions of MODEL on live traffic (A/B). --to gets --percent of the requests and the champion the
    rest, until you --end the split.

    Each routing key stays with its version. A larger share only moves keys from the champion to the other version. To
    keep the other version, roll back to it.

    --readout compares both on the answers whose outcome is known. Its intervals are valid at any time, so read it as
    often as you like. With --end it ends the split if one version is shown to be better; that one then answers all.

    \b
    Example:
      tidegate split flight-delay --to 4 --percent 20 --reason "fewer calls?"
      tidegate split flight-delay --readout --end --reason "the better one stays"
    """
    if readout and to is None and percent is None and end == (reason is not None):
        _read_out(tool, model, reason)
    elif reason is None or readout:
        raise InvalidInputError(
            "give --reason, or --readout alone; --readout takes --end and --reason together",
            next_step="see `tidegate split --help`",
        )
    elif end and to is None and percent is None:
        _show(tool, model, tool.client.end_split(model, reason))
    elif not end and to is not None and percent is not None:
        _show(tool, model, tool.client.split(model, to, round(percent * 100), reason))
    else:
        raise InvalidInputError("give either --to and --percent, or --end", next_step="see `tidegate split --help`")


def _read_out(tool: Tool, model: str, reason: str | None) -> None:
    """Show the readout; with a reason, let the better version answer all requests."""
    from tidegate.cli.pages import routes as routes_page

    found = tool.client.read_split(model)
    better, ended = found["better"], None
    if reason is not None and better == found["champion"]:
        ended = tool.client.end_split(model, reason)
    elif reason is not None and better is not None:
        ended = tool.client.rollback(model, better, reason)

    def render(out: Any) -> None:
        routes_page.readout(out, model, found)
        if ended:
            routes_page.route_change(out, model, ended)
        elif reason is not None:
            out.print("the split continues")

    tool.answer({"readout": found, "ended": ended}, render)


def _show(tool: Tool, model: str, answer: dict[str, Any]) -> None:
    from tidegate.cli.pages import routes as routes_page

    tool.answer(answer, lambda out: routes_page.route_change(out, model, answer))


class _Ledger(Group):
    """`ledger MODEL` is `ledger show MODEL`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the word in when no subcommand and no --help is among them."""
        known = {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if known.intersection(args) or not args else ["show", *args])


@click.group(cls=_Ledger, short_help="Show or verify every change of what MODEL serves.")
def ledger() -> None:
    """Show every change of what MODEL serves: who, when, which version, which share, why, and who approved it.

    \b
    Example:
      tidegate ledger flight-delay --at 2026-01-05T12:00
    """


@ledger.command(short_help="List the entries, or show what served at a time (the default).")
@click.argument("model")
@click.option("--at", metavar="TIME", help="Show what served at this day or time (UTC unless it has a zone).")
@click.option("--since", metavar="TIME", help="Only entries from this day or time on.")
@click.option("--until", metavar="TIME", help="Only entries before this day or time.")
@listing()
@pass_tool
def show(tool: Tool, model: str, *, at: str | None, since: str | None, until: str | None, part: Part) -> None:
    """Show the newest changes of what MODEL serves and the batches that it scored, the newest last; with --at, what
    served at that time and who decided it.

    \b
    Example:
      tidegate ledger flight-delay --at 2026-01-05T12:00
    """
    from tidegate.cli.pages import routes as routes_page

    if at is not None and (since or until):
        raise InvalidInputError(
            "--at does not go with --since and --until", next_step="see `tidegate ledger show --help`"
        )
    if at is None:
        found = tool.client.acts(model, part.limit, part.after, order="newest", since=since, until=until)
        acts = {kind: entries[::-1] for kind, entries in found.items()} | {"next": found["entries"].next}
        tool.answer(acts, lambda out: routes_page.ledger(out, acts))
        return
    served = tool.client.served_at(model, at)
    tool.answer(served, lambda out: routes_page.served_at(out, model, served))


@ledger.command(short_help="Verify that nobody changed the ledger.")
@click.argument("model")
@pass_tool
def verify(tool: Tool, model: str) -> int:
    """Verify that nobody changed, added or removed an entry of MODEL's ledger. The exit code is 0, or 8 if it is
    broken.

    \b
    Example:
      tidegate ledger verify flight-delay
    """
    from tidegate.cli.pages import routes as routes_page

    def so_far(found: dict[str, Any]) -> None:
        tool.say(f"{english.count(found['entries'] + found['batches']['entries'], 'entry', 'entries')} verified so far")

    found = tool.client.verify_ledger(model, on_look=so_far)
    tool.answer(found, lambda out: routes_page.verification(out, model, found))
    return exits.OK if found["intact"] and found["batches"]["intact"] else exits.BROKEN


@ledger.command(short_help="Record that you looked into what breaks the ledger.")
@click.argument("model")
@_reason
@pass_tool
def acknowledge(tool: Tool, model: str, reason: str) -> None:
    """Record that you looked into what breaks MODEL's ledger. An entry with your name lists the breaks, and the chain
    goes on from what serves now: `ledger verify` reports them as acknowledged, and the ledger as intact since.

    While MODEL serves something else than the last entry recorded, every command but `kill` is refused. Acknowledge
    the break first, then roll the model back.

    \b
    Example:
      tidegate ledger acknowledge flight-delay --reason "route edited by hand in the console, see INC-42"
    """
    _show(tool, model, tool.client.acknowledge_ledger(model, reason))
