"""The table of targets: one place that gate, canary, monitoring and dashboards read."""

from typing import Any

import pytest

from tests.builders.specs import spec
from tidegate.domain.evaluation import gate
from tidegate.domain.evaluation.targets import KINDS, Dimension, Target, changes, hold, limits, stated
from tidegate.domain.rollout.canary import ArmCounts, CanaryOutcome, Look, Metric, judge_alone
from tidegate.domain.training.contracts import rollout_plan, stated_targets
from tidegate.kernel.errors import SpecInvalidError
from tidegate.spec.data import Governance
from tidegate.spec.targets import Targets

EVERYTHING: dict[str, Any] = {
    "sensitive": ["line"],
    "gate": {"margin": 0.01},
    "targets": {
        "metric_at_least": 0.7,
        "latency_p99_ms": 20,
        "availability_at_least": 0.999,
        "cost_per_1000_usd_at_most": 0.01,
        "governance": {"demographic_parity": 0.1, "flips_at_most": 0.05},
    },
}


ASKING = tuple(f"monitoring.{name}" for name in ("captures_at_most", "reporter_at_most", "guard_margin"))


def target(name: str, limit: float = 1.0) -> Target:
    (kind,) = [kind for kind in KINDS if kind.name == name]
    return Target(kind, limit)


def test_every_field_of_the_specs_targets_is_stated_once_and_checked_somewhere() -> None:
    fields = [f"targets.{name}" for name in Targets.model_fields if name != "governance"]
    fields += [f"targets.governance.{name}" for name in Governance.model_fields]
    assert sorted(kind.path for kind in KINDS) == sorted([*fields, "gate.margin", *ASKING])
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert all(kind.check or kind.compared or kind.live for kind in KINDS)
    assert {kind.dimension for kind in KINDS} == set(Dimension)


def test_a_check_that_a_target_names_is_one_of_the_gates() -> None:
    known = {check.__name__ for check in gate.CHECKS}
    assert {kind.check for kind in KINDS if kind.check} <= known


def test_targets_left_out_are_not_stated_and_defaults_are() -> None:
    assert limits(stated_targets(spec())) == {
        "margin": 0,
        "latency_p99_ms": 50,
        "load_ms": 5_000,
        "artifact_mib": 100,
        "captures_at_most": 0.5,
        "reporter_at_most": 0.5,
        "guard_margin": 0.05,
    }
    found = limits(stated_targets(spec(**EVERYTHING)))
    assert (found["metric_at_least"], found["demographic_parity"], found["flips_at_most"]) == (0.7, 0.1, 0.05)


def test_equal_targets_have_no_changes_and_each_change_is_reported_from_what_to_what() -> None:
    before, after = stated_targets(spec()), stated_targets(spec(**EVERYTHING))
    assert changes(after, after) == ()
    sentences = [change.sentence for change in changes(before, after)]
    assert "gate.margin: at most 0.01 (of roc_auc), was at most 0 (of roc_auc)" in sentences
    assert "targets.latency_p99_ms: at most 20 ms, was at most 50 ms" in sentences
    assert "targets.governance.demographic_parity: at most 0.1 (of line), was none" in sentences
    assert len(sentences) == 7
    assert len(changes(after, before)) == 7


@pytest.mark.parametrize("changed", [{"metric": "accuracy"}, {"sensitive": ["line", "stops"]}])
def test_a_limit_on_another_metric_or_on_other_groups_is_another_limit(changed: dict[str, Any]) -> None:
    assert changes(stated_targets(spec(**EVERYTHING)), stated_targets(spec(**EVERYTHING | changed)))


@pytest.mark.parametrize("path", ASKING)
def test_of_the_limits_that_say_when_people_are_asked_only_a_looser_one_is_a_change(path: str) -> None:
    name = path.rpartition(".")[2]
    strict, loose = (stated_targets(spec(monitoring={name: limit})) for limit in (0.04, 1))
    assert [each.sentence for each in changes(strict, loose)] == [f"{path}: at most 1, was at most 0.04"]
    assert changes(loose, strict) == changes(loose, loose) == ()


# The canary's demands


def test_performance_targets_are_required_demands_of_the_canary_and_alpha_is_not_spent_twice() -> None:
    demands = {each.metric: each for each in rollout_plan(spec(**EVERYTHING)).demands.demands}
    assert (demands[Metric.SLOW].target, demands[Metric.SLOW].required) == (0.01, True)
    assert (demands[Metric.UNAVAILABLE].target, demands[Metric.UNAVAILABLE].required) == (0.001, True)
    assert demands[Metric.ERRORS].target == demands[Metric.FALLBACKS].target == 0.001
    assert sum(each.alpha_share for each in demands.values()) == pytest.approx(1)


def test_no_availability_is_demanded_where_none_is_stated() -> None:
    assert Metric.UNAVAILABLE not in {each.metric for each in rollout_plan(spec()).demands.demands}


@pytest.mark.parametrize(("unavailable", "outcome"), [(0, CanaryOutcome.PASS), (60, CanaryOutcome.FAIL)])
def test_a_first_version_is_held_against_the_stated_availability(unavailable: int, outcome: CanaryOutcome) -> None:
    policy = rollout_plan(spec(targets={"availability_at_least": 0.99})).demands
    looks = [Look(ArmCounts(1_000, unavailable=unavailable)) for _ in range(3)]
    (found,) = [each for each in judge_alone(looks, policy).findings if each.metric is Metric.UNAVAILABLE]
    assert found.outcome is outcome


@pytest.mark.parametrize(
    ("demands", "path"),
    [
        ({"errors": {"target": 0.01}}, r"release\.demands\.errors\.target: 0.01 is more than .* leaves, 0.001"),
        ({"unavailable": {"target": 0.002}}, r"release\.demands\.unavailable\.target"),
        ({"unavailable": {"required": False}}, r"release\.demands\.unavailable\.required"),
    ],
)
def test_a_demand_that_contradicts_the_stated_availability_is_a_fault(demands: Any, path: str) -> None:
    with pytest.raises(SpecInvalidError, match=path):
        spec(targets={"availability_at_least": 0.999}, release={"demands": demands})


def test_the_demands_of_a_release_override_what_the_targets_say() -> None:
    rules = {"demands": {"errors": {"target": 0.0005}, "slow": {"target": 0.05}, "unavailable": {"margin": 0.002}}}
    plan = rollout_plan(spec(targets={"availability_at_least": 0.999}, release=rules))
    demands = {each.metric: each for each in plan.demands.demands}
    assert (demands[Metric.ERRORS].target, demands[Metric.SLOW].target) == (0.0005, 0.05)
    assert (demands[Metric.UNAVAILABLE].target, demands[Metric.UNAVAILABLE].margin) == (0.001, 0.002)


def test_availability_is_demanded_of_a_release_only_where_it_is_stated() -> None:
    with pytest.raises(SpecInvalidError, match=r"goes with targets\.availability_at_least"):
        spec(release={"demands": {"unavailable": {"margin": 0.02}}})


# Live traffic


@pytest.mark.parametrize(
    ("name", "limit", "found", "outcome"),
    [
        ("metric_at_least", 0.7, (0.65, 0.6, 0.71), "met"),
        ("metric_at_least", 0.7, (0.65, 0.6, 0.69), "missed"),
        ("latency_p99_ms", 20, (25, 19, 30), "met"),
        ("latency_p99_ms", 20, (25, 21, 30), "missed"),
        ("cost_per_1000_usd_at_most", 0.1, (0.2, 0.2, 0.2), "missed"),
        ("cost_per_1000_usd_at_most", 0.1, None, "insufficient_data"),
    ],
)
def test_a_target_is_missed_only_when_the_whole_interval_is_beyond_it(
    name: str, limit: float, found: Any, outcome: str
) -> None:
    assert hold(target(name, limit), found, rows=500, min_rows=500).outcome == outcome


def test_few_rows_say_nothing_and_the_sentence_says_so() -> None:
    held = hold(target("latency_p99_ms", 20), (90, 80, 95), rows=499, min_rows=500)
    assert held.outcome == "insufficient_data"
    assert "too little data" in held.sentence


def test_what_a_spec_states_is_read_from_its_json_alone() -> None:
    wanted = spec(**EVERYTHING)
    assert stated(wanted.model_dump(mode="json")) == stated_targets(wanted)
