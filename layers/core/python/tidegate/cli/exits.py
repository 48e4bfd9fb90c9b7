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
    OK: "success; with `train --wait`: accepted, and its rollout has started",
    FAILED: "the run or Tidegate itself failed; with `reproduce --wait`: the reproduced version differs; "
    "`doctor`: a check failed",
    INVALID: "the command, a file, a spec or a dataset is wrong",
    REJECTED: "`train --wait`, `rollout`: the gate, evidence or people rejected the version; `drift`: the model has "
    "drifted or needs redesign",
    NOT_FOUND: "no such dataset, model, version or run, or the stage is not deployed",
    NOT_ALLOWED: "no credentials, access denied, or you made the version that needs an approval; `doctor`: your "
    "credentials may not make the check `identity` or one of `--only`",
    UNREACHABLE: "the network, AWS or the API did not answer, or the wait timed out",
    CONFLICT: "not possible in this state: nothing serves yet, or another change came first or is under way",
    BROKEN: "`ledger verify`: the ledger was changed",
    INTERRUPTED: "stopped by Ctrl-C; a run or rollout that was started continues",
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
