"""From a spec to what is served under it, and to the plan of its release."""

from dataclasses import replace

import pytest

from tests.builders.specs import spec
from tidegate.domain.rollout.canary import DEMANDS, Metric, Policy
from tidegate.domain.rollout.rollout import AtDeadline
from tidegate.domain.training.contracts import feature_contracts, rollout_plan, serving_contract
from tidegate.kernel.errors import SpecInvalidError


def demand(plan, metric):
    return next(each for each in plan.demands.demands if each.metric is metric)


def test_categories_that_the_spec_leaves_open_are_those_of_the_training_rows():
    learned = feature_contracts(spec(), {"line": ("blue", "red")})
    assert learned[0].categories == ("blue", "red")
    assert feature_contracts(spec())[0].categories is None


def test_a_contract_says_what_the_spec_says():
    rules = [{"name": "in-range", "require": "0 <= score <= 1"}]
    contract = serving_contract(spec(rules=rules), classes=(False, True), positive=1, learned={"line": ("blue",)})
    assert [feature.name for feature in contract.features] == ["line", "wind", "stops"]
    assert (contract.features[1].minimum, contract.features[1].maximum) == (-50, 150)
    assert [rule.name for rule in contract.rules] == ["in-range"]


def test_a_spec_that_says_nothing_of_its_release_has_the_defaults_of_the_canary():
    plan = rollout_plan(spec(targets={"latency_p99_ms": 20}))
    assert plan.demands == Policy()
    assert (plan.approval_seconds, plan.shadow_seconds, plan.steps_bp) == (None, 0, (100, 500, 2_500, 5_000))
    assert (plan.bake_seconds, plan.min_requests, plan.look_seconds, plan.deadline_seconds) == (600, 10, 60, 86_400)
    assert (plan.at_deadline, plan.probation_seconds, plan.holdback_bp) == (AtDeadline.ROLL_BACK, 86_400, 500)
    assert plan.slow_ms == 20


def test_percent_minutes_and_hours_become_basis_points_and_seconds():
    rules = {
        "approval": "required",
        "approval_hours": 1.5,
        "shadow_minutes": 2,
        "steps": [0.01, 0.07, 33.33, 99.99],
        "bake_minutes": 0.5,
        "deadline_hours": 0.5,
        "at_deadline": "wait",
        "probation_hours": 0,
        "holdback": 0.29,
    }
    plan = rollout_plan(spec(release=rules))
    assert (plan.approval_seconds, plan.shadow_seconds, plan.bake_seconds) == (5_400, 120, 30)
    assert (plan.steps_bp, plan.holdback_bp) == ((1, 7, 3_333, 9_999), 29)
    assert (plan.deadline_seconds, plan.at_deadline, plan.probation_seconds) == (1_800, AtDeadline.WAIT, 0)


def test_a_demand_keeps_the_default_of_what_the_spec_leaves_out():
    said = {"errors": {"margin": 0.005, "required": False}, "loss": {"required": True, "target": 0.2}}
    plan = rollout_plan(spec(release={"demands": said}))
    known = {each.metric: each for each in DEMANDS}
    assert demand(plan, Metric.ERRORS) == replace(known[Metric.ERRORS], margin=0.005, required=False)
    assert demand(plan, Metric.LOSS) == replace(known[Metric.LOSS], required=True, target=0.2)
    assert demand(plan, Metric.SLOW) == known[Metric.SLOW]


def test_scores_may_differ_by_as_much_more_as_they_did_on_the_holdout():
    plan = rollout_plan(spec(), score_distance=0.3)
    assert (demand(plan, Metric.SCORES).tolerance, demand(plan, Metric.SCORES).margin) == pytest.approx((0.4, 0.55))
    assert demand(plan, Metric.ERRORS) in DEMANDS


@pytest.mark.parametrize("distance", [0.9, 1.0])
def test_scores_that_have_nothing_in_common_still_have_a_demand(distance):
    plan = rollout_plan(spec(), score_distance=distance)
    assert (demand(plan, Metric.SCORES).tolerance, demand(plan, Metric.SCORES).margin) == (0.97, 0.98)


def test_demands_that_contradict_a_default_are_named_all_at_once():
    said = {"errors": {"tolerance": 0.05}, "slow": {"margin": 0.001}, "timeouts": {"tolerance": 0.002}}
    with pytest.raises(SpecInvalidError) as caught:
        rollout_plan(spec(release={"demands": said}))
    assert [str(fault) for fault in caught.value.faults] == [
        "release.demands.errors: its margin (0.01) must be above its tolerance (0.05)",
        "release.demands.slow: its margin (0.001) must be above its tolerance (0.002)",
    ]


def test_a_release_in_which_nothing_has_to_be_shown_is_refused():
    waived = {metric: {"required": False} for metric in ("errors", "timeouts", "fallbacks", "violations", "slow")}
    with pytest.raises(SpecInvalidError, match=r"release\.demands: a demand with a target must be required"):
        rollout_plan(spec(release={"demands": waived}))
    rollout_plan(spec(release={"demands": waived | {"loss": {"required": True, "target": 0.2}}}))
