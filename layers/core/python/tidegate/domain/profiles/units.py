"""Numbers that come in another unit than in training, seen without knowing any unit.

Most measured numbers take few values: whole knots, tenths of a degree, hundredths of an inch, also where they were
converted since (whole knots as miles per hour are multiples of 1.15). When their source changes the unit, the encoding
or the resolution, nearly all of them lie between the values of training. A season, other customers or other places do
not put them there: they change how often each value comes, and reach beyond the smallest and the largest one. So the
share of numbers that lie between known values distinguishes the two, where the distributions cannot: over New York,
winds of May in miles per hour have nearly the quantiles of winter winds in knots.

It works for columns whose values were all seen early (`known_values` says which). New values between old ones may also
be meant, as a new price between two old ones is; a person knows.
"""

import numpy as np
import numpy.typing as npt

from tidegate.kernel.table import Column

MOST_VALUES = 200
_EARLIER = 0.8  # of the training rows: they must have shown the values that the later ones have
_MOST_NEW = 0.01  # share of the later rows between the values of the earlier ones
_NEAR = 0.1  # of the gap between two neighbours: so far from one of them a number is still that value, rounded
_WIDE = 1.5  # times the median gap: what lies in a wider one may be a value that training only happened not to see


def known_values(numbers: Column) -> tuple[float, ...]:
    """The distinct values [at most `MOST_VALUES`] of a training column without NaN [n], rising, as float32 knows them.
    Empty when they are too many, or when the column keeps taking new ones: when the last fifth of the rows lies between
    values of those before it in more than one of a hundred rows. Rows in the order of time show that best."""
    seen = np.asarray(numbers, dtype=np.float32)
    values = np.unique(seen)
    if not 1 < len(values) <= MOST_VALUES:
        return ()
    cut = int(_EARLIER * len(seen))
    new = strange(seen[cut:], np.unique(seen[:cut]))
    return () if new.mean() > _MOST_NEW else tuple(float(value) for value in values)


def strange(numbers: Column, known: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether each number [n] lies between two neighbours of the known, rising values and near neither of them. NaN
    does not, nor does what lies beyond the ends, or in a gap that is wider than usual."""
    values, seen = np.asarray(known, dtype=np.float64), np.asarray(numbers, dtype=np.float32).astype(np.float64)
    if len(values) < 2:
        return np.zeros(len(seen), dtype=np.bool_)
    above = np.clip(np.searchsorted(values, seen), 1, len(values) - 1)
    low, high = values[above - 1], values[above]
    gap, usual = high - low, np.median(np.diff(values))
    found: npt.NDArray[np.bool_] = (seen > low + _NEAR * gap) & (seen < high - _NEAR * gap) & (gap <= _WIDE * usual)
    return found
