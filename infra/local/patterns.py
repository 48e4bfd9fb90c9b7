"""EventBridge event patterns and input transformation; pure."""

from __future__ import annotations

import ipaddress
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_MISSING: Any = object()
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}


class PatternError(ValueError):
    """A pattern uses an operator that EventBridge, or the local cloud, does not have."""


def matches(pattern: Mapping[str, Any], event: Any) -> bool:
    """Whether an event matches: every field of the pattern, any value of each field."""
    for key, wanted in pattern.items():
        if key == "$or":
            if not any(matches(choice, event) for choice in wanted):
                return False
            continue
        value = event.get(key, _MISSING) if isinstance(event, Mapping) else _MISSING
        if isinstance(wanted, Mapping):
            # An array of objects matches when one of them does.
            candidates = value if isinstance(value, list) else [value]
            if not any(matches(wanted, {} if item is _MISSING else item) for item in candidates):
                return False
        elif not _any_filter(wanted, value):
            return False
    return True


def _any_filter(filters: Sequence[Any], value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(_filter(f, values) for f in filters)


def _filter(wanted: Any, values: list[Any]) -> bool:
    if not isinstance(wanted, Mapping):
        return any(_same(wanted, value) for value in values)
    (name, argument), *more = wanted.items()
    if more:
        raise PatternError(f"a filter has one operator, not {list(wanted)}")
    if name == "exists":
        # Only of leaves: an object is not there itself, as little as on AWS.
        return bool(argument) == any(value is not _MISSING and not isinstance(value, Mapping) for value in values)
    present = [value for value in values if value is not _MISSING]
    if name == "anything-but":
        return bool(present) and not any(_excluded(argument, value) for value in present)
    return any(_named(name, argument, value) for value in present)


def _same(wanted: Any, value: Any) -> bool:
    if value is _MISSING or isinstance(wanted, bool) != isinstance(value, bool):
        return False  # in Python True equals 1, in JSON it does not
    return bool(wanted == value)


def _excluded(argument: Any, value: Any) -> bool:
    if isinstance(argument, Mapping):
        ((name, inner),) = argument.items()
        choices = inner if isinstance(inner, list) else [inner]
        return any(_named(name, choice, value) for choice in choices)
    return any(_same(item, value) for item in (argument if isinstance(argument, list) else [argument]))


def _named(name: str, argument: Any, value: Any) -> bool:
    match name:
        case "prefix" | "suffix":
            if isinstance(argument, Mapping):
                argument, value = argument["equals-ignore-case"].lower(), str(value).lower()
            ends = str(value).startswith if name == "prefix" else str(value).endswith
            return isinstance(value, str) and ends(argument)
        case "equals-ignore-case":
            return isinstance(value, str) and value.lower() == argument.lower()
        case "wildcard":
            return isinstance(value, str) and re.fullmatch(re.escape(argument).replace(r"\*", ".*"), value) is not None
        case "numeric":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return number and all(_COMPARE[o](value, n) for o, n in zip(argument[::2], argument[1::2], strict=True))
        case "cidr":
            try:
                return ipaddress.ip_address(value) in ipaddress.ip_network(argument)
            except ValueError:
                return False
    raise PatternError(f"event pattern operator {name!r} is unknown")


def target_input(target: Mapping[str, Any], event: Mapping[str, Any], rule_arn: str) -> Any:
    """What a target is sent: its constant Input, the part at InputPath, a transformed text, or the event itself."""
    if "Input" in target:
        return _loads(target["Input"])
    if "InputPath" in target:
        return at_path(target["InputPath"], event)
    if "InputTransformer" in target:
        transformer = target["InputTransformer"]
        return _transformed(transformer["InputTemplate"], transformer.get("InputPathsMap", {}), event, rule_arn)
    return event


def at_path(path: str, event: Any) -> Any:
    """The value at a JSONPath of the simple kind EventBridge takes: $.detail.items[0].name; None when there is none."""
    value = event
    for name, index in re.findall(r"\.([\w$-]+)|\[(\d+)\]", path.removeprefix("$")):
        try:
            value = value[int(index)] if index else value[name]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _transformed(template: str, paths: Mapping[str, str], event: Mapping[str, Any], rule_arn: str) -> Any:
    values = {name: at_path(path, event) for name, path in paths.items()}
    values |= {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule_arn.rsplit("/", 1)[-1],
        "aws.events.event.ingestion-time": event.get("time"),
        "aws.events.event": {**event, "detail": None},
        "aws.events.event.json": event,
    }

    def quoted(match: re.Match[str]) -> str:
        inside = match[0][1:-1]
        return '"' + re.sub(r"<([\w.-]+)>", lambda m: _in_string(values.get(m[1])), inside) + '"'

    # Within quotes a value becomes text; outside it stays JSON, so a number is a number and an object an object.
    text = re.sub(r'"(?:[^"\\]|\\.)*"', quoted, template)
    text = re.sub(r"<([\w.-]+)>", lambda m: json.dumps(values.get(m[1])), text)
    return _loads(text)


def _in_string(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return json.dumps(text)[1:-1]


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
