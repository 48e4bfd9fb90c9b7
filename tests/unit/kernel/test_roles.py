"""Who is behind an IAM ARN: for settings, for what was done, and for four eyes."""

import pytest

from tidegate.kernel.roles import caller, principal, same_person

ANN = "arn:aws:iam::1:user/ann"
EVE = "arn:aws:iam::1:user/eve"
SESSION = "arn:aws:sts::1:assumed-role/{}/{}"


@pytest.mark.parametrize(
    ("arn", "known"),
    [
        (ANN, "user/ann"),
        ("arn:aws:iam::1:user/division/ann", "user/ann"),
        (SESSION.format("DataScientist", "ann"), "role/DataScientist"),
    ],
)
def test_settings_name_a_user_or_a_role(arn: str, known: str) -> None:
    assert caller(arn) == known


def test_the_sessions_of_a_role_are_one() -> None:
    role = "arn:aws:sts::1:assumed-role/Loader"
    assert {principal(SESSION.format("Loader", name)) for name in ("x", "y", "a/b")} == {role}
    assert principal(role) == role
    assert principal(SESSION.format("Other", "x")) != role
    assert [principal(arn) for arn in (ANN, EVE, "")] == [ANN, EVE, ""]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (ANN, SESSION.format("admin", "ANN"), True),
        ("arn:aws:iam::1:user/division/ann", ANN, True),
        ("arn:aws:iam::1:root", "arn:aws:iam::1:root", True),
        ("arn:aws:iam::1:root", "arn:aws:iam::2:root", False),
        (ANN, EVE, False),
        (ANN, SESSION.format("tidegate-scientist", "joann"), False),
    ],
)
def test_people_are_distinguished_by_their_own_name_not_by_their_role(one: str, other: str, same: bool) -> None:
    assert same_person(one, other) is same_person(other, one) is same
