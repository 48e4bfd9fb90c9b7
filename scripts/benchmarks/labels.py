"""How often what looks at reported outcomes is wrong: the contradiction check, and the guard of rows without captures.

The contradiction check is tried on a model that only guesses, the worst that an outdated model can be, and on outcomes
that are reported the wrong way round. The guard is tried on candidates that are as good as the champion on its rows, or
worse. Rows are independent, or come in clusters that have one outcome and nearly one score, as the rows of one client
do; labels come at once, or later for one class, or later for some scores of it.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from scripts.benchmarks.gate import evaluation_of
from scripts.benchmarks.holdouts import simulate
from tidegate.domain.evaluation.bootstrap import CANDIDATE, paired_bootstrap
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.gate import CaptureLimits, Policy, questions
from tidegate.domain.evaluation.sections import Captures, Sections
from tidegate.domain.monitoring.quality import contradiction

SUMMARY = "false alarms and power of the contradiction check and of the guard of rows without captures"
PROMISED = 0.025  # of a model that guesses, at one look at independent rows
DESIGN = Estimate(0.74, 0.72, 0.76)
CHAMPION_AUC = 0.74
GUARD_MARGIN = 0.05  # the default of monitoring.guard_margin
CHAMPION, CONFIDENCE, RESAMPLES = "champion", 0.95, 500

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Labelled predictions whose truth is known. `separation` is by how many standard deviations the scores of the two
    classes lie apart (0: the model guesses), `flipped` the share of outcomes that are reported the wrong way round, and
    `cluster` how many rows share an outcome and, up to a little, a score. Of the positives `late` have no label yet: of
    all, or of those with a score above the middle where `late_above` says so."""

    rows: int = 1000
    separation: float = 0.0
    flipped: float = 0.0
    cluster: int = 1
    late: float = 0.0
    late_above: bool = False

    def drawn(self, chance: np.random.Generator) -> tuple[npt.NDArray[np.int64], Floats]:
        """Targets [n] and scores [n, 2] of what is labelled by now."""
        clusters = -(-self.rows // self.cluster)
        truth = np.repeat(chance.random(clusters) < 0.3, self.cluster)[: self.rows]
        common = np.repeat(chance.normal(size=clusters), self.cluster)[: self.rows]
        latent = self.separation * truth + (common if self.cluster > 1 else 0.0)
        latent = latent + chance.normal(scale=0.2 if self.cluster > 1 else 1.0, size=self.rows)
        waits = truth & (chance.random(self.rows) < self.late)
        if self.late_above:
            waits &= latent > self.separation / 2
        reported = truth ^ (chance.random(self.rows) < self.flipped)
        score = 1 / (1 + np.exp(-latent[~waits]))
        return reported[~waits].astype(np.int64), np.stack([1 - score, score], axis=1)


def contradicted(outcomes: Outcomes, seed: int) -> bool:
    """Whether they are called a contradiction."""
    target, scores = outcomes.drawn(np.random.default_rng(seed))
    return bool(contradiction(target, scores, DESIGN, task="binary", metric="roc_auc"))


@dataclass(frozen=True, slots=True)
class Guard:
    """A candidate and the champion on rows without captures: `gain` is by how much its true AUC there is above the
    champion's. `cluster` rows are copies of one; they are resampled `whole`, or
    as rows."""

    gain: float = 0.0
    rows: int = 2000
    cluster: int = 1
    whole: bool = True


def people_asked(guard: Guard, seed: int) -> bool:
    """Whether the check `captures` asks people for what it found on these rows."""
    auc = {CANDIDATE: CHAMPION_AUC + guard.gain, CHAMPION: CHAMPION_AUC}
    drawn = simulate(np.random.default_rng(seed), -(-guard.rows // guard.cluster), auc)
    places = np.repeat(np.arange(len(drawn.target)), guard.cluster)[: guard.rows]
    arms = {name: replace(arm, scores=arm.scores[places]) for name, arm in drawn.arms.items()}
    cluster = places if guard.whole and guard.cluster > 1 else None
    found = paired_bootstrap(
        "roc_auc", drawn.target[places], arms, resamples=RESAMPLES, confidence=CONFIDENCE, seed=seed, cluster=cluster
    )
    rows = len(places)
    section = Captures(rows, 0, {}, rows, found.arms[CANDIDATE], found.arms[CHAMPION], found.gains[CHAMPION])
    evaluation = replace(evaluation_of(found, rows, RESAMPLES), sections=Sections(captures=section))
    limits = CaptureLimits(holdout_share=1.0, reporter_share=1.0, guard_margin=GUARD_MARGIN)
    policy = Policy(margin=0.0, min_rows=500, latency_p99_ms=50, load_ms=5000, artifact_mib=100, captures=limits)
    return bool(questions(evaluation, policy))


LOSS = GUARD_MARGIN * CHAMPION_AUC
GUESSES: dict[str, Outcomes] = {
    "guesses; independent rows": Outcomes(),
    "guesses; 80 % of the positives have no label yet": Outcomes(late=0.8),
    "guesses; clusters of 10 rows": Outcomes(cluster=10),
    "guesses; clusters of 50 rows": Outcomes(cluster=50),
    "guesses; 80 % of the positives with high scores have no label yet": Outcomes(late=0.8, late_above=True),
    "AUC 0.64; clusters of 10 rows": Outcomes(separation=0.5, cluster=10),
    "AUC 0.76; 90 % of the positives with high scores have no label yet": Outcomes(
        separation=1.0, late=0.9, late_above=True
    ),
}
REVERSED: dict[str, Outcomes] = {
    f"AUC 0.76; {100 * share:.0f} % of the outcomes are the wrong way round": Outcomes(separation=1.0, flipped=share)
    for share in (0.5, 0.6, 0.7, 1.0)
}
GUARDS: dict[str, Guard] = {
    "as good; 600 rows": Guard(rows=600),
    "as good; 2,000 rows": Guard(),
    "as good; 2,000 rows in clusters of 10, resampled whole": Guard(cluster=10),
    "as good; 2,000 rows in clusters of 10, resampled as rows": Guard(cluster=10, whole=False),
    "worse by half the margin; 2,000 rows": Guard(-LOSS / 2),
    "worse by the margin; 2,000 rows": Guard(-LOSS),
    "worse by the margin; 2,000 rows in clusters of 10, resampled as rows": Guard(-LOSS, cluster=10, whole=False),
    "worse by twice the margin; 600 rows": Guard(-2 * LOSS, rows=600),
}


def run(*, quick: bool) -> dict[str, Any]:
    """Shares of windows that are called a contradiction, and of versions for which people are asked."""
    trials = 200 if quick else 2000
    return {
        "trials": trials,
        "promised": PROMISED,
        "contradicted": _shares(contradicted, GUESSES | REVERSED, trials),
        "asked": _shares(people_asked, GUARDS, trials),
    }


def tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """One table for each check."""
    of = f"share of {figures['trials']:,}"
    for name, title in (
        ("contradicted", f"called a contradiction ({of} windows of 1,000 predictions)"),
        ("asked", f"people are asked because of the guard ({of} versions)"),
    ):
        yield title, ["truth", "share"], [[each, f"{100 * share:.1f} %"] for each, share in figures[name].items()]


def _shares(tried: Callable[[Any, int], bool], cases: Mapping[str, Any], trials: int) -> dict[str, float]:
    with ProcessPoolExecutor() as pool:
        return {
            name: sum(pool.map(partial(tried, case), range(trials), chunksize=25)) / trials
            for name, case in cases.items()
        }
