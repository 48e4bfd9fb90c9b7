"""The command about runs."""

import click

from tidegate.cli.tool import Command, Tool, pass_tool


@click.command(cls=Command, short_help="List training runs of MODEL, or show one.")
@click.argument("model")
@click.argument("run", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200), help="Maximum number of runs.")
@pass_tool
def runs(tool: Tool, model: str, run: str | None, limit: int) -> None:
    """List training runs of MODEL, newest first, or show one RUN with its candidates.

    \b
    Example:
      tidegate runs flight-delay
    """
    from tidegate.cli.pages import runs as runs_page

    if run:
        found = tool.client.run(model, run)
        tool.answer({"run": found}, lambda out: runs_page.run(out, found))
        return
    listed = tool.client.runs(model, limit)
    tool.answer({"runs": listed}, lambda out: runs_page.runs(out, listed))
