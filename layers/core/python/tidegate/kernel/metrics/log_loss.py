"""Cross entropy."""

import numpy as np

from tidegate.kernel.metrics.metric import NEVER, FromProbabilities, Metric, Prepared, Probabilities, Rows
from tidegate.kernel.metrics.weighted import mean


def _form(rows: Rows) -> Prepared:
    # As scikit-learn: probabilities are kept away from 0 and 1 by the precision of the type they come in.
    scores = rows.scores
    edge = float(np.finfo(scores.dtype if scores.dtype.kind == "f" else np.float64).eps)
    given = scores[np.arange(len(scores)), rows.target.astype(np.intp)].astype(np.float64)
    return mean(rows, -np.log(np.clip(given, edge, 1 - edge)))


def _expected(said: Probabilities) -> float:
    edge = float(np.finfo(np.float64).eps)
    return float(-(said.chances * np.log(np.clip(said.given, edge, 1 - edge))).sum(axis=1).mean())


METRIC = Metric(
    name="log_loss",
    label="log loss",
    sentence="Negative logarithm of the probability given to the true class, on average.",
    tasks=("binary", "multiclass"),
    more_is_better=False,
    perfect=0.0,
    worst=None,
    form=_form,
    undefined=NEVER,
    unlabelled=FromProbabilities(_expected),
)
