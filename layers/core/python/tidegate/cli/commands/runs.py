"""The command about runs."""

import click

from tidegate.cli.tool import Command, Part, Tool, listing, pass_tool


@click.command(cls=Command, short_help="List training runs of MODEL, or show one.")
@click.argument("model")
@click.argument("run", required=False)
@click.option("--status", metavar="STATUS", help="Only runs with this status, such as failed or accepted.")
@listing(20)
@pass_tool
def runs(tool: Tool, model: str, run: str | None, *, status: str | None, part: Part) -> None:
    """List training runs of MODEL, newest first, or show one RUN with its candidates.

    \b
    Example:
      tidegate runs flight-delay --status failed
    """
    from tidegate.cli.pages import runs as runs_page

    if run:
        found = tool.client.run(model, run)
        tool.answer({"run": found}, lambda out: runs_page.run(out, found))
        return
    listed = tool.client.runs(model, part.limit, part.after, status=status)
    tool.answer({"runs": listed, "next": listed.next}, lambda out: runs_page.runs(out, listed, listed.next))
