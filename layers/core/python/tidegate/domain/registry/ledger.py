"""The ledger: every change of what a model serves, one entry each, chained by hashes so that a later edit shows.

An entry's `hash` is the SHA-256 of its canonical JSON: all fields but the hash itself, among them `previous_hash`, with
sorted keys, no spaces, ASCII only and the time in UTC. The first entry follows `GENESIS`. The route keeps the newest
hash, so entries that were cut off the end are missed too; and an entry has the hashes of the route that it replaces and
of the one that it leads to, so a route that was changed without an entry is found, then and ever after. What no chain
can show is that somebody who may write rewrote the last entries and the route together. For that, the hourly look keeps
the entry that it came to last, out of reach of the functions of a release, and heads are written to logs and answers.

A break stays. Somebody who has looked into it acknowledges it by an entry of its own, and verification goes on behind.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import dropwhile, takewhile
from typing import Any, ClassVar, Protocol

from tidegate.kernel.documents import StoredForm

GENESIS = ""
ROUTE = "the route"  # keeps the newest hash
ALL_BP = 10_000  # all requests, in basis points


@dataclass(frozen=True, slots=True)
class Break:
    """Where a ledger is not what was written, and what is wrong there."""

    seq: int
    problem: str


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One change of what is served: who, when, which version, at what weight, why, approved by whom.

    From this entry on `version` (None: the fallback) answers `weight_bp` basis points of the requests and
    `previous_version` the rest, if there is one. While `killed` the fallback answers all of them. `cause` says why a
    rollback happened (`RollbackCause`); other entries, and those from before 0.2.0, have none. `route_sha256` is the
    hash of the route as this entry leaves it (`changes.route_digest`), `route_before_sha256` of the one that it found;
    older entries have none. `acknowledged` are breaks that somebody has looked into.
    """

    # Schema 2 has causes, 3 hashes of routes, 4 hashes of the routes before, and acknowledgements.
    FORM: ClassVar = StoredForm("ledger entry", upgrades=(dict, dict, dict))

    model: str
    seq: int
    at: datetime
    actor: str
    action: str
    version: int | None
    previous_version: int | None
    weight_bp: int
    reason: str
    killed: bool = False
    run_id: str | None = None
    approved_by: str | None = None
    previous_hash: str = GENESIS
    hash: str = ""
    cause: str | None = None
    route_sha256: str | None = None
    route_before_sha256: str | None = None
    acknowledged: tuple[Break, ...] = ()

    @property
    def builds_on_the_last(self) -> bool:
        """Whether it is refused where the route is not the one that the entry before it recorded. A kill never waits:
        the break shows at its entry. An acknowledgement is there for breaks."""
        return self.action not in {Action.KILL, Action.ACKNOWLEDGE}

    @property
    def route_found_sha256(self) -> str | None:
        """Hash of the route that the entry before must have led to. An acknowledgement is there for breaks."""
        return None if self.action == Action.ACKNOWLEDGE else self.route_before_sha256


# What older entries did not have: it is no part of a hash while it is this.
_LATER = {"cause": None, "route_sha256": None, "route_before_sha256": None, "acknowledged": (), "record_sha256": None}


@dataclass(frozen=True, slots=True)
class Share:
    """A version (None: the fallback) and its part of the requests."""

    version: int | None
    weight_bp: int


@dataclass(frozen=True, slots=True)
class Serving:
    """A share at some moment, with the entry that gave it and whoever approved that version last."""

    share: Share
    entry: LedgerEntry
    approved_by: str | None


class Link(Protocol):
    """An entry of a chain: a dataclass with these fields."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def model(self) -> str:
        """Whose chain it is in."""
        ...

    @property
    def seq(self) -> int:
        """Its place, from 1."""
        ...

    @property
    def at(self) -> datetime:
        """When it was done."""
        ...

    @property
    def previous_hash(self) -> str:
        """Of the entry before."""
        ...

    @property
    def hash(self) -> str:
        """Its own."""
        ...

    @property
    def route_sha256(self) -> str | None:
        """Hash of the route as it leaves it; None where it leads to none that is known."""
        ...

    @property
    def route_found_sha256(self) -> str | None:
        """Hash of the route that the entry before must have led to; None where any will do."""
        ...


def digest(entry: Link) -> str:
    """The hash (hex) that the entry must have. What older entries did not have is left out while it is absent."""
    plain = asdict(entry) | {"at": entry.at.astimezone(UTC).isoformat()}
    del plain["hash"]
    return canonical_sha256(
        {name: value for name, value in plain.items() if name not in _LATER or value != _LATER[name]}
    )


def canonical_sha256(plain: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a document as canonical JSON: sorted keys, no spaces, ASCII only."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def chain(entry: LedgerEntry, head: str) -> LedgerEntry:
    """The entry as it follows the one whose hash is `head` (`GENESIS` for the first)."""
    linked = replace(entry, previous_hash=head)
    return replace(linked, hash=digest(linked))


@dataclass(frozen=True, slots=True)
class Chained:
    """How far a chain was followed: the number and the hash of the last entry that holds, and the hash of the route
    that it leads to; and what breaks behind it."""

    seq: int = 0
    hash: str = GENESIS
    broken: Break | None = None
    route_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """An entry that somebody has seen: its number and its hash."""

    seq: int
    hash: str


def verify(model: str, entries: Iterable[Link], head: str, keeper: str = ROUTE) -> Break | None:
    """The first place where the ledger of a model is not one unbroken chain that ends at the keeper's `head`."""
    return end(follow(model, Chained(), entries, head, keeper=keeper), head, keeper=keeper).broken


def follow(
    model: str,
    begun: Chained,
    entries: Iterable[Link],
    head: str,
    *,
    keeper: str = ROUTE,
    known: Collection[Break] = (),
) -> Chained:
    """Go on along a chain by its next entries, up to the first that does not hold or stands behind the head. Breaks
    that are `known` are passed over."""
    reached = begun
    for entry in entries:
        problem = _problem(model, reached, entry, head, keeper)
        broken = Break(reached.seq + 1, problem)
        if problem and broken not in known:
            return replace(reached, broken=broken)
        reached = Chained(entry.seq, entry.hash, route_sha256=entry.route_sha256)
    return reached


def _problem(model: str, reached: Chained, entry: Link, head: str, keeper: str) -> str:  # noqa: PLR0911  one each
    """Why an entry does not stand behind the one that was reached; empty when it does."""
    if entry.seq != reached.seq + 1:
        return f"entry {reached.seq + 1} is missing; entry {entry.seq} follows"
    if entry.hash != digest(entry):
        return "its content does not match its hash: it was changed"
    if entry.model != model:
        return f"it is an entry of {entry.model}"
    if entry.previous_hash != reached.hash:
        return "it does not follow the entry before it: one of the two was replaced"
    if reached.hash == head:
        return f"{keeper} ends at entry {reached.seq}: this one was added without a change of {keeper}"
    if _differ(reached.route_sha256, entry.route_found_sha256):
        return f"it replaced another route than entry {reached.seq} recorded: {keeper} was changed in between"
    return ""


def end(reached: Chained, head: str, *, keeper: str = ROUTE, known: Collection[Break] = ()) -> Chained:
    """A chain that was followed to its last entry, which must be the one that the keeper names."""
    if reached.broken or reached.hash == head:
        return reached
    problem = f"{keeper} names a newer entry: entries at the end were removed, or all were replaced"
    broken = Break(reached.seq + 1, problem)
    return reached if broken in known else replace(reached, broken=broken)


def hidden_by_a_kill(newest_first: Sequence[LedgerEntry]) -> bool:
    """Whether the model was killed on a route that the entry before the kill did not record, and nobody has
    acknowledged a break since. What is killed may not answer again before."""
    recent = iter(newest_first)
    for entry in recent:
        if entry.action == Action.ACKNOWLEDGE:
            return False
        if entry.action == Action.KILL:
            before = next(recent, None)
            return before is not None and _differ(before.route_sha256, entry.route_before_sha256)
    return False


def _differ(one: str | None, other: str | None) -> bool:
    """Whether two hashes are of different routes; what is not known differs from nothing."""
    return None not in {one, other} and one != other


def served_at(
    newest_first: Iterable[LedgerEntry],
    moment: datetime,
    made: Callable[[int], datetime] = lambda _: datetime.min.replace(tzinfo=UTC),
) -> tuple[LedgerEntry | None, tuple[Serving, ...]]:
    """The entry in force at a moment, and what answered by which entries; None and nothing before the first.

    Entries are read from the newest on, as far as they matter: no entry from before a version was `made` names it.
    """
    entries = dropwhile(lambda entry: entry.at > moment, newest_first)
    current = next(entries, None)
    if current is None:
        return None, ()
    shares = shares_of(current)
    since = min((made(share.version) for share in shares if share.version is not None), default=current.at)
    before = takewhile(lambda entry: entry.killed if current.killed else entry.at >= since, entries)
    named = {share.version for share in shares}
    known = [current, *(entry for entry in before if current.killed or entry.version in named)]
    return current, tuple(_serving(share, known, current) for share in shares)


def shares_of(entry: LedgerEntry) -> tuple[Share, ...]:
    """Who answers from this entry on; a version of None is the fallback."""
    if entry.killed:
        return (Share(None, ALL_BP),)
    rest = Share(entry.previous_version, ALL_BP - entry.weight_bp)
    return tuple(share for share in (Share(entry.version, entry.weight_bp), rest) if share.weight_bp)


def _serving(share: Share, known: Sequence[LedgerEntry], current: LedgerEntry) -> Serving:
    """Entries from the current one back; the fallback answers by the kill in force, a version by what last named it."""
    if share.version is None:
        killing = known[-1] if current.killed else current
        return Serving(share, killing, killing.approved_by)
    named = [entry for entry in known if entry.version == share.version]
    approvals = [entry.approved_by for entry in named if entry.approved_by]
    return Serving(share, named[0] if named else current, approvals[0] if approvals else None)


class Action(StrEnum):
    """What a ledger entry says was done."""

    FALLBACK = "fallback"  # the rule of a newer run answers, since no version does
    SHADOW = "shadow"  # a version scores the same requests, its answers go nowhere
    CANARY = "canary"  # a version on its way in gets a share
    PROMOTE = "promote"  # a version became the champion
    END_PROBATION = "end_probation"  # the champion has proved itself: the holdback leaves
    ROLLBACK = "rollback"  # a version leaves; the one that served before answers all requests
    KILL = "kill"  # the fallback answers everything
    RESUME = "resume"  # the champion answers again
    SPLIT = "split"  # a second version gets a fixed share
    END_SPLIT = "end_split"  # the champion answers alone again
    ACKNOWLEDGE = "acknowledge"  # somebody has looked into a break; what is served stays

    @classmethod
    def _missing_(cls, value: object) -> "Action | None":
        """What entries from before 0.2.0 say; they stay as they were written."""
        return {"withdraw": Action.ROLLBACK, "end_watch": Action.END_PROBATION}.get(str(value))


class RollbackCause(StrEnum):
    """Why a version was rolled back."""

    EVIDENCE = "evidence"  # it was shown to be worse
    DEADLINE = "deadline"  # no evidence came in time
    ARTIFACT = "artifact"  # its artifact must not be served
    FAULT = "fault"  # the release itself failed
    HAND = "hand"  # somebody did it


@dataclass(frozen=True, slots=True)
class Cause:
    """Who changes what is served, when and why; `actor` and `approved_by` are IAM ARNs. `rollback` counts for
    rollbacks only."""

    at: datetime
    actor: str
    reason: str
    approved_by: str | None = None
    rollback: RollbackCause = RollbackCause.HAND
