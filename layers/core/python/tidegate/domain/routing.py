"""Which version answers a request, and why."""

from dataclasses import dataclass
from enum import StrEnum

from tidegate.domain.release import Route, Served


class Reason(StrEnum):
    """Why this version answered; every answer carries it."""

    CHAMPION = "champion"  # the version the route names
    PREVIOUS_GOOD = "previous_good"  # the champion's artifact could not be used


@dataclass(frozen=True, slots=True)
class Choice:
    """A version that may answer, and the reason it would give."""

    served: Served
    reason: Reason


def choices(route: Route, kept: Served | None = None) -> tuple[Choice, ...]:
    """Versions in the order they are tried: the champion, the one before it, and what this process served last.

    A version that is tried and cannot be loaded with the bytes the registry recorded is passed over for the next one.
    """
    order: list[Choice] = []
    for served in (route.champion, route.previous, kept):
        if served is not None and all(served != choice.served for choice in order):
            reason = Reason.CHAMPION if served == route.champion else Reason.PREVIOUS_GOOD
            order.append(Choice(served, reason))
    return tuple(order) if route.champion else ()
