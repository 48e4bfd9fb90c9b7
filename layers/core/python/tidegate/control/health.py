"""The health of models, and that somebody has seen to one."""

from http import HTTPStatus

from tidegate.control.call import Answer, At, Call, reads
from tidegate.steps.monitoring import health


def list_health(call: Call, at: At) -> Answer:
    answer = health.list_health(
        call.asked,
        call.query.get("owner"),
        call.query.get("health"),
        models=at.registry,
        routes=at.registry,
        rollouts=at.rollout_reader,
        health_records=at.health_records,
        clock=at.clock,
    )
    return HTTPStatus.OK, answer


def show_health(call: Call, at: At) -> Answer:
    answer = health.show_health(
        call.path["model"],
        models=at.registry,
        routes=at.registry,
        runs=at.registry,
        rollouts=at.rollout_reader,
        health_records=at.health_records,
        verdicts=at.verdicts,
    )
    return HTTPStatus.OK, answer


@reads(health.Acknowledge)
def acknowledge(call: Call, at: At, request: health.Acknowledge) -> Answer:
    answer = health.acknowledge(
        call.path["model"],
        request,
        actor=call.actor,
        models=at.registry,
        routes=at.registry,
        versions=at.registry,
        health_records=at.health_records,
        clock=at.clock,
    )
    return HTTPStatus.OK, answer
