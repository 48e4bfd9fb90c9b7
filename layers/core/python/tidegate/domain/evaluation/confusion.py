"""Which class is answered where which one is true, and how often that is right."""

from typing import Any

import numpy as np

from tidegate.domain.evaluation.bootstrap import Resampling
from tidegate.domain.evaluation.calibration import wilson
from tidegate.kernel.table import Column


def confusion(target: Column, decided: Column, classes: int, resampling: Resampling) -> dict[str, Any]:
    """Rows by outcome and answer, and recall and precision of each class, as plain JSON.

    Recall is the share of a class's rows that are answered with it; precision is the share of the answers of a class
    that are right. A share of no rows is None. Intervals are Wilson's (1927), which do not shrink to nothing where all
    of a few rows are right. Where days or groups are drawn as a whole, an end of the bootstrap's that lies further out
    takes the place of Wilson's, which takes rows as independent.

    Args:
        target: class code of each row [n].
        decided: code of the class that is answered [n].
        classes: how many there are.
    """
    counts = np.bincount(target * classes + decided, minlength=classes**2).reshape(classes, classes)
    right = target == decided
    return {
        "counts": counts.tolist(),
        "recall": [_share(right, target == code, resampling) for code in range(classes)],
        "precision": [_share(right, decided == code, resampling) for code in range(classes)],
    }


def _share(right: Column, of: Column, resampling: Resampling) -> dict[str, float] | None:
    rows = np.flatnonzero(of)
    if not len(rows):
        return None
    hits = right[rows]
    low, high = wilson(hits.sum(), len(rows), resampling.confidence)
    if resampling.cluster is not None:
        drawn = resampling.take(rows).mean(hits.astype(np.float64))
        low, high = min(low, drawn.low), max(high, drawn.high)
    return {"value": float(hits.mean()), "low": float(low), "high": float(high)}
