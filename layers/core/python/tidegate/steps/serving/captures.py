"""What was captured, for people who look: the control API's view of the records in docs/captures.md."""

from datetime import datetime
from typing import Any

from tidegate.domain.serving.capture import HOUR, hour_of
from tidegate.kernel.errors import Fault, RequestInvalidError
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Models
from tidegate.ports.serving import CaptureReader
from tidegate.steps.pages import Asked, no_token, page

CAPTURES_ON_A_PAGE = 200  # whatever is asked for: under thin traffic each may lie in an object of its own


def list_captures(
    model: str, hour: str | None, asked: Asked, *, models: Models, captures: CaptureReader, clock: Clock
) -> dict[str, Any]:
    """A page of the captures of one hour (UTC, this one unless named), newest first. A token keeps the hour that it
    came from.

    Raises:
        NotFoundError: no such model.
        RequestInvalidError: the hour, the token or the limit is no such thing.
    """
    models.model(model)
    if hour is not None and not _is_hour(hour):
        raise RequestInvalidError("a parameter is wrong", [Fault("hour", "an hour in UTC such as 2026-01-05-12")])
    begun = asked.position.partition("/")[0]
    if begun and not _is_hour(begun):
        raise no_token()
    wanted = hour or begun or hour_of(clock.now())
    shown, following = page(
        asked,
        lambda after, _: captures.walk(model, wanted, after.partition("/")[2]),
        lambda found: f"{wanted}/{found[0]}",
        show=lambda found: found[1],
        unless=CAPTURES_ON_A_PAGE,
        most=CAPTURES_ON_A_PAGE,
    )
    return {"model": model, "hour": wanted, "captures": shown, "next": following}


def _is_hour(text: str) -> bool:
    try:
        return datetime.strptime(text, HOUR).strftime(HOUR) == text  # noqa: DTZ007  an hour, not a moment
    except ValueError:
        return False
