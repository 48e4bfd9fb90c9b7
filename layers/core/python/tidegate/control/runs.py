"""Training runs, and runs that make a version again."""

from http import HTTPStatus

from tidegate.control.call import Answer, At, Call, reads
from tidegate.steps.evaluation import reproductions
from tidegate.steps.registry import runs


def list_runs(call: Call, at: At) -> Answer:
    model, status = call.path["model"], call.query.get("status")
    return HTTPStatus.OK, runs.list_runs(model, call.asked, status, models=at.registry, runs=at.registry)


@reads(runs.StartRun, optional=True)
def start_run(call: Call, at: At, request: runs.StartRun) -> Answer:
    answer = runs.start_run(
        call.path["model"],
        request,
        actor=call.actor,
        models=at.registry,
        catalog=at.catalog,
        runs=at.registry,
        workflow=at.workflow,
        clock=at.clock,
        chance=at.chance,
    )
    return HTTPStatus.OK if answer["repeated"] else HTTPStatus.ACCEPTED, answer


def show_run(call: Call, at: At) -> Answer:
    return HTTPStatus.OK, runs.show_run(call.path["model"], call.path["run"], runs=at.registry)


def show_reproduction(call: Call, at: At) -> Answer:
    model, run = call.path["model"], call.path["run"]
    return HTTPStatus.OK, reproductions.show_reproduction(model, run, runs=at.registry, artifacts=at.artifacts)


@reads(reproductions.StartReproduction, optional=True)
def start_reproduction(call: Call, at: At, request: reproductions.StartReproduction) -> Answer:
    answer = reproductions.start_reproduction(
        call.path["model"],
        call.path["version"],
        request,
        actor=call.actor,
        versions=at.registry,
        runs=at.registry,
        workflow=at.workflow,
        clock=at.clock,
        chance=at.chance,
    )
    return HTTPStatus.OK if answer["repeated"] else HTTPStatus.ACCEPTED, answer
