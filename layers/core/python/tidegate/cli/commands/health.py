"""The commands about how served models stand: status, drift, acknowledge."""

import click

from tidegate.cli import exits
from tidegate.cli.tool import Command, Tool, pass_tool
from tidegate.kernel import english
from tidegate.kernel.errors import NotFoundError


@click.command(cls=Command, short_help="Show the health of all served models on one page.")
@click.option("--owner", metavar="OWNER", help="Only models of this owner.")
@click.option("--health", "stands", metavar="HEALTH", help="Only models with this health, such as drifted or unknown.")
@pass_tool
def status(tool: Tool, owner: str | None, stands: str | None) -> None:
    """Show the health of all models, the worst first: what serves, since when, findings, and what is under way.

    The exit code is always 0. Pipelines that need one use `tidegate drift MODEL`.

    \b
    Example:
      tidegate status --owner ops@example.com --health drifted
    """
    from tidegate.cli.pages import health as health_page

    found = sorted(tool.client.models_health(owner=owner, health=stands), key=health_page.worst_first)
    filters = {name: value for name, value in (("owner", owner), ("health", stands)) if value}
    tool.answer({"health": found}, lambda out: health_page.status(out, found, filters))


@click.command(cls=Command, short_help="Show the findings in the traffic of MODEL.")
@click.argument("model")
@click.option(
    "--window", type=click.IntRange(1), metavar="HOURS", help="The window in hours. Default: the shortest one judged."
)
@click.option("--plot", metavar="FILE.svg", help="Write a chart of the features that changed most to a file.")
@click.option("--open", "show", is_flag=True, help="Open the chart.")
@pass_tool
def drift(tool: Tool, model: str, *, window: int | None, plot: str | None, show: bool) -> int:
    """Show what the last look found in the traffic of MODEL, and what follows: drift of features and predictions, data
    quality, live quality and bias. docs/monitoring.md explains each.

    The exit code is 3 if the model has drifted or needs redesign, whichever window is shown.

    \b
    Example:
      tidegate drift flight-delay --window 168 --plot drift.svg
    """
    from tidegate.cli.pages import health as health_page

    found = tool.client.model_health(model)
    spans = health_page.spans(found["verdicts"])
    if window is not None and window not in spans:
        listed = ", ".join(map(str, spans)) or "none yet"
        raise NotFoundError(
            f"no window of {english.count(window, 'hour')} was judged", next_step=f"judged windows: {listed}"
        )
    if plot or show:
        _draw(tool, model, health_page.picture(found, window), plot, show=show)
    tool.answer(found, lambda out: health_page.drift(out, found, window))
    return exits.REJECTED if found["model"]["health"] in {"drifted", "needs_redesign"} else exits.OK


def _draw(tool: Tool, model: str, picture: str | None, plot: str | None, *, show: bool) -> None:
    if picture is None:
        tool.say(f"nothing to draw: no distributions of {model} are stored")
        return
    tool.keep(picture, plot, f"{model}.svg", done="drawn into", show=show)


@click.command(cls=Command, short_help="Acknowledge that MODEL needs redesign.")
@click.argument("model")
@click.option("--reason", metavar="TEXT", required=True, help="What you found and did. Stored with your name.")
@pass_tool
def acknowledge(tool: Tool, model: str, reason: str) -> None:
    """Record that you have handled MODEL, which needs redesign. It is judged afresh and may be trained automatically
    again.

    Windows start with the next hour, and earlier rejected candidates no longer count. A cause that persists is found
    again. Objects in quarantine are no longer reported; of a model that does not need redesign, nothing else changes.

    \b
    Example:
      tidegate acknowledge flight-delay --reason "the weather feed is back, the gap is excluded"
    """
    from tidegate.cli.pages import health as health_page

    answer = tool.client.acknowledge(model, reason)
    tool.answer(answer, lambda out: health_page.acknowledged(out, model, answer))
