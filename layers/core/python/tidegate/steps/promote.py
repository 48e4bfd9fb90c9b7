"""Make an accepted version the champion."""

from tidegate.domain import release
from tidegate.domain.release import Route, Run
from tidegate.errors import ConflictError
from tidegate.messages import Promoted, PromoteTask
from tidegate.ports import Clock, Routes, Runs, Versions

REASON = "accepted by the gate"


def promote(task: PromoteTask, *, runs: Runs, versions: Versions, routes: Routes, clock: Clock) -> Promoted:
    """Promote once: a repeated call finds the version serving and changes nothing.

    Who loses a race reads what the winner left and decides once more.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: the version is not an accepted one, or the race was lost twice.
    """
    run = runs.run(task.run.model, task.run.run_id)
    try:
        route = _promote(task, run, versions=versions, routes=routes, clock=clock)
    except ConflictError:
        route = _promote(task, run, versions=versions, routes=routes, clock=clock)
    return Promoted(
        version=task.version,
        revision=route.revision,
        previous_version=route.previous.version if route.previous else None,
    )


def _promote(task: PromoteTask, run: Run, *, versions: Versions, routes: Routes, clock: Clock) -> Route:
    route = routes.route(task.run.model)
    version = versions.version(task.run.model, task.version)
    promotion = release.promote(route, version, at=clock.now(), actor=run.requested_by, reason=REASON)
    if promotion is None:
        return route or Route(task.run.model, revision=0)
    routes.promote(promotion)
    return promotion.route
