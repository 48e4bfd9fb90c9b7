"""Objects of captures and feedback that cannot be read: set apart by key and reason, so that the others still count.

Nothing is deleted or moved. An object stays in quarantine as long as its hour is looked at, and is new to people until
somebody acknowledges it.
"""

import hashlib
from collections.abc import Iterable

from tidegate.kernel.errors import NewerDocumentError, NotFoundError, UnavailableError

MAX_LISTED = 200  # objects in a verdict, the latest
MAX_MARKS = 2_000  # objects that a health record remembers, the latest


class UnreadableError(ValueError):
    """An object has not the form in which captures and feedback are stored; the message goes on where its key stops."""


def because(error: Exception) -> str:
    """Why an object cannot be read, without a word of what it holds.

    Raises:
        UnavailableError, MemoryError: the error itself, where it is not the object's fault.
    """
    match error:
        case UnavailableError() | MemoryError():
            raise error
        case NewerDocumentError():
            return "has a record that newer code wrote"
        case UnreadableError():
            return str(error)
        case NotFoundError():
            return "cannot be fetched"
        case _:
            return f"has a record that cannot be read ({type(error).__name__})"


def marks(keys: Iterable[str]) -> tuple[str, ...]:
    """Short names of objects, of the latest hours where there are many."""
    return tuple(hashlib.sha256(key.encode()).hexdigest()[:10] for key in sorted(keys, key=_hour)[-MAX_MARKS:])


def listed(unread: dict[str, str]) -> list[dict[str, str]]:
    """Keys and reasons for people, the latest hours where there are many."""
    return [{"key": key, "reason": unread[key]} for key in sorted(unread, key=_hour)[-MAX_LISTED:]]


def _hour(key: str) -> tuple[str, str]:
    return key.partition("/hour=")[2], key
