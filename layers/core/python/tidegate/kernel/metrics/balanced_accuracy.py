"""Recall, averaged over classes."""

import math

import numpy as np

from tidegate.kernel.metrics.metric import ONE_CLASS, Floats, FromProbabilities, Metric, Prepared, Probabilities, Rows
from tidegate.kernel.metrics.weighted import sums


def _form(rows: Rows) -> Prepared:
    classes = rows.scores.shape[1]
    of_class = [rows.target == code for code in range(classes)]
    right = rows.decided == rows.target

    def combine(totals: Floats) -> Floats:
        hits, counts = totals[:, :classes], totals[:, classes : 2 * classes]
        occurring = (counts > 0).sum(axis=1)
        recalls = np.divide(hits, counts, out=np.zeros_like(hits), where=counts > 0)
        return np.where(occurring > 1, recalls.sum(axis=1) / np.maximum(occurring, 1), np.nan)

    return sums(rows, [*(right & each for each in of_class), *of_class], combine)


def _expected(said: Probabilities) -> float:
    rows, decided = np.arange(len(said.given)), said.decided
    hits = np.bincount(decided, said.chances[rows, decided], minlength=said.given.shape[1])
    counts = said.chances.sum(axis=0)
    occurring = counts > 0
    return float((hits[occurring] / counts[occurring]).mean()) if occurring.sum() > 1 else math.nan


METRIC = Metric(
    name="balanced_accuracy",
    label="balanced accuracy",
    sentence="Share of a class's rows with the right answer, averaged over the classes, so that rare ones count as "
    "much.",
    tasks=("binary", "multiclass"),
    more_is_better=True,
    perfect=1.0,
    worst=0.0,
    form=_form,
    undefined=ONE_CLASS,
    decides=True,
    unlabelled=FromProbabilities(_expected),
)
