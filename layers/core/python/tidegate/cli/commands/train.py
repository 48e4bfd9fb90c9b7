"""The command that trains."""

import uuid
from typing import Any

import click

from tidegate.cli import exits
from tidegate.cli.tool import Command, Tool, pass_tool


@click.command(cls=Command, short_help="Train MODEL with its current spec.")
@click.argument("model")
@click.option("--token", metavar="TEXT", help="Idempotency token: the same token starts only one run.")
@click.option("--reason", metavar="TEXT", help="Stored in the run's record.")
@click.option("--wait", is_flag=True, help="Follow the run to its end. The exit code shows the result.")
@click.option(
    "--timeout", default=3_600, show_default=True, type=click.IntRange(1), help="Maximum time to wait, in seconds."
)
@pass_tool
def train(tool: Tool, model: str, *, token: str | None, reason: str | None, wait: bool, timeout: int) -> int:
    """Train MODEL with its current spec. If the gate accepts the new version, its rollout starts.

    A model has one release at a time: while another is under way, the command fails with exit code 7. With --wait the
    exit code is 0 if the version was accepted, 3 if the gate rejected it, 7 if another version became the champion
    meanwhile, and 1 if the run failed. Ctrl-C stops the display, not the run.

    \b
    Example:
      tidegate train flight-delay --wait
    """
    from tidegate.cli.pages import progress
    from tidegate.cli.pages import runs as runs_page

    answer = tool.client.start_run(model, token or f"cli-{uuid.uuid4().hex}", reason)
    run = answer["run"]
    if answer["repeated"] and token:
        tool.say(f"token {token} was used before; this is its run")
    if not wait:

        def started(out: Any) -> None:
            out.print(f"{model}: run {run['run_id']} is {run['status']}")
            out.print(f"follow it: tidegate train {model} --token {run['token']} --wait", soft_wrap=True)
            out.print(f"look at it: tidegate runs {model} {run['run_id']}", soft_wrap=True)

        tool.answer(answer, started)
        return exits.OK

    planned = progress.planned_candidates(tool.client.spec(model, run["spec_digest"])["spec"])
    try:
        with progress.following(tool.err, model, run["run_id"], planned) as look:
            run = tool.client.wait_for_run(model, run["run_id"], on_look=look, timeout_seconds=timeout)
    except KeyboardInterrupt:
        tool.say(f"the run continues; follow it again: tidegate train {model} --token {run['token']} --wait")
        raise
    rollout = run.pop("rollout", None)
    version = tool.client.version(model, run["version"]) if run["version"] is not None else None
    outcome = {"run": run, "version": version, "rollout": rollout, "repeated": answer["repeated"]}
    tool.answer(outcome, lambda out: runs_page.outcome(out, run, version, rollout))
    match run["status"], rollout:
        case "accepted", None:
            tool.say(f"error: version {run['version']} was accepted, but its rollout did not start")
            tool.say("  next: look at the executions of the release state machine, then train again")
            return exits.FAILED
        case "accepted", {"phase": "overtaken"}:
            tool.say(f"error: version {run['version']} passed the gate but does not serve: it was overtaken")
            tool.say(f"  next: tidegate train {model} --wait")
            return exits.CONFLICT
        case "accepted", {"phase": phase, "ended_at": ended} if phase == "done" or ended is None:
            return exits.OK
        case "accepted" | "rejected", _:
            return exits.REJECTED
        case _:
            return exits.FAILED
