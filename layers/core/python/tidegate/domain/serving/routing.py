"""Which version answers a request, and why.

A request's routing key decides, by hash, between the champion and the version that has a share beside it: the same key
always gets the same of them, and a larger share only moves keys from the champion to the other version.

The hash is salted with the number of the version on trial, so that each release is tried by other keys. A canary takes
the lowest buckets, and the version held back after it the highest ones of the same salt: while both shares are 100 % at
most, no key that tried the new version goes back to the old one.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from tidegate.domain.registry.route import CandidateRole, Route, Served
from tidegate.kernel.errors import NotFoundError

BUCKETS = 10_000  # one for each basis point


class Reason(StrEnum):
    """Why this version answered; every answer carries it."""

    CHAMPION = "champion"  # the version the route names
    CANDIDATE = "candidate"  # a version on its way in; the routing key fell into its share
    HOLDBACK = "holdback"  # the champion of before, while the new one is on probation; the key fell into its share
    SPLIT = "split"  # the second version of an A/B split; the routing key fell into its share
    PREVIOUS_GOOD = "previous_good"  # the champion's artifact could not be used
    NAMED = "named"  # the request named the version
    FALLBACK = "fallback"  # no version could; `Why` says more


class Why(StrEnum):
    """Why a version did not answer and the fallback, or for one beside the champion the champion, did."""

    KILLED = "killed"  # people switched the model off
    NO_VERSION = "no_version"  # none was accepted yet
    NOT_LOADABLE = "not_loadable"  # no artifact is what the registry recorded, or none can be fetched
    SCORING_FAILED = "scoring_failed"  # the model raised, or gave no finite number
    TIMED_OUT = "timed_out"  # the model took longer than it may
    CONTRACT_BROKEN = "contract_broken"  # the version beside the champion refuses a request that the champion takes
    RULE_VIOLATED = "rule_violated"  # the answer broke a business rule
    UNUSUAL = "unusual"  # the input lies far from those of training, and the spec wants the fallback to answer it


class Arm(StrEnum):
    """Which of the compared sides a request belongs to, whoever answered it in the end.

    Captures from before 0.2.0 say `candidate` of every version beside the champion.
    """

    CHAMPION = "champion"
    CANDIDATE = "candidate"
    HOLDBACK = "holdback"
    SPLIT = "split"
    NAMED = "named"  # neither side: the caller chose the version, so the two cannot be compared by it
    FALLBACK = "fallback"


BESIDE = frozenset({Arm.CANDIDATE, Arm.HOLDBACK, Arm.SPLIT})  # of the version that has a share beside the champion
COMPARED_ARMS = BESIDE | {Arm.CHAMPION}  # the two sides of a comparison are among them


@dataclass(frozen=True, slots=True)
class Choice:
    """A version that may answer, the reason it would give, and the arm it answers for."""

    served: Served
    reason: Reason
    arm: Arm = Arm.CHAMPION


def bucket(model: str, key: str, salt: int | None = None) -> int:
    """0 to 9,999, evenly over keys; with another model or salt, keys fall elsewhere.

    SHA-256, since `hash()` differs from process to process.
    """
    named = f"{model}\0{key}" if salt is None else f"{model}\0{salt}\0{key}"
    digest = hashlib.sha256(named.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) * BUCKETS >> 64


def _in_share(route: Route, key: str) -> bool:
    """Whether a key falls into the share of the version beside the champion."""
    place = bucket(route.model, key, route.salt)
    if route.salt is not None and route.candidate_role is CandidateRole.HOLDBACK:
        return place >= BUCKETS - route.candidate_bp
    return place < route.candidate_bp


_REASONS = {
    None: Reason.CANDIDATE,
    CandidateRole.CANARY: Reason.CANDIDATE,
    CandidateRole.HOLDBACK: Reason.HOLDBACK,
    CandidateRole.SPLIT: Reason.SPLIT,
}


def choose(route: Route, key: str, kept: Served | None = None) -> tuple[Choice, ...]:
    """Versions in the order they are tried: the one beside the champion when the key falls into its share, the
    champion, the one before it, and what this process served last. None when the model is killed.

    A version that is tried and cannot be loaded with the bytes the registry recorded is passed over for the next one.
    What was served last counts only when it is older than the champion: a newer one was rolled back.
    """
    if route.killed:
        return ()
    order: list[Choice] = []
    if route.candidate is not None and _in_share(route, key):
        reason = _REASONS[route.candidate_role]
        order.append(Choice(route.candidate, reason, Arm(reason.value)))
    if route.champion is None:
        return tuple(order)
    order.append(Choice(route.champion, Reason.CHAMPION))
    older = kept if kept is not None and kept.version < route.champion.version else None
    for served in (route.previous, older):
        if served is not None and all(served != choice.served for choice in order):
            order.append(Choice(served, Reason.PREVIOUS_GOOD))
    return tuple(order)


def serving(route: Route) -> tuple[Served, ...]:
    """The versions that answer requests now: the champion, and the one that has a share beside it. None when killed."""
    if route.killed:
        return ()
    sharing = route.candidate if route.candidate_bp else None
    return tuple(served for served in (route.champion, sharing) if served is not None)


def named(route: Route, version: int) -> tuple[Choice, ...]:
    """The only choice of a request that names the version it wants.

    Raises:
        NotFoundError: that version does not serve now.
    """
    there = serving(route)
    for served in there:
        if served.version == version:
            return (Choice(served, Reason.NAMED, Arm.NAMED),)
    numbers = " and ".join(str(served.version) for served in there) or "none"
    raise NotFoundError(
        f"version {version} of model {route.model!r} does not serve now; these do: {numbers}",
        next_step="ask one of them, or leave the version out",
    )
