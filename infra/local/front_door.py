"""The API endpoint: verifies who calls, decides whether they may, and hands the call to the part that answers it.

moto answers by itself; calls that set something in motion (Invoke, PutEvents, PutMetricData ...) go to a handler first.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from infra.local import iam, limit_checks, sigv4
from infra.local.calls import ApiCall, HttpAnswer, error_answer, read_call
from infra.local.faults import Throttle, throttled
from infra.local.http_server import HttpServer
from infra.local.http_wire import Request
from infra.local.moto_server import Caller, MotoServer
from infra.local.permissions import permissions_of

log = logging.getLogger(__name__)

Handler = Callable[[ApiCall, iam.Principal], HttpAnswer | None]
"""Answers a call itself, or returns None after having looked and leaves the answer to moto."""

Witness = Callable[[iam.Principal, iam.Permission, iam.Denied | None], None]
"""Sees who asked for what, and what was decided."""

_DENIED_WITHOUT_POLICY = ("sts:GetCallerIdentity",)


_NOT_VALID = "The security token included in the request is invalid."


class _RefusedError(Exception):
    def __init__(self, answer: HttpAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class FrontDoor:
    """Serves the AWS APIs of one account on a loopback port."""

    def __init__(self, moto: MotoServer, port: int = 0) -> None:
        self.moto = moto
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._observers: dict[tuple[str, str], Callable[[ApiCall, HttpAnswer], None]] = {}
        self._throttles: list[Throttle] = []
        self._witnesses: list[Witness] = []
        self._root = Caller(
            secret=secrets.token_hex(20),
            token=None,
            principal=iam.Principal("root", f"arn:aws:iam::{moto.account}:root", moto.account, "root"),
        )
        self._root_key = "AKIA" + secrets.token_hex(8).upper()
        self._server = HttpServer(self.answer, "local-cloud-api", port, moto.now)
        self.url, self.port = self._server.url, self._server.port

    def close(self) -> None:
        """Stops answering."""
        self._server.close()

    @property
    def root_credentials(self) -> Mapping[str, str]:
        """Credentials that are allowed everything: what the cloud itself and CloudFormation act with."""
        return {"aws_access_key_id": self._root_key, "aws_secret_access_key": self._root.secret}

    def handle(self, service: str, operation: str, handler: Handler) -> None:
        """Lets `handler` see the calls of an operation before moto does."""
        self._handlers[service, operation] = handler

    def observe(self, service: str, operation: str, observer: Callable[[ApiCall, HttpAnswer], None]) -> None:
        """Notifies `observer` of the calls of an operation that moto has answered well."""
        self._observers[service, operation] = observer

    def throttle(self, throttle: Throttle) -> None:
        """Has calls refused as `throttle` says, until it is stopped."""
        self._throttles.append(throttle)

    def witness(self, witness: Witness) -> None:
        """Shows `witness` every permission of a principal that is decided from now on."""
        self._witnesses.append(witness)

    def caller(self, access_key: str) -> Caller | None:
        """Who holds an access key."""
        return self._root if access_key == self._root_key else self.moto.caller(access_key)

    def authorize(self, principal: iam.Principal, permission: iam.Permission) -> iam.Denied | None:
        """Decides one permission of one principal, with every policy that has a say. None when it is allowed."""
        if principal.kind == "root" or permission.action in _DENIED_WITHOUT_POLICY:
            return None
        decision = self._decision(principal, permission)
        for witness in self._witnesses:
            witness(principal, permission, decision)
        return decision

    def _decision(self, principal: iam.Principal, permission: iam.Permission) -> iam.Denied | None:
        if permission.action == "sts:AssumeRole":
            trust = self.moto.trust_policy(permission.resources[0])
            if trust is None or not iam.trusts(trust, principal, permission):
                return iam.Denied(
                    f"User: {principal.arn} is not authorized to perform: sts:AssumeRole on resource: "
                    f"{permission.resources[0]}"
                )
        identity, boundary = self.moto.identity_policies(principal)
        arn = permission.resources[0]
        in_place = iam.Permission(permission.action, permission.resources, {**_REQUEST_CONTEXT, **permission.context})
        return iam.decide(
            principal,
            in_place,
            identity=identity,
            boundary=boundary,
            resource_policy=self.moto.resource_policy(arn) if arn.startswith("arn:") else None,
        )

    def authorize_service(self, service: str, action: str, resource: str, source_arn: str) -> iam.Denied | None:
        """Whether an AWS service (events.amazonaws.com) may act on a resource on behalf of `source_arn`."""
        principal = iam.Principal("service", service, self.moto.account, service)
        context = {"aws:SourceArn": [source_arn], "aws:SourceAccount": [self.moto.account]}
        return self.authorize(principal, iam.Permission(action, (resource,), context))

    # --- one request --------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> HttpAnswer:
        """The answer to a request, whichever way it came."""
        try:
            return self._answered(request)
        except Exception:
            log.exception("the local cloud failed on %s %s", request.method, request.path)
            return error_answer("rest-json", "", "InternalFailure", "The local cloud failed; its log says why.", 500)

    def _answered(self, request: Request) -> HttpAnswer:
        http = sigv4.SignedRequest(request.method, request.path, request.query, _joined(request.headers), request.body)
        host = http.headers.get("host", "127.0.0.1")
        try:
            call, principal = self._identified(http, host)
            for permission in permissions_of(call, self.moto.account) if principal.kind != "root" else ():
                denied = self.authorize(principal, permission)
                if denied:
                    return call.denied(denied.message)
        except _RefusedError as refused:
            return refused.answer
        if any(throttle.refuses(call, principal) for throttle in list(self._throttles)):
            return throttled(call)
        return self._done(call, principal, host)

    def _identified(self, http: sigv4.SignedRequest, host: str) -> tuple[ApiCall, iam.Principal]:
        try:
            signature = sigv4.read_signature(http)
        except sigv4.SignatureError as error:
            presigned = "X-Amz-Signature=" in http.query  # only S3 takes addresses that carry their signature
            protocol, service = ("rest-xml", "s3") if presigned else ("rest-json", "")
            raise _RefusedError(error_answer(protocol, service, error.code, str(error), error.status)) from None
        call = read_call(http, signature.service, signature.region, host)
        if call is None:
            message = f"The local cloud knows no such operation of {signature.service}: {http.method} {http.path}"
            raise _RefusedError(error_answer("rest-json", "", "UnknownOperationException", message, 404))
        caller = self.caller(signature.access_key)
        if caller is None:
            code = "InvalidAccessKeyId" if call.service == "s3" else "UnrecognizedClientException"
            raise _RefusedError(call.error(code, _NOT_VALID, 403))
        if caller.token != signature.session_token:
            raise _RefusedError(call.error("InvalidToken", _NOT_VALID, 403))
        try:
            sigv4.verify(http, signature, caller.secret, ahead=self.moto.now())  # functions follow the cloud's clock
        except sigv4.SignatureError as error:
            mismatch = error.code == "SignatureDoesNotMatch" and call.protocol in ("json", "rest-json")
            code = "InvalidSignatureException" if mismatch else error.code
            raise _RefusedError(call.error(code, str(error), 403)) from None
        if signature.region not in (self.moto.region, "aws-global"):
            raise _RefusedError(call.error("UnsupportedRegion", f"The local cloud is only in {self.moto.region}."))
        return call, caller.principal

    def _done(self, call: ApiCall, principal: iam.Principal, host: str) -> HttpAnswer:
        if (refused := limit_checks.refusal(call)) is not None:
            return refused
        key = (call.service, call.operation)
        if (handler := self._handlers.get(key)) and (answer := handler(call, principal)) is not None:
            return answer
        answer = self.moto.forward(call.service, call.http, host)
        if (observer := self._observers.get(key)) and answer.status < 300:
            observer(call, answer)
        return answer


# The loopback connection stands for TLS: a policy that insists on it has the cloud's word that it would be there.
_REQUEST_CONTEXT: Mapping[str, list[str]] = {"aws:SecureTransport": ["true"], "aws:SourceIp": ["127.0.0.1"]}


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, Any] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined
