"""Mean absolute percentage error, as a share."""

import numpy as np

from tidegate.kernel.metrics.metric import ZEROS, Floats, FromLosses, Metric, Prepared, Rows
from tidegate.kernel.metrics.weighted import sums


def _loss(target: Floats, predicted: Floats) -> Floats:
    size = np.abs(target)
    return np.abs(predicted - target) / np.where(size > 0, size, 1.0)


def _form(rows: Rows) -> Prepared:
    def combine(totals: Floats) -> Floats:
        loss, zeros, weight = totals.T
        return np.where(zeros > 0, np.nan, loss / weight)

    return sums(rows, [_loss(rows.target, rows.predicted), rows.target == 0], combine)


METRIC = Metric(
    name="mape",
    label="mean absolute percentage error",
    sentence="Size of an error as a share of the outcome, on average; 0.1 is 10 %.",
    tasks=("regression",),
    more_is_better=False,
    perfect=0.0,
    worst=None,
    form=_form,
    undefined=ZEROS,
    unlabelled=FromLosses(_loss),
)
