"""When a schedule expression fires next: rate(...), cron(...), at(...); pure."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), start=1)}
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
    fields = text.split()
    if len(fields) != 6:
        raise ScheduleError(f"cron({text}) needs six fields: minute hour day-of-month month day-of-week year")
    minutes = _values(fields[0], 0, 59)
    hours = _values(fields[1], 0, 23)
    months = _values(fields[3], 1, 12, _MONTHS)
    first_year = datetime.fromtimestamp(after, UTC).year
    years = range(first_year, first_year + _YEARS_AHEAD + 1)
    if fields[5] != "*":
        years = [y for y in years if y in _values(fields[5], 1970, 2199)]  # type: ignore[assignment]
    zone = ZoneInfo(timezone)
    day = datetime.fromtimestamp(after, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    while day.year <= first_year + _YEARS_AHEAD:
        if day.year in years and day.month in months and _is_day(day, fields[2], fields[4]):
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    moment = day.replace(hour=hour, minute=minute).timestamp()
                    if moment > after:
                        return moment
        day = (day + timedelta(days=1)).replace(hour=0)
    return None


def _is_day(day: datetime, of_month: str, of_week: str) -> bool:
    if of_week in ("?", "*"):
        if of_month == "L":
            return day.day == calendar.monthrange(day.year, day.month)[1]
        return of_month in ("?", "*") or day.day in _values(of_month, 1, 31)
    weekday = day.isoweekday() % 7 + 1
    if "#" in of_week:
        name, _, nth = of_week.partition("#")
        return weekday in _values(name, 1, 7, _WEEKDAYS) and (day.day - 1) // 7 + 1 == int(nth)
    if of_week.endswith("L") and of_week != "L":
        last = calendar.monthrange(day.year, day.month)[1]
        return weekday in _values(of_week[:-1], 1, 7, _WEEKDAYS) and day.day > last - 7
    return weekday in _values("7" if of_week == "L" else of_week, 1, 7, _WEEKDAYS)


def _values(text: str, low: int, high: int, names: dict[str, int] | None = None) -> set[int]:
    def number(part: str) -> int:
        value = (names or {}).get(part.upper())
        if value is None:
            if not part.isdigit():
                raise ScheduleError(f"{text!r} in a cron expression is not followed locally")
            value = int(part)
        return value

    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            first, last = low, high
        elif "-" in span:
            first, last = (number(edge) for edge in span.split("-"))
        else:
            first = number(span)
            last = high if step else first
        if first < low or last > high or first > last:
            raise ScheduleError(f"{text!r} in a cron expression is outside {low} to {high}")
        found |= set(range(first, last + 1, int(step or 1)))
    return found
