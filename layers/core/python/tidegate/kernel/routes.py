"""The routes of both APIs, each written once: its path, who may call it, and what it does.

The stacks deploy these routes and make an IAM policy of each role; `tidegate.control` answers those of `CONTROL` by the
function that `Route.name` names; the client calls them by that name; docs/api.md and docs/openapi-control.json are
written from them. A new route is a line here, a function of that name and a method of the client.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote, urlencode

from tidegate.kernel.roles import Role

_ALL = frozenset(Role)
_SCIENTIST = frozenset({Role.SCIENTIST})
_APPROVER = frozenset({Role.APPROVER})
_OPERATOR = frozenset({Role.OPERATOR})
_TAKES_PART = _SCIENTIST | _OPERATOR
MOST_ON_A_PAGE = 500  # entries
_PAGE = ("after", "limit")


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    `name` is unique in its API: for the control API the module in `tidegate.control` and the function in it. `key` is
    what API Gateway calls the route, e.g. `GET /models/{model}`. `words` say what a call does, in one sentence. `query`
    are the parameters that may stand behind the path.
    """

    name: str
    key: str
    roles: frozenset[Role]
    words: str
    query: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """GET, PUT or POST."""
        return self.key.partition(" ")[0]

    @property
    def path(self) -> str:
        """With names in braces."""
        return self.key.partition(" ")[2]

    @property
    def names(self) -> tuple[str, ...]:
        """What stands in braces, in order."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))

    def address(self, *names: str, **query: str) -> str:
        """Path and query of one call; `names` take the places of those in braces.

        Raises:
            ValueError: there are more or fewer of them.
        """
        by_name = dict(zip(self.names, (quote(name, safe="") for name in names), strict=True))
        path = self.path.format(**by_name)
        return f"{path}?{urlencode(query)}" if query else path


def _table(*routes: Route) -> Mapping[str, Route]:
    return MappingProxyType({route.name: route for route in routes})


# By name, in the order in which they are deployed.
CONTROL = _table(
    Route("datasets.list_datasets", "GET /datasets", _ALL, "List datasets by name.", _PAGE),
    Route("datasets.show_dataset", "GET /datasets/{dataset}", _ALL, "Show a dataset's description."),
    Route("datasets.describe_dataset", "PUT /datasets/{dataset}", _SCIENTIST, "Create or replace a description."),
    Route(
        "datasets.plan_uploads",
        "POST /datasets/{dataset}/uploads",
        _SCIENTIST,
        "Get an upload address for each file that is not stored yet.",
    ),
    Route(
        "datasets.list_versions",
        "GET /datasets/{dataset}/versions",
        _ALL,
        "List a dataset's versions, newest first.",
        _PAGE,
    ),
    Route(
        "datasets.add_version",
        "POST /datasets/{dataset}/versions",
        _SCIENTIST,
        "Register uploaded files as a version.",
    ),
    Route(
        "datasets.show_version",
        "GET /datasets/{dataset}/versions/{version}",
        _ALL,
        "Show a version's schema and profile.",
    ),
    Route(
        "datasets.list_exclusions", "GET /datasets/{dataset}/exclusions", _ALL, "List excluded periods by start.", _PAGE
    ),
    Route(
        "datasets.exclude_period",
        "POST /datasets/{dataset}/exclusions",
        _SCIENTIST,
        "Exclude a period from training and evaluation.",
    ),
    Route("models.list_models", "GET /models", _ALL, "List models by name.", _PAGE),
    Route("models.show_model", "GET /models/{model}", _ALL, "Show a model and what it serves."),
    Route(
        "models.apply_model",
        "PUT /models/{model}",
        _SCIENTIST,
        "Make a spec (YAML or JSON) the current one; with `check=true` only say what is wrong with it.",
        ("check",),
    ),
    Route(
        "models.show_spec",
        "GET /models/{model}/spec",
        _ALL,
        "Show the current spec, or the one with a digest.",
        ("digest",),
    ),
    Route("runs.list_runs", "GET /models/{model}/runs", _ALL, "List runs, newest first.", (*_PAGE, "status")),
    Route("runs.start_run", "POST /models/{model}/runs", _SCIENTIST, "Start a run, once per idempotency token."),
    Route("runs.show_run", "GET /models/{model}/runs/{run}", _ALL, "Show a run."),
    Route(
        "runs.show_reproduction",
        "GET /models/{model}/runs/{run}/reproduction",
        _ALL,
        "Show the result of a run that reproduces a version.",
    ),
    Route(
        "versions.list_versions",
        "GET /models/{model}/versions",
        _ALL,
        "List versions, newest first.",
        (*_PAGE, "status"),
    ),
    Route("versions.show_version", "GET /models/{model}/versions/{version}", _ALL, "Show a version."),
    Route(
        "versions.read_report",
        "GET /models/{model}/versions/{version}/report",
        _ALL,
        "Read the report of the gate.",
    ),
    Route(
        "versions.read_page",
        "GET /models/{model}/versions/{version}/page",
        _ALL,
        "Read the page for approvers, as HTML.",
    ),
    Route(
        "versions.decide",
        "POST /models/{model}/versions/{version}/approval",
        _APPROVER,
        "Approve or reject a version.",
    ),
    Route(
        "runs.start_reproduction",
        "POST /models/{model}/versions/{version}/reproduction",
        _TAKES_PART,
        "Start a run that reproduces a version.",
    ),
    Route(
        "rollouts.list_rollouts",
        "GET /models/{model}/rollouts",
        _ALL,
        "List rollouts, newest first.",
        (*_PAGE, "status"),
    ),
    Route("rollouts.show_rollout", "GET /models/{model}/rollouts/{run}", _ALL, "Show a run's rollout."),
    Route("rollouts.end_rollout", "POST /models/{model}/rollout/end", _OPERATOR, "End the rollout or run under way."),
    # These two not under /models/{model}, which viewers may GET: the * of an IAM policy does not stop at a slash.
    Route(
        "captures.list_captures",
        "GET /captures/{model}",
        _TAKES_PART,
        "List captured predictions of an hour.",
        (*_PAGE, "hour"),
    ),
    Route(
        "predictions.explain",
        "GET /predictions/{model}/{prediction}",
        _TAKES_PART,
        "Explain a captured prediction.",
    ),
    Route(
        "served.show_ledger",
        "GET /models/{model}/ledger",
        _ALL,
        "List the ledger's entries and those of batches, or show what served at a moment.",
        (*_PAGE, "order", "since", "until", "at"),
    ),
    Route(
        "served.verify_ledger",
        "GET /models/{model}/ledger/verification",
        _ALL,
        "Verify the ledger's chain against what is served, section by section.",
        ("after",),
    ),
    Route(
        "served.acknowledge_ledger",
        "POST /models/{model}/ledger/acknowledgement",
        _OPERATOR,
        "Record that somebody has looked into what breaks the ledger.",
    ),
    Route("served.roll_back", "POST /models/{model}/rollback", _OPERATOR, "Let an earlier version serve again."),
    Route("served.kill", "POST /models/{model}/kill", _OPERATOR, "Let the fallback answer every request."),
    Route("served.resume", "POST /models/{model}/resume", _OPERATOR, "Let the champion of a killed model serve again."),
    Route("served.split", "POST /models/{model}/split", _OPERATOR, "Give a version a fixed share, or end that."),
    Route("served.read_split", "GET /models/{model}/split", _ALL, "Show which version of a split is better."),
    Route("health.list_health", "GET /health", _ALL, "List the health of all models.", (*_PAGE, "owner", "health")),
    Route("health.show_health", "GET /models/{model}/health", _ALL, "Show a model's health and its findings."),
    Route(
        "health.acknowledge",
        "POST /models/{model}/acknowledge",
        _TAKES_PART,
        "Acknowledge that a model needs redesign.",
    ),
    Route("batches.start_batch", "POST /batches/{model}", _TAKES_PART, "Score files in S3, or resume a batch."),
    Route("batches.show_batch", "GET /batches/{model}", _TAKES_PART, "Show the batch of an output.", ("output",)),
)

SERVING = _table(
    Route("predict", "POST /models/{model}/predict", _TAKES_PART, "Score instances."),
    Route("describe", "GET /models/{model}", _ALL, "Show the version that serves and its contract."),
    Route("health", "GET /health", _ALL, "Check that the function runs."),
    Route("invocations", "POST /models/{model}/invocations", _TAKES_PART, "Score by MLflow's protocol."),
    Route("api_document", "GET /openapi.json", _ALL, "Read the API's OpenAPI document."),
    Route("api_page", "GET /docs", _ALL, "Read the document as a page."),
    Route("model_document", "GET /models/{model}/openapi.json", _ALL, "Read a model's OpenAPI document."),
    Route("model_page", "GET /models/{model}/docs", _ALL, "Read the document as a page."),
    Route("v2.server", "GET /v2", _ALL, "Open Inference Protocol: server metadata."),
    Route("v2.live", "GET /v2/health/live", _ALL, "Open Inference Protocol: liveness."),
    Route("v2.ready", "GET /v2/health/ready", _ALL, "Open Inference Protocol: readiness."),
    Route("v2.model", "GET /v2/models/{model}", _ALL, "Open Inference Protocol: model metadata."),
    Route("v2.model_ready", "GET /v2/models/{model}/ready", _ALL, "Open Inference Protocol: model readiness."),
    Route("v2.infer", "POST /v2/models/{model}/infer", _TAKES_PART, "Open Inference Protocol: score tensors."),
    Route(
        "v2.version",
        "GET /v2/models/{model}/versions/{version}",
        _ALL,
        "Open Inference Protocol: metadata of one version.",
    ),
    Route(
        "v2.version_ready",
        "GET /v2/models/{model}/versions/{version}/ready",
        _ALL,
        "Open Inference Protocol: readiness of one version.",
    ),
    Route(
        "v2.version_infer",
        "POST /v2/models/{model}/versions/{version}/infer",
        _TAKES_PART,
        "Open Inference Protocol: score tensors by one version.",
    ),
    Route("feedback", "POST /models/{model}/feedback", _TAKES_PART, "Report the outcomes of predictions."),
    Route(
        "corrections",
        "POST /models/{model}/feedback/corrections",
        _OPERATOR,
        "Replace outcomes that others reported.",
    ),
)
