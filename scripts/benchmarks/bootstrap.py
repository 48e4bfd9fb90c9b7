"""Time of the gate's paired bootstrap, beside a plain loop over scikit-learn's roc_auc_score."""

import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from scripts.benchmarks.holdouts import Holdout, simulate
from tidegate.domain.evaluation.bootstrap import CANDIDATE, Arm, paired_bootstrap

SUMMARY = "time of 2,000 paired resamples of three arms' AUC on 28,128 rows, compared with a loop over scikit-learn"
ROWS = 28_128  # flights of May 2013 that arrived
RESAMPLES = 2000
TARGET_SECONDS = 5.0


def run(*, quick: bool) -> dict[str, Any]:
    """Seconds for `RESAMPLES` resamples; the loop's are extrapolated from `loop_resamples`."""
    holdout = simulate(np.random.default_rng(0), ROWS, {CANDIDATE: 0.75, "champion": 0.745, "baseline": 0.68})
    rates = np.round(holdout.arms["baseline"].scores, 2)  # a baseline by group gives many ties
    holdout = Holdout(holdout.target, {**holdout.arms, "baseline": Arm(rates)})
    seconds = min(_ours(holdout) for _ in range(1 if quick else 3))
    loop_resamples = 10 if quick else 40
    loop_seconds = _loop(holdout, loop_resamples) / loop_resamples * RESAMPLES
    return {
        "rows": ROWS,
        "resamples": RESAMPLES,
        "arms": len(holdout.arms),
        "seconds_bootstrap": round(seconds, 3),
        "target_seconds": TARGET_SECONDS,
        "met": seconds < TARGET_SECONDS,
        "peak_mib": round(_peak_mib(holdout), 1),
        "loop_resamples": loop_resamples,
        "seconds_loop_extrapolated": round(loop_seconds, 1),
        "times_faster": round(loop_seconds / seconds, 1),
    }


def tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """One table."""
    met = "met" if figures["met"] else "missed"
    yield (
        f"{RESAMPLES:,} paired resamples, {figures['arms']} arms, {ROWS:,} rows",
        ["", "seconds", "peak MiB", "note"],
        [
            [
                "paired_bootstrap",
                f"{figures['seconds_bootstrap']:.2f}",
                f"{figures['peak_mib']}",
                f"target {TARGET_SECONDS:g} s: {met}",
            ],
            [
                "loop over roc_auc_score",
                f"{figures['seconds_loop_extrapolated']:.1f}",
                "",
                f"extrapolated from {figures['loop_resamples']}; {figures['times_faster']} times slower",
            ],
        ],
    )


def _ours(holdout: Holdout) -> float:
    started = time.perf_counter()
    paired_bootstrap("roc_auc", holdout.target, holdout.arms, resamples=RESAMPLES)
    return time.perf_counter() - started


def _peak_mib(holdout: Holdout) -> float:
    tracemalloc.start()
    paired_bootstrap("roc_auc", holdout.target, holdout.arms, resamples=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / (1 << 20)


def _loop(holdout: Holdout, resamples: int) -> float:
    chance = np.random.default_rng(1)
    started = time.perf_counter()
    for _ in range(resamples):
        rows = chance.integers(0, ROWS, ROWS)
        for arm in holdout.arms.values():
            roc_auc_score(holdout.target[rows], arm.scores[rows, 1])
    return time.perf_counter() - started
