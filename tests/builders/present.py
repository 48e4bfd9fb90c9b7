"""What a test knows to be there."""

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """The value, which is not None; if it is, the test fails here."""
    assert value is not None
    return value
