"""What people do by hand to what is served: roll back, kill, resume, split."""

from collections.abc import Callable
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from tidegate.domain.registry.ledger import ALL_BP, Cause, hidden_by_a_kill
from tidegate.domain.registry.route import Route
from tidegate.domain.rollout import changes
from tidegate.domain.rollout.changes import RouteChange
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Models, Routes, Versions
from tidegate.steps.conflicts import twice
from tidegate.steps.requests import Document, Sentence, view

RECENT = 100  # entries among which the kill is that a resumption follows
VersionNumber = Annotated[int, Field(strict=True, ge=1, le=999_999)]


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

    def decision(route: Route | None) -> RouteChange | None:
        if hidden_by_a_kill(routes.ledger(model, limit=RECENT, newest_first=True)):
            raise changes.unacknowledged(
                model, f"{model} was killed while its route was not the one that the ledger had recorded"
            )
        return changes.resume(route, model, Cause(clock.now(), actor, body.reason))

    return _outcome(*decided(model, decision, routes=routes))


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
