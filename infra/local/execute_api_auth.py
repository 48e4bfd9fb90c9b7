"""Who signed a request to an HTTP API: Signature Version 4 for the service execute-api, checked in full."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from infra.local.http_api import Caller
from infra.local.http_wire import Request
from infra.local.sigv4 import Signature, SignatureError, SignedRequest, read_signature, verify

SERVICE = "execute-api"
MAX_SKEW = timedelta(minutes=5)


class NotAuthenticatedError(Exception):
    """Why the signature is not accepted; the client only sees Forbidden."""


def authenticate(
    request: Request,
    credentials: Callable[[str], Caller | None],
    *,
    region: str | None = None,
    now: datetime | None = None,
) -> Caller:
    """The caller whose secret signed this request, its query, its signed headers and its body.

    Args:
        credentials: finds the holder of an access key.
        region: what the signature's scope must name; None takes any.
        now: for tests.

    Raises:
        NotAuthenticatedError: no signature, or one that does not hold.
    """
    headers: dict[str, str] = {}
    for name, value in request.headers:
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    signed = SignedRequest(request.method, request.path, request.query, headers, request.body)
    try:
        signature = read_signature(signed)
        _check_scope(signature, region, now or datetime.now(UTC))
        caller = credentials(signature.access_key)
        if caller is None:
            raise NotAuthenticatedError(f"there is no access key {signature.access_key}")
        if caller.session_token != signature.session_token:
            raise NotAuthenticatedError("the session token does not match the access key")
        if "x-amz-content-sha256" in headers and len(headers["x-amz-content-sha256"]) != 64:
            raise NotAuthenticatedError("this service does not accept unsigned or streamed bodies")
        verify(signed, signature, caller.secret, now)
    except SignatureError as fault:
        raise NotAuthenticatedError(str(fault)) from fault
    except (ValueError, OverflowError) as fault:
        raise NotAuthenticatedError(f"the signature is malformed: {fault}") from fault
    return caller


def _check_scope(signature: Signature, region: str | None, now: datetime) -> None:
    if signature.service != SERVICE:
        raise NotAuthenticatedError(f"the signature is for service {signature.service}, not {SERVICE}")
    if region is not None and signature.region != region:
        raise NotAuthenticatedError(f"the signature is for region {signature.region}, not {region}")
    if "host" not in signature.signed_headers:
        raise NotAuthenticatedError("the header host is not signed")
    if not signature.timestamp.startswith(signature.date):
        raise NotAuthenticatedError("the date of the credential scope is not the date of the request")
    if signature.presigned_expires_s is None:
        signed_at = datetime.strptime(signature.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs(now - signed_at) > MAX_SKEW:
            raise NotAuthenticatedError(f"signed at {signature.timestamp}, more than five minutes from now")
