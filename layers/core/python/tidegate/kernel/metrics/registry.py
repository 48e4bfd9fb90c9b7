"""Every metric there is. What names, measures, draws or documents metrics reads this table.

To add one: write its file, named as it is, and add its name to `NAMES`; then run `scripts/generate`
and `tests/unit/evaluation/test_metrics.py`, which asks for everything else.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module

from tidegate.kernel.metrics.metric import Metric

NAMES = (  # in the order in which people see them
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "recall_at_precision",
    "quadratic_kappa",
    "rmse",
    "mae",
    "mape",
    "pinball_loss",
    "r2",
)


def _loaded(name: str) -> Metric:
    metric: Metric = import_module(f"tidegate.kernel.metrics.{name}").METRIC
    return metric.using({})


METRICS: Mapping[str, Metric] = {name: _loaded(name) for name in NAMES}
_TEXT = re.compile(r"(?P<name>\w+)(?:\((?P<values>[^()]*)\))?")


@cache
def find(text: str) -> Metric:
    """The metric that `Metric.text` names.

    Raises:
        ValueError: there is none of that name, or it has no such parameters.
    """
    found = _TEXT.fullmatch(text)
    if found is None or found["name"] not in METRICS:
        raise ValueError(f"{text!r} is not a metric; the metrics are {', '.join(METRICS)}")
    pairs = (each.partition("=") for each in (found["values"] or "").split(",") if each)
    return METRICS[found["name"]].using({name.strip(): float(value) for name, _, value in pairs})


def choose(stated: str | Mapping[str, object]) -> Metric:
    """The metric that a spec states: a name, or a mapping of `name` and parameters.

    Raises:
        ValueError: as `find`.
    """
    if isinstance(stated, str):
        return METRICS[stated] if stated in METRICS else find(stated)
    values = {str(name): value for name, value in stated.items() if name != "name"}
    name = stated.get("name")
    if name not in METRICS:
        raise ValueError(f"{name!r} is not a metric; the metrics are {', '.join(METRICS)}")
    return METRICS[str(name)].using(values)  # type: ignore[arg-type]  # `using` looks at the values


def of_task(task: str) -> tuple[Metric, ...]:
    """The metrics that fit a task, with default parameters."""
    return tuple(metric for metric in METRICS.values() if task in metric.tasks)
