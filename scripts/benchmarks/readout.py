"""How often the readout of a split names a version where none is better, and after how many labels it finds one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.domain.rollout.readout import ALPHA, Labelled, Readout, Split, Worth, read_out
from tidegate.kernel.metrics import registry

SUMMARY = "splits of two models, read again and again, where the truth is known"
_METRIC = registry.find("roc_auc")
_SPLIT = Split(version=2, champion=1, share_bp=2_000)
_WORTH = Worth(correct=1.0, wrong=3.0, currency="USD")
_SIZES = tuple(500 * 2**step for step in range(5))  # labels of the smaller arm, at which it is read
_CHAMPION = 2  # times as many


@dataclass(frozen=True, slots=True)
class _World:
    """The smaller arm's model has `noise` times the champion's; both get noisier with time by `drift`. With `users`,
    rows are those of so many who differ and stay with their arm."""

    name: str
    noise: float = 1.0
    drift: float = 0.0
    users: int = 0


_EQUAL = (_World("independent"), _World("harder with time", drift=1.0), _World("1,000 users", users=1_000))
_BETTER = tuple(_World(f"noise {noise:g}", noise=noise) for noise in (0.67, 0.8, 0.9, 1.1, 1.25, 1.5))


def run(*, quick: bool) -> dict[str, Any]:
    """Shares of splits in which a version was ever named, and the labels that it took."""
    equal, others = (20, 5) if quick else (100, 40)
    chance = np.random.default_rng(20260105)
    rows = []
    for world, splits in (*((each, equal) for each in _EQUAL), *((each, others) for each in _BETTER)):
        ends = [_read(world, chance) for _ in range(splits)]
        named = [end for end in ends if end[0] is not None]
        right = [size for version, size in named if version == (2 if world.noise < 1 else 1)]
        rows.append(
            {
                "world": world.name,
                "splits": splits,
                "roc_auc": round(_auc(world, chance), 3),
                "named": len(named) / splits,
                "right": len(right) / splits if world.noise != 1 else None,
                "labels": float(np.median(right)) if right and world.noise != 1 else None,
            }
        )
    return {"promised": ALPHA, "most_labels": _SIZES[-1], "rows": rows}


def tables(figures: dict[str, Any]) -> list[tuple[str, tuple[str, ...], list[tuple[Any, ...]]]]:
    """One table."""
    headings = ("truth", "splits", "AUC of the smaller arm", "named", "rightly", "labels of it (median)")
    rows = [
        (
            row["world"],
            row["splits"],
            row["roc_auc"],
            f"{100 * row['named']:.1f} %",
            "" if row["right"] is None else f"{100 * row['right']:.0f} %",
            "" if row["labels"] is None else f"{row['labels']:,.0f}",
        )
        for row in figures["rows"]
    ]
    return [(f"read at up to {figures['most_labels']:,} labels", headings, rows)]


def failed(figures: dict[str, Any]) -> list[str]:
    """Where a version is named more often than promised though none is better."""
    return [
        f"{row['world']}: {row['named']:.1%} named"
        for row in figures["rows"]
        if row["right"] is None and row["named"] > figures["promised"]
    ]


def _read(world: _World, chance: np.random.Generator) -> tuple[int | None, int]:
    """The version that is named first, and at how many labels of the smaller arm."""
    champion = _arm(world, _CHAMPION * _SIZES[-1], 1.0, chance)
    other = _arm(world, _SIZES[-1], world.noise, chance)
    for size in _SIZES:
        found: Readout = read_out(
            _SPLIT, _first(champion, _CHAMPION * size), _first(other, size), _METRIC, worth=_WORTH
        )
        if found.better is not None:
            return found.better, size
    return None, _SIZES[-1]


def _first(arm: Labelled, rows: int) -> Labelled:
    right = None if arm.right is None else arm.right[:rows]
    return Labelled(arm.time[:rows], arm.target[:rows], arm.scores[:rows], right)


def _arm(world: _World, rows: int, noise: float, chance: np.random.Generator) -> Labelled:
    time = np.linspace(0, 1, rows)
    target = (chance.random(rows) < 0.3).astype(np.int64)
    own = chance.normal(0, 1, rows)
    if world.users:
        own = 0.7 * own + 0.7 * chance.normal(0, 1, world.users)[chance.integers(0, world.users, rows)]
    seen = 1.5 * target + own * (noise + world.drift * time) - 0.75
    score = 1 / (1 + np.exp(-seen))
    return Labelled(time, target, np.stack([1 - score, score], axis=1), ((score >= 0.5) == target).astype(np.float64))


def _auc(world: _World, chance: np.random.Generator) -> float:
    arm = _arm(world, 200_000, world.noise, chance)
    return _METRIC.value(arm.target, arm.scores)
