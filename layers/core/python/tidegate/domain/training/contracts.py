"""From a spec, and what was learned from the data, to the serving contract that travels inside the artifact."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tidegate.domain.evaluation import targets
from tidegate.domain.evaluation.targets import Target
from tidegate.domain.rollout import canary
from tidegate.domain.rollout.canary import DEMANDS, Demand, Metric
from tidegate.domain.rollout.rollout import AtDeadline, Plan
from tidegate.domain.serving.contract import ComputedContract, Contract, FeatureContract, Label, OutputRule
from tidegate.domain.training.thresholds import Worth
from tidegate.kernel.errors import Fault, SpecInvalidError
from tidegate.spec.features import FeatureKind
from tidegate.spec.model import ModelSpec
from tidegate.spec.part import Task
from tidegate.spec.release import Compared, Demanded

DEFAULT_THRESHOLD = 0.5


def feature_contracts(
    spec: ModelSpec, learned: Mapping[str, Sequence[str]] | None = None
) -> tuple[FeatureContract, ...]:
    """The features' rules, in the spec's order; categories that the spec does not list come from `learned`."""
    return tuple(
        FeatureContract(
            name=feature.name,
            kind=feature.kind.value,
            minimum=feature.min,
            maximum=feature.max,
            categories=feature.categories
            if feature.categories is not None or feature.kind is not FeatureKind.CATEGORICAL or learned is None
            else tuple(learned[feature.name]),
            unseen=feature.unseen,
            missing=feature.missing,
            unit=feature.unit,
            estimator=feature.estimator and feature.kind is not FeatureKind.TIME,
        )
        for feature in spec.features
    )


def serving_contract(
    spec: ModelSpec, *, classes: Sequence[Label], positive: int, learned: Mapping[str, Sequence[str]]
) -> Contract:
    """The contract of a model trained under `spec`. `classes` is empty for a regression.

    A threshold that is chosen by value and the interval of a regression are measured once the candidate is known.
    """
    return Contract(
        model=spec.name,
        task=spec.task.value,
        features=feature_contracts(spec, learned),
        classes=tuple(classes),
        positive=positive,
        threshold=DEFAULT_THRESHOLD if spec.decision.threshold == "value" else spec.decision.threshold,
        rules=tuple(OutputRule(rule.name, rule.require, rule.when) for rule in spec.rules),
        computed=tuple(
            ComputedContract(each.name, each.expression, each.unit, each.description) for each in spec.computed
        ),
    )


def worth(spec: ModelSpec) -> Worth | None:
    """What decisions of a binary model are worth; None when the spec does not say."""
    value, decision = spec.value, spec.decision
    if value is None or spec.task is not Task.BINARY:
        return None
    return Worth(
        right=value.correct,
        false_positive=value.wrong if decision.false_positive is None else decision.false_positive,
        false_negative=value.wrong if decision.false_negative is None else decision.false_negative,
    )


def stated_targets(spec: ModelSpec) -> tuple[Target, ...]:
    """What the spec demands, each target once."""
    return targets.stated(spec.model_dump(mode="json"))


def rollout_plan(spec: ModelSpec, *, score_distance: float = 0.0, needs_approval: bool = False) -> Plan:
    """How a version of this spec gets to its users.

    A target that is about single requests is the target of its metric in the canary, unless `release.demands` says
    otherwise. `needs_approval` says that a person has to agree whatever the spec's `release.approval` is.
    `score_distance` is how far apart the candidate's and the champion's scores lie on the holdout (largest distance of
    their cumulative distributions). It is expected, so live scores may differ by as much before they count as shifted.

    Raises:
        SpecInvalidError: a demand contradicts the default of its other half, or nothing is left that a model's first
            version could pass.
    """
    rules = spec.release
    faults = []
    demands = []
    for known in _demands(spec):
        said = rules.demands.get(Compared(known.metric.value), Demanded())
        given = {name: value for name, value in said if value is not None}
        tolerance, margin = given.pop("tolerance", known.tolerance), given.pop("margin", known.margin)
        if tolerance >= margin:
            problem = f"its margin ({margin:g}) must be above its tolerance ({tolerance:g})"
            faults.append(Fault(f"release.demands.{known.metric}", problem))
            continue
        if known.metric is canary.Metric.SCORES:
            tolerance, margin = (
                min(share + score_distance, most) for share, most in ((tolerance, 0.97), (margin, 0.98))
            )
        demands.append(replace(known, tolerance=tolerance, margin=margin, **given))
    if not faults and not any(demand.required and demand.target is not None for demand in demands):
        problem = "a demand with a target must be required: a model's first version is judged by nothing else"
        faults.append(Fault("release.demands", problem))
    if faults:
        raise SpecInvalidError("the canary's demands contradict themselves", faults)
    return Plan(
        approval_seconds=rules.approval_hours * 3600 if needs_approval or rules.approval == "required" else None,
        shadow_seconds=rules.shadow_minutes * 60,
        steps_bp=tuple(round(100 * step) for step in rules.steps),
        bake_seconds=rules.bake_minutes * 60,
        min_requests=rules.min_requests,
        look_seconds=rules.look_seconds,
        deadline_seconds=rules.deadline_hours * 3600,
        at_deadline=AtDeadline(rules.at_deadline),
        probation_seconds=rules.probation_hours * 3600,
        holdback_bp=round(100 * rules.holdback),
        slow_ms=spec.targets.latency_p99_ms,
        demands=canary.Policy(tuple(demands)),
    )


def _demands(spec: ModelSpec) -> tuple[Demand, ...]:
    """The default demands of a canary, with the spec's targets in them."""
    shares = {target.kind.compared: target.tolerated_share for target in stated_targets(spec)}
    unavailable = shares.pop(Metric.UNAVAILABLE, None)
    demands = DEMANDS if unavailable is None else canary.available(DEMANDS, unavailable)
    given = {metric: share for metric, share in shares.items() if share is not None}
    return tuple(replace(each, target=given.get(each.metric, each.target)) for each in demands)
