"""Numbers, their nouns and lists in the texts that people read."""

from collections.abc import Iterable


def count(number: float, one: str, many: str = "") -> str:
    """`1 fault`, `2 hours`, `1,200 rows`, `0.5 hours`; `many` is the plural of a noun that does not just take an s."""
    return (
        f"{number:,} {noun(number, one, many)}" if isinstance(number, int) else f"{number:g} {noun(number, one, many)}"
    )


def noun(number: float, one: str, many: str = "") -> str:
    """The noun alone, for texts that write its number otherwise."""
    return one if number == 1 else many or f"{one}s"


def moment(iso: str) -> str:
    """An ISO 8601 time as people write it: `2013-05-01`, `2013-05-01 17:30`; seconds and their parts where there are
    any, and nothing of the zone, which is UTC."""
    day, _, clock = iso.removesuffix("Z").removesuffix("+00:00").replace("T", " ").partition(" ")
    seconds, _, parts = clock.partition(".")
    if parts := parts.rstrip("0"):
        return f"{day} {seconds}.{parts}"
    minutes = seconds.removesuffix(":00") if seconds.count(":") == 2 else seconds
    return day if minutes in {"", "00:00"} else f"{day} {minutes}"


def listed(what: Iterable[str]) -> str:
    """a; a and b; a, b and c."""
    *most, last = what
    return f"{', '.join(most)} and {last}" if most else last
