"""What a classifier's probabilities come to on rows that it was not fitted on, where they are not what they say.

    recalibration = choose(target, probabilities, seed=7)   # on the holdout
    recalibration.of(live)                                  # how often each class comes true, [n, classes]

Two maps are tried beside none at all: isotonic regression (Zadrozny and Elkan 2002, "Transforming classifier scores
into accurate multiclass probability estimates", KDD) and Platt's sigmoid of the log odds (Platt 1999; Lin, Lin and Weng
2007, "A note on Platt's probabilistic outputs for support vector machines", Machine Learning 68:267-276). They are
compared by their cross-fitted log loss, which looks at rare outcomes too; the Brier score hardly does. The isotonic map
assumes least, so it is kept unless another one is better by more than the standard error of the difference. Several
classes are mapped one by one and divided by their sum, as Zadrozny and Elkan do. numpy only: monitoring applies it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from tidegate.kernel.metrics.metric import Array, Floats

Method = Literal["none", "isotonic", "platt"]
METHODS: tuple[Method, ...] = ("isotonic", "platt", "none")
FOLDS = 5
LEAST_OF_CLASS = 20  # rows of each side of a map, so that it is no accident
_EDGE = 1e-6  # of probabilities in log odds; captures have six decimals
_STEPS = 50


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A map of probabilities. `curves` has one for the positive class of two, or one for each of several: of an
    isotonic map the points (x, y) between which it is straight, of a sigmoid slope and intercept of the log odds."""

    method: Method = "none"
    positive: int = 1
    curves: tuple[tuple[tuple[float, float], ...], ...] = ()

    def of(self, probabilities: Floats) -> Floats:
        """Recalibrated probabilities [n, classes] of those given."""
        if self.method == "none":
            return probabilities
        if probabilities.shape[1] == 2:
            chance = _mapped(self.method, self.curves[0], probabilities[:, self.positive])
            ends = (1 - chance, chance) if self.positive == 1 else (chance, 1 - chance)
            return np.stack(ends, axis=1)
        pairs = enumerate(self.curves)
        each = np.stack([_mapped(self.method, curve, probabilities[:, place]) for place, curve in pairs], axis=1)
        total = each.sum(axis=1, keepdims=True)
        return np.where(total > 0, each / np.where(total > 0, total, 1.0), probabilities)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"method": self.method, "positive": self.positive, "curves": [list(map(list, c)) for c in self.curves]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        curves = tuple(tuple((point[0], point[1]) for point in curve) for curve in document["curves"])
        return cls(document["method"], document["positive"], curves)


def choose(target: Array, probabilities: Array, *, positive: int = 1, seed: int = 0) -> Recalibration:
    """The map that says best what comes true in folds that it was not fitted on; no map where a class has too few rows.

    Args:
        target: class codes [n].
        probabilities: of a model that was fitted on other rows [n, classes].
        positive: the class of two whose probability is mapped.
    """
    given = np.asarray(probabilities, dtype=np.float64)
    classes = given.shape[1]
    happened = np.asarray(target)[:, None] == np.arange(classes)
    counts = happened.sum(axis=0)
    if min(counts.min(), (len(given) - counts).min()) < LEAST_OF_CLASS:
        return Recalibration(positive=positive)
    fold = np.random.default_rng(seed).permutation(len(given)) % FOLDS
    losses: dict[Method, Floats] = {}
    edge = 1 / (2 * len(given))  # what never came true among so many rows counts as half a row
    for method in METHODS:
        said = given.copy()
        if method != "none":
            for each in range(FOLDS):
                learned = fit(method, happened[fold != each], given[fold != each], positive=positive)
                said[fold == each] = learned.of(given[fold == each])
        losses[method] = -np.log(np.clip(said[happened], edge, 1 - edge))
    better = [method for method in METHODS if _is_less(losses[method], losses["isotonic"])]
    best = min(better, key=lambda method: losses[method].mean()) if better else "isotonic"
    return fit(best, happened, given, positive=positive)


def fit(method: Method, happened: Array, given: Floats, *, positive: int = 1) -> Recalibration:
    """The map of one kind. `happened` [n, classes] says which class came true."""
    if method == "none":
        return Recalibration(positive=positive)
    places = [positive] if given.shape[1] == 2 else list(range(given.shape[1]))
    learn = isotonic if method == "isotonic" else platt
    return Recalibration(method, positive, tuple(learn(given[:, place], happened[:, place]) for place in places))


def isotonic(score: Floats, event: Array) -> tuple[tuple[float, float], ...]:
    """Points of the rising steps that fit best in squares, by pooling adjacent violators (Ayer et al. 1955; Barlow et
    al. 1972, "Statistical inference under order restrictions"): a level from its first to its last score."""
    levels, place = np.unique(score, return_inverse=True)
    rows = np.bincount(place).astype(np.float64)
    hits = np.bincount(place, event.astype(np.float64))
    pooled: list[tuple[float, float, int, int]] = []  # rows, hits, first and last level
    for at, (count, hit) in enumerate(zip(rows.tolist(), hits.tolist(), strict=True)):
        size, found, first = count, hit, at
        while pooled and pooled[-1][1] * size >= found * pooled[-1][0]:
            before = pooled.pop()
            size, found, first = size + before[0], found + before[1], before[2]
        pooled.append((size, found, first, at))
    points: dict[float, float] = {}
    for size, found, first, last in pooled:
        points[float(levels[first])] = points[float(levels[last])] = found / size
    return tuple(points.items())


def platt(score: Floats, event: Array) -> tuple[tuple[float, float], ...]:
    """Slope and intercept of the sigmoid of the log odds, by Newton's method on Platt's targets, which keep it from
    certainty. The slope is never below 0: a model is not turned round."""
    yes = float(event.sum())
    no = len(event) - yes
    wanted = np.where(event, (yes + 1) / (yes + 2), 1 / (no + 2))
    columns = np.stack([_odds(score), np.ones(len(score))], axis=1)
    found = np.array([1.0, 0.0])
    loss = _cross_entropy(columns @ found, wanted)
    for _ in range(_STEPS):
        said = _sigmoid(columns @ found)
        slope = columns.T @ (said - wanted)
        bend = (columns * (said * (1 - said))[:, None]).T @ columns + 1e-9 * np.eye(2)
        step, size = np.linalg.solve(bend, slope), 1.0
        while (next_loss := _cross_entropy(columns @ (found - size * step), wanted)) > loss and size > 1e-6:
            size /= 2
        if next_loss > loss - 1e-10 * len(event):
            break
        found, loss = found - size * step, next_loss
    if found[0] < 0:
        share = float(wanted.mean())
        found = np.array([0.0, np.log(share / (1 - share))])
    return ((float(found[0]), float(found[1])),)


def _is_less(loss: Floats, other: Floats) -> bool:
    """Whether it is so by more than the standard error."""
    gap = other - loss
    return float(gap.mean()) > float(gap.std()) / math.sqrt(len(gap))


def _mapped(method: Method, curve: tuple[tuple[float, float], ...], score: Floats) -> Floats:
    if method == "platt":
        ((slope, intercept),) = curve
        return _sigmoid(slope * _odds(score) + intercept)
    points = np.asarray(curve)
    return np.asarray(np.interp(score, points[:, 0], points[:, 1]))


def _odds(score: Floats) -> Floats:
    inside = np.clip(score, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside / (1 - inside)))


def _sigmoid(odds: Floats) -> Floats:
    return np.asarray((1 + np.tanh(odds / 2)) / 2)


def _cross_entropy(odds: Floats, wanted: Floats) -> float:
    return float((np.logaddexp(0.0, odds) - wanted * odds).sum())
