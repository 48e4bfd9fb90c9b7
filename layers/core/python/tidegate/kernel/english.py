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


def listed(what: Iterable[str]) -> str:
    """a; a and b; a, b and c."""
    *most, last = what
    return f"{', '.join(most)} and {last}" if most else last
