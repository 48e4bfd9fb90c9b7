"""Cohen's kappa with quadratic weights (Cohen 1968, Psychological Bulletin 70:213-220), for classes in an order."""

import math

import numpy as np

from tidegate.kernel.metrics.metric import ONE_CLASS, Floats, FromProbabilities, Metric, Prepared, Probabilities, Rows
from tidegate.kernel.metrics.weighted import sums


def _form(rows: Rows) -> Prepared:
    target, decided = rows.target.astype(np.float64), rows.decided.astype(np.float64)
    columns = [(target - decided) ** 2, target, target**2, decided, decided**2]

    def combine(totals: Floats) -> Floats:
        apart, target, target_squares, decided, decided_squares, rows = totals.T
        by_chance = target_squares + decided_squares - 2 * target * decided / rows
        varies = target_squares * rows > target**2  # all of these are whole numbers
        return np.where(varies, 1 - apart / by_chance, np.nan)

    return sums(rows, columns, combine)


def _expected(said: Probabilities) -> float:
    codes, decided = np.arange(said.given.shape[1]), said.decided
    apart = (said.chances * (codes - decided[:, None]) ** 2).sum(axis=1).mean()
    target = said.chances.mean(axis=0)
    answered = np.bincount(decided, minlength=len(codes)) / len(decided)
    by_chance = target @ (codes[:, None] - codes) ** 2 @ answered
    return float(1 - apart / by_chance) if (target > 0).sum() > 1 else math.nan


METRIC = Metric(
    name="quadratic_kappa",
    label="quadratic weighted kappa",
    sentence="Agreement on ordered classes beyond chance; an error counts by the square of its distance.",
    tasks=("multiclass",),
    more_is_better=True,
    perfect=1.0,
    worst=-1.0,
    form=_form,
    undefined=ONE_CLASS,
    decides=True,
    unlabelled=FromProbabilities(_expected),
    finite_sample_bias=True,
)
