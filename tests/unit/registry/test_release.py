from dataclasses import replace

import pytest

from tests.builders.present import present
from tests.builders.registry import NOON, numbered, served
from tidegate.domain.registry.ledger import Cause, Share
from tidegate.domain.registry.route import CandidateRole, FallbackRef, Route
from tidegate.domain.registry.run import RunStatus
from tidegate.domain.registry.version import VersionStatus
from tidegate.domain.rollout.changes import (
    RouteChange,
    canary,
    end_probation,
    end_split,
    kill,
    on_probation,
    overtaken,
    promote,
    resume,
    roll_back_promotion,
    roll_back_trial,
    rollback,
    rollback_target,
    shadow,
    shares,
    split,
    stand_in,
)
from tidegate.domain.serving.routing import Choice, Reason, choose
from tidegate.kernel.errors import ConflictError


def test_a_run_is_final_once_it_is_neither_requested_nor_running():
    assert {status for status in RunStatus if not status.final} == {RunStatus.REQUESTED, RunStatus.RUNNING}


def test_the_champion_answers_first_then_the_one_before_it_then_what_was_kept():
    route = Route("flight-delay", 3, champion=served(3), previous=served(2))
    assert choose(route, "key", kept=served(1)) == (
        Choice(served(3), Reason.CHAMPION),
        Choice(served(2), Reason.PREVIOUS_GOOD),
        Choice(served(1), Reason.PREVIOUS_GOOD),
    )


def test_no_version_is_tried_twice():
    route = Route("flight-delay", 3, champion=served(3), previous=served(2))
    assert [choice.served.version for choice in choose(route, "key", kept=served(3))] == [3, 2]
    assert [choice.served.version for choice in choose(route, "key", kept=served(2))] == [3, 2]


def test_without_a_champion_nothing_answers():
    assert choose(Route("flight-delay", 3, champion=None, previous=served(2)), "key", kept=served(1)) == ()


SERVING = Route("flight-delay", 4, champion=served(2), previous=served(1), ledger_head="h4")
KILLED = replace(SERVING, killed=True)
SHADOWED = replace(SERVING, shadow=served(3))
CANARY = replace(SERVING, candidate=served(3), candidate_bp=100, candidate_role=CandidateRole.CANARY, salt=3)
SPLIT = replace(CANARY, candidate_role=CandidateRole.SPLIT)
ON_PROBATION = Route(
    "flight-delay",
    4,
    champion=served(2),
    previous=served(1),
    candidate=served(1),
    candidate_bp=500,
    candidate_role=CandidateRole.HOLDBACK,
    ledger_head="h4",
)
CAUSE = Cause(NOON, "arn:aws:iam::123456789012:user/ann", "because")
ACCEPTED, CANDIDATE, CHAMPION, RETIRED, ROLLED_BACK = (
    VersionStatus.ACCEPTED,
    VersionStatus.CANDIDATE,
    VersionStatus.CHAMPION,
    VersionStatus.RETIRED,
    VersionStatus.ROLLED_BACK,
)
RULE = FallbackRef("runs/flight-delay/r-3/fallback.json", "f3", "r-3")


def alone(route: Route, change: RouteChange) -> Route:
    """What of a changed route must equal the one before it."""
    return replace(route, revision=change.route.revision, ledger_head=change.route.ledger_head)


def shown(change: RouteChange) -> tuple[str, int | None, int | None, int]:
    entry = change.entry
    return (entry.action, entry.version, entry.previous_version, entry.weight_bp)


def test_a_closed_version_was_turned_away_overtaken_or_rolled_back():
    assert {status for status in VersionStatus if status.closed} == {
        VersionStatus.REJECTED,
        VersionStatus.OVERTAKEN,
        ROLLED_BACK,
    }


def test_a_version_may_serve_when_nobody_has_to_be_asked_any_more():
    asked = replace(numbered(1), needs_approval=True)
    assert [version.may_serve for version in (numbered(1), asked, replace(asked, approved_by="eve"))] == [
        True,
        False,
        True,
    ]


def test_a_shadow_changes_what_nobody_gets():
    change = present(shadow(SERVING, numbered(3), CAUSE))
    assert change.route == alone(SHADOWED, change)
    assert (shown(change), change.statuses) == (("shadow", 2, None, 10_000), {3: CANDIDATE})
    assert shares(change.route) == (Share(2, 10_000),)
    assert shadow(SHADOWED, numbered(3, CANDIDATE), CAUSE) is None


@pytest.mark.parametrize("route", [SERVING, SHADOWED])
def test_a_canary_gets_its_share_and_scores_along_no_longer(route):
    change = present(canary(route, numbered(3, CANDIDATE), 100, CAUSE))
    assert change.route == alone(CANARY, change)
    assert (shown(change), change.statuses) == (("canary", 3, 2, 100), {3: CANDIDATE})
    assert shares(change.route) == (Share(2, 9_900), Share(3, 100))


def test_the_same_share_again_changes_nothing_and_a_larger_one_does():
    assert canary(CANARY, numbered(3, CANDIDATE), 100, CAUSE) is None
    assert present(canary(CANARY, numbered(3, CANDIDATE), 500, CAUSE)).route.candidate_bp == 500


@pytest.mark.parametrize("route", [None, Route("flight-delay", 4, ledger_head="h4")])
def test_without_a_champion_the_fallback_answers_what_the_canary_does_not(route):
    change = present(canary(route, replace(numbered(3), fallback=RULE), 100, CAUSE))
    assert shares(change.route) == (Share(None, 9_900), Share(3, 100))
    assert change.route.fallback == RULE
    assert shown(change) == ("canary", 3, None, 100)
    left = present(roll_back_trial(change.route, numbered(3, CANDIDATE), CAUSE))
    assert shares(left.route) == (Share(None, 10_000),)
    assert (shown(left), left.route.fallback) == (("rollback", None, 3, 10_000), RULE)


def test_a_canary_keeps_the_fallback_that_answers_already():
    known = replace(SERVING, fallback=FallbackRef("runs/flight-delay/r-2/fallback.json", "f2", "r-2"))
    assert present(canary(known, replace(numbered(3), fallback=RULE), 100, CAUSE)).route.fallback == known.fallback


@pytest.mark.parametrize("route", [SHADOWED, CANARY, replace(SHADOWED, killed=True)])
def test_a_version_that_leaves_gives_all_back(route):
    change = present(roll_back_trial(route, numbered(3, CANDIDATE), CAUSE))
    assert change.route == alone(replace(SERVING, killed=route.killed), change)
    assert (shown(change), change.statuses) == (
        ("rollback", 2, 3, 0 if route.killed else 10_000),
        {3: ROLLED_BACK},
    )


@pytest.mark.parametrize("route", [None, SERVING, SPLIT, ON_PROBATION])
def test_what_is_not_on_its_way_in_cannot_leave(route):
    for number in (1, 2, 3):
        assert roll_back_trial(route, numbered(number, CANDIDATE), CAUSE) is None


@pytest.mark.parametrize(
    ("route", "version", "said"),
    [
        (SERVING, numbered(3, VersionStatus.REJECTED), "is rejected"),
        (SERVING, numbered(3, ROLLED_BACK), "is rolled_back"),
        (SERVING, numbered(3, RETIRED), "is retired"),
        (SERVING, replace(numbered(3), needs_approval=True), "needs an approval"),
        (replace(SPLIT, candidate=served(4)), numbered(3), "version 4 is on trial with 1 % .split"),
        (replace(CANARY, candidate=served(4)), numbered(3), "version 4 is on trial with 1 % .canary"),
        (replace(SHADOWED, shadow=served(4)), numbered(3), "version 4 is on trial in shadow mode"),
        (ON_PROBATION, numbered(3), "version 1 is on trial with 5 % .holdback"),
    ],
)
def test_a_version_that_must_not_serve_or_is_not_alone_gets_no_further(route, version, said):
    for action in (
        lambda: shadow(route, version, CAUSE),
        lambda: canary(route, version, 100, CAUSE),
        lambda: promote(route, version, CAUSE),
    ):
        with pytest.raises(ConflictError, match=said) as caught:
            action()
        assert "tidegate" in caught.value.next_step


def test_a_promotion_keeps_the_champion_of_before_warm_with_a_small_share():
    promoted = replace(numbered(3, CANDIDATE), fallback=RULE)
    change = present(promote(CANARY, promoted, CAUSE, holdback_bp=500))
    assert shares(change.route) == (Share(3, 9_500), Share(2, 500))
    assert (change.route.candidate_role, change.route.previous, change.route.fallback) == (
        CandidateRole.HOLDBACK,
        served(2),
        RULE,
    )
    assert (shown(change), change.statuses) == (("promote", 3, 2, 9_500), {3: CHAMPION, 2: CANDIDATE})


@pytest.mark.parametrize("route", [None, KILLED])
def test_nothing_is_held_back_where_nothing_answered(route):
    change = present(promote(route, numbered(3), CAUSE, holdback_bp=500))
    assert (change.route.candidate, change.route.candidate_bp, change.route.candidate_role) == (None, 0, None)
    assert change.entry.weight_bp == (0 if route else 10_000)


def test_a_version_is_on_probation_while_the_one_before_it_is_held_back():
    assert on_probation(ON_PROBATION, 2)
    assert not any(
        on_probation(route, version) for route, version in ((ON_PROBATION, 1), (SPLIT, 2), (CANARY, 2), (SERVING, 2))
    )


def test_after_its_probation_a_version_answers_alone():
    change = present(end_probation(ON_PROBATION, numbered(2, CHAMPION), replace(CAUSE, approved_by="eve")))
    assert change.route == alone(replace(SERVING, previous=served(1)), change)
    assert (shown(change), change.statuses, change.entry.approved_by) == (
        ("end_probation", 2, 1, 10_000),
        {1: RETIRED},
        "eve",
    )
    for route in (None, SERVING, SPLIT, CANARY):
        assert end_probation(route, numbered(2, CHAMPION), CAUSE) is None


def test_the_rollback_target_out_of_probation_is_the_version_held_back():
    assert rollback_target(ON_PROBATION) == 1
    assert rollback_target(SHADOWED) == rollback_target(CANARY) == 2
    change = present(roll_back_promotion(ON_PROBATION, 2, CAUSE))
    assert change.route == alone(Route("flight-delay", 4, champion=served(1)), change)
    assert (shown(change), change.statuses) == (("rollback", 1, 2, 10_000), {1: CHAMPION, 2: RETIRED})
    assert roll_back_promotion(SERVING, 2, CAUSE) is roll_back_promotion(ON_PROBATION, 1, CAUSE) is None


def test_people_may_roll_back_out_of_probation_either_way():
    back = present(rollback(ON_PROBATION, numbered(1, CANDIDATE), CAUSE))
    assert (shares(back.route), back.statuses) == ((Share(1, 10_000),), {1: CHAMPION, 2: RETIRED})
    stay = present(rollback(ON_PROBATION, numbered(2, CHAMPION), CAUSE))
    assert (shares(stay.route), stay.statuses) == ((Share(2, 10_000),), {1: RETIRED, 2: CHAMPION})


@pytest.mark.parametrize("route", [CANARY, SHADOWED])
def test_a_version_on_its_way_in_is_no_place_to_roll_back_to(route):
    with pytest.raises(ConflictError, match="was never promoted"):
        rollback(route, numbered(3, CANDIDATE), CAUSE)


@pytest.mark.parametrize("route", [CANARY, SHADOWED])
def test_a_kill_and_a_rollback_close_a_version_on_its_way_in(route):
    killed = present(kill(route, "flight-delay", CAUSE))
    assert (killed.route, killed.statuses) == (alone(KILLED, killed), {3: ROLLED_BACK})
    back = present(rollback(route, numbered(2, CHAMPION), CAUSE))
    assert (back.route, back.statuses) == (alone(SERVING, back), {2: CHAMPION, 3: ROLLED_BACK})
    further = present(rollback(route, numbered(1, RETIRED), CAUSE))
    assert further.statuses == {1: CHAMPION, 2: RETIRED, 3: ROLLED_BACK}


@pytest.mark.parametrize("route", [SPLIT, ON_PROBATION])
def test_a_kill_retires_what_has_served_before(route):
    assert present(kill(route, "flight-delay", CAUSE)).statuses == {route.candidate.version: RETIRED}


def test_a_model_without_a_champion_can_be_killed_and_its_canary_ends():
    only = Route("flight-delay", 4, candidate=served(3), candidate_bp=100, candidate_role=CandidateRole.CANARY)
    change = present(kill(only, "flight-delay", CAUSE))
    assert (shares(change.route), change.statuses) == ((Share(None, 10_000),), {3: ROLLED_BACK})


def test_a_resumption_reports_the_canary_that_began_while_the_model_was_killed():
    begun = present(canary(KILLED, numbered(3), 100, CAUSE)).route
    assert shares(begun) == (Share(None, 10_000),)
    change = present(resume(begun, "flight-delay", CAUSE))
    assert shares(change.route) == (Share(2, 9_900), Share(3, 100))
    assert shown(change) == ("resume", 3, 2, 100)


def test_the_fallback_stays_while_a_canary_is_measured_beside_it():
    only = Route("flight-delay", 4, candidate=served(3), candidate_bp=100, candidate_role=CandidateRole.CANARY)
    newer = replace(numbered(4, VersionStatus.REJECTED), fallback=RULE)
    assert stand_in(only, newer, CAUSE) is None
    assert present(stand_in(Route("flight-delay", 4), newer, CAUSE)).route.fallback == RULE


def test_a_version_that_waits_for_its_approval_gets_no_split_either():
    with pytest.raises(ConflictError, match="needs an approval") as caught:
        split(SERVING, replace(numbered(3), needs_approval=True), 100, CAUSE)
    assert "tidegate approve flight-delay 3" in caught.value.next_step
    present(split(SERVING, replace(numbered(3), needs_approval=True, approved_by="eve"), 100, CAUSE))


@pytest.mark.parametrize("status", [status for status in VersionStatus if status.closed])
def test_a_closed_version_gets_no_split(status):
    with pytest.raises(ConflictError, match=f"is {status}"):
        split(SERVING, numbered(3, status), 100, CAUSE)


@pytest.mark.parametrize("route", [CANARY, SHADOWED, ON_PROBATION])
def test_people_do_not_split_beside_a_release(route):
    with pytest.raises(ConflictError, match="is on trial") as caught:
        split(route, numbered(4), 100, CAUSE)
    assert "tidegate rollout flight-delay --end" in caught.value.next_step


@pytest.mark.parametrize(
    ("champion", "judged_against", "late"),
    [(2, 2, False), (None, None, False), (2, None, True), (None, 2, True), (1, 2, True), (3, 2, False)],
)
def test_a_version_is_overtaken_when_another_champion_serves_than_it_was_judged_against(champion, judged_against, late):
    route = Route("flight-delay", 4, champion=served(champion) if champion else None)
    assert bool(overtaken(route, numbered(3), judged_against=judged_against)) is late
    assert overtaken(route, numbered(3, CANDIDATE), judged_against=judged_against) == ""


def test_who_joins_a_route_brings_the_fields_it_is_asked_with_and_takes_none_away():
    route = replace(SERVING, fields=("carrier", "distance"))
    newer = replace(numbered(3), features=("distance", "wind"), fallback=RULE)
    joined = (
        shadow(route, newer, CAUSE),
        canary(route, newer, 100, CAUSE),
        split(route, newer, 100, CAUSE),
        promote(route, newer, CAUSE),
        rollback(route, replace(newer, status=RETIRED), CAUSE),
        stand_in(replace(route, champion=None), newer, CAUSE),
    )
    assert {present(change).route.fields for change in joined} == {("carrier", "distance", "wind")}


def test_who_leaves_a_route_leaves_its_fields_behind_for_callers_go_on_sending_them():
    fields = ("carrier", "distance", "wind")
    shadowed, on_its_way_in, divided, held, killed = (
        replace(route, fields=fields) for route in (SHADOWED, CANARY, SPLIT, ON_PROBATION, KILLED)
    )
    older = replace(numbered(1, RETIRED), features=("distance",))
    left = (
        roll_back_trial(shadowed, numbered(3, CANDIDATE), CAUSE),
        roll_back_trial(on_its_way_in, numbered(3, CANDIDATE), CAUSE),
        rollback(on_its_way_in, older, CAUSE),
        kill(on_its_way_in, "flight-delay", CAUSE),
        end_split(divided, "flight-delay", CAUSE),
        roll_back_promotion(held, 2, CAUSE),
        end_probation(held, numbered(2, CHAMPION), CAUSE),
        resume(killed, "flight-delay", CAUSE),
    )
    assert {present(change).route.fields for change in left} == {fields}
