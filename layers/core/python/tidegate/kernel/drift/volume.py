"""How much traffic is usual."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_MAD_TO_DEVIATION = 1.4826  # of a normal distribution


@dataclass(frozen=True, slots=True)
class Volume:
    """Rows of a window against earlier windows of the same length.

    A window is unusual when it lies more than `deviations` robust standard deviations from the median (the median
    absolute deviation scaled to a normal distribution: Leys et al. 2013, J. Exp. Soc. Psychol. 49:764-766; never less
    than a Poisson count's own) and differs by the share `threshold` of the median or more.
    """

    name: str = "volume"
    sentence: str = "Rows of the window, against the median of earlier windows of the same length."
    threshold: float = 0.5
    deviations: float = 4.0
    least_windows: int = 8

    def usual(self, windows: Sequence[int]) -> tuple[float, float, float]:
        """The median of earlier windows, and the fewest and the most rows that are usual."""
        middle = float(median(windows))
        spread = max(_MAD_TO_DEVIATION * median(abs(each - middle) for each in windows), math.sqrt(middle))
        away = max(self.deviations * spread, self.threshold * middle)
        return middle, max(middle - away, 0.0), middle + away

    def unusual(self, rows: int, windows: Sequence[int]) -> bool:
        """Whether so many rows are not usual. Counts cannot fall below zero: where the spread is wide, the end of a
        service shows as zero alone."""
        _, low, high = self.usual(windows)
        return rows < low or rows > high or (rows == 0 and min(windows) > 0)


VOLUME = Volume()
