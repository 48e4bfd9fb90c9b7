"""The command that shows captured predictions."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from tidegate.cli.tool import Command, Part, Tool, listing, pass_tool
from tidegate.domain.serving.capture import HOUR, hour_of
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
@listing()
@pass_tool
def captures(tool: Tool, model: str, since: str, part: Part) -> None:
    """List captured predictions of MODEL, newest first, with inputs, answer and version.

    A capture appears about a minute after its answer. For larger searches, docs/captures.md has a query for Athena.

    \b
    Example:
      tidegate captures flight-delay --since 6h
    """
    from tidegate.cli.pages import captures as captures_page

    now = tool.now()
    start = _moment(since, now)
    found: list[dict[str, Any]] = []
    place: str | None = part.after or hour_of(now)
    while place and (part.limit is None or len(found) < part.limit):
        hour, _, token = place.partition("/")
        left = None if part.limit is None else part.limit - len(found)
        listed = tool.client.captures(model, hour, left, token or None)
        found += [each for each in listed if datetime.fromisoformat(each["time"]) >= start]
        place = f"{hour}/{listed.next}" if listed.next else _before(hour, start)
    tool.answer(
        {"model": model, "captures": found, "next": place}, lambda out: captures_page.captures(out, found, place)
    )


def _before(hour: str, start: datetime) -> str | None:
    """The hour before another one; None when it ends before `start`."""
    earlier = hour_of(datetime.strptime(hour, HOUR).replace(tzinfo=UTC) - timedelta(hours=1))
    return earlier if earlier >= hour_of(start) else None


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
