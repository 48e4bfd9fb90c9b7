"""What people and pipelines are there for. `tidegate.kernel.routes` says which role may call what."""

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
