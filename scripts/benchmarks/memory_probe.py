"""Reports how much processor time and memory the inference function takes, from inside its own process, where a
benchmark has put it beside the function. Waiting takes none.
"""

import os
import time
from pathlib import Path
from typing import Any

import handler as inference  # the function's own module: the probe stands beside it


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{"request": an HTTP event}: its answer, and milliseconds used before it: by this thread, which runs the handler
    and speaks with Lambda, and by all; and until the answer. {}: MiB that were resident at most, and the share of the
    function's memory for artifacts."""
    mine, used = 1e3 * time.thread_time(), 1e3 * time.process_time()
    if "request" not in event:
        return {"resident_mib": _peak_kib() / 1024, "sessions_share": inference.SESSIONS_SHARE}
    answer = inference.handler(event["request"], context)
    if answer["statusCode"] != 200:
        raise RuntimeError(f"the function answered {answer['statusCode']}: {answer['body']}")
    until_ms = 1e3 * time.process_time()
    return {"answer": answer, "pid": os.getpid(), "mine_ms": mine, "used_ms": used, "until_ms": until_ms}


def _peak_kib() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
