"""The command that shows captured predictions."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from tidegate.cli.tool import Command, Tool, pass_tool
from tidegate.kernel.errors import Fault, InvalidInputError

MAX_HOURS = 7 * 24
_AGO = re.compile(r"(\d{1,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@click.command(cls=Command, short_help="List captured predictions of MODEL.")
@click.argument("model")
@click.option(
    "--since",
    default="1h",
    show_default=True,
    metavar="TIME",
    help="How far back: 30m, 6h, 2d, or a moment (ISO 8601).",
)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200), help="Maximum number of captures.")
@pass_tool
def captures(tool: Tool, model: str, since: str, limit: int) -> None:
    """List captured predictions of MODEL, newest first, with inputs, answer and version.

    A capture appears about a minute after its answer. For larger searches, docs/captures.md has a query for Athena.

    \b
    Example:
      tidegate captures flight-delay --since 6h
    """
    from tidegate.cli.pages import captures as captures_page
    from tidegate.domain.serving.capture import hour_of

    now = datetime.now(UTC)
    start = _moment(since, now)
    found: list[dict[str, Any]] = []
    hour = now
    while len(found) < limit and hour_of(hour) >= hour_of(start):
        listed = tool.client.captures(model, hour_of(hour), limit)
        found += [each for each in listed if datetime.fromisoformat(each["time"]) >= start]
        hour -= timedelta(hours=1)
    found = found[:limit]
    tool.answer({"model": model, "captures": found}, lambda out: captures_page.captures(out, found))


def _moment(text: str, now: datetime) -> datetime:
    if ago := _AGO.fullmatch(text):
        start = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    else:
        try:
            start = datetime.fromisoformat(text)
        except ValueError:
            fault = Fault("--since", f"{text!r} is neither 30m, 6h or 2d nor a moment such as 2026-01-05T12:00")
            raise InvalidInputError("an option is wrong", [fault]) from None
        start = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
    if now - start > timedelta(hours=MAX_HOURS):
        raise InvalidInputError(
            "--since is too far back", [Fault("--since", f"{text} is over {MAX_HOURS // 24} days ago")],
            next_step="use Athena: docs/captures.md has a query",
        )  # fmt: skip
    return start
