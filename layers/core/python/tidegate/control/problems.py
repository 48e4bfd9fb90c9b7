"""Refusals of the control API: `application/problem+json` (RFC 9457) with every fault in `errors` and a `next_step`."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from aws_lambda_powertools.event_handler import Response

from tidegate.control.call import At
from tidegate.kernel import english
from tidegate.kernel.errors import (
    ArtifactRejectedError,
    ConflictError,
    Fault,
    ForbiddenError,
    InvalidInputError,
    LedgerBrokenError,
    NewerDocumentError,
    NotFoundError,
    RequestInvalidError,
    UnavailableError,
)
from tidegate.kernel.fault_words import did_you_mean
from tidegate.steps.pages import first_names
from tidegate.telemetry import logger

RETRY_AFTER_SECONDS = 2
MAX_FAULTS = 500  # listed in one answer, which has at most 6 MB


def with_near_names(error: NotFoundError, path: Mapping[str, str], at: At) -> NotFoundError:
    """The error, with a hint if it is the model or the dataset of the path that does not exist."""
    name = path.get("model") or path.get("dataset")
    if name is None:
        return error
    try:
        at.registry.model(name) if "model" in path else at.catalog.dataset(name)
    except NotFoundError:
        names = first_names(at.registry.models) if "model" in path else first_names(at.catalog.datasets)
        return NotFoundError(f"{error.message}{did_you_mean(name, names)}", next_step=error.next_step)
    return error


def refusal(error: Exception, request_id: str) -> Response[str]:  # noqa: PLR0911  one for each kind of error
    """The answer to a request that failed. A fault of ours is logged and reported to the caller without its inside."""
    match error:
        case InvalidInputError():
            status = HTTPStatus(error.status) if isinstance(error, RequestInvalidError) else None
            listed = [fault.to_json() for fault in error.faults[:MAX_FAULTS]]
            if more := len(error.faults) - len(listed):
                said = english.count(more, "more fault is not listed", "more faults are not listed")
                listed.append(Fault("", said).to_json())
            status = status or HTTPStatus.UNPROCESSABLE_ENTITY
            return problem(request_id, status, error.summary, errors=listed, next_step=error.next_step)
        case NotFoundError():
            return problem(request_id, HTTPStatus.NOT_FOUND, error.message, next_step=error.next_step)
        case ForbiddenError():
            return problem(request_id, HTTPStatus.FORBIDDEN, error.message, next_step=error.next_step)
        case ConflictError():
            next_step = error.next_step or "read it again, then decide again"
            return problem(request_id, HTTPStatus.CONFLICT, error.message, next_step=next_step)
        case UnavailableError():
            logger("control").warning("unavailable", exc_info=error)
            next_step = error.next_step or "try again in a moment"
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            status = HTTPStatus.SERVICE_UNAVAILABLE
            return problem(request_id, status, error.message, next_step=next_step, headers=headers)
        case ArtifactRejectedError() | LedgerBrokenError() | NewerDocumentError():
            changed = "somebody changed it after it was stored; train the model again"
            return _broken(request_id, error, error.message, error.next_step or changed)
        case _:
            return _broken(request_id, error, "something failed on our side")


def _broken(request_id: str, error: Exception, detail: str, next_step: str = "") -> Response[str]:
    logger("control").error("request failed", exc_info=error)
    return problem(request_id, HTTPStatus.INTERNAL_SERVER_ERROR, detail, next_step=next_step)


def problem(
    request_id: str,
    status: HTTPStatus,
    detail: str,
    *,
    errors: list[dict[str, object]] | None = None,
    next_step: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response[str]:
    """One problem document."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "instance": f"urn:uuid:{request_id}",
        "detail": detail,
        "errors": errors or [],
        "next_step": next_step,
    }
    return Response(status.value, "application/problem+json", json.dumps(body), headers=dict(headers or {}))
