"""Verifies AWS Signature Version 4, in the Authorization header or in the query of a presigned URL."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from infra.local.limits import most

ALGORITHM = "AWS4-HMAC-SHA256"
MAX_SKEW = timedelta(minutes=15)
_HEX64 = 64


class SignatureError(Exception):
    """The request is not signed, or not with the secret of the key it names."""

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """The parts of an HTTP request a signature covers. Header names are lower case; `path` and `query` are raw."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """What a request says about its own signature."""

    access_key: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    session_token: str | None
    presigned_expires_s: int | None


def read_signature(request: SignedRequest) -> Signature:
    """Raises SignatureError when there is none or it does not parse."""
    query = dict(_pairs(request.query))
    authorization = request.headers.get("authorization", "")
    if authorization.startswith(ALGORITHM):
        fields = dict(
            part.strip().partition("=")[::2] for part in authorization.removeprefix(ALGORITHM).strip().split(",")
        )
        credential, signed, signature = (fields.get(name, "") for name in ("Credential", "SignedHeaders", "Signature"))
        timestamp, token = request.headers.get("x-amz-date", ""), request.headers.get("x-amz-security-token")
        expires = None
    elif query.get("X-Amz-Algorithm") == ALGORITHM:
        credential, signed, signature = (
            query.get(name, "") for name in ("X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Signature")
        )
        timestamp, token = query.get("X-Amz-Date", ""), query.get("X-Amz-Security-Token")
        expires = int(query.get("X-Amz-Expires", "0"))
        if expires > most("presigned_seconds"):
            raise SignatureError(
                "AuthorizationQueryParametersError", "X-Amz-Expires must be less than a week (in seconds)", 400
            )
    else:
        raise SignatureError("MissingAuthenticationToken", "Missing Authentication Token")
    scope = credential.split("/")
    if len(scope) != 5 or scope[4] != "aws4_request" or not signed or not signature or not timestamp:
        raise SignatureError("IncompleteSignature", "Authorization header or query is incomplete")
    return Signature(
        access_key=scope[0],
        date=scope[1],
        region=scope[2],
        service=scope[3],
        signed_headers=tuple(signed.split(";")),
        signature=signature,
        timestamp=timestamp,
        session_token=token,
        presigned_expires_s=expires,
    )


def verify(
    request: SignedRequest,
    signature: Signature,
    secret: str,
    now: datetime | None = None,
    *,
    ahead: datetime | None = None,
) -> None:
    """Raises SignatureError when the signature, its age or the hash of the body does not hold. `ahead` is what a clock
    says that runs ahead of `now`: a signer may go by either, or by what the second one was when it began."""
    now = now or datetime.now(UTC)
    _check_age(signature, now, ahead or now)
    payload_hash = _payload_hash(request, signature)
    query = [
        (name, value)
        for name, value in _pairs(request.query)
        if not (signature.presigned_expires_s is not None and name == "X-Amz-Signature")
    ]
    canonical = "\n".join(
        [
            request.method,
            _canonical_path(request.path, signature.service),
            "&".join(f"{n}={v}" for n, v in sorted((quote(n, safe="-_.~"), quote(v, safe="-_.~")) for n, v in query)),
            *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in signature.signed_headers),
            "",
            ";".join(signature.signed_headers),
            payload_hash,
        ]
    )
    scope = f"{signature.date}/{signature.region}/{signature.service}/aws4_request"
    to_sign = "\n".join([ALGORITHM, signature.timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in (signature.date, signature.region, signature.service, "aws4_request", to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(key.hex(), signature.signature):
        raise SignatureError(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )


def _check_age(signature: Signature, now: datetime, ahead: datetime) -> None:
    try:
        signed_at = datetime.strptime(signature.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise SignatureError("IncompleteSignature", f"X-Amz-Date {signature.timestamp!r} is not a date") from None
    lifetime = timedelta(seconds=signature.presigned_expires_s or 0) or MAX_SKEW
    if now - signed_at > lifetime or signed_at - ahead > MAX_SKEW:
        raise SignatureError("RequestExpired", f"Signature expired: it was made at {signature.timestamp}")


def _payload_hash(request: SignedRequest, signature: Signature) -> str:
    if signature.presigned_expires_s is not None and signature.service == "s3":
        return "UNSIGNED-PAYLOAD"
    declared = request.headers.get("x-amz-content-sha256")
    if declared is not None and len(declared) != _HEX64:
        return declared  # UNSIGNED-PAYLOAD and STREAMING-... are signed as they stand
    actual = hashlib.sha256(request.body).hexdigest()
    if declared is not None and declared != actual:
        raise SignatureError("XAmzContentSHA256Mismatch", "The body does not have the hash that was signed")
    return actual


def _canonical_path(path: str, service: str) -> str:
    # S3 signs the path as it was sent; every other service signs it encoded once more.
    return path if service == "s3" else quote(path or "/", safe="/-_.~")


def _pairs(query: str) -> list[tuple[str, str]]:
    return [
        (unquote(name), unquote(value)) for name, _, value in (part.partition("=") for part in query.split("&") if part)
    ]
