"""Jensen-Shannon distance."""

import math

from tidegate.kernel.drift.statistic import Counts, Distance


def _measure(before: Counts, now: Counts) -> float:
    rows, reference_rows = sum(now), sum(before)
    divergence = 0.0
    for was, is_now in zip(before, now, strict=True):
        p, q = was / reference_rows, is_now / rows
        middle = (p + q) / 2
        divergence += (p * math.log2(p / middle) if p else 0.0) + (q * math.log2(q / middle) if q else 0.0)
    return math.sqrt(max(divergence / 2, 0.0))


JENSEN_SHANNON = Distance(
    name="jensen_shannon",
    label="Jensen-Shannon distance",
    sentence="Root of the mean divergence from the mixture of both, to base 2: 0 for equal shares, 1 for shares that "
    "have no cell in common (Lin 1991, IEEE Trans. Inf. Theory 37:145-151).",
    measure=_measure,
    threshold=0.1,
    most=1.0,
)
