"""Values that the contract does not know."""

from tidegate.kernel.drift.statistic import Rise

OUTSIDE = Rise(
    name="outside",
    cell=-4,
    numbers="values out of the allowed range",
    texts="unseen categories",
    sentence="The share of numbers out of the contract's range, or of unseen categories.",
    threshold=0.01,
    unfixable=0.1,
)
