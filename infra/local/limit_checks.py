"""Refuses what is over a limit of AWS and moto would take: a call before moto sees it, a resource before it is made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from infra.local.calls import ApiCall, HttpAnswer
from infra.local.limits import LIMITS, most


def refusal(call: ApiCall) -> HttpAnswer | None:
    """AWS's refusal of a call that is over a limit; None when it is within all of them."""
    check = _CALLS.get((call.service, call.operation))
    return check(call) if check else None


def fault(type_name: str, properties: Callable[[], Mapping[str, Any]]) -> str | None:
    """What AWS would say of a resource of a template that is over a limit; None when it is within all of them."""
    check = _RESOURCES.get(type_name)
    return check(properties()) if check else None


def reservation_fault(reserved: Mapping[str, int], concurrency: int) -> str | None:
    """What AWS would say of these reserves, by function, in an account of that concurrency; None when it has room."""
    free, least = concurrency, min(most("unreserved_concurrency"), concurrency)
    for function, count in reserved.items():
        free -= count
        if free < least:
            return (
                f"{function} (AWS::Lambda::Function): Specified ReservedConcurrentExecutions for function decreases "
                f"account's UnreservedConcurrentExecution below its minimum value of [{least}]."
            )
    return None


def policy_characters(document: Any) -> int:
    """Characters of a policy as IAM counts them: without white space."""
    text = document if isinstance(document, str) else json.dumps(document)
    return sum(not character.isspace() for character in text)


# --- calls ------------------------------------------------------------------------------------------------------------


def _too_long(call: ApiCall, name: str, value: str, limit: int) -> HttpAnswer | None:
    if len(value.encode()) <= limit:
        return None
    return call.error(
        "ValidationException",
        f"1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must have length less "
        f"than or equal to {limit}",
    )


def _start_execution(call: ApiCall) -> HttpAnswer | None:
    return _too_long(call, "input", str(call.params.get("input") or "{}"), most("execution_input"))


def _task_success(call: ApiCall) -> HttpAnswer | None:
    return _too_long(call, "output", str(call.params.get("output") or ""), most("state_data"))


def _put_metric_alarm(call: ApiCall) -> HttpAnswer | None:
    used = sum("MetricStat" in query for query in call.params.get("Metrics") or ())
    if used <= most("alarm_metrics"):
        return None
    return call.error(
        "ValidationError",
        f"Metrics list contains {used} metrics; an alarm can reference at most {most('alarm_metrics')}",
    )


def _transact_write(call: ApiCall) -> HttpAnswer | None:
    actions = [next(iter(action.values())) for action in call.params["TransactItems"]]
    if answer := _over_expressions(call, actions):
        return answer
    sizes = [_item_bytes(action["Item"] if "Item" in action else _values(action)) for action in actions]
    if sum(sizes) > most("transaction_bytes"):
        return call.error("ValidationException", "Transaction request exceeds the maximum aggregate size of 4 MB")
    return _over_items(call, sizes)


def _write(call: ApiCall) -> HttpAnswer | None:
    action = call.params
    sizes = [_item_bytes(action["Item"] if "Item" in action else _values(action))]
    return _over_expressions(call, [action]) or _over_items(call, sizes)


def _read(call: ApiCall) -> HttpAnswer | None:
    return _over_expressions(call, [call.params])


def _over_items(call: ApiCall, sizes: Iterable[int]) -> HttpAnswer | None:
    if max(sizes, default=0) <= most("item_bytes"):
        return None
    return call.error("ValidationException", "Item size has exceeded the maximum allowed size")


def _over_expressions(call: ApiCall, actions: Iterable[Mapping[str, Any]]) -> HttpAnswer | None:
    for action in actions:
        for name, text in action.items():
            if name.endswith("Expression") and len(str(text).encode()) > most("expression_bytes"):
                return call.error(
                    "ValidationException",
                    f"Invalid {name}: Expression size has exceeded the maximum allowed size; expression size: "
                    f"{len(str(text).encode())}",
                )
    return None


def _values(action: Mapping[str, Any]) -> dict[str, Any]:
    """What an update brings; the item that it changes may have more."""
    return {**action.get("Key", {}), **action.get("ExpressionAttributeValues", {})}


def _item_bytes(item: Mapping[str, Any]) -> int:
    return sum(len(name.encode()) + _attribute_bytes(value) for name, value in item.items())


def _attribute_bytes(value: Mapping[str, Any]) -> int:  # noqa: PLR0911  one for each type
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return (len(str(content).strip("-").replace(".", "")) + 1) // 2 + 1
        case "B":
            return len(content)
        case "L":
            return 3 + sum(1 + _attribute_bytes(entry) for entry in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _attribute_bytes(entry) for name, entry in content.items())
        case "SS" | "NS" | "BS":
            return sum(map(len, content))
        case _:
            return 1


def _put_events(call: ApiCall) -> HttpAnswer | None:
    size = sum(
        len(str(entry.get(part) or "").encode())
        for entry in call.params["Entries"]
        for part in ("Source", "DetailType", "Detail")
    )
    if size <= most("event_entry"):
        return None
    return call.error("ValidationException", f"Total size of the entries in the request is over the limit: {size}")


def _publish(call: ApiCall) -> HttpAnswer | None:
    if len(str(call.params.get("Message", "")).encode()) <= most("notification"):
        return None
    return call.error("InvalidParameter", "Invalid parameter: Message too long")


_CALLS: Mapping[tuple[str, str], Callable[[ApiCall], HttpAnswer | None]] = {
    ("cloudwatch", "PutMetricAlarm"): _put_metric_alarm,
    ("dynamodb", "TransactWriteItems"): _transact_write,
    ("dynamodb", "PutItem"): _write,
    ("dynamodb", "UpdateItem"): _write,
    ("dynamodb", "DeleteItem"): _read,
    ("dynamodb", "Query"): _read,
    ("dynamodb", "Scan"): _read,
    ("events", "PutEvents"): _put_events,
    ("sns", "Publish"): _publish,
    ("stepfunctions", "StartExecution"): _start_execution,
    ("stepfunctions", "SendTaskSuccess"): _task_success,
}


# --- resources of templates -------------------------------------------------------------------------------------------


def _over(name: str, found: int) -> str | None:
    limit = LIMITS[name]
    return None if found <= limit.number else f"{limit.what}: {found} {limit.unit}, at most {limit.number}"


def _managed_policy(properties: Mapping[str, Any]) -> str | None:
    found = _over("managed_policy", policy_characters(properties["PolicyDocument"]))
    return found and f"Cannot exceed quota for PolicySize: {most('managed_policy')} ({found})"


def _role(properties: Mapping[str, Any]) -> str | None:
    inline = sum(policy_characters(each["PolicyDocument"]) for each in properties.get("Policies", ()))
    trust = policy_characters(properties["AssumeRolePolicyDocument"])
    found = (
        _over("trust_policy", trust)
        or _over("inline_policies", inline)
        or _over("role_policies", len(properties.get("ManagedPolicyArns", ())))
    )
    return found and f"LimitExceeded: {found}"


def _inline_policy(properties: Mapping[str, Any]) -> str | None:
    found = _over("inline_policies", policy_characters(properties["PolicyDocument"]))
    return found and f"LimitExceeded: {found}"


def _function(properties: Mapping[str, Any]) -> str | None:
    variables = properties.get("Environment", {}).get("Variables", {})
    size = sum(len(str(name).encode()) + len(str(value).encode()) for name, value in variables.items())
    if size > most("environment"):
        return (
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit ({size} bytes)"
        )
    return _over("layers", len(properties.get("Layers", ())))


_RESOURCES: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "AWS::IAM::ManagedPolicy": _managed_policy,
    "AWS::IAM::Policy": _inline_policy,
    "AWS::IAM::Role": _role,
    "AWS::Lambda::Function": _function,
}
