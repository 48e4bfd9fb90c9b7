"""What was captured, for people who look: the control API's view of the records in docs/captures.md."""

from datetime import datetime
from typing import Any

from tidegate.domain.serving.capture import HOUR, hour_of
from tidegate.kernel.errors import Fault, RequestInvalidError
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Models
from tidegate.ports.serving import CaptureReader

MAX_CAPTURES_LISTED = 200
CAPTURES_LISTED = 20


def list_captures(
    model: str, hour: str | None, limit: str | None, *, models: Models, captures: CaptureReader, clock: Clock
) -> dict[str, Any]:
    """Captures of one hour (UTC, this one unless named), newest first: the last 20, or as many as `limit` says.

    Raises:
        NotFoundError: no such model.
        RequestInvalidError: `hour` or `limit` is no such thing.
    """
    models.model(model)
    faults = []
    if hour is not None and not _is_hour(hour):
        faults.append(Fault("hour", "an hour in UTC such as 2026-01-05-12"))
    if limit is not None and not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MAX_CAPTURES_LISTED):
        faults.append(Fault("limit", f"a number from 1 to {MAX_CAPTURES_LISTED}"))
    if faults:
        raise RequestInvalidError("a parameter is wrong", faults)
    wanted = hour or hour_of(clock.now())
    return {"model": model, "hour": wanted, "captures": captures.read(model, wanted, int(limit or CAPTURES_LISTED))}


def _is_hour(text: str) -> bool:
    try:
        return datetime.strptime(text, HOUR).strftime(HOUR) == text  # noqa: DTZ007  an hour, not a moment
    except ValueError:
        return False
