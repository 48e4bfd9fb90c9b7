"""Prediction intervals of a regression that hold for any model: split conformal prediction.

Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world"; Lei et al. 2018, "Distribution-free
predictive inference for regression", J. Am. Stat. Assoc. 113:1094-1111.
"""

import math

import numpy as np

from tidegate.kernel import english
from tidegate.kernel.table import Column


def least_rows(level: float) -> int:
    """The fewest rows from which an interval of that level has an end."""
    return math.ceil(level / (1 - level) - 1e-9)


def half_width(target: Column, predicted: Column, level: float) -> float:
    """Half the width of the interval around a prediction that holds the outcome in a share `level` of all cases.

    It is the ceil((n + 1) x level)-th smallest absolute residual of n rows that the model was not fitted on. New rows
    that are exchangeable with these are covered with at least that probability.

    Raises:
        ValueError: fewer than `least_rows(level)` rows.
    """
    residuals = np.sort(np.abs(target - predicted))
    place = math.ceil((len(residuals) + 1) * level - 1e-9)
    if place > len(residuals):
        needed = english.count(least_rows(level), "row")
        raise ValueError(f"a {100 * level:g} % interval needs {needed}, not {len(residuals):,}")
    return float(residuals[place - 1])
