"""Which version answers: by hash of the routing key, sticky, monotone and even."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.registry.route import CandidateRole, Route, Served
from tidegate.domain.serving.routing import BESIDE, BUCKETS, Arm, Choice, Reason, bucket, choose

ONE, TWO, THREE = (Served(number, f"key-{number}", str(number) * 64) for number in (1, 2, 3))
ROUTE = Route(
    "delay", 3, champion=TWO, previous=ONE, candidate=THREE, candidate_bp=2_500, candidate_role=CandidateRole.CANARY
)
KEYS = [f"user-{number}" for number in range(20_000)]


def candidates(route, keys=KEYS):
    return {key for key in keys if choose(route, key)[0].arm in BESIDE}


def test_the_candidate_gets_its_share_and_the_champion_stands_behind_it():
    assert len(candidates(ROUTE)) / len(KEYS) == pytest.approx(0.25, abs=0.01)
    key = next(iter(candidates(ROUTE)))
    tried = choose(ROUTE, key)
    assert [(choice.served, choice.reason) for choice in tried] == [
        (THREE, Reason.CANDIDATE),
        (TWO, Reason.CHAMPION),
        (ONE, Reason.PREVIOUS_GOOD),
    ]
    assert [choice.arm for choice in tried] == [Arm.CANDIDATE, Arm.CHAMPION, Arm.CHAMPION]
    assert choose(replace(ROUTE, candidate_role=CandidateRole.SPLIT), key)[0].reason is Reason.SPLIT


@given(st.text(), st.integers(0, BUCKETS), st.integers(0, BUCKETS))
def test_raising_the_share_only_moves_keys_to_the_candidate(key, one, other):
    low, high = sorted((one, other))
    arms = [choose(replace(ROUTE, candidate_bp=share), key)[0].arm for share in (low, high)]
    assert arms != [Arm.CANDIDATE, Arm.CHAMPION]


def test_no_share_is_none_and_the_whole_is_all():
    assert not candidates(replace(ROUTE, candidate_bp=0))
    assert candidates(replace(ROUTE, candidate_bp=BUCKETS)) == set(KEYS)
    assert not candidates(replace(ROUTE, candidate=None))


def test_buckets_are_the_same_in_every_process_and_others_for_another_model():
    assert [bucket("delay", key) for key in ("a", "b", "\ud800")] == [8540, 9021, 2426]
    same = sum(bucket("delay", key) < 5_000 and bucket("fuel", key) < 5_000 for key in KEYS) / len(KEYS)
    assert same == pytest.approx(0.25, abs=0.015)


def test_every_version_is_tried_by_other_keys():
    fourth = replace(ROUTE, candidate=replace(THREE, version=4), salt=4)
    one, other = candidates(replace(ROUTE, salt=3)), candidates(fourth)
    shares = [len(keys) / len(KEYS) for keys in (one, other, one & other)]
    assert shares == pytest.approx([0.25, 0.25, 0.0625], abs=0.01)
    assert [bucket("delay", key, 3) for key in ("a", "b", "\ud800")] == [11, 3017, 6584]


def test_no_key_goes_back_to_the_old_version_and_on_again():
    """Shares of 50 % and, on probation, of up to 50 %."""
    canary = replace(ROUTE, salt=3, candidate_bp=5_000)
    held = replace(canary, champion=THREE, candidate=TWO, candidate_bp=500, candidate_role=CandidateRole.HOLDBACK)
    tried, back = candidates(canary), candidates(held)
    assert len(back) / len(KEYS) == pytest.approx(0.05, abs=0.005)
    assert not tried & back
    assert tried.isdisjoint(candidates(replace(held, candidate_bp=5_000)))
    assert candidates(replace(held, candidate_bp=BUCKETS)) == set(KEYS)
    assert back < candidates(replace(held, candidate_bp=600))


def test_a_trial_that_older_code_began_keeps_its_keys():
    held = replace(ROUTE, champion=THREE, candidate=TWO, candidate_role=CandidateRole.HOLDBACK)
    assert candidates(ROUTE) == candidates(held) == {key for key in KEYS if bucket("delay", key) < 2_500}


def test_every_bucket_is_as_likely_as_the_others():
    tenths = [0] * 10
    for key in KEYS:
        tenths[bucket("delay", key) // 1_000] += 1
    expected = len(KEYS) / 10
    assert sum((count - expected) ** 2 / expected for count in tenths) < 27.9  # chi-squared, 9 degrees, 0.1 %


def test_a_killed_model_or_one_without_champion_has_no_version_to_try():
    assert choose(replace(ROUTE, killed=True), "a") == ()
    assert choose(Route("delay", 1), "a", kept=ONE) == ()


def test_without_a_champion_a_version_on_its_way_in_answers_its_share_and_the_fallback_the_rest():
    first = replace(ROUTE, champion=None, previous=None)
    tried = [choose(first, key, kept=ONE) for key in KEYS]
    assert set(tried) == {(), (Choice(THREE, Reason.CANDIDATE, Arm.CANDIDATE),)}
    assert sum(map(bool, tried)) / len(KEYS) == pytest.approx(0.25, abs=0.01)


def test_the_version_held_back_answers_its_share_as_the_other_arm_and_stands_by_for_the_rest():
    on_probation = replace(ROUTE, champion=TWO, previous=ONE, candidate=ONE, candidate_role=CandidateRole.HOLDBACK)
    key = next(iter(candidates(on_probation)))
    assert choose(on_probation, key) == (
        Choice(ONE, Reason.HOLDBACK, Arm.HOLDBACK),
        Choice(TWO, Reason.CHAMPION),
    )
    other = next(key for key in KEYS if key not in candidates(on_probation))
    assert choose(on_probation, other) == (Choice(TWO, Reason.CHAMPION), Choice(ONE, Reason.PREVIOUS_GOOD))


@given(st.text())
def test_a_shadow_answers_nobody(key):
    route = replace(ROUTE, candidate=None, candidate_bp=0, candidate_role=None, shadow=THREE)
    assert THREE not in [choice.served for choice in choose(route, key)]


def test_what_was_served_last_is_tried_only_when_it_is_older_than_the_champion():
    route = Route("delay", 4, champion=TWO)
    assert [choice.served for choice in choose(route, "a", kept=ONE)] == [TWO, ONE]
    assert [choice.served for choice in choose(route, "a", kept=THREE)] == [TWO]
    assert [choice.served for choice in choose(replace(route, previous=ONE), "a", kept=ONE)] == [TWO, ONE]
