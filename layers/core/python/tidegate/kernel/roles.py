"""What people and pipelines are there for, and who is behind an IAM ARN. `tidegate.kernel.routes` says which role may
call what.

`caller` compares a caller with what settings name; `principal` attributes what was done, and does not believe the names
of sessions; `same_person` keeps people apart from what they made themselves, and rather takes two for one.
"""

from enum import StrEnum


class Role(StrEnum):
    """What a person, or a pipeline, is there for. Each of them may also look at everything."""

    VIEWER = "viewer"  # looks at datasets, models, runs, reports and ledgers
    SCIENTIST = "scientist"  # describes datasets and models, trains, asks for predictions
    APPROVER = "approver"  # decides on what others made before it reaches users, and makes nothing itself
    OPERATOR = "operator"  # answers for what is served: rolls back, kills, resumes, splits, ends rollouts


def caller(arn: str) -> str:
    """Who signs with this IAM ARN, as settings name people: `user/eve`, `role/DataScientist`. Of a role's session it is
    the role, since whoever takes a role chooses the name of the session."""
    kind, _, name = arn.rpartition(":")[2].partition("/")
    return f"role/{name.partition('/')[0]}" if kind == "assumed-role" else f"{kind}/{name.rpartition('/')[2]}"


def principal(arn: str) -> str:
    """The ARN that something is attributed to: of a role's session the role, since its holders name sessions as they
    like."""
    return "/".join(arn.split("/")[:2]) if ":assumed-role/" in arn else arn


def person(arn: str) -> str:
    """Whom an IAM ARN is taken for, whatever the role: its last part (an IAM user's name, or the name of a role's
    session, which single sign-on sets to the person's own) in lower case."""
    return arn.rpartition("/")[2].casefold()


def same_person(one: str, other: str) -> bool:
    """Whether two IAM ARNs are taken for one person."""
    return person(one) == person(other)
