from datetime import UTC, datetime

import pytest

from tidegate.domain.release import Route, RunStatus, Served, Version, VersionStatus, promote
from tidegate.domain.routing import Choice, Reason, choices
from tidegate.errors import ConflictError

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


def a_version(number: int, status: VersionStatus = VersionStatus.ACCEPTED) -> Version:
    return Version(
        model="flight-delay",
        number=number,
        status=status,
        run_id=f"r-{number}",
        spec_digest="d",
        dataset="flights",
        dataset_version="v",
        artifact_key=f"k{number}",
        artifact_sha256=f"a{number}",
        report_key="rk",
        report_sha256="rs",
        metric="roc_auc",
        value=0.7,
        low=0.6,
        high=0.8,
        reasons=(),
        created_at=AT,
        created_by="ann",
        lock_hash="l",
        code_version="c",
    )


def served(number: int) -> Served:
    return Served(number, f"k{number}", f"a{number}")


def test_the_first_promotion_makes_revision_1_with_nothing_before_it():
    promotion = promote(None, a_version(1), at=AT, actor="ann", reason="accepted")
    assert promotion is not None
    assert promotion.route == Route("flight-delay", 1, champion=served(1))
    assert (promotion.entry.seq, promotion.entry.version, promotion.entry.previous_version) == (1, 1, None)
    assert promotion.retired is None
    assert promotion.champion.status is VersionStatus.CHAMPION


def test_a_promotion_keeps_who_served_before():
    route = Route("flight-delay", 4, champion=served(1))
    promotion = promote(route, a_version(2), at=AT, actor="ann", reason="accepted")
    assert promotion is not None
    assert promotion.route == Route("flight-delay", 5, champion=served(2), previous=served(1))
    assert (promotion.entry.seq, promotion.entry.run_id, promotion.retired) == (5, "r-2", 1)


def test_promoting_the_champion_changes_nothing():
    assert promote(Route("flight-delay", 4, champion=served(2)), a_version(2), at=AT, actor="a", reason="r") is None


@pytest.mark.parametrize("status", sorted(set(VersionStatus) - {VersionStatus.ACCEPTED}))
def test_only_an_accepted_version_can_be_promoted(status):
    with pytest.raises(ConflictError, match=status.value):
        promote(None, a_version(2, status), at=AT, actor="ann", reason="please")


def test_three_states_of_a_run_are_final():
    assert {status for status in RunStatus if status.final} == {
        RunStatus.ACCEPTED,
        RunStatus.REJECTED,
        RunStatus.FAILED,
    }


def test_the_champion_answers_first_then_the_one_before_it_then_what_was_kept():
    route = Route("flight-delay", 3, champion=served(3), previous=served(2))
    assert choices(route, kept=served(1)) == (
        Choice(served(3), Reason.CHAMPION),
        Choice(served(2), Reason.PREVIOUS_GOOD),
        Choice(served(1), Reason.PREVIOUS_GOOD),
    )


def test_no_version_is_tried_twice():
    route = Route("flight-delay", 3, champion=served(3), previous=served(2))
    assert [choice.served.version for choice in choices(route, kept=served(3))] == [3, 2]
    assert [choice.served.version for choice in choices(route, kept=served(2))] == [3, 2]


def test_without_a_champion_nothing_answers():
    assert choices(Route("flight-delay", 3, champion=None, previous=served(2)), kept=served(1)) == ()
