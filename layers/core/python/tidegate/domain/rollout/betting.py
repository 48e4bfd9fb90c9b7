"""Always-valid evidence: e-processes over looks for two arms, for pairs, and for one rate.

Each is what a bet against a null hypothesis would have made of 1; here as its logarithm. By Ville's inequality it
ever reaches 1 / alpha with probability at most alpha, whatever one does with it in the meantime (Ville 1939; Howard
et al. 2021, Annals of Statistics 49:1055-1080).

Two arms. For the null "in every look, mean of more - mean of less <= by", for values in [0, 1], and for a point (m*,
l*) outside of it, let (m°, l°) be the point of the null that is nearest to it, in the Kullback-Leibler divergence of
coins weighted by the arms' sizes n and k in the look. A value x of one arm wins 1 + a (x - m°), one of the other wins
1 + b (x - l°), with a = (m* - m°) / (m° (1 - m°)), and b alike. For coins these are likelihood ratios (Turner and
Grünwald 2023, "Exact anytime-valid confidence intervals for contingency tables and beyond", Statistics and
Probability Letters 198:109835). For other values they are bets on bounded means (Waudby-Smith and Ramdas 2024,
Journal of the Royal Statistical Society B 86:1-27), never below the coin's. The mean of the product is A(m)^n B(l)^k
with A and B linear, so its logarithm is concave, is 0 at (m°, l°), and falls from there in every direction the null
allows, since that is what being nearest means (n a + k b = 0). So it is at most 1 for every pair of means in the
null, and what is done to be nearest costs validity nothing. Evidence is an average over many points (m*, l*), here a
fixed grid.

Restarts. A change of regime must not cost the evidence that comes after it. So each e-process is a mixture over the
look that it starts with (Shin, Ramdas and Rinaldo 2023, "E-detectors", New England Journal of Statistics in Data
Science 2:229-260). Part of the capital waits, and starts when the rate of both arms together has just changed; a
smaller part starts at any look. When, and with how much, follows from the looks before, and the weights add up to at
most 1; so the mixture starts at 1 and is an e-process itself.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[Any]

# Values that masses lie on. A value between two of them is shared by both, so that the mean stays: the logarithm of a
# bet is concave, so the shares win no more than the value would.
VALUES = (0.0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
_COIN = (0.0, 1.0)
WIDEST = 0.99  # no null further out is tried; the grid would be empty there
# The grid of rates that are bet on. Any grid is valid; this one loses little power between one in two thousand and nine
# in ten. The distance between the null and "no difference" is always among the steps.
_BASES = (0.0005, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
_STEPS = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6)
_LEAST_RATE = 0.0002  # a bet on a rate of 0 would be lost for good by one event
_STAKES = (0.01, 0.02, 0.04, 0.08, 0.13, 0.2, 0.3, 0.42, 0.56, 0.7, 0.84, 0.95)  # on a pair, of what may be staked
_ANY_TIME = 0.05  # of the capital starts at some look after the first
_AT_CHANGES = 0.3  # starts after changes of the common rate, half of what is left at each
_CHANGE = 3.6  # standard errors, less half an event, by which the rate of a look differs when it has changed


def masses(values: Counts) -> Floats:
    """How much of values in [0, 1] [..., n] lies on each of `VALUES` [..., len(VALUES)]; adds up to n."""
    points = np.asarray(VALUES)
    at = np.clip(np.asarray(values, dtype=np.float64), 0.0, 1.0)
    upper = np.clip(np.searchsorted(points, at, side="right"), 1, len(points) - 1)
    share = (at - points[upper - 1]) / (points[upper] - points[upper - 1])
    found = np.zeros((*at.shape[:-1], len(points)))
    for place in range(1, len(points)):
        here = upper == place
        found[..., place - 1] += np.where(here, 1 - share, 0.0).sum(axis=-1)
        found[..., place] += np.where(here, share, 0.0).sum(axis=-1)
    return found


def coins(events: Counts, n: Counts) -> Counts:
    """Events among n as masses on 0 and 1 [..., 2]; a sum of values in [0, 1] will do as well."""
    return np.stack([n - events, events], axis=-1)


def evidence_that_exceeds(more: Counts, more_n: Counts, less: Counts, less_n: Counts, by: float) -> Floats:
    """Logarithm of the e-process against "in every look, more_rate - less_rate <= by", after each look.

    Args:
        more: events in the arm that may have the larger rate [..., looks].
        more_n: requests of that arm in each look, from 0 to 2**31. `less` and `less_n` are the same of the other arm.
        by: a number in [-0.99, 0.99]; negative ones make the null "the arm lags behind by at least that much".
    """
    return evidence_that_means_exceed(coins(more, more_n), coins(less, less_n), by)


def evidence_that_means_exceed(more: Counts, less: Counts, by: float) -> Floats:
    """The same of values in [0, 1], given as masses on 0 and 1 [..., looks, 2] or on `VALUES` [..., looks, 9]."""
    return _mixed(_from_any_look(_gained(more, less, by), more + less))


def evidence_of_pairs(more: Counts, less: Counts, both: Counts, n: Counts, by: float) -> Floats:
    """Logarithm of the e-process against "in every look, more_rate - less_rate <= by", where each of the n [..., looks]
    requests was answered by both: `more` and `less` count the events of either, `both` the common ones.

    What happens to both at once neither wins nor loses more than the tolerance is worth, so it costs no evidence. A bet
    on the bounded difference -1, 0 or 1 (Waudby-Smith and Ramdas 2024), averaged over stakes.
    """
    stakes = np.asarray(_STAKES) / (1 + by)
    won, lost = (more - both)[..., None], (less - both)[..., None]
    gained = won * np.log1p(stakes * (1 - by)) + lost * np.log1p(-stakes * (1 + by))
    gained += (n[..., None] - won - lost) * np.log1p(-stakes * by)
    return _mixed(_from_any_look(gained, coins(more + less, 2 * n)))


def evidence_of_rate(events: Counts, n: Counts, limit: float, *, above: bool) -> Floats:
    """Logarithm of the e-process against "in every look, rate <= limit" (or, not `above`, rate >= limit).

    Arguments and answer as in `evidence_that_exceeds`, with a known rate in place of the other arm.
    """
    return evidence_of_mean(coins(events, n), limit, above=above)


def evidence_of_mean(values: Counts, limit: float, *, above: bool) -> Floats:
    """The same of values in [0, 1], given as masses."""
    return _mixed(_from_any_look(_gained_alone(values, limit, above=above), values))


def _gained(more: Counts, less: Counts, by: float) -> Floats:
    """What each alternative gains in each look [..., looks, alternatives]."""
    points = _points(more)
    sizes = (np.rint(arm.sum(axis=-1)).astype(np.int64) for arm in (more, less))
    more_n, less_n = sizes
    keys, position = np.unique(more_n << 32 | less_n, return_inverse=True)
    position = position.reshape(more_n.shape)
    gains = _coin_gains(by, keys.tobytes()) if points is _COIN else _gains(by, keys.tobytes(), points)
    gained = np.zeros((*more_n.shape, gains[0].shape[-1]))
    for arm, of_arm in zip((more, less), np.split(gains, 2), strict=True):
        for mass, gain in zip(np.moveaxis(arm, -1, 0), of_arm, strict=True):
            if mass.any():
                gained += gain[position] * mass[..., None]
    return gained


def _gained_alone(values: Counts, limit: float, *, above: bool) -> Floats:
    further = [*_STEPS, limit / 10, (1 - limit) / 2 if above else limit / 2]
    tuned = np.asarray([limit + step if above else limit - step for step in further])
    tuned = tuned[(tuned >= min(_LEAST_RATE, limit / 2)) & (tuned < 1)]
    bets = (tuned - limit) / (limit * (1 - limit))
    points = np.asarray(_points(values))
    return np.asarray(values @ np.log1p(bets * (points[:, None] - limit)))


def _gains(by: float, keys: bytes, points: tuple[float, ...]) -> Floats:
    """What each alternative gains by a value of either arm [2 * points, sizes, alternatives]; first the more arm's."""
    packed = np.frombuffer(keys, dtype=np.int64)
    sizes = np.stack([packed >> 32, packed & 0xFFFFFFFF], axis=1)
    tuned_more, tuned_less = _alternatives(by)
    near_less = _nearest(tuned_more, tuned_less, by, np.maximum(sizes, 1))
    near_more = np.clip(near_less + by, 1e-12, 1 - 1e-12)  # out of range only where the look compares nothing
    counts = (sizes.min(axis=1) > 0)[:, None]
    gains = np.empty((2 * len(points), *near_less.shape))
    for half, (tuned, near) in enumerate(((tuned_more, near_more), (tuned_less, near_less))):
        bet = np.where(counts, (tuned - near) / (near * (1 - near)), 0.0)
        for place, value in enumerate(points):
            gains[half * len(points) + place] = np.log1p(np.maximum(bet * (value - near), -1 + 1e-15))
    return gains


@lru_cache(maxsize=64)  # all metrics of a look count over the same requests, and their intervals are searched alike
def _coin_gains(by: float, keys: bytes) -> Floats:
    return _gains(by, keys, _COIN)


def _alternatives(by: float) -> tuple[Floats, Floats]:
    """The grid: rates (more, less) that differ by more than `by`."""
    steps = np.asarray([*_STEPS, abs(by)] if by < 0 else _STEPS)
    less, step = (part.ravel() for part in np.meshgrid(_BASES, steps, indexing="ij"))
    more = less + by + step
    fits = (more >= _LEAST_RATE) & (more <= 1 - _LEAST_RATE)
    return more[fits], less[fits]


def _nearest(more: Floats, less: Floats, by: float, sizes: Counts) -> Floats:
    """The less arm's rate at the null's point nearest to (more, less) [sizes, alternatives], on the null's edge.

    Minimises n KL(more || x + by) + k KL(less || x). The derivative rises with x and changes sign between the ends
    below; Newton steps that leave the bracket are replaced by its middle.
    """
    n, k = sizes[:, :1].astype(np.float64), sizes[:, 1:].astype(np.float64)
    shape = (len(sizes), len(more))
    low = np.broadcast_to(np.maximum(less, -by), shape).copy()
    high = np.broadcast_to(np.minimum(np.minimum(more - by, 1.0), 1.0 - by), shape).copy()
    at = low + (high - low) * np.clip(n / (n + k), 0.01, 0.99)
    for _ in range(60):
        shifted = at + by
        x, y = np.maximum(at * (1 - at), 1e-15), np.maximum(shifted * (1 - shifted), 1e-15)
        beyond, over = shifted - more, at - less
        slope = n * beyond / y + k * over / x
        bend = n * (y - beyond * (1 - 2 * shifted)) / (y * y) + k * (x - over * (1 - 2 * at)) / (x * x)
        rising = slope > 0
        np.copyto(high, at, where=rising)
        np.copyto(low, at, where=~rising)
        following = at - slope / bend
        inside = (following >= low) & (following <= high)
        if not inside.all():
            np.copyto(following, (low + high) / 2, where=~inside)
        moved = np.abs(following - at).max(initial=0.0)
        at = following
        if moved < 1e-11:
            break
    return np.asarray(np.clip(at, 1e-12, 1 - 1e-12))


def _points(values: Counts) -> tuple[float, ...]:
    return _COIN if values.shape[-1] == len(_COIN) else VALUES


def _from_any_look(gained: Floats, values: Counts) -> Floats:
    """Logarithm of the mixture over starting looks, of what was gained in each look [..., looks, alternatives].

    `values` are both arms' masses in each look, by which a change of regime is seen.
    """
    total = np.cumsum(gained, axis=-2)
    starts = _starts(values)
    mixed = np.logaddexp.accumulate(np.log(starts)[..., None] - (total - gained), axis=-2) + total
    waiting = np.maximum(1 - np.cumsum(starts, axis=-1), 1e-300)
    return np.asarray(np.logaddexp(mixed, np.log(waiting)[..., None]))


def _starts(values: Counts) -> Floats:
    """How much of the capital starts with each look [..., looks]: most with the first; of `_ANY_TIME`, look t of those
    after it has 1 / (t (t + 1)); and half of what is left of `_AT_CHANGES`, when the look before was a change."""
    n = values.sum(axis=-1)
    events = values @ np.asarray(_points(values))
    looks = n.shape[-1]
    starts = np.empty(n.shape)
    starts[..., :1] = 1 - _ANY_TIME - _AT_CHANGES
    later = np.arange(1, looks)
    starts[..., 1:] = _ANY_TIME / (later * (later + 1))
    left = np.full(n.shape[:-1], _AT_CHANGES)
    seen_n, seen = np.zeros(n.shape[:-1]), np.zeros(n.shape[:-1])
    for look in range(looks - 1):
        now_n, now = n[..., look], events[..., look]
        both = np.maximum(seen_n + now_n, 1)
        rate = (seen + now) / both
        error = np.sqrt(rate * (1 - rate) * (1 / np.maximum(seen_n, 1) + 1 / np.maximum(now_n, 1)))
        apart = np.abs(now / np.maximum(now_n, 1) - seen / np.maximum(seen_n, 1)) - 0.5 / np.maximum(now_n, 1)
        changed = (seen_n > 0) & (now_n > 0) & (apart > _CHANGE * error)
        starts[..., look + 1] += np.where(changed, left / 2, 0.0)
        left = np.where(changed, left / 2, left)
        seen_n = np.where(changed, now_n, seen_n + now_n)
        seen = np.where(changed, now, seen + now)
    return starts


def _mixed(logs: Floats) -> Floats:
    """Logarithm of the average over the last axis."""
    top = logs.max(axis=-1)
    return np.asarray(top + np.log(np.exp(logs - top[..., None]).mean(axis=-1)))
