"""Make an accepted version the champion."""

from tidegate.domain import release
from tidegate.domain.release import Cause, Route, RouteChange
from tidegate.messages import Promoted, PromoteTask
from tidegate.ports import Clock, Routes, Runs, Versions
from tidegate.steps.routes import decided

REASON = "accepted by the gate"


def promote(task: PromoteTask, *, runs: Runs, versions: Versions, routes: Routes, clock: Clock) -> Promoted:
    """Promote once: a repeated call finds the version serving and changes nothing.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: the version is not an accepted one, another one is on trial, or the race was lost twice.
    """
    model = task.run.model
    run = runs.run(model, task.run.run_id)

    def decision(route: Route | None) -> RouteChange | None:
        cause = Cause(clock.now(), run.requested_by, REASON)
        return release.promote(route, versions.version(model, task.version), cause)

    route, _ = decided(model, decision, routes=routes)
    return Promoted(
        version=task.version,
        revision=route.revision,
        previous_version=route.previous.version if route.previous else None,
        ledger_head=route.ledger_head,
    )
