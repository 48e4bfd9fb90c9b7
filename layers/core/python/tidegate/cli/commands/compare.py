"""The command that lays two versions side by side."""

from typing import TYPE_CHECKING

import click

from tidegate.cli.tool import Command, Tool, pass_tool

if TYPE_CHECKING:
    from tidegate.cli.pages.compare import Side


@click.command(cls=Command, short_help="Compare two versions of MODEL side by side.")
@click.argument("model")
@click.argument("first", type=int)
@click.argument("second", type=int)
@pass_tool
def compare(tool: Tool, model: str, first: int, second: int) -> None:
    """Compare versions FIRST and SECOND of MODEL: metrics with intervals, checks of the gate, slices, data, features
    and specs.

    Each version was judged on its own holdout. If their rows differ, the comparison says so.

    \b
    Example:
      tidegate compare flight-delay 1 2
    """
    from tidegate.cli.pages import compare

    found = compare.compared(_side(tool, model, first), _side(tool, model, second))
    tool.answer(found, lambda out: compare.render(out, found))


def _side(tool: Tool, model: str, number: int) -> "Side":
    from tidegate.cli.pages.compare import Side

    version = tool.client.version(model, number)
    spec = tool.client.spec(model, version["spec_digest"])["spec"]
    return Side(version, tool.client.report(model, number), spec)
