"""Make an accepted version the champion, unless the champion it was judged against serves no more."""

from tidegate.domain import release
from tidegate.domain.release import Cause, Route, RouteChange, VersionStatus
from tidegate.messages import Promoted, PromoteTask
from tidegate.ports import Clock, Routes, Runs, Versions
from tidegate.steps.routes import decided

REASON = "accepted by the gate"


def promote(task: PromoteTask, *, runs: Runs, versions: Versions, routes: Routes, clock: Clock) -> Promoted:
    """Promote once: a repeated call finds the version serving, or overtaken, and changes nothing.

    Who loses a race reads what the winner left and decides once more. A version that another champion overtook since
    the gate judged it is closed as such: an outcome with its reason, not a fault.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: the version is not an accepted one, another one is on trial, or the race was lost twice.
    """
    model = task.run.model
    run = runs.run(model, task.run.run_id)

    def decision(route: Route | None) -> RouteChange | None:
        version = versions.version(model, task.version)
        reason = release.overtaken(route, version, judged_against=task.champion_version)
        if reason:
            version = versions.overtake(model, task.version, reason)
        if version.status is VersionStatus.OVERTAKEN:
            return None
        return release.promote(route, version, Cause(clock.now(), run.requested_by, REASON))

    route, _ = decided(model, decision, routes=routes)
    version = versions.version(model, task.version)
    if version.status is VersionStatus.OVERTAKEN:
        return Promoted(version=task.version, serves=False, reason=" ".join(version.reasons))
    return Promoted(
        version=task.version,
        serves=True,
        revision=route.revision,
        previous_version=route.previous.version if route.previous else None,
        ledger_head=route.ledger_head,
    )
