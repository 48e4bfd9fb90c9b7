"""A model whose every answer is known, on trial: what the tests of importance, robustness, dependence and flips use."""

from dataclasses import replace
from typing import Any

import numpy as np

from tidegate.domain.evaluation.bootstrap import Resampling
from tidegate.domain.evaluation.probe import Trial
from tidegate.domain.serving.contract import Contract, FeatureContract, Inputs
from tidegate.kernel.table import TARGET, Column, Table

EFFECT = {"north": 1.0, "south": -1.0, "": 0.0}
FEATURES = (
    FeatureContract("region", "categorical", missing="allow"),
    FeatureContract("price", "numeric", minimum=-10, maximum=10),
    FeatureContract("noise", "numeric", missing="allow"),
    FeatureContract("hour", "integer"),
    FeatureContract("member", "boolean"),
)
SALES = Contract("sales", "regression", FEATURES)
RETURNS = Contract("returns", "binary", FEATURES, classes=("kept", "returned"))


def rows(count: int = 800, seed: int = 1) -> Table:
    """The target is 3 x price + the effect of the region: what `value` answers."""
    chance = np.random.default_rng(seed)
    columns: dict[str, Column] = {
        "region": chance.choice(["north", "south"], count),
        "price": chance.normal(size=count),
        "noise": chance.normal(size=count),
        "hour": chance.integers(0, 24, count).astype(float),
        "member": chance.integers(0, 2, count).astype(float),
    }
    target = 3 * columns["price"] + np.where(columns["region"] == "north", 1.0, -1.0)
    return Table({**columns, TARGET: target})


def value(inputs: Inputs) -> Column:
    """Price and region, and nothing else."""
    effect = np.array([EFFECT[region] for region in inputs.categorical[:, 0]])
    return (3 * inputs.numeric[:, 0] + effect).astype(np.float32)[:, None]


def probability(inputs: Inputs) -> Column:
    """The logistic function of `value`."""
    yes = 1 / (1 + np.exp(-value(inputs)))
    return np.hstack([1 - yes, yes])


def trial(table: Table, contract: Contract = SALES, metric: str = "mae", score: Any = value, seed: int = 3) -> Trial:
    resampling = Resampling(len(table), resamples=200, seed=seed)
    return Trial(contract, metric, table, score(contract.inputs(table)), score, resampling)


def returned(table: Table, seed: int = 5) -> Table:
    """The rows with outcomes that come true as often as `probability` says."""
    chance = np.random.default_rng(seed)
    event = chance.random(len(table)) < probability(RETURNS.inputs(table))[:, 1]
    return Table({**table.columns, TARGET: event.astype(np.int64)})


def other_rows(found: Trial, count: int) -> Trial:
    """The same model on the first rows only."""
    first = np.arange(count)
    return replace(
        found, rows=found.rows.take(first), scores=found.scores[first], resampling=found.resampling.take(first)
    )
