"""The calendar of expressions, in whole seconds since 1970-01-01 UTC: one arithmetic for values, columns and graphs."""

import re
from datetime import UTC, datetime
from typing import Any

DAY = 86_400  # seconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_UNSAID = _EPOCH.replace(tzinfo=None)  # of times that do not say that they are UTC
SPELLING = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|[+-]\d{2}:?\d{2}))?)?", re.ASCII
)  # of times, in requests and in datasets
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999


def seconds_of(text: str) -> int | None:
    """Whole seconds from 1970-01-01 in UTC to a moment of the `SPELLING`, fractions floored; None when it is none, or
    before the year 1 or after 9999. A moment without an offset is one in UTC."""
    if not SPELLING.fullmatch(text):
        return None
    try:
        at = datetime.fromisoformat(text[:11] + text[11:].replace(" ", ""))
    except ValueError:
        return None
    since = at - (_EPOCH if at.tzinfo else _EPOCH_UNSAID)
    seconds = since.days * DAY + since.seconds
    return seconds if FIRST_SECOND <= seconds <= LAST_SECOND else None


def hour(seconds: Any) -> Any:
    """0 to 23. This and the three below take whatever has + - * // % of whole numbers, // rounding down: an int, a
    column of int64, a value of an ONNX graph. So all three compute the same."""
    return seconds % DAY // 3600


def weekday(seconds: Any) -> Any:
    """Monday 0 to Sunday 6."""
    return (seconds // DAY + 3) % 7  # 1970-01-01 was a Thursday


def month(seconds: Any) -> Any:
    """1 to 12."""
    return (_from_march(seconds)[1] + 2) % 12 + 1


def day_of_year(seconds: Any) -> Any:
    """1 to 366."""
    year, place = _from_march(seconds)
    before = year + (place + 2) // 12 - 1  # years that are over; January and February belong to the next one
    return seconds // DAY + 719_163 - (before * 365 + before // 4 - before // 100 + before // 400)


def _from_march(seconds: Any) -> tuple[Any, Any]:
    """The year, as it were counted from March, and the month's place in it: March 0 to February 11.

    civil_from_days of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"
    (howardhinnant.github.io/date_algorithms.html), in the proleptic Gregorian calendar.
    """
    days = seconds // DAY + 719_468  # since 0000-03-01
    era, of_era = days // 146_097, days % 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (year * 365 + year // 4 - year // 100)
    return year + era * 400, (of_year * 5 + 2) // 153
