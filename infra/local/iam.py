"""Decides whether a call is allowed, as IAM does: explicit deny, identity policies, resource policies, boundaries.

Pure: documents, a principal and a call go in, a decision comes out. Where the documents are kept is the business of
`moto_server`, what a request asks for that of `permissions`.
"""

from __future__ import annotations

import fnmatch
import functools
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Document = Mapping[str, Any]
Context = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. A service has its host name as `arn` (events.amazonaws.com); root is the cloud itself."""

    kind: Literal["user", "role", "service", "root"]
    arn: str
    account: str
    name: str
    role_arn: str | None = None
    user_id: str = ""

    def context(self) -> Context:
        """The aws:Principal... condition keys."""
        if self.kind == "service":
            return {"aws:PrincipalIsAWSService": ["true"], "aws:PrincipalServiceName": [self.arn]}
        return {
            "aws:PrincipalArn": [self.role_arn or self.arn],
            "aws:PrincipalAccount": [self.account],
            "aws:PrincipalType": ["User" if self.kind == "user" else "AssumedRole"],
            "aws:PrincipalIsAWSService": ["false"],
            "aws:userid": [self.user_id],
            **({"aws:username": [self.name]} if self.kind == "user" else {}),
        }


@dataclass(frozen=True, slots=True)
class Permission:
    """One thing a call needs. `resources` are spellings of the same resource (a log group with and without `:*`)."""

    action: str
    resources: tuple[str, ...] = ("*",)
    context: Context = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Denied:
    """Why a call is refused, in AWS's words."""

    message: str


def decide(
    principal: Principal,
    permission: Permission,
    *,
    identity: Iterable[Document],
    boundary: Document | None = None,
    resource_policy: Document | None = None,
) -> Denied | None:
    """None when allowed. Same-account rules: an identity policy or a resource policy that names the caller suffices."""
    context = {**permission.context, **principal.context()}
    verdicts = [_verdict(document, permission, context) for document in identity]
    by_resource, names_caller = _resource_verdict(resource_policy, principal, permission, context)
    bounded = boundary is None or _verdict(boundary, permission, context) == "Allow"
    if "Deny" in verdicts:
        return _denied(principal, permission, "with an explicit deny in an identity-based policy")
    if by_resource == "Deny":
        return _denied(principal, permission, "with an explicit deny in a resource-based policy")
    if by_resource == "Allow" and names_caller:
        return None
    if "Allow" not in verdicts:
        kind = "resource" if principal.kind == "service" else "identity"
        return _denied(principal, permission, f"because no {kind}-based policy allows the {permission.action} action")
    if not bounded:
        return _denied(principal, permission, "because no permissions boundary allows the action")
    return None


def trusts(trust_policy: Document, principal: Principal, permission: Permission) -> bool:
    """Whether a role's trust policy lets this principal assume it."""
    context = {**permission.context, **principal.context()}
    verdict, _ = _resource_verdict(trust_policy, principal, permission, context, whole_account_counts=True)
    return verdict == "Allow"


@functools.lru_cache(maxsize=512)
def parsed(document: str) -> Document:
    """A policy document from its JSON text."""
    policy: Document = json.loads(document)
    return policy


def _denied(principal: Principal, permission: Permission, why: str) -> Denied:
    resource = permission.resources[0]
    where = "" if resource == "*" else f" on resource: {resource}"
    return Denied(f"User: {principal.arn} is not authorized to perform: {permission.action}{where} {why}")


def _verdict(document: Document, permission: Permission, context: Context) -> str | None:
    verdict = None
    for statement in _statements(document):
        if _covers(statement, permission, context):
            if statement["Effect"] == "Deny":
                return "Deny"
            verdict = "Allow"
    return verdict


def _resource_verdict(
    document: Document | None,
    principal: Principal,
    permission: Permission,
    context: Context,
    *,
    whole_account_counts: bool = False,
) -> tuple[str | None, bool]:
    """The verdict, and whether an allowing statement names the caller itself and not just its account."""
    verdict, names_caller = None, False
    for statement in _statements(document or {}):
        match = _principal_match(statement, principal)
        if match is None or not _covers(statement, permission, context):
            continue
        if statement["Effect"] == "Deny":
            return "Deny", True
        verdict = "Allow"
        names_caller = names_caller or match == "named" or whole_account_counts
    return verdict, names_caller


def _principal_match(statement: Document, principal: Principal) -> Literal["named", "account"] | None:
    if "NotPrincipal" in statement:
        return None if _principal_match({"Principal": statement["NotPrincipal"]}, principal) else "named"
    wanted = statement.get("Principal", {})
    if wanted == "*":
        return "named"
    if principal.kind == "service":
        named = any(fnmatch.fnmatchcase(principal.arn, name) for name in _many(wanted.get("Service", [])))
        return "named" if named else None
    names = _many(wanted.get("AWS", []))
    if "*" in names or principal.arn in names or principal.role_arn in names:
        return "named"
    if principal.account in names or f"arn:aws:iam::{principal.account}:root" in names:
        return "account"
    return None


def _covers(statement: Document, permission: Permission, context: Context) -> bool:
    action = permission.action.lower()
    if "Action" in statement:
        acts = any(_like(action, pattern.lower()) for pattern in _many(statement["Action"]))
    else:
        acts = not any(_like(action, pattern.lower()) for pattern in _many(statement.get("NotAction", "*")))
    if not acts:
        return False
    if "Resource" in statement:
        patterns = [_substituted(pattern, context) for pattern in _many(statement["Resource"])]
        concerns = any(_like(resource, pattern) for pattern in patterns for resource in permission.resources)
    elif "NotResource" in statement:
        patterns = [_substituted(pattern, context) for pattern in _many(statement["NotResource"])]
        concerns = not any(_like(resource, pattern) for pattern in patterns for resource in permission.resources)
    else:
        concerns = True  # trust policies name no resource
    return concerns and _conditions_hold(statement.get("Condition", {}), context)


def _statements(document: Document) -> list[Document]:
    statements: list[Document] = _many(document.get("Statement", []))
    return statements


def _many(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


@functools.lru_cache(maxsize=8192)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern), re.DOTALL)


def _like(value: str, pattern: str) -> bool:
    return _pattern(pattern).fullmatch(value) is not None


def _substituted(pattern: str, context: Context) -> str:
    def value(match: re.Match[str]) -> str:
        values = _lookup(context, match[1])
        return values[0] if values else match[0]

    return re.sub(r"\$\{([\w:/-]+)\}", value, pattern)


def _lookup(context: Context, key: str) -> Sequence[str] | None:
    for name, values in context.items():
        if name.lower() == key.lower():
            return values
    return None


# --- conditions -------------------------------------------------------------------------------------------------------


def _date(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda actual, wanted: actual == wanted,
    "StringEqualsIgnoreCase": lambda actual, wanted: actual.lower() == wanted.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda actual, wanted: actual.lower() == wanted.lower(),
    "NumericEquals": lambda actual, wanted: float(actual) == float(wanted),
    "NumericLessThan": lambda actual, wanted: float(actual) < float(wanted),
    "NumericLessThanEquals": lambda actual, wanted: float(actual) <= float(wanted),
    "NumericGreaterThan": lambda actual, wanted: float(actual) > float(wanted),
    "NumericGreaterThanEquals": lambda actual, wanted: float(actual) >= float(wanted),
    "DateEquals": lambda actual, wanted: _date(actual) == _date(wanted),
    "DateLessThan": lambda actual, wanted: _date(actual) < _date(wanted),
    "DateLessThanEquals": lambda actual, wanted: _date(actual) <= _date(wanted),
    "DateGreaterThan": lambda actual, wanted: _date(actual) > _date(wanted),
    "DateGreaterThanEquals": lambda actual, wanted: _date(actual) >= _date(wanted),
    "IpAddress": lambda actual, wanted: ipaddress.ip_address(actual) in ipaddress.ip_network(wanted, strict=False),
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
}


def _conditions_hold(conditions: Document, context: Context) -> bool:
    return all(
        _condition_holds(operator, [_condition_text(v) for v in _many(wanted)], _lookup(context, key), context)
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def _condition_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _condition_holds(operator: str, wanted: list[str], actual: Sequence[str] | None, context: Context) -> bool:
    quantifier, _, operator = operator.rpartition(":")
    if_exists = operator.endswith("IfExists")
    operator = operator.removesuffix("IfExists")
    wanted = [_substituted(value, context) for value in wanted]
    if operator == "Null":
        return (actual is None) == (wanted[0].lower() == "true")
    if not actual:
        return if_exists or quantifier == "ForAllValues" or (operator in _NEGATED and quantifier != "ForAnyValue")
    negated = operator in _NEGATED
    compare = _COMPARISONS[_NEGATED.get(operator, operator)]

    def matches(value: str) -> bool:
        return any(compare(value, choice) for choice in wanted) != negated

    return (
        all(map(matches, actual))
        if quantifier != "ForAnyValue" and (quantifier or negated)
        else any(map(matches, actual))
    )
