"""Every estimator that a spec may name, by its dotted name. Another framework is a file of its own, and a line here."""

from collections.abc import Mapping

from tidegate.spec.estimators import sklearn
from tidegate.spec.estimators.estimator import Estimator
from tidegate.spec.part import Task

ESTIMATORS: Mapping[str, Estimator] = {
    each.name: each
    for listed in (
        sklearn.ESTIMATORS,
    )
    for each in listed
}  # fmt: skip


def estimators_of(task: Task) -> tuple[str, ...]:
    """Names of those that fit a task."""
    return tuple(name for name, each in ESTIMATORS.items() if task in each.tasks)
