"""Mean absolute error."""

import numpy as np

from tidegate.kernel.metrics.metric import NEVER, Floats, FromLosses, Metric, Prepared, Rows
from tidegate.kernel.metrics.weighted import mean


def _loss(target: Floats, predicted: Floats) -> Floats:
    return np.abs(predicted - target)


def _form(rows: Rows) -> Prepared:
    return mean(rows, _loss(rows.target, rows.predicted))


METRIC = Metric(
    name="mae",
    label="mean absolute error",
    sentence="Size of an error in units of the target, on average.",
    tasks=("regression",),
    more_is_better=False,
    perfect=0.0,
    worst=None,
    form=_form,
    undefined=NEVER,
    unlabelled=FromLosses(_loss),
)
