"""When a schedule expression fires next: rate(...), cron(...), at(...); pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_YEARS_AHEAD = 5


class ScheduleError(ValueError):
    """An expression that is not one, or uses what the local cloud does not follow."""


def next_time(expression: str, after: float, *, created: float, timezone: str = "UTC") -> float | None:
    """The first instant later than `after` (seconds since the epoch) at which the schedule fires; None when never.

    Args:
        created: when the schedule was made; a rate counts from there.
    """
    kind, _, inner = expression.strip().partition("(")
    inner = inner.rstrip(")").strip()
    match kind:
        case "rate":
            period_s = _rate(inner)
            return created + period_s * (int((after - created) // period_s) + 1)
        case "at":
            moment = datetime.fromisoformat(inner).replace(tzinfo=ZoneInfo(timezone)).timestamp()
            return moment if moment > after else None
        case "cron":
            return _next_cron(inner, after, timezone)
    raise ScheduleError(f"{expression!r} is not rate(...), cron(...) or at(...)")


def _rate(text: str) -> int:
    found = re.fullmatch(r"(\d+)\s+(minute|hour|day)s?", text)
    if not found or not int(found[1]):
        raise ScheduleError(f"rate({text}) is not a number of minutes, hours or days")
    return int(found[1]) * _UNITS[found[2]]


def _next_cron(text: str, after: float, timezone: str) -> float | None:
    """AWS counts weekdays from 1 (Sunday), writes `?` for any day, and adds a field of years; the rest is cron's."""
    fields = text.split()
    if len(fields) != 6:
        raise ScheduleError(f"cron({text}) needs six fields: minute hour day-of-month month day-of-week year")
    minute, hour, day, month, weekday, year = (field.replace("?", "*") for field in fields)
    if re.search(r"(?<![#/\d])([089]|\d\d)", weekday):
        raise ScheduleError(f"cron({text}): weekdays are 1 (Sunday) to 7, or SUN to SAT")
    weekday = re.sub(r"(?<![#/\d])[1-7]", lambda found: str(int(found[0]) - 1), "7" if weekday == "L" else weekday)
    weekday = re.sub(r"(?<![-\d])(\d)/", r"\1-6/", weekday)  # cron's own week ends with a second Sunday
    first = datetime.fromtimestamp(after, ZoneInfo(timezone))
    try:
        allowed = _years(year, first.year)
        for start in [first, *(datetime(later, 1, 1, tzinfo=first.tzinfo) - timedelta(seconds=1) for later in allowed)]:
            found = next(CronSim(f"0 {minute} {hour} {day} {month} {weekday}", max(start, first)))
            if found.year in allowed:
                return found.timestamp()
    except (CronSimError, ValueError) as error:
        raise ScheduleError(f"cron({text}) is not supported by the local cloud: {error}") from None
    return None


def _years(text: str, first: int) -> list[int]:
    """Those of the next ones that a field of years allows, rising."""
    allowed: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, _, high = ("1970-2199" if span == "*" else span).partition("-")
        allowed |= set(range(int(low), int(high or (2199 if step else low)) + 1, int(step or 1)))
    return sorted(allowed & set(range(first, first + _YEARS_AHEAD + 1)))
