"""Captured predictions."""

from http import HTTPStatus

from tidegate.control.call import Answer, At, Call
from tidegate.steps.serving import captures


def list_captures(call: Call, at: At) -> Answer:
    answer = captures.list_captures(
        call.path["model"],
        call.query.get("hour"),
        call.asked,
        models=at.registry,
        captures=at.captures,
        clock=at.clock,
    )
    return HTTPStatus.OK, answer
