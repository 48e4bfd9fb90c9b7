"""Look at parts of the holdout where one number for all rows hides a fault: slices, and groups of people.

The step only measures; `gate` decides. Every number goes to the run's slices_and_groups.json.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.domain.evaluation.bootstrap import CANDIDATE, MIN_CLUSTERS, Arm, Resampling
from tidegate.domain.evaluation.documents import EVALUATION, SLICES_AND_GROUPS
from tidegate.domain.evaluation.fairness import (
    FALSE_POSITIVE_RATE,
    MIN_GROUP_ROWS,
    RATES_OF,
    TRUE_POSITIVE_RATE,
    Decisions,
)
from tidegate.domain.evaluation.slices import (
    CHAMPION,
    LEAST_ROWS,
    LOSS_QUANTILE,
    MIN_HALF_CLUSTERS,
    FoundSlice,
    Judged,
    Parting,
    clusters_of,
    confirm,
    halves,
    judge,
    part,
    row_loss,
    worst,
)
from tidegate.domain.monitoring.reference import Reference
from tidegate.domain.serving.contract import SCORES_OUTPUT
from tidegate.kernel.errors import DataCheckError
from tidegate.kernel.metrics.registry import find
from tidegate.kernel.table import CLUSTER, TARGET, Column, Table
from tidegate.messages import RunRef, SlicesAndGroups, SlicesAndGroupsTask
from tidegate.ports.evaluation import GroupMetrics, SliceSearch
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts, Models, Runs, Versions
from tidegate.spec.features import FeatureKind
from tidegate.spec.model import ModelSpec
from tidegate.spec.part import Task
from tidegate.steps.evaluation.evaluate import CHAMPION_SCORES

STAGE = "slices_and_groups"
MAX_RESAMPLES = 1000  # enough to see how wide an interval is; `slices.judge` does not read far tails off them


def slices_and_groups(
    task: SlicesAndGroupsTask,
    *,
    models: Models,
    runs: Runs,
    versions: Versions,
    artifacts: Artifacts,
    search: SliceSearch,
    groups: GroupMetrics,
    clock: Clock,
) -> SlicesAndGroups:
    """Judge the declared slices, search for others, compare the groups of the sensitive columns.

    Chance is seeded by the artifact's hash, as in `evaluate`.

    Raises:
        NotFoundError: the run was not evaluated.
        ConflictError: the run is final.
    """
    ref = task.run
    runs.note(ref.model, ref.run_id, STAGE, clock.now())
    spec = models.spec(ref.model, runs.run(ref.model, ref.run_id).spec_digest)
    holdout = Table.from_npz(artifacts.get(ref.holdout_key))
    reference = _reference(artifacts, ref)
    judged = Judged(
        metric=spec.metric.text,
        target=holdout[TARGET],
        arms=_arms(ref, spec, reference, versions, artifacts),
        resampling=Resampling(
            rows=len(holdout),
            cluster=None if spec.gate.resample_by == "row" else holdout[CLUSTER],
            resamples=min(spec.gate.resamples, MAX_RESAMPLES),
            confidence=spec.gate.confidence,
            seed=int(task.fitted.artifact_sha256[:16], 16),
        ),
        min_rows=max(LEAST_ROWS, spec.gate.min_rows // 5),
        positive=reference.positive,
    )
    booleans = _booleans(spec)
    champions = _booleans(_champion_spec(ref, models, versions, artifacts)).difference(spec.feature_names)
    partings = {
        name: part(holdout[name], boolean=name in booleans | champions) for name in (*spec.gate.slices, *spec.sensitive)
    }
    slices = judge(judged, {name: partings[name] for name in spec.gate.slices})
    searched = [feature.name for feature in spec.features if feature.kind is not FeatureKind.TIME]
    found = _search(search, spec, holdout.select(searched), booleans, judged) if searched else []
    compare = _CompareGroups(groups, spec, judged)
    document = {
        "schema": SLICES_AND_GROUPS.schema,
        "slices": [each.to_json() for each in slices],
        "slice_rule": {
            "min_rows": judged.min_rows,
            "min_clusters": MIN_CLUSTERS,
            "compared": sum(each.gain_over_champion is not None for each in slices),
            "confidence": spec.gate.confidence,
        },
        "found": [each.to_json() for each in found],
        "fairness": {name: compare.by(partings[name]) for name in spec.sensitive},
        "fairness_rule": {"min_rows": MIN_GROUP_ROWS, "confidence": spec.gate.confidence},
    }
    data = json.dumps(document, sort_keys=True, allow_nan=False).encode()
    artifacts.put(ref.slices_and_groups_key, data, content_type="application/json")
    return SlicesAndGroups(
        slices=len(slices),
        judged=sum(not each.too_few for each in slices),
        confirmed=sum(each.confirmed for each in found),
        sensitive=len(spec.sensitive),
    )


def _booleans(spec: ModelSpec | None) -> set[str]:
    return {feature.name for feature in spec.features if feature.kind is FeatureKind.BOOLEAN} if spec else set()


def _champion_spec(ref: RunRef, models: Models, versions: Versions, artifacts: Artifacts) -> ModelSpec | None:
    """Of the version that this one was compared with."""
    champion = EVALUATION.read(artifacts.get(ref.evaluation_key))["champion"]
    return champion and models.spec(ref.model, versions.version(ref.model, champion["version"]).spec_digest)


def _reference(artifacts: Artifacts, ref: RunRef) -> Reference:
    return Reference.from_json(json.loads(artifacts.get(ref.reference_key)))


def _arms(
    ref: RunRef, spec: ModelSpec, reference: Reference, versions: Versions, artifacts: Artifacts
) -> dict[str, Arm]:
    """What `evaluate` kept of both models' scores. The champion's own threshold is read where the
    metric looks at decisions."""
    kept = Table.from_npz(artifacts.get(ref.holdout_scores_key))
    arms = {CANDIDATE: Arm(kept[SCORES_OUTPUT], reference.threshold)}
    if CHAMPION_SCORES in kept:
        threshold = reference.threshold
        if spec.metric.decides and spec.task is Task.BINARY:
            number = EVALUATION.read(artifacts.get(ref.evaluation_key))["champion"]["version"]
            champion = RunRef(model=ref.model, run_id=versions.version(ref.model, number).run_id)
            threshold = _reference(artifacts, champion).threshold
        arms[CHAMPION] = Arm(kept[CHAMPION_SCORES], threshold)
    return arms


def _search(
    search: SliceSearch, spec: ModelSpec, features: Table, booleans: set[str], judged: Judged
) -> list[FoundSlice]:
    """Slices that one half of the holdout names and the other half measures; none when a half has too few clusters."""
    drawn = judged.resampling
    first, second = halves(len(features), drawn.cluster, drawn.seed)
    if min(clusters_of(drawn, rows) for rows in (first, second)) < MIN_HALF_CLUSTERS:
        return []
    loss = row_loss(spec.task.value, judged.target, judged.arms[CANDIDATE].scores)
    loss = np.minimum(loss, np.quantile(loss[first], LOSS_QUANTILE))
    named = features.take(first)
    paths = worst(search(named, booleans, loss[first]), named, loss[first])
    return confirm(paths, features.take(second), loss[second], judged.take(second))


@dataclass(frozen=True, slots=True)
class _CompareGroups:
    """How the model treats the groups of a sensitive column."""

    metrics: GroupMetrics
    spec: ModelSpec
    judged: Judged

    def by(self, parting: Parting) -> dict[str, Any]:
        """Every group, and for a binary model the three differences between them."""
        if self.spec.task is not Task.BINARY:
            return {"groups": self._groups(parting, self._means(parting)), **dict.fromkeys(RATES_OF)}
        decisions = self._decisions(parting)
        differences = {measure: self._difference(measure, decisions, parting) for measure in RATES_OF}
        return {"groups": self._groups(parting, self._rates(decisions)), **differences}

    def _groups(self, parting: Parting, numbers: Mapping[int, Mapping[str, float | None]]) -> list[dict[str, Any]]:
        return [
            {
                "group": label,
                "rows": int((parting.codes == code).sum()),
                **numbers[code],
                "metric": self._metric(parting.codes == code),
            }
            for code, label in enumerate(parting.labels)
            if code in numbers
        ]

    def _metric(self, rows: Column) -> float | None:
        arm, positive = self.judged.arms[CANDIDATE], self.judged.positive
        try:
            return find(self.judged.metric).value(
                self.judged.target[rows],
                arm.scores[rows],
                positive=positive,
                threshold=arm.threshold,
            )
        except DataCheckError:
            return None

    def _means(self, parting: Parting) -> Mapping[int, Mapping[str, float]]:
        """Of the predicted number, or of the probability given to the decided class."""
        predicted = self.judged.arms[CANDIDATE].scores.max(axis=1).astype(np.float64)
        return self.metrics.means(self.judged.target, predicted, parting.codes)

    def _decisions(self, parting: Parting) -> Decisions:
        candidate = self.judged.arms[CANDIDATE]
        return Decisions(
            positive=self.judged.target == self.judged.positive,
            decided=candidate.scores[:, self.judged.positive] >= candidate.threshold,
            group=parting.codes,
            groups=len(parting.labels),
        )

    def _rates(self, decisions: Decisions) -> dict[int, dict[str, float | None]]:
        """A rate of no rows is null, where fairlearn says 0."""
        found: dict[int, dict[str, float | None]] = {}
        for code, numbers in self.metrics.rates(decisions.positive, decisions.decided, decisions.group).items():
            found[code] = {"positives": int(decisions.counts(TRUE_POSITIVE_RATE)[code]), **numbers}
            for rate in (TRUE_POSITIVE_RATE, FALSE_POSITIVE_RATE):
                if not decisions.counts(rate)[code]:
                    found[code][rate] = None
        return found

    def _difference(self, measure: str, decisions: Decisions, parting: Parting) -> dict[str, Any] | None:
        found = decisions.difference(measure, self.judged.resampling)
        if found is None:
            return None
        compared = decisions.compared(measure)
        rows = np.isin(decisions.group, compared)
        value = self.metrics.difference(
            measure, decisions.positive[rows], decisions.decided[rows], decisions.group[rows]
        )
        return {
            "value": value,
            "low": found.estimate.low,
            "high": found.estimate.high,
            "rate": found.rate,
            "highest": parting.labels[found.high],
            "lowest": parting.labels[found.low],
            "compared": [parting.labels[code] for code in compared],
        }
