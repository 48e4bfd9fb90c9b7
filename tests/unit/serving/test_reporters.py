"""Whose part of the outcomes is large, however many sessions somebody has."""

from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.serving.reporters import MOST_NAMED, Reports, behind, large, tallied
from tidegate.kernel.roles import principal

USER = "arn:aws:iam::1:user/ann"
SESSION = "arn:aws:sts::1:assumed-role/outcomes/{}"
callers = st.one_of(st.just(USER), st.just(""), st.integers(0, 60).map(SESSION.format))
counts = st.dictionaries(callers, st.integers(1, 9), max_size=60)


def test_the_sessions_of_a_role_are_added_up() -> None:
    by = {SESSION.format(1): 2, SESSION.format(2): 2, USER: 4}
    assert large(by, 0.5) == {}
    assert large(by | {SESSION.format(3): 1}, 0.5) == {SESSION.format(number): 5 / 9 for number in (1, 2, 3)}
    assert behind({**by, SESSION.format(1): 9}, 0.5) == {"arn:aws:sts::1:assumed-role/outcomes": 11 / 15}


ROLES = "arn:aws:sts::1:assumed-role/{}/{}"


def test_the_roles_of_a_person_are_added_up() -> None:
    scientist, operator = ROLES.format("Scientist", "eve"), ROLES.format("Operator", "Eve")
    assert large({scientist: 5, operator: 5}, 0.5) == {scientist: 1, operator: 1}
    assert behind({scientist: 5, operator: 5}, 0.5) == {"eve (under several ARNs)": 1}
    user = "arn:aws:iam::1:user/eve"
    assert large({scientist: 3, user: 3, USER: 4}, 0.5) == {scientist: 0.6, user: 0.6}
    bob = ROLES.format("Scientist", "bob")
    assert large({scientist: 5, bob: 2, operator: 1, "": 2}, 0.6) == {scientist: 0.7, bob: 0.7}
    assert large({scientist: 4, bob: 1, operator: 2, "": 3}, 0.5) == {scientist: 0.6, operator: 0.6}


def test_a_person_with_a_small_part_in_another_role_is_named_for_it() -> None:
    scientist, operator = ROLES.format("Scientist", "eve"), ROLES.format("Operator", "eve")
    many = {ROLES.format("Operator", f"s-{number}"): 20 for number in range(25)}
    sums = tallied([many | {scientist: 400, operator: 2}])
    assert (sums[scientist], sums[operator]) == (400, 2)
    assert len(sums) == MOST_NAMED + 1


def test_a_reporter_whom_nobody_knows_counts_among_all() -> None:
    assert large({"": 6, USER: 4}, 0.5) == {}
    assert large({"": 4, USER: 6}, 0.5) == {USER: 0.6}
    assert large({}, 0.0) == {}


@given(st.lists(counts, max_size=4), st.floats(0, 1))
def test_beyond_those_that_are_named_no_share_is_lost(found: list[dict[str, int]], share: float) -> None:
    sums = tallied(found)
    assert sum(sums.values()) == sum(sum(each.values()) for each in found)
    assert len(sums) <= MOST_NAMED + len({principal(arn) for each in found for arn in each})
    whole: dict[str, int] = {}
    for each in found:
        for arn, count in each.items():
            whole[arn] = whole.get(arn, 0) + count
    assert behind(sums, share) == behind(whole, share)
    assert list(sums.values()) == sorted(sums.values(), reverse=True)


@given(counts, counts)
def test_reports_add_up_and_survive_json(one: dict[str, int], other: dict[str, int]) -> None:
    added = Reports(one, 1, 2) + Reports(other, 3, 4)
    assert (added.by, added.ignored, added.uncaptured) == (tallied([one, other]), 4, 6)
    assert Reports.from_json(added.to_json()) == added
