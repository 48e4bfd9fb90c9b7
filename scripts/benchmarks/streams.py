"""Simulated canary releases on which the truth is known: requests of two arms, look by look, at the steps' weights."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

WEIGHTS = (0.01, 0.05, 0.25, 0.5)
REQUESTS_PER_STEP = 6000
LATENCY_TARGET_MS = 250
# A healthy model by anyone's defaults: 99.5 % success, and a p99 of about 350 ms.
ERROR_RATE = 0.005
OTHER_RATES = {"timeouts": 0.001, "fallbacks": 0.003, "violations": 0.001}
SLOW_SHARE = 0.05
_SPREAD = 0.48  # of the logarithm of latency
_SCORE_BINS = 4

Array = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Truth:
    """What the candidate is like. `errors` is added to its error rate; its share over the latency target is multiplied
    by `slower`. `drift`: both arms' error rates and slow shares rise from half to one and a half times, together."""

    errors: float = 0.0
    slower: float = 1.0
    drift: bool = False
    requests_per_look: int = 50


@dataclass(frozen=True, slots=True)
class ArmStream:
    """What one arm did in each look [releases, looks]; scores have their bins as a last axis."""

    requests: Array
    errors: Array
    timeouts: Array
    fallbacks: Array
    violations: Array
    slow: Array
    over_500_ms: Array
    latency_ms: Floats  # mean; 0 where there was no request
    scores: Array
    loss: Floats  # sum of losses in [0, 1]; every request is labelled


@dataclass(frozen=True, slots=True)
class Streams:
    """Both arms; `seen` is how many requests there have been after each look [looks]."""

    candidate: ArmStream
    champion: ArmStream
    seen: Array


def simulate(truth: Truth, releases: int, seed: int) -> Streams:
    """Releases that run through all steps, whatever they find."""
    chance = np.random.default_rng(seed)
    size = truth.requests_per_look
    weight = np.repeat(WEIGHTS, REQUESTS_PER_STEP // size)
    looks = len(weight)
    ours = chance.random((releases, looks, size)) < weight[:, None]
    wave = np.linspace(0.5, 1.5, looks) if truth.drift else np.ones(looks)
    return Streams(
        _arm(chance, ours, ERROR_RATE * wave + truth.errors, SLOW_SHARE * wave * truth.slower),
        _arm(chance, ~ours, ERROR_RATE * wave, SLOW_SHARE * wave),
        size * np.arange(1, looks + 1),
    )


def _arm(chance: np.random.Generator, mine: npt.NDArray[np.bool_], error_rate: Floats, slow_share: Floats) -> ArmStream:
    requests = mine.sum(axis=2)
    # Latency is lognormal; its median follows from the share over the target.
    quantile = np.asarray([NormalDist().inv_cdf(1 - share) for share in slow_share])
    median = np.exp(math.log(LATENCY_TARGET_MS) - quantile * _SPREAD)
    latency = median[:, None] * np.exp(_SPREAD * chance.standard_normal(mine.shape)) * mine
    loss = chance.beta(1, 4, mine.shape) * mine
    return ArmStream(
        requests=requests,
        errors=chance.binomial(requests, error_rate),
        **{name: chance.binomial(requests, rate) for name, rate in OTHER_RATES.items()},
        slow=(latency > LATENCY_TARGET_MS).sum(axis=2),
        over_500_ms=(latency > 500).sum(axis=2),
        latency_ms=latency.sum(axis=2) / np.maximum(requests, 1),
        scores=chance.multinomial(requests, [1 / _SCORE_BINS] * _SCORE_BINS),
        loss=loss.sum(axis=2),
    )
