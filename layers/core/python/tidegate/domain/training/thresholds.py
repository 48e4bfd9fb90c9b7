"""The score from which a binary model says yes, by what its right and wrong decisions are worth."""

from dataclasses import dataclass

import numpy as np

from tidegate.kernel.metrics.metric import Floats
from tidegate.kernel.table import Column

_CURVE = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True)
class Worth:
    """What a right decision brings, and what a wrong yes and a wrong no cost."""

    right: float
    false_positive: float
    false_negative: float

    @property
    def of_calibrated(self) -> float:
        """The best threshold where scores are true probabilities; with right decisions worth nothing it is
        false_positive / (false_positive + false_negative) (Elkan 2001, "The foundations of cost-sensitive learning",
        IJCAI). 0.5 where the worth does not set one."""
        yes, no = self.right + self.false_positive, self.right + self.false_negative
        return min(1.0, max(0.0, yes / (yes + no))) if yes + no > 0 else 0.5

    def of_yes(self, event: Column) -> Floats:
        """What a yes is worth for each row, `event` saying whether it is right [n]."""
        return np.where(event, self.right, -self.false_positive)

    def of_no(self, event: Column) -> Floats:
        """What a no is worth for each row."""
        return np.where(event, -self.false_negative, self.right)

    def of(self, event: Column, score: Column, threshold: float) -> Floats:
        """What each row's decision is worth at a threshold."""
        return np.where(score >= np.float32(threshold), self.of_yes(event), self.of_no(event))


def best_threshold(worth: Worth, event: Column, score: Column) -> float:
    """The threshold of the greatest worth on these rows: 0, 1, or one in the middle of two scores that follow each
    other. Of equally good ones it is the nearest to what true probabilities would have.

    Args:
        event: whether a yes is right [n].
        score: probability of it [n], of rows that the model was not fitted on.
    """
    order = np.argsort(score, kind="stable")
    rising, event = score[order], np.asarray(event, dtype=np.bool_)[order]
    middles = (rising[:-1] + rising[1:])[rising[:-1] < rising[1:]] / 2
    thresholds = np.array([0.0, *_decimals(middles), 1.0])
    refused = np.searchsorted(rising, thresholds, side="left")
    of_no, of_yes = (np.append(0.0, np.cumsum(each)) for each in (worth.of_no(event), worth.of_yes(event)))
    total = of_no[refused] + of_yes[-1] - of_yes[refused]
    best = thresholds[total >= total.max() - 1e-9 * np.abs(total).max()]
    return float(best[np.abs(best - worth.of_calibrated).argmin()])


def curve(worth: Worth, event: Column, score: Column) -> tuple[tuple[float, ...], ...]:
    """[threshold, worth of 1,000 decisions] for thresholds from 0 to 1 by hundredths."""
    return tuple((float(each), 1000 * float(worth.of(event, score, each).mean())) for each in _CURVE.round(2))


def _decimals(numbers: Floats) -> Floats:
    """The shortest decimals of their float32: scores are compared as float32 and written so, and both must agree."""
    return numbers.astype(np.float32).astype(np.str_).astype(np.float64)
