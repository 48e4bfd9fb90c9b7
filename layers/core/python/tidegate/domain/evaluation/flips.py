"""Decisions that change when nothing but a sensitive feature does."""

from collections.abc import Sequence

import numpy as np

from tidegate.domain.evaluation.probe import Trial
from tidegate.domain.evaluation.sections import Flips
from tidegate.domain.serving.contract import FeatureContract
from tidegate.domain.serving.ranges import Value, commonest, fitted, present
from tidegate.kernel.table import Column, Table

MOST_VALUES = 10
MOST_SCORED = 300_000  # rows times values of a feature


def flips(trial: Trial, training: Table, columns: Sequence[str], tolerance: float | None) -> tuple[Flips, ...]:
    """For each sensitive column: the share of rows whose decision is another one for another value of it.

    Each row is given every value that training has: the ten commonest categories, true and false, or the median of each
    quarter of the numbers by rank. Nothing else changes, so this finds direct use of the column, not use of what
    stands in for it (Kusner et al. 2017, "Counterfactual fairness", NeurIPS, distinguishes the two). A column that is
    no feature cannot be changed; its entry says so in `problem`.

    Args:
        tolerance: from which change on a regression counts as another decision; None where it has none.
    """
    features = {feature.name: feature for feature in trial.contract.features}
    found: list[Flips] = []
    for column in columns:
        if column not in features:
            found.append(Flips(column, "it is not a feature of the model, so it cannot be changed"))
        elif trial.contract.task == "regression" and tolerance is None:
            found.append(Flips(column, "a regression makes no decisions without value.tolerance"))
        else:
            values = _values(features[column], training[column])
            drawn = trial.draw(MOST_SCORED // max(1, len(values)))
            changed = np.zeros(len(drawn.rows), dtype=np.bool_)
            for value in values:
                changed |= _differs(drawn, drawn.filled(column, value), tolerance)
            share = drawn.resampling.mean(changed)
            found.append(Flips(column, values=tuple(values), rows=len(changed), changed=share))
    return tuple(found)


def _values(feature: FeatureContract, trained: Column) -> list[Value]:
    if feature.kind == "categorical":
        return commonest(trained, MOST_VALUES)
    seen = present(trained)
    if feature.kind != "boolean" and len(seen):
        medians = np.quantile(seen, [0.125, 0.375, 0.625, 0.875], method="inverted_cdf")
        seen = fitted(feature, medians)
    values: list[Value] = np.unique(seen).tolist()
    return values


def _differs(trial: Trial, scores: Column, tolerance: float | None) -> Column:
    if tolerance is not None:
        return np.abs(scores[:, 0].astype(np.float64) - trial.scores[:, 0]) > tolerance
    return np.asarray(trial.decisions(scores) != trial.decisions(trial.scores))
