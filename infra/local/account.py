"""What people ask of an account before they trust it: its quotas, what its roles may, and what X-Ray has seen.

moto has none of it. Each answer comes from the parts of the local cloud that hold the limit, decide the permission or
run the function.

docs.aws.amazon.com/lambda/latest/api/API_GetAccountSettings.html
docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
docs.aws.amazon.com/xray/latest/api/API_GetTraceSummaries.html
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

from infra.local import iam
from infra.local.calls import ApiCall, HttpAnswer
from infra.local.functions import Invocation
from infra.local.moto_server import MotoServer

CODE_BYTES = 80_530_636_800
MOST_TRACES = 10_000
_FUNCTION = re.compile(r'\s*service\("([^"]+)"\)\s*')
_QUOTAS = {("lambda", "L-B99A9384"): "Concurrent executions", ("apigateway", "L-8A5B8E43"): "Throttle rate"}
_REQUESTS_A_SECOND = 10_000


class Account:
    """Answers for one account.

    Args:
        functions: the properties of every function, by name, as the templates have them now.
        concurrency: how many invocations the account may have at a time.
        now: the cloud's time, in seconds since the epoch.
    """

    def __init__(
        self,
        moto: MotoServer,
        functions: Mapping[str, Mapping[str, Any]],
        concurrency: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._moto = moto
        self._functions = functions
        self._concurrency = concurrency
        self._now = now
        self._seen: deque[tuple[str, float, float]] = deque(maxlen=MOST_TRACES)

    def invoked(self, function: str, invocation: Invocation) -> None:
        """Takes note of an invocation, for its trace."""
        self._seen.append((function, self._now(), invocation.duration_ms / 1000))

    def settings(self, _call: ApiCall, _principal: iam.Principal) -> HttpAnswer:
        """Lambda's GetAccountSettings."""
        reserved = sum(self._reserve(name) or 0 for name in self._functions)
        limit = {
            "TotalCodeSize": CODE_BYTES,
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": self._concurrency,
            "UnreservedConcurrentExecutions": self._concurrency - reserved,
        }
        return _json(
            {"AccountLimit": limit, "AccountUsage": {"TotalCodeSize": 0, "FunctionCount": len(self._functions)}}
        )

    def reserve(self, call: ApiCall, _principal: iam.Principal) -> HttpAnswer | None:
        """Lambda's GetFunctionConcurrency; moto answers for a function that does not exist."""
        name = str(call.params["FunctionName"]).rpartition(":")[2]
        if name not in self._functions:
            return None
        reserve = self._reserve(name)
        return _json({} if reserve is None else {"ReservedConcurrentExecutions": reserve})

    def quota(self, call: ApiCall, _principal: iam.Principal) -> HttpAnswer | None:
        """Service Quotas' GetServiceQuota, of those the local cloud knows; moto answers for the others."""
        service, code = str(call.params["ServiceCode"]), str(call.params["QuotaCode"])
        name = _QUOTAS.get((service, code))
        if name is None:
            return None
        value = self._concurrency if service == "lambda" else _REQUESTS_A_SECOND
        quota = {"ServiceCode": service, "QuotaCode": code, "QuotaName": name, "Value": value, "Adjustable": True}
        return _json({"Quota": quota})

    def simulated(self, call: ApiCall, _principal: iam.Principal) -> HttpAnswer:
        """IAM's SimulatePrincipalPolicy: as on AWS only the principal's own policies have a say, unless others are
        given; the local cloud takes none."""
        arn = str(call.params["PolicySourceArn"])
        if self._moto.trust_policy(arn) is None:
            return call.error("NoSuchEntity", f"The role {arn} cannot be found.", 404)
        principal = iam.Principal("role", arn, self._moto.account, arn.rpartition("/")[2], arn)
        identity, boundary = self._moto.identity_policies(principal)
        context = {
            entry["ContextKeyName"]: [str(value) for value in entry["ContextKeyValues"]]
            for entry in call.params.get("ContextEntries", [])
        }
        members = []
        for action in call.params["ActionNames"]:
            for resource in call.params.get("ResourceArns") or ["*"]:
                permission = iam.Permission(action, (resource,), context)
                denied = iam.decide(principal, permission, identity=identity, boundary=boundary)
                kind = "explicitDeny" if denied and "explicit deny" in denied.message else "implicitDeny"
                fields = {
                    "EvalActionName": action,
                    "EvalResourceName": resource,
                    "EvalDecision": kind if denied else "allowed",
                }
                shown = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
                members.append(f"<member>{shown}</member>")
        name = "SimulatePrincipalPolicy"
        body = (
            f'<{name}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><{name}Result>'
            f"<IsTruncated>false</IsTruncated><EvaluationResults>{''.join(members)}</EvaluationResults>"
            f"</{name}Result></{name}Response>"
        )
        return HttpAnswer(200, {"Content-Type": "text/xml"}, body.encode())

    def traces(self, call: ApiCall, _principal: iam.Principal) -> HttpAnswer:
        """X-Ray's GetTraceSummaries of one function. Lambda records a segment of each invocation if the function is
        traced and its role may write segments."""
        match = _FUNCTION.fullmatch(str(call.params.get("FilterExpression", "")))
        if match is None:
            return call.error("InvalidRequestException", 'The local cloud supports only the filter service("NAME").')
        start, end = (_seconds(call.params[name]) for name in ("StartTime", "EndTime"))
        seen = [each for each in self._seen if each[0] == match[1] and start <= each[1] <= end]
        traced = [
            {"Id": f"1-{int(at):08x}-{secrets.token_hex(12)}", "Duration": seconds, "ResponseTime": seconds}
            for _, at, seconds in (seen if self._is_traced(match[1]) else [])
        ]
        return _json({"TraceSummaries": traced, "TracesProcessedCount": len(traced), "ApproximateTime": int(end)})

    def _reserve(self, function: str) -> int | None:
        reserved = self._functions[function].get("ReservedConcurrentExecutions")
        return None if reserved is None else int(reserved)

    def _is_traced(self, function: str) -> bool:
        properties = self._functions.get(function, {})
        if properties.get("TracingConfig", {}).get("Mode") != "Active":
            return False
        role = str(properties["Role"])
        principal = iam.Principal("role", role, self._moto.account, role.rpartition("/")[2], role)
        identity, boundary = self._moto.identity_policies(principal)
        writing = iam.Permission("xray:PutTraceSegments")
        return iam.decide(principal, writing, identity=identity, boundary=boundary) is None


def _seconds(moment: Any) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)


def _json(document: Mapping[str, Any]) -> HttpAnswer:
    return HttpAnswer(200, {"Content-Type": "application/json"}, json.dumps(document).encode())
