"""The command that shows the gate's report of a version."""

import click

from tidegate.cli.tool import Command, Tool, pass_tool
from tidegate.kernel.errors import NotFoundError


@click.command(cls=Command, short_help="Show the gate's report of a version.")
@click.argument("model")
@click.argument("version", required=False, type=int)
@click.option("--html", metavar="FILE", help="Write the version's page with all charts to a file.")
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@pass_tool
def report(tool: Tool, model: str, version: int | None, *, html: str | None, show: bool) -> None:
    """Show the gate's report of VERSION (default: the newest): verdict, evidence and lineage.

    --html and --open fetch the page that was drawn at registration: one file with charts of all measurements.

    \b
    Example:
      tidegate report flight-delay 1 --open
    """
    from tidegate.cli.pages import report

    number = _newest(tool, model) if version is None else version
    found, header = tool.client.report(model, number), tool.client.version(model, number)
    if html or show:
        tool.keep(tool.client.page(model, number), html, f"{model}-{number}.html", done="written to", show=show)
    tool.answer(found, lambda out: report.report(out, found, header))


def _newest(tool: Tool, model: str) -> int:
    latest = tool.client.model(model)["model"]["latest_version"]
    if not latest:
        raise NotFoundError(f"{model} has no version yet", next_step=f"tidegate train {model} --wait")
    return int(latest)
