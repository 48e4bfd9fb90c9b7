"""Estimators inside estimators, as a spec spells them.

    parameters: {method: isotonic, estimator: {of: sklearn.svm.LinearSVC, parameters: {C: 0.1}}}

A parameter that takes several has a list. What stands inside may itself hold others.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tidegate.kernel.errors import Fault
from tidegate.kernel.fault_words import did_you_mean, spelled
from tidegate.spec.estimators.estimator import Estimator, Inner
from tidegate.spec.estimators.registry import ESTIMATORS, why_not
from tidegate.spec.part import Task

OF, PARAMETERS = "of", "parameters"


def is_nested(value: object) -> bool:
    """Whether a value spells an estimator that exists."""
    return (
        isinstance(value, dict)
        and value.keys() <= {OF, PARAMETERS}
        and isinstance(value.get(OF), str)
        and value[OF] in ESTIMATORS
        and isinstance(value.get(PARAMETERS, {}), dict)
    )


def inside(inner: Inner, value: Any) -> Sequence[Any]:
    """What a parameter holds: estimators as they are spelt, or what stands in their place."""
    if value is None:
        return ()
    return value if inner.many and isinstance(value, list) else (value,)


def facts_of(name: str, parameters: Mapping[str, Any]) -> Estimator:
    """What is known of an estimator with what it holds."""
    facts = ESTIMATORS[name]
    return facts.around(
        [
            facts_of(each[OF], each.get(PARAMETERS, {}))
            for inner in facts.inner
            if inner.features
            for each in inside(inner, parameters.get(inner.parameter))
            if is_nested(each)
        ]
    )


def text_of(parameters: Mapping[str, Any], between: str = ", ", number: Callable[[Any], str] = str) -> str:
    """Parameters on one line, by name: `C=0.1, estimator=LinearSVC(C=0.1)`."""
    return between.join(f"{name}={_text(value, number)}" for name, value in parameters.items())


def _text(value: Any, number: Callable[[Any], str]) -> str:
    if isinstance(value, list) and any(is_nested(each) for each in value):
        return f"[{', '.join(_text(each, number) for each in value)}]"
    if is_nested(value):
        return f"{ESTIMATORS[value[OF]].title}({text_of(value.get(PARAMETERS, {}), number=number)})"
    return number(value)


def parameter_faults(
    path: str, name: str, parameters: Mapping[str, Any], grid: Mapping[str, Sequence[Any]], *, nested: bool = False
) -> Iterator[Fault]:
    """Of an estimator and all that it holds: parameters that it lacks, values that it may not have, and estimators that
    do not fit their place. `grid` lists further values."""
    facts = ESTIMATORS[name]
    values = [(f"{path}.parameters.{key}", key, value) for key, value in parameters.items()]
    values += [
        (f"{path}.grid.{key}[{index}]", key, value)
        for key, listed in grid.items()
        for index, value in enumerate(listed)
    ]
    for part, given in (("parameters", parameters), ("grid", grid)):
        for key in sorted(set(given) - set(facts.parameter_names)):
            near = did_you_mean(key, facts.parameter_names)
            yield Fault(f"{path}.{part}.{key}", f"{facts.title} has no such parameter{near}", facts.parameter_names)
    for inner in facts.inner:
        if inner.required and not any(key == inner.parameter for _, key, _ in values):
            yield Fault(f"{path}.parameters.{inner.parameter}", f"is required; write {_spelling(inner)}")
    holds = {inner.parameter: inner for inner in facts.inner}
    for place, key, value in values:
        if (reason := facts.refused.get(key, {}).get(str(value))) is not None:
            yield Fault(place, f"{spelled(value)} cannot be used: {reason}")
        if key in holds:
            yield from _place_faults(place, facts, holds[key], value)
    if nested or any(holds.keys() & given.keys() for given in (parameters, grid)):
        for part, given in (("parameters", parameters), ("grid", grid)):
            if facts.threads in given:
                problem = "must be left out: estimators that hold others, and those inside, run on one core"
                yield Fault(f"{path}.{part}.{facts.threads}", problem)


def _place_faults(path: str, around: Estimator, inner: Inner, value: Any) -> Iterator[Fault]:
    """Of what stands where an estimator belongs."""
    if value is None and not inner.required:
        return
    if inner.many and not (isinstance(value, list) and value):
        yield Fault(path, f"{spelled(value)} is not a list of estimators; write {_spelling(inner)}")
        return
    for index, each in enumerate(inside(inner, value) or (value,)):
        place = f"{path}[{index}]" if inner.many else path
        if not isinstance(each, dict) or OF not in each:
            yield Fault(place, f"{spelled(each)} is not an estimator; write {_spelling(inner, one=True)}")
        else:
            yield from _inner_faults(place, around, inner, each)


def _inner_faults(path: str, around: Estimator, inner: Inner, given: Mapping[str, Any]) -> Iterator[Fault]:
    for field in sorted(map(str, given.keys() - {OF, PARAMETERS})):
        near = did_you_mean(field, (OF, PARAMETERS))
        yield Fault(f"{path}.{field}", f"no such field{near or f'; an estimator has `{OF}` and `{PARAMETERS}`'}")
    name, parameters = given[OF], given.get(PARAMETERS, {})
    allowed = tuple(fitting(around, inner))
    if name not in allowed:
        yield Fault(f"{path}.{OF}", _unfit(name, around, inner, allowed))
    elif not isinstance(parameters, dict):
        yield Fault(f"{path}.{PARAMETERS}", f"{spelled(parameters)} is not a mapping of names to values")
    else:
        yield from parameter_faults(path, name, parameters, {}, nested=True)


def fitting(around: Estimator, inner: Inner) -> Iterable[str]:
    """Names of the estimators that may stand in a place."""
    for name, each in ESTIMATORS.items():
        if set(around.tasks) <= set(each.tasks) and not each.unable(inner.needs):
            yield name


def _unfit(name: object, around: Estimator, inner: Inner, allowed: Sequence[str]) -> str:
    facts = ESTIMATORS.get(name) if isinstance(name, str) else None
    if facts is None:
        near = did_you_mean(name, allowed)
        return why_not(name) or f"{spelled(name)} is not a known estimator{near or '; docs/model-spec.md lists them'}"
    if not set(around.tasks) <= set(facts.tasks):
        return f"{facts.title} does not fit {around.title}, which is for {_kind(around)}"
    return f"{facts.title} has no {facts.unable(inner.needs)}, which {around.title} needs"


def _kind(facts: Estimator) -> str:
    return "regression" if Task.REGRESSION in facts.tasks else "classes"


def _spelling(inner: Inner, *, one: bool = False) -> str:
    spelling = "{of: sklearn.NAME, parameters: {...}}"
    return f"[{spelling}, ...]" if inner.many and not one else spelling
