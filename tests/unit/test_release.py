from datetime import UTC, datetime

from tidegate.domain.release import Route, RunStatus, Served, Version, VersionStatus
from tidegate.domain.routing import Choice, Reason, choose

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


def test_three_states_of_a_run_are_final():
    assert {status for status in RunStatus if status.final} == {
        RunStatus.ACCEPTED,
        RunStatus.REJECTED,
        RunStatus.FAILED,
    }


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
