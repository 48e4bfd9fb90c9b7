"""JSON that means one thing: a document whose objects have each name once.

    read('{"reason": "a", "reason": "b"}')   # ValueError: 'reason' is given twice in one object; keep one

The standard library keeps the last of several; what somebody else reads of the same bytes, a log or a firewall, may be
the first.
"""

import json
from collections.abc import Callable
from typing import Any


class RepeatedNameError(ValueError):
    """An object has a name twice."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name[:128]!r} is given twice in one object; keep one")


def read(text: str | bytes, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """The decoded document.

    Args:
        text: JSON.
        parse_constant: reads NaN and the infinities; the standard library's floats if left out.

    Raises:
        ValueError: it is no JSON; RepeatedNameError: an object has a name twice.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_once, parse_constant=parse_constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        left = set(found)
        for name, _ in pairs:
            if name not in left:
                raise RepeatedNameError(name)
            left.remove(name)
    return found
