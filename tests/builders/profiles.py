"""Profiles of normal features, and how far they have drifted."""

import numpy as np

from tidegate.domain.profiles.drift import (
    DriftPolicy,
    judge,
)
from tidegate.domain.profiles.profile import count, reference
from tidegate.domain.serving.contract import Contract, FeatureContract
from tidegate.kernel.table import Table

POLICY = DriftPolicy()
FEATURES = 10
CONTRACT = Contract(
    model="m",
    task="binary",
    features=(
        *(FeatureContract(f"x{index}", "numeric", minimum=-50, maximum=50) for index in range(FEATURES - 1)),
        FeatureContract("city", "categorical"),
    ),
    classes=(0, 1),
)


def columns(rows, seed, *, shift=None, missing=0.0, cities=("a", "b", "c"), names=CONTRACT.features):
    """Normal features, of which those in `shift` lie that much higher; x0 is missing in a share of rows."""
    chance = np.random.default_rng(seed)
    found = {each.name: chance.normal((shift or {}).get(each.name, 0.0), 1, rows) for each in names[:-1]}
    found["x0"] = np.where(chance.random(rows) < missing, np.nan, found["x0"])
    return Table(found | {"city": chance.choice(cities, rows)})


def answers(rows, seed, *, shift=0.0, positive=0.5):
    chance = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-chance.normal(shift, 1, rows)))
    return {
        "score": score,
        "label": (score >= 0.5).astype(int),
        "target": (chance.random(rows) < positive).astype(int),
    }


LAYOUT, REFERENCE = reference(CONTRACT, columns(20_000, 1), **answers(20_000, 2))


def window(rows=2000, seed=3, *, score_shift=0.0, positive=0.5, **how):
    return count(LAYOUT, columns(rows, seed, **how), **answers(rows, seed + 1000, shift=score_shift, positive=positive))


def report(profile, *, policy=POLICY, **how):
    return judge(LAYOUT, REFERENCE, profile, policy, **how)
