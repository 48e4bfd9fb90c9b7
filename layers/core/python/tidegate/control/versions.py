"""Versions, what an approver sees of one, and the decision on it."""

from http import HTTPStatus

from tidegate.control.call import Answer, At, Call, reads
from tidegate.steps.registry import models
from tidegate.steps.rollout import approvals


def list_versions(call: Call, at: At) -> Answer:
    model, status = call.path["model"], call.query.get("status")
    return HTTPStatus.OK, models.list_versions(
        model, call.asked, status, models=at.registry, versions=at.registry, routes=at.registry
    )


def show_version(call: Call, at: At) -> Answer:
    return HTTPStatus.OK, models.show_version(
        call.path["model"],
        call.path["version"],
        models=at.registry,
        versions=at.registry,
        routes=at.registry,
        health_records=at.health_records,
        verdicts=at.verdicts,
    )


def read_report(call: Call, at: At) -> Answer:
    model, version = call.path["model"], call.path["version"]
    return HTTPStatus.OK, models.read_report(model, version, versions=at.registry, artifacts=at.artifacts)


def read_page(call: Call, at: At) -> Answer:
    model, version = call.path["model"], call.path["version"]
    return HTTPStatus.OK, models.read_page(
        model, version, versions=at.registry, rollouts=at.rollout_reader, artifacts=at.artifacts
    )


@reads(approvals.Decide)
def decide(call: Call, at: At, request: approvals.Decide) -> Answer:
    answer = approvals.decide(
        call.path["model"],
        call.path["version"],
        request,
        actor=call.actor,
        versions=at.registry,
        rollouts=at.rollouts,
        routes=at.routes,
        artifacts=at.artifacts,
        workflow=at.workflow,
        clock=at.clock,
    )
    return HTTPStatus.OK, answer
