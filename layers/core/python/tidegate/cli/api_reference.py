"""The page docs/api.md and the document docs/openapi-control.json, written from the table of routes.

    python -m tidegate.cli.api_reference > docs/api.md
    python -m tidegate.cli.api_reference openapi > docs/openapi-control.json

A test holds both equal to this.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click

from tidegate import __version__
from tidegate.control.call import NAMES, Reading, resource
from tidegate.kernel.roles import Role
from tidegate.kernel.routes import CONTROL, SERVING, Route

_INTRODUCTION = """\
# The APIs

Each stage has two HTTP APIs. Their addresses are in the SSM parameters `/tidegate/<stage>/control-url` and
`/tidegate/<stage>/serving-url`. Sign every request with AWS Signature Version 4 for the service `execute-api`; the
[roles](operations.md#roles) say who may call what. The `tidegate` command and `tidegate.cli.client.Client` do this for
you.

Answers are JSON. A refusal is `application/problem+json` (RFC 9457): `detail` says what is wrong, `errors` lists every
fault of the request with its path, and `next_step` says what to do. You can repeat every call: a lost answer costs
nothing. Unknown query parameters are rejected.

## Lists

Every list comes in pages of at most 500 entries and about 1 MB. `next` in an answer is the token
of the next page: send it unchanged as `after`, with the same filters. It is null on the last page, and only then. A
page may have fewer entries than `limit` asks for, even none. Entries that are added while you walk the pages move
nothing: you see each entry once.

- `limit` is the most entries of a page, 1 to 500; a page of captures has at most 200. Without it, a page of runs has up
  to 50 entries, one of health up to 50, and others as many as a page takes.
- `status` selects runs and versions by their status, and rollouts that are `open` or `ended`.
- `order=newest` lists the ledger from its end; `since` and `until` (ISO 8601) select a period. A page has the changes
  of what is served in `entries` and the acts about batches in `batches`.
- The verification of a ledger comes in sections of 5,000 entries. `intact` is null until the last one is verified.

## Control API

[openapi-control.json](openapi-control.json) describes it as an OpenAPI 3.1 document, with the schema of every request
body.

"""
_SERVING = """
## Serving API

Its own OpenAPI documents have the contract of each model: `GET /openapi.json` and `GET /models/{model}/openapi.json`.

"""
_QUERY: Mapping[str, Mapping[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1},
    "order": {"type": "string", "enum": ["oldest", "newest"]},
    **{name: {"type": "string", "format": "date-time"} for name in ("at", "since", "until")},
}
_STATUSES = {
    400: "The body or the query cannot be read.",
    401: "The request has no IAM identity.",
    403: "The caller may not do this.",
    404: "There is no such thing.",
    409: "Something else changed it, or is under way.",
    413: "The body is too large.",
    422: "The request is wrong; `errors` names every fault.",
    428: "It takes a protection away; `errors` names what to agree to.",
    500: "Something failed on the server's side.",
    503: "A service that is needed does not answer; try again.",
}


def page() -> str:
    """The whole page."""
    return _INTRODUCTION + _table(CONTROL.values()) + _SERVING + _table(SERVING.values())


def document() -> dict[str, Any]:
    """The control API as an OpenAPI 3.1 document. Answers are objects whose fields `Client` names."""
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for route in CONTROL.values():
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    about = "Datasets, models, runs, versions, rollouts and what is served."
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tidegate control API", "version": __version__, "description": about},
        "security": [{"sigv4": []}],
        "paths": paths,
        "components": {
            "schemas": schemas
            | {"Problem": {"type": "object", "required": ["title", "status", "detail", "errors", "next_step"]}},
            "responses": {
                str(status): {"description": words, "content": problem} for status, words in _STATUSES.items()
            },
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                }
            },
        },
    }


def _table(routes: Iterable[Route]) -> str:
    rows = [f"| `{_shown(route)}` | {route.words} | {_people(route)} |" for route in routes]
    return "\n".join(["| call | what it does | roles |", "| --- | --- | --- |", *rows]) + "\n"


def _shown(route: Route) -> str:
    return route.key + ("?" + "&".join(f"{name}=" for name in route.query) if route.query else "")


def _people(route: Route) -> str:
    return "all" if route.roles == set(Role) else ", ".join(role for role in Role if role in route.roles)


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    refused = {str(status): {"$ref": f"#/components/responses/{status}"} for status in _STATUSES}
    made = {"2XX": {"description": "Done.", "content": {"application/json": {"schema": {"type": "object"}}}}}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{NAMES[name]}$"}}
        for name in route.names
    ] + [{"name": name, "in": "query", "schema": _QUERY.get(name, {"type": "string"})} for name in route.query]
    found: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.name.partition(".")[0]],
        "summary": route.words,
        "description": f"Roles: {_people(route)}.",
        "parameters": parameters,
        "responses": made | refused,
    }
    return found | _body(route, schemas)


def _body(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    answers = resource(route)
    if isinstance(answers, Reading):
        schema = answers.body.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[answers.body.__name__] = schema
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{answers.body.__name__}"}}}
        return {"requestBody": {"required": not answers.optional, "content": content}}
    if route.method == "GET":
        return {}
    text = {"schema": {"type": "string", "description": "a model spec"}}
    return {"requestBody": {"required": True, "content": {"text/yaml": text, "application/json": text}}}


if __name__ == "__main__":
    wanted = json.dumps(document(), indent=2) + "\n" if sys.argv[1:] == ["openapi"] else page()
    click.echo(wanted, nl=False)
