"""Loss of a quantile (Koenker and Bassett 1978, Econometrica 46:33-50)."""

import numpy as np

from tidegate.kernel.metrics.metric import NEVER, Floats, FromLosses, Metric, Parameter, Prepared, Rows
from tidegate.kernel.metrics.weighted import mean


def _loss(target: Floats, predicted: Floats, *, quantile: float) -> Floats:
    above = target - predicted
    return np.maximum(quantile * above, (quantile - 1) * above)


def _form(rows: Rows, *, quantile: float) -> Prepared:
    return mean(rows, _loss(rows.target, rows.predicted, quantile=quantile))


METRIC = Metric(
    name="pinball_loss",
    label="pinball loss",
    sentence="Error of a predicted quantile, on average: outcomes above it cost the quantile, those below it the rest.",
    tasks=("regression",),
    more_is_better=False,
    perfect=0.0,
    worst=None,
    form=_form,
    undefined=NEVER,
    unlabelled=FromLosses(_loss),
    parameters=(Parameter("quantile", "Share of the outcomes that should lie below the prediction.", 0.5, 0.01, 0.99),),
)
