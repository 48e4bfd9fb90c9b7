"""The commands about runs and versions: train, runs, versions, report, compare."""

import uuid
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli import exits
from tidegate.cli.tool import Command, Tool, pass_tool
from tidegate.errors import NotFoundError

if TYPE_CHECKING:
    from tidegate.cli.comparison import Side


@click.command(cls=Command, short_help="Train MODEL by its current spec.")
@click.argument("model")
@click.option("--token", metavar="TEXT", help="Names this wish: however often it is sent, one run comes of it.")
@click.option("--reason", metavar="TEXT", help="Goes into the run's record.")
@click.option("--wait", is_flag=True, help="Follow the run to its end; the exit code tells it.")
@click.option("--timeout", default=3_600, show_default=True, type=click.IntRange(1), help="Seconds to wait at most.")
@pass_tool
def train(  # noqa: PLR0917  click passes options by name
    tool: Tool, model: str, token: str | None, reason: str | None, wait: bool, timeout: int
) -> int:
    """Train MODEL by its current spec: the release state machine, from data to a version on its way to its users.

    A model has one release at a time; while another is under way this one is refused (exit code 7). With --wait the
    exit code is 0 when the version was accepted and its rollout began, 3 when the gate rejected it, 7 when another
    version became the champion meanwhile, 1 when the run failed. Ctrl-C stops the looking, not the run.

    \b
    Example:
      tidegate train flight-delay --wait
      tidegate train flight-delay --token nightly-2026-01-05 --reason schedule
    """
    from tidegate.cli import progress, render

    answer = tool.client.start_run(model, token or f"cli-{uuid.uuid4().hex}", reason)
    run = answer["run"]
    if answer["repeated"] and token:
        tool.say(f"token {token} was sent before; this is its run")
    if not wait:

        def started(out: Any) -> None:
            out.print(f"{model}: run {run['run_id']} is {run['status']}")
            out.print(f"follow it: tidegate train {model} --token {run['token']} --wait", soft_wrap=True)
            out.print(f"look at it: tidegate runs {model} {run['run_id']}", soft_wrap=True)

        tool.answer(answer, started)
        return exits.OK

    planned = progress.planned_candidates(tool.client.spec(model, run["spec_digest"])["spec"])
    try:
        with progress.watching(tool.err, model, run["run_id"], planned) as look:
            run = tool.client.wait_for_run(model, run["run_id"], on_look=look, timeout_seconds=timeout)
    except KeyboardInterrupt:
        tool.say(f"the run goes on; follow it again: tidegate train {model} --token {run['token']} --wait")
        raise
    rollout = run.pop("rollout", None)
    version = tool.client.version(model, run["version"]) if run["version"] is not None else None
    outcome = {"run": run, "version": version, "rollout": rollout, "repeated": answer["repeated"]}
    tool.answer(outcome, lambda out: render.outcome(out, run, version, rollout))
    match run["status"], rollout:
        case "accepted", None:
            tool.say(f"error: version {run['version']} was accepted, but its rollout did not begin")
            tool.say("  next: look at the executions of the release state machine, then train again")
            return exits.FAILED
        case "accepted", {"phase": "overtaken"}:
            tool.say(f"error: version {run['version']} passed the gate, but does not serve: it was overtaken")
            tool.say(f"  next: tidegate train {model} --wait")
            return exits.CONFLICT
        case "accepted", {"phase": phase, "ended_at": ended} if phase == "done" or ended is None:
            return exits.OK
        case "accepted" | "rejected", _:
            return exits.REJECTED
        case _:
            return exits.FAILED


@click.command(cls=Command, short_help="Training runs of MODEL, or one of them.")
@click.argument("model")
@click.argument("run", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200), help="How many to list.")
@pass_tool
def runs(tool: Tool, model: str, run: str | None, limit: int) -> None:
    """Training runs of MODEL, newest first, or one RUN with its candidates.

    \b
    Example:
      tidegate runs flight-delay
    """
    from tidegate.cli import render

    if run:
        found = tool.client.run(model, run)
        tool.answer({"run": found}, lambda out: render.run(out, found))
        return
    listed = tool.client.runs(model, limit)
    tool.answer({"runs": listed}, lambda out: render.runs(out, listed))


@click.command(cls=Command, short_help="Versions of MODEL, or one of them.")
@click.argument("model")
@click.argument("version", required=False, type=int)
@pass_tool
def versions(tool: Tool, model: str, version: int | None) -> None:
    """Versions of MODEL, newest first, or one VERSION.

    \b
    Example:
      tidegate versions flight-delay 1
    """
    from tidegate.cli import render

    if version is not None:
        found = tool.client.version(model, version)
        tool.answer({"version": found}, lambda out: render.version(out, found))
        return
    listed = tool.client.versions(model)
    tool.answer({"versions": listed}, lambda out: render.versions(out, listed))


@click.command(cls=Command, short_help="The gate's report of a version.")
@click.argument("model")
@click.argument("version", required=False, type=int)
@click.option("--html", metavar="FILE", help="Write the version's page, with all pictures, into a file.")
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@pass_tool
def report(tool: Tool, model: str, version: int | None, html: str | None, show: bool) -> None:
    """The gate's report of VERSION (the newest unless given): verdict, evidence and lineage.

    --html and --open fetch the page that was drawn when the version was registered: one file with pictures of all that
    was measured, to read, print or hand on.

    \b
    Example:
      tidegate report flight-delay 1
      tidegate report flight-delay --open
      tidegate report flight-delay --json > report.json
    """
    from tidegate.cli import reporting

    number = _newest(tool, model) if version is None else version
    found, header = tool.client.report(model, number), tool.client.version(model, number)
    if html or show:
        tool.keep(tool.client.page(model, number), html, f"{model}-{number}.html", done="written to", show=show)
    tool.answer(found, lambda out: reporting.report(out, found, header))


def _newest(tool: Tool, model: str) -> int:
    latest = tool.client.model(model)["model"]["latest_version"]
    if not latest:
        raise NotFoundError(f"{model} has no version yet", next_step=f"tidegate train {model} --wait")
    return int(latest)


@click.command(cls=Command, short_help="Two versions of MODEL side by side.")
@click.argument("model")
@click.argument("first", type=int)
@click.argument("second", type=int)
@pass_tool
def compare(tool: Tool, model: str, first: int, second: int) -> None:
    """Versions FIRST and SECOND of MODEL side by side: metrics with their intervals, checks of the gate, slices, data,
    features and what else differs in their specs.

    Each version was judged on its own holdout. When those are not the same rows, the comparison says so.

    \b
    Example:
      tidegate compare flight-delay 1 2
    """
    from tidegate.cli import comparison

    found = comparison.compared(_side(tool, model, first), _side(tool, model, second))
    tool.answer(found, lambda out: comparison.render(out, found))


def _side(tool: Tool, model: str, number: int) -> "Side":
    from tidegate.cli.comparison import Side

    version = tool.client.version(model, number)
    spec = tool.client.spec(model, version["spec_digest"])["spec"]
    return Side(version, tool.client.report(model, number), spec)
