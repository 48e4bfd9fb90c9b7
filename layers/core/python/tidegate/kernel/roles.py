"""Who may call what: each route of both APIs with the roles that may use it. Written once: the control stack makes an
IAM policy of each role, and the command line tells by the same table which role a denied call would have needed.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Role(StrEnum):
    """What a person, or a pipeline, is there for. Each of them may also look at everything."""

    VIEWER = "viewer"  # looks at datasets, models, runs, reports and ledgers
    SCIENTIST = "scientist"  # describes datasets and models, trains, asks for predictions
    APPROVER = "approver"  # decides on what others made before it reaches users, and makes nothing itself
    OPERATOR = "operator"  # answers for what is served: rolls back, kills, resumes, splits, ends rollouts


_ALL = frozenset(Role)
_SCIENTIST = frozenset({Role.SCIENTIST})
_APPROVER = frozenset({Role.APPROVER})
_OPERATOR = frozenset({Role.OPERATOR})

# Route keys as API Gateway writes them, in the order in which they are deployed.
CONTROL: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "GET /datasets": _ALL,
        "GET /datasets/{dataset}": _ALL,
        "PUT /datasets/{dataset}": _SCIENTIST,
        "POST /datasets/{dataset}/uploads": _SCIENTIST,
        "GET /datasets/{dataset}/versions": _ALL,
        "POST /datasets/{dataset}/versions": _SCIENTIST,
        "GET /datasets/{dataset}/versions/{version}": _ALL,
        "GET /datasets/{dataset}/exclusions": _ALL,
        "POST /datasets/{dataset}/exclusions": _SCIENTIST,
        "GET /models": _ALL,
        "GET /models/{model}": _ALL,
        "PUT /models/{model}": _SCIENTIST,
        "GET /models/{model}/spec": _ALL,
        "GET /models/{model}/runs": _ALL,
        "POST /models/{model}/runs": _SCIENTIST,
        "GET /models/{model}/runs/{run}": _ALL,
        "GET /models/{model}/runs/{run}/reproduction": _ALL,
        "GET /models/{model}/versions": _ALL,
        "GET /models/{model}/versions/{version}": _ALL,
        "GET /models/{model}/versions/{version}/report": _ALL,
        "GET /models/{model}/versions/{version}/page": _ALL,
        "POST /models/{model}/versions/{version}/approval": _APPROVER,
        "POST /models/{model}/versions/{version}/reproduction": _SCIENTIST | _OPERATOR,
        "GET /models/{model}/rollouts": _ALL,
        "GET /models/{model}/rollouts/{run}": _ALL,
        "POST /models/{model}/rollout/end": _OPERATOR,
        # Not under /models/{model}, which viewers may GET: the * of an IAM policy does not stop at a slash.
        "GET /captures/{model}": _SCIENTIST | _OPERATOR,
        "GET /predictions/{prediction}": _SCIENTIST | _OPERATOR,
        "GET /models/{model}/ledger": _ALL,
        "GET /models/{model}/ledger/verification": _ALL,
        "POST /models/{model}/rollback": _OPERATOR,
        "POST /models/{model}/kill": _OPERATOR,
        "POST /models/{model}/resume": _OPERATOR,
        "POST /models/{model}/split": _OPERATOR,
        "GET /health": _ALL,
        "GET /models/{model}/health": _ALL,
        "POST /models/{model}/acknowledge": _SCIENTIST | _OPERATOR,
        "POST /batches/{model}": _SCIENTIST | _OPERATOR,
        "GET /batches/{model}": _SCIENTIST | _OPERATOR,
    }
)
SERVING: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "POST /models/{model}/predict": _SCIENTIST | _OPERATOR,
        "GET /models/{model}": _ALL,
        "GET /health": _ALL,
        "POST /models/{model}/invocations": _SCIENTIST | _OPERATOR,
        "GET /openapi.json": _ALL,
        "GET /docs": _ALL,
        "GET /models/{model}/openapi.json": _ALL,
        "GET /models/{model}/docs": _ALL,
        "GET /v2": _ALL,
        "GET /v2/health/live": _ALL,
        "GET /v2/health/ready": _ALL,
        "GET /v2/models/{model}": _ALL,
        "GET /v2/models/{model}/ready": _ALL,
        "POST /v2/models/{model}/infer": _SCIENTIST | _OPERATOR,
        "GET /v2/models/{model}/versions/{version}": _ALL,
        "GET /v2/models/{model}/versions/{version}/ready": _ALL,
        "POST /v2/models/{model}/versions/{version}/infer": _SCIENTIST | _OPERATOR,
        "POST /feedback": _SCIENTIST | _OPERATOR,
    }
)


def roles_for(routes: Mapping[str, frozenset[Role]], method: str, path: str) -> tuple[Role, ...]:
    """Which roles may make a call, in order of `Role`; none when no route answers it."""
    asked = f"{method} {path.partition('?')[0]}"
    for route, roles in routes.items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route), asked):
            return tuple(role for role in Role if role in roles)
    return ()
