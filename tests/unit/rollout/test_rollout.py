"""The second half of a release, decision by decision, against a registry that checks what a transaction checks."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.present import present
from tests.builders.registry import numbered, served
from tests.builders.rollouts import (
    ACTOR,
    ANN,
    ASKED,
    BY_HAND,
    EVE,
    LITTLE,
    NOTHING,
    PEOPLE,
    PLAN,
    SHOWN_BAD,
    SHOWN_FINE,
    START,
    OneRelease,
    look,
)
from tidegate.domain.registry.ledger import ALL_BP, served_at, verify
from tidegate.domain.registry.route import CandidateRole, FallbackRef, Route
from tidegate.domain.registry.version import VersionStatus
from tidegate.domain.rollout import canary, changes, rollout
from tidegate.domain.rollout.canary import Look, Metric, Policy
from tidegate.domain.rollout.changes import shares
from tidegate.domain.rollout.rollout import AtDeadline, Decision, Phase, Step, missed_share
from tidegate.kernel.errors import ConflictError, ForbiddenError

MODEL = "flight-delay"
ZOE = "arn:aws:iam::123456789012:user/ops/zoe"
SHADOWED = replace(PLAN, shadow_seconds=1800)


def plain(route: Route | None) -> Route:
    """What is served, without what every change changes."""
    return replace(route or Route(MODEL, 0), revision=0, ledger_head="", fallback=None)


def test_a_version_gets_larger_shares_step_by_step_is_promoted_on_probation_and_then_serves_alone():
    house = OneRelease()
    assert (house.begin().phase, house.routed.candidate, house.routed.candidate_bp) == (Phase.CANARY, served(3), 100)
    assert house.version.status is VersionStatus.CANDIDATE
    assert house.later(9, SHOWN_FINE).step == 0  # not baked
    assert (house.later(1).step, house.routed.candidate_bp) == (1, 2_500)
    assert house.last.reason == "canary step 2 of 2, 25 %: nothing against it in 5,000 requests"
    assert house.later(10, SHOWN_FINE).phase is Phase.PROBATION
    assert (house.routed.champion, house.routed.candidate, house.routed.candidate_bp) == (served(3), served(2), 500)
    assert house.at.reason.startswith("passed its canary: error rate")
    assert house.later(59, SHOWN_FINE).phase is Phase.PROBATION
    assert (house.later(1).phase, house.at.reason) == (
        Phase.DONE,
        "nothing was found against it in 1 hour on probation",
    )
    assert house.routed.candidate is None
    assert [(number, version.status) for number, version in house.versions.items()] == [
        (1, VersionStatus.RETIRED),
        (2, VersionStatus.RETIRED),
        (3, VersionStatus.CHAMPION),
    ]
    assert [entry.action for entry in house.entries[2:]] == ["canary", "canary", "promote", "end_probation"]
    assert {entry.actor for entry in house.entries[2:]} == {ACTOR}
    assert verify(MODEL, house.entries, house.routed.ledger_head) is None


def test_a_final_rollout_never_moves_again():
    house = OneRelease(replace(PLAN, steps_bp=(), probation_seconds=0))
    done = house.begin()
    assert (done.phase, done.ended_at, rollout.wait_seconds(done, house.now)) == (Phase.DONE, START, 0)
    with pytest.raises(ConflictError, match="is over: done"):
        house.later(1)
    assert rollout.stop(done, route=house.route, version=house.version, cause=BY_HAND) == Step(done)
    assert rollout.abandon(done, route=house.route, version=house.version, fault="x", now=START) == Step(done)


@pytest.mark.parametrize("seconds", [0, 3600])
def test_without_steps_it_is_promoted_at_once_and_on_probation_if_the_plan_says_so(seconds):
    house = OneRelease(replace(PLAN, steps_bp=(), probation_seconds=seconds))
    assert house.begin().phase is (Phase.PROBATION if seconds else Phase.DONE)
    assert (house.routed.champion, house.at.promoted_at) == (served(3), START)
    assert house.last.reason == "accepted by the gate"
    assert shares(house.routed)[0].weight_bp == (9_500 if seconds else ALL_BP)


# Approval


def test_an_approver_is_asked_before_anything_is_served():
    house = OneRelease(ASKED)
    before = house.route
    assert house.begin().phase is Phase.APPROVAL
    assert house.approval.expires_at == START + timedelta(hours=24)
    assert (house.approval.artifact_sha256, house.approval.report_sha256) == ("a3", "b" * 64)
    assert house.later(60).phase is Phase.APPROVAL
    assert (house.route, house.version.status) == (before, VersionStatus.ACCEPTED)


def test_an_approved_version_goes_on_and_every_entry_that_says_it_serves_says_who_approved_it():
    house = OneRelease(replace(ASKED, shadow_seconds=600))
    house.begin()
    house.decide()
    assert (house.at.phase, house.version.approved_by) == (Phase.APPROVAL, EVE)
    assert house.later(1).phase is Phase.SHADOW
    while not house.later(60, SHOWN_FINE).phase.final:
        pass
    assert house.at.phase is Phase.DONE
    shown = [(entry.action, entry.version, entry.approved_by) for entry in house.entries[2:]]
    assert shown == [
        ("shadow", 2, None),  # the champion answers, and nobody approved that one
        ("canary", 3, EVE),
        ("canary", 3, EVE),
        ("promote", 3, EVE),
        ("end_probation", 3, EVE),
    ]


def test_an_approval_given_in_time_holds_though_the_rollout_looks_late():
    house = OneRelease(ASKED)
    house.begin()
    house.now += timedelta(hours=23)
    house.decide()
    assert house.later(120).phase is Phase.CANARY


def test_a_rejected_version_never_serves_and_is_not_noted_as_approved():
    house = OneRelease(ASKED)
    before = house.route
    house.begin()
    assert present(house.decide(Decision.REJECT, reason="the data is old")).note is None
    assert (house.later(1).phase, house.at.reason) == (Phase.REJECTED, f"rejected by {EVE}: the data is old")
    assert (house.route, house.version.status, house.version.approved_by) == (before, VersionStatus.ROLLED_BACK, None)


def test_an_approval_that_nobody_gives_expires():
    house = OneRelease(ASKED)
    house.begin()
    assert house.later(24 * 60 - 1).phase is Phase.APPROVAL
    with pytest.raises(ConflictError, match="the deadline was 2026-01-06"):
        house.decide(now=START + timedelta(hours=24))
    assert (house.later(1).phase, house.at.reason) == (Phase.EXPIRED, "nobody approved it within 24 hours")
    assert house.version.status is VersionStatus.ROLLED_BACK
    with pytest.raises(ConflictError, match="no longer waits for approval: nobody approved it") as caught:
        house.decide()
    assert "tidegate train" in caught.value.next_step


def test_the_same_decision_again_is_recorded_once_and_another_one_is_refused():
    house = OneRelease(ASKED)
    house.begin()
    house.decide()
    revision = house.at.revision
    assert house.decide() is None
    assert house.at.revision == revision
    for decision, by in ((Decision.REJECT, EVE), (Decision.APPROVE, ZOE)):
        with pytest.raises(ConflictError, match=f"already decided: approve by {EVE}, I have read it"):
            house.decide(decision, by=by)
    house.later(1)
    assert house.decide() is None  # the answer was lost, and the rollout has gone on


@pytest.mark.parametrize(
    ("by", "why"),
    [
        (ANN, "requested the training"),
        (PEOPLE.format("tidegate-approver", "ann"), "requested the training"),
        (PEOPLE.format("tidegate-approver", "Bob"), "wrote its spec"),
        ("arn:aws:iam::123456789012:user/bob", "wrote its spec"),
    ],
)
@pytest.mark.parametrize("decision", Decision)
def test_who_made_a_version_does_not_decide_about_it_whatever_role_they_take(by, why, decision):
    house = OneRelease(ASKED)
    house.begin()
    with pytest.raises(ForbiddenError, match=f"you {why}") as caught:
        house.decide(decision, by=by)
    assert caught.value.next_step == "ask another approver"
    assert house.approval.decision is None


@pytest.mark.parametrize("other", ["artifact_sha256", "report_sha256"])
def test_an_approval_holds_for_exactly_what_was_looked_at(other):
    changed: dict[str, Any] = {other: "something else"}
    house = OneRelease(ASKED)
    house.begin()
    with pytest.raises(ConflictError, match="changed since you looked at it"):
        house.decide(**changed)
    house.decide()
    with pytest.raises(ConflictError, match="changed since you looked at it"):
        house.decide(**changed)


def test_nobody_decides_about_a_version_that_needs_no_approval():
    house = OneRelease()
    house.begin()
    with pytest.raises(ConflictError, match="needs no approval"):
        house.decide()


def test_without_the_approval_in_the_registry_a_version_that_needs_one_gets_no_share():
    house = OneRelease()
    house.versions[3] = replace(house.version, needs_approval=True)
    with pytest.raises(ConflictError, match="needs an approval"):
        house.begin()


@pytest.mark.parametrize("decided", [False, True])
def test_bytes_that_are_not_those_that_were_approved_never_serve(decided):
    house = OneRelease(ASKED)
    before = house.route
    house.begin()
    if decided:
        house.decide()
    assert house.later(1, problem="its artifact is another one").phase is Phase.ROLLED_BACK
    assert (house.route, house.version.status) == (before, VersionStatus.ROLLED_BACK)
    assert house.at.reason == "its artifact is another one"


# Shadow


def test_a_shadow_scores_along_and_nothing_of_it_counts_for_the_canary():
    house = OneRelease(SHADOWED)
    before = shares(house.routed)
    house.begin()
    assert (house.at.phase, house.routed.shadow, shares(house.routed)) == (Phase.SHADOW, served(3), before)
    assert house.at.route_revisions == (house.routed.revision,)
    assert house.later(29, SHOWN_FINE).phase is Phase.SHADOW
    assert house.at.verdict["outcome"] == "pass"
    assert house.later(1).phase is Phase.CANARY
    assert (house.routed.shadow, house.routed.candidate_bp) == (None, 100)
    assert (house.at.looks, house.at.verdict, house.at.route_revisions) == ((), None, (house.routed.revision,))
    assert house.last.reason.endswith("nothing against it in 5,000 requests")


def test_a_shadow_that_is_shown_to_be_worse_never_answers_anybody():
    house = OneRelease(SHADOWED)
    before = plain(house.route)
    house.begin()
    assert house.later(5, SHOWN_BAD).phase is Phase.ROLLED_BACK
    assert (plain(house.route), house.version.status) == (before, VersionStatus.ROLLED_BACK)
    assert "worse by more than the 0.1 points tolerated" in house.at.reason


def test_without_a_champion_there_is_nothing_to_shadow():
    house = OneRelease(SHADOWED, new_model=True)
    assert house.begin().phase is Phase.CANARY


def test_without_steps_a_shadow_is_promoted_when_its_time_is_over():
    house = OneRelease(replace(SHADOWED, steps_bp=()))
    house.begin()
    assert (house.later(30).phase, house.routed.champion) == (Phase.PROBATION, served(3))


def test_people_cannot_split_the_requests_under_a_running_shadow():
    house = OneRelease(SHADOWED)
    house.begin()
    for number in (1, 3):
        with pytest.raises(ConflictError, match="version 3 is on trial in shadow mode"):
            house.by_hand(changes.split, house.versions[number], 100)


# Canary


def test_evidence_of_all_steps_counts_and_each_revision_of_the_route_is_named():
    house = OneRelease()
    house.begin()
    house.later(10, LITTLE)
    house.later(5, SHOWN_FINE, LITTLE)  # what came late from the first step, and what the second did
    assert house.at.looks == (LITTLE, SHOWN_FINE, LITTLE)
    assert house.at.route_revisions == (3, 4)
    assert house.at.fetched == {"12": ("o0", "o1")}
    house.later(1)
    assert house.at.fetched == {"12": ("o0", "o1")}  # nothing new was read: what was counted stays known


@pytest.mark.parametrize(("requests", "step"), [(9, 0), (10, 1)])
def test_a_step_waits_for_its_requests_however_long_it_has_baked(requests, step):
    house = OneRelease()
    house.begin()
    assert house.later(60, look(requests)).step == step


def test_requests_of_an_earlier_step_do_not_count_for_the_next_one():
    house = OneRelease(replace(PLAN, steps_bp=(100, 500, 2_500)))
    house.begin()
    house.later(10, look(5_000, 25))
    assert house.later(10, look(9)).step == 1
    assert house.later(1, look(1)).step == 2


def test_the_last_step_too_is_baked_and_answers_before_a_promotion():
    house = OneRelease()
    house.begin()
    house.later(10, SHOWN_FINE)
    assert house.later(9, look(5_000, 25)).phase is Phase.CANARY
    house = OneRelease()
    house.begin()
    house.later(10, SHOWN_FINE)
    assert house.later(20).phase is Phase.CANARY  # passed on what it did before, and nobody asks it now
    assert house.later(1, look(10)).phase is Phase.PROBATION


@pytest.mark.parametrize("minutes", [1, 10, 600])
@pytest.mark.parametrize("step", [0, 1])
def test_a_candidate_that_is_shown_to_be_worse_leaves_at_once_at_any_step(minutes, step):
    house = OneRelease()
    before = plain(house.route)
    house.begin()
    for _ in range(step):
        house.later(10, LITTLE)
    assert house.later(minutes, SHOWN_BAD).phase is Phase.ROLLED_BACK
    assert (plain(house.route), house.version.status) == (before, VersionStatus.ROLLED_BACK)
    assert (house.last.action, house.last.version, house.last.previous_version) == ("rollback", 2, 3)
    assert house.last.cause == "evidence"
    assert house.last.reason == house.at.reason != ""
    assert house.last.approved_by is None  # it names the champion


def test_one_bad_look_is_remembered_through_all_steps():
    house = OneRelease()
    house.begin()
    house.later(10, look(200, 4))
    for _ in range(3):
        house.later(10, look(200, 4))
    assert house.at.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("looks", [(), (NOTHING,), (look(0),), (look(400, 400, champion=0),)])
def test_a_canary_nobody_can_compare_is_never_promoted_and_never_blamed(looks):
    house = OneRelease(replace(PLAN, at_deadline=AtDeadline.WAIT))
    house.begin()
    for _ in range(20):
        house.later(24 * 60, *looks)
    assert house.at.phase is Phase.CANARY
    assert house.at.verdict["outcome"] == "insufficient_data"


def test_a_canary_that_proves_nothing_in_time_is_rolled_back_for_want_of_evidence():
    house = OneRelease()
    before = plain(house.route)
    house.begin()
    assert house.later(6 * 60 - 1).phase is Phase.CANARY
    assert house.later(1).phase is Phase.ROLLED_BACK
    assert house.at.reason.startswith("no evidence within 6 hours: error rate: the candidate has no requests yet")
    assert (plain(house.route), house.version.status) == (before, VersionStatus.ROLLED_BACK)


def test_at_the_deadline_no_larger_share_is_given_though_the_step_is_done():
    house = OneRelease()
    house.begin()
    house.later(6 * 60, LITTLE)
    assert (house.at.phase, house.last.action, house.last.cause) == (Phase.ROLLED_BACK, "rollback", "deadline")
    assert house.at.unproven


def test_at_the_deadline_a_canary_that_has_passed_is_promoted_and_one_that_got_no_further_says_so():
    house = OneRelease()
    house.begin()
    house.later(10, LITTLE)
    assert house.later(6 * 60, SHOWN_FINE).phase is Phase.PROBATION
    house = OneRelease()
    house.begin()
    house.later(10, SHOWN_FINE)
    house.later(6 * 60)
    assert house.at.reason.startswith("too few requests within 6 hours: error rate")


def test_a_share_that_no_key_falls_into_is_named_and_does_not_hold_the_canary_up():
    house = OneRelease()
    house.begin()
    assert house.later(9, look(0, champion=1_370)).step == 0
    assert missed_share(house.at) == ""  # 1 in 950,000: may be chance
    assert house.later(0.5, look(0, champion=10)).step == 0
    assert "none of 1,380 requests" in missed_share(house.at)
    assert house.later(1).step == 1
    assert missed_share(house.at) == ""  # nothing is known of the larger share yet
    house.later(60, look(0, champion=5_000))
    assert (house.at.step, house.at.phase) == (1, Phase.CANARY)
    house.later(6 * 60)
    assert "no routing key falls into this share of 25 %: none of 5,000 requests did" in house.at.reason
    assert house.last.cause == "deadline"


def test_a_holdback_that_no_key_falls_into_is_named():
    house = OneRelease(replace(PLAN, steps_bp=()))
    house.begin()
    house.later(1, look(1_000, champion=0))
    assert "this share of 5 %" in missed_share(house.at)
    house.later(1, look(0, champion=1))
    assert missed_share(house.at) == ""


def test_one_that_may_wait_goes_on_after_the_deadline():
    house = OneRelease(replace(PLAN, at_deadline=AtDeadline.WAIT))
    house.begin()
    assert house.later(7 * 60, LITTLE).step == 1
    assert house.later(48 * 60).phase is Phase.CANARY
    assert house.later(1, SHOWN_FINE).phase is Phase.PROBATION


def test_an_artifact_that_changes_under_a_canary_ends_it():
    house = OneRelease()
    house.begin()
    house.later(1, SHOWN_FINE, problem="its artifact is another one")
    assert (house.at.phase, house.at.reason) == (Phase.ROLLED_BACK, "its artifact is another one")
    assert house.last.cause == "artifact"
    assert house.routed.candidate is None


# A model's first version


def test_a_first_version_is_judged_against_targets_while_the_fallback_answers_the_rest():
    house = OneRelease(new_model=True)
    house.begin()
    assert [(share.version, share.weight_bp) for share in shares(house.routed)] == [(None, 9_900), (3, 100)]
    assert house.routed.fallback == house.version.fallback
    house.later(10, look(3_000, 10, champion=0))
    assert house.later(10, look(3_000, 10, champion=0)).phase is Phase.DONE  # nobody is there to hold back
    assert (house.routed.champion, house.routed.previous, house.routed.candidate) == (served(3), None, None)
    assert "below the target of 1.00 %" in house.at.reason


def test_a_first_version_above_its_targets_leaves_and_the_fallback_answers_alone():
    house = OneRelease(new_model=True)
    house.begin()
    assert house.later(5, look(500, 50, champion=0)).phase is Phase.ROLLED_BACK
    assert plain(house.route) == Route(MODEL, 0)
    assert (house.last.version, house.last.previous_version) == (None, 3)
    assert house.routed.fallback == house.version.fallback


def test_a_first_version_after_a_model_of_only_a_fallback_is_judged_alone_too():
    house = OneRelease(new_model=True)
    house.versions[1] = replace(
        numbered(1, VersionStatus.REJECTED), fallback=FallbackRef("runs/r-1/fallback.json", "f1", "r-1")
    )
    house.by_hand(changes.stand_in, house.versions[1])
    assert house.routed.champion is None
    house.begin()
    assert house.routed.fallback == house.versions[1].fallback
    house.later(10, look(3_000, 10, champion=0))
    assert house.later(10, look(3_000, 10, champion=0)).phase is Phase.DONE
    assert house.routed.fallback == house.version.fallback


# Probation


def test_the_version_held_back_answers_again_when_the_promoted_one_is_shown_to_be_worse():
    house = OneRelease()
    house.until_monitored()
    assert (house.at.looks, house.at.verdict, house.at.route_revisions) == ((), None, (house.routed.revision,))
    assert house.later(5, SHOWN_BAD).phase is Phase.ROLLED_BACK
    assert (house.routed.champion, house.routed.previous, shares(house.routed)[0].weight_bp) == (
        served(2),
        None,
        ALL_BP,
    )
    assert (house.last.action, house.last.version, house.last.previous_version) == ("rollback", 2, 3)
    assert house.last.cause == "evidence"
    assert (house.versions[2].status, house.version.status) == (VersionStatus.CHAMPION, VersionStatus.RETIRED)


def test_probation_blames_the_promoted_version_not_the_one_held_back():
    house = OneRelease()
    house.until_monitored()
    bad_holdback = look(5_000, 25, champion=500, champion_errors=100)
    assert house.later(60, bad_holdback).phase is Phase.DONE
    assert house.routed.champion == served(3)


def test_a_probation_without_requests_ends_with_the_promoted_version():
    house = OneRelease()
    house.until_monitored()
    assert house.later(60).phase is Phase.DONE


def test_a_broken_artifact_ends_probation_with_the_version_before():
    house = OneRelease()
    house.until_monitored()
    assert house.later(1, problem="its artifact is another one").phase is Phase.ROLLED_BACK
    assert house.routed.champion == served(2)


# What people do meanwhile


def kill_it(house: OneRelease) -> None:
    house.by_hand(changes.kill, MODEL)


def roll_back_to(number: int):
    return lambda house: house.by_hand(changes.rollback, house.versions[number])


@pytest.mark.parametrize("action", [kill_it, roll_back_to(1), roll_back_to(2)])
@pytest.mark.parametrize("plan", [PLAN, SHADOWED])
def test_what_people_do_to_a_trial_ends_its_rollout_and_stays_as_they_made_it(plan, action):
    house = OneRelease(plan)
    house.begin()
    house.later(1, LITTLE)
    action(house)
    left = house.route
    assert (house.later(1, SHOWN_BAD).phase, house.route) == (Phase.STOPPED, left)
    assert house.at.reason == "what is served was changed by hand"
    assert house.version.status is VersionStatus.ROLLED_BACK


@pytest.mark.parametrize("action", [kill_it, roll_back_to(1), roll_back_to(2), roll_back_to(3)])
def test_what_people_do_to_a_version_on_probation_ends_its_rollout_too(action):
    house = OneRelease()
    house.until_monitored()
    action(house)
    left = house.route
    assert (house.later(1, SHOWN_BAD).phase, house.route) == (Phase.STOPPED, left)


@pytest.mark.parametrize("end", ["stop", "abandon"])
@pytest.mark.parametrize("action", [kill_it, roll_back_to(1), roll_back_to(2)])
@pytest.mark.parametrize("phase", [Phase.CANARY, Phase.PROBATION])
def test_a_rollout_that_people_have_overruled_can_still_be_ended(end, action, phase):
    house = OneRelease()
    house.begin() if phase is Phase.CANARY else house.until_monitored()
    action(house)
    left = house.route
    ended(house, end)
    assert house.at.phase.final
    assert house.route == left


def test_a_version_that_another_champion_has_overtaken_is_closed_without_asking_anybody():
    house = OneRelease(ASKED)
    house.by_hand(changes.rollback, house.versions[1])
    assert (house.begin().phase, house.version.status) == (Phase.OVERTAKEN, VersionStatus.OVERTAKEN)
    assert house.at.reason == "it was judged when version 2 served, and version 1 serves now: train again"


def test_a_version_is_overtaken_also_while_it_waits_for_its_approval():
    house = OneRelease(ASKED)
    house.begin()
    house.by_hand(changes.rollback, house.versions[1])
    house.decide()
    assert (house.later(1).phase, house.version.status) == (Phase.OVERTAKEN, VersionStatus.OVERTAKEN)


def test_a_version_that_people_put_to_use_between_approval_and_canary_is_theirs():
    house = OneRelease(ASKED)
    house.begin()
    with pytest.raises(ConflictError, match="needs an approval"):
        house.by_hand(changes.split, house.version, 2_000)
    house.decide()
    house.by_hand(changes.split, house.version, 2_000)
    split = house.route
    assert (house.later(1).phase, house.route) == (Phase.STOPPED, split)
    house.by_hand(changes.end_split, MODEL)
    assert house.version.status is VersionStatus.RETIRED


@pytest.mark.parametrize("end", ["stop", "abandon"])
def test_ending_a_rollout_does_not_close_a_version_that_people_serve(end):
    house = OneRelease(ASKED)
    house.begin()
    house.decide()
    house.by_hand(changes.split, house.version, 2_000)
    house.by_hand(changes.rollback, house.version)
    ended(house, end)
    assert (house.version.status, house.routed.champion) == (VersionStatus.CHAMPION, served(3))


def test_a_canary_of_a_killed_model_waits_for_its_resumption_and_goes_on_from_there():
    house = OneRelease()
    kill_it(house)
    house.begin()
    assert [(share.version, share.weight_bp) for share in shares(house.routed)] == [(None, ALL_BP)]
    assert house.later(30).phase is Phase.CANARY
    house.by_hand(changes.resume, MODEL)
    assert {(share.version, share.weight_bp) for share in shares(house.routed)} == {(2, 9_900), (3, 100)}
    assert house.later(1).route_revisions == (4, 5)
    assert house.later(1, SHOWN_FINE).step == 1


def test_a_split_of_two_other_versions_is_not_ended_by_a_release_that_then_fails():
    house = OneRelease(ASKED)
    house.begin()
    house.by_hand(changes.split, house.versions[1], 2_000)
    house.decide()
    split = house.route
    with pytest.raises(ConflictError, match="version 1 is on trial with 20 %") as caught:
        house.later(1)
    assert "tidegate split flight-delay --end" in caught.value.next_step
    ended(house, "abandon")
    assert (house.route, house.version.status) == (split, VersionStatus.ROLLED_BACK)


def ended(house: OneRelease, how: str) -> None:
    if how == "stop":
        house.write(
            rollout.stop(house.at, route=house.route, version=house.version, cause=replace(BY_HAND, at=house.now))
        )
    else:
        house.write(
            rollout.abandon(
                house.at, route=house.route, version=house.version, fault="step rollout took too long", now=house.now
            )
        )


@pytest.mark.parametrize(("end", "phase"), [("stop", Phase.STOPPED), ("abandon", Phase.FAILED)])
@pytest.mark.parametrize("reach", ["approval", "shadow", "canary", "second step"])
@pytest.mark.parametrize("new_model", [False, True])
def test_a_rollout_ended_before_its_promotion_leaves_what_was_served_before(end, phase, reach, new_model):
    plan = {"approval": ASKED, "shadow": SHADOWED}.get(reach, PLAN)
    house = OneRelease(plan, new_model=new_model)
    before = plain(house.route)
    house.begin()
    if reach == "second step":
        house.later(10, LITTLE)
    ended(house, end)
    assert (house.at.phase, plain(house.route), house.version.status) == (phase, before, VersionStatus.ROLLED_BACK)
    assert house.at.reason == ("I know better" if end == "stop" else "step rollout took too long")
    if reach == "second step":
        assert house.last.actor == (BY_HAND.actor if end == "stop" else ACTOR)


@pytest.mark.parametrize(("end", "phase"), [("stop", Phase.STOPPED), ("abandon", Phase.FAILED)])
def test_a_rollout_ended_in_its_probation_leaves_the_promoted_version_alone(end, phase):
    house = OneRelease(ASKED)
    house.begin()
    house.decide()
    while house.later(10, SHOWN_FINE).phase is not Phase.PROBATION:
        pass
    ended(house, end)
    assert (house.at.phase, house.routed.champion, house.routed.candidate) == (phase, served(3), None)
    assert (house.version.status, house.versions[2].status) == (VersionStatus.CHAMPION, VersionStatus.RETIRED)
    assert (house.last.version, house.last.approved_by) == (3, EVE)


@pytest.mark.parametrize("phase", [Phase.OVERTAKEN, Phase.ROLLED_BACK, Phase.FAILED])
def test_a_version_that_may_not_even_begin_is_closed_with_the_reason(phase):
    house = OneRelease()
    house.write(rollout.decline(house.version, PLAN, phase, "too late", judged_against=2, actor=ACTOR, now=house.now))
    closed = VersionStatus.OVERTAKEN if phase is Phase.OVERTAKEN else VersionStatus.ROLLED_BACK
    assert (house.at.phase, house.at.reason, house.version.status) == (phase, "too late", closed)


# Scores


def test_scores_are_compared_where_it_is_known_how_they_lie_and_not_demanded_elsewhere():
    house = OneRelease(replace(PLAN, demands=Policy()))
    compared = house.begin(score_edges=(0.2, 0.4))
    assert compared.score_edges == (0.2, 0.4)
    assert compared.plan.demands == Policy()
    other = OneRelease(replace(PLAN, demands=Policy()))
    assert Metric.SCORES not in {demand.metric for demand in other.begin().plan.demands.demands}
    other.later(10, SHOWN_FINE)
    assert other.later(10, SHOWN_FINE).phase is Phase.PROBATION


# Time


def test_it_comes_back_when_a_look_is_due_or_the_step_is_baked_whatever_is_first():
    house = OneRelease()
    house.begin()
    assert rollout.wait_seconds(house.at, house.now) == 60
    assert rollout.wait_seconds(house.at, house.now + timedelta(seconds=570.5)) == 30
    assert rollout.wait_seconds(house.at, house.now + timedelta(seconds=599.9)) == 1
    assert rollout.wait_seconds(house.at, house.now + timedelta(hours=2)) == 60


def test_an_approval_is_waited_for_until_it_expires():
    house = OneRelease(ASKED)
    house.begin()
    assert rollout.wait_seconds(house.at, house.now) == 24 * 3600
    assert rollout.wait_seconds(house.at, house.now + timedelta(days=2)) == 1


@pytest.mark.parametrize(
    "plan", [replace(SHADOWED, shadow_seconds=30 * 86_400), replace(PLAN, probation_seconds=30 * 86_400)]
)
def test_a_month_is_looked_at_hundreds_of_times_not_a_million(plan):
    house = OneRelease(replace(plan, look_seconds=1, steps_bp=()))
    began = house.begin()
    now, looks = house.now, 0
    while now < house.now + timedelta(days=30):
        now, looks = now + timedelta(seconds=rollout.wait_seconds(began, now)), looks + 1
    assert 100 < looks < 1_000


def test_a_canary_that_waits_for_a_year_is_not_looked_at_for_ever():
    house = OneRelease(replace(PLAN, look_seconds=1, at_deadline=AtDeadline.WAIT))
    began = house.begin()
    now, looks = house.now, 0
    while now < house.now + timedelta(days=365):
        now, looks = now + timedelta(seconds=rollout.wait_seconds(began, now)), looks + 1
    assert looks < 1_500


@pytest.mark.parametrize("plan", [PLAN, ASKED, SHADOWED])
def test_the_lease_outlives_the_next_look(plan):
    house = OneRelease(plan)
    house.begin()
    wait = timedelta(seconds=rollout.wait_seconds(house.at, house.now))
    assert house.at.lease_until == house.now + wait + rollout.LEASE_SLACK
    if house.at.phase is Phase.APPROVAL:
        until = house.at.lease_until
        house.decide()
        assert house.at.lease_until == until
    before = house.at.lease_until
    assert house.later(1).lease_until > before - timedelta(days=1)
    assert house.at.lease_until > house.now + timedelta(seconds=rollout.wait_seconds(house.at, house.now))


# Whatever happens


@pytest.fixture
def _decisions_only(monkeypatch):
    """An interval is for people and takes most of a verdict's time; no outcome hangs on it."""
    monkeypatch.setattr(canary, "_end", lambda *_, refuted, **__: refuted)


PLANS = st.builds(
    lambda **changes: replace(PLAN, **changes),
    approval_seconds=st.sampled_from([None, None, 7200.0]),
    shadow_seconds=st.sampled_from([0, 1200]),
    steps_bp=st.sampled_from([(), (1_000,), (100, 2_500), (100, 500, 9_999)]),
    bake_seconds=st.sampled_from([0, 600]),
    at_deadline=st.sampled_from(AtDeadline),
    probation_seconds=st.sampled_from([0, 3600]),
    deadline_seconds=st.sampled_from([3600.0, 6 * 3600.0]),
)
HANDS = (
    "kill",
    "resume",
    "rollback 1",
    "rollback 2",
    "rollback 3",
    "split 1",
    "split 3",
    "end split",
    "stop",
    "abandon",
)
EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.floats(0, 90), st.lists(st.sampled_from([SHOWN_FINE, LITTLE, LITTLE, SHOWN_BAD, NOTHING]), max_size=2)
        ),
        st.sampled_from([*HANDS, "approve", "reject"]),
    ),
    max_size=12,
)


@pytest.mark.usefixtures("_decisions_only")
@settings(max_examples=150)
@given(PLANS, st.booleans(), EVENTS)
def test_whatever_comes_in_whatever_order_nothing_is_lost_and_all_of_it_is_reported(plan, new_model, events):
    house = OneRelease(plan, new_model=new_model)
    before = plain(house.route)
    house.begin()
    touched = False
    shown(house)
    for event in events:
        if isinstance(event, tuple):
            if house.at.phase.final:
                continue
            failed = failing(house, event[1])
            try:
                house.later(event[0], *event[1])
            except ConflictError:  # a split of people's is in the way
                assert house.routed.candidate_role is CandidateRole.SPLIT
                ended(house, "abandon")
            if failed:
                assert house.at.phase.final or house.at.phase is Phase.APPROVAL
        else:
            touched |= event not in {"approve", "reject", "stop", "abandon"}
            try_by_hand(house, event)
        shown(house)
    if not touched and house.at.phase.final and house.at.promoted_at is None:
        assert plain(house.route) == before


def failing(house: OneRelease, looks: list[Look]) -> bool:
    """Whether these looks, with those before, show the version on trial to be worse."""
    if house.at.phase is Phase.APPROVAL:
        return False
    judge = canary.judge_alone if house.at.judged_against is None else canary.judge
    return judge(house.at.looks + tuple(looks), house.at.plan.demands).outcome is canary.CanaryOutcome.FAIL


def try_by_hand(house: OneRelease, event: str) -> None:
    """What people try; the registry refuses what is not allowed."""
    action, _, number = event.partition(" ")
    version = house.versions.get(int(number)) if number.isdigit() else None
    try:
        match action:
            case "approve" | "reject":
                house.decide(Decision(action))
            case "stop" | "abandon":
                if not house.at.phase.final:
                    ended(house, action)
            case "split":
                house.by_hand(changes.split, version, 3_000)
            case "rollback":
                house.by_hand(changes.rollback, version)
            case "end":
                house.by_hand(changes.end_split, MODEL)
            case "kill":
                house.by_hand(changes.kill, MODEL)
            case _:
                house.by_hand(changes.resume, MODEL)
    except ConflictError:
        pass


def shown(house: OneRelease) -> None:
    """What must hold after every write."""
    at, route = house.at, house.route
    revision, head = (route.revision, route.ledger_head) if route else (0, "")
    assert (len(house.entries), verify(MODEL, house.entries, head)) == (revision, None)
    assert (rollout.wait_seconds(at, house.now) > 0) is not at.phase.final
    if route is None:
        return
    assert house.new_model or route.champion is not None
    serving = {(share.version, share.weight_bp) for share in shares(route)}
    entry = house.entries[-1]
    said = {
        (serving.share.version, serving.share.weight_bp)
        for serving in served_at([replace(entry, at=house.now), *reversed(house.entries[:-1])], house.now)[1]
    }
    assert said == serving
    if route.candidate_role is CandidateRole.CANARY:
        assert (route.candidate_bp, at.phase) == (at.plan.steps_bp[at.step], Phase.CANARY)
    if route.candidate_role is CandidateRole.HOLDBACK:
        assert (route.candidate_bp, at.phase) == (at.plan.holdback_bp, Phase.PROBATION)
    if at.phase.final:
        assert route.shadow is None
        assert route.candidate_role in {None, CandidateRole.SPLIT}
        assert house.version.status is not VersionStatus.ACCEPTED
    statuses = {number: version.status for number, version in house.versions.items()}
    champions = [number for number, status in statuses.items() if status is VersionStatus.CHAMPION]
    assert champions == ([route.champion.version] if route.champion else [])
    used = {served.version for served in (route.champion, route.candidate, route.shadow) if served}
    assert not any(statuses[number].closed for number in used)


@pytest.mark.usefixtures("_decisions_only")
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 40), st.integers(0, 4_000)), min_size=1, max_size=10))
@settings(max_examples=60)
def test_a_candidate_never_gets_a_larger_share_in_the_look_that_speaks_against_it(arms):
    house = OneRelease(replace(PLAN, steps_bp=(100, 500, 2_500, 5_000), bake_seconds=0, min_requests=1))
    house.begin()
    for requests, errors, champion in arms:
        found = look(requests, min(errors, requests), champion=champion)
        failed, share = failing(house, [found]), house.routed.candidate_bp
        house.later(10, found)
        assert house.routed.candidate_bp <= (0 if failed else max(share, 5_000))
        if house.at.phase is not Phase.CANARY:
            assert failed or house.at.phase is Phase.PROBATION
            break


# How often it is wrong


def simulated(chance: np.random.Generator, errors: float, champion_errors: float) -> OneRelease:
    """A rollout to its end on 12,000 requests a look, three looks a step."""
    house = OneRelease(replace(PLAN, steps_bp=(100, 500, 2_500, 5_000), bake_seconds=1_800, deadline_seconds=12 * 3600))
    house.begin()
    while not house.at.phase.final:
        share = house.routed.candidate_bp / ALL_BP
        ours = int(chance.binomial(12_000, 1 - share if house.at.phase is Phase.PROBATION else share))
        theirs = 12_000 - ours
        arms = (chance.binomial(n, rate) for n, rate in ((ours, errors), (theirs, champion_errors)))
        house.later(15, look(ours, int(next(arms)), champion=theirs, champion_errors=int(next(arms))))
    return house


@pytest.mark.simulation
@pytest.mark.usefixtures("_decisions_only")
def test_of_300_versions_as_good_as_the_champion_at_most_one_in_twenty_is_rolled_back():
    chance = np.random.default_rng(20260105)
    ends = [simulated(chance, 0.005, 0.005).at.phase for _ in range(300)]
    assert set(ends) <= {Phase.DONE, Phase.ROLLED_BACK}
    assert ends.count(Phase.ROLLED_BACK) <= 15


@pytest.mark.usefixtures("_decisions_only")
def test_of_100_versions_with_five_points_more_errors_nearly_all_leave_before_they_are_promoted():
    chance = np.random.default_rng(20260106)
    ends = [simulated(chance, 0.055, 0.005).at for _ in range(100)]
    stopped = [at for at in ends if at.phase is Phase.ROLLED_BACK and at.promoted_at is None]
    assert len(stopped) >= 95
    assert sum(at.step <= 1 for at in stopped) >= 95  # with at most 5 % of the requests
