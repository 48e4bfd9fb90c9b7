"""How differently groups are treated: intervals of the three differences that governance sets limits for.

    demographic parity   positive decisions as a share of a group's rows (Dwork et al. 2012, ITCS, "Fairness through
                         awareness")
    equal opportunity    positive decisions as a share of a group's positive rows (Hardt, Price and Srebro 2016,
                         NeurIPS, "Equality of opportunity in supervised learning")
    equalized odds       the same, and as a share of its negative rows, whichever differs more (the same paper)

Each is the largest minus the smallest rate of the groups compared. A rate counts only when it rests on enough rows:
the extremes of many small groups lie far apart by chance alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tidegate.domain.evaluation.bootstrap import Resampling
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.kernel.metrics.metric import Array, Floats

Bools = npt.NDArray[np.bool_]

MIN_GROUP_ROWS = 50
DEMOGRAPHIC_PARITY, EQUAL_OPPORTUNITY, EQUALIZED_ODDS = "demographic_parity", "equal_opportunity", "equalized_odds"
POSITIVE_RATE, TRUE_POSITIVE_RATE = "positive_rate", "true_positive_rate"
FALSE_POSITIVE_RATE = "false_positive_rate"
RATES_OF: Mapping[str, tuple[str, ...]] = {
    DEMOGRAPHIC_PARITY: (POSITIVE_RATE,),
    EQUAL_OPPORTUNITY: (TRUE_POSITIVE_RATE,),
    EQUALIZED_ODDS: (TRUE_POSITIVE_RATE, FALSE_POSITIVE_RATE),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """The estimate, of which rate it is, and the groups (codes) with the largest and the smallest."""

    estimate: Estimate
    rate: str
    high: int
    low: int


@dataclass(frozen=True, slots=True)
class Decisions:
    """Rows of a binary model: what was true, what was decided, and whose row it is (group codes from 0)."""

    positive: Bools
    decided: Bools
    group: Array
    groups: int

    def base(self, rate: str) -> Bools:
        """Rows that the rate is a share of."""
        match rate:
            case "true_positive_rate":
                return self.positive
            case "false_positive_rate":
                return ~self.positive
        return np.ones(len(self.positive), dtype=np.bool_)

    def counts(self, rate: str) -> Array:
        """Rows by group that the rate is a share of."""
        return np.bincount(self.group[self.base(rate)], minlength=self.groups)

    def rates(self, rate: str) -> Floats:
        """By group; NaN where there is nothing to share."""
        chosen = self.base(rate) & self.decided
        with np.errstate(invalid="ignore"):
            return np.asarray(np.bincount(self.group[chosen], minlength=self.groups) / self.counts(rate))

    def compared(self, measure: str) -> tuple[int, ...]:
        """Codes of the groups each of whose rates rests on enough rows."""
        enough = np.all([self.counts(rate) >= MIN_GROUP_ROWS for rate in RATES_OF[measure]], axis=0)
        return tuple(np.flatnonzero(enough).tolist())

    def difference(self, measure: str, resampling: Resampling) -> Difference | None:
        """None when fewer than two groups can be compared.

        The interval is that of the two groups that are furthest apart. The range of all groups in each resample would
        be too large in nearly all of them, since chance pulls extremes apart once more.
        """
        compared = list(self.compared(measure))
        if len(compared) < 2:
            return None
        found = []
        for rate in RATES_OF[measure]:
            values = self.rates(rate)[compared]
            found.append(
                (float(values.max() - values.min()), rate, compared[values.argmax()], compared[values.argmin()])
            )
        value, rate, high, low = max(found, key=lambda each: each[0])
        estimate = resampling.estimate(value, self._apart(rate, high, low, resampling))
        return Difference(Estimate(value, max(0.0, estimate.low), max(0.0, estimate.high)), rate, high, low)

    def _apart(self, rate: str, high: int, low: int, resampling: Resampling) -> Floats:
        """The difference of the two groups' rates in every resample."""
        pair = np.select([~self.base(rate), self.group == high, self.group == low], [2, 0, 1], 2)
        sums, counts = resampling.sums(self.decided, pair)
        with np.errstate(invalid="ignore"):
            rates = sums / counts
        return np.asarray(rates[:, 0] - rates[:, 1])
