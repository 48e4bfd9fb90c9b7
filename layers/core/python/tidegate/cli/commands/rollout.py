"""The commands about a version on its way to its users: rollout, approve, reject."""

import sys
from typing import Any

import click

from tidegate.cli import exits
from tidegate.cli.tool import Command, Tool, pass_tool
from tidegate.kernel.errors import InvalidInputError, NotFoundError

LATEST = 20  # rollouts: a model has one release at a time, so one that is under way is among them


@click.command(cls=Command, short_help="Show the rollout of a version.")
@click.argument("model")
@click.option("--run", "run_id", metavar="RUN", help="The run that made the version. Default: the newest rollout.")
@click.option("--follow", is_flag=True, help="Show each change until the rollout ends. Ctrl-C only stops the display.")
@click.option(
    "--until",
    type=click.Choice(["promoted", "end"]),
    help="What --follow waits for: the promotion, or the end of the probation after it (default).",
)
@click.option(
    "--end",
    is_flag=True,
    help="End the rollout under way, or the run without one. The champion then answers all.",
)
@click.option("--reason", metavar="TEXT", help="The reason. Recorded in the ledger with your name.")
@pass_tool
def rollout(
    tool: Tool, model: str, run_id: str | None, *, follow: bool, until: str | None, end: bool, reason: str | None
) -> int:
    """Show how far the rollout of a version of MODEL is (approval, shadow, canary, promotion, probation), with its
    evidence.

    The exit code is 3 if the version was rolled back, rejected, expired, overtaken or stopped, or if its rollout
    failed.

    \b
    Example:
      tidegate rollout flight-delay --follow --until promoted
    """
    from tidegate.cli.pages import rollout as rollout_page

    if end != (reason is not None) or (end and (run_id or follow)):
        raise InvalidInputError(
            "--end and --reason go together, without other options", next_step="see `tidegate rollout --help`"
        )
    if until and not follow:
        raise InvalidInputError("--until needs --follow", next_step="see `tidegate rollout --help`")
    if reason is not None:
        answer = tool.client.end_rollout(model, reason)
        tool.answer(answer, lambda out: rollout_page.rollout_ended(out, model, answer))
        return exits.OK
    run_id = run_id or _newest(tool, model)
    found = _followed(tool, model, run_id, until) if follow else tool.client.rollout(model, run_id)
    tool.answer({"rollout": found}, lambda out: rollout_page.rollout(out, found))
    return exits.OK if found["phase"] == "done" or not found["ended_at"] else exits.REJECTED


def _newest(tool: Tool, model: str) -> str:
    """The run of the rollout that is under way, or else of the last one."""
    listed = tool.client.rollouts(model, LATEST)
    if not listed:
        lease = tool.client.model(model)["under_way"]["lease"]
        if lease:
            raise NotFoundError(
                f"{model} has no rollout yet: run {lease['run_id']} is under way",
                next_step=f"look at the run: tidegate runs {model} {lease['run_id']}",
            )
        raise NotFoundError(f"{model} has no rollout yet", next_step=f"train a version: tidegate train {model} --wait")
    return str(next((each for each in listed if not each["ended_at"]), listed[0])["run_id"])


def _followed(tool: Tool, model: str, run_id: str, until: str | None) -> dict[str, Any]:
    from tidegate.cli.pages.progress import RolloutLines

    try:
        return tool.client.follow_rollout(
            model, run_id, until_promoted=until == "promoted", on_look=RolloutLines(tool.err).look
        )
    except KeyboardInterrupt:
        tool.say(f"the rollout continues; follow it again: tidegate rollout {model} --run {run_id} --follow")
        raise


_reason = click.option("--reason", metavar="TEXT", required=True, help="The reason. Stored with your name.")
_yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


@click.command(cls=Command, short_help="Approve a version for release.")
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@_reason
@_yes
@pass_tool
def approve(tool: Tool, model: str, version: int, *, reason: str, yes: bool) -> None:
    """Approve VERSION of MODEL, so that its rollout continues. The people who made the version cannot approve it.

    The approval covers exactly the artifact and the report that the command shows.

    \b
    Example:
      tidegate approve flight-delay 2 --reason "beats version 1 on every airport"
    """
    _decide(tool, model, version, "approve", reason, yes=yes)


@click.command(cls=Command, short_help="Reject a version.")
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@_reason
@_yes
@pass_tool
def reject(tool: Tool, model: str, version: int, *, reason: str, yes: bool) -> None:
    """Reject VERSION of MODEL, so that it never serves. The people who made the version cannot reject it.

    \b
    Example:
      tidegate reject flight-delay 2 --reason "no data of the new terminal"
    """
    _decide(tool, model, version, "reject", reason, yes=yes)


def _decide(tool: Tool, model: str, number: int, decision: str, reason: str, *, yes: bool) -> None:
    """Show what is decided about, ask a person at a terminal, and send the hashes of what was shown."""
    from tidegate.cli.pages import rollout as rollout_page

    shown = tool.client.version(model, number)
    rollout_page.to_decide(tool.err, shown)
    if sys.stdin.isatty() and not (yes or tool.as_json):
        click.confirm(f"{decision} it?", abort=True, err=True)
    answer = tool.client.decide(shown, decision, reason)
    tool.answer(answer, lambda out: rollout_page.decided(out, answer))
