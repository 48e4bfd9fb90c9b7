"""What people and pipelines are there for. `tidegate.kernel.routes` says which role may call what."""

from enum import StrEnum


class Role(StrEnum):
    """What a person, or a pipeline, is there for. Each of them may also look at everything."""

    VIEWER = "viewer"  # looks at datasets, models, runs, reports and ledgers
    SCIENTIST = "scientist"  # describes datasets and models, trains, asks for predictions
    APPROVER = "approver"  # decides on what others made before it reaches users, and makes nothing itself
    OPERATOR = "operator"  # answers for what is served: rolls back, kills, resumes, splits, ends rollouts
