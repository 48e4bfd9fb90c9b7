"""Values of a wrong type."""

from tidegate.kernel.drift.statistic import Rise

TYPE_FAULT = Rise(
    name="type_fault",
    cell=-2,
    numbers="values of a wrong type",
    texts="values of a wrong type",
    sentence="The share of values of a wrong type: a text for a number, a fraction for an integer.",
    threshold=0.01,
    unfixable=0.0,
)
