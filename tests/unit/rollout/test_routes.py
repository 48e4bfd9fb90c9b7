"""Which change of what is served is allowed, and what it leaves behind."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.present import present
from tests.builders.registry import numbered, served
from tidegate.domain.registry.ledger import Cause, Share, verify
from tidegate.domain.registry.route import CandidateRole, FallbackRef, Route
from tidegate.domain.registry.version import Version, VersionStatus
from tidegate.domain.rollout.changes import (
    canary,
    end_probation,
    end_split,
    kill,
    promote,
    resume,
    roll_back_promotion,
    rollback,
    rollback_target,
    shares,
    split,
)
from tidegate.kernel.errors import ConflictError

MODEL = "flight-delay"
AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
CAUSE = Cause(AT, "arn:aws:iam::123456789012:user/ann", "because")
ACCEPTED, CANDIDATE, CHAMPION, REJECTED, RETIRED, ROLLED_BACK = (
    VersionStatus.ACCEPTED,
    VersionStatus.CANDIDATE,
    VersionStatus.CHAMPION,
    VersionStatus.REJECTED,
    VersionStatus.RETIRED,
    VersionStatus.ROLLED_BACK,
)
SERVING = Route(MODEL, 4, champion=served(2), previous=served(1), ledger_head="h4")
SPLIT = replace(SERVING, candidate=served(3), candidate_bp=2_000, candidate_role=CandidateRole.SPLIT, salt=3)
CANARY = replace(SPLIT, candidate_role=CandidateRole.CANARY, shadow=served(3))
KILLED = replace(SERVING, killed=True)


def test_the_first_promotion_makes_revision_1_with_nothing_before_it():
    change = present(promote(None, numbered(1), CAUSE))
    assert change.route == Route(MODEL, 1, champion=served(1), ledger_head=change.entry.hash)
    assert (change.entry.seq, change.entry.version, change.entry.previous_version) == (1, 1, None)
    assert (change.entry.run_id, change.entry.actor, change.entry.reason) == ("r-1", CAUSE.actor, "because")
    assert change.statuses == {1: CHAMPION}


def test_a_promotion_keeps_who_served_before_and_ends_the_trial_of_the_promoted_one():
    change = present(promote(CANARY, numbered(3, CANDIDATE), replace(CAUSE, approved_by="eve")))
    assert change.route == Route(MODEL, 5, champion=served(3), previous=served(2), ledger_head=change.entry.hash)
    assert (change.entry.previous_hash, change.entry.approved_by) == ("h4", "eve")
    assert change.statuses == {3: CHAMPION, 2: RETIRED}


def test_promoting_the_champion_changes_nothing():
    assert promote(SERVING, numbered(2, CHAMPION), CAUSE) is None


def test_a_promotion_of_a_killed_model_waits_for_people_to_resume_it():
    change = present(promote(KILLED, numbered(3), CAUSE))
    assert shares(change.route) == (Share(None, 10_000),)
    assert (change.entry.killed, change.entry.version, change.entry.weight_bp) == (True, 3, 0)
    assert shares(present(resume(change.route, MODEL, CAUSE)).route) == (Share(3, 10_000),)


@pytest.mark.parametrize("status", [REJECTED, RETIRED, CHAMPION])
def test_only_an_accepted_version_can_be_promoted(status):
    with pytest.raises(ConflictError, match=status.value):
        promote(None, numbered(2, status), CAUSE)


def test_a_promotion_does_not_end_a_split_that_people_present():
    with pytest.raises(ConflictError, match="on trial with 20 %") as caught:
        promote(SPLIT, numbered(4), CAUSE)
    assert "tidegate split flight-delay --end" in caught.value.next_step


def test_a_rollback_returns_to_what_served_and_the_bad_one_does_not_stand_by():
    fallback = FallbackRef("runs/flight-delay/r-1/fallback.json", "f1", "r-1")
    change = present(rollback(SERVING, replace(numbered(1, RETIRED), fallback=fallback), CAUSE))
    assert change.route == Route(MODEL, 5, champion=served(1), fallback=fallback, ledger_head=change.entry.hash)
    assert (change.entry.action, change.entry.version, change.entry.previous_version) == ("rollback", 1, 2)
    assert change.statuses == {1: CHAMPION, 2: RETIRED}


@pytest.mark.parametrize(("route", "left"), [(SPLIT, RETIRED), (CANARY, ROLLED_BACK)])
def test_a_rollback_to_the_champion_ends_what_is_on_trial_beside_it(route, left):
    change = present(rollback(route, numbered(2, CHAMPION), CAUSE))
    assert change.route == replace(SERVING, revision=5, ledger_head=change.entry.hash)
    assert (change.entry.version, change.entry.previous_version) == (2, 3)
    assert change.statuses == {2: CHAMPION, 3: left}


def test_the_second_version_of_a_split_can_be_kept_by_a_rollback_to_it():
    change = present(rollback(SPLIT, numbered(3, CANDIDATE), CAUSE))
    assert shares(change.route) == (Share(3, 10_000),)
    assert change.statuses == {3: CHAMPION, 2: RETIRED}


def test_a_rollback_to_what_serves_alone_changes_nothing():
    assert rollback(SERVING, numbered(2, CHAMPION), CAUSE) is None


def test_a_rollback_of_a_killed_model_leaves_it_killed():
    change = present(rollback(KILLED, numbered(1, RETIRED), CAUSE))
    assert (change.route.killed, change.entry.weight_bp) == (True, 0)


@pytest.mark.parametrize("status", [REJECTED, ACCEPTED])
def test_there_is_no_rollback_to_a_version_that_was_never_promoted(status):
    with pytest.raises(ConflictError, match="was never promoted") as caught:
        rollback(SERVING, numbered(3, status), CAUSE)
    assert "tidegate ledger flight-delay" in caught.value.next_step


def test_the_rollback_target_is_the_champion_while_something_is_on_trial_and_its_predecessor_otherwise():
    assert rollback_target(SERVING) == 1
    assert rollback_target(SPLIT) == rollback_target(CANARY) == 2
    assert rollback_target(replace(SERVING, previous=None)) is None
    assert rollback_target(Route(MODEL, 1)) is rollback_target(None) is None


@pytest.mark.parametrize(("route", "statuses"), [(SERVING, {}), (SPLIT, {3: RETIRED}), (CANARY, {3: ROLLED_BACK})])
def test_a_kill_puts_everything_on_the_fallback_and_ends_trials(route, statuses):
    change = present(kill(route, MODEL, CAUSE))
    assert change.route == replace(SERVING, revision=5, killed=True, ledger_head=change.entry.hash)
    assert shares(change.route) == (Share(None, 10_000),)
    assert (change.entry.version, change.entry.previous_version, change.entry.weight_bp) == (None, 2, 10_000)
    assert change.statuses == statuses


def test_killing_twice_changes_nothing():
    assert kill(KILLED, MODEL, CAUSE) is None


def test_a_resumed_model_is_served_by_its_champion_alone():
    change = present(resume(KILLED, MODEL, CAUSE))
    assert change.route == replace(SERVING, revision=5, ledger_head=change.entry.hash)
    assert (change.entry.version, change.entry.weight_bp, change.entry.killed) == (2, 10_000, False)


def test_resuming_twice_changes_nothing():
    assert resume(SERVING, MODEL, CAUSE) is None


@pytest.mark.parametrize("status", [ACCEPTED, RETIRED])
def test_a_split_gives_a_second_version_its_share(status):
    change = present(split(SERVING, numbered(3, status), 2_000, CAUSE))
    assert change.route == replace(SPLIT, revision=5, ledger_head=change.entry.hash)
    assert (change.entry.version, change.entry.previous_version, change.entry.weight_bp) == (3, 2, 2_000)
    assert change.statuses == {3: CANDIDATE}
    assert shares(change.route) == (Share(2, 8_000), Share(3, 2_000))


def test_the_same_split_again_changes_nothing_and_another_share_does():
    assert split(SPLIT, numbered(3, CANDIDATE), 2_000, CAUSE) is None
    assert present(split(SPLIT, numbered(3, CANDIDATE), 5_000, CAUSE)).route.candidate_bp == 5_000


def test_keys_are_dealt_by_the_version_on_trial_until_its_probation_is_over():
    trial = present(canary(SERVING, numbered(3), 100, CAUSE)).route
    assert (trial.salt, present(canary(trial, numbered(3, CANDIDATE), 500, CAUSE)).route.salt) == (3, 3)
    on_probation = present(promote(trial, numbered(3, CANDIDATE), CAUSE, holdback_bp=500)).route
    assert (on_probation.salt, on_probation.candidate_role) == (3, CandidateRole.HOLDBACK)
    assert present(end_probation(on_probation, numbered(3, CHAMPION), CAUSE)).route.salt is None
    assert present(roll_back_promotion(on_probation, 3, CAUSE)).route.salt is None
    assert present(promote(SERVING, numbered(3), CAUSE, holdback_bp=500)).route.salt == 3


def test_a_trial_that_older_code_began_is_dealt_as_it_was_until_it_ends():
    trial = replace(CANARY, shadow=None, salt=None)
    assert present(canary(trial, numbered(3, CANDIDATE), 5_000, CAUSE)).route.salt is None
    assert present(promote(trial, numbered(3, CANDIDATE), CAUSE, holdback_bp=500)).route.salt is None
    assert present(split(replace(SPLIT, salt=None), numbered(3, CANDIDATE), 5_000, CAUSE)).route.salt is None


@pytest.mark.parametrize(
    ("route", "version", "said"),
    [
        (KILLED, numbered(3), "killed"),
        (SERVING, numbered(2, CHAMPION), "is the champion"),
        (Route(MODEL, 1), numbered(3), "has no champion"),
        (SPLIT, numbered(4), "version 3 is on trial"),
        (CANARY, numbered(3, CANDIDATE), "canary"),
        (SERVING, numbered(3, REJECTED), "is rejected"),
    ],
)
def test_a_split_that_cannot_be_says_why_and_what_to_do(route, version, said):
    with pytest.raises(ConflictError, match=said) as caught:
        split(route, version, 2_000, CAUSE)
    assert "tidegate" in caught.value.next_step


@pytest.mark.parametrize("share", [0, 10_000, -1])
def test_a_share_is_more_than_nothing_and_less_than_all(share):
    with pytest.raises(ValueError, match="basis points"):
        split(SERVING, numbered(3), share, CAUSE)


def test_after_a_split_the_champion_answers_alone():
    change = present(end_split(SPLIT, MODEL, CAUSE))
    assert change.route == replace(SERVING, revision=5, ledger_head=change.entry.hash)
    assert (change.entry.version, change.entry.previous_version, change.statuses) == (2, 3, {3: RETIRED})


def test_ending_no_split_changes_nothing_and_a_canary_is_no_split():
    assert end_split(SERVING, MODEL, CAUSE) is None
    with pytest.raises(ConflictError, match="canary"):
        end_split(CANARY, MODEL, CAUSE)


def test_a_model_that_was_never_promoted_has_nothing_to_change():
    actions = (
        lambda: rollback(None, numbered(1), CAUSE),
        lambda: kill(None, MODEL, CAUSE),
        lambda: resume(None, MODEL, CAUSE),
        lambda: split(None, numbered(1), 100, CAUSE),
        lambda: end_split(None, MODEL, CAUSE),
    )
    for action in actions:
        with pytest.raises(ConflictError, match="was ever promoted") as caught:
            action()
        assert "tidegate train" in caught.value.next_step


ACTIONS = ("promote", "rollback", "kill", "resume", "split", "end_split")
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(1, 4), st.integers(1, 9_999)), max_size=30)


@given(STEPS)
def test_whatever_people_do_one_champion_at_most_serves_and_the_ledger_shows_all_of_it(steps):
    versions = {number: numbered(number) for number in (1, 2, 3)} | {4: numbered(4, REJECTED)}
    versions = {number: replace(version, features=("x", f"x{number}")) for number, version in versions.items()}
    route: Route | None = None
    entries = []
    for minute, step in enumerate(steps):
        try:
            change = _done(step, route, versions, replace(CAUSE, at=AT + timedelta(minutes=minute)))
        except ConflictError:
            continue
        if change is None:
            continue
        route = change.route
        entries.append(change.entry)
        versions |= {number: replace(versions[number], status=status) for number, status in change.statuses.items()}
        _consistent(route, versions)
        assert _done(step, route, versions, CAUSE) is None
    assert (route.revision if route else 0) == len(entries)
    assert verify(MODEL, entries, route.ledger_head if route else "") is None


def _done(step: tuple[str, int, int], route: Route | None, versions: dict[int, Version], cause: Cause):
    action, number, share = step
    match action:
        case "promote":
            return promote(route, versions[number], cause)
        case "rollback":
            return rollback(route, versions[number], cause)
        case "kill":
            return kill(route, MODEL, cause)
        case "resume":
            return resume(route, MODEL, cause)
        case "split":
            return split(route, versions[number], share, cause)
        case _:
            return end_split(route, MODEL, cause)


def _consistent(route: Route, versions: dict[int, Version]) -> None:
    statuses = {number: version.status for number, version in versions.items()}
    assert statuses[4] is REJECTED
    assert [number for number, status in statuses.items() if status is CHAMPION] == [present(route.champion).version]
    on_trial = [route.candidate.version] if route.candidate else []
    assert [number for number, status in statuses.items() if status is CANDIDATE] == on_trial
    assert sum(share.weight_bp for share in shares(route)) == 10_000
    assert not (route.killed and route.candidate)
    for each in filter(None, (route.champion, route.candidate, route.previous)):
        assert set(versions[each.version].features) <= set(route.fields)
