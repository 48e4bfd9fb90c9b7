"""Judge the fitted model on held-out rows, with the thing that will serve it, next to the baseline and the champion.

The step only measures; `gate` decides. Every number goes to the run's evaluation.json. What the version's live traffic
will be compared with goes to its reference.json.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from tidegate.domain.data.splits import training_rows
from tidegate.domain.evaluation import recalibration
from tidegate.domain.evaluation.bootstrap import CANDIDATE, Arm, Comparison, Resampling, paired_bootstrap
from tidegate.domain.evaluation.broken_rules import broken_rules
from tidegate.domain.evaluation.documents import PLAN
from tidegate.domain.evaluation.estimate import Estimate
from tidegate.domain.evaluation.evaluation import BaselineValue, ChampionValue, Evaluation, LatencyMs, Parity
from tidegate.domain.evaluation.probe import Trial
from tidegate.domain.evaluation.sections import (
    Captures,
    FallbackValue,
    ReferenceMark,
    Scores,
    Sections,
)
from tidegate.domain.monitoring.quality import LossByScore
from tidegate.domain.monitoring.reference import Reference, background, profiled
from tidegate.domain.registry.run import Run
from tidegate.domain.registry.version import Version
from tidegate.domain.serving.baseline import FittedRule
from tidegate.domain.serving.capture import policy_of
from tidegate.domain.serving.contract import SCORES_OUTPUT, Contract, Inputs
from tidegate.domain.serving.fallback import Fallback
from tidegate.kernel.errors import ArtifactRejectedError, DataCheckError, NotFoundError, TrainingFailedError
from tidegate.kernel.metrics.metric import FromLosses
from tidegate.kernel.metrics.registry import of_task
from tidegate.kernel.prefixes import RunFile
from tidegate.kernel.table import CLUSTER, ROW, TARGET, Column, Table
from tidegate.kernel.values import class_name
from tidegate.messages import Evaluated, EvaluateTask
from tidegate.ports.platform import Clock
from tidegate.ports.registry import Artifacts, Models, RouteReader, Runs, Versions
from tidegate.ports.serving import Scorer, ScorerLoader
from tidegate.spec.model import ModelSpec
from tidegate.steps.evaluation.measure import Measure, guarded, resamples
from tidegate.steps.run_files import RunFiles

STAGE = "evaluate"
WARM_UP_ROWS = 50
TIMED_ROWS = 500
_BLOCK_ROWS = 4096  # rows scored at a time: bounds what the runtime holds for one call
ROUNDED = 2.0**-16  # of a value: what a forest of 1,000 trees loses where float32 adds them up
TAIL = 0.05  # of a target's rows, on each side: how far out they lie says nothing of its spread
SCORE_PARTS = 20  # of the holdout, by quantiles of the candidate's scores
CHAMPION_SCORES = "champion_scores"  # of the holdout: columns in the order of the candidate's classes
_BASELINE, _CHAMPION, _FALLBACK = "baseline", "champion", "fallback"


def evaluate(
    task: EvaluateTask,
    *,
    models: Models,
    runs: Runs,
    versions: Versions,
    routes: RouteReader,
    artifacts: Artifacts,
    load: ScorerLoader,
    clock: Clock,
    stopwatch: Callable[[], float] = time.perf_counter,
) -> Evaluated:
    """Score the holdout by candidate, baseline, fallback and champion; compare them; measure what serving will cost. A
    run that makes a version again knows no champion.

    The bootstrap is seeded by the artifact's hash: the same version always gets the same intervals, and nobody can draw
    again until they please.

    Raises:
        ArtifactRejectedError: the candidate's bytes are not those that were trained, or no Tidegate model.
        DataCheckError: the holdout does not define the metric (one class only, say).
        TrainingFailedError: the candidate gives scores that are no finite numbers.
        ConflictError: the run is final.
    """
    ref = task.run
    runs.note(ref.model, ref.run_id, STAGE, clock.now())
    run = runs.run(ref.model, ref.run_id)
    spec = models.spec(ref.model, run.spec_digest)
    files = RunFiles(ref, artifacts, task.files | task.fitted.files)
    holdout = Table.from_npz(files.read(RunFile.HOLDOUT))
    plan = PLAN.read(files.read(RunFile.PLAN))
    onnx = files.read(RunFile.ARTIFACT)
    candidate = _candidate(onnx, holdout, load, stopwatch)
    rules = _Rules.read(files)
    find = _FindChampion(models, runs, versions, routes, artifacts, load)
    champion = find.on(holdout, run, spec, candidate.contract) if run.reproduces is None else None
    arms = _arms(candidate, rules, champion, holdout)
    _keep_scores(holdout, arms, files)

    draw = Resampling(
        rows=len(holdout),
        cluster=None if spec.gate.resample_by == "row" else holdout[CLUSTER],
        resamples=spec.gate.resamples,
        confidence=spec.gate.confidence,
        seed=int(task.fitted.artifact_sha256[:16], 16),
    )
    found = paired_bootstrap(
        spec.metric.text,
        holdout[TARGET],
        arms,
        cluster=draw.cluster,
        resamples=draw.resamples,
        confidence=draw.confidence,
        seed=draw.seed,
        positive=candidate.contract.positive,
        also=also_measured(spec),
    )
    trial = Trial(
        contract=candidate.contract,
        metric=spec.metric.text,
        rows=holdout,
        scores=candidate.scores,
        score=lambda inputs: _score(candidate.scorer, inputs),
        resampling=replace(draw, resamples=resamples(spec)),
    )
    evaluation = Evaluation(
        metric=spec.metric.text,
        higher_is_better=spec.metric.more_is_better,
        confidence=spec.gate.confidence,
        resamples=spec.gate.resamples,
        undefined_resamples=found.undefined_resamples,
        resample_by=spec.gate.resample_by,
        rows=len(holdout),
        clusters=found.clusters,
        candidate=found.arms[CANDIDATE],
        baseline=BaselineValue(rules.baseline.title, found.arms[_BASELINE]),
        champion=champion.value(found.arms.get(_CHAMPION)) if champion else None,
        gain_over_baseline=found.gains[_BASELINE],
        gain_over_champion=found.gains.get(_CHAMPION),
        metrics=found.metrics,
        parity=_parity(
            candidate.scores,
            files.read(RunFile.REFERENCE_SCORES),
            holdout[TARGET],
            candidate.contract,
            spec.gate.parity_tolerance,
        ),
        latency_ms=candidate.latency_ms,
        load_ms=candidate.load_ms,
        artifact_bytes=len(onnx),
        peak_memory_mib=candidate.peak_memory_mib,
        sections=replace(
            _sections(spec, trial, arms=arms, rules=rules, found=found, files=files, personal=plan["personal"]),
            captures=_captures(spec, trial, plan, files, lambda rows: find.on(rows, run, spec, candidate.contract)),
        ),
    )
    document = json.dumps(evaluation.to_json(), sort_keys=True, allow_nan=False).encode()
    files.write(RunFile.EVALUATION, document, content_type="application/json")
    runs.note(ref.model, ref.run_id, STAGE, clock.now(), metrics=_metrics(evaluation))
    return Evaluated(
        metric=evaluation.metric,
        value=evaluation.candidate.value,
        low=evaluation.candidate.low,
        high=evaluation.candidate.high,
        champion_version=champion.version if champion else None,
        fallback_sha256=task.fitted.files[RunFile.FALLBACK],
        files=files.written,
        classes=[class_name(label) for label in candidate.contract.classes],
    )


def also_measured(spec: ModelSpec) -> list[str]:
    """What is measured of the candidate besides: all metrics of its task but those that take parameters, which say
    something only once somebody has chosen them; the spec's own is among them in any case."""
    own, others = spec.metric, of_task(spec.task.value)
    found = [each.text for each in others if not each.parameters or each.name == own.name]
    return [own.text if name == own.name else name for name in found] if own.parameters else found


@dataclass(frozen=True, slots=True)
class _Candidate:
    """The model as it will serve: what it says of the holdout, and what it takes to say so."""

    scorer: Scorer
    scores: Column
    load_ms: float
    latency_ms: LatencyMs
    peak_memory_mib: float

    @property
    def contract(self) -> Contract:
        return self.scorer.contract


def _candidate(onnx: bytes, holdout: Table, load: ScorerLoader, stopwatch: Callable[[], float]) -> _Candidate:
    started = stopwatch()
    scorer = load(onnx)
    load_ms = 1e3 * (stopwatch() - started)
    inputs = scorer.contract.inputs(holdout)
    latency, peak_memory_mib = _latency(scorer, inputs, stopwatch), _peak_memory_mib()
    scores = _score(scorer, inputs)
    _demand_finite(scores)
    return _Candidate(scorer, scores, load_ms, latency, peak_memory_mib)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What answers without learning: the baseline to beat, and what stands in when no version can answer."""

    baseline: FittedRule
    fallback: Fallback

    @classmethod
    def read(cls, files: RunFiles) -> Self:
        baseline = FittedRule.from_json(json.loads(files.read(RunFile.BASELINE)))
        return cls(baseline, Fallback.from_bytes(files.read(RunFile.FALLBACK)))


def _arms(candidate: _Candidate, rules: _Rules, champion: "_Champion | None", holdout: Table) -> dict[str, Arm]:
    """Everybody's scores of the holdout. A fallback that is the baseline has none of its own."""
    threshold = candidate.contract.threshold
    arms = {CANDIDATE: Arm(candidate.scores, threshold), _BASELINE: Arm(rules.baseline.scores(holdout), threshold)}
    if rules.fallback.rule != rules.baseline:
        arms[_FALLBACK] = Arm(rules.fallback.rule.scores(holdout), threshold)
    if champion is not None and champion.arm is not None:
        arms[_CHAMPION] = champion.arm
    return arms


def _keep_scores(holdout: Table, arms: Mapping[str, Arm], files: RunFiles) -> None:
    """For the slices, which are judged by the same scores."""
    kept = {SCORES_OUTPUT: arms[CANDIDATE].scores, ROW: holdout[ROW]}
    if _CHAMPION in arms:
        kept[CHAMPION_SCORES] = arms[_CHAMPION].scores
    files.write(RunFile.HOLDOUT_SCORES, Table(kept).to_npz())


def _sections(
    spec: ModelSpec,
    trial: Trial,
    *,
    arms: Mapping[str, Arm],
    rules: _Rules,
    found: Comparison,
    files: RunFiles,
    personal: Sequence[str],
) -> Sections:
    """Whatever is reported besides the metric. Writes the reference on the way, which has some of the same numbers."""
    contract, holdout = trial.contract, trial.rows
    training = training_rows(*(Table.from_npz(files.read(file)) for file in (RunFile.FIT, RunFile.VALIDATION)))
    hidden = _hidden(spec, personal)
    measure = Measure(spec, trial, training, {*hidden, *personal})
    important = measure.importances()
    guard = guarded(trial, training, arms.get(_FALLBACK, arms[_BASELINE]).scores)
    reference_sha256 = _WriteReference(spec, contract, training, hidden, trial.resampling.seed, files).of(
        holdout, trial.scores, found.arms[CANDIDATE], {name: max(each.value, 0.0) for name, each in important.items()}
    )
    return replace(
        measure.sections(important),
        fallback=_fallback(rules.fallback, found),
        rules=broken_rules(contract, holdout, trial.scores, rules.fallback.rule),
        scores=_spread(contract, trial.scores, arms[_CHAMPION].scores if _CHAMPION in arms else None),
        reference=ReferenceMark(reference_sha256),
        guard=guard,
    )


def _captures(
    spec: ModelSpec,
    trial: Trial,
    plan: Mapping[str, Any],
    files: RunFiles,
    champion: Callable[[Table], "_Champion | None"],
) -> Captures | None:
    """Candidate and champion on rows without captures; None where the data has no captures."""
    captured = plan.get("captured")
    if captured is None:
        return None
    guard = Table.from_npz(files.read(RunFile.GUARD))
    section = Captures(captured["rows"], captured["holdout_rows"], captured["reporters"], len(guard))
    rival = champion(guard) if len(guard) else None
    if rival is None or rival.arm is None:
        return section
    draw, contract = trial.resampling, trial.contract
    own = Arm(trial.score(contract.inputs(guard)), contract.threshold)
    try:
        found = paired_bootstrap(
            spec.metric.text,
            guard[TARGET],
            {CANDIDATE: own, _CHAMPION: rival.arm},
            cluster=None if spec.gate.resample_by == "row" else guard[CLUSTER],
            resamples=draw.resamples,
            confidence=draw.confidence,
            seed=draw.seed,
            positive=contract.positive,
        )
    except DataCheckError:  # one class only, say
        return section
    return replace(
        section, candidate=found.arms[CANDIDATE], champion=found.arms[_CHAMPION], gain=found.gains[_CHAMPION]
    )


@dataclass(frozen=True, slots=True)
class _WriteReference:
    """Writes what the version's live traffic is compared with."""

    spec: ModelSpec
    contract: Contract
    training: Table
    hidden: tuple[str, ...]
    seed: int
    files: RunFiles

    def of(self, holdout: Table, scores: Column, design: Estimate, importances: dict[str, float]) -> str:
        """Write reference and background; the SHA-256 of the reference."""
        spec, contract, training, hidden = self.spec, self.contract, self.training, self.hidden
        layout, profile = profiled(contract, training, scores, hidden)
        by_score = isinstance(spec.metric.unlabelled, FromLosses)
        chances = None
        if contract.task != "regression":
            chances = recalibration.choose(holdout[TARGET], scores, positive=contract.positive, seed=self.seed)
        shown = background(contract, training, hidden, self.seed)
        reference = Reference(
            layout=layout,
            profile=profile,
            importances=importances,
            metric=spec.metric.text,
            design=design,
            loss_by_score=LossByScore.learn(spec.metric.text, holdout[TARGET], scores[:, 0]) if by_score else None,
            task=contract.task,
            classes=contract.classes,
            positive=contract.positive,
            threshold=contract.threshold,
            confidence=spec.gate.confidence,
            hidden=hidden,
            background=self.files.run.key(RunFile.BACKGROUND),
            background_sha256=self.files.write(RunFile.BACKGROUND, shown.to_npz()),
            recalibration=chances,
        )
        document = json.dumps(reference.to_json(), sort_keys=True, allow_nan=False).encode()
        return self.files.write(RunFile.REFERENCE, document, content_type="application/json")


def _hidden(spec: ModelSpec, personal: Sequence[str]) -> tuple[str, ...]:
    """Features whose values captures hide: those that the spec masks or drops, and personal data it does not keep."""
    policy = policy_of(spec.capture.model_dump(), personal)
    return tuple(name for name in spec.feature_names if name in policy.mask | policy.drop)


def _fallback(fallback: Fallback, found: Comparison) -> FallbackValue:
    """The fallback on the holdout, and what the candidate gains over it."""
    arm = _FALLBACK if _FALLBACK in found.arms else _BASELINE
    return FallbackValue(fallback.rule.title, found.arms[arm], found.gains[arm])


def _spread(contract: Contract, candidate: Column, champion: Column | None) -> Scores:
    """Where a canary parts the scores, and how far apart those of candidate and champion lie on the same rows.

    `edges` are the inner quantiles of the candidate's scores; equal ones count once. `distance` is the largest distance
    between the two cumulative distributions at these edges, None without a champion to compare with.
    """
    ours = np.sort(_given(contract, candidate))
    edges = np.unique(ours[-(-np.arange(1, SCORE_PARTS) * len(ours) // SCORE_PARTS) - 1])
    distance = None
    if champion is not None:
        theirs = np.sort(_given(contract, champion))
        shares = [np.searchsorted(scores, edges, side="right") / len(scores) for scores in (ours, theirs)]
        distance = float(np.abs(shares[0] - shares[1]).max())
    return Scores(tuple(edges.tolist()), distance)


def _given(contract: Contract, scores: Column) -> Column:
    """What answers and captures call the score [rows], as `prediction.answers` writes it: the positive class's
    probability, the value of a regression, the probability of the likeliest of many classes."""
    match contract.task:
        case "binary":
            given = scores[:, contract.positive]
        case "multiclass":
            given = scores.max(axis=1)
        case "regression":
            given = scores[:, 0]
    return given.astype(np.str_).astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Champion:
    """The champion as the comparison needs it: its arm, or why it has none."""

    version: int
    arm: Arm | None = None
    problem: str = ""
    seen_rows: int | None = None

    def value(self, estimate: Estimate | None) -> ChampionValue:
        return ChampionValue(self.version, estimate, self.problem, self.seen_rows)


@dataclass(frozen=True, slots=True)
class _FindChampion:
    """Looks up what serves now and scores it on the candidate's holdout."""

    models: Models
    runs: Runs
    versions: Versions
    routes: RouteReader
    artifacts: Artifacts
    load: ScorerLoader

    def on(self, holdout: Table, run: Run, spec: ModelSpec, contract: Contract) -> _Champion | None:
        """None when nothing serves."""
        route = self.routes.route(run.model)
        if route is None or route.champion is None:
            return None
        served = route.champion
        version = self.versions.version(run.model, served.version)
        target = self.models.spec(run.model, version.spec_digest).target
        if target != spec.target:
            return _Champion(served.version, problem=f"it predicts {target}, this version {spec.target}")
        try:
            scorer = self.load(self.artifacts.get_verified(served.artifact_key, served.artifact_sha256))
        except (ArtifactRejectedError, NotFoundError) as error:
            return _Champion(served.version, problem=f"its artifact cannot be used: {error.message}")
        problem = _mismatch(scorer.contract, contract, holdout)
        if problem:
            return _Champion(served.version, problem=problem)
        scores = _score(scorer, scorer.contract.inputs(holdout))
        if not np.isfinite(scores).all():
            return _Champion(served.version, problem="it gives scores that are not finite numbers")
        labels = [repr(label) for label in scorer.contract.classes]
        order = [labels.index(repr(label)) for label in contract.classes] or [0]
        seen_rows = self._seen_rows(holdout, run, version)
        return _Champion(served.version, Arm(scores[:, order], scorer.contract.threshold), seen_rows=seen_rows)

    def _seen_rows(self, holdout: Table, run: Run, champion: Version) -> int | None:
        """Holdout rows that the champion was trained on; None when it was trained on other data."""
        if champion.dataset_version != run.dataset_version:
            return None
        try:
            files = RunFiles.of_version(champion, self.artifacts)
            parts = [Table.from_npz(files.read(file))[ROW] for file in (RunFile.FIT, RunFile.VALIDATION)]
        except NotFoundError:  # its tables have expired
            return None
        return int(np.isin(holdout[ROW], np.concatenate(parts)).sum())


def _mismatch(champion: Contract, candidate: Contract, holdout: Table) -> str:
    """Why the champion cannot be scored on these rows; empty when it can."""
    if champion.task != candidate.task:
        return f"its task is {champion.task}, this version's is {candidate.task}"
    if sorted(map(repr, champion.classes)) != sorted(map(repr, candidate.classes)):
        return f"its classes are {_listed(champion.classes)}, this version's are {_listed(candidate.classes)}"
    lacking = [feature.name for feature in champion.features if feature.name not in holdout]
    if lacking:
        return f"the holdout lacks {_listed(lacking)}, which it needs"
    times = {feature.name: feature.kind == "time" for feature in candidate.features}
    for feature in champion.features:
        if times.get(feature.name, feature.kind == "time") != (feature.kind == "time"):
            return f"{feature.name} is {feature.kind} for it, but not for this version"
        is_text = holdout[feature.name].dtype.kind not in "fiub"
        if is_text != (feature.kind == "categorical"):
            return f"{feature.name} is {feature.kind} for it, but holds {'text' if is_text else 'numbers'} here"
    return ""


def _listed(names: Any) -> str:
    return ", ".join(str(name) for name in names) or "none"


def _score(scorer: Scorer, inputs: Inputs) -> Column:
    """All rows, in blocks; float32 [rows, classes] or [rows, 1]."""
    starts = range(0, max(1, len(inputs.numeric)), _BLOCK_ROWS)
    return np.concatenate([scorer.score(_rows(inputs, slice(start, start + _BLOCK_ROWS))) for start in starts])


def _rows(inputs: Inputs, rows: slice) -> Inputs:
    return Inputs(inputs.numeric[rows], inputs.categorical[rows], inputs.times[rows])


def _demand_finite(scores: Column) -> None:
    bad = int((~np.isfinite(scores)).any(axis=1).sum())
    if bad:
        raise TrainingFailedError(
            f"the exported model gives no finite score for {bad:,} of {len(scores):,} holdout rows",
            next_step="check the estimator's parameters, or choose another candidate",
        )


def _latency(scorer: Scorer, inputs: Inputs, stopwatch: Callable[[], float]) -> LatencyMs:
    """Each of `TIMED_ROWS` rows from all over the holdout by itself, after a warm-up."""
    spread = np.linspace(0, len(inputs.numeric) - 1, WARM_UP_ROWS + TIMED_ROWS).astype(int)
    spread = np.random.default_rng(0).permutation(spread)
    singles = [_rows(inputs, slice(row, row + 1)) for row in spread.tolist()]
    for single in singles[:WARM_UP_ROWS]:
        scorer.score(single)
    elapsed = []
    for single in singles[WARM_UP_ROWS:]:
        started = stopwatch()
        scorer.score(single)
        elapsed.append(1e3 * (stopwatch() - started))
    p50, p99 = np.quantile(elapsed, [0.5, 0.99])
    return LatencyMs(float(p50), float(p99), len(elapsed))


def _peak_memory_mib() -> float:
    """Largest resident size of this process so far: runtime, libraries, holdout and the loaded model. In a process that
    has evaluated before it is that of the larger evaluation; never less than what serving needs."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _parity(scores: Column, reference: bytes, target: Column, contract: Contract, tolerance: float) -> Parity:
    expected = Table.from_npz(reference)[SCORES_OUTPUT]
    served = scores.astype(np.float64)
    apart, size = np.abs(served - expected), np.abs(expected)
    largest = float((apart / np.maximum(1.0, size)).max(initial=0.0))
    flips: int | None = None
    match contract.task:
        case "binary":
            column = contract.positive
            flips = int(((served >= contract.threshold) != (expected >= contract.threshold))[:, column].sum())
        case "multiclass":
            flips = int((served.argmax(axis=1) != expected.argmax(axis=1)).sum())
        case "regression":
            spread = _without_tails(target)
            beyond = float((apart - ROUNDED * size).max(initial=0.0))
            return Parity(len(served), largest, tolerance, None, spread, beyond / spread)
    return Parity(len(served), largest, tolerance, flips)


def _without_tails(target: Column) -> float:
    """The standard deviation of a target whose tails are drawn in to where they begin, so that one huge value does not
    excuse wrong scores of all other rows; of one that is all but constant that of all rows, or its size."""
    drawn_in = np.clip(target, *np.quantile(target, (TAIL, 1 - TAIL)))
    found = float(np.std(drawn_in)) if np.ptp(drawn_in) else float(np.std(target)) if np.ptp(target) else 0.0
    return found or float(np.abs(target).max()) or 1.0


def _metrics(evaluation: Evaluation) -> dict[str, float]:
    """What the run's record shows without opening the evaluation."""
    values = {name: estimate.value for name, estimate in evaluation.metrics.items() if estimate is not None}
    return values | {
        "latency_p50_ms": evaluation.latency_ms.p50,
        "latency_p99_ms": evaluation.latency_ms.p99,
        "load_ms": evaluation.load_ms,
    }
