"""Figures as people read them: one rounding for verdicts, findings, pages and the command line."""

import math

MOST_DECIMALS = 6


def number(value: float) -> str:
    """Four digits: `0.7512`, `12.35`, `1,235`; a whole number has all of them."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def interval(value: float, low: float, high: float) -> str:
    """`0.742 [0.731, 0.753]`: as many decimals as `within` gives."""
    middle, left, right = (within(each, low, high) for each in (value, low, high))
    return f"{middle} [{left}, {right}]"


def within(value: float, low: float, high: float) -> str:
    """A number with as many decimals as the interval from `low` to `high` is sure of, and enough to distinguish its
    ends from zero."""
    width = high - low
    decimals = 3 if width <= 0 else min(MOST_DECIMALS, max(0, 1 - math.floor(math.log10(width))))
    while decimals < MOST_DECIMALS and any(end != 0 and round(end, decimals) == 0 for end in (low, high)):
        decimals += 1
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"
