"""Whether probabilities are what they say: of the rows that are given 0.3, do 30 % come true?

All functions take `event`, whether what the score is the probability of came true [n], and the score [n].
"""

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from tidegate.domain.evaluation.bootstrap import Resampling
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.sections import Calibration, CalibrationBin, Curves
from tidegate.kernel.metrics.metric import Floats
from tidegate.kernel.table import Column

BINS = 15  # as Guo et al. 2017, "On calibration of modern neural networks", ICML
_LEAST_ROWS = 20  # of a bin: fewer say nothing of a rate
CURVE_POINTS = 200


def calibration(event: Column, score: Column, resampling: Resampling) -> Calibration:
    """Reliability by bins of equally many rows, expected calibration error and Brier score."""
    score, event = score.astype(np.float64), event.astype(np.float64)
    place = _bins(score)
    ece, uncorrected = calibration_error(event, score, place, resampling)
    bins = (_bin(event[place == each], score[place == each], resampling.confidence) for each in np.unique(place))
    return Calibration(
        bins=tuple(bins),
        ece=ece,
        ece_uncorrected=uncorrected,
        brier=resampling.mean((score - event) ** 2),
    )


def calibration_error(
    event: Column, score: Column, place: npt.NDArray[np.intp], resampling: Resampling
) -> tuple[Estimate, float]:
    """Expected calibration error less what chance makes of it, and as it is.

    It is the mean over rows of how far the mean score of a row's bin (`place` [n]) lies from the rate of its bin
    (Naeini, Cooper and Hauskrecht 2015, AAAI; bins of equally many rows: Nixon et al. 2019, CVPR workshops). It takes
    every gap as an error, also one by chance, so it is above zero for a perfectly calibrated model (Roelofs et al.
    2022, AISTATS). What chance makes is seen in the resamples: the error that is left when each bin's own gap is taken
    off. Its mean is taken off in squares, as the variance is from the squared error (Kumar, Liang and Ma 2019,
    NeurIPS): sqrt(error^2 - chance^2), zero where chance explains all. The ends of the interval, the error less and
    more the spread of its replicates, go through the same formula.
    """
    gap = score - event
    inside = [gap[place == each] for each in np.unique(place)]
    own = np.array([each.mean() for each in inside])
    plain = float(sum(abs(each.sum()) for each in inside) / len(gap))
    gaps, counts = resampling.sums(gap, place)
    replicates = np.abs(gaps).sum(axis=1) / counts.sum(axis=1)
    chance = float(np.mean(np.abs(gaps - own * counts).sum(axis=1) / counts.sum(axis=1)))
    spread = resampling.estimate(0.0, replicates.mean() - replicates)
    value, low, high = (
        math.sqrt(max(0.0, max(0.0, end) ** 2 - chance**2)) for end in (plain, plain + spread.low, plain + spread.high)
    )
    return Estimate(value, low, high), plain


def wilson(hits: float, rows: int, confidence: float) -> tuple[float, float]:
    """Interval of a share of independent rows (Wilson 1927, J. Am. Stat. Assoc. 22:209-212)."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = hits / rows, z * z / rows
    centre = share + spread / 2
    half = math.sqrt(spread * (share * (1 - share) + spread / 4))
    return max(0.0, (centre - half) / (1 + spread)), min(1.0, (centre + half) / (1 + spread))


def curves(event: Column, score: Column) -> Curves | None:
    """Receiver operating characteristic [false positive rate, true positive rate] and [recall, precision] over falling
    scores, each of at most `CURVE_POINTS` points. None when all rows are of one class."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, [True])  # of the rows with one score
    hits = np.cumsum(event[order])[last].astype(np.float64)
    rows = np.flatnonzero(last) + 1.0
    if not 0 < hits[-1] < rows[-1]:
        return None
    recall, precision, alarm = hits / hits[-1], hits / rows, (rows - hits) / (rows[-1] - hits[-1])
    roc = np.concatenate([[[0.0, 0.0]], np.stack([alarm, recall], axis=1)])
    pr = np.stack([recall, precision], axis=1)
    return Curves(roc=_thinned(roc, roc.sum(axis=1)), pr=_thinned(pr, recall))


def _bins(score: Floats) -> npt.NDArray[np.intp]:
    """Bin of each row; equal scores share one, so there may be fewer bins than asked for."""
    count = min(BINS, max(1, len(score) // _LEAST_ROWS))
    edges = np.unique(np.quantile(score, np.arange(1, count) / count, method="inverted_cdf"))
    return np.searchsorted(edges, score, side="left")


def _bin(event: Floats, score: Floats, confidence: float) -> CalibrationBin:
    low, high = wilson(event.sum(), len(event), confidence)
    return CalibrationBin(
        low=float(score.min()),
        high=float(score.max()),
        rows=len(event),
        mean_score=float(score.mean()),
        rate=Estimate(float(event.mean()), float(low), float(high)),
    )


def _thinned(points: Floats, along: Floats) -> tuple[tuple[float, ...], ...]:
    """Points that lie evenly along the curve, first and last among them."""
    wanted = np.searchsorted(along, np.linspace(along[0], along[-1], CURVE_POINTS))
    kept = np.unique(np.append(wanted, [0, len(points) - 1]))[-CURVE_POINTS:]
    return tuple(tuple(point) for point in points[kept].round(6).tolist())
