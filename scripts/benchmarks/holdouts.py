"""Simulated holdouts on which the truth is known: two classes, scores of several models with chosen AUCs."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.domain.evaluation.bootstrap import Arm

SHARE_POSITIVE = 0.22  # as late flights have it
CORRELATION = 0.9  # of two models' scores within a class: models of the same data mostly agree


@dataclass(frozen=True, slots=True)
class Holdout:
    """Class codes [rows] and one arm a model."""

    target: npt.NDArray[Any]
    arms: Mapping[str, Arm]


def simulate(
    chance: np.random.Generator, rows: int, auc: Mapping[str, float], *, positive: float = SHARE_POSITIVE
) -> Holdout:
    """Scores are normal within a class, so a model's true AUC is exactly Phi(shift / sqrt(2))."""
    target = (chance.random(rows) < positive).astype(np.int64)
    shared = np.sqrt(CORRELATION) * chance.normal(size=rows)
    arms = {}
    for name, value in auc.items():
        shift = np.sqrt(2) * NormalDist().inv_cdf(value)
        raw = shift * target + shared + np.sqrt(1 - CORRELATION) * chance.normal(size=rows)
        probability = 1 / (1 + np.exp(-raw))
        arms[name] = Arm(np.column_stack([1 - probability, probability]))
    return Holdout(target, arms)
