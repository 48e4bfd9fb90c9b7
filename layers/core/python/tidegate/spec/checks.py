"""Faults that no section sees by itself: names that must exist, and choices that must fit together."""

from collections.abc import Iterator, Mapping
from typing import Any

from tidegate.kernel import english
from tidegate.kernel.errors import Fault
from tidegate.kernel.expressions.compile import compile_computed, compile_expression
from tidegate.kernel.expressions.language import TYPE_OF_KIND, ExpressionError, Type
from tidegate.kernel.fault_words import did_you_mean
from tidegate.kernel.metrics.metric import Metric
from tidegate.kernel.metrics.registry import of_task
from tidegate.spec.estimators import nested
from tidegate.spec.estimators.registry import estimators_of
from tidegate.spec.features import ComputedFeature, FeatureKind
from tidegate.spec.gate import GatePolicy
from tidegate.spec.monitoring import MonitoringRules
from tidegate.spec.output_rules import OutputRule
from tidegate.spec.part import Task
from tidegate.spec.release import Compared, Demanded, ReleaseRules
from tidegate.spec.rules.registry import kinds
from tidegate.spec.rules.rule import Place, Rule
from tidegate.spec.serving import CaptureRules
from tidegate.spec.targets import Decision, Targets, ValueRules
from tidegate.spec.training import MAX_CANDIDATES, Candidate

SCORE, LABEL = "score", "label"  # what rules call the answer


def cross_faults(parts: Mapping[str, Any]) -> list[Fault]:
    """Faults between fields. `parts` holds the fields that are valid by themselves; absent ones imply nothing."""
    checks = (
        _task_faults,
        _candidate_faults,
        _feature_faults,
        _computed_faults,
        _time_faults,
        _column_faults,
        _rule_faults,
        _output_rule_faults,
        _decision_faults,
        _target_faults,
        _availability_faults,
        _judged_column_faults,
        _governance_faults,
        _capture_faults,
        _release_faults,
        _monitoring_faults,
        _value_faults,
    )
    return [fault for check in checks for fault in check(parts)]


def parameter_faults(candidates: Mapping[int, Candidate]) -> list[Fault]:
    """Parameters that estimators do not have, and estimators that do not fit their place. Of new specs only: a stored
    one may name what an older library had."""
    return [
        fault
        for index, each in candidates.items()
        for fault in nested.parameter_faults(f"candidates[{index}]", each.estimator, each.parameters, each.grid)
    ]


def _task_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    task: Task | None = parts.get("task")
    metric: Metric | None = parts.get("metric")
    if task and metric and task.value not in metric.tasks:
        yield Fault(
            "metric", f"{metric.name} does not fit task {task}", tuple(each.name for each in of_task(task.value))
        )
    if task and task is not Task.BINARY and parts.get("positive_class") is not None:
        yield Fault("positive_class", f"applies to task binary only, not to {task}")


def _candidate_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    candidates: Mapping[int, Candidate] = parts.get("candidates", {})
    task = parts.get("task")
    for index, candidate in candidates.items():
        if task and task not in candidate.facts.tasks:
            problem = f"{candidate.estimator!r} does not fit task {task}"
            yield Fault(f"candidates[{index}].estimator", problem, estimators_of(task))
        for name in sorted(set(candidate.parameters) & set(candidate.grid)):
            yield Fault(f"candidates[{index}].grid.{name}", "is also a fixed parameter; keep one")
    total = sum(candidate.size for candidate in candidates.values())
    if total > MAX_CANDIDATES:
        yield Fault("candidates", f"the grids expand to {total} runs; at most {MAX_CANDIDATES}")


def _feature_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, feature in parts.get("features", {}).items():
        path = f"features[{index}].name"
        if feature.name in seen:
            yield Fault(path, f"{feature.name!r} is listed twice")
        seen.add(feature.name)
        if feature.name == parts.get("target"):
            yield Fault(path, f"{feature.name!r} is the target column; it cannot be a feature")
        if feature.name == parts.get("time") and feature.kind is not FeatureKind.TIME:
            yield Fault(path, f"{feature.name!r} is the time column; it can only be a feature of kind time")
        if feature.name in parts.get("ids", ()):
            yield Fault(path, f"{feature.name!r} is an id column; it cannot be a feature")


def _computed_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    computed: Mapping[int, ComputedFeature] = parts.get("computed", {})
    features = parts.get("features", {}).values()
    names, groups = _inputs(parts), {feature.name for feature in features}
    seen: set[str] = set()
    for index, each in computed.items():
        path = f"computed[{index}].name"
        roles = [role for role in ("target", "time", "group") if each.name == parts.get(role)]
        if each.name in seen:
            yield Fault(path, f"{each.name!r} is listed twice")
        elif each.name in groups - seen:
            yield Fault(path, f"{each.name!r} is already a feature")
        elif roles or each.name in parts.get("ids", ()):
            yield Fault(path, f"{each.name!r} is the {roles[0] if roles else 'id'} column; choose another name")
        elif each.name in {SCORE, LABEL}:
            yield Fault(path, f"{each.name!r} is reserved for the answer in rules; choose another name")
        seen.add(each.name)
        try:
            expression = compile_computed(each.expression, names, groups, {later.name for later in computed.values()})
        except ExpressionError as error:
            for problem in error.problems:
                yield Fault(f"computed[{index}].expression", str(problem), problem.allowed)
            names = None if names is None else names | {each.name: Type.ANY}
            groups |= {each.name}
            continue
        if expression.group_rates and parts.get("task") is Task.MULTICLASS:
            yield Fault(f"computed[{index}].expression", "group_rate does not fit task multiclass: which class's rate?")
        names = None if names is None else names | {each.name: expression.type}
        if not expression.group_rates:
            groups |= {each.name}
    given = [feature for feature in features if feature.estimator and feature.kind is not FeatureKind.TIME]
    if features and not computed and not given:
        yield Fault("features", "leaves the estimator no feature; set `estimator: true` on one, or compute one")


def _time_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    """Times that nothing looks at, and times where groups are needed."""
    times = {feature.name: index for index, feature in parts.get("features", {}).items() if feature.kind == "time"}
    rules = _rules(parts)
    roles = {
        "monitoring.sensitive": getattr(parts.get("monitoring"), "sensitive", ()),
    }
    roles |= {f"{place}.by": rule.groups for place, rule in rules.items()}
    for path, columns in roles.items():
        for index, column in enumerate(columns):
            if column in times:
                yield Fault(f"{path}[{index}]", f"{column!r} is a time; it cannot form groups")
    texts = [each.expression for each in parts.get("computed", {}).values()]
    texts += [text for rule in parts.get("rules", {}).values() for text in (rule.when, rule.require) if text]
    texts += [rule.computes for rule in rules.values() if rule.computes]
    for name, index in times.items():
        if not any(_looks_at(text, name) for text in texts):
            problem = (
                f"{name!r} has no effect: no computed feature or rule uses it, for example with hour() or weekday()"
            )
            yield Fault(f"features[{index}].name", problem)


def _looks_at(text: str, name: str) -> bool:
    """Whether an expression names it; of a faulty one, which says so itself, whether it might."""
    try:
        return name in compile_expression(text, groups=()).names
    except ExpressionError:
        return name in text


def _column_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    split, gate = parts.get("split"), parts.get("gate")
    if split and (split.train or split.holdout_days) and "time" in parts and parts["time"] is None:
        yield Fault("time", "is required when split names periods")
    if gate and gate.resample_by == "group" and "group" in parts and parts["group"] is None:
        yield Fault("group", "is required when gate.resample_by is group")
    if gate and gate.resample_by == "day" and "time" in parts and parts["time"] is None:
        yield Fault("time", "is required when gate.resample_by is day")


def _rule_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    task = parts.get("task")
    names = tuple(feature.name for feature in parts.get("features", {}).values())
    for place, rule in _rules(parts).items():
        if task and task not in rule.tasks[place]:
            yield Fault(f"{place}.kind", f"{rule.kind} does not fit task {task}", kinds(place, task))
        if rule.needs_time and "time" in parts and parts["time"] is None:
            yield Fault("time", f"is required when {place}.kind is {rule.kind}")
        for field, problem in rule.problems(task):
            yield Fault(f"{place}.{field}", problem)
        for index, column in enumerate(rule.groups):
            if names and column not in names:
                yield Fault(f"{place}.by[{index}]", _no_feature(column, names), names)
        if rule.computes is not None:
            yield from _expression_faults(f"{place}.expression", rule.computes, _inputs(parts), Type.NUMBER)


def _rules(parts: Mapping[str, Any]) -> dict[Place, Rule]:
    return {place: rule for place in Place if (rule := parts.get(place)) is not None}


def _output_rule_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    rules: Mapping[int, OutputRule] = parts.get("rules", {})
    if not rules:
        return
    values = _inputs(parts)
    for index, feature in parts.get("features", {}).items():
        if feature.name in {SCORE, LABEL}:
            yield Fault(
                f"features[{index}].name", f"{feature.name!r} is reserved for the answer in rules; rename the feature"
            )
    outputs = {SCORE: Type.NUMBER} | ({} if parts.get("task") is Task.REGRESSION else {LABEL: Type.ANY})
    seen: set[str] = set()
    for index, rule in rules.items():
        if rule.name in seen:
            yield Fault(f"rules[{index}].name", f"{rule.name!r} is listed twice")
        seen.add(rule.name)
        for field, text in (("when", rule.when), ("require", rule.require)):
            if text is not None:
                known = None if values is None else values | outputs
                yield from _expression_faults(f"rules[{index}].{field}", text, known, Type.BOOLEAN)


def _inputs(parts: Mapping[str, Any]) -> dict[str, Type] | None:
    """What expressions may name; None when no feature is right yet, so that not every name is called unknown."""
    features = parts.get("features", {}).values()
    return {feature.name: TYPE_OF_KIND[feature.kind] for feature in features} or None


def _expression_faults(path: str, text: str, names: Mapping[str, Type] | None, wanted: Type) -> Iterator[Fault]:
    try:
        compile_expression(text, names, wanted=wanted)
    except ExpressionError as error:
        for problem in error.problems:
            yield Fault(path, str(problem), problem.allowed)


def _decision_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    task, decision = parts.get("task"), parts.get("decision")
    if task and decision and task is not Task.BINARY:
        default = Decision()  # a stored spec has its defaults written out
        for name in sorted(decision.model_fields_set):
            if getattr(decision, name) != getattr(default, name):
                yield Fault(f"decision.{name}", f"applies to task binary only, not to {task}")
    elif decision and decision != Decision() and "value" in parts:
        priced = decision.false_positive is not None or decision.false_negative is not None
        if parts["value"] is None and (priced or decision.threshold == "value"):
            yield Fault("value", "is required when decision.threshold is `value`, or when decision prices an error")
    if task and task is not Task.REGRESSION and parts.get("interval") is not None:
        yield Fault("interval", f"applies to task regression only, not to {task}")


def _target_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    metric: Metric | None = parts.get("metric")
    targets: Targets | None = parts.get("targets")
    if metric and targets:
        bounds = ["metric_at_least", "metric_at_most"]
        right, wrong = bounds if metric.more_is_better else bounds[::-1]
        if getattr(targets, wrong) is not None:
            yield Fault(f"targets.{wrong}", f"does not fit {metric.name}; use {right}")
    if targets and targets.calibration_error_at_most is not None and parts.get("task") is Task.REGRESSION:
        yield Fault("targets.calibration_error_at_most", "is for classifiers; a regression has no probabilities")


def _availability_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    """Demands of the canary that contradict what the targets say of the same requests."""
    targets: Targets | None = parts.get("targets")
    rules: ReleaseRules | None = parts.get("release")
    if targets is None or rules is None:
        return
    path, wanted = "release.demands", targets.availability_at_least
    if wanted is None:
        if Compared.UNAVAILABLE in rules.demands:
            yield Fault(f"{path}.unavailable", "goes with targets.availability_at_least; give both or neither")
        return
    left = round(1 - wanted, 9)
    for compared in (Compared.ERRORS, Compared.TIMEOUTS, Compared.FALLBACKS, Compared.UNAVAILABLE):
        target = rules.demands.get(compared, Demanded()).target
        if target is not None and target > left:
            problem = f"{target:g} is more than targets.availability_at_least ({wanted:g}) leaves, {left:g}"
            yield Fault(f"{path}.{compared}.target", problem)
    if rules.demands.get(Compared.UNAVAILABLE, Demanded()).required is False:
        yield Fault(f"{path}.unavailable.required", "must not be false: targets.availability_at_least asks for it")


def _judged_column_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    gate: GatePolicy | None = parts.get("gate")
    times = {feature.name for feature in parts.get("features", {}).values() if feature.kind is FeatureKind.TIME}
    for path, columns in (("sensitive", parts.get("sensitive", ())), ("gate.slices", gate.slices if gate else ())):
        for index, column in enumerate(columns):
            if column in columns[:index]:
                yield Fault(f"{path}[{index}]", f"{column!r} is listed twice")
            for role in ("target", "time"):
                if column == parts.get(role):
                    yield Fault(f"{path}[{index}]", f"{column!r} is the {role} column; it cannot form groups")
            if column in times - {parts.get("time")}:
                yield Fault(f"{path}[{index}]", f"{column!r} is a time; it cannot form groups")


def _governance_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    targets: Targets | None = parts.get("targets")
    limits = targets.governance.model_dump(exclude_none=True) if targets else {}
    for name in limits:
        if "sensitive" in parts and not parts["sensitive"]:
            yield Fault(f"targets.governance.{name}", "needs groups to compare; name their columns under sensitive")
        elif name != "flips_at_most" and parts.get("task") not in {None, Task.BINARY}:
            yield Fault(f"targets.governance.{name}", f"applies to task binary only, not to {parts['task']}")


def _capture_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    rules: CaptureRules | None = parts.get("capture")
    names = tuple(feature.name for feature in parts.get("features", {}).values())
    named: dict[str, str] = {}
    for part in ("mask", "drop", "keep") if rules else ():
        for index, column in enumerate(getattr(rules, part)):
            if names and column not in names:
                yield Fault(
                    f"capture.{part}[{index}]", f"{column!r} is not a feature{did_you_mean(column, names)}", names
                )
            if column in named:
                yield Fault(
                    f"capture.{part}[{index}]", f"{column!r} is already listed in {named[column]}; list it once"
                )
            named.setdefault(column, part)


def _no_feature(column: str, names: tuple[str, ...]) -> str:
    return f"{column!r} is not a feature{did_you_mean(column, names)}"


def _release_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    rules: ReleaseRules | None = parts.get("release")
    if rules is None:
        return
    baked = rules.bake_minutes * len(rules.steps) / 60
    if rules.steps and rules.deadline_hours < baked:
        left, steps = english.count(rules.deadline_hours, "hour"), english.count(len(rules.steps), "step")
        problem = f"{left} are too few: {steps} bake for {english.count(baked, 'hour')}"
        yield Fault("release.deadline_hours", problem)
    if rules.demands.get(Compared.SCORES, Demanded()).target is not None:
        yield Fault("release.demands.scores.target", "scores are only compared with a champion's; remove it")


def _monitoring_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    rules: MonitoringRules | None = parts.get("monitoring")
    if rules is None:
        return
    if ("schedule" in rules.retrain_on) != (rules.every_days is not None):
        yield Fault("monitoring.every_days", "goes with `schedule` in monitoring.retrain_on; give both or neither")
    names = tuple(feature.name for feature in parts.get("features", {}).values())
    for index, column in enumerate(rules.sensitive):
        if names and column not in names:
            yield Fault(
                f"monitoring.sensitive[{index}]", f"{column!r} is not a feature{did_you_mean(column, names)}", names
            )
    if rules.sensitive and parts.get("task") not in {None, Task.BINARY}:
        yield Fault("monitoring.sensitive", "is compared for task binary only")


def _value_faults(parts: Mapping[str, Any]) -> Iterator[Fault]:
    rules: ValueRules | None = parts.get("value")
    task = parts.get("task")
    if rules is None or task is None:
        return
    if task is Task.REGRESSION and rules.tolerance is None:
        yield Fault("value.tolerance", "is required for task regression: the largest error that still counts as right")
    if task is not Task.REGRESSION and rules.tolerance is not None:
        yield Fault("value.tolerance", f"applies to task regression only, not to {task}")
