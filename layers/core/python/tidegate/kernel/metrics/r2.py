"""Coefficient of determination."""

import numpy as np

from tidegate.kernel.metrics.metric import CONSTANT, Floats, Metric, Prepared, Rows
from tidegate.kernel.metrics.weighted import sums


def _form(rows: Rows) -> Prepared:
    centred = rows.target - (rows.target.mean() if len(rows.target) else 0.0)

    def combine(totals: Floats) -> Floats:
        residual, first, second, weight = totals.T
        total = second - first**2 / weight
        return np.asarray(1 - residual / np.where(total > 1e-12 * second, total, np.nan))

    return sums(rows, [(rows.predicted - rows.target) ** 2, centred, centred**2], combine)


METRIC = Metric(
    name="r2",
    label="coefficient of determination",
    sentence="Share of the target's variance that is predicted; 0 for its mean, below 0 for worse than that.",
    tasks=("regression",),
    more_is_better=True,
    perfect=1.0,
    worst=None,
    form=_form,
    undefined=CONSTANT,
    finite_sample_bias=True,
)
