"""Make an accepted version the champion, unless the champion it was judged against serves no more."""

from tidegate.domain import release
from tidegate.domain.release import Route, Run, VersionStatus
from tidegate.errors import ConflictError
from tidegate.messages import Promoted, PromoteTask
from tidegate.ports import Clock, Routes, Runs, Versions

REASON = "accepted by the gate"


def promote(task: PromoteTask, *, runs: Runs, versions: Versions, routes: Routes, clock: Clock) -> Promoted:
    """Promote once: a repeated call finds the version serving, or overtaken, and changes nothing.

    Who loses a race reads what the winner left and decides once more. A version that another champion overtook since
    the gate judged it is closed as such: an outcome with its reason, not a fault.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: the version is not an accepted one, or the race was lost twice.
    """
    run = runs.run(task.run.model, task.run.run_id)
    try:
        return _promote(task, run, versions=versions, routes=routes, clock=clock)
    except ConflictError:
        return _promote(task, run, versions=versions, routes=routes, clock=clock)


def _promote(task: PromoteTask, run: Run, *, versions: Versions, routes: Routes, clock: Clock) -> Promoted:
    model = task.run.model
    route = routes.route(model)
    version = versions.version(model, task.version)
    reason = release.overtaken(route, version, judged_against=task.champion_version)
    if reason:
        version = versions.overtake(model, task.version, reason)
    if version.status is VersionStatus.OVERTAKEN:
        return Promoted(version=task.version, serves=False, reason=" ".join(version.reasons))
    promotion = release.promote(route, version, at=clock.now(), actor=run.requested_by, reason=REASON)
    if promotion is not None:
        routes.promote(promotion)
        route = promotion.route
    return _serving(task, route or Route(model, revision=0))


def _serving(task: PromoteTask, route: Route) -> Promoted:
    previous = route.previous.version if route.previous else None
    return Promoted(version=task.version, serves=True, revision=route.revision, previous_version=previous)
