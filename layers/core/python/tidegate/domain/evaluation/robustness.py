"""How much a served model suffers from inputs that are missing, inexact or extreme."""

from collections.abc import Sequence

import numpy as np

from tidegate.domain.evaluation.probe import Trial
from tidegate.domain.evaluation.sections import Missing, Noise, WorstCase
from tidegate.domain.serving.contract import FeatureContract
from tidegate.domain.serving.ranges import fitted, present, span
from tidegate.kernel.table import Column, Table

NOISE = (0.05, 0.1, 0.2)
GRID = 11
WORST_CASE_ROWS = 500
MOST_ROWS = 20_000  # for missing values and noise, and ...
MOST_SCORED = 300_000  # ... rows times features that may be missing: keeps a slow model to a minute


def missing(trial: Trial) -> tuple[Missing, ...]:
    """For each feature: how much worse the metric is when every row lacks it, the worst first.

    Where the contract refuses a missing value there are no numbers, since such a request gets no score. `unscored`
    counts rows, instead of a loss, where the model gives no finite number without the feature.
    """
    found: list[Missing] = []
    trial = trial.draw(min(MOST_ROWS, MOST_SCORED // len(trial.contract.features)))
    for feature in trial.contract.features:
        if feature.missing != "allow":
            found.append(Missing(feature.name, allowed=False))
            continue
        scores = trial.filled(feature.name, "" if feature.kind == "categorical" else np.nan)
        unscored = int((~np.isfinite(scores)).any(axis=1).sum())
        loss = None if unscored else trial.loss([scores])
        found.append(Missing(feature.name, allowed=True, unscored=unscored or None, loss=loss))
    return tuple(
        sorted(found, key=lambda each: (not each.allowed, not each.unscored, -each.loss.value if each.loss else 0.0))
    )


def noise(trial: Trial, training: Table) -> tuple[Noise, ...]:
    """How much worse the metric is when every number is off by a normal error of `sd` training standard deviations.

    The changed numbers are such as a request could carry: whole where they must be, and within the declared limits.
    Empty when the model takes no numbers.
    """
    numbers = [feature for feature in trial.contract.features if feature.kind in {"numeric", "integer"}]
    trial, chance = trial.draw(MOST_ROWS), trial.chance("noise")
    found = []
    for sd in NOISE if numbers else ():
        jittered = {each.name: _jittered(each, trial.rows, training, sd, chance) for each in numbers}
        found.append(Noise(sd, trial.loss([trial.rescored_by(jittered)])))
    return tuple(found)


def worst_case(trial: Trial, training: Table, names: Sequence[str]) -> tuple[WorstCase, ...]:
    """For each of the named features that is a number: how far its value alone can move a score.

    The feature takes `GRID` values over its declared limits, or those of training, on a draw of rows; what counts for a
    row is its largest score less its smallest (of several classes, the one for which that is most).
    """
    drawn = trial.draw(WORST_CASE_ROWS)
    found = []
    for feature in trial.contract.features:
        if feature.name not in names or feature.kind in {"categorical", "time"}:
            continue
        if not len(present(training[feature.name])):
            continue
        low, high = span(feature, training[feature.name])
        grid = np.unique(fitted(feature, np.linspace(low, high, GRID)))
        change = np.ptp([drawn.filled(feature.name, value) for value in grid.tolist()], axis=0).max(axis=1)
        mean, largest = float(change.mean()), float(change.max())
        found.append(WorstCase(feature.name, low, high, len(drawn.rows), mean, largest))
    return tuple(sorted(found, key=lambda each: -each.largest_change))


def _jittered(feature: FeatureContract, rows: Table, training: Table, sd: float, chance: np.random.Generator) -> Column:
    seen = present(training[feature.name])
    spread = float(seen.std()) if len(seen) else 0.0
    return fitted(feature, rows[feature.name] + chance.normal(0.0, sd * spread, len(rows)))
