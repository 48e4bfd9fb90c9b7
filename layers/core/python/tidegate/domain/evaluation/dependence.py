"""How a model's answer changes, on average, with one feature."""

from collections.abc import Sequence

import numpy as np

from tidegate.domain.evaluation.probe import Trial
from tidegate.domain.evaluation.sections import Dependence, DependencePoint, Scalar
from tidegate.domain.serving.contract import FeatureContract
from tidegate.domain.serving.ranges import Value, commonest, fitted, present
from tidegate.kernel.table import Column, Table

POINTS = 12
ROWS = 1_000


def dependence(trial: Trial, training: Table, names: Sequence[str]) -> tuple[Dependence, ...]:
    """Partial dependence of the named features (Friedman 2001, "Greedy function approximation", Annals of Statistics
    29:1189-1232): the mean score of a draw of rows when all of them have one value of the feature.

    Values are the commonest categories of training, or quantiles of its numbers. A point's `rows` counts the training
    rows that have the value, or for which it is the nearest number: where there are few, the model was hardly taught.
    The score is the positive class's probability, the value of a regression, or the probability of the class that is
    answered most often, which `class_name` names.
    """
    drawn = trial.draw(ROWS)
    contract = trial.contract
    shown = 0
    class_name: Scalar | None = None
    if contract.task == "binary":
        shown = contract.positive
    elif contract.task == "multiclass":
        shown = int(np.bincount(trial.decisions(trial.scores)).argmax())
        class_name = contract.classes[shown]
    features = {feature.name: feature for feature in contract.features}
    return tuple(
        Dependence(name, features[name].kind, _points(drawn, features[name], training[name], shown), class_name)
        for name in names
    )


def _points(drawn: Trial, feature: FeatureContract, trained: Column, shown: int) -> tuple[DependencePoint, ...]:
    values, rows = _categories(trained) if feature.kind == "categorical" else _numbers(feature, trained)
    return tuple(
        DependencePoint(value, drawn.resampling.mean(drawn.filled(feature.name, value)[:, shown]), count)
        for value, count in zip(values, rows, strict=True)
    )


def _categories(trained: Column) -> tuple[list[Value], list[int]]:
    values = commonest(trained, POINTS)
    return values, [int((trained == value).sum()) for value in values]


def _numbers(feature: FeatureContract, trained: Column) -> tuple[list[Value], list[int]]:
    seen = present(trained)
    if not len(seen):
        return [], []
    grid = np.unique(fitted(feature, np.quantile(seen, np.linspace(0.01, 0.99, POINTS), method="inverted_cdf")))
    nearest = np.searchsorted((grid[1:] + grid[:-1]) / 2, seen)
    values: list[Value] = grid.tolist()
    return values, np.bincount(nearest, minlength=len(grid)).tolist()
