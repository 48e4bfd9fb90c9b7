"""What is there, or an error that says what is not."""

from typing import TypeVar

from tidegate.kernel.errors import NotFoundError

T = TypeVar("T")


def found(value: T | None, what: str) -> T:
    """The value. Raises NotFoundError when it is None."""
    if value is None:
        raise NotFoundError(f"no {what}")
    return value
