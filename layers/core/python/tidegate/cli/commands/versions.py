"""The command about versions."""

import click

from tidegate.cli.tool import Command, Part, Tool, listing, pass_tool


@click.command(cls=Command, short_help="List versions of MODEL, or show one.")
@click.argument("model")
@click.argument("version", required=False, type=int)
@click.option("--status", metavar="STATUS", help="Only versions with this status, such as rejected or retired.")
@listing()
@pass_tool
def versions(tool: Tool, model: str, version: int | None, *, status: str | None, part: Part) -> None:
    """List versions of MODEL, newest first, or show one VERSION.

    \b
    Example:
      tidegate versions flight-delay 1
    """
    from tidegate.cli.pages import versions as versions_page

    if version is not None:
        found = tool.client.version(model, version)
        tool.answer({"version": found}, lambda out: versions_page.version(out, found))
        return
    listed = tool.client.versions(model, part.limit, part.after, status=status)
    tool.answer({"versions": listed, "next": listed.next}, lambda out: versions_page.versions(out, listed, listed.next))
