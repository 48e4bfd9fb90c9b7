"""Models and their specs."""

from http import HTTPStatus

from tidegate.control.call import Answer, At, Call
from tidegate.steps import pages
from tidegate.steps.registry import models


def list_models(call: Call, at: At) -> Answer:
    return HTTPStatus.OK, models.list_models(call.asked, models=at.registry)


def show_model(call: Call, at: At) -> Answer:
    answer = models.show_model(
        call.path["model"], models=at.registry, routes=at.registry, rollouts=at.rollout_reader, clock=at.clock
    )
    return HTTPStatus.OK, answer


def apply_model(call: Call, at: At) -> Answer:
    answer = models.apply_model(
        call.path["model"],
        call.text,
        actor=call.actor,
        models=at.registry,
        catalog=at.catalog,
        health_records=at.health_records,
        verdicts=at.verdicts,
        clock=at.clock,
        only_checked=pages.truth("check", call.query.get("check")),
    )
    return HTTPStatus.OK, answer


def show_spec(call: Call, at: At) -> Answer:
    return HTTPStatus.OK, models.show_spec(call.path["model"], call.query.get("digest"), models=at.registry)
