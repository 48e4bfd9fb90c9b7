"""Verdicts of the canary: cases, what must never happen whatever the counts, and error rates by simulation."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.domain.rollout.betting import (
    VALUES,
    evidence_of_pairs,
    evidence_of_rate,
    evidence_that_exceeds,
    evidence_that_means_exceed,
    masses,
)
from tidegate.domain.rollout.canary import (
    DEMANDS,
    LOSS_UNIT,
    ArmCounts,
    CanaryOutcome,
    Demand,
    Look,
    Metric,
    Policy,
    evidence_scores_agree,
    evidence_scores_differ,
    judge,
    judge_alone,
    loss_at,
    loss_millionths,
    score_counts,
    still_needed,
)

PASS, FAIL, LITTLE = CanaryOutcome.PASS, CanaryOutcome.FAIL, CanaryOutcome.INSUFFICIENT_DATA
POLICY = Policy()
RANK = {FAIL: 0, LITTLE: 1, PASS: 2}


def arm(requests, *, scores=None, losses=0, loss=0.2, **counts):
    """An arm whose scores lie evenly in four bins unless they are given."""
    quarter, rest = divmod(requests, 4)
    bins = (quarter + rest, quarter, quarter, quarter) if scores is None else scores
    return ArmCounts(requests, scores=bins, losses=losses, loss_millionths=round(losses * loss * LOSS_UNIT), **counts)


def finding(verdict, metric):
    return next(each for each in verdict.findings if each.metric is metric)


def only(metric, policy=POLICY):
    demand = next(each for each in policy.demands if each.metric is metric)
    return replace(policy, demands=(replace(demand, required=True),))


@pytest.mark.parametrize(
    ("candidate", "champion", "outcome"),
    [
        (arm(5000, errors=25, slow=250), arm(5000, errors=25, slow=250), PASS),
        (arm(5000, errors=2, slow=40), arm(5000, errors=25, slow=250), PASS),  # better in every respect
        (arm(5000, errors=150, slow=250), arm(5000, errors=25, slow=250), FAIL),
        (arm(5000, errors=25, slow=500), arm(5000, errors=25, slow=250), FAIL),
        (arm(5000, errors=25, slow=250, fallbacks=200), arm(5000, errors=25, slow=250), FAIL),
        (arm(5000, errors=25, slow=250, timeouts=100), arm(5000, errors=25, slow=250), FAIL),
        (arm(5000, errors=25, slow=250, violations=100), arm(5000, errors=25, slow=250), FAIL),
        (arm(5000, scores=(3000, 1000, 500, 500)), arm(5000), FAIL),
        (arm(5000, losses=4000, loss=0.4), arm(5000, losses=4000, loss=0.2), FAIL),
        (arm(40, errors=8), arm(3960, errors=20), FAIL),  # 1 % canary, far worse
        (arm(40, errors=1), arm(3960, errors=20), LITTLE),
        (arm(20), arm(20), LITTLE),
        (arm(1, errors=1), arm(99), LITTLE),
        (arm(0), arm(5000, errors=25), LITTLE),  # no traffic: not promoted, not blamed
        (arm(5000, errors=5000), arm(0), LITTLE),
        (arm(0), arm(0), LITTLE),
    ],
)
def test_a_release_fails_passes_or_waits_by_what_both_arms_did_side_by_side(candidate, champion, outcome):
    assert judge([Look(candidate, champion)], POLICY).outcome is outcome


def test_without_looks_nothing_is_shown_and_each_reason_says_what_is_missing():
    verdict = judge([], POLICY)
    assert verdict.outcome is LITTLE
    assert verdict.reasons[0] == "error rate: the candidate has no requests yet"
    assert len(verdict.reasons) == sum(demand.required for demand in DEMANDS)


def test_a_finding_says_in_a_sentence_what_was_compared_and_what_it_means():
    looks = [Look(arm(5000, errors=150), arm(5000, errors=25))]
    found = finding(judge(looks, POLICY), Metric.ERRORS)
    assert found.statement.startswith(
        "error rate 3.00 % of 5,000 requests, the champion's 0.50 % of 5,000; difference 2.5 points [+"
    )
    assert found.statement.endswith("]: worse by more than the 0.1 points tolerated")
    assert judge(looks, POLICY).reasons == (found.statement,)
    assert found.difference == pytest.approx(0.025)
    assert 0.001 <= found.low < found.difference < found.high
    assert found.evidence_worse >= found.fails_at == pytest.approx(1 / (0.05 * 0.3))


def test_the_interval_agrees_with_the_outcome():
    for errors in (0, 20, 40, 60, 120):
        found = finding(judge([Look(arm(4000, errors=errors), arm(4000, errors=20))], POLICY), Metric.ERRORS)
        assert (found.low >= 0.001) == (found.outcome is FAIL)
        assert found.low <= found.difference <= found.high
        if found.outcome is PASS:
            assert found.high <= 0.01


def test_a_rate_that_moves_for_both_arms_blames_nobody_though_pooled_counts_would():
    quiet = Look(arm(100, errors=0), arm(9900, errors=20))
    storm = Look(arm(5000, errors=250), arm(5000, errors=250))
    pooled = quiet + storm
    assert finding(judge([quiet, storm], POLICY), Metric.ERRORS).outcome is not FAIL
    assert finding(judge([pooled], POLICY), Metric.ERRORS).outcome is FAIL


def test_probation_compares_the_other_way_round():
    looks = [Look(candidate=arm(9500, errors=300), champion=arm(500, errors=2))]
    assert judge(looks, POLICY).outcome is FAIL


def test_loss_is_not_waited_for_unless_it_is_required():
    looks = [Look(arm(5000, errors=25, slow=250), arm(5000, errors=25, slow=250))]
    assert judge(looks, POLICY).outcome is PASS
    assert finding(judge(looks, POLICY), Metric.LOSS).statement == "loss: the candidate has no labels yet"
    assert judge(looks, only(Metric.LOSS)).outcome is LITTLE
    labelled = [Look(arm(5000, losses=5000), arm(5000, losses=5000))]
    assert judge(labelled, only(Metric.LOSS)).outcome is PASS


@pytest.mark.parametrize(
    ("candidate", "outcome", "ending"),
    [
        (arm(5000, errors=10), PASS, "below the target of 1.00 %"),
        (arm(5000, errors=150), FAIL, "above the target of 1.00 %"),
        (arm(5000, errors=50), LITTLE, "not yet shown to be on either side of the target of 1.00 %"),
        (arm(0), LITTLE, "error rate: the candidate has no requests yet"),
    ],
)
def test_without_a_champion_the_candidate_is_held_against_the_targets(candidate, outcome, ending):
    verdict = judge_alone([Look(candidate)], only(Metric.ERRORS))
    assert verdict.outcome is outcome
    assert verdict.findings[0].statement.endswith(ending)


def test_without_a_champion_metrics_without_a_target_are_not_judged_and_without_any_target_nothing_passes():
    judged = {each.metric for each in judge_alone([Look(arm(5000))], POLICY).findings}
    assert judged == {demand.metric for demand in DEMANDS if demand.target is not None}
    assert judge_alone([Look(arm(5000))], only(Metric.SCORES)).outcome is LITTLE


@pytest.mark.parametrize(
    "numbers",
    [
        {"tolerance": 0.01, "margin": 0.01},
        {"tolerance": -0.01},
        {"margin": 1.0},
        {"alpha_share": 0.0},
        {"target": 0.0},
    ],
)
def test_a_demand_that_cannot_be_meant_is_refused(numbers):
    with pytest.raises(ValueError, match="errors:"):
        replace(DEMANDS[0], **numbers)


@pytest.mark.parametrize(
    ("demands", "problem"),
    [
        ((), "needs demands"),
        ((replace(DEMANDS[0], alpha_share=0.9), DEMANDS[4]), "add up to at most 1"),
        ((DEMANDS[0], DEMANDS[0]), "demanded twice"),
        ((DEMANDS[-1],), "otherwise it demands nothing"),
    ],
)
def test_a_policy_that_cannot_keep_its_promise_is_refused(demands, problem):
    with pytest.raises(ValueError, match=problem):
        Policy(demands)


def test_the_default_policy_spends_its_whole_risk_and_no_more():
    assert math.fsum(demand.alpha_share for demand in DEMANDS) == pytest.approx(1)


@pytest.mark.parametrize(
    "counts", [{"requests": -1}, {"requests": 1, "errors": 2}, {"requests": 3, "scores": (4, -1)}, {"losses": -1}]
)
def test_counts_that_cannot_be_are_refused(counts):
    with pytest.raises(ValueError, match="a count is"):
        ArmCounts(**counts)


def test_scores_fall_into_bins_that_hold_their_upper_edge_and_no_numbers_are_left_out():
    assert score_counts([0.1, 0.2, 0.25, 0.9, math.nan], [0.2, 0.5]) == (2, 1, 1)
    with pytest.raises(ValueError, match="3 bins and in 2"):
        ArmCounts(scores=(1, 2, 3)) + ArmCounts(scores=(1, 2))


def test_losses_are_counted_in_whole_millionths_of_their_bound():
    assert [loss_millionths(loss, 2.0) for loss in (-1.0, 0.5, 7.0)] == [0, 250_000, LOSS_UNIT]


def test_counts_looks_and_verdicts_travel_as_json():
    look = Look(replace(arm(100, errors=3, losses=5), labelled=(1, 2, 1, 1)), arm(900), both=arm(50))
    assert Look.from_json(json.loads(json.dumps(look.to_json()))) == look
    verdict = judge([Look(arm(10**6, errors=10**6), arm(10**6))], POLICY)
    document = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert document["outcome"] == "fail"
    assert document["findings"][0]["metric"] == "errors"


@st.composite
def arms(draw, most=400):
    requests = draw(st.integers(0, most))
    part = st.integers(0, requests)
    bins = tuple(draw(st.lists(st.integers(0, most), min_size=4, max_size=4)))
    losses = draw(st.integers(0, most))
    return ArmCounts(
        requests,
        errors=draw(part),
        timeouts=draw(part),
        fallbacks=draw(part),
        violations=draw(part),
        slow=draw(part),
        scores=bins,
        losses=losses,
        loss_millionths=draw(st.integers(0, losses * LOSS_UNIT)),
    )


@given(one=arms(), other=arms(), third=arms())
def test_counts_add_exactly_in_any_order_and_subtract_again(one, other, third):
    assert (one + other) + third == third + (other + one)
    assert (one + other) - other == one
    assert one + ArmCounts() == one


@settings(max_examples=25)
@given(looks=st.lists(st.builds(Look, arms(), arms()), max_size=3), scale=st.sampled_from([1, 1000]))
def test_any_counts_give_finite_numbers_and_a_statement(looks, scale):
    policy = replace(POLICY, demands=DEMANDS[:1] + DEMANDS[5:])
    for verdict in (judge(looks, policy), judge_alone(looks, policy)):
        for found in verdict.findings:
            numbers = (found.candidate, found.difference, found.low, found.high, found.evidence_worse)
            assert all(number is None or math.isfinite(number) for number in numbers)
            assert found.statement


@settings(max_examples=60)
@given(
    before=st.lists(st.builds(Look, arms(), arms()), max_size=2),
    champion=arms(),
    requests=st.integers(1, 400),
    errors=st.lists(st.integers(0, 400), min_size=2, max_size=2),
)
def test_more_errors_of_the_candidate_never_improve_its_verdict(before, champion, requests, errors):
    few, many = sorted(min(each, requests) for each in errors)
    policy = only(Metric.ERRORS)
    better, worse = (
        judge([*before, Look(ArmCounts(requests, errors=count), champion)], policy) for count in (few, many)
    )
    assert RANK[worse.outcome] <= RANK[better.outcome]
    assert worse.findings[0].evidence_worse >= better.findings[0].evidence_worse * (1 - 1e-9)
    assert worse.findings[0].evidence_fine <= better.findings[0].evidence_fine * (1 + 1e-9)


def looks_of(releases, weights, looks_a_weight, size, seed):
    """Requests of candidate and champion [releases, looks] at a canary's weights."""
    chance = np.random.default_rng(seed)
    candidate = chance.binomial(size, np.repeat(weights, looks_a_weight), (releases, looks_a_weight * len(weights)))
    return chance, candidate, size - candidate


ALPHA = 0.05
SURELY = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)  # three standard errors of a share of 600 releases


@pytest.mark.parametrize(("rate", "by"), [(0.005, 0.0), (0.05, 0.0), (0.05, 0.01), (0.3, -0.05), (0.9, 0.02)])
def test_peeking_after_every_look_finds_a_difference_that_is_not_there_in_at_most_alpha_of_releases(rate, by):
    chance, n, k = looks_of(600, (0.01, 0.05, 0.25, 0.5), 10, 200, seed=1)
    base = rate * np.linspace(0.4, 1.0, n.shape[1])  # both arms' rates rise while the weight does
    x, y = chance.binomial(n, np.maximum(base + by, 0)), chance.binomial(k, np.maximum(base, -by))
    evidence = evidence_that_exceeds(x, n, y, k, by)
    assert (evidence.max(axis=1) >= -math.log(ALPHA)).mean() <= SURELY


def test_the_same_peeking_fools_a_fixed_sample_test_so_the_simulation_can_show_it():
    chance, n, k = looks_of(600, (0.5,), 40, 200, seed=2)
    x, y = (np.cumsum(chance.binomial(size, 0.05), axis=1) for size in (n, k))
    n, k = np.cumsum(n, axis=1), np.cumsum(k, axis=1)
    pooled = (x + y) / (n + k)
    z = (x / n - y / k) / np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / k))
    assert (z.max(axis=1) >= 1.645).mean() > 2 * SURELY


@pytest.mark.parametrize("above", [True, False])
def test_a_rate_at_the_target_is_called_above_or_below_it_in_at_most_alpha_of_releases(above):
    chance, n, _ = looks_of(600, (0.5,), 40, 100, seed=3)
    evidence = evidence_of_rate(chance.binomial(n, 0.02), n, 0.02, above=above)
    assert (evidence.max(axis=1) >= -math.log(ALPHA)).mean() <= SURELY


def test_score_distributions_that_are_as_far_apart_as_allowed_are_distinguished_in_at_most_alpha_of_releases():
    chance, n, k = looks_of(300, (0.05, 0.5), 10, 100, seed=4)
    ours = chance.multinomial(n, [0.35, 0.25, 0.25, 0.15])
    theirs = chance.multinomial(k, [0.25, 0.25, 0.25, 0.25])
    assert (evidence_scores_differ(ours, theirs, 0.1).max(axis=1) >= -math.log(ALPHA)).mean() <= SURELY
    assert (evidence_scores_agree(ours, theirs, 0.1).max(axis=1) >= -math.log(ALPHA)).mean() <= SURELY


def test_losses_between_0_and_1_bet_no_better_than_coins_of_their_mean():
    chance, n, k = looks_of(300, (0.1, 0.5), 10, 100, seed=5)
    ours, theirs = (
        (chance.beta(0.3, 1.2, (*size.shape, 100)) * (np.arange(100) < size[..., None])).sum(axis=2) for size in (n, k)
    )
    assert (evidence_that_exceeds(ours, n, theirs, k, 0.0).max(axis=1) >= -math.log(ALPHA)).mean() <= SURELY


def test_each_look_multiplies_evidence_by_at_most_one_on_average_whatever_the_rates_within_the_null():
    """Exactly, over all outcomes of a look: the proof of the module's docstring in numbers."""
    for n, k in ((1, 9), (3, 3), (5, 1)):
        x, y = (each.ravel()[:, None] for each in np.meshgrid(np.arange(n + 1), np.arange(k + 1), indexing="ij"))
        for by in (0.0, 0.02, -0.02, 0.3):
            gain = np.exp(evidence_that_exceeds(x, np.full_like(x, n), y, np.full_like(y, k), by)[:, 0])
            for less in np.linspace(0.0, 1.0, 21):
                for more in np.linspace(0.0, 1.0, 21):
                    if more - less <= by + 1e-12:
                        chances = binomial(x[:, 0], n, more) * binomial(y[:, 0], k, less)
                        assert chances @ gain <= 1 + 1e-9


def binomial(x, n, rate):
    ways = np.asarray([math.comb(n, int(each)) for each in x], dtype=float)
    return ways * rate**x * (1 - rate) ** (n - x)


def test_a_candidate_that_is_five_points_worse_is_caught_early_and_an_equal_one_passes_in_the_end():
    chance, n, k = looks_of(100, (0.01, 0.05, 0.25, 0.5), 10, 600, seed=6)
    demand = Demand(Metric.ERRORS, tolerance=0.001, margin=0.01, alpha_share=0.3)
    worse = evidence_that_exceeds(chance.binomial(n, 0.055), n, chance.binomial(k, 0.005), k, demand.tolerance)
    caught = worse >= -math.log(ALPHA * demand.alpha_share)
    assert caught[:, 19].mean() > 0.9  # before the 25 % step
    fine = evidence_that_exceeds(chance.binomial(k, 0.005), k, chance.binomial(n, 0.005), n, -demand.margin)
    assert (fine[:, -1] >= -math.log(ALPHA)).mean() > 0.9


# After a change of regime


def requests_until(happened, needed, size):
    """Requests of the looks up to the first one of each release after which there is so much evidence; NaN without."""
    first = np.where((happened >= needed).any(axis=1), (happened >= needed).argmax(axis=1) + 1, np.nan)
    return float(np.nanmedian(first)) * size


def test_evidence_after_an_outage_that_both_arms_shared_takes_little_more_than_from_a_fresh_start():
    chance, n, k = looks_of(150, (0.5,), 400, 50, seed=11)
    demand = Demand(Metric.ERRORS, tolerance=0.001, margin=0.01, alpha_share=0.3)
    outage = np.where(np.arange(n.shape[1]) < 30, 0.5, 0.0)

    def worse(shared, by):
        x, y = chance.binomial(n, np.maximum(0.005 + by, shared)), chance.binomial(k, np.maximum(0.005, shared))
        return evidence_that_exceeds(x, n, y, k, demand.tolerance), evidence_that_exceeds(y, k, x, n, -demand.margin)

    for by, which, needed in ((0.05, 0, 1 / (ALPHA * demand.alpha_share)), (0.0, 1, 20)):
        fresh = requests_until(worse(0.0, by)[which], math.log(needed), 50)
        after = requests_until(worse(outage, by)[which][:, 30:], math.log(needed), 50)
        assert after <= 1.5 * fresh + 100


def test_starting_at_any_look_costs_less_than_half_a_nat_of_evidence_and_is_worth_one_before_the_first():
    n, x = np.asarray([[100] * 20]), np.asarray([[5] * 20])
    once = evidence_that_exceeds(x.sum(axis=1)[:, None], n.sum(axis=1)[:, None], x[:, :1] * 0, n[:, :1] * 20, 0.0)
    many = evidence_that_exceeds(x, n, x * 0, n, 0.0)
    assert many[0, -1] >= once[0, -1] - 0.5
    nothing = np.zeros((1, 5), dtype=int)
    assert evidence_that_exceeds(nothing, nothing, nothing, nothing, 0.0) == pytest.approx(0.0, abs=1e-9)


# Pairs


def paired(requests, both=0, ours=0, theirs=0):
    """A shadow's look: events of both at once, of the candidate alone, and of the champion alone."""
    return Look(*(ArmCounts(requests, errors=errors) for errors in (both + ours, both + theirs, both)))


def test_common_failures_of_a_shadow_and_its_champion_cost_no_evidence():
    pairs = [paired(3000, both=150, ours=33, theirs=3)]
    apart = [replace(look, both=None) for look in pairs]
    assert judge(pairs, only(Metric.ERRORS)).outcome is FAIL
    assert judge(apart, only(Metric.ERRORS)).outcome is LITTLE
    assert judge([paired(3000, both=150, ours=3, theirs=3)], only(Metric.ERRORS)).outcome is PASS
    assert judge([*pairs, Look(arm(100), arm(100))], only(Metric.ERRORS)).outcome is LITTLE  # not all looks count pairs


def test_scores_of_pairs_are_compared_edge_by_edge():
    policy = only(Metric.SCORES)
    ours, theirs = arm(400, scores=(200, 100, 50, 50)), arm(400, scores=(50, 50, 100, 200))
    assert judge([Look(ours, theirs, arm(400, scores=(50, 50, 100, 200)))], policy).outcome is FAIL
    same = arm(400, scores=(100, 100, 100, 100))
    assert judge([Look(same, same, same)], policy).outcome is PASS


@pytest.mark.parametrize("by", [0.0, 0.01, -0.01])
def test_pairs_that_differ_by_no_more_than_the_null_are_called_different_in_at_most_alpha_of_releases(by):
    chance = np.random.default_rng(12)
    n = np.full((600, 40), 50)
    ours, theirs, both = 0.03 + max(by, 0), 0.03 + max(-by, 0), 0.05
    counts = chance.multinomial(n, [both, ours, theirs, 1 - both - ours - theirs])
    common, mine, other = (counts[..., place] for place in range(3))
    evidence = evidence_of_pairs(mine + common, other + common, common, n, by)
    assert (evidence.max(axis=1) >= -math.log(ALPHA)).mean() <= SURELY


# Losses


def losses(values, **more):
    total = sum(loss_millionths(value, 1.0) for value in values)
    return ArmCounts(losses=len(values), loss_millionths=total, loss_at=loss_at(values), **more)


def test_losses_of_little_spread_differ_sooner_than_coins_of_their_mean():
    chance = np.random.default_rng(13)
    ours, theirs = (np.clip(mean + 0.05 * chance.standard_normal(500), 0, 1) for mean in (0.3, 0.2))
    looks = [Look(losses(ours), losses(theirs))]
    by_sum = [Look(replace(look.candidate, loss_at=()), replace(look.champion, loss_at=())) for look in looks]
    found, before = (finding(judge(each, only(Metric.LOSS)), Metric.LOSS) for each in (looks, by_sum))
    assert found.outcome is FAIL
    assert math.log(found.evidence_worse) > 2 * math.log(before.evidence_worse)
    assert found.difference == pytest.approx(before.difference, abs=1e-6)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_masses_keep_the_number_and_the_mean_of_values(values):
    found = masses(np.asarray(values))
    assert found.sum() == pytest.approx(len(values))
    assert found @ np.asarray(VALUES) == pytest.approx(sum(values))
    assert found.min() >= 0


@pytest.mark.parametrize("by", [0.0, 0.05, -0.05])
def test_each_look_of_bounded_values_multiplies_evidence_by_at_most_one_on_average(by):
    """By simulation of the worst case that the grid allows: values that are mostly small and seldom 1."""
    chance = np.random.default_rng(14)
    n, k = 6, 20

    def arm_of(mean, size):
        return masses(np.where(chance.random((40_000, size)) < mean / 2, 1.0, mean / 2 / (1 - mean / 2)))[:, None]

    gain = np.exp(evidence_that_means_exceed(arm_of(0.2 + by, n), arm_of(0.2, k), by)[:, 0])
    assert gain.mean() <= 1 + 3 * gain.std() / math.sqrt(len(gain))


def test_losses_are_not_compared_where_labels_depend_on_the_score_and_the_sign_would_be_wrong():
    """Only high scores are looked into: of these the candidate's losses are larger, of all they are smaller."""
    policy = only(Metric.LOSS)
    scores = (1000, 1000, 1000, 1000)
    high = ArmCounts(4000, scores=scores) + losses([0.5] * 900, labelled=(0, 0, 0, 900))
    less = ArmCounts(4000, scores=scores) + losses([0.2] * 900, labelled=(0, 0, 0, 900))
    found = finding(judge([Look(high, less)], policy), Metric.LOSS)
    assert (found.outcome, found.difference) == (LITTLE, None)
    assert found.statement == (
        "loss: which of the candidate's predictions have a label depends on the score (75 points apart), so it is not "
        "compared"
    )
    even = (225, 225, 225, 225)
    alike = [Look(replace(high, labelled=even), replace(less, labelled=even))]
    assert finding(judge(alike, policy), Metric.LOSS).outcome is FAIL
    champion_only = [Look(replace(high, labelled=even), less)]
    assert "which of the champion's predictions" in finding(judge(champion_only, policy), Metric.LOSS).statement


def test_labels_that_are_missing_by_chance_are_compared():
    chance = np.random.default_rng(15)
    refused = 0
    for _ in range(200):
        labelled = [tuple(int(each) for each in chance.binomial((50, 100, 150, 700), 0.1)) for _ in range(2)]
        scored = ArmCounts(1000, scores=(50, 100, 150, 700))
        arms = [scored + losses([0.2] * sum(each), labelled=each) for each in labelled]
        refused += finding(judge([Look(*arms)], only(Metric.LOSS)), Metric.LOSS).candidate is None
    assert refused <= 4


# What is still needed


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    ("metric", "candidate", "champion"),
    [
        (Metric.ERRORS, arm(40), arm(40)),
        (Metric.ERRORS, arm(100, errors=1), arm(300, errors=3)),
        (Metric.SLOW, arm(60, slow=1), arm(60, slow=1)),
        (Metric.SCORES, arm(16), arm(48)),
    ],
)
def test_what_is_estimated_to_be_needed_is_what_it_takes_when_it_goes_on_alike(
    metric, candidate, champion, times
) -> None:
    policy = only(metric)
    seen = [Look(candidate, champion)] * times
    found = finding(judge(seen, policy), metric)
    assert found.outcome is LITTLE
    needed = still_needed(seen, found, policy.demands[0], policy)
    assert needed is not None

    def after(share: float) -> CanaryOutcome:
        """Once such a share of it has been seen, in looks of the same kind."""
        more = (math.ceil if share > 1 else math.floor)(share * needed / candidate.requests)
        return finding(judge([*seen, *[Look(candidate, champion)] * more], policy), metric).outcome

    assert after(1.15) is PASS
    assert after(0.6) is LITTLE


def test_nothing_is_estimated_of_what_would_not_pass_or_was_not_compared() -> None:
    policy = only(Metric.ERRORS)
    for candidate, champion in ((arm(100, errors=4), arm(100)), (arm(0), arm(50)), (arm(50), arm(0))):
        seen = [Look(candidate, champion)]
        assert still_needed(seen, finding(judge(seen, policy), Metric.ERRORS), policy.demands[0], policy) is None
    seen = [Look(arm(5_000), arm(5_000))]
    assert still_needed(seen, finding(judge(seen, policy), Metric.ERRORS), policy.demands[0], policy) == 0


def test_alone_it_is_estimated_against_the_target() -> None:
    policy = only(Metric.ERRORS)
    seen = [Look(arm(50))]
    found = finding(judge_alone(seen, policy), Metric.ERRORS)
    needed = still_needed(seen, found, policy.demands[0], policy)
    assert needed is not None
    assert finding(judge_alone([*seen, Look(arm(needed + 10))], policy), Metric.ERRORS).outcome is PASS
    assert finding(judge_alone([*seen, Look(arm(needed // 2))], policy), Metric.ERRORS).outcome is LITTLE
