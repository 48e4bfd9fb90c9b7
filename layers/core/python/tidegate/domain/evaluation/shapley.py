"""What each feature contributed to one score: Shapley values by sampling.

Begin with a background row, switch its features one after the other to those of the instance, and note by how much the
score moves with each. A feature's contribution is that move, on average over background rows and over the orders of
switching (Strumbelj and Kononenko 2014, "Explaining prediction models and individual predictions with feature
contributions", Knowl. Inf. Syst. 41:647-665; sampling of orders: Castro, Gomez and Tejada 2009, Comput. Oper. Res.
36:1726-1730). Orders are drawn in antithetic pairs, each with its reverse (Mitchell, Cooper, Frank and Holmes 2022,
"Sampling permutations for Shapley value estimation", JMLR 23:43), and each background row is used equally often.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tidegate.domain.serving.contract import Inputs
from tidegate.kernel.table import Column

MAX_ROWS = 40_000  # scored in the one call
MAX_CELLS = 2_000_000  # of these rows: bounds memory for models of hundreds of features
Z_95 = 1.959964  # 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True, slots=True)
class Attribution:
    """A score, taken apart: `base` and all `values` add up to `score`.

    Attributes:
        base: mean score of the background rows.
        score: of the instance.
        values: contributions [features]: numeric, categorical and time features, as in `Inputs`.
        errors: their standard errors [features], from the draw of orders alone.
        background_rows: that the instance was held against.
        orders: of switching, in all.
        scored_rows: in the one call.
    """

    base: float
    score: float
    values: Column
    errors: Column
    background_rows: int
    orders: int
    scored_rows: int


def attribute(
    score: Callable[[Inputs], Column],
    instance: Inputs,
    background: Inputs,
    *,
    seed: int,
    max_rows: int = MAX_ROWS,
) -> Attribution:
    """Contributions of the instance's features, the same for the same seed.

    A feature with the same value in instance and background row contributes exactly 0 there, and costs no row.

    Args:
        score: float64 [rows] of inputs; called once, with at most `max_rows` rows unless two pairs of orders need more.
        instance: one row.
        background: one row or more; with many features fewer of them are drawn.
        seed: of the draws.
    """
    features = sum(part.shape[1] for part in (instance.numeric, instance.categorical, instance.times))
    chance = np.random.default_rng(seed)
    rows = min(max_rows, MAX_CELLS // features)
    pairs = max(2, rows // (2 * (features + 1)))
    drawn = chance.permutation(len(background.numeric))[: pairs // 2]
    repeats = pairs // len(drawn)
    orders = chance.permuted(np.tile(np.arange(features), (repeats * len(drawn), 1)), axis=1)
    orders = np.stack([orders, orders[:, ::-1]], axis=1).reshape(-1, features)
    against = np.repeat(np.tile(drawn, repeats), 2)

    place = np.argsort(orders, axis=1)  # when each feature is switched
    differs = np.take_along_axis(_differs(instance, background)[against], orders, axis=1)
    new = np.pad(differs, ((0, 0), (1, 0)), constant_values=True)  # [orders, steps]: a row not seen in its order yet
    switched = (place[:, None, :] < np.arange(features + 1)[:, None])[new]
    table = _mixed(instance, background, np.repeat(against, features + 1)[new.ravel()], switched)
    found = score(table)[np.cumsum(new) - 1].reshape(new.shape)

    moves = np.take_along_axis(np.diff(found, axis=1), place, axis=1)
    by_pair = moves.reshape(repeats, len(drawn), 2, features).mean(axis=2)
    spread = by_pair.var(axis=0, ddof=1).mean(axis=0)  # within a background row: all rows take part equally
    return Attribution(
        base=float(found[:, 0].mean()),
        score=float(found[:, -1].mean()),
        values=by_pair.mean(axis=(0, 1)),
        errors=np.sqrt(spread / (repeats * len(drawn))),
        background_rows=len(drawn),
        orders=len(orders),
        scored_rows=len(switched),
    )


def _differs(instance: Inputs, background: Inputs) -> Column:
    """bool [background rows, features]; two missing numbers are the same."""
    missing = np.isnan(instance.numeric) & np.isnan(background.numeric)
    numeric = (instance.numeric != background.numeric) & ~missing
    differs = [numeric, instance.categorical != background.categorical]
    if instance.times.shape[1]:
        differs.append(instance.times != background.times)
    return np.concatenate(differs, axis=1).astype(np.bool_)


def _mixed(instance: Inputs, background: Inputs, rows: Column, switched: Column) -> Inputs:
    """Background rows with the switched features [rows, features] from the instance."""
    numbers, texts = instance.numeric.shape[1], instance.categorical.shape[1]
    numeric, categorical, times = np.split(switched, [numbers, numbers + texts], axis=1)
    return Inputs(
        np.where(numeric, instance.numeric, background.numeric[rows]),
        np.where(categorical, instance.categorical, background.categorical[rows]),
        np.where(times, instance.times, background.times[rows]) if times.shape[1] else instance.times,
    )
