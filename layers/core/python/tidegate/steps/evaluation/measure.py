"""What an evaluation reports of a version besides its metric: how sure it is, what it leans on, what it withstands.

Every part is a section of evaluation.json (docs/evaluation.md); one that does not apply is not there.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tidegate.domain.evaluation.bootstrap import CANDIDATE, Arm, paired_bootstrap
from tidegate.domain.evaluation.calibration import calibration, curves
from tidegate.domain.evaluation.confusion import confusion
from tidegate.domain.evaluation.dependence import dependence
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.flips import flips
from tidegate.domain.evaluation.importance import importances
from tidegate.domain.evaluation.probe import Trial
from tidegate.domain.evaluation.residuals import coverage, residuals
from tidegate.domain.evaluation.robustness import missing, noise, worst_case
from tidegate.domain.evaluation.sections import (
    Blamed,
    Confusion,
    Flips,
    Guard,
    GuardMetric,
    Importance,
    Robustness,
    Sections,
    Threshold,
    Worth,
)
from tidegate.domain.serving.contract import Contract
from tidegate.domain.serving.guard import Detector
from tidegate.domain.training.contracts import DEFAULT_THRESHOLD, worth
from tidegate.domain.training.thresholds import curve
from tidegate.kernel.errors import DataCheckError
from tidegate.kernel.table import TARGET, Column, Table
from tidegate.spec.model import ModelSpec

TOP_FEATURES = 6
LEAST_UNUSUAL = 50  # rows that a metric is reported of
BLAMED_ROWS = 10_000
_CHOSEN_BY: Mapping[float | str, Literal["default", "value"]] = {DEFAULT_THRESHOLD: "default", "value": "value"}


def resamples(spec: ModelSpec) -> int:
    """How often rows are drawn for the intervals here: as few as put ten replicates beyond each end, since there are
    hundreds of intervals and none of them alone accepts a version."""
    return min(spec.gate.resamples, math.ceil(20 / (1 - spec.gate.confidence) - 1e-9))


def guarded(trial: Trial, training: Table, fallback: Column) -> Guard | None:
    """What the input guard does on the holdout: how many rows it marks, for which features most, and the metric over
    these rows, the fallback's too (its scores are `fallback`), and over the others. None without a guard."""
    contract = trial.contract
    detector, guard = Detector.of(contract), contract.guard
    if detector is None or guard is None:
        return None
    unusual = detector.scores(contract.inputs(trial.rows)) > guard.threshold
    return Guard(
        share=guard.share,
        answer=guard.answer,
        threshold=guard.threshold,
        holdout_rows=len(unusual),
        unusual_rows=int(unusual.sum()),
        unusual=trial.resampling.mean(unusual.astype(np.float64)),
        features=_blamed(detector, contract, trial.rows.take(unusual), training),
        metric=GuardMetric(
            unusual=_metric_over(trial, unusual, trial.scores),
            unusual_by_fallback=_metric_over(trial, unusual, fallback),
            usual=_metric_over(trial, ~unusual, trial.scores),
        ),
    )


def _blamed(detector: Detector, contract: Contract, unusual: Table, training: Table) -> tuple[Blamed, ...]:
    """For how many unusual rows each feature adds most to the score, above its mean in training; the most first."""
    shown, usual = (detector.parts(contract.inputs(_spread(table, BLAMED_ROWS))) for table in (unusual, training))
    most = Counter((shown - usual.mean(axis=0)).argmax(axis=1).tolist())
    names = [feature.name for feature in (*contract.numeric, *contract.categorical)]
    return tuple(Blamed(names[place], count / len(shown)) for place, count in most.most_common())


def _spread(table: Table, most: int) -> Table:
    """At most so many of the rows, from all over the table."""
    return table.take(np.unique(np.linspace(0, len(table) - 1, min(len(table), most)).astype(np.int64)))


def _metric_over(trial: Trial, chosen: Column, scores: Column) -> Estimate | None:
    """None where the rows are too few, or do not define the metric."""
    rows = chosen.nonzero()[0]
    if len(rows) < LEAST_UNUSUAL:
        return None
    resampling = trial.resampling.take(rows)
    try:
        found = paired_bootstrap(
            trial.metric,
            trial.rows[TARGET][rows],
            {CANDIDATE: Arm(scores[rows], trial.contract.threshold)},
            cluster=resampling.cluster,
            resamples=resampling.resamples,
            confidence=resampling.confidence,
            seed=resampling.seed,
            positive=trial.contract.positive,
        )
    except DataCheckError:
        return None
    return found.arms[CANDIDATE]


@dataclass(frozen=True, slots=True)
class Measure:
    """Measures a version on its holdout.

    Attributes:
        training: all training rows, for the values that features take.
        hidden: features whose values captures hide, and personal data, kept in captures or not: more people see
            this. None of them is shown, unless it is sensitive by declaration, since its groups are what people want
            to know of.
    """

    spec: ModelSpec
    trial: Trial
    training: Table
    hidden: Collection[str]

    def importances(self) -> dict[str, Estimate]:
        """By feature, the most important first; empty when the rows do not define the metric."""
        return importances(self.trial)

    def sections(self, important: dict[str, Estimate]) -> Sections:
        """What applies of all sections. `important` is what `importances` gave."""
        return replace(
            self._answers(),
            importance=tuple(Importance(name, each) for name, each in important.items()),
            robustness=self._robustness(important),
            dependence=dependence(self.trial, self.training, self._shown(important, "time")[:TOP_FEATURES]),
            flips=self._flips(),
        )

    def _answers(self) -> Sections:
        """How the answers compare with the outcomes."""
        trial = self.trial
        target, scores, contract = trial.rows[TARGET], trial.scores, trial.contract
        match contract.task:
            case "binary":
                event, score = target == contract.positive, scores[:, contract.positive]
                return Sections(
                    calibration=calibration(event, score, trial.resampling),
                    curves=curves(event, score),
                    threshold=self._threshold(),
                    confusion=self._confusion(),
                )
            case "multiclass":
                decided = scores.argmax(axis=1)
                return Sections(
                    calibration=calibration(decided == target, scores.max(axis=1), trial.resampling),
                    confusion=self._confusion(),
                )
            case "regression":
                given, interval = contract.interval, None
                if given is not None:
                    interval = coverage(target, scores[:, 0], given.level, given.half_width, trial.resampling)
                return Sections(residuals=residuals(target, scores[:, 0], interval))

    def _confusion(self) -> Confusion:
        """At the decision threshold of a binary model; else the likeliest class is the answer."""
        trial = self.trial
        decided = trial.decisions(trial.scores)
        return confusion(trial.rows[TARGET], decided, trial.contract.classes, trial.resampling)

    def _threshold(self) -> Threshold:
        """The threshold, who chose it and, where decisions have a worth, what 1,000 of them are worth at it, at the
        default, and at every other."""
        trial, spec, contract = self.trial, self.spec, self.trial.contract
        asked = spec.decision.threshold
        found = Threshold(contract.threshold, _CHOSEN_BY.get(asked, "spec"))
        declared = worth(spec)
        if declared is None or spec.value is None:
            return found
        event, score = trial.rows[TARGET] == contract.positive, trial.scores[:, contract.positive]
        chosen, default = (
            trial.resampling.mean(1000 * declared.of(event, score, threshold))
            for threshold in (contract.threshold, DEFAULT_THRESHOLD)
        )
        return replace(found, worth=Worth(chosen, default, spec.value.currency, curve(declared, event, score)))

    def _robustness(self, important: dict[str, Estimate]) -> Robustness:
        numbers = self._shown(important, "categorical", "time")
        return Robustness(
            missing=missing(self.trial),
            noise=noise(self.trial, self.training),
            worst_case=worst_case(self.trial, self.training, numbers[:TOP_FEATURES]),
        )

    def _flips(self) -> tuple[Flips, ...]:
        tolerance = self.spec.value.tolerance if self.spec.value else None
        return flips(self.trial, self.training, self.spec.sensitive, tolerance)

    def _shown(self, important: dict[str, Estimate], *but: str) -> list[str]:
        """Features whose values may be shown, but those of these kinds, the most important first."""
        left_out = {feature.name for feature in self.trial.contract.features if feature.kind in but}
        return [name for name in important if name not in left_out.union(self.hidden)]
