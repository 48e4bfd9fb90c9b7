"""What is served, the ledger that shows how it came to be, and what people do about it."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from tidegate.control.call import Answer, At, Call, reads
from tidegate.steps.registry import ledger
from tidegate.steps.requests import Document
from tidegate.steps.rollout import readouts, routes
from tidegate.telemetry import logger


def show_ledger(call: Call, at: At) -> Answer:
    model, moment = call.path["model"], call.query.get("at")
    if moment is not None:
        given = call.query.keys() - {"at"}
        return HTTPStatus.OK, ledger.show_moment(
            model, moment, given, models=at.registry, routes=at.routes, versions=at.registry
        )
    wanted = ledger.Wanted.read(call.query.get("order"), call.query.get("since"), call.query.get("until"))
    return HTTPStatus.OK, ledger.show_ledger(
        model, call.asked, wanted, models=at.registry, routes=at.routes, batch_ledger=at.batch_ledger
    )


def verify_ledger(call: Call, at: At) -> Answer:
    model = call.path["model"]
    return HTTPStatus.OK, ledger.verify_ledger(
        model,
        call.asked,
        models=at.registry,
        routes=at.routes,
        versions=at.registry,
        batch_ledger=at.batch_ledger,
        health_records=at.health_records,
    )


@reads(ledger.Acknowledge)
def acknowledge_ledger(call: Call, at: At, request: ledger.Acknowledge) -> Answer:
    return acted(call, at, request, ledger.acknowledge, health_records=at.health_records)


@reads(routes.RollBack)
def roll_back(call: Call, at: At, request: routes.RollBack) -> Answer:
    return acted(call, at, request, routes.roll_back, versions=at.registry)


@reads(routes.Because)
def kill(call: Call, at: At, request: routes.Because) -> Answer:
    return acted(call, at, request, routes.kill)


@reads(routes.Because)
def resume(call: Call, at: At, request: routes.Because) -> Answer:
    return acted(call, at, request, routes.resume)


@reads(routes.Split)
def split(call: Call, at: At, request: routes.Split) -> Answer:
    return acted(call, at, request, routes.split, versions=at.registry)


def read_split(call: Call, at: At) -> Answer:
    answer = readouts.show_readout(
        call.path["model"], models=at.registry, routes=at.routes, hours=at.hours, clock=at.clock
    )
    return HTTPStatus.OK, answer


def acted(call: Call, at: At, request: Document, act: Callable[..., dict[str, Any]], **more: object) -> Answer:
    """What people do to what is served. It is logged with its ledger entry: a copy that this function cannot change."""
    answer = act(
        call.path["model"], request, actor=call.actor, models=at.registry, routes=at.routes, clock=at.clock, **more
    )
    if answer["entry"]:
        logger("control").info("route changed", extra={"ledger_entry": answer["entry"]})
    return HTTPStatus.OK, answer
