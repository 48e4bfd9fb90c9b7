"""Numbers and times as people read them on a page."""

from collections.abc import Mapping
from typing import Any

from tidegate.domain.evaluation.estimate import Estimate
from tidegate.kernel import figures

Document = Mapping[str, Any]


def interval(found: Estimate) -> str:
    """ "0.742 [0.731, 0.753]": as many decimals as the interval is sure of."""
    return found.shown


def number(value: object) -> str:
    """Four digits of a number that is not whole; other values as they are, nothing as a dash."""
    match value:
        case None:
            return "–"
        case bool():
            return str(value).lower()
        case int():
            return f"{value:,}"
        case float():
            return figures.number(value)
        case _:
            return str(value)


def percent(share: float | None) -> str:
    """ "12.3 %"."""
    return "–" if share is None else f"{100 * share:.3g} %"


def size(count: float) -> str:
    """Bytes."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:,.1f} {unit}"
    return f"{count:,.0f} B"


def moment(text: str | None) -> str:
    """ "2026-01-05 12:00" of an ISO time."""
    return text[:16].replace("T", " ") if text else "–"


def period(ends: object) -> str:
    """ "2013-01-01 05:15 to 2013-04-30 23:59" of two ISO times; a dash without them."""
    return f"{moment(ends[0])} to {moment(ends[1])}" if isinstance(ends, list) and len(ends) == 2 else "–"


def person(arn: str) -> str:
    """The part of an ARN that people know."""
    return arn.split(":", 5)[-1].removeprefix("assumed-role/") if arn.startswith("arn:") else arn


def words(name: str) -> str:
    """A name of the code as words."""
    return name.replace("_", " ")
