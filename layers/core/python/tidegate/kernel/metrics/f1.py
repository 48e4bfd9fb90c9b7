"""Harmonic mean of precision and recall (van Rijsbergen 1979, "Information Retrieval")."""

import math

import numpy as np

from tidegate.kernel.metrics.metric import (
    NO_POSITIVES,
    Floats,
    FromProbabilities,
    Metric,
    Prepared,
    Probabilities,
    Rows,
)
from tidegate.kernel.metrics.weighted import sums


def _form(rows: Rows) -> Prepared:
    yes, is_positive = rows.decided == rows.positive, rows.is_positive

    def combine(totals: Floats) -> Floats:
        hits, decided, positive = totals[:, 0], totals[:, 1], totals[:, 2]
        return np.where(positive > 0, 2 * hits / (decided + positive), np.nan)

    return sums(rows, [yes & is_positive, yes, is_positive], combine)


def _expected(said: Probabilities) -> float:
    yes, chance = said.decided == said.positive, said.chance
    positive = chance.sum()
    return float(2 * chance[yes].sum() / (yes.sum() + positive)) if positive else math.nan


METRIC = Metric(
    name="f1",
    label="F1 score",
    sentence="Harmonic mean of precision and recall of the positive class.",
    tasks=("binary",),
    more_is_better=True,
    perfect=1.0,
    worst=0.0,
    form=_form,
    undefined=NO_POSITIVES,
    decides=True,
    unlabelled=FromProbabilities(_expected),
    finite_sample_bias=True,
)
