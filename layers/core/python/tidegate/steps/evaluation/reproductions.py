"""The part of the control API that makes a version again: start it, and read what came of it."""

from collections.abc import Callable
from typing import Any

from tidegate.domain.evaluation.documents import REPRODUCTION
from tidegate.domain.registry.run import Run, RunStatus
from tidegate.kernel.errors import ConflictError, NotFoundError
from tidegate.kernel.ids import run_id
from tidegate.kernel.prefixes import RunFile
from tidegate.messages import RunRef
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts, Runs, Versions, Workflow
from tidegate.steps.registry.runs import Token, started
from tidegate.steps.requests import Document, version_number, view


class StartReproduction(Document):
    """`token` is the idempotency token: however often it is sent, the version is made again once."""

    token: Token | None = None


def start_reproduction(
    model: str,
    number: str,
    body: StartReproduction,
    *,
    actor: str,
    versions: Versions,
    runs: Runs,
    workflow: Workflow,
    clock: Clock,
    chance: Callable[[], str],
) -> dict[str, Any]:
    """Record a run of the version's own spec, dataset version, exclusions, seed and candidate, and start its execution.

    It releases nothing, so it needs no lease and hinders no release.

    Raises:
        NotFoundError: no such model or version.
        ConflictError: the version's run does not say which candidate was chosen.
        UnavailableError: recorded but not started; repeat with the token.
    """
    version = versions.version(model, version_number(model, number))
    recorded = runs.run(model, version.run_id)
    if recorded.selected is None:
        raise ConflictError(
            f"run {recorded.run_id}, which made version {version.number} of {model}, did not record which candidate "
            "it chose",
            next_step="train a new version, which records it",
        )
    now = clock.now()
    token = body.token or chance()
    name = run_id(now, chance()[-6:])
    wanted = Run(
        model=model,
        run_id=name,
        status=RunStatus.REQUESTED,
        spec_digest=version.spec_digest,
        dataset=version.dataset,
        dataset_version=version.dataset_version,
        exclusions=recorded.exclusions,
        selected=recorded.selected,
        requested_by=actor,
        requested_at=now,
        seed=recorded.seed,
        reason=f"reproduces version {version.number}",
        token=f"reproduce:{version.number}:{token}",
        execution=workflow.execution(name),
        reproduces=version.number,
    )
    run = runs.request(wanted, lease_until=None)
    command = f"tidegate reproduce {model} {version.number} --token {token}"
    return started(run, wanted, command, workflow=workflow)


def show_reproduction(model: str, run: str, *, runs: Runs, artifacts: Artifacts) -> dict[str, Any]:
    """A run that made a version again, and what is equal and what differs.

    Raises:
        NotFoundError: no such run, it makes no version again, or it has not come to the comparison.
    """
    found = runs.run(model, run)
    if found.status not in {RunStatus.REPRODUCED, RunStatus.DIFFERS}:
        raise NotFoundError(
            f"run {run} of {model} has no comparison; it is {found.status}",
            next_step=f"look at it: tidegate runs {model} {run}",
        )
    comparison = REPRODUCTION.read(artifacts.get(RunRef(model=model, run_id=run).key(RunFile.REPRODUCTION)))
    return {"run": view(found), "reproduction": comparison}
