"""Reading and verifying the ledger: changes of what is served, and beside them what was done about batches.

Verification runs here and not at the caller, by sections that one call reads in a few seconds: the entries need not
travel, and `next` leads to the following section. Nobody has to trust it: listed entries have every field that their
hashes are made of.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from heapq import merge
from itertools import accumulate, islice, takewhile
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from tidegate.domain.batch.batch_ledger import KEEPER, Act, BatchEntry
from tidegate.domain.registry import ledger
from tidegate.domain.registry.ledger import GENESIS, ROUTE, Break, Cause, Chained, LedgerEntry, Link, Seen
from tidegate.domain.registry.route import Route
from tidegate.domain.rollout import changes
from tidegate.domain.rollout.changes import RouteChange, unrecorded
from tidegate.kernel.errors import (
    ConflictError,
    Fault,
    LedgerBrokenError,
    NotFoundError,
    RequestInvalidError,
    UnavailableError,
)
from tidegate.ports.batch import BatchLedger
from tidegate.ports.monitoring import HealthRecords
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Models, Routes, Versions
from tidegate.steps.conflicts import twice
from tidegate.steps.pages import CHUNK, Asked, chosen, no_token, number, page, walked
from tidegate.steps.requests import Document, Moment, Sentence, view

L = TypeVar("L", bound=Link)
Find = Callable[[int, int], Sequence[L]]
SECTION = 5_000  # entries of each chain that one call verifies
MOST_BREAKS = 100  # that one entry acknowledges
SKEW = timedelta(hours=1)  # the clocks of two functions never differ by more
_LOOKS = 3
_AT_A_TIME = 1_000
_VERSIONS_AT_A_TIME = 10
_BEGINNING = datetime.min.replace(tzinfo=UTC)
_END = datetime.max.replace(tzinfo=UTC)


class Order(StrEnum):
    """Of the entries of a page."""

    OLDEST = "oldest"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are listed, from which end: those of the half-open period [since, until)."""

    order: Order = Order.OLDEST
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def read(cls, order: str | None, since: str | None, until: str | None) -> Self:
        """Of a request. Raises RequestInvalidError."""
        return cls(
            chosen("order", order, Order) or Order.OLDEST,
            None if since is None else _moment("since", since),
            None if until is None else _moment("until", until),
        )

    def keeps(self, at: datetime) -> bool:
        """Whether the period has this moment."""
        return (self.since or _BEGINNING) <= at < (self.until or _END)

    def goes_on(self, entry: Link) -> bool:
        """Whether the period may have entries behind this one. An end of a batch may have been recorded long after it,
        so it says nothing of those before it."""
        if self.order is Order.OLDEST or self.since is None or entry.at + SKEW >= self.since:
            return True
        return _ends_a_batch(entry)


def show_ledger(
    model: str, asked: Asked, wanted: Wanted, *, models: Models, routes: Routes, batch_ledger: BatchLedger
) -> dict[str, Any]:
    """A page of what was done about a model, by the time at which it was recorded: `entries` are the changes of what is
    served, `batches` the acts about batches.

    Raises:
        NotFoundError: no such model.
        RequestInvalidError: a parameter is wrong.
        LedgerBrokenError: an entry cannot even be read.
    """
    models.model(model)
    newest = wanted.order is Order.NEWEST

    def walk(after: str, chunk: int) -> Iterator[tuple[Link, str]]:
        last = [number(part) for part in after.split(".")] if after else [0, 0]
        if len(last) != 2:
            raise no_token()
        served = _walk(lambda seq, limit: routes.ledger(model, after=seq, limit=limit, newest_first=newest))
        batches = _walk(lambda seq, limit: batch_ledger.entries(model, after=seq, limit=limit, newest_first=newest))
        done: list[Iterator[Link]] = [served(str(last[0]), chunk), batches(str(last[1]), chunk)]
        wanted_ones = (takewhile(wanted.goes_on, chain) for chain in done)
        timed = map(_by_time_of_recording if newest else _by_own_time, wanted_ones)
        for _, entry in merge(*timed, key=lambda each: each[0], reverse=newest):
            last[isinstance(entry, BatchEntry)] = entry.seq
            yield entry, f"{last[0]}.{last[1]}"

    shown, following = page(
        asked,
        walk,
        lambda act: act[1],
        show=lambda act: view(act[0]),
        keep=(lambda act: wanted.keeps(act[0].at)) if wanted.since or wanted.until else None,
    )
    return {
        "entries": [each for each in shown if "batch_id" not in each],
        "batches": [each for each in shown if "batch_id" in each],
        "next": following,
    }


def _by_own_time(oldest_first: Iterable[Link]) -> Iterator[tuple[datetime, Link]]:
    return ((entry.at, entry) for entry in oldest_first)


def _by_time_of_recording(newest_first: Iterable[Link]) -> Iterator[tuple[datetime, Link]]:
    """Entries with the times at which they were recorded at the earliest. The end of a batch may have been recorded
    long after it: not before the entry behind it here, which is older. Else it would hold that one back."""
    ends: list[Link] = []
    for entry in newest_first:
        ends.append(entry)
        if not _ends_a_batch(entry):
            yield from _not_older_than_the_next(ends)
            ends = []
    yield from _not_older_than_the_next(ends)


def _not_older_than_the_next(newest_first: Sequence[Link]) -> Iterator[tuple[datetime, Link]]:
    times = list(accumulate((entry.at for entry in reversed(newest_first)), max))
    return zip(reversed(times), newest_first, strict=True)


def _ends_a_batch(entry: Link) -> bool:
    return isinstance(entry, BatchEntry) and entry.action is Act.COMPLETE


def show_moment(
    model: str, at: str, given: Collection[str], *, models: Models, routes: Routes, versions: Versions
) -> dict[str, Any]:
    """What served at a moment (ISO 8601), and by which entries. The entry in force is found by bisection, and what it
    rests on no further back than its versions were registered.

    Raises:
        NotFoundError: no such model.
        RequestInvalidError: `at` is no time, or parameters of the list are `given` with it.
    """
    models.model(model)
    moment = _moment("at", at)
    if given:
        faults = [Fault(name, "does not go together with `at`") for name in sorted(given)]
        raise RequestInvalidError("a parameter is wrong", faults)

    def made(version: int) -> datetime:
        with suppress(NotFoundError):
            return versions.version(model, version).created_at - SKEW
        return _BEGINNING

    back = newest_first(model, _entries_until(model, moment, routes), routes=routes)
    entry, served = ledger.served_at(back, moment, made)
    return {
        "at": view(moment),
        "entry": view(entry),
        "served": [
            view(serving.share) | {"by": view(serving.entry), "approved_by": serving.approved_by} for serving in served
        ],
    }


def newest_first(model: str, upto: int, *, routes: Routes) -> Iterator[LedgerEntry]:
    """The first `upto` entries of the ledger from the last of them back, read as they are needed."""
    return _walk(lambda seq, limit: routes.ledger(model, after=seq, limit=limit, newest_first=True))(
        str(upto + 1), CHUNK
    )


def _entries_until(model: str, moment: datetime, routes: Routes) -> int:
    """How many entries there are, but for those at the end that are later than the moment by any clock."""
    newest = routes.ledger(model, limit=1, newest_first=True)
    seqs = range(1, newest[0].seq + 1 if newest else 1)
    bound = moment + SKEW if moment < _END - SKEW else _END
    return bisect_right(seqs, bound, key=lambda seq: routes.ledger(model, after=seq - 1, limit=1)[0].at)


def verify_ledger(
    model: str,
    asked: Asked,
    *,
    models: Models,
    routes: Routes,
    versions: Versions,
    batch_ledger: BatchLedger,
    health_records: HealthRecords,
) -> dict[str, Any]:
    """Whether the ledger is one unbroken chain up to the route's head, whether the route is what the entries lead to,
    and where either breaks first if not; under `batches` the same of the entries about batches and the head that is
    kept beside them. It must also hold the entry that the hourly look came to last.

    One call verifies a section of each. `entries` counts those verified so far; `intact` is null, and there is a
    `next`, until the chain's end is reached. The end is that of a moment: the head is the same before and after.
    Breaks that somebody has acknowledged do not count; `acknowledged` lists those whose entries are in the section.

    Raises:
        NotFoundError: no such model.
        RequestInvalidError: `after` is no token (400).
        UnavailableError: it changes faster than it can be read.
    """
    models.model(model)
    begun = re.fullmatch(r"(\d{1,10})\.([0-9a-f]*)\.(\d{1,10})\.([0-9a-f]*)", asked.position or "0..0.")
    if begun is None:
        raise no_token()

    looked = health_records.record(model)
    seen = looked.ledger_seen if looked else None
    served = _served_section(model, Chained(int(begun[1]), begun[2]), seen, routes=routes, versions=versions)
    batches = _section(
        model,
        Chained(int(begun[3]), begun[4]),
        KEEPER,
        lambda: batch_ledger.head(model).hash,
        lambda seq, limit: batch_ledger.entries(model, after=seq, limit=limit),
    )
    more = served.intact is None or batches.intact is None
    position = f"{served.reached.seq}.{served.reached.hash}.{batches.reached.seq}.{batches.reached.hash}"
    return served.answer() | {"batches": batches.answer(), "next": asked.token(position) if more else None}


class Acknowledge(Document):
    """Body of an acknowledgement."""

    reason: Sentence


def acknowledge(
    model: str,
    body: Acknowledge,
    *,
    actor: str,
    models: Models,
    routes: Routes,
    health_records: HealthRecords,
    clock: Clock,
) -> dict[str, Any]:
    """Record that somebody has looked into every break of the ledger that is not acknowledged yet: an entry of its own
    lists them, and goes on from the route as it is. What is served does not change. Without a break nothing is done.

    Raises:
        NotFoundError: no such model.
        LedgerBrokenError: an entry cannot even be read.
        ConflictError: there are too many breaks; or others change what is served faster than it can be read.
        UnavailableError: it changes faster than it can be read.
    """
    models.model(model)
    looked = health_records.record(model)

    def once() -> tuple[Route | None, RouteChange | None]:
        found = tuple(_breaks(model, looked.ledger_seen if looked else None, routes=routes))
        newest, route = routes.ledger(model, limit=1, newest_first=True), routes.route(model)
        cause = Cause(clock.now(), actor, body.reason)
        change = changes.acknowledge(route, newest[0] if newest else None, model, found, cause)
        if change is not None:
            routes.change(change)
        return change.route if change else route, change

    route, change = twice(once)
    return {
        "changed": change is not None,
        "route": view(route),
        "serves": view(changes.shares(route)) if route else [],
        "entry": view(change.entry) if change else None,
    }


def _breaks(model: str, seen: Seen | None, *, routes: Routes) -> Iterator[Break]:
    """All breaks of what is recorded that nobody has acknowledged."""
    found = _acknowledged(model, routes)
    begun = Chained()
    for _ in range(MOST_BREAKS):
        section = _served_section(model, begun, seen, routes=routes, versions=None, known=found)
        while section.intact is None:
            section = _served_section(model, section.reached, seen, routes=routes, versions=None, known=found)
        broken = section.reached.broken
        if broken is None:
            return
        found.add(broken)
        yield broken
    raise ConflictError(
        f"the ledger of {model} has more than {MOST_BREAKS} breaks",
        next_step="put its entries back from a backup of the table",
    )


def look_at_ledger(model: str, seen: Seen | None, *, routes: Routes, versions: Versions) -> tuple[Seen | None, str]:
    """What the hourly look makes of the ledger, from the entry on that it came to last: the entry to go on from, and
    what is wrong, in a sentence; empty when all holds. Where that entry is gone, everything is looked at.

    Raises:
        UnavailableError: it changes faster than it can be read.
    """
    gone = seen is not None and not _keeps(model, seen, routes)
    begun = Chained() if seen is None or gone else Chained(seen.seq, seen.hash)
    found = _served_section(model, begun, seen, routes=routes, versions=versions)
    while gone and found.intact is None:
        found = _served_section(model, found.reached, seen, routes=routes, versions=versions)
    broken = found.reached.broken
    if broken is not None:
        return seen, f"entry {broken.seq} of its ledger: {broken.problem}"
    return Seen(found.reached.seq, found.reached.hash) if found.reached.seq else None, ""


def _keeps(model: str, seen: Seen, routes: Routes) -> bool:
    """Whether an entry that was seen stands where it stood."""
    kept = _entry(model, seen.seq, routes)
    return kept is not None and kept.hash == seen.hash


def _entry(model: str, seq: int, routes: Routes) -> LedgerEntry | None:
    """The entry of that number; None when there is none, or one that cannot even be read."""
    with suppress(LedgerBrokenError):
        return next((entry for entry in routes.ledger(model, after=seq - 1, limit=1) if entry.seq == seq), None)
    return None


def _acknowledged(model: str, routes: Routes) -> set[Break]:
    """What the entries of a ledger acknowledge. Raises LedgerBrokenError."""
    entries = _walk(lambda seq, limit: routes.ledger(model, after=seq, limit=limit))("", _AT_A_TIME)
    return {each for entry in entries for each in entry.acknowledged}


def _served_section(
    model: str,
    begun: Chained,
    seen: Seen | None,
    *,
    routes: Routes,
    versions: Versions | None,
    known: Collection[Break] | None = None,
) -> "_Section":
    """A section of the ledger of what is served. At its end stands the route, which is held against it, and against the
    `versions` that were registered. Breaks that are `known`, or that any entry acknowledges, do not count."""
    last = _entry(model, begun.seq, routes) if begun.seq else None
    begun = replace(begun, route_sha256=last.route_sha256 if last else None)

    def head_of_route() -> str:
        route = routes.route(model)
        return route.ledger_head if route else GENESIS

    def beside() -> Iterator[Break]:
        if seen is not None and not _keeps(model, seen, routes):
            yield Break(seen.seq, f"the hourly look saw another entry {seen.seq}: entries were removed or replaced")
        route, newest = routes.route(model), routes.ledger(model, limit=1, newest_first=True)
        if route is None or not newest or newest[0].hash != route.ledger_head:
            return
        wrong = unrecorded(route, newest[0]) or (_unregistered(route, versions) if versions else "")
        if wrong:
            yield Break(newest[0].seq, wrong)

    def find(seq: int, limit: int) -> Sequence[LedgerEntry]:
        return routes.ledger(model, after=seq, limit=limit)

    def section(known: Collection[Break]) -> _Section:
        return _section(model, begun, ROUTE, head_of_route, find, beside=beside, known=known)

    found = section(known or ())
    if known is None and found.reached.broken:
        with suppress(LedgerBrokenError):  # one that cannot be read acknowledges nothing
            return section(_acknowledged(model, routes))
    return found


def _unregistered(route: Route, versions: Versions) -> str:
    """Which version of a route is not the one that was registered; empty when all are."""
    for served in filter(None, (route.champion, route.candidate, route.shadow, route.previous)):
        try:
            registered = versions.version(route.model, served.version).served
        except NotFoundError:
            return f"the route names version {served.version}, which was never registered"
        if registered != served:
            return f"the route names another artifact for version {served.version} than the one that was registered"
    if route.fallback is None:
        return ""
    newest_first = walked(
        lambda *, after, limit: versions.versions(route.model, after=number(after), limit=limit),
        lambda version: str(version.number),
    )
    if all(version.fallback != route.fallback for version in newest_first("", _VERSIONS_AT_A_TIME)):
        return f"the route names a fallback of run {route.fallback.run_id} that no version was registered with"
    return ""


@dataclass(frozen=True, slots=True)
class _Section:
    """How far a chain was verified. `intact` is None while its end was not reached."""

    reached: Chained
    head: str
    intact: bool | None
    acknowledgements: Sequence[LedgerEntry] = ()

    def answer(self) -> dict[str, Any]:
        return {
            "intact": self.intact,
            "entries": self.reached.seq,
            "head": self.head,
            "break": view(self.reached.broken),
            "acknowledged": [
                view(each) | {"entry": entry.seq, "by": entry.actor, "at": view(entry.at), "reason": entry.reason}
                for entry in self.acknowledgements
                for each in entry.acknowledged
            ],
        }


def _section(
    model: str,
    begun: Chained,
    keeper: str,
    head_now: Callable[[], str],
    find: Find[L],
    *,
    beside: Callable[[], Iterable[Break]] = tuple,
    known: Collection[Break] = (),
) -> _Section:
    """The next entries of a chain; those of a broken one are found broken again by each later call. `beside` says what
    is wrong beside an unbroken chain, once its end is reached."""
    for _ in range(_LOOKS):
        head = head_now()
        try:
            found = list(islice(_walk(find)(str(begun.seq), _AT_A_TIME), SECTION))
            reached = ledger.follow(model, begun, found, head, keeper=keeper, known=known)
        except LedgerBrokenError as error:
            return _Section(replace(begun, broken=Break(error.seq, error.message)), head, intact=False)
        entries = [entry for entry in found if isinstance(entry, LedgerEntry) and entry.acknowledged]
        if len(found) == SECTION and not reached.broken:
            return _Section(reached, head, intact=None, acknowledgements=entries)
        wrong = None if reached.broken else next((each for each in beside() if each not in known), None)
        if head_now() == head:
            reached = ledger.end(reached, head, keeper=keeper, known=known)
            if wrong and reached.broken is None:
                reached = replace(reached, broken=wrong)
            return _Section(reached, head, intact=reached.broken is None, acknowledgements=entries)
    raise UnavailableError(f"the ledger of {model} changed while it was read", next_step="try again")


def _walk(find: Find[L]) -> Callable[[str, int], Iterator[L]]:
    return walked(lambda *, after, limit: find(number(after), limit), lambda entry: str(entry.seq))


_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


def _moment(name: str, text: str) -> datetime:
    try:
        return _MOMENT.validate_python(text)
    except (ValidationError, OverflowError):
        raise RequestInvalidError(
            "not a time",
            [Fault(name, f"{text!r} is not ISO 8601, such as 2026-01-05 or 2026-01-05T12:00:00Z")],
        ) from None
