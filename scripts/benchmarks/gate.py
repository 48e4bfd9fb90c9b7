"""How often the gate is wrong, and how often it sees a real gain, on holdouts where the truth is known.

Beside it the point comparison that MLflow's and SageMaker's published samples gate by: accept when the candidate's
number is the higher one (or, with a margin, not lower by more than the margin).
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.benchmarks import leaks
from scripts.benchmarks.holdouts import SHARE_POSITIVE, simulate
from tidegate.domain.evaluation.bootstrap import CANDIDATE, Arm, Comparison, Resampling, paired_bootstrap
from tidegate.domain.evaluation.evaluation import BaselineValue, ChampionValue, Evaluation, LatencyMs, Parity
from tidegate.domain.evaluation.gate import CheckOutcome, Policy, not_worse_than_champion
from tidegate.domain.evaluation.slices import CHAMPION, Judged, Parting, judge

SUMMARY = "wrong and right verdicts of the gate, beside a point comparison, and of the check for leaks before training"
CHAMPION_AUC = 0.74
MARGIN = 0.005
GAINS = (0.005, 0.01, 0.02)
CONFIDENCE = 0.95
RANKED = ((1000, 20), (1000, 100), (4000, 80))  # rows, and positives among them
SLICED = ((10, 500, 0.05), (10, 500, SHARE_POSITIVE))  # slices, rows of each, and the share of positives


def run(*, quick: bool) -> dict[str, Any]:
    """Shares of verdicts. `wrong_better`: the candidate is truly equal. `wrong_not_worse`: it is truly worse by exactly
    the margin. `power`: it is truly better by `gain`. `average_precision`: a score of pure chance is called better than
    a constant rule. `slices_wrongly_worse`: some slice of a candidate that is equal everywhere is called worse.
    `leaks`: see `leaks.measured`."""
    simulations, powered = (400, 150) if quick else (2000, 500)
    rows, resamples = (1000, 500) if quick else (4000, 1000)
    size = {"rows": rows, "resamples": resamples}
    return {
        "simulations": {"wrong": simulations, "power": powered},
        **size,
        "champion_auc": CHAMPION_AUC,
        "margin": MARGIN,
        "confidence": CONFIDENCE,
        "promised": (1 - CONFIDENCE) / 2,
        "wrong_better": _accepted(0.0, 0.0, simulations, first_seed=0, **size),
        "wrong_not_worse": _accepted(-MARGIN, MARGIN, simulations, first_seed=1_000_000, **size),
        "power": [
            {"gain": gain} | _accepted(gain, 0.0, powered, first_seed=2_000_000 + 100_000 * index, **size)
            for index, gain in enumerate(GAINS)
        ],
        "average_precision": [_ranked_by_chance(*each, simulations) for each in RANKED],
        "slices_wrongly_worse": [_slices_by_chance(*each, simulations) for each in SLICED],
        "leaks": leaks.measured(),
    }


def tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """One table of wrong verdicts, one of power, and what the check before training finds."""
    holdouts = f"{figures['simulations']['wrong']:,} holdouts of {figures['rows']:,} rows"
    yield (
        f"accepted although it should not be (share of {holdouts})",
        ["candidate's true AUC", "accepted as", "Tidegate", "point comparison"],
        [
            ["equal to the champion's", "better", *_shares(figures["wrong_better"])],
            [f"lower by {MARGIN}", f"not worse (margin {MARGIN})", *_shares(figures["wrong_not_worse"])],
        ],
    )
    yield (
        f"accepted as better, rightly (share of {figures['simulations']['power']:,} holdouts)",
        ["candidate's true AUC", "Tidegate", "point comparison"],
        [[f"higher by {row['gain']}", *_shares(row)] for row in figures["power"]],
    )
    yield (
        f"average precision: a score of pure chance accepted as better (share of {figures['simulations']['wrong']:,})",
        ["rows", "positives", "than a constant rule"],
        [
            [f"{row['rows']:,}", str(row["positives"]), f"{100 * row['value']:.1f} %"]
            for row in figures["average_precision"]
        ],
    )
    yield (
        f"some slice of an equal candidate called worse (share of {figures['simulations']['wrong']:,})",
        ["slices", "rows of each", "positives of each", "Tidegate"],
        [
            [str(row["slices"]), f"{row['rows']:,}", f"{row['positives']:.0f}", f"{100 * row['value']:.1f} %"]
            for row in figures["slices_wrongly_worse"]
        ],
    )
    yield leaks.table(figures["leaks"])


def _shares(row: dict[str, float]) -> list[str]:
    return [f"{100 * row['tidegate']:.1f} %", f"{100 * row['point']:.1f} %"]


@dataclass(frozen=True, slots=True)
class _Trial:
    """One simulated release: the candidate's true gain in AUC and the margin it is gated with."""

    gain: float
    margin: float
    rows: int
    resamples: int

    def accepted(self, seed: int) -> tuple[bool, bool]:
        """By the gate, and by the point comparison."""
        policy = Policy(margin=self.margin, min_rows=500, latency_p99_ms=50, load_ms=5000, artifact_mib=100)
        auc = {CANDIDATE: CHAMPION_AUC + self.gain, "champion": CHAMPION_AUC}
        holdout = simulate(np.random.default_rng(seed), self.rows, auc)
        found = paired_bootstrap(
            "roc_auc", holdout.target, holdout.arms, resamples=self.resamples, confidence=CONFIDENCE, seed=seed
        )
        verdict = not_worse_than_champion(evaluation_of(found, self.rows, self.resamples), policy)
        difference = found.arms[CANDIDATE].value - found.arms["champion"].value
        return verdict.outcome is CheckOutcome.PASS, difference > -self.margin


def _accepted(
    gain: float, margin: float, simulations: int, *, first_seed: int, rows: int, resamples: int
) -> dict[str, float]:
    trial = _Trial(gain, margin, rows, resamples)
    with ProcessPoolExecutor() as pool:
        verdicts = list(pool.map(trial.accepted, range(first_seed, first_seed + simulations), chunksize=10))
    ours, points = (sum(each) / simulations for each in zip(*verdicts, strict=True))
    return {"tidegate": ours, "point": points}


@dataclass(frozen=True, slots=True)
class ByChance:
    """A holdout on which the candidate's scores are pure chance, and the baseline's are all the same."""

    rows: int
    positives: int

    def called_better(self, seed: int) -> bool:
        """By the lower end of its gain in average precision."""
        chance = np.random.default_rng(seed)
        target = (np.arange(self.rows) < self.positives).astype(np.int64)
        share = np.full(self.rows, self.positives / self.rows)
        arms = {
            name: Arm(np.column_stack([1 - score, score]))
            for name, score in ((CANDIDATE, chance.random(self.rows)), ("baseline", share))
        }
        found = paired_bootstrap("average_precision", target, arms, resamples=500, confidence=CONFIDENCE, seed=seed)
        return found.gains["baseline"].low > 0


def _ranked_by_chance(rows: int, positives: int, simulations: int) -> dict[str, float]:
    return {"rows": rows, "positives": positives, "value": _share(ByChance(rows, positives).called_better, simulations)}


@dataclass(frozen=True, slots=True)
class EqualSlices:
    """A holdout of slices, in each of which candidate and champion are equally good."""

    slices: int
    rows: int
    share: float

    def called_worse(self, seed: int) -> bool:
        """Whether any slice is, by its gain in AUC."""
        auc = {CANDIDATE: CHAMPION_AUC, CHAMPION: CHAMPION_AUC}
        holdout = simulate(np.random.default_rng(seed), self.slices * self.rows, auc, positive=self.share)
        resampling = Resampling(len(holdout.target), resamples=400, confidence=CONFIDENCE, seed=seed)
        judged = Judged("roc_auc", holdout.target, holdout.arms, resampling, min_rows=100)
        labels = tuple(map(str, range(self.slices)))
        found = judge(judged, {"slice": Parting(np.arange(len(holdout.target)) % self.slices, labels)})
        return any(each.gain_over_champion is not None and each.gain_over_champion.high < 0 for each in found)


def _slices_by_chance(slices: int, rows: int, share: float, simulations: int) -> dict[str, float]:
    value = _share(EqualSlices(slices, rows, share).called_worse, simulations)
    return {"slices": slices, "rows": rows, "positives": rows * share, "value": value}


def _share(called: Callable[[int], bool], simulations: int) -> float:
    """Of simulations, by their seeds."""
    with ProcessPoolExecutor() as pool:
        return sum(pool.map(called, range(simulations), chunksize=10)) / simulations


def evaluation_of(found: Comparison, rows: int, resamples: int) -> Evaluation:
    """What the gate reads, with everything but the comparison at rest."""
    champion = found.arms["champion"]
    return Evaluation(
        metric="roc_auc",
        higher_is_better=True,
        confidence=CONFIDENCE,
        resamples=resamples,
        undefined_resamples=found.undefined_resamples,
        resample_by="row",
        rows=rows,
        clusters=found.clusters,
        candidate=found.arms[CANDIDATE],
        baseline=BaselineValue("prior", champion),
        champion=ChampionValue(1, champion),
        gain_over_baseline=found.gains["champion"],
        gain_over_champion=found.gains["champion"],
        metrics={},
        parity=Parity(rows, 0.0, 1e-4, 0),
        latency_ms=LatencyMs(0.0, 0.0, 0),
        load_ms=0.0,
        artifact_bytes=0,
        peak_memory_mib=0.0,
    )
