"""Which class is answered where which one is true, and how often that is right."""

from collections.abc import Sequence

import numpy as np

from tidegate.domain.evaluation.bootstrap import Resampling
from tidegate.domain.evaluation.calibration import wilson
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.sections import Confusion, Scalar
from tidegate.kernel.table import Column


def confusion(target: Column, decided: Column, classes: Sequence[Scalar], resampling: Resampling) -> Confusion:
    """Rows by outcome and answer, and recall and precision of each class.

    Recall is the share of a class's rows that are answered with it; precision is the share of the answers of a class
    that are right. A share of no rows is None. Intervals are Wilson's (1927), which do not shrink to nothing where all
    of a few rows are right. Where days or groups are drawn as a whole, an end of the bootstrap's that lies further out
    takes the place of Wilson's, which takes rows as independent.

    Args:
        target: class code of each row [n].
        decided: code of the class that is answered [n].
        classes: what the codes stand for.
    """
    count = len(classes)
    counts = np.bincount(target * count + decided, minlength=count**2).reshape(count, count)
    right = target == decided
    return Confusion(
        classes=tuple(classes),
        counts=tuple(tuple(line) for line in counts.tolist()),
        recall=tuple(_share(right, target == code, resampling) for code in range(count)),
        precision=tuple(_share(right, decided == code, resampling) for code in range(count)),
    )


def _share(right: Column, of: Column, resampling: Resampling) -> Estimate | None:
    rows = np.flatnonzero(of)
    if not len(rows):
        return None
    hits = right[rows]
    low, high = wilson(hits.sum(), len(rows), resampling.confidence)
    if resampling.cluster is not None:
        drawn = resampling.take(rows).mean(hits.astype(np.float64))
        low, high = min(low, drawn.low), max(high, drawn.high)
    return Estimate(float(hits.mean()), float(low), float(high))
