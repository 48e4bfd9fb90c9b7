"""Brier score (1950)."""

from tidegate.kernel.metrics.metric import NEVER, FromProbabilities, Metric, Prepared, Probabilities, Rows
from tidegate.kernel.metrics.weighted import mean


def _form(rows: Rows) -> Prepared:
    return mean(rows, (rows.score - rows.is_positive) ** 2)


def _expected(said: Probabilities) -> float:
    return float((said.chance * (1 - said.score) ** 2 + (1 - said.chance) * said.score**2).mean())


METRIC = Metric(
    name="brier",
    label="Brier score",
    sentence="Squared distance of probability and outcome, on average.",
    tasks=("binary",),
    more_is_better=False,
    perfect=0.0,
    worst=1.0,
    form=_form,
    undefined=NEVER,
    unlabelled=FromProbabilities(_expected),
)
