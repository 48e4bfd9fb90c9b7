"""Exit codes of the command line: an interface, so scripts and pipelines may branch on them."""

from tidegate.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    TidegateError,
    UnavailableError,
)

OK = 0
FAILED = 1
INVALID = 2
REJECTED = 3
NOT_FOUND = 4
NOT_ALLOWED = 5
UNREACHABLE = 6
CONFLICT = 7
BROKEN = 8
INTERRUPTED = 130

MEANING = {
    OK: "done; with `train --wait`: accepted, and on its way in",
    FAILED: "the run failed, or Tidegate itself did; with `reproduce --wait`: what was made again differs",
    INVALID: "the command, a file, a spec or a dataset is wrong",
    REJECTED: "`train --wait`, `rollout`: the version was turned away, by the gate, by evidence or by people; `drift`: "
    "evidence speaks against what serves",
    NOT_FOUND: "no such dataset, model, version or run, or the stage is not deployed",
    NOT_ALLOWED: "no credentials, no permission, or four eyes: you made what you would decide about",
    UNREACHABLE: "the network, AWS or the API did not answer, or waiting took too long",
    CONFLICT: "it cannot be done in this state: nothing serves yet, or somebody else was first or is still at it",
    BROKEN: "`ledger verify`: the ledger is not what was written",
    INTERRUPTED: "stopped by Ctrl-C; a run or rollout that was started goes on",
}


def exit_code(error: TidegateError) -> int:
    """The code that a fault ends the command with."""
    match error:
        case InvalidInputError():
            return INVALID
        case NotFoundError():
            return NOT_FOUND
        case ConflictError():
            return CONFLICT
        case UnavailableError():
            return UNREACHABLE
        case ForbiddenError():
            return NOT_ALLOWED
        case _:
            return NOT_ALLOWED if type(error).__name__ == "NotAllowedError" else FAILED
