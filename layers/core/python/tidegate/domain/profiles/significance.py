"""Whether a change is more than chance: the tests that counts are put to.

The distribution of a column: Pearson's chi-square test of two samples on the counts of its cells. Both
samples' sizes count, so a small reference is not taken for the truth. Cells expected to hold fewer than ten rows of the
smaller sample are pooled with each other, neighbours first, into cells that hold ten (Cochran 1954, "Some methods for
strengthening the common chi-square tests", Biometrics 10:417-451, asks for five; adjusted p-values lie further out in
the tail, where five are too few). When all of them together do not hold ten, their pool is compared with the rest by
Fisher's exact test, beside the chi-square test of the other cells, and the smaller of the two p-values is doubled
(Bonferroni): pooled with a frequent cell, a new value would drown in it. The reference has no rows beyond its own
smallest and largest one, by construction and not by chance: rows of the window beyond both ends together are as many as
those beyond the reference's second largest row alone (Tukey 1947, "Non-parametric estimation II. Statistically
equivalent blocks", Ann. Math. Stat. 18:529-539), so Fisher's test counts one row of the reference among them. Pools
follow the order of the cells and not their counts: with quantile edges the reference's counts are equal by
construction, so the order of the totals would be that of the window's counts, and pooling by it would find drift in
noise.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LEAST_EXPECTED = 10.0
_ENDS = 2  # of a reference's range

Floats = npt.NDArray[np.float64]


def change_p_value(before: Floats, now: Floats, *, rare: bool) -> float:
    """Of two samples' counts in the same cells, at least two, as `pooled` gives them."""
    if not rare:
        return _chi_square_p_value(before, now)
    risen, rows, known, reference_rows = int(now[0]), int(now.sum()), int(before[0]), int(before.sum())
    rise = rise_p_value(risen, rows, known + _ENDS - 1, reference_rows)
    exact = 2 * min(rise, rise_p_value(known, reference_rows, risen, rows))
    return min(2 * min(exact, _chi_square_p_value(before[1:], now[1:])), 1.0)


def chi_square_tail(statistic: float, degrees: int) -> float:
    """P(chi-square >= statistic), as the finite sums for whole degrees of freedom (Abramowitz and Stegun 1964,
    "Handbook of Mathematical Functions", 26.4.4 and 26.4.5); terms as logarithms, so that none overflows."""
    if statistic <= 0:
        return 1.0
    half = statistic / 2
    odd = degrees % 2
    tail = math.erfc(math.sqrt(half)) if odd else 0.0
    powers = np.arange(degrees // 2) + odd / 2
    logs = powers * math.log(half) - half - np.asarray([math.lgamma(power + 1) for power in powers])
    return min(tail + float(np.exp(logs).sum()), 1.0)


def rise_p_value(events: int, rows: int, reference_events: int, reference_rows: int) -> float:
    """One-sided p-value of Fisher's exact test that the share of events is larger than the reference's: the tail of
    the hypergeometric distribution, summed by the ratio of neighbouring terms. 1 where the share is no larger."""
    if events * reference_rows <= reference_events * rows:
        return 1.0
    marked, total = events + reference_events, rows + reference_rows
    unmarked = total - marked
    term = math.exp(
        _log_choose(marked, events) + _log_choose(unmarked, rows - events) - _log_choose(total, rows)
    )  # underflows to 0 only where the whole tail does: terms fall from here on
    tail, hits = term, events
    while hits < min(marked, rows) and term > tail * 1e-17:
        term *= (marked - hits) * (rows - hits) / ((hits + 1) * (unmarked - rows + hits + 1))
        tail += term
        hits += 1
    return min(tail, 1.0)


def adjust(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted p-values: rejecting those at or below alpha holds the false discovery rate."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)[::-1]
    scaled = values[order] * len(values) / np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]


def pooled(before: Floats, now: Floats) -> tuple[Floats, Floats, bool]:
    """Cells that hold anything, those expected to hold fewer than `LEAST_EXPECTED` rows of the smaller sample pooled
    and first; and whether the first cell is a pool that still holds fewer."""
    total = before + now
    there = total > 0
    before, now, total = before[there], now[there], total[there]
    if not len(total):
        return before, now, False
    expected = total * (min(before.sum(), now.sum()) / total.sum())
    rare = expected < LEAST_EXPECTED
    if not rare.any():
        return before, now, False
    pool = np.zeros(len(total), dtype=np.intp)
    pools, held = 0, 0.0
    for cell in np.flatnonzero(rare):
        if held >= LEAST_EXPECTED:
            pools, held = pools + 1, 0.0
        pool[cell] = pools
        held += float(expected[cell])
    if held < LEAST_EXPECTED and pools:
        pool[pool == pools] = pools - 1
        pools -= 1
    pool[~rare] = np.arange(pools + 1, pools + 1 + int((~rare).sum()))
    few = bool(expected[rare].sum() < LEAST_EXPECTED)
    sums = [np.bincount(pool, counts).astype(np.float64) for counts in (before, now)]
    return sums[0], sums[1], few


def _chi_square_p_value(before: Floats, now: Floats) -> float:
    if len(before) < 2:
        return 1.0
    ratio = math.sqrt(before.sum() / now.sum())
    statistic = float(((ratio * now - before / ratio) ** 2 / (before + now)).sum())
    return chi_square_tail(statistic, len(before) - 1)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
