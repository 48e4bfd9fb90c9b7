"""Population stability index."""

import math

from tidegate.kernel.drift.statistic import Counts, Distance


def _measure(before: Counts, now: Counts) -> float:
    cells = len(before)
    rows, reference_rows = sum(now) + 0.5 * cells, sum(before) + 0.5 * cells
    shares = (((was + 0.5) / reference_rows, (is_now + 0.5) / rows) for was, is_now in zip(before, now, strict=True))
    return sum((q - p) * math.log(q / p) for p, q in shares)


PSI = Distance(
    name="psi",
    label="PSI",
    sentence="Population stability index: Jeffreys' divergence of the shares, in natural logarithms. Half a row is "
    "added to every cell, so that one new value cannot make it infinite.",
    measure=_measure,
    threshold=0.2,
)
