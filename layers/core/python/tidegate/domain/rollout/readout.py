"""Which arm of a split is better, by the spec's metric and by value: always-valid, so it may be read at any time.

Labelled answers of both arms are taken in the order of their time and cut into windows: one closes when each arm has
`BATCH` of them. Of a window, the metric is computed for every full batch of an arm and averaged, so both arms have it
of equally many rows, and of the same time. What is judged is the difference of the two in each window, a number in
[-1, 1].

For a null hypothesis "the mean difference of each window, given those before, is at most m", a bet of the share b of
the capital on a window multiplies it by 1 + b (d - m), whose mean is at most 1. The capital is a nonnegative
supermartingale for each b in (0, 1 / (1 + m)), and so is the average over many b; by Ville's inequality it ever reaches
1 / alpha with probability at most alpha (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by
betting", Journal of the Royal Statistical Society B 86:1-27). All m that are not refuted make a confidence sequence.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.domain.registry.ledger import ALL_BP
from tidegate.kernel.errors import DataCheckError
from tidegate.kernel.metrics.metric import Metric

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
BATCH = 50  # labelled answers of an arm, of which the metric is computed
ALPHA = 0.05  # of all findings together
_BETS = np.geomspace(0.005, 0.95, 24)
_BISECTIONS = 20


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labelled answers of an arm, in the order of their time.

    Attributes:
        time: ISO 8601 in UTC [n].
        target: as in `metric.Rows` [n].
        scores: as in `metric.Rows` [n, classes or 1].
        right: whether each decision was right [n]; None where the spec declares no value.
    """

    time: Array
    target: Array
    scores: Floats
    right: Array | None = None


@dataclass(frozen=True, slots=True)
class ReadoutFinding:
    """What the arms are compared by. A positive `gain` speaks for the version of the split, `low` and `high` are its
    always-valid interval, in `unit`; None before the first window. `better` is the version that is shown to be so."""

    name: str
    unit: str
    champion: float | None
    split: float | None
    gain: float | None
    low: float | None
    high: float | None
    better: int | None


@dataclass(frozen=True, slots=True)
class Readout:
    """Of a split of `version`, with `share_bp`, beside `champion`. `rows` and `split_rows` are labelled answers."""

    version: int
    champion: int
    share_bp: int
    rows: int
    split_rows: int
    windows: int
    findings: tuple[ReadoutFinding, ...]

    @property
    def better(self) -> int | None:
        """The version that some finding shows to be better and none to be worse."""
        found = {each.better for each in self.findings} - {None}
        return found.pop() if len(found) == 1 else None

    @property
    def sentence(self) -> str:
        """What follows, for people."""
        if self.better is not None:
            return f"version {self.better} is shown to be better"
        if any(each.better for each in self.findings):
            return "the findings contradict each other: decide which of them counts"
        return "neither version is shown to be better yet"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        found = {"better": self.better, "sentence": self.sentence}
        return asdict(self) | {"findings": [asdict(each) for each in self.findings]} | found


@dataclass(frozen=True, slots=True)
class Worth:
    """What a right decision brings and a wrong one costs, in `currency`."""

    correct: float
    wrong: float
    currency: str


@dataclass(frozen=True, slots=True)
class Split:
    """Who shares the requests: the version of the split with `share_bp`, and the champion the rest."""

    version: int
    champion: int
    share_bp: int


def read_out(
    split: Split,
    champion: Labelled,
    other: Labelled,
    metric: Metric,
    *,
    positive: int = 1,
    threshold: float = 0.5,
    worth: Worth | None = None,
) -> Readout:
    """Compare the arms. `positive` and `threshold` are those of `metric.Rows`."""
    if not 0 < split.share_bp < ALL_BP:
        raise ValueError(f"a split has 1 to {ALL_BP - 1} basis points, not {split.share_bp}")

    def of_metric(arm: Labelled, rows: slice) -> float:
        try:
            return metric.value(arm.target[rows], arm.scores[rows], positive=positive, threshold=threshold)
        except DataCheckError:
            return np.nan

    windows = list(_windows(champion, other))
    measured = [_measured(metric, _values(of_metric, champion, other, windows))]
    if worth:
        rights, money = _values(_right, champion, other, windows), worth.correct + worth.wrong
        measured.append(
            _Measured(
                "value", f"{worth.currency} a decision", rights * money - worth.wrong, rights[1] - rights[0], money
            )
        )
    return Readout(
        version=split.version,
        champion=split.champion,
        share_bp=split.share_bp,
        rows=len(champion.time),
        split_rows=len(other.time),
        windows=len(windows),
        findings=tuple(_found(each, split, ALPHA / len(measured)) for each in measured),
    )


def evidence_of_gain(differences: Floats, at_most: float) -> float:
    """Logarithm of the largest capital so far of the bets against "each mean is at most `at_most`".

    Args:
        differences: numbers in [-1, 1] in their order [n].
        at_most: above -1.
    """
    if not len(differences):
        return 0.0
    bets = _BETS / (1 + at_most)
    capital = np.cumsum(np.log1p(bets[:, None] * (differences[None, :] - at_most)), axis=1)
    return max(0.0, float((np.logaddexp.reduce(capital, axis=0) - np.log(len(bets))).max()))


def interval(differences: Floats, alpha: float) -> tuple[float, float]:
    """The always-valid interval of their mean, each end with half of `alpha`."""
    return _least(differences, alpha / 2), -_least(-differences, alpha / 2)


def _least(differences: Floats, alpha: float) -> float:
    """The largest number of which the evidence shows that the mean is above it; -1 when it shows nothing."""
    low, high, needed = -1.0, 1.0, -np.log(alpha)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if evidence_of_gain(differences, middle) >= needed else (low, middle)
    return low


def _windows(champion: Labelled, other: Labelled) -> Iterator[tuple[slice, slice]]:
    """Rows of both arms in each window; each arm has a batch or more."""
    starts = [0, 0]
    arms = champion.time, other.time
    while all(start + BATCH <= len(time) for start, time in zip(starts, arms, strict=True)):
        closes = max(time[start + BATCH - 1] for start, time in zip(starts, arms, strict=True))
        ends = [int(np.searchsorted(time, closes, side="right")) for time in arms]
        yield slice(starts[0], ends[0]), slice(starts[1], ends[1])
        starts = ends


def _values(
    measure: Callable[[Labelled, slice], float],
    champion: Labelled,
    other: Labelled,
    windows: Sequence[tuple[slice, slice]],
) -> Floats:
    """Of champion and other [2, windows], without windows in which an arm has none."""
    values = [[_averaged(measure, champion, first), _averaged(measure, other, second)] for first, second in windows]
    found = np.asarray(values, dtype=np.float64).reshape(-1, 2).T
    return np.asarray(found[:, ~np.isnan(found).any(axis=0)])


def _averaged(measure: Callable[[Labelled, slice], float], arm: Labelled, rows: slice) -> float:
    """Over the full batches of an arm; NaN where one has no such number."""
    starts = range(rows.start, rows.stop - BATCH + 1, BATCH)
    return float(np.mean([measure(arm, slice(start, start + BATCH)) for start in starts]))


def _right(arm: Labelled, rows: slice) -> float:
    return float(np.mean(arm.right[rows])) if arm.right is not None else np.nan


@dataclass(frozen=True, slots=True)
class _Measured:
    """What is compared: values of champion and other [2, windows], and the differences [windows] in [-1, 1], which
    `scale` turns into the unit."""

    name: str
    unit: str
    values: Floats
    gains: Floats
    scale: float


def _measured(metric: Metric, values: Floats) -> _Measured:
    """A metric without a worst value is compared by how far both are from a perfect one, as a share of their sum."""
    if metric.worst is not None:
        scale = abs(metric.perfect - metric.worst)
        return _Measured(metric.text, "", values, metric.sign * (values[1] - values[0]) / scale, scale)
    short = np.abs(metric.perfect - values)
    gains = (short[0] - short[1]) / np.maximum(short[0] + short[1], np.finfo(np.float64).tiny)
    return _Measured(metric.text, "share of both errors", values, gains, 1.0)


def _found(measured: _Measured, split: Split, alpha: float) -> ReadoutFinding:
    name, unit, gains, scale = measured.name, measured.unit, measured.gains, measured.scale
    if not len(gains):
        return ReadoutFinding(name, unit, None, None, None, None, None, None)
    low, high = interval(gains, alpha)
    champion, other = measured.values.mean(axis=1)
    return ReadoutFinding(
        name=name,
        unit=unit,
        champion=float(champion),
        split=float(other),
        gain=scale * float(gains.mean()),
        low=scale * low,
        high=scale * high,
        better=split.version if low > 0 else split.champion if high < 0 else None,
    )
