"""How long a rollout will take, from the traffic of last week."""

from dataclasses import replace

import numpy as np
import pytest

from tests.builders.present import present
from tests.builders.rollouts import PLAN, OneRelease
from tidegate.domain.registry.ledger import ALL_BP
from tidegate.domain.rollout import canary
from tidegate.domain.rollout.canary import DEMANDS, ArmCounts, Look, Metric, Policy
from tidegate.domain.rollout.forecast import Chance, Forecast, Lately, Traffic, forecast
from tidegate.domain.rollout.rollout import AtDeadline, Phase
from tidegate.domain.serving.service_level import ServiceLevel

DEFAULTS = replace(
    PLAN, steps_bp=(100, 500, 2_500, 5_000), deadline_seconds=24 * 3600, demands=Policy(), probation_seconds=0
)


def a_day(requests: float, *, failing: float = 0.005, slow: float = 0.005) -> Traffic:
    return Traffic(requests / 24, failing, slow)


def foreseen(requests: float, **rates: float) -> Forecast:
    return present(forecast(DEFAULTS, a_day(requests, **rates)))


def test_busy_models_are_in_time_and_quiet_ones_get_ways_out():
    assert foreseen(20_000).chance is Chance.LIKELY
    assert foreseen(20_000).ways == ()
    assert foreseen(5_000).chance is Chance.UNCERTAIN
    quiet = foreseen(1_000)
    assert quiet.chance is Chance.UNLIKELY
    assert [way.split(":")[0] for way in quiet.ways] == [
        "fewer steps or a larger first share",
        "a longer deadline",
        "shadow mode, which judges all requests and not a share of them",
        "waiting beyond the deadline until there is evidence (about 6.9 days)",
    ]
    waiting = present(forecast(replace(DEFAULTS, at_deadline=AtDeadline.WAIT), a_day(1_000)))
    assert waiting.ways == quiet.ways[:-1]
    assert quiet.sentence == (
        "the canary of a healthy version takes about 4.4 days, one of ten more than 6.9 days, at 41.7 requests "
        "an hour, as in the last 7 days: probably too late for its deadline of 24 hours"
    )


def test_steps_last_until_they_are_baked_and_the_version_has_answered_enough():
    steps = foreseen(1_000).steps
    assert [step.share_bp for step in steps] == [100, 500, 2_500, 5_000]
    assert [round(step.hours, 2) for step in steps[:3]] == [24.0, 4.8, 0.96]
    assert [step.requests for step in steps[:3]] == [10, 10, 10]
    fast = foreseen(1_000_000).steps
    assert [step.hours for step in fast[:3]] == pytest.approx([1 / 6] * 3)
    assert present(foreseen(1_000_000).hours) == pytest.approx(sum(step.hours for step in fast))


@pytest.mark.parametrize("worse", [{"failing": 0.02}, {"slow": 0.2}])
def test_more_failures_take_longer(worse):
    assert present(foreseen(5_000, **worse).hours) > present(foreseen(5_000).hours)


def test_it_says_which_metric_takes_longest():
    assert foreseen(5_000).slowest is Metric.ERRORS
    assert foreseen(5_000, failing=1e-4, slow=0.3).slowest is Metric.SLOW
    assert foreseen(10_000_000).slowest is None


@pytest.mark.parametrize(("requests", "failing"), [(5_000, 0.005), (15_000, 0.02), (1_000, 0.001)])
def test_each_way_makes_it_likely(requests, failing):
    plan = replace(DEFAULTS, min_requests=1)
    traffic = a_day(requests, failing=failing)
    found = present(forecast(plan, traffic))
    assert found.chance is not Chance.LIKELY
    ways = {way.split(":")[0]: way for way in found.ways}
    hours = int(ways["a longer deadline"].rsplit(" ", 1)[1])
    assert present(forecast(replace(plan, deadline_seconds=3600 * hours), traffic)).chance is Chance.LIKELY
    tight = present(forecast(replace(plan, deadline_seconds=3600 * (hours - 1)), traffic))
    assert tight.chance is not Chance.LIKELY
    words = ways["wider margins, as the volume allows"].split(": ", 1)[1].replace(" and ", ", ").split(", ")
    margins = {name: float(margin) for name, margin in (word.split(" ") for word in words)}
    demands = tuple(replace(each, margin=margins.get(each.metric, each.margin)) for each in DEMANDS)
    assert present(forecast(replace(plan, demands=Policy(demands)), traffic)).chance is Chance.LIKELY


def test_a_model_that_is_hardly_asked_takes_more_than_a_year():
    found = foreseen(2)
    assert (found.hours, found.requests, found.chance) == (None, None, Chance.UNLIKELY)
    assert found.sentence.startswith("a canary would take more than a year at 0.0833 requests an hour")
    assert not any("deadline_hours" in way for way in found.ways)


def test_without_a_canary_there_is_nothing_to_foresee():
    assert forecast(replace(DEFAULTS, steps_bp=()), a_day(100)) is None


def test_rates_are_those_of_the_champion_and_of_what_is_captured():
    service = ServiceLevel(requests=999, answered=994, latency={100: 700.0, 20: 299.0})
    lately = Lately(hours=10, requests=2_000, service=service)
    assert Lately.from_json(lately.to_json()) == lately
    found = present(lately.traffic(50, sample=0.25))
    assert (found.requests_an_hour, found.hours) == (50, 10)
    assert (found.failing, found.slow) == pytest.approx((0.0055, 0.7005))
    assert present(lately.traffic(50_000)).slow == pytest.approx(0.0005)
    assert Lately().traffic(50) is None


@pytest.mark.simulation
@pytest.mark.parametrize(("requests", "failing"), [(5_000, 0.005), (20_000, 0.02)])
def test_rollouts_take_as_many_requests_as_was_forecast(monkeypatch, requests, failing):
    """Whole rollouts by the decisions that releases take, a look every hour; nobody fails but by chance."""
    monkeypatch.setattr(canary, "_end", lambda *_, refuted, **__: refuted)
    demands = tuple(each for each in DEMANDS if each.metric in {Metric.ERRORS, Metric.SLOW})
    plan = replace(DEFAULTS, deadline_seconds=720 * 3600, demands=Policy(demands))
    traffic = a_day(requests, failing=failing)
    found, chance = present(forecast(plan, traffic)), np.random.default_rng(20260105)
    taken = []
    for _ in range(40):
        house, seen = OneRelease(plan), 0
        house.begin()
        while house.at.phase is Phase.CANARY:
            came = int(chance.poisson(traffic.requests_an_hour))
            ours = int(chance.binomial(came, house.routed.candidate_bp / ALL_BP))
            arms = [
                ArmCounts(n, errors=int(chance.binomial(n, failing)), slow=int(chance.binomial(n, traffic.slow)))
                for n in (ours, came - ours)
            ]
            seen += came
            house.later(60, Look(*arms))
        assert house.at.phase is Phase.DONE
        taken.append(seen)
    assert present(found.requests) == pytest.approx(np.median(taken), rel=0.3)
    assert present(found.slow_hours) * traffic.requests_an_hour == pytest.approx(np.quantile(taken, 0.9), rel=0.35)
