"""What is there, or an error that says what is not; and parts of lists."""

from collections.abc import Sequence
from typing import TypeVar

from tidegate.kernel.errors import NotFoundError

T = TypeVar("T")


def found(value: T | None, what: str) -> T:
    """The value. Raises NotFoundError when it is None."""
    if value is None:
        raise NotFoundError(f"no {what}")
    return value


def behind(entries: Sequence[T], after: int, limit: int | None, *, newest_first: bool) -> list[T]:
    """Entries of a chain, which are numbered from 1, behind number `after`; 0 is before the first."""
    count = len(entries) if limit is None else limit
    if newest_first:
        last = after - 1 if after else len(entries)
        return [*reversed(entries[max(0, last - count) : last])]
    return [*entries[after : after + count]]
