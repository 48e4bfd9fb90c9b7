"""JSON that means one thing (RFC 8259): a document whose objects have each name once, and no NaN.

    read('{"reason": "a", "reason": "b"}')   # ValueError: 'reason' is given twice in one object; keep one
    read_body(b"{'reason': 1}")              # RequestInvalidError with status 400

The standard library keeps the last of several names; what somebody else reads of the same bytes, a log or a firewall,
may be the first. It also takes NaN and the infinities, which JSON has not.
"""

import json
from itertools import chain
from typing import Any

from tidegate.kernel.errors import Fault, RequestInvalidError

MAX_DEPTH = 64  # levels of lists and objects: what Python's parser takes differs by version, what walks through it too
BAD_REQUEST = 400


class RepeatedNameError(ValueError):
    """An object has a name twice."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name[:128]!r} is given twice in one object; keep one")


def read(text: str | bytes, *, constants: bool = False) -> Any:
    """The decoded document.

    Args:
        text: JSON.
        constants: whether it may have NaN and the infinities, as Python and pandas write them.

    Raises:
        ValueError: it is no JSON; RepeatedNameError: an object has a name twice.
        RecursionError: it is nested in more than `MAX_DEPTH` levels.
    """
    document = json.loads(text, object_pairs_hook=_once, parse_constant=None if constants else _refused)
    inner = [document]
    for _ in range(MAX_DEPTH + 1):
        inner = [each.values() if isinstance(each, dict) else each for each in inner if isinstance(each, dict | list)]
        if not inner:
            return document
        inner = list(chain.from_iterable(inner))
    raise RecursionError


def read_body(body: bytes, *, constants: bool = False) -> Any:
    """The decoded document of a request's body; see `read`.

    Raises:
        RequestInvalidError: 400 when it is no JSON text in UTF-8, or has a name twice in one object.
    """
    try:
        return read(body.decode(), constants=constants)
    except UnicodeDecodeError as error:
        raise RequestInvalidError(
            "the body is not valid UTF-8", [Fault("", f"byte {error.start} cannot be decoded")], status=BAD_REQUEST
        ) from None
    except RecursionError:
        why = f"it is nested too deeply; at most {MAX_DEPTH} levels are read"
    except ValueError as error:
        too_long = str(error).startswith("Exceeds the limit")
        why = "a whole number has too many digits" if too_long else str(error)
    raise RequestInvalidError("the body is not valid JSON", [Fault("", why)], status=BAD_REQUEST)


def _refused(name: str) -> None:
    raise ValueError(f"{name} is not JSON; use null for a missing value")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        left = set(found)
        for name, _ in pairs:
            if name not in left:
                raise RepeatedNameError(name)
            left.remove(name)
    return found
