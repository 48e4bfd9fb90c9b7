"""Every estimator that a spec may name, by its dotted name. Another framework is a file of its own, and a line here.

`CANDIDATES` can stand by themselves; the others only inside those that take estimators. `LEFT_OUT` says why the rest of
a library cannot be named.
"""

from collections.abc import Mapping

from tidegate.spec.estimators import sklearn
from tidegate.spec.estimators.estimator import Estimator, LeftOut
from tidegate.spec.part import Task

ESTIMATORS: Mapping[str, Estimator] = {
    each.name: each
    for listed in (
        sklearn.ESTIMATORS,
    )
    for each in listed
}  # fmt: skip
LEFT_OUT: Mapping[str, LeftOut] = {each.name: each for each in sklearn.LEFT_OUT}
CANDIDATES: Mapping[str, Estimator] = {name: each for name, each in ESTIMATORS.items() if not each.only_inside}


def estimators_of(task: Task) -> tuple[str, ...]:
    """Names of the candidates that fit a task."""
    return tuple(name for name, each in CANDIDATES.items() if task in each.tasks)


def why_not(name: object) -> str:
    """Why an estimator cannot be a candidate, or nothing when it is unknown or can."""
    if not isinstance(name, str):
        return ""
    if name in LEFT_OUT:
        return f"{name} cannot be used: {LEFT_OUT[name].sentence}"
    if name in ESTIMATORS and name not in CANDIDATES:
        return (
            f"{name} has no probabilities; put it into another estimator: `estimator: "
            f"sklearn.calibration.CalibratedClassifierCV, parameters: {{estimator: {{of: {name}}}}}`"
        )
    return ""
