"""Share of right answers."""

import numpy as np

from tidegate.kernel.metrics.metric import NEVER, FromProbabilities, Metric, Prepared, Probabilities, Rows
from tidegate.kernel.metrics.weighted import mean


def _form(rows: Rows) -> Prepared:
    return mean(rows, rows.decided == rows.target)


def _expected(said: Probabilities) -> float:
    return float(said.chances[np.arange(len(said.given)), said.decided].mean())


METRIC = Metric(
    name="accuracy",
    label="accuracy",
    sentence="Share of rows with the right answer.",
    tasks=("binary", "multiclass"),
    more_is_better=True,
    perfect=1.0,
    worst=0.0,
    form=_form,
    undefined=NEVER,
    decides=True,
    unlabelled=FromProbabilities(_expected),
)
