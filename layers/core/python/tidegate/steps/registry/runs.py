"""The run half of the control API: start training runs exactly once, and look at them."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from tidegate.domain.data.dataset import DatasetStatus
from tidegate.domain.registry.run import APPLIED, Maker, Run, RunStatus
from tidegate.kernel.errors import Fault, NotFoundError, RequestInvalidError, UnavailableError
from tidegate.kernel.ids import run_id
from tidegate.ports.data import Catalog
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Models, Runs, Workflow
from tidegate.steps.pages import Asked, by_run, chosen, page, walked
from tidegate.steps.requests import Document, view

RUNS_LISTED = 50
# Longer than any training, its retries included; the rollout extends it, and whoever ends before that gives it back.
TRAINING_LEASE = timedelta(hours=3)


Token = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]


class StartRun(Document):
    """`token` is the idempotency token: however often it is sent, one run starts. `reason` goes into the run's record.
    `dataset_version` is the dataset's latest one when left out."""

    token: Token | None = None
    reason: Annotated[str, Field(min_length=1, max_length=500)] = "manual"
    dataset_version: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")] | None = None


def start_run(
    model: str,
    body: StartRun,
    *,
    actor: str,
    models: Models,
    catalog: Catalog,
    runs: Runs,
    workflow: Workflow,
    clock: Clock,
    chance: Callable[[], str],
    makers: Sequence[Maker] = (),
) -> dict[str, Any]:
    """Record a run of the current spec, take the model's lease for it and start its execution.

    The record keeps who applied that spec, and the other `makers` of what it trains on: they may not approve what comes
    of it, whatever is in force by then.

    The record comes first. When the start fails or this process dies in between, the same token sent again finds the
    record and starts it; without a token of the caller's one is made up, and the error names it.

    Raises:
        NotFoundError: no such model.
        RequestInvalidError: the model's dataset has no version that is ready, or the named one is not there or ready.
        ConflictError: another release of the model is not over yet.
        UnavailableError: recorded but not started; repeat with the token.
    """
    header = models.model(model)
    spec = models.spec(model, header.spec_digest)
    now = clock.now()
    token = body.token or chance()
    _demand_ready(model, spec.dataset, body.dataset_version, catalog)
    name = run_id(now, chance()[-6:])
    wanted = Run(
        model=model,
        run_id=name,
        status=RunStatus.REQUESTED,
        spec_digest=spec.digest,
        dataset=spec.dataset,
        dataset_version=body.dataset_version,
        requested_by=actor,
        requested_at=now,
        seed=spec.seed,
        reason=body.reason,
        token=token,
        execution=workflow.execution(name),
        makers=(Maker(header.applied_by, APPLIED), *makers),
    )
    run = runs.request(wanted, lease_until=now + TRAINING_LEASE)
    return started(run, wanted, f"tidegate train {model} --token {token}", workflow=workflow)


def started(run: Run, wanted: Run, command: str, *, workflow: Workflow) -> dict[str, Any]:
    """Start what was recorded, which may be an earlier run with the same token. Raises UnavailableError, which names
    the command that starts it once."""
    if run.status is RunStatus.REQUESTED:
        try:
            workflow.start(run.model, run.run_id)
        except UnavailableError as error:
            raise UnavailableError(
                f"run {run.run_id} of {run.model} is recorded but not started: {error.message}",
                next_step=f"repeat the request with the same idempotency token; the run starts once: {command}",
            ) from error
    return {"run": view(run), "repeated": run.run_id != wanted.run_id}


def _demand_ready(model: str, dataset: str, version: str | None, catalog: Catalog) -> None:
    named = f"version {version}" if version else "version that is ready"
    problem = f"{dataset} has no {named}"
    try:
        found = catalog.version(dataset, version)
        if found.status is DatasetStatus.READY:
            return
        problem = f"{dataset} version {found.version} is {found.status}"
    except NotFoundError:
        pass
    raise RequestInvalidError(
        f"{model} cannot be trained yet",
        [Fault("dataset", problem)],
        next_step=f"tidegate data add {dataset} FILE... (or wait: tidegate data show {dataset})",
    )


def list_runs(model: str, asked: Asked, status: str | None, *, models: Models, runs: Runs) -> dict[str, Any]:
    """A page of runs, newest first: 50 unless `limit` says more; with a status those that have it.

    Raises:
        NotFoundError: no such model.
        RequestInvalidError: a parameter is wrong.
    """
    models.model(model)
    wanted = chosen("status", status, RunStatus)
    keep = (lambda run: run.status is wanted) if wanted else None
    walk = walked(partial(runs.runs, model), by_run)
    shown, following = page(asked, walk, by_run, keep=keep, unless=RUNS_LISTED)
    return {"runs": shown, "next": following}


def show_run(model: str, run: str, *, runs: Runs) -> dict[str, Any]:
    """One run. Raises NotFoundError."""
    return {"run": view(runs.run(model, run))}
