"""Rates by group and their differences, by fairlearn."""

from collections.abc import Callable, Mapping
from typing import Any

from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    equal_opportunity_difference,
    equalized_odds_difference,
    false_positive_rate,
    mean_prediction,
    selection_rate,
    true_positive_rate,
)
from sklearn.metrics import accuracy_score

from tidegate.domain.evaluation.fairness import (
    DEMOGRAPHIC_PARITY,
    EQUAL_OPPORTUNITY,
    EQUALIZED_ODDS,
    FALSE_POSITIVE_RATE,
    POSITIVE_RATE,
    TRUE_POSITIVE_RATE,
)
from tidegate.kernel.table import Column

_RATES = {
    POSITIVE_RATE: selection_rate,
    TRUE_POSITIVE_RATE: true_positive_rate,
    FALSE_POSITIVE_RATE: false_positive_rate,
    "accuracy": accuracy_score,
}
_DIFFERENCES = {
    DEMOGRAPHIC_PARITY: demographic_parity_difference,
    EQUAL_OPPORTUNITY: equal_opportunity_difference,
    EQUALIZED_ODDS: equalized_odds_difference,
}


class FairlearnGroups:
    """ports.GroupMetrics."""

    def rates(self, positive: Column, decided: Column, group: Column) -> dict[int, dict[str, float]]:
        """See ports.GroupMetrics."""
        return _by_group(_RATES, positive.astype(int), decided.astype(int), group)

    def means(self, target: Column, predicted: Column, group: Column) -> dict[int, dict[str, float]]:
        """See ports.GroupMetrics."""
        return _by_group({"mean_prediction": mean_prediction}, target, predicted, group)

    def difference(self, measure: str, positive: Column, decided: Column, group: Column) -> float:
        """See ports.GroupMetrics."""
        found = _DIFFERENCES[measure](positive.astype(int), decided.astype(int), sensitive_features=group)
        return float(found)


def _by_group(
    metrics: Mapping[str, Callable[..., Any]], target: Column, predicted: Column, group: Column
) -> dict[int, dict[str, float]]:
    frame = MetricFrame(metrics=dict(metrics), y_true=target, y_pred=predicted, sensitive_features=group)
    return {
        int(code): {name: float(value) for name, value in row.items()}
        for code, row in frame.by_group.to_dict("index").items()
    }
