"""One request of the control API, as the resources see it."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib import import_module
from typing import Any, Generic, TypeVar

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from tidegate.formats.http_api import bytes_of, caller_of
from tidegate.kernel import strict_json
from tidegate.kernel.errors import Fault, NotFoundError, RequestInvalidError
from tidegate.kernel.ids import NAME, NAME_FORM
from tidegate.kernel.routes import Route
from tidegate.kernel.settings import ControlSettings
from tidegate.steps.pages import Asked, unknown_parameters
from tidegate.steps.requests import Document
from tidegate.wiring import Wiring

At = Wiring[ControlSettings]
Answer = tuple[HTTPStatus, dict[str, Any] | bytes]
D = TypeVar("D", bound=Document)
Resource = Callable[["Call", At], Answer]

NAMES = {  # what a name in a path can be; anything else names nothing
    "dataset": NAME,
    "model": NAME,
    "prediction": ".+",  # its step says what is wrong with one
    "run": "[A-Za-z0-9-]{1,80}",
    "version": "[A-Za-z0-9]{1,64}",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the route's name, who asks, the names in its path, its query and its body as text."""

    route: str
    actor: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    text: str

    @classmethod
    def of(cls, route: Route, event: APIGatewayProxyEventV2, path: Mapping[str, str]) -> "Call":
        """Read an event of the HTTP API.

        Raises:
            RequestInvalidError: it carries no IAM identity (401), its body is no text or its query has parameters that
                the route does not take (400).
            NotFoundError: a name in its path cannot be one.
        """
        actor = caller_of(event.raw_event)
        try:
            text = bytes_of(event.raw_event).decode()
        except UnicodeDecodeError as error:
            fault = Fault("", f"byte {error.start} cannot be decoded")
            raise RequestInvalidError("the body is not valid UTF-8", [fault], status=HTTPStatus.BAD_REQUEST) from None
        for kind, name in path.items():  # a PUT makes a name, and its step says what is wrong with it
            if event.http_method != "PUT" and not re.fullmatch(NAMES[kind], name):
                raise NotFoundError(
                    f"there is no {kind} {name!r}",
                    next_step=NAME_FORM,
                )
        query = event.query_string_parameters or {}
        if unknown := query.keys() - set(route.query):
            raise unknown_parameters(unknown, route.query)
        return cls(route.name, actor, path, query, text)

    @property
    def asked(self) -> Asked:
        """The page that is asked for."""
        filters = sorted((name, value) for name, value in self.query.items() if name not in {"after", "limit"})
        scope = json.dumps([self.route, *self.path.values(), filters])
        return Asked(scope, self.query.get("after"), self.query.get("limit"))

    @property
    def body(self) -> object:
        """The decoded JSON body; raises RequestInvalidError (400)."""
        return strict_json.read_body(self.text.encode())


@dataclass(frozen=True, slots=True)
class Reading(Generic[D]):
    """A resource that takes a JSON body of one form; without a body that of its defaults, where that is `optional`."""

    body: type[D]
    optional: bool
    answer: Callable[[Call, At, D], Answer]

    def __call__(self, call: Call, at: At) -> Answer:
        """Raises RequestInvalidError, which names every fault of the body."""
        return self.answer(call, at, self.body.read({} if self.optional and not call.text else call.body))


def reads(body: type[D], *, optional: bool = False) -> Callable[[Callable[[Call, At, D], Answer]], Reading[D]]:
    """What follows takes a body of this form, checked."""
    return lambda answer: Reading(body, optional, answer)


@cache
def resource(route: Route) -> Resource:
    """What answers a route. Imported by the first call of it: no other call waits for what is behind it."""
    module, _, name = route.name.partition(".")
    found: Resource = getattr(import_module(f"tidegate.control.{module}"), name)
    return found
