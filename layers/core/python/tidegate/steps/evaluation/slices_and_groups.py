"""Look at parts of the holdout where one number for all rows hides a fault: slices, and groups of people.

The step only measures; `gate` decides. Every number goes to the run's slices_and_groups.json.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tidegate.domain.evaluation.bootstrap import CANDIDATE, MIN_CLUSTERS, Arm, Resampling
from tidegate.domain.evaluation.documents import PLAN
from tidegate.domain.evaluation.evaluation import Evaluation
from tidegate.domain.evaluation.fairness import (
    DEMOGRAPHIC_PARITY,
    EQUAL_OPPORTUNITY,
    EQUALIZED_ODDS,
    FALSE_POSITIVE_RATE,
    MIN_GROUP_ROWS,
    POSITIVE_RATE,
    TRUE_POSITIVE_RATE,
    Decisions,
)
from tidegate.domain.evaluation.sections import (
    Fairness,
    FairnessRule,
    Group,
    GroupDifference,
    HoldoutParts,
    Rates,
    SliceRule,
)
from tidegate.domain.evaluation.slices import (
    CHAMPION,
    LEAST_ROWS,
    LOSS_QUANTILE,
    MIN_HALF_CLUSTERS,
    Judged,
    Measured,
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
from tidegate.domain.registry.version import Version
from tidegate.domain.serving.contract import SCORES_OUTPUT
from tidegate.kernel.errors import DataCheckError
from tidegate.kernel.metrics.registry import find
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import CLUSTER, TARGET, Column, Table
from tidegate.messages import SlicesAndGroups, SlicesAndGroupsTask
from tidegate.ports.evaluation import GroupMetrics, SliceSearch
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts, Models, Runs, Versions
from tidegate.spec.features import FeatureKind
from tidegate.spec.model import ModelSpec
from tidegate.spec.part import Task
from tidegate.steps.evaluation.evaluate import CHAMPION_SCORES
from tidegate.steps.run_files import RunFiles

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
    files = RunFiles(ref, artifacts, task.files | task.evaluated.files)
    holdout = Table.from_npz(files.read(RunFile.HOLDOUT))
    reference = _reference(files)
    compared = Evaluation.from_json(json.loads(files.read(RunFile.EVALUATION))).champion
    champion = versions.version(ref.model, compared.version) if compared else None
    judged = Judged(
        metric=spec.metric.text,
        target=holdout[TARGET],
        arms=_arms(spec, reference, champion, files),
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
    champions = _booleans(models.spec(ref.model, champion.spec_digest) if champion else None)
    champions = champions.difference(spec.feature_names)
    partings = {
        name: part(holdout[name], boolean=name in booleans | champions) for name in (*spec.gate.slices, *spec.sensitive)
    }
    slices = judge(judged, {name: partings[name] for name in spec.gate.slices})
    hidden = {*reference.hidden, *PLAN.read(files.read(RunFile.PLAN))["personal"]}
    searched = [each.name for each in spec.features if each.kind is not FeatureKind.TIME and each.name not in hidden]
    found = _search(search, spec, holdout.select(searched), booleans, judged) if searched else []
    compare = _CompareGroups(groups, spec, judged)
    parts = HoldoutParts(
        slices=tuple(slices),
        slice_rule=SliceRule(
            min_rows=judged.min_rows,
            min_clusters=MIN_CLUSTERS,
            compared=sum(each.gain_over_champion is not None for each in slices),
            confidence=spec.gate.confidence,
        ),
        found=tuple(each.section for each in found),
        fairness={name: compare.by(partings[name]) for name in spec.sensitive},
        fairness_rule=FairnessRule(MIN_GROUP_ROWS, spec.gate.confidence),
    )
    data = json.dumps(parts.to_json(), sort_keys=True, allow_nan=False).encode()
    files.write(RunFile.SLICES_AND_GROUPS, data, content_type="application/json")
    return SlicesAndGroups(
        slices=len(slices),
        judged=sum(not each.too_few for each in slices),
        confirmed=sum(each.confirmed for each in found),
        sensitive=len(spec.sensitive),
        files=files.written,
    )


def _booleans(spec: ModelSpec | None) -> set[str]:
    return {feature.name for feature in spec.features if feature.kind is FeatureKind.BOOLEAN} if spec else set()


def _reference(files: RunFiles) -> Reference:
    return Reference.from_json(json.loads(files.read(RunFile.REFERENCE)))


def _arms(spec: ModelSpec, reference: Reference, champion: Version | None, files: RunFiles) -> dict[str, Arm]:
    """What `evaluate` kept of both models' scores. The champion's own threshold is read where the
    metric looks at decisions."""
    kept = Table.from_npz(files.read(RunFile.HOLDOUT_SCORES))
    arms = {CANDIDATE: Arm(kept[SCORES_OUTPUT], reference.threshold)}
    if CHAMPION_SCORES in kept:
        threshold = reference.threshold
        if spec.metric.decides and spec.task is Task.BINARY and champion is not None:
            threshold = _reference(RunFiles.of_version(champion, files.artifacts)).threshold
        arms[CHAMPION] = Arm(kept[CHAMPION_SCORES], threshold)
    return arms


def _search(
    search: SliceSearch, spec: ModelSpec, features: Table, booleans: set[str], judged: Judged
) -> list[Measured]:
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

    def by(self, parting: Parting) -> Fairness:
        """Every group, and for a binary model the three differences between them."""
        if self.spec.task is not Task.BINARY:
            means = self._means(parting)
            groups = [replace(each, mean_prediction=means[code]) for code, each in self._groups(parting, means)]
            return Fairness(tuple(groups), None, None, None)
        decisions = self._decisions(parting)
        rates = self._rates(decisions)
        return Fairness(
            groups=tuple(replace(each, rates=rates[code]) for code, each in self._groups(parting, rates)),
            demographic_parity=self._difference(DEMOGRAPHIC_PARITY, decisions, parting),
            equal_opportunity=self._difference(EQUAL_OPPORTUNITY, decisions, parting),
            equalized_odds=self._difference(EQUALIZED_ODDS, decisions, parting),
        )

    def _groups(self, parting: Parting, known: Collection[int]) -> Iterator[tuple[int, Group]]:
        for code, label in enumerate(parting.labels):
            if code in known:
                rows = parting.codes == code
                yield code, Group(label, int(rows.sum()), self._metric(rows))

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

    def _means(self, parting: Parting) -> Mapping[int, float]:
        """Of the predicted number, or of the probability given to the decided class."""
        predicted = self.judged.arms[CANDIDATE].scores.max(axis=1).astype(np.float64)
        means = self.metrics.means(self.judged.target, predicted, parting.codes)
        return {code: numbers["mean_prediction"] for code, numbers in means.items()}

    def _decisions(self, parting: Parting) -> Decisions:
        candidate = self.judged.arms[CANDIDATE]
        return Decisions(
            positive=self.judged.target == self.judged.positive,
            decided=candidate.scores[:, self.judged.positive] >= candidate.threshold,
            group=parting.codes,
            groups=len(parting.labels),
        )

    def _rates(self, decisions: Decisions) -> dict[int, Rates]:
        """A rate of no rows is None, where fairlearn says 0."""
        counts = {rate: decisions.counts(rate) for rate in (TRUE_POSITIVE_RATE, FALSE_POSITIVE_RATE)}
        return {
            code: Rates(
                positives=int(counts[TRUE_POSITIVE_RATE][code]),
                positive_rate=numbers[POSITIVE_RATE],
                true_positive_rate=numbers[TRUE_POSITIVE_RATE] if counts[TRUE_POSITIVE_RATE][code] else None,
                false_positive_rate=numbers[FALSE_POSITIVE_RATE] if counts[FALSE_POSITIVE_RATE][code] else None,
                accuracy=numbers["accuracy"],
            )
            for code, numbers in self.metrics.rates(decisions.positive, decisions.decided, decisions.group).items()
        }

    def _difference(self, measure: str, decisions: Decisions, parting: Parting) -> GroupDifference | None:
        found = decisions.difference(measure, self.judged.resampling)
        if found is None:
            return None
        compared = decisions.compared(measure)
        rows = np.isin(decisions.group, compared)
        value = self.metrics.difference(
            measure, decisions.positive[rows], decisions.decided[rows], decisions.group[rows]
        )
        return GroupDifference(
            estimate=replace(found.estimate, value=value),
            rate=found.rate,
            highest=parting.labels[found.high],
            lowest=parting.labels[found.low],
            compared=tuple(parting.labels[code] for code in compared),
        )
