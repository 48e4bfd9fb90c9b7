"""Root mean squared error."""

import math

import numpy as np

from tidegate.kernel.metrics.metric import NEVER, Floats, FromLosses, Metric, Prepared, Rows
from tidegate.kernel.metrics.weighted import sums


def _loss(target: Floats, predicted: Floats) -> Floats:
    return (predicted - target) ** 2


def _form(rows: Rows) -> Prepared:
    return sums(rows, [_loss(rows.target, rows.predicted)], lambda totals: np.sqrt(totals[:, 0] / totals[:, 1]))


METRIC = Metric(
    name="rmse",
    label="root mean squared error",
    sentence="Size of an error in units of the target; large ones count more.",
    tasks=("regression",),
    more_is_better=False,
    perfect=0.0,
    worst=None,
    form=_form,
    undefined=NEVER,
    unlabelled=FromLosses(_loss, lambda loss: math.sqrt(max(loss, 0.0))),
    finite_sample_bias=True,
)
