"""Datasets: what is said of them, their files and versions, and excluded periods."""

from http import HTTPStatus

from tidegate.control.call import Answer, At, Call, reads
from tidegate.steps.data import datasets


def list_datasets(call: Call, at: At) -> Answer:
    return HTTPStatus.OK, datasets.list_datasets(call.asked, catalog=at.catalog)


def show_dataset(call: Call, at: At) -> Answer:
    return HTTPStatus.OK, datasets.show_dataset(call.path["dataset"], catalog=at.catalog)


@reads(datasets.DescribeDataset)
def describe_dataset(call: Call, at: At, request: datasets.DescribeDataset) -> Answer:
    answer = datasets.describe_dataset(
        call.path["dataset"], request, actor=call.actor, catalog=at.catalog, clock=at.clock
    )
    return HTTPStatus.CREATED if answer["created"] else HTTPStatus.OK, answer


@reads(datasets.FileList)
def plan_uploads(call: Call, at: At, request: datasets.FileList) -> Answer:
    return HTTPStatus.OK, datasets.plan_uploads(call.path["dataset"], request, catalog=at.catalog, files=at.files)


def list_versions(call: Call, at: At) -> Answer:
    return HTTPStatus.OK, datasets.list_versions(call.path["dataset"], call.asked, catalog=at.catalog, clock=at.clock)


@reads(datasets.FileList)
def add_version(call: Call, at: At, request: datasets.FileList) -> Answer:
    answer = datasets.add_version(
        call.path["dataset"],
        request,
        actor=call.actor,
        catalog=at.catalog,
        files=at.files,
        dispatcher=at.dispatcher,
        clock=at.clock,
    )
    return HTTPStatus.ACCEPTED if answer["changed"] else HTTPStatus.OK, answer


def show_version(call: Call, at: At) -> Answer:
    answer = datasets.show_version(call.path["dataset"], call.path["version"], catalog=at.catalog, clock=at.clock)
    return HTTPStatus.OK, answer


def list_exclusions(call: Call, at: At) -> Answer:
    return HTTPStatus.OK, datasets.list_exclusions(call.path["dataset"], call.asked, catalog=at.catalog)


@reads(datasets.ExcludePeriod)
def exclude_period(call: Call, at: At, request: datasets.ExcludePeriod) -> Answer:
    answer = datasets.exclude_period(
        call.path["dataset"], request, actor=call.actor, catalog=at.catalog, clock=at.clock
    )
    return HTTPStatus.CREATED if answer["changed"] else HTTPStatus.OK, answer
