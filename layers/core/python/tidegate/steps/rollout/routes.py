"""What people do by hand to what is served: roll back, kill, resume, split; and reading and proving the ledger."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from tidegate.domain.registry import ledger
from tidegate.domain.registry.ledger import ALL_BP, Break, Cause, LedgerEntry
from tidegate.domain.registry.route import Route
from tidegate.domain.rollout import changes
from tidegate.domain.rollout.changes import RouteChange
from tidegate.kernel.errors import Fault, LedgerBrokenError, RequestInvalidError, UnavailableError
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Models, Routes, Versions
from tidegate.steps.conflicts import twice
from tidegate.steps.requests import Document, Moment, Sentence, view

VersionNumber = Annotated[int, Field(strict=True, ge=1, le=999_999)]
_LOOKS = 3


class RollBack(Document):
    """Body of a rollback. The version is always named, so that the same request sent twice goes back once."""

    to: VersionNumber
    reason: Sentence


class Because(Document):
    """Body of a kill and of a resumption."""

    reason: Sentence


class Split(Document):
    """Body of a split: a version and its share, or `end`."""

    to: VersionNumber | None = None
    weight_bp: Annotated[int, Field(strict=True, ge=1, lt=ALL_BP)] | None = None
    end: Annotated[bool, Field(strict=True)] = False
    reason: Sentence

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.end == (self.to is not None) or (self.to is None) != (self.weight_bp is None):
            raise ValueError("give either `to` and `weight_bp`, or `end`: true")
        return self


def decided(
    model: str, decide: Callable[[Route | None], RouteChange | None], *, routes: Routes
) -> tuple[Route, RouteChange | None]:
    """Decide on the present route and write; the route as it then is, and what was changed of it.

    Raises:
        ConflictError: the change is not allowed, or the race was lost twice.
    """

    def once() -> tuple[Route, RouteChange | None]:
        route = routes.route(model)
        change = decide(route)
        if change is None:
            return route or Route(model, revision=0), None
        routes.change(change)
        return change.route, change

    return twice(once)


def roll_back(
    model: str, body: RollBack, *, actor: str, models: Models, versions: Versions, routes: Routes, clock: Clock
) -> dict[str, Any]:
    """A version that has served answers all requests again. Raises NotFoundError, ConflictError."""
    models.model(model)

    def decision(route: Route | None) -> RouteChange | None:
        cause = Cause(clock.now(), actor, body.reason)
        return changes.rollback(route, versions.version(model, body.to), cause)

    return _outcome(*decided(model, decision, routes=routes))


def kill(model: str, body: Because, *, actor: str, models: Models, routes: Routes, clock: Clock) -> dict[str, Any]:
    """The fallback answers everything. Raises NotFoundError, ConflictError."""
    models.model(model)
    cause = Cause(clock.now(), actor, body.reason)
    return _outcome(*decided(model, lambda route: changes.kill(route, model, cause), routes=routes))


def resume(model: str, body: Because, *, actor: str, models: Models, routes: Routes, clock: Clock) -> dict[str, Any]:
    """The champion of a killed model answers again. Raises NotFoundError, ConflictError."""
    models.model(model)
    cause = Cause(clock.now(), actor, body.reason)
    return _outcome(*decided(model, lambda route: changes.resume(route, model, cause), routes=routes))


def split(
    model: str, body: Split, *, actor: str, models: Models, versions: Versions, routes: Routes, clock: Clock
) -> dict[str, Any]:
    """A second version gets a fixed share, or no longer. Raises NotFoundError, ConflictError."""
    models.model(model)

    def decision(route: Route | None) -> RouteChange | None:
        cause = Cause(clock.now(), actor, body.reason)
        if body.to is None or body.weight_bp is None:
            return changes.end_split(route, model, cause)
        return changes.split(route, versions.version(model, body.to), body.weight_bp, cause)

    return _outcome(*decided(model, decision, routes=routes))


def _outcome(route: Route, change: RouteChange | None) -> dict[str, Any]:
    return {
        "changed": change is not None,
        "route": view(route),
        "serves": view(changes.shares(route)),
        "entry": view(change.entry) if change else None,
    }


def show_ledger(model: str, at: str | None, *, models: Models, routes: Routes) -> dict[str, Any]:
    """Every change of what is served, oldest first; with `at` (ISO 8601), what served at that moment.

    Raises:
        NotFoundError: no such model.
        RequestInvalidError: `at` is no time.
    """
    models.model(model)
    if at is None:
        return {"entries": view(routes.ledger(model))}
    moment = _moment(at)
    entries = routes.ledger(model)
    return {
        "at": view(moment),
        "entry": view(ledger.entry_at(entries, moment)),
        "served": [
            view(serving.share) | {"by": view(serving.entry), "approved_by": serving.approved_by}
            for serving in ledger.served_at(entries, moment)
        ],
    }


def verify_ledger(model: str, *, models: Models, routes: Routes) -> dict[str, Any]:
    """Whether the ledger is one unbroken chain up to the route's head, and where it breaks first if not.

    Raises:
        NotFoundError: no such model.
        UnavailableError: it changes faster than it can be read.
    """
    models.model(model)
    head = ""
    entries: list[LedgerEntry] = []
    try:
        head, entries = _at_rest(model, routes)
        broken = ledger.verify(model, entries, head)
    except LedgerBrokenError as error:
        broken = Break(error.seq, error.message)
    return {"intact": broken is None, "entries": len(entries), "head": head, "break": view(broken)}


def _at_rest(model: str, routes: Routes) -> tuple[str, list[LedgerEntry]]:
    """Head and entries that belong together: read while the route stood still."""
    for _ in range(_LOOKS):
        before = routes.route(model)
        entries = routes.ledger(model)
        if routes.route(model) == before:
            return before.ledger_head if before else ledger.GENESIS, entries
    raise UnavailableError(f"the ledger of {model} changed while it was read", next_step="try again")


_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


def _moment(text: str) -> datetime:
    try:
        return _MOMENT.validate_python(text)
    except (ValidationError, OverflowError):
        raise RequestInvalidError(
            "not a time",
            [Fault("at", f"{text!r} is not ISO 8601, such as 2026-01-05 or 2026-01-05T12:00:00Z")],
        ) from None
