"""What an evaluation tells of a version besides its metric: how sure it is, what it leans on, what it withstands.

Every part is a section of evaluation.json (docs/evaluation.md); one that does not apply is not there.
"""

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from tidegate.contracts import DEFAULT_THRESHOLD, worth
from tidegate.domain.calibration import calibration, curves
from tidegate.domain.dependence import dependence
from tidegate.domain.evaluation import Estimate
from tidegate.domain.flips import flips
from tidegate.domain.importance import importances
from tidegate.domain.residuals import coverage, residuals
from tidegate.domain.robustness import missing, noise, worst_case
from tidegate.domain.table import TARGET, Table
from tidegate.domain.thresholds import curve
from tidegate.domain.trial import Trial
from tidegate.spec import ModelSpec

TOP_FEATURES = 6


def resamples(spec: ModelSpec) -> int:
    """How often rows are drawn for the intervals here: as few as put ten replicates beyond each end, since there are
    hundreds of intervals and none of them alone accepts a version."""
    return min(spec.gate.resamples, math.ceil(20 / (1 - spec.gate.confidence) - 1e-9))


@dataclass(frozen=True, slots=True)
class Measure:
    """Measures a version on its holdout.

    Attributes:
        training: all training rows, for the values that features take.
        hidden: features whose values captures hide: none of them is told here either, unless it is sensitive by
            declaration, since its groups are what people want to be told of.
    """

    spec: ModelSpec
    trial: Trial
    training: Table
    hidden: Collection[str]

    def importances(self) -> dict[str, Estimate]:
        """By feature, the most important first; empty when the rows do not define the metric."""
        return importances(self.trial)

    def sections(self, important: dict[str, Estimate]) -> dict[str, Any]:
        """Sections by name, as plain JSON. `important` is what `importances` gave."""
        found = self._answers() | {
            "importance": [
                {"feature": name, "drop": each.value, "low": each.low, "high": each.high}
                for name, each in important.items()
            ],
            "robustness": self._robustness(important),
            "dependence": dependence(self.trial, self.training, self._shown(important)[:TOP_FEATURES]),
            "flips": self._flips(),
        }
        return {name: section for name, section in found.items() if section}

    def _answers(self) -> dict[str, Any]:
        """How the answers compare with the outcomes."""
        trial = self.trial
        target, scores, contract = trial.rows[TARGET], trial.scores, trial.contract
        match contract.task:
            case "binary":
                event, score = target == contract.positive, scores[:, contract.positive]
                return {
                    "calibration": calibration(event, score, trial.resampling),
                    "curves": curves(event, score),
                    "threshold": self._threshold(),
                }
            case "multiclass":
                decided = scores.argmax(axis=1)
                return {"calibration": calibration(decided == target, scores.max(axis=1), trial.resampling)}
            case "regression":
                given = contract.interval
                interval = given and coverage(target, scores[:, 0], given.level, given.half_width, trial.resampling)
                return {"residuals": residuals(target, scores[:, 0]) | {"interval": interval}}

    def _threshold(self) -> dict[str, Any]:
        """The threshold, who chose it and, where decisions have a worth, what 1,000 of them are worth at it, at the
        default, and at every other."""
        trial, spec, contract = self.trial, self.spec, self.trial.contract
        asked = spec.decision.threshold
        chosen_by = "default" if asked == DEFAULT_THRESHOLD else "value" if asked == "value" else "spec"
        told: dict[str, Any] = {"value": contract.threshold, "chosen_by": chosen_by}
        declared = worth(spec)
        if declared is None or spec.value is None:
            return told
        event, score = trial.rows[TARGET] == contract.positive, trial.scores[:, contract.positive]
        mean = {
            name: trial.resampling.mean(1000 * declared.of(event, score, threshold))
            for name, threshold in (("value_per_1000", contract.threshold), ("at_default", DEFAULT_THRESHOLD))
        }
        return (
            told
            | {name: asdict(each) for name, each in mean.items()}
            | {"currency": spec.value.currency, "curve": curve(declared, event, score)}
        )

    def _robustness(self, important: dict[str, Estimate]) -> dict[str, Any]:
        kinds = {feature.name: feature.kind for feature in self.trial.contract.features}
        numbers = [name for name in self._shown(important) if kinds[name] != "categorical"]
        return {
            "missing": missing(self.trial),
            "noise": noise(self.trial, self.training),
            "worst_case": worst_case(self.trial, self.training, numbers[:TOP_FEATURES]),
        }

    def _flips(self) -> list[dict[str, Any]]:
        tolerance = self.spec.value.tolerance if self.spec.value else None
        return flips(self.trial, self.training, self.spec.sensitive, tolerance)

    def _shown(self, important: dict[str, Estimate]) -> list[str]:
        """Features whose values may be told, the most important first."""
        return [name for name in important if name not in self.hidden]
