"""Missing values."""

from tidegate.kernel.drift.statistic import Rise

MISSING = Rise(
    name="missing",
    cell=-3,
    numbers="missing values",
    texts="missing values",
    sentence="The share of missing values.",
    threshold=0.01,
    unfixable=0.1,
)
