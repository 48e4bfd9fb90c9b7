"""Versions on their way to users."""

from http import HTTPStatus

from tidegate.control.call import Answer, At, Call, reads
from tidegate.control.served import acted
from tidegate.steps.rollout import approvals


def list_rollouts(call: Call, at: At) -> Answer:
    model, status = call.path["model"], call.query.get("status")
    answer = approvals.list_rollouts(
        model, call.asked, status, models=at.registry, rollouts=at.rollout_reader, routes=at.registry
    )
    return HTTPStatus.OK, answer


def show_rollout(call: Call, at: At) -> Answer:
    model, run = call.path["model"], call.path["run"]
    answer = approvals.show_rollout(
        model,
        run,
        models=at.registry,
        versions=at.registry,
        rollouts=at.rollout_reader,
        routes=at.registry,
        health_records=at.health_records,
        verdicts=at.verdicts,
        clock=at.clock,
    )
    return HTTPStatus.OK, answer


@reads(approvals.EndRollout)
def end_rollout(call: Call, at: At, request: approvals.EndRollout) -> Answer:
    more = {"runs": at.registry, "versions": at.registry, "rollouts": at.rollouts, "workflow": at.workflow}
    return acted(call, at, request, approvals.end, **more)
