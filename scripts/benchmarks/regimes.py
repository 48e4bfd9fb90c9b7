"""What a shared outage, the pairs of a shadow and the spread of losses are worth: requests until a canary knows."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from scripts.benchmarks.streams import ERROR_RATE, Array, Floats
from tidegate.domain.rollout.betting import (
    coins,
    evidence_of_pairs,
    evidence_that_exceeds,
    evidence_that_means_exceed,
    masses,
)
from tidegate.domain.rollout.canary import DEMANDS, Demand, Metric, Policy

OUTAGE_LOOKS = 30
OUTAGE_RATE = 0.3  # of both arms' requests fail
SHARE = 0.25  # of the candidate, after the outage
WORSE = 0.05
COMMON, MORE = 0.05, 0.01  # of the requests fail with both; with the shadow alone
LOSSES = ((1.25, 3.75), (1.0, 4.0))  # Beta distributions of the candidate's and the champion's losses: means .25 and .2
_SIZE = 50  # requests a look
_LABELS = 20  # of each arm a look
_ERRORS, _LOSS = (next(each for each in DEMANDS if each.metric is metric) for metric in (Metric.ERRORS, Metric.LOSS))


def regimes(releases: int) -> dict[str, Any]:
    """Medians over so many simulated releases."""
    return {"after_outage": _after_outage(releases), "shadow": _shadow(releases), "labels": _labels(releases)}


def _after_outage(releases: int) -> dict[str, float]:
    """Requests until a candidate with 5 points more errors fails, and until an equal one passes, counted from the end
    of an outage of both arms, as a multiple of those without an outage."""
    chance = np.random.default_rng(1)
    ours = chance.binomial(_SIZE, SHARE, (releases, 400))
    theirs = _SIZE - ours
    down = np.where(np.arange(400) < OUTAGE_LOOKS, OUTAGE_RATE, 0.0)

    def failing(more: float, outage: Floats) -> tuple[Array, Array]:
        rates = (np.maximum(ERROR_RATE + worse, outage) for worse in (more, 0.0))
        return tuple(chance.binomial(n, rate) for n, rate in zip((ours, theirs), rates, strict=True))  # type: ignore[return-value]

    def worse(outage: Floats) -> Floats:
        x, y = failing(WORSE, outage)
        return evidence_that_exceeds(x, ours, y, theirs, _ERRORS.tolerance)

    def healthy(outage: Floats) -> Floats:
        x, y = failing(0.0, outage)
        return evidence_that_exceeds(y, theirs, x, ours, -_ERRORS.margin)

    def ratio(evidence: Callable[[Floats], Floats], needed: float) -> float:
        fresh = _looks_until(evidence(0 * down), needed)
        return round(_looks_until(evidence(down)[:, OUTAGE_LOOKS:], needed) / fresh, 2)

    return {
        "worse_over_fresh": ratio(worse, _fails_at(_ERRORS)),
        "healthy_over_fresh": ratio(healthy, -math.log(Policy().beta)),
    }


def _shadow(releases: int) -> dict[str, int]:
    chance = np.random.default_rng(2)
    n = np.full((releases, 800), _SIZE)
    both = chance.binomial(n, COMMON)
    ours = both + chance.binomial(n - both, MORE)
    pairs = evidence_of_pairs(ours, both, both, n, _ERRORS.tolerance)
    apart = evidence_that_exceeds(ours, n, both, n, _ERRORS.tolerance)
    return {
        "requests_paired": round(_SIZE * _looks_until(pairs, _fails_at(_ERRORS))),
        "requests_unpaired": round(_SIZE * _looks_until(apart, _fails_at(_ERRORS))),
    }


def _labels(releases: int) -> dict[str, int]:
    """Labels of both arms until a larger loss fails; `before`, as coins of the same mean."""
    chance = np.random.default_rng(3)
    ours, theirs = (chance.beta(*shape, (releases, 300, _LABELS)) for shape in LOSSES)
    bets = evidence_that_means_exceed(masses(ours), masses(theirs), _LOSS.tolerance)
    n = np.full(ours.shape[:2], float(_LABELS))
    before = evidence_that_means_exceed(coins(ours.sum(axis=-1), n), coins(theirs.sum(axis=-1), n), _LOSS.tolerance)
    return {
        name: round(2 * _LABELS * _looks_until(evidence, _fails_at(_LOSS)))
        for name, evidence in (("betting", bets), ("before", before))
    }


def _fails_at(demand: Demand) -> float:
    return -math.log(Policy().alpha * demand.alpha_share)


def _looks_until(evidence: Floats, needed: float) -> float:
    """Median looks until there is so much evidence [releases, looks]; a release without counts as all its looks."""
    there = evidence >= needed
    return float(np.median(np.where(there.any(axis=1), there.argmax(axis=1) + 1, evidence.shape[1])))
