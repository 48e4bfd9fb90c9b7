"""Three ways to judge the same canary streams. Each says after which look it rolls back, and whether it promotes.

Flagger: the checks and the threshold of its canonical example (docs.flagger.app, Istio canary deployments): request
success rate at least 99 %, p99 of request duration at most 500 ms, each over the last interval; rollback at the fifth
failed check. An interval is a look here. Intervals in which the canary got no request are not held against it.

Kayenta: NetflixACAJudge. Mann-Whitney U on a metric's data points, confidence 0.98; a metric is High when the lower end
of the interval of the location shift exceeds 0.25 times the Hodges-Lehmann estimate. A look gives one point of each arm
for the error rate and one for the mean latency (direction: increase); a point without requests is left out. Each step
is an analysis of its own, since points of a small share would only hide those of a larger one. With two metrics,
one that is High makes a score of 50, below the marginal score of 75 assumed here (Kayenta leaves it to its users).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from scripts.benchmarks.streams import WEIGHTS, ArmStream, Array, Floats, Streams
from tidegate.domain.rollout.betting import evidence_that_exceeds
from tidegate.domain.rollout.canary import Metric, Policy, evidence_scores_agree, evidence_scores_differ

NEVER = 1 << 30
FLAGGER_SUCCESS = 0.99
FLAGGER_THRESHOLD = 5
KAYENTA_CONFIDENCE = 0.98
KAYENTA_TOLERANCE = 0.25


@dataclass(frozen=True, slots=True)
class Decisions:
    """Per release: the look after which it was rolled back (`NEVER`), and whether it was promoted at the end."""

    stopped: Array
    promoted: npt.NDArray[np.bool_]


def tidegate(streams: Streams, policy: Policy) -> Decisions:
    """The verdict of `domain.rollout.canary` after every look; promotion on a PASS after the last."""
    releases, looks = streams.candidate.requests.shape
    failed = np.zeros((releases, looks), dtype=bool)
    passed = np.ones(releases, dtype=bool)
    for demand in policy.demands:
        if demand.metric is Metric.SCORES:
            both = streams.candidate.scores, streams.champion.scores
            worse, fine = evidence_scores_differ(*both, demand.tolerance), evidence_scores_agree(*both, demand.margin)
        else:
            ours, theirs = _rate(streams.candidate, demand.metric), _rate(streams.champion, demand.metric)
            worse = evidence_that_exceeds(*ours, *theirs, demand.tolerance)
            fine = evidence_that_exceeds(*theirs, *ours, -demand.margin)
        failed |= worse >= -math.log(policy.alpha * demand.alpha_share)
        if demand.required:
            passed &= fine[:, -1] >= -math.log(policy.beta)
    stopped = _first(failed)
    return Decisions(stopped, passed & (stopped == NEVER))


def flagger(streams: Streams) -> Decisions:
    """Fixed thresholds on the canary's last interval."""
    arm = streams.candidate
    served = np.maximum(arm.requests, 1)
    unsuccessful = 1 - arm.errors / served < FLAGGER_SUCCESS
    too_long = arm.over_500_ms / served > 0.01
    checks_failed = np.cumsum(unsuccessful | too_long, axis=1)
    stopped = _first(checks_failed >= FLAGGER_THRESHOLD)
    return Decisions(stopped, stopped == NEVER)


def kayenta(streams: Streams) -> Decisions:
    """A Mann-Whitney check of the step's points so far, after every look."""
    ours, theirs = streams.candidate, streams.champion
    stopped = np.full(len(ours.requests), NEVER)
    for one, other in (
        (ours.errors / np.maximum(ours.requests, 1), theirs.errors / np.maximum(theirs.requests, 1)),
        (ours.latency_ms, theirs.latency_ms),
    ):
        there = ours.requests > 0, theirs.requests > 0
        for step in np.split(np.arange(one.shape[1]), len(WEIGHTS)):
            found = _high(one[:, step], there[0][:, step], other[:, step], there[1][:, step])
            stopped = np.minimum(stopped, np.where(found == NEVER, NEVER, found + step[0]))
    return Decisions(stopped, stopped == NEVER)


def _rate(arm: ArmStream, metric: Metric) -> tuple[Floats | Array, Array]:
    return (arm.loss if metric is Metric.LOSS else getattr(arm, metric.value)), arm.requests


def _first(happened: npt.NDArray[np.bool_]) -> Array:
    return np.where(happened.any(axis=1), happened.argmax(axis=1), NEVER)


def _high(x: Floats, x_there: npt.NDArray[np.bool_], y: Floats, y_there: npt.NDArray[np.bool_]) -> Array:
    """First look after which Kayenta calls a metric High, for points [releases, looks] of canary (x) and baseline (y).

    U and its ties are counted look by look for all releases at once. Only where U alone would be significant, and more
    than half of all pairs are above (both are necessary), the shift is estimated as well.
    """
    releases, looks = x.shape
    needed = NormalDist().inv_cdf((1 + KAYENTA_CONFIDENCE) / 2)
    x, y = np.where(x_there, x, np.nan), np.where(y_there, y, np.nan)  # NaN compares as false
    above, equal, ties = (np.zeros(releases) for _ in range(3))
    stopped = np.full(releases, NEVER)
    m, n = np.cumsum(x_there, axis=1), np.cumsum(y_there, axis=1)
    for look in range(looks):
        new_x, new_y = x[:, look, None], y[:, look, None]
        past_x, past_y, upto_y = x[:, :look], y[:, :look], y[:, : look + 1]
        above += (new_x > upto_y).sum(axis=1) + (past_x > new_y).sum(axis=1)
        x_equal_y, y_equal_x = (new_x == upto_y).sum(axis=1), (past_x == new_y).sum(axis=1)
        equal += x_equal_y + y_equal_x
        # t^3 - t over groups of t tied values grows by 3 t^2 + 3 t when one joins: first y, then x, which meets y too.
        for group in (y_equal_x + (past_y == new_y).sum(axis=1), x_equal_y + (past_x == new_x).sum(axis=1)):
            ties += 3.0 * group**2 + 3.0 * group
        pairs, total = m[:, look] * n[:, look], m[:, look] + n[:, look]
        variance = pairs / 12 * (total + 1 - ties / np.maximum(total * (total - 1), 1))
        excess = above + equal / 2 - pairs / 2
        likely = (stopped == NEVER) & (above > pairs / 2) & (excess - 0.5 >= needed * np.sqrt(np.maximum(variance, 0)))
        for release in np.flatnonzero(likely & (variance > 0)):
            mine, other = x[release, : look + 1], y[release, : look + 1]
            if _shift_is_high(mine[~np.isnan(mine)], other[~np.isnan(other)], needed):
                stopped[release] = look
    return stopped


def _shift_is_high(x: Floats, y: Floats, needed: float) -> bool:
    """Whether the lower end of the shift's interval exceeds the tolerance: U stays significant with x moved by it."""
    shift = KAYENTA_TOLERANCE * float(np.median(x[:, None] - y[None, :]))
    moved = np.concatenate([x - shift, y])
    _, place, size = np.unique(moved, return_inverse=True, return_counts=True)
    rank = (np.cumsum(size) - (size - 1) / 2)[place]
    m, n, total = len(x), len(y), len(moved)
    excess = rank[:m].sum() - m * (m + 1) / 2 - m * n / 2
    variance = m * n / 12 * (total + 1 - float((size**3 - size).sum()) / (total * (total - 1)))
    return bool(excess - 0.5 > needed * math.sqrt(variance))
