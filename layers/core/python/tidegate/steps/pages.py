"""Pages of lists: one mechanism for every list of the control API, however long the list is.

A page is bounded by its entries and by its bytes, and a filtered one by what it examines: it may have fewer entries
than were asked for, even none. `next` is a token of where the next page begins; only its absence (null) says that the
list ends. A token is good for the list and the filters that it came from. It names the last entry that was seen and no
offset, so entries that are added while somebody walks move nothing. It is sealed by a hash without a key: what it leads
to is what its bearer may read anyway.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from itertools import islice
from typing import Any, Protocol, TypeVar

from tidegate.kernel.errors import Fault, RequestInvalidError
from tidegate.kernel.fault_words import did_you_mean
from tidegate.kernel.routes import MOST_ON_A_PAGE
from tidegate.steps.requests import view

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
E = TypeVar("E", bound=StrEnum)
MOST_BYTES = 1_000_000  # of entries; Lambda hands on 6 MB
MOST_EXAMINED = 2_000  # entries that one page of a filtered list looks at
CHUNK = 100  # entries read at a time
MOST_NAMES = 1_000  # that a misspelt one is compared with
_SEAL_BYTES = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """The part of a list that somebody asks for. `scope` is the list with its filters; `after` and `limit` are as they
    stand in the request."""

    scope: str = ""
    after: str | None = None
    limit: str | None = None

    @property
    def position(self) -> str:
        """Where the page begins; empty at the beginning of the list.

        Raises:
            RequestInvalidError: `after` is no token of this list (400).
        """
        if self.after is None:
            return ""
        try:
            sealed = base64.b64decode(self.after + "=" * (-len(self.after) % 4), altchars=b"-_", validate=True)
            position = sealed[_SEAL_BYTES:].decode()
        except (binascii.Error, ValueError):
            raise no_token() from None
        if self.token(position) != self.after:
            raise no_token()
        return position

    def token(self, position: str) -> str:
        """What leads to the page that begins behind a position."""
        seal = hashlib.sha256(f"{self.scope}\n{position}".encode()).digest()[:_SEAL_BYTES]
        return base64.urlsafe_b64encode(seal + position.encode()).decode().rstrip("=")

    def most(self, unless: int) -> int:
        """The most entries that are wanted; `unless` the request says so, this many.

        Raises:
            RequestInvalidError: `limit` is no such number.
        """
        if self.limit is None:
            return unless
        if not (self.limit.isascii() and self.limit.isdigit() and 1 <= int(self.limit[:9]) <= MOST_ON_A_PAGE):
            fault = Fault("limit", f"a number from 1 to {MOST_ON_A_PAGE}")
            raise RequestInvalidError("a parameter is wrong", [fault])
        return int(self.limit)


def page(
    asked: Asked,
    walk: Callable[[str, int], Iterable[T]],
    position: Callable[[T], str],
    *,
    show: Callable[[T], Any] = view,
    keep: Callable[[T], bool] | None = None,
    unless: int = MOST_ON_A_PAGE,
    most: int = MOST_ON_A_PAGE,
    chunk: int = CHUNK,
    examined: int = MOST_EXAMINED,
) -> tuple[list[Any], str | None]:
    """One page of a list, and the token of the next one; None at the end.

    Args:
        walk: the list from behind a position on, and how many entries to read at a time.
        position: of an entry.
        show: an entry as the answer has it.
        keep: the filter; without one every entry is shown.
        unless: entries of a page when the request names no limit.
        most: entries of a page whatever the request says.
        chunk: entries to read at a time, where one costs more than others.
        examined: entries that a page with a filter looks at.

    Raises:
        RequestInvalidError: `after` or `limit` is wrong.
    """
    last = asked.position
    limit = min(asked.most(unless), most)
    shown: list[Any] = []
    size = 0
    for looked_at, item in enumerate(walk(last, chunk if keep else min(limit + 1, chunk))):
        if len(shown) == limit or (keep and looked_at == examined):
            return shown, asked.token(last)
        if keep is None or keep(item):
            entry = show(item)
            size += len(json.dumps(entry))
            if shown and size > MOST_BYTES:
                return shown, asked.token(last)
            shown.append(entry)
        last = position(item)
    return shown, None


class Finder(Protocol[T_co]):
    """What lists entries, as the ports do: those behind a position, at most so many."""

    def __call__(self, *, after: str, limit: int) -> Sequence[T_co]:
        """In the order of the list."""
        ...


class Named(Protocol):
    """What has a name, by which it is listed."""

    @property
    def name(self) -> str:
        """Of a model or a dataset."""
        ...


class OfRun(Protocol):
    """What belongs to a run, by which it is listed."""

    @property
    def run_id(self) -> str:
        """It sorts by time."""
        ...


def by_name(entry: Named) -> str:
    """The position of an entry in a list by name."""
    return entry.name


def by_run(entry: OfRun) -> str:
    """The position of an entry in a list by run."""
    return entry.run_id


def walked(find: Finder[T], position: Callable[[T], str]) -> Callable[[str, int], Iterator[T]]:
    """What walks a list, as far as it is read, by calls of `find`."""

    def walk(after: str, chunk: int) -> Iterator[T]:
        while True:
            found = find(after=after, limit=chunk)
            yield from found
            if len(found) < chunk:
                return
            after = position(found[-1])

    return walk


def first_names(find: Finder[Named]) -> list[str]:
    """The first `MOST_NAMES` names of a list by name, for hints."""
    return [entry.name for entry in islice(walked(find, by_name)("", CHUNK), MOST_NAMES)]


def chosen(name: str, text: str | None, kind: type[E]) -> E | None:
    """The value of a filter; None without one. Raises RequestInvalidError, which lists the values there are."""
    if text is None or text in set(kind):
        return None if text is None else kind(text)
    raise RequestInvalidError(
        "a parameter is wrong",
        [Fault(name, f"{text[:80]!r} is no {name}{did_you_mean(text, map(str, kind))}", tuple(map(str, kind)))],
    )


def truth(name: str, text: str | None) -> bool:
    """The value of a parameter that is true or false; False without one. Raises RequestInvalidError."""
    if text not in {None, "true", "false"}:
        fault = Fault(name, f"{str(text)[:80]!r} is neither true nor false", ("true", "false"))
        raise RequestInvalidError("a parameter is wrong", [fault])
    return text == "true"


def number(position: str) -> int:
    """A position that is a number; 0 at the beginning. Raises RequestInvalidError (400)."""
    if position and not (position.isascii() and position.isdigit() and len(position) <= 10):
        raise no_token()
    return int(position or 0)


def no_token() -> RequestInvalidError:
    """What is given as `after` did not come as `next` of the same list."""
    fault = Fault("after", "is not a token of this list with these filters")
    return RequestInvalidError(
        "a parameter is wrong",
        [fault],
        status=HTTPStatus.BAD_REQUEST,
        next_step="give `next` of the list's last answer unchanged, or begin again without `after`",
    )


def unknown_parameters(names: Collection[str], allowed: Sequence[str]) -> RequestInvalidError:
    """The query has parameters that the route does not take."""
    those = f"it takes {', '.join(allowed)}" if allowed else "this call takes none"
    return RequestInvalidError(
        "the query is wrong",
        [Fault(name[:80], f"no such parameter{did_you_mean(name, allowed)}", tuple(allowed)) for name in sorted(names)],
        status=HTTPStatus.BAD_REQUEST,
        next_step=f"correct the names of the parameters, or leave them out: {those}",
    )
