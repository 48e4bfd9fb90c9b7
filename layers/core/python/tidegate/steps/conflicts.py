"""Writes that race: every write names the revision it was decided on, so of two at once one is refused."""

from collections.abc import Callable
from typing import TypeVar

from tidegate.kernel.errors import ConflictError

T = TypeVar("T")


def twice(decide_and_write: Callable[[], T]) -> T:
    """Who loses a race reads what the winner left and decides once more.

    Raises:
        ConflictError: the change is not allowed, or the race was lost twice.
    """
    try:
        return decide_and_write()
    except ConflictError:
        return decide_and_write()
